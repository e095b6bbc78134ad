"""The page: true, offline, and unimpressed by what is in the record."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.errors import UsageError
from harness.report import rerender, summary_markdown, write_report
from harness.report.pictures import THUMB, shrink
from harness.report.view import bells, curve, tie_of
from harness.results import build_results, check_results
from harness.store import Store
from harness.values import Usage
from tests.example_run import ROUND, RUN, example_record

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7*7 }} Көсе 👩‍🌾 \u202e" + "ш" * 10_000


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def shared(store: Store) -> dict[str, Any]:
    return example_record(store, rounds=(ROUND,))


@pytest.fixture
def record(shared: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(shared)


def test_the_page_tells_the_run(record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    page = Page(write_report(record, store, tmp_path))

    assert page.text.index("PASS") < page.text.index("leaderboard"), "the verdict comes first"
    assert record["gate"]["reasons"][0] in page.text
    for words in ("Head to head", "Feedback", "Round 1", "promoted", "Gallery", "Calibration", "refused", "emulated"):
        assert words in page.text
    for case in record["cases"]:
        assert case["prompt"] in page.text
    assert "raw 0." in page.text, "raw numbers stand beside the calibrated ones"


def test_pictures_are_inside_and_originals_beside(record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    page = Page(write_report(record, store, tmp_path))

    sources = [image["src"] or "" for image in page.all("img")]
    assert sources and all(source.startswith("data:image/webp;base64,") for source in sources)
    drawn = {sample["image"] for case in record["cases"] for sample in case["samples"] if sample["image"]}
    for sha in drawn:
        assert (tmp_path / "images" / f"{sha}.png").read_bytes() == store.image(sha)
    links = {anchor["href"] for anchor in page.all("a")}
    assert {f"images/{sha}.png" for sha in drawn} <= links


def test_nothing_is_fetched_and_only_our_script_may_run(record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    page = Page(write_report(record, store, tmp_path))

    (policy,) = [tag["content"] or "" for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page.source, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() in policy
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "form")
        assert "style" not in attributes and not any(name.startswith("on") for name in attributes)
        assert not re.match(r"(https?:)?//", attributes.get("src") or attributes.get("href") or "")


def hostile(value: Any, key: str = "") -> Any:
    """The same record with every free text replaced."""
    kept = {"schema", "verdict", "outcome", "image", "id", "metric", "split", "held_out", "train", "images", "kind"}
    if key in kept:
        return value
    if isinstance(value, dict):
        return {name: hostile(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [hostile(item, key) for item in value]
    return HOSTILE if isinstance(value, str) else value


def test_hostile_text_stays_text(record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    page = Page(write_report(hostile(record), store, tmp_path))

    assert "onerror=alert" not in re.sub(r"&lt;img src=x onerror=alert", "", page.source)
    assert len(page.all("script")) == 1
    assert {attributes.get("src") for attributes in page.all("img")} and "x" not in {i["src"] for i in page.all("img")}
    assert "{{ 7*7 }}" in page.text, "a template in a record is no template"
    assert "\u202e" not in page.source
    assert "👩‍🌾" in page.text and "Көсе" in page.text
    markdown = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "<img" not in markdown and "<script" not in markdown


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of a record."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    return [way for key, item in items for way in [(*at, key), *paths(item, (*at, key))]]


def test_no_missing_part_and_no_nonsense_brings_it_down(record: dict[str, Any], tmp_path: Path) -> None:
    record["cases"] = [{**case, "samples": case["samples"][:1]} for case in record["cases"][:2]]
    record["leaderboard"] = record["leaderboard"][:2]
    named = [way for way in paths(record) if not isinstance(way[-1], int)]
    ways = {tuple(0 if isinstance(key, int) else key for key in way): way for way in named}

    for number, way in enumerate(ways.values()):
        broken = copy.deepcopy(record)
        part = broken
        for key in way[:-1]:
            part = part[key]
        if number % 2:
            del part[way[-1]]
        else:
            part[way[-1]] = [None, {"x": HOSTILE[:20]}, "nonsense", float("1e300"), -1][number % 5]
        try:
            check_results(broken, "results.json")
        except UsageError:
            continue  # a promised part: the file is refused as a whole
        try:
            write_report(broken, None, tmp_path)
        except Exception as error:
            raise AssertionError(f"{'.'.join(map(str, way))}: {error!r}") from error


@pytest.mark.parametrize("trouble", ["", "the engine died"])
def test_a_run_without_anything_has_a_page(trouble: str, tmp_path: Path) -> None:
    page = Page(write_report(build_results(RUN, [], Usage(), trouble=trouble), None, tmp_path))

    assert "Nothing was drawn" in page.text


def test_a_lost_picture_is_shown_as_lost(record: dict[str, Any], tmp_path: Path) -> None:
    page = Page(write_report(record, None, tmp_path))

    assert "no picture" in page.text and not page.all("img")


def test_a_hash_cannot_name_another_file(record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    record["cases"][0]["samples"][0]["image"] = "../../secret"

    page = Page(write_report(record, store, tmp_path))

    assert "secret" not in page.source


def test_originals_of_earlier_reports_go_and_nothing_else(record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / f"{'0' * 64}.png").write_bytes(b"old")
    (images / "mine.png").write_bytes(b"mine")

    write_report(record, store, tmp_path)

    assert not (images / f"{'0' * 64}.png").exists()
    assert (images / "mine.png").exists()


def test_it_is_made_again_from_its_record_alone(record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    first = write_report(record, store, tmp_path / "first")

    again = rerender(tmp_path / "first" / "results.json", None, tmp_path / "again")

    assert again.read_text(encoding="utf-8") == first.read_text(encoding="utf-8")
    assert json.loads((tmp_path / "again" / "results.json").read_text(encoding="utf-8")) == record


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"schema": 7}')

    with pytest.raises(UsageError, match="schema 7"):
        rerender(tmp_path / "results.json", None, tmp_path)


def test_the_summary_begins_with_the_verdict(store: Store) -> None:
    text = summary_markdown(example_record(store, level=0.45))

    assert text.startswith("❌ **FAIL** aldar-kose, lora: quality is 0.45")
    assert "| 1 | painter *emulated* |" in text
    assert "- **angry-city** by lora: quality is" in text
    assert "- do (high): clip is" in text


def test_a_tiny_picture_is_doubled_and_a_large_one_shrunk() -> None:
    def size_of(side: int) -> tuple[int, int]:
        buffer = io.BytesIO()
        Image.new("RGB", (side, side), "red").save(buffer, "PNG")
        return Image.open(io.BytesIO(shrink(buffer.getvalue()))).size

    assert size_of(96) == (192, 192)
    assert size_of(1024) == (THUMB, THUMB)


def test_a_tie_is_a_difference_that_pairs_do_not_prove() -> None:
    rows = [
        {"provider": "a", "rank": 1},
        {"provider": "b", "rank": 2, "versus": {"a": {"diff": -0.1, "low": -0.3, "high": 0.1}}},
    ]

    assert tie_of(rows[1], rows) == "a"
    rows[1]["versus"]["a"]["high"] = -0.01
    assert tie_of(rows[1], rows) == ""


def test_curves_need_two_points_and_a_spread() -> None:
    assert curve([[0, 1.0]]) is None and curve("x") is None and curve([[0, None], [1, 2.0]]) is None
    assert curve([1.0, 0.5])["last"] == "0.5"
    assert bells({"genuine": 0.9, "impostor": 0.5, "genuine_sd": 0.0, "impostor_sd": 0.1}, []) is None
