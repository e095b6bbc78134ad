"""Pages that need no network: their assets as text, and a policy that would not let them have one."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files


def read_asset(name: str) -> str:
    """One of our own files; \\r would change its hash between systems."""
    text = (files("harness.report") / "templates" / name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")


def policy_of(style: str, script: str) -> str:
    """The content security policy: pictures in the page and beside it, what bears these hashes, and nothing else."""
    return (
        "default-src 'none'; img-src data: 'self'; "
        f"style-src 'sha256-{content_hash(style)}'; script-src 'sha256-{content_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def content_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
