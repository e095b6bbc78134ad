"""The page at size: how large it is, how long it takes to make, and when a reader can use it.

Originals are textured pictures of 1024 px (noise of falling spectrum, a PNG of about 1.6 MB each, harder to compress
than a drawing and about as hard as a photo), all different, in a real store. The record has the shape of a real run:
cases of seven providers and three seeds, every metric, seven traits a picture. Making is timed from a store that has
thumbnails of these pictures from an earlier report, into an empty folder, originals and all; the first report, which
makes the thumbnails too, stands beside it (they are smaller, and made anew, for ten thousand). Interactive is from
navigation until the page has answered its first input, a letter typed into the search; the median of three loads in
a fresh Chromium. Ten thousand samples are the thousand pictures ten times: the page holds ten thousand all the same.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from harness.core.errors import UsageError
from harness.report import rerender
from harness.store import Store

PROVIDERS = ("lora", "base", "prompt_only", "freepik", "deepai", "gemini", "openai")
SEEDS, SIDE, SLOPE, FIELDS, LOADS = 3, 1024, 1.5, 12, 3
TRAITS = ("face_shape", "eyes", "facial_hair", "hair", "hair_color", "clothing", "pattern")
METRICS = ("clip", "features", "ssim", "quality", "prompt", "technical", "aesthetics")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples, one load")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Bytes, seconds and network requests at 1,000 and 10,000 samples."""
    counts, loads = ((100, 1_000), 1) if options.quick else ((1_000, 10_000), LOADS)
    figures: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        place = Path(folder)
        with Store(place / "store") as store:
            images = textured(store, counts[0])
            for count in counts:
                path = write_record(place / f"{count}", images, count)
                figures |= measure_page(path, store, place / f"{count}-page", count, loads)
    print("\n| samples | bytes | first made in s | made in s | interactive in s |\n|---|---|---|---|---|")
    for count in counts:
        shown = (figures[f"{name}_{count}"] for name in ("bytes", "first_make_s", "make_s", "interactive_s"))
        print(f"| {count:,} | {' | '.join(f'{value:,}' for value in shown)} |")
    return figures


def measure_page(path: Path, store: Store, folder: Path, count: int, loads: int) -> dict[str, Any]:
    """One size of page."""
    first, _ = time_making(path, store, folder)  # now the store is warm
    shutil.rmtree(folder)
    made, page = time_making(path, store, folder)
    seconds, asked = open_page(page, loads)
    return {
        f"bytes_{count}": page.stat().st_size,
        f"first_make_s_{count}": round(first, 2),
        f"make_s_{count}": round(made, 2),
        f"interactive_s_{count}": round(seconds, 2),
        "network_requests": asked,
    }


def time_making(path: Path, store: Store, folder: Path) -> tuple[float, Path]:
    started = time.perf_counter()
    page = rerender(path, store, folder)
    return time.perf_counter() - started, page


# --- opening ------------------------------------------------------------------------------------------------------


def open_page(page: Path, loads: int) -> tuple[float, int]:
    """Median seconds until the first input was answered, and how often anything but a file was asked for."""
    seconds, asked = [], 0
    for _ in range(loads):
        with tab() as each:
            urls: list[str] = []
            each.on("request", lambda request, urls=urls: urls.append(request.url))
            started = time.perf_counter()
            each.goto(page.as_uri(), wait_until="commit")
            each.locator("#search").wait_for()  # hidden until the page can answer
            each.keyboard.press("/")
            each.keyboard.type("1")
            each.locator("#count:not(:empty)").wait_for()
            seconds.append(time.perf_counter() - started)
            each.wait_for_timeout(300)
            asked += sum(not url.startswith(("file:", "data:")) for url in urls)
    return statistics.median(seconds), asked


