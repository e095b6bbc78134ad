"""The page: one file that needs no network, and a policy that would not let it have one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.core import html
from harness.core.values import Recorded
from harness.judging.record import RunRecord
from harness.report.pictures import Pictures
from harness.report.view import PageView
from harness.report.words import plain

PICTURED = frozenset({"image", "images", "training", "references"})
"""Keys of the record under which pictures stand."""
STYLES = ("base", "board", "cases", "viewer", "media")
SCRIPTS = ("page", "state", "cases", "filter", "grid", "viewer", "stage", "keys", "start")
"""Parts of the page's one style and one script, in the order in which they are joined."""


def render_page(results: RunRecord, pictures: Pictures) -> str:
    """index.html as text. Every string of the record is escaped; only our own style and script may run."""
    pictures.prepare(images_of(results))
    view = PageView(results, pictures)
    style = html.read_assets("harness.report", *(f"{name}.css" for name in STYLES)) + pictures.shared_style
    parts = html.read_assets("harness.report", *(f"{name}.js" for name in SCRIPTS))
    script = f'"use strict";\n(() => {{\n{parts}}})();\n'
    return html.render_page("harness.report", "index.html", style, script, "data: 'self'", plain, view=view)


def images_of(record: object) -> Iterator[str]:
    """Every hash of a picture in a record, wherever it stands."""
    if isinstance(record, Recorded):
        record = vars(record)
    if isinstance(record, Mapping):
        for key, value in record.items():
            yield from _hashes(value) if key in PICTURED else images_of(value)
    elif isinstance(record, list | tuple):
        for item in record:
            yield from images_of(item)


def _hashes(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        yield from (item for item in value if isinstance(item, str))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _hashes(item)
