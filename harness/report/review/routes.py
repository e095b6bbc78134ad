"""Which path is which page or act. A path is matched as it was sent, so nothing in it can climb out of a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

from harness.report.review import handlers, pages
from harness.report.review.app_state import AppState
from harness.report.review.responses import Query, Response

Page = Callable[[AppState, Query, str], Response]
"""The last argument is the secret that every form of the page carries."""
Act = Callable[[AppState, Query], Response]
PAGES: Mapping[str, Page] = {
    "/": pages.runs_page,
    "/compare": pages.compare_page,
    "/challengers": pages.challengers_page,
    "/vote": pages.vote_page,
    "/people": pages.people_page,
    "/case": pages.case_page,
    "/static/style.css": partial(pages.asset, "style.css", "text/css; charset=utf-8"),
    "/static/icon.svg": partial(pages.asset, "icon.svg", "image/svg+xml"),
    "/static/script.js": partial(pages.asset, "script.js", "text/javascript; charset=utf-8"),
}
ACTS: Mapping[str, Act] = {
    "/name": handlers.change_name,
    "/vote": handlers.cast_vote,
    "/undo": handlers.undo_vote,
    "/comment": handlers.write_comment,
    "/approve": handlers.approve,
    "/refuse": handlers.refuse,
    "/bless": handlers.bless,
    "/rollback": handlers.roll_back,
}
PICTURE = re.compile(r"/image/([0-9a-f]{64})")
REPORT = re.compile(r"/run/([0-9a-f]{12})/(?:([a-z0-9_-]+\.[a-z]+)?|images/([0-9a-f]{64})\.png)")


def find_page(path: str) -> Page | None:
    """What is shown at a path, or None."""
    if picture := PICTURE.fullmatch(path):
        return partial(pages.picture, picture[1])
    if report := REPORT.fullmatch(path):
        run, file, image = report.groups()
        return partial(pages.picture, image) if image else partial(pages.report_page, run, file or "index.html")
    return PAGES.get(path)


def find_act(path: str) -> Act | None:
    """What is done at a path, or None."""
    return ACTS.get(path)
