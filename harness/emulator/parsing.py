"""Requests from bytes: JSON objects, urlencoded forms, multipart forms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.message import Message
from email.parser import BytesHeaderParser
from urllib.parse import parse_qsl, unquote, urlsplit

from harness.emulator.exchange import Asked, Upload


def read_request(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Asked:
    """A request as the services see it; `service` is the first segment of its path."""
    parts = urlsplit(target)
    service, _, rest = unquote(parts.path).lstrip("/").partition("/")
    declared = Message()
    declared["Content-Type"] = headers.get("content-type", "") or "none/none"
    mime = "" if "content-type" not in headers else declared.get_content_type()
    payload, files = read_body(mime, str(declared.get_param("boundary") or ""), body)
    return Asked(
        service,
        method,
        f"/{rest}",
        headers,
        dict(parse_qsl(parts.query, keep_blank_values=True)),
        mime,
        payload or {},
        files,
        size=len(body),
        malformed=payload is None,
    )


def read_body(mime: str, boundary: str, body: bytes) -> tuple[Mapping[str, object] | None, Mapping[str, Upload]]:
    """Fields and files; None for fields that are not what the type says, {} for a type that has none."""
    if mime == "application/json":
        return read_object(body), {}
    if mime == "application/x-www-form-urlencoded":
        return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True)), {}
    if mime == "multipart/form-data":
        return read_multipart(boundary.encode(), body)
    return {}, {}


def read_object(body: bytes) -> dict[str, object] | None:
    """A JSON object; None for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_multipart(boundary: bytes, body: bytes) -> tuple[dict[str, str] | None, dict[str, Upload]]:
    """The fields and the files of a form. The last of two with one name wins."""
    fields: dict[str, str] = {}
    files: dict[str, Upload] = {}
    if not boundary or b"--" + boundary not in body:
        return None, {}
    for piece in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:]:
        if piece.startswith(b"--"):
            break
        head, _, data = piece.partition(b"\r\n\r\n")
        about = BytesHeaderParser().parsebytes(head.lstrip() + b"\r\n\r\n")
        name = about.get_param("name", header="content-disposition")
        filename = about.get_filename()
        if filename is None:
            fields[str(name)] = data.decode(errors="replace")
        else:
            files[str(name)] = Upload(filename, data, about.get_content_type())
    return fields, files
