"""Pictures that the models do not know are told from those that they do, and nothing is claimed of them anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from benchmarks.foreign import compressed, on_white
from benchmarks.foreign_drawn import DRAWN
from benchmarks.foreign_sources import PHOTOGRAPHS, photo_crops, portrait, skimage_named, small_faces
from harness.config.profile import general_profiles, load_profile
from harness.config.suite import load_suite
from harness.core.errors import ModelError
from harness.core.settings import Settings
from harness.core.values import DISTANCE, DOMAIN, METRICS
from harness.engine.preflight import check_domain
from harness.models.domain import BOUND, LEAST, DomainSummary, find_summary, read_summary, summarise
from harness.models.embeddings import open_file
from harness.models.loading import Models
from harness.scoring.domain import DomainJudge
from harness.scoring.metrics.scorer import Scorer
from harness.scoring.references import picture_files
from harness.store import Store
from harness.world.people import random_person, random_scene
from harness.world.render import render
from tests.command_line import call
from tests.oracle import png, write_pictures
from tests.support import ROOT, run_suites

MADE = ("1", "transformers 5.0, pillow 11.0", "clip")
OWN = picture_files(ROOT / "references" / "aldar_kose" / "held_out")


def people(count: int = 12, size: int = 96, seed: int = 5) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    return [render(random_person(rng), random_scene(rng), int(rng.integers(2**31)), size) for _ in range(count)]


def drawn(name: str, count: int = 4) -> list[Image.Image]:
    rng = np.random.default_rng(11)
    return [DRAWN[name](rng) for _ in range(count)]


# --- the summary ------------------------------------------------------------------------------------------------------


def features(count: int, shift: float = 0.0, seed: int = 0) -> Any:
    """Pictures that vary along three of twenty directions, at two depths; `shift` moves them along a fourth."""
    rng = np.random.default_rng(seed)
    rows = 0.05 * rng.standard_normal((count, 2, 20))
    rows[..., :3] += rng.standard_normal((count, 2, 3)) * (4, 2, 1)
    rows[..., 7] += shift
    return rows


def test_what_was_summarised_is_known_and_what_stands_apart_is_not() -> None:
    summary = summarise(features(600), MADE)

    assert np.mean(summary.distances(features(2_000, seed=1)) > BOUND) < 0.03
    assert np.all(summary.distances(features(50, shift=1.0, seed=2)) > BOUND + 3)


def test_a_summary_needs_pictures_enough() -> None:
    summarise(features(LEAST), MADE)

    with pytest.raises(ModelError, match=f"{LEAST - 1} pictures; {LEAST} are needed"):
        summarise(features(LEAST - 1), MADE)


def test_a_summary_is_read_as_it_was_written(tmp_path: Path) -> None:
    summary = summarise(features(600), MADE)
    summary.save(tmp_path / "domain.safetensors")
    again, rows = read_summary(tmp_path / "domain.safetensors"), features(50, shift=0.3, seed=3)

    assert again.made_for == MADE and len(again.sha) == 64
    assert np.allclose(again.distances(rows), summary.distances(rows), atol=0.1)


@pytest.mark.parametrize("text", [b"", b"no summary", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_summary_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "domain.safetensors").write_bytes(text)

    with pytest.raises(ModelError, match=r"domain.safetensors: no summary of what models know"):
        read_summary(tmp_path / "domain.safetensors")


def test_a_summary_for_another_clip_is_refused_with_the_command_that_makes_one(tmp_path: Path, models: Models) -> None:
    summarise(features(600), MADE).save(tmp_path / "other.safetensors")
    named = replace(models.profile, models=replace(models.profile.models, domain=str(tmp_path / "other.safetensors")))
    missing = replace(models.profile, models=replace(models.profile.models, domain="nowhere.safetensors"))

    with pytest.raises(ModelError, match=r"made for another CLIP.*harness domain FOLDER --profile embedded"):
        find_summary(named, models)
    with pytest.raises(ModelError, match="there is no such summary"):
        find_summary(missing, models)


# --- foreign and own --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(load_profile("embedded", ROOT), Settings.load(ROOT, {}))


@pytest.fixture(scope="module")
def judge(models: Models) -> DomainJudge:
    return DomainJudge(models.profile, models)


FOREIGN = {
    "film stills": skimage_named(("astronaut", "coffee", "rocket", "motorcycle_left", "chelsea")),
    "smiling faces": portrait,
    "faces": small_faces,
    "a cat": lambda: skimage_named(("chelsea",))() + photo_crops()[2:4],
    "three pixels a side": lambda: drawn("tiny"),
    **{name: (lambda name=name: drawn(name)) for name in ("animal", "paper_cut", "chibi", "shaded_balls", "fractal")},
    **{name: (lambda name=name: drawn(name)) for name in ("text_page", "pixel_art", "noise", "line_drawing")},
}


@pytest.mark.real
@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_source_cannot_be_judged_and_a_profile_that_could_is_named(judge: DomainJudge, name: str) -> None:
    found = judge.check([png(picture) for picture in FOREIGN[name]()])

    assert found.blind and found.sure > 0.98, found
    assert found.sentence.startswith("these models cannot judge these pictures: ")
    assert found.sentence.endswith("use a profile whose models know pictures of every kind: --profile sdxl")


OWN_KINDS = {
    "references": lambda: [open_file(path) for path in OWN],
    "other people": lambda: people(40),
    "twice the size": lambda: people(20, 192),
    "five times the size": lambda: people(10, 480),
    "compressed": lambda: [compressed(picture) for picture in people(20)],
    "on white ground": lambda: list(on_white(20)),
    "soft": lambda: [picture.filter(ImageFilter.GaussianBlur(1)) for picture in people(20)],
}


@pytest.mark.real
@pytest.mark.parametrize("name", OWN_KINDS)
def test_the_worlds_own_pictures_can_be_judged(judge: DomainJudge, name: str) -> None:
    found = judge.check([png(picture) for picture in OWN_KINDS[name]()])

    assert found.count <= 1 and not found.blind, found


@pytest.mark.real
def test_neither_the_size_of_the_picture_nor_of_the_file_tells(judge: DomainJudge) -> None:
    own = people(1)[0]
    cat = skimage_named(("chelsea",))()[0]

    found = judge.check([png(own), png(own.resize((960, 960))), png(cat.resize((96, 96))), png(cat)])

    assert found.outside == (False, False, True, True)


@pytest.mark.real
def test_a_blank_picture_is_a_fault_of_its_own(judge: DomainJudge) -> None:
    assert judge.check([png(Image.new("RGB", (96, 96), "red"))]).outside == (False,)


@pytest.mark.real
@pytest.mark.parametrize(("foreign", "blind"), [(2, False), (3, True)])
def test_a_set_is_foreign_where_most_of_it_is(judge: DomainJudge, foreign: int, blind: bool) -> None:
    pictures = [*people(4 - foreign), *drawn("animal", foreign)]

    found = judge.check([png(picture) for picture in pictures])

    assert (found.count, found.blind) == (foreign, blind)
    assert f"{foreign} of 4" in found.sentence and ("cannot judge" in found.sentence) is blind


@pytest.mark.real
def test_what_was_found_is_kept_in_the_store(tmp_path: Path, models: Models, judge: DomainJudge) -> None:
    data = [png(picture) for picture in (*people(2), *drawn("chibi", 1))]
    with Store(tmp_path / "store") as store:
        first = DomainJudge(models.profile, models, store).check(data)
        absent: Any = type("Absent", (), {"root": models.root, "model_hash": models.model_hash})()

        assert DomainJudge(models.profile, absent, store).check(data) == first
    assert judge.check(data) == first


def test_a_profile_without_a_summary_refuses_nothing_and_says_that_it_did_not_measure() -> None:
    profile = load_profile("sdxl", ROOT)
    judge = DomainJudge(profile, Models(profile, Settings.load(ROOT, {})))

    found = judge.check_files(OWN)

    assert not found.blind and not found.measured and judge.identity == ""
    assert found.sentence.startswith("not measured: profile sdxl names no summary of what its models know")
    assert general_profiles(ROOT, "embedded") == ("sdxl",) and general_profiles(ROOT, "sdxl") == ()


# --- scores -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def scorer(tmp_path: Path, models: Models) -> Any:
    suite = load_suite(ROOT / "suites" / "aldar_kose.yaml", models.profile)
    with Store(tmp_path / "store") as store:
        yield Scorer(suite, models.profile, models, store)


@pytest.mark.real
def test_a_foreign_picture_has_a_reason_and_no_score(scorer: Any) -> None:
    case = scorer.suite.cases[0]
    own, foreign = scorer.score([(case, OWN[0].read_bytes()), (case, png(drawn("animal", 1)[0]))])

    assert DOMAIN not in own and all(own[name].value is not None for name in METRICS)
    assert -6 < own["technical"].details[DISTANCE] < BOUND < foreign["technical"].details[DISTANCE]
    assert foreign[DOMAIN].reason.startswith("these models cannot judge this picture: it is unlike everything")
    for name in (*METRICS, "prompt", "aesthetics"):
        assert foreign[name].value is None and foreign[name].raw is not None and not foreign[name].details, name
        assert foreign[name].reason == foreign[DOMAIN].reason
    assert foreign["technical"].value is not None


@pytest.mark.real
def test_foreign_references_have_no_traits_and_nothing_is_scored_by_them(tmp_path: Path, scorer: Any) -> None:
    strange = write_pictures(tmp_path / "strange", drawn("chibi", 10))
    subject = replace(scorer.suite.subject, references=strange, split="auto")
    with Store(tmp_path / "other") as store:
        blind = Scorer(replace(scorer.suite, subject=subject), scorer.profile, scorer.models, store)
        [scores] = blind.score([(scorer.suite.cases[0], OWN[0].read_bytes())])

        assert blind.traits() == () and blind.readings == ()
        assert blind.calibration().reason == blind.blind and "10 of 10 are unlike everything" in blind.blind
    assert scores["quality"].value is None and scores["quality"].reason == blind.blind and DOMAIN not in scores


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_pictures(tmp_path / "photographs", [*skimage_named(PHOTOGRAPHS)(), *photo_crops()[:4]])


@pytest.mark.real
def test_a_check_of_foreign_references_says_so_and_asks_no_clip(photographs: Path, capsys: Any) -> None:
    assert call("references", "check", str(photographs), "--json") == 1
    record = json.loads(capsys.readouterr().out)

    [finding] = [item for item in record["findings"] if item["kind"] == "outside"]
    assert finding["severity"] == "serious" and "these models cannot judge these pictures" in finding["reason"]
    assert record["shares"] == {} and "--profile sdxl" in finding["remedy"]


@pytest.mark.real
def test_one_foreign_picture_among_references_is_named(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_pictures(tmp_path / "mixed", [*people(11), *drawn("animal", 1)])

    call("references", "check", str(folder), "--json")
    record = json.loads(capsys.readouterr().out)

    [finding] = [item for item in record["findings"] if item["kind"] == "outside"]
    assert (finding["severity"], finding["pictures"]) == ("warn", ["11.png"]) and record["shares"]


@pytest.mark.real
def test_an_analysis_of_foreign_pictures_reads_no_trait(photographs: Path, capsys: Any) -> None:
    assert call("references", "analyse", str(photographs)) == 1

    text = capsys.readouterr().out
    assert "these models cannot judge these pictures" in text and text.endswith("no trait was read\n")
    assert "confidence" not in text


@pytest.mark.real
def test_init_warns_of_foreign_pictures_and_writes_the_suite(photographs: Path, capsys: Any) -> None:
    assert call("init", str(photographs), "--name", "Toma") == 0

    text = capsys.readouterr().out
    assert "warning: these models cannot judge these pictures" in text and Path("suites/toma.yaml").is_file()


@pytest.mark.real
def test_init_says_nothing_of_own_pictures(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "pictures", people())

    assert call("init", "pictures", "--name", "Toma") == 0

    assert "judge" not in capsys.readouterr().out


@pytest.mark.real
def test_a_folder_of_foreign_pictures_is_not_rated(photographs: Path, capsys: Any) -> None:
    references = str(ROOT / "references" / "aldar_kose")
    assert call("score", str(photographs), "--reference", references, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert call("score", str(photographs)) == 0
    table = capsys.readouterr().out

    assert record["blind"].startswith("these models cannot judge these pictures") and record["outside"] == 12
    for picture in record["pictures"]:
        assert picture["likeness"] is picture["aesthetics"] is picture["similarity"] is None and picture["faults"] == []
    assert table.startswith("these models cannot judge these pictures") and "aesthetics" not in table


@pytest.mark.real
def test_a_likeness_is_shown_in_its_range_and_kept_beyond_it(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_pictures(tmp_path / "own", [open_file(path) for path in OWN] + people(4))

    assert call("score", str(folder), "--reference", str(ROOT / "references" / "aldar_kose"), "--json") == 0
    pictures = json.loads(capsys.readouterr().out)["pictures"]

    assert all(0 <= picture["likeness"] <= 1 for picture in pictures)
    assert max(picture["unclipped"] for picture in pictures) > 1 and min(p["unclipped"] for p in pictures) < 0.5
    assert all(picture["likeness"] == min(1, max(0, picture["unclipped"])) for picture in pictures)


@pytest.mark.real
def test_the_doctor_tells_of_each_suites_references(tmp_path: Path, judge: DomainJudge) -> None:
    strange = picture_files(write_pictures(tmp_path / "strange", drawn("animal", 8)))

    [own], [foreign] = check_domain("aldar.yaml", OWN, judge), check_domain("toma.yaml", strange, judge)

    assert own.state == "ok" and own.found == "the models of profile embedded know pictures like these"
    assert foreign.state == "warn" and "8 of 8" in foreign.found and "--profile sdxl" in foreign.remedy


@pytest.mark.real
def test_a_summary_of_ones_own_pictures_tells_others_from_them(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "known", drawn("animal", LEAST))
    text = (ROOT / "suites" / "profiles" / "embedded.yaml").read_text(encoding="utf-8")
    text = text.replace("fixtures/models/domain.safetensors", "mine.safetensors").replace("../../", f"{ROOT}/")
    text = text.replace("traits/world.yaml", f"{ROOT}/suites/profiles/traits/world.yaml")
    (tmp_path / "mine.yaml").write_text(text.replace("profile: embedded", "profile: mine"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert call("domain", "known", "--into", "mine.safetensors", "--profile", "mine.yaml") == 0
    assert "150 pictures, 50 more were kept back" in capsys.readouterr().out
    profile = load_profile("mine.yaml", tmp_path)
    judge = DomainJudge(profile, Models(profile, Settings.load(tmp_path, {})))

    assert not judge.check([png(picture) for picture in drawn("animal", 9)[-4:]]).blind
    assert judge.check([png(picture) for picture in people(4)]).blind


# --- a run ------------------------------------------------------------------------------------------------------------

SUITE = """
version: 1
suite: foreign
subject: {{name: Toma, trigger: toma, references: {references}, split: {split}, traits: {traits}}}
providers: [made]
gate: [made]
samples: 1
thresholds: {{quality: {{fail: 0.6, warn: 0.7}}}}
cases:
  - {{id: one, prompt: "{{trigger}}, smiling", expect: {{expression: smiling}}}}
  - {{id: two, prompt: "{{trigger}}, sad", expect: {{expression: sad}}}}
