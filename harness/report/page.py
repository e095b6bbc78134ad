"""The page: one file that needs no network, and a policy that would not let it have one."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from harness import __version__
from harness.report.pictures import Pictures
from harness.report.view import build_view

if TYPE_CHECKING:
    from jinja2 import Template


def render_page(results: Mapping[str, Any], pictures: Pictures) -> str:
    """index.html as text. Every string of the record is escaped; only our own style and script may run."""
    view = build_view(results, pictures)
    style, script = read_asset("style.css") + pictures.shared_style, read_asset("script.js")
    return page_template().render(
        view=view,
        style=style,
        script=script,
        policy=policy_of(style, script),
        version=__version__,
    )


@cache
def page_template() -> Template:
    """The template, compiled once a process."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("harness.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("index.html")


def read_asset(name: str) -> str:
    """One of our own files; \\r would change its hash between systems."""
    text = (files("harness.report") / "templates" / name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")


def policy_of(style: str, script: str) -> str:
    """The content security policy: nothing but pictures inside the page, and what bears these hashes."""
    return (
        "default-src 'none'; img-src data:; "
        f"style-src 'sha256-{content_hash(style)}'; script-src 'sha256-{content_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def content_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
