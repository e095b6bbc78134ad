"""The page: one file that needs no network, and a policy that would not let it have one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.core import html
from harness.report.pictures import Pictures
from harness.report.view import build_view

PICTURED = frozenset({"image", "images", "training", "references"})
"""Keys of the record under which pictures stand."""
STYLES = ("base", "board", "cases", "viewer", "media")
SCRIPTS = ("page", "state", "cases", "filter", "grid", "viewer", "stage", "keys", "start")
"""Parts of the page's one style and one script, in the order in which they are joined."""


def render_page(results: Mapping[str, Any], pictures: Pictures) -> str:
    """index.html as text. Every string of the record is escaped; only our own style and script may run."""
    pictures.prepare(images_of(results))
    view = build_view(results, pictures)
    style = html.read_assets("harness.report", *(f"{name}.css" for name in STYLES)) + pictures.shared_style
    parts = html.read_assets("harness.report", *(f"{name}.js" for name in SCRIPTS))
    script = f'"use strict";\n(() => {{\n{parts}}})();\n'
    return html.render_page("harness.report", "index.html", style, script, images="data: 'self'", view=view)


def images_of(record: Any) -> Iterator[str]:
    """Every hash of a picture in a record, wherever it stands."""
    if isinstance(record, Mapping):
        for key, value in record.items():
            yield from _hashes(value) if key in PICTURED else images_of(value)
    elif isinstance(record, list):
        for item in record:
            yield from images_of(item)


def _hashes(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (item for item in value if isinstance(item, str))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _hashes(item)
