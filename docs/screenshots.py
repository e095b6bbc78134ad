"""The pictures of the report in these pages: `python docs/screenshots.py [REPORT.HTML]`, by Chromium and Playwright."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

DOCS = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Shot:
    """How to come to what is shown."""

    size: tuple[int, int] = (1280, 1100)
    scheme: str = "light"
    keys: tuple[str, ...] = ()  # pressed one after the other
    chapter: str = ""  # scrolled to


SHOTS: Mapping[str, Shot] = {
    "report": Shot((1280, 1240)),
    "report-case": Shot((1360, 900), keys=("j", "Enter", "6", "s")),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", nargs="?", type=Path, default=Path("reports/index.html"))
    parser.add_argument("--into", type=Path, default=DOCS, help="where to write (default: docs)")
    options = parser.parse_args()
    for path in take_shots(options.report, options.into):
        print(f"wrote {path}")
    return 0


def take_shots(report: Path, into: Path) -> list[Path]:
    """Every picture of SHOTS as PNG; returns their paths."""
    from playwright.sync_api import sync_playwright

    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    written = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=root)
        for name, shot in SHOTS.items():
            written.append(into / f"{name}.png")
            take(browser.new_context, report, shot, written[-1])
        browser.close()
    return written


def take(new_context: Callable[..., Any], report: Path, shot: Shot, path: Path) -> None:
    width, height = shot.size
    context = new_context(
        viewport={"width": width, "height": height},
        color_scheme=shot.scheme,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(report.resolve().as_uri())
    if shot.chapter:
        page.locator(f"#{shot.chapter}").evaluate("part => part.scrollIntoView()")
    for key in shot.keys:
        page.keyboard.press(key)
    page.wait_for_timeout(700)  # pictures are decoded when they come near
    page.screenshot(path=path)
    context.close()
    with Image.open(path) as picture:  # a third of the bytes, and nobody sees it
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    raise SystemExit(main())
