"""A browser for tests of pages: Debian's Chromium, driven by Playwright, or a said reason why there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REQUIRED = os.environ.get("HARNESS_TEST_BROWSER") == "required"  # then what is missing fails instead of skipping
QUIET = ("--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")


def lacking() -> str:
    """What is missing, or ""."""
    if find_spec("playwright") is None:
        return "playwright is not installed (the `dev` extra)"
    return "" if CHROMIUM else "no chromium on this machine: `apt install chromium`"


needs_browser = [pytest.mark.browser, pytest.mark.skipif(bool(lacking()) and not REQUIRED, reason=lacking())]
"""Marks for a module: `pytestmark = needs_browser`."""


@contextmanager
def open_browser() -> Iterator[Any]:
    """A started Chromium; root may not use its sandbox."""
    if lacking():
        pytest.fail(lacking())
    from playwright.sync_api import sync_playwright

    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *root])
        yield browser
        browser.close()