"""


def run(folder: Path, references: Path, pictures: Sequence[Image.Image]) -> Any:
    """A suite over pictures that were made elsewhere, with the embedded models."""
    for name, picture in zip(("one-0", "two-0"), pictures, strict=True):
        (folder / "made").mkdir(exist_ok=True)
        picture.save(folder / "made" / f"{name}.png")
    split = "folders" if (references / "train").is_dir() else "auto"
    text = SUITE.format(references=references.as_posix(), split=split, traits="auto")
    (folder / "foreign.yaml").write_text(text, encoding="utf-8")
    profile = (ROOT / "suites" / "profiles" / "embedded.yaml").read_text(encoding="utf-8")
    profile = profile.replace("../../", f"{ROOT.as_posix()}/").replace("traits/", f"{ROOT}/suites/profiles/traits/")
    made = f"  made: {{adapter: folder, path: {(folder / 'made').as_posix()}}}\ntraining:"
    (folder / "mine.yaml").write_text(profile.replace("training:", made), encoding="utf-8")
    return run_suites(folder, str(folder / "foreign.yaml"), "--profile", str(folder / "mine.yaml"), "-p", "no:randomly")


@pytest.mark.real
@pytest.mark.parametrize("what", ["references", "drawings"])
def test_a_run_with_what_the_models_do_not_know_judges_nothing(tmp_path: Path, what: str) -> None:
    own = ROOT / "references" / "aldar_kose"
    strange = write_pictures(tmp_path / "strange", drawn("chibi", 10))
    references, pictures = (strange, people(2)) if what == "references" else (own, drawn("chibi", 2))

    finished = run(tmp_path, references, pictures)

    [gate] = finished.results["gate"]["items"]
    assert gate["verdict"] == "not_judged" and "quality" not in gate["scores"] and finished.status == 11
    assert "these models cannot judge" in json.dumps(gate["complaints"])
    assert "these models cannot judge" in " ".join(finished.output.split())
    page = (finished.report / "index.html").read_text(encoding="utf-8")
    assert "these models cannot judge" in page and 'class="cell excellent' not in page and "band excellent" not in page
    assert "these models cannot judge" in (finished.report / "summary.md").read_text(encoding="utf-8")
    assert all(score["value"] is None for score in scores_of(finished.results, METRICS))


def scores_of(results: Any, metrics: Sequence[str]) -> list[Any]:
    return [sample["scores"][name] for case in results["cases"] for sample in case["samples"] for name in metrics]


@pytest.fixture(scope="module")
def summary(models: Models) -> DomainSummary | None:
    return find_summary(models.profile, models)


def test_the_shipped_summary_is_small(summary: DomainSummary | None) -> None:
    path = ROOT / "fixtures" / "models" / "domain.safetensors"

    assert summary is not None and path.stat().st_size < 300_000
