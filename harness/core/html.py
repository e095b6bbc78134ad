"""Pages that need no network: a package's templates and assets, and a policy that would not let a page have one."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from harness import __version__


def render_page(
    package: str,
    name: str,
    style: str,
    script: str = "",
    images: str = "",
    finalize: Callable[[Any], Any] | None = None,
    **context: Any,
) -> str:
    """One HTML file as text. Every string in it is escaped; only `style` and `script` may take effect.

    Args:
        package: the one in whose folder `templates` the template lies.
        name: of the template, which prints `policy`, `style`, `script` and `version`.
        images: where pictures may come from, as a policy says it: `data:` in the page, `'self'` beside it.
        finalize: sees every value before it is printed, as in `templates`.
        context: what else the template asks for; what it asks for in vain is an error.
    """
    policy = policy_of(style, script, images)
    page = templates(package, finalize).get_template(name)
    return page.render(style=style, script=script, policy=policy, version=__version__, **context)


@cache
def templates(package: str, finalize: Callable[[Any], Any] | None = None) -> Environment:
    """A package's templates, compiled once a process; `finalize` sees every value before it is printed.

    All strings are escaped, but in Markdown.
    """
    return Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=select_autoescape(disabled_extensions=("md",), default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )


def read_assets(package: str, *names: str) -> str:
    r"""Files of a package's folder `templates`, joined; \r would change their hash between systems."""
    folder = files(package) / "templates"
    return "".join((folder / name).read_text(encoding="utf-8").replace("\r\n", "\n") for name in names)


def policy_of(style: str, script: str = "", images: str = "") -> str:
    """The content security policy: pictures from `images`, what bears the hashes of style and script, nothing else."""
    parts = ["default-src 'none'"]
    parts += [f"img-src {images}"] if images else []
    parts += [
        f"{kind}-src 'sha256-{content_hash(text)}'" for kind, text in (("style", style), ("script", script)) if text
    ]
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def content_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
