"""The page: true, offline, and unimpressed by what is in the record."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.commands.cli import main
from harness.core.errors import UsageError
from harness.core.pictures import THUMB, shrink
from harness.engine.record import check_record
from harness.judging.record import LeaderboardRow, PopulationRecord
from harness.report import rerender, summary_markdown, write_report
from harness.report.board import Board
from harness.report.history import curve
from harness.report.measure import populations_plot
from harness.report.pictures import Pictures
from harness.report.words import band, text
from harness.store import Store
from harness.world.people import ALDAR
from tests.example_run import RUN, SCENES, example_record, example_suite, make_record, plain, png, read
from tests.reporting import HOSTILE, full_record, poisoned


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
    return full_record(store)


@pytest.fixture
def record(shared: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(shared)


def test_the_page_tells_the_run(record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    page = Page(write_report(read(record), store, tmp_path))

    assert page.text.index("PASS") < page.text.index("leaderboard"), "the verdict comes first"
    assert record["gate"]["reasons"][0] in page.text
    for words in (
        "behind",
        "Feedback",
        "Round 1",
        "promoted",
        "Pictures",
        "Calibration",
        "refused",
        "emulated",
        "Traits",
    ):
        assert words in page.text
    for case in record["cases"]:
        assert case["prompt"] in page.text
    assert "raw 0." in page.text, "raw numbers stand beside the calibrated ones"


def test_pictures_are_inside_and_originals_beside(record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    page = Page(write_report(read(record), store, tmp_path))

    sources = [image["src"] or "" for image in page.all("img")]
    assert sources and all(source.startswith("data:image/webp;base64,") for source in sources)
    drawn = {sample["image"] for case in record["cases"] for sample in case["samples"] if sample["image"]}
    for sha in drawn:
        assert (tmp_path / "images" / f"{sha}.png").read_bytes() == store.image(sha)
    links = {anchor["href"] for anchor in page.all("a")}
    assert {f"images/{sha}.png" for sha in drawn} <= links


def test_nothing_is_fetched_and_only_our_script_may_run(record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    page = Page(write_report(read(record), store, tmp_path))

    (policy,) = [tag["content"] or "" for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page.source, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() in policy
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "form")
        assert "style" not in attributes and not any(name.startswith("on") for name in attributes)
        assert not re.match(r"(https?:)?//", attributes.get("src") or attributes.get("href") or "")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_stays_text(name: str, record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    """Every text of a record and every key that comes from outside; the browser's part is in test_report_browser."""
    usual = Page(write_report(read(record), store, tmp_path / "plain"))
    bad = read(poisoned(record, HOSTILE[name]))

    page = Page(write_report(bad, store, tmp_path))

    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in usual.tags}, "no element that is not ours"
    assert {key for _, found in page.tags for key in found} <= {key for _, found in usual.tags for key in found}
    assert len(page.all("script")) == 1 and len(page.all("style")) == 1
    assert all(image["src"].startswith("data:image/webp;base64,") for image in page.all("img"))
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u0000\u001b]", page.source)
    assert page.text.count(" ".join(text(HOSTILE[name], 20_000)[:15].split())) > 30, "it is there, as text"
    markdown = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "<img" not in markdown and "<script" not in markdown