@contextmanager
def tab() -> Iterator[Any]:
    """A page of a fresh browser."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise UsageError("no chromium on this machine; `apt install chromium`")
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=root)
        each = browser.new_page(viewport={"width": 1280, "height": 900})
        each.goto("about:blank")
        yield each
        browser.close()


# --- what is shown ------------------------------------------------------------------------------------------------


def textured(store: Store, count: int) -> list[str]:
    """Pictures of falling spectrum, no two alike, as hashes in the store."""
    fields = [field(seed) for seed in range(FIELDS)]

    def draw(seed: int) -> str:
        from PIL import Image

        rng = np.random.default_rng(seed)
        one, other = (np.roll(fields[rng.integers(FIELDS)], rng.integers(SIDE, size=2), (0, 1)) for _ in range(2))
        levels = 128 + 48 * (0.8 * one + 0.6 * other)  # both of deviation 1, and so is the sum
        buffer = io.BytesIO()
        Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).save(buffer, "PNG", compress_level=1)
        return store.put_image(buffer.getvalue())

    print(f"drawing {count} textured originals of {SIDE} px", flush=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(draw, range(count)))


def field(seed: int) -> Any:
    """(SIDE, SIDE, 3) of mean 0 and deviation 1; the channels share most of their waves, as in photos."""
    rng = np.random.default_rng(seed)
    distance = np.hypot(*np.meshgrid(np.fft.rfftfreq(SIDE), np.fft.fftfreq(SIDE)))
    distance[0, 0] = np.inf
    noise = rng.normal(size=(4, *distance.shape)) + 1j * rng.normal(size=(4, *distance.shape))
    waves = np.fft.irfft2((0.9 * noise[:1] + 0.35 * noise[1:]) / distance**SLOPE, s=(SIDE, SIDE))
    return (waves / waves.std((1, 2), keepdims=True)).transpose(1, 2, 0).astype(np.float32)


def write_record(folder: Path, images: list[str], count: int) -> Path:
    """results.json of a run of `count` samples."""
    folder.mkdir()
    rng = np.random.default_rng(count)
    cases = -(-count // (len(PROVIDERS) * SEEDS))
    samples = (images[number % len(images)] for number in range(count))
    records = [
        case_record(rng, f"case-{case:04}", provider, [image for image, _ in zip(samples, range(SEEDS), strict=False)])
        for case in range(cases)
        for provider in PROVIDERS
    ]
    path = folder / "results.json"
    path.write_text(json.dumps(run_record(rng, [record for record in records if record["samples"]])), encoding="utf-8")
    return path


def case_record(rng: np.random.Generator, case: str, provider: str, images: list[str]) -> dict[str, Any]:
    level = 0.85 if provider == "lora" else 0.55
    verdict = ("pass" if rng.random() < 0.8 else "fail") if provider == "lora" else "inconclusive"
    return {
        "suite": "thousands",
        "case": case,
        "split": "open",
        "provider": provider,
        "gate": provider == "lora",
        "verdict": verdict,
        "outcome": "ok",
        "scores": {"quality": {"mean": level, "low": level - 0.1, "high": level + 0.1, "n": SEEDS}},
        "samples": [sample_record(rng, level, seed, image) for seed, image in enumerate(images)],
        "complaints": [] if verdict == "pass" else [{"metric": "quality", "message": "quality is below 0.60"}],
        "prompt": f"aldar kose, holding a staff, {case}, starry night over a city background",
        "expect": {"expression": "smiling", "background": "city"},
        "thresholds": {"quality": {"fail": 0.6, "warn": 0.7}},
    }


def sample_record(rng: np.random.Generator, level: float, seed: int, image: str) -> dict[str, Any]:
    def value() -> float:
        return round(float(np.clip(rng.normal(level, 0.1), 0, 1)), 4)

    scores: dict[str, Any] = {name: {"metric": name, "value": value(), "raw": value()} for name in METRICS}
    scores["features"]["details"] = {name: {"value": "as told", "score": value(), "seen": "as told"} for name in TRAITS}
    return {"seed": seed, "outcome": "ok", "image": image, "scores": scores, "request": image}


def run_record(rng: np.random.Generator, cases: list[Mapping[str, Any]]) -> dict[str, Any]:
    references = [str(case["samples"][0]["image"]) for case in cases[:20]]
    quality = {"mean": 0.8, "low": 0.7, "high": 0.9, "n": 12}
    rows = [
        {"suite": "thousands", "provider": name, "rank": rank, "gate": name == "lora", "emulated": False}
        | {"quality": quality, "common": quality, "versus": {}, "raw": {}, "outcomes": {"ok": len(cases)}}
        for rank, name in enumerate(PROVIDERS, 1)
    ]
    recipe = {name: {"model": "ab" * 32, "steps": 30, "scheduler": "euler", "dtype": "bfloat16"} for name in PROVIDERS}
    return {
        "schema": 1,
        "run": {"id": "benchmark", "started": "2026-01-01T00:00:00+00:00", "profile": "synthetic", "versions": {}},
        "gate": {"verdict": "pass", "reasons": ["thousands, lora: quality 0.80 [0.70, 0.90]"], "items": []},
        "leaderboard": rows,
        "cases": cases,
        "engine": {"images_generated": len(cases) * SEEDS, "images_cached": 0, "model_loads": 1, "cost_usd": 0.0},
        "rounds": [],
        "suites": [{"name": "thousands", "references": {"held_out": references}, "recipe": recipe}],
        "feedback": [],
    }
