"""A LoRA made elsewhere, taken in: fetched or copied, looked into, rewritten in our style, kept as a challenger.

A challenger is only a file with a record of where it is from. It becomes champion by the gate, or by a person.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from harness.core.errors import LoraError, UsageError
from harness.core.values import hash_file
from harness.models.lora.convert import Style, export_file
from harness.models.lora.file import LoraFile, read_lora
from harness.models.lora.header import HEADER_LIMIT, check_fit, read_weights
from harness.models.lora.inspection import inspect_lora
from harness.models.lora.registry import register_challenger
from harness.providers.http_client.attempt import Connector, Resolver, connect, resolve
from harness.providers.http_client.download import Downloader, Wanted
from harness.providers.http_client.exchange import Deadline, Policy, Unanswered
from harness.providers.http_client.redact import Redactor
from harness.providers.http_client.transport import Clients, Origin, usual_context

MEGABYTE = 1024 * 1024
LARGEST = 1024 * MEGABYTE  # an SDXL LoRA of rank 128 with both text encoders has about 800 MB in half precision
PATIENCE = Policy(deadline=1800.0, read=60.0, max_bytes=LARGEST)
NOBODY = Origin("https", "", 443)  # no service of our own: every host is a stranger


@dataclass(frozen=True)
class ImportedLora:
    """What became of a LoRA from elsewhere."""

    path: Path
    source: str
    notes: tuple[str, ...]


def take_in(source: str, weights: Path, parts: Any = None, largest: int = LARGEST, command: str = "") -> ImportedLora:
    """Fetch, check, rewrite and register a LoRA.

    Args:
        source: a file, or an https address, also of a page of Civitai or Hugging Face.
        weights: the champion whose challenger it becomes; need not exist.
        parts: the base's models by name, to hold every module against; None: not checked.
        largest: bytes of the file, at most.

    Raises:
        LoraError: it is no LoRA that the base can take; nothing is kept then.
        UsageError: the address is none that leads to a file.
    """
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "given.safetensors"
        origin = obtain(source, given, largest)
        name = origin.rsplit("/", 1)[-1]
        with called(given, name):
            lora = read_lora(given)
        ready = Path(folder) / "ready.safetensors"
        export_file(lora, ready, Style("diffusers"), {"title": title_of(lora, name)})
        if parts is not None:
            with called(ready, name):
                check_fit(ready, read_weights(ready), parts)
        notes = (*lora.notes, *inspect_lora(given).remarks)
        record = {
            "source": origin,
            "sha256": hash_file(given),
            "style": lora.style,
            "taken": datetime.now(UTC).replace(microsecond=0).isoformat(),
            "checked_against_base": parts is not None,
            "notes": list(notes),
            "command": command,
        }
        return ImportedLora(register_challenger(ready, weights, record), origin, notes)


@contextmanager
def called(path: Path, name: str) -> Iterator[None]:
    """A LoraError names the file as the person knows it."""
    try:
        yield
    except LoraError as error:
        raise LoraError(str(error).replace(str(path), name)) from error


def title_of(lora: LoraFile, name: str) -> str:
    text = lora.metadata.get("modelspec.title") or lora.metadata.get("ss_output_name", "")
    return text or name.removesuffix(".safetensors")


def obtain(source: str, given: Path, largest: int) -> str:
    """Bring the file here; where it is from, without folders of this machine, queries or keys."""
    if "://" in source:
        url = file_address(source)
        given.write_bytes(download(url, largest))
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    path = Path(source)
    try:
        if path.stat().st_size > largest:
            raise LoraError(
                f"{source}: has {path.stat().st_size // MEGABYTE} MB, more than the {largest // MEGABYTE} allowed"
            )
        given.write_bytes(path.read_bytes())
    except OSError as error:
        raise LoraError(f"{source}: cannot be read ({error.strerror})") from error
    return path.name


def file_address(url: str) -> str:
    """The file's own address for a model site's page; any other address stays.

    Raises:
        UsageError: a page that holds several files, or none.
    """
    parts = urlsplit(url)
    host, words = (parts.hostname or "").removeprefix("www."), parts.path.strip("/").split("/")
    if host == "civitai.com" and words[0] == "models":
        version = parse_qs(parts.query).get("modelVersionId", [""])[0]
        if not version.isdecimal():
            raise UsageError(
                f"{url}: is a page with several versions; copy the address of the one you want, with modelVersionId"
            )
        return f"https://civitai.com/api/download/models/{version}"
    if host in ("huggingface.co", "hf.co"):
        if len(words) > 3 and words[2] == "blob":
            return urlunsplit(("https", host, "/".join(["", *words[:2], "resolve", *words[3:]]), "", ""))
        if len(words) < 4 or words[2] != "resolve":
            raise UsageError(f"{url}: is a repository; give the address of its .safetensors file")
    return url


def is_safetensors(data: bytes) -> bool:
    """Whether it begins as a safetensors file does: the length of its header, and the header's brace."""
    return 2 <= int.from_bytes(data[:8], "little") <= min(HEADER_LIMIT, len(data)) and data[8:9] == b"{"


WANTED = Wanted(
    "file", "a safetensors file", "application/octet-stream, */*", is_safetensors, "the file cannot be fetched"
)


def download(
    url: str,
    largest: int,
    *,
    resolver: Resolver = resolve,
    connector: Connector = connect,
    context: Callable[[], Any] = usual_context,
) -> bytes:
    """The bytes at an address: encrypted, from public hosts only, at most so many.

    Raises:
        LoraError: the address is not safe, or no safetensors file came.
    """
    policy = Policy(deadline=PATIENCE.deadline, read=PATIENCE.read, max_bytes=largest)
    downloader = Downloader(NOBODY, policy, Clients(context), resolver, connector, Redactor().short, WANTED)
    try:
        return downloader.fetch(url, Deadline(policy.deadline))
    except Unanswered as error:
        login = (
            "; if the site asks for an account, download it there and import the file" if "HTTP 4" in str(error) else ""
        )
        raise LoraError(f"{error}{login}") from error
    finally:
        downloader.close()


def empty_parts(folder: Path) -> dict[str, object]:
    """The base's UNet and text encoders without their weights: enough to know every module's shape.

    Raises:
        LoraError: the folder is no SDXL pipeline.
    """
    import torch
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    encoders = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
    try:
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet"))
            texts = {part: kind(CLIPTextConfig.from_pretrained(folder / part)) for part, kind in encoders.items()}
    except (OSError, ValueError) as error:
        raise LoraError(f"{folder}: is no SDXL pipeline to hold a LoRA against ({error})") from error
    return {"unet": unet, **texts}