def test_an_id_belongs_to_one_thing(record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    for case in record["cases"]:
        case["case"] = {"smiling-steppe": "Көсе", "night-staff": "Алдар"}.get(case["case"], case["case"])

    page = Page(write_report(read(record), store, tmp_path))

    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {found["href"] for found in page.all("a") if (found.get("href") or "").startswith("#")} - {"#"}
    assert {link[1:] for link in links} <= set(ids), "every link inside the page leads somewhere"


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of a record."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    return [way for key, item in items for way in [(*at, key), *paths(item, (*at, key))]]


@pytest.mark.slow
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
            part[way[-1]] = [None, {"x": "<b>"}, "nonsense", float("1e300"), -1][number % 5]
        if way[0] != "rounds" and "rounds" in broken:
            broken["rounds"] = []  # their plots are drawn where something in them is broken
        if way[0] != "suites":
            broken["suites"][0]["crowds"] = []  # likewise
        try:
            known = read(broken)
        except UsageError:
            continue  # a promised part: the file is refused as a whole
        try:
            write_report(known, None, tmp_path)
        except Exception as error:
            raise AssertionError(f"{'.'.join(map(str, way))}: {error!r}") from error


@pytest.mark.parametrize("trouble", ["", "the engine died"])
def test_a_run_without_anything_has_a_page(trouble: str, tmp_path: Path) -> None:
    page = Page(write_report(make_record([], trouble=trouble), None, tmp_path))

    assert "Nothing was drawn" in page.text


def test_the_lora_under_test_is_named_and_the_suites_own_beside_it(
    record: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    page = Page(write_report(read(record), store, tmp_path))

    assert "under test: other.safetensors at strength 0.8 (the suite's own: champion.safetensors" in page.text
    for sha in ("2f" * 32, "cd" * 32, "5c" * 32):
        assert sha in page.text, "LoRA, base, scorer"
    assert "c0ffee" in page.text and "None" not in page.text


def test_references_are_checked_once(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "references" / "train"
    folder.mkdir(parents=True)
    for number, scene in enumerate(SCENES.values()):
        (folder / f"{number}.png").write_bytes(png(ALDAR, scene, number))
    (folder / "twin.png").write_bytes((folder / "0.png").read_bytes())
    subject = replace(example_suite().subject, references=folder.parent)

    first = check_record(store, example_suite(subject=subject), (96, 96))

    assert first and {"exact", "too_few"} <= {item.kind for item in first.findings}
    assert all(store.image(sha) for item in first.findings for sha in item.images)
    monkeypatch.setattr("harness.engine.record.check_references", None)
    assert check_record(store, example_suite(subject=subject), (96, 96)) == first
    subject = replace(subject, references=tmp_path / "nothing")
    assert check_record(store, example_suite(subject=subject), (96, 96)) is None, (
        "no folder: the record says nothing, and lives"
    )


def test_a_band_is_that_of_the_number_shown() -> None:
    assert [band(value) for value in (0.796, 0.794, 0.596, 0.394)] == ["excellent", "good", "good", "poor"]


def test_plots_are_equal_texts_that_the_policy_allows() -> None:
    first, again = (str(curve([[0, 1.0], [9, 0.5]])) for _ in range(2))

    assert first == again and len(first) < 15_000
    assert "style" not in first and " id=" not in first and "var(--range)" in first
    assert "<title>Loss</title>" in first


def test_a_lost_picture_is_shown_as_lost(record: dict[str, Any], tmp_path: Path) -> None:
    page = Page(write_report(read(record), None, tmp_path))

    assert "no picture" in page.text and not page.all("img")


def test_a_hash_cannot_name_another_file(record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    record["cases"][0]["samples"][0]["image"] = "../../secret"

    page = Page(write_report(read(record), store, tmp_path))

    assert "secret" not in page.source


def test_originals_of_earlier_reports_go_and_nothing_else(record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / f"{'0' * 64}.png").write_bytes(b"old")
    (images / "mine.png").write_bytes(b"mine")

    write_report(read(record), store, tmp_path)

    assert not (images / f"{'0' * 64}.png").exists()
    assert (images / "mine.png").exists()


def test_it_is_made_again_from_its_record_alone(record: dict[str, Any], store: Store, tmp_path: Path) -> None:
    first = write_report(read(record), store, tmp_path / "first")

    again = rerender(tmp_path / "first" / "results.json", None, tmp_path / "again")

    assert again.read_text(encoding="utf-8") == first.read_text(encoding="utf-8")
    assert json.loads((tmp_path / "again" / "results.json").read_text(encoding="utf-8")) == record


def test_beside_a_picture_stands_the_training_picture_nearest_to_it(
    record: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    page = Page(write_report(read(record), store, tmp_path))

    assert "copied from 01.png 0.91" in page.text and "nearest training picture 02.png 0.42" in page.text


def test_a_copied_record_without_its_pictures_is_said(
    record: dict[str, Any], store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write_report(read(record), store, tmp_path / "first")
    (tmp_path / "copied").mkdir()
    (tmp_path / "copied" / "results.json").write_bytes((tmp_path / "first" / "results.json").read_bytes())
    monkeypatch.chdir(tmp_path)

    assert main(["report", "--from", "copied/results.json"]) == 0

    said = capsys.readouterr().err
    assert "pictures are not here" in said and "pictures are not here" in Page(tmp_path / "reports/index.html").text
    assert not (tmp_path / ".harness").exists(), "nothing is made beside the report"


def test_another_runs_report_is_replaced_only_where_it_is_named(
    record: dict[str, Any], store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write_report(read(record), store, tmp_path / "reports")
    record["run"]["id"] = "another"
    write_report(read(record), store, tmp_path / "other")
    monkeypatch.chdir(tmp_path)

    assert main(["report", "--from", "other/results.json"]) == 2
    assert "--report-dir" in capsys.readouterr().err
    assert main(["report", "--from", "other/results.json", "--report-dir", "reports"]) == 0
    assert f"replaced the report of run {RUN['id']}" in capsys.readouterr().err


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"schema": 7}')

    with pytest.raises(UsageError, match="schema 7"):
        rerender(tmp_path / "results.json", None, tmp_path)


def test_the_summary_begins_with_the_verdict(store: Store) -> None:
    text = summary_markdown(example_record(store, level=0.45))

    assert text.startswith("❌ **FAIL** aldar-kose, lora: quality is 0.45")
    assert "| # | ranks | tie | provider | quality |" in text and "| 1 | 1-2 | a | painter *emulated* |" in text
    assert "- **angry-city** by lora: quality is" in text
    assert "- do (high): clip is" in text


def test_a_tiny_picture_is_doubled_and_a_large_one_shrunk() -> None:
    def size_of(side: int) -> tuple[int, int]:
        buffer = io.BytesIO()
        Image.new("RGB", (side, side), "red").save(buffer, "PNG")
        return Image.open(io.BytesIO(shrink(buffer.getvalue()))).size

    assert size_of(96) == (192, 192)
    assert size_of(1024) == (THUMB, THUMB)


def test_many_pictures_become_small_ones(store: Store, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    hashes = []
    for _ in range(3):
        buffer = io.BytesIO()
        rough = Image.fromarray(noise.integers(0, 256, (24, 24), np.uint8))
        rough.resize((400, 400), Image.Resampling.BICUBIC).save(buffer, "PNG")
        hashes.append(store.put_image(buffer.getvalue()))

    def bytes_of(count: int) -> int:
        pictures = Pictures(store, tmp_path)
        pictures.prepare(hashes * count)
        return len(pictures.thumb(hashes[0]) or "")

    assert 3 * bytes_of(2_000) < bytes_of(1), "a page of many stays a page that opens"


def write_results(folder: Path, record: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(record), encoding="utf-8")
    return folder / "results.json"


def test_parts_of_a_suite_become_one_run(store: Store, tmp_path: Path) -> None:
    whole = plain(example_record(store))
    halves = []
    for number, names in enumerate([("smiling-steppe", "night-staff"), ("angry-city", "snow-lantern")]):
        half = copy.deepcopy(whole)
        half["cases"] = [case for case in whole["cases"] if case["case"] in names]
        half["run"]["id"] = f"run-{number}"
        half["suites"][0]["calibration"] = None
        halves.append(write_results(tmp_path / str(number), half))

    rerender(halves, store, tmp_path / "page")

    joined = json.loads((tmp_path / "page" / "results.json").read_text(encoding="utf-8"))
    assert len(joined["cases"]) == len(whole["cases"]) and len(joined["suites"]) == 1
    means = {row["provider"]: row["quality"]["mean"] for row in joined["leaderboard"]}
    assert means == pytest.approx({row["provider"]: row["quality"]["mean"] for row in whole["leaderboard"]})
    page = Page(tmp_path / "page" / "index.html")
    assert "2 runs judged as one: run-0, run-1" in page.text


def test_runs_that_cannot_be_one_stand_side_by_side(store: Store, tmp_path: Path) -> None:
    runs = []
    for number, level in enumerate((0.83, 0.45)):
        record = plain(example_record(store, level))
        record["run"]["id"] = f"run-{number}"
        runs.append(write_results(tmp_path / str(number), record))

    page = Page(rerender(runs, store, tmp_path / "page"))

    assert page.text.startswith("FAIL"), "the worst verdict is the page's"
    assert "aldar-kose (run-0)" in page.text and "aldar-kose (run-1)" in page.text
    assert "could not be judged as one" in page.text and "stands in two runs" in page.text


def test_a_tie_is_a_difference_that_pairs_do_not_prove() -> None:
    def tie(high: float) -> str:
        rows = [{"provider": "a", "rank": 1}, {"provider": "b", "rank": 2}]
        rows[1]["versus"] = {"a": {"diff": -0.1, "low": -0.3, "high": high}}
        known = [LeaderboardRow.of({"suite": "s", "gate": False, "emulated": False, **row}) for row in rows]
        return Board(known, {}).tie(known[1])

    assert (tie(0.0), tie(-0.01)) == ("a", "")


def test_curves_need_two_points_and_a_spread() -> None:
    assert curve([[0, 1.0]]) is None and curve([]) is None and curve([[0, None], [1, 2.0]]) is None
    assert "from 1 to 0.5 in 1 steps" in str(curve([1.0, 0.5]))
    assert populations_plot([PopulationRecord(metric="clip", genuine=(0.9,))], {}, None) is None
