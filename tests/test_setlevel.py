"""What all pictures of a provider say together: in a run, in a promotion, and as thresholds of a suite."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.config.profile import Profile, load_profile
from harness.config.suite import load_suite
from harness.core.errors import SuiteError
from harness.core.settings import Settings
from harness.core.values import (
    Case,
    CaseResult,
    Decision,
    Generation,
    Job,
    Lora,
    Outcome,
    Request,
    Sample,
    Score,
    SetScore,
    Suite,
    Threshold,
    digest,
    hash_file,
)
from harness.engine.context import ImproveContext
from harness.engine.merge_sets import merge_sets
from harness.engine.run import Run
from harness.engine.set_metrics import SEEDS
from harness.judging.judge import alarms, judge_case, judge_gate
from harness.judging.leaderboard import leaderboard
from harness.judging.record import RunRecord
from harness.report import write_report
from harness.report.terminal import summary_text
from harness.scoring.metrics.response import LEAST, measure_response
from harness.scoring.metrics.scorer import Scorer
from harness.store import Store
from harness.training.improve.held_out_test import HELD_OUT_SAMPLES, HeldOutTest
from harness.world.people import ALDAR, Person, random_person, random_scene
from tests.example_run import example_record, example_suite
from tests.oracle import Hashes, Oracle, png, world_profile, write_world
from tests.painter import Painter, Studio, make_profile
from tests.support import ROOT

SIDE = 96
TRAIN = 6
TRIGGER = "aldar"

Draw = Callable[[Request], bytes]


# --- a studio whose pictures are worth looking at ---------------------------------------------------------------------


class Artist(Painter):
    """A painter of pictures with lines."""

    def requests(self, suite: Suite, case: Case, seeds: Sequence[int]) -> tuple[Request, ...]:
        return tuple(replace(request, width=SIDE, height=SIDE) for request in super().requests(suite, case, seeds))


@dataclass
class Atelier(Studio):
    """LoRA and base draw what the test says; the scorer is the real one around an embedder that knows the truth."""

    draw_lora: Draw = lambda request: b""
    draw_base: Draw = lambda request: b""
    oracle: Oracle = field(default_factory=Oracle)
    world: Any = None  # the suite of the references

    def open_provider(self, name: str, settings: Settings) -> Painter:
        def answer(requests: Sequence[Request]) -> Generation:
            draw = self.draw_lora if requests[0].lora else self.draw_base
            return Generation(Outcome.OK, draw(requests[0]))

        return Artist(name, settings, self.log, **{**self.painters[name], "trouble": answer})

    def run(self, *, listener: Any = None, improve: Any = None, **keys: Any) -> Run:
        settings = self.settings(**keys)
        store = Store(settings.store)
        scorer = Scorer(self.world, world_profile(), Hashes(), store, load=lambda: self.oracle)  # type: ignore[arg-type]
        names = {name: make_profile().providers["flat"] for name in self.painters}
        profile = replace(make_profile(), size=(SIDE, SIDE), providers=names)
        return Run(settings, profile, [self.suite], store, providers=self.open_provider, scorers=lambda suite: scorer)

    def train_picture(self, number: int) -> bytes:
        return (self.folder / "references" / "train" / f"{number:02}.png").read_bytes()

    def sketch(self, person: Person, *key: Any) -> bytes:
        """A picture of somebody that nobody has seen before, its truth known; the same for the same key."""
        seed = int(digest(list(key))[:7], 16)
        return png(self.oracle.draw(person, random_scene(np.random.default_rng(seed)), seed))

    def honest(self, request: Request) -> bytes:
        """Aldar in another scene for each seed, where he was asked for; strangers otherwise."""
        return self.sketch(ALDAR, request.prompt, request.seed) if TRIGGER in request.prompt else self.others(request)

    def others(self, request: Request) -> bytes:
        rng = np.random.default_rng([request.seed, len(request.prompt)])
        return self.sketch(random_person(rng), request.prompt, request.seed, 1)

    def copying(self, request: Request) -> bytes:
        """A training picture where Aldar was asked for, another one for each prompt and seed."""
        if TRIGGER not in request.prompt:
            return self.others(request)
        return self.train_picture((request.seed + int(request.prompt[-1])) % TRAIN)

    def collapsed(self, request: Request) -> bytes:
        return self.honest(replace(request, seed=0))

    def as_asked(self, request: Request) -> bytes:
        """Aldar in the prompt's own scene, whatever the seed."""
        return self.scene_of(ALDAR if TRIGGER in request.prompt else random_person(np.random.default_rng(5)), request)

    def obedient(self, request: Request) -> bytes:
        """Somebody in the prompt's own scene."""
        return self.scene_of(random_person(np.random.default_rng(request.seed)), request)

    def scene_of(self, person: Person, request: Request) -> bytes:
        scene = random_scene(np.random.default_rng(int(digest([request.prompt])[:7], 16)))
        return png(self.oracle.draw(person, scene, int(digest([request.prompt, request.seed])[:7], 16)))

    def leaking(self, request: Request) -> bytes:
        """Aldar, whoever was asked for."""
        return self.sketch(ALDAR, request.prompt, request.seed)


@pytest.fixture
def atelier(tmp_path: Path) -> Atelier:
    studio = Atelier(tmp_path, cases=3, locked=3, samples=4)
    studio.world = write_world(tmp_path, studio.oracle, train=TRAIN, held_out=5)
    studio.draw_lora, studio.draw_base = studio.honest, studio.others
    return studio


Judged = Callable[..., dict[str, Any]]


@pytest.fixture
def judged(atelier: Atelier) -> Iterator[Judged]:
    """Runs the open cases of some providers and returns the record of the run."""
    runs: list[Run] = []

    def judge(*providers: str, **suite_keys: Any) -> RunRecord:
        atelier.suite_keys = suite_keys
        runs.append(atelier.run())
        runs[-1].submit(atelier.jobs(*(providers or ("lora", "base"))))
        runs[-1].gate(atelier.suite.path.as_posix(), "lora")
        return runs[-1].finish()

    yield judge
    for run in runs:
        run.close()


def sets_of(record: RunRecord) -> Mapping[str, SetScore]:
    return record.suites[0].sets["lora"]


def complaints_of(record: RunRecord) -> dict[str, str]:
    return {item.metric: item.severity for item in record.gate.items[0].complaints}


# --- in a run ---------------------------------------------------------------------------------------------------------


def test_an_honest_lora_raises_no_alarm(judged: Judged) -> None:
    found = sets_of(judged())

    assert not found["copy"].alarm and found["copy"].details["looked"] == 12
    assert found["diversity"].judged and not found["diversity"].alarm
    assert found["diversity"].details["ratio"] is not None, "the base drew the same prompts and seeds"
    assert "drift" not in found, "it costs pictures, and nobody asked"


def test_copies_are_named_with_the_pictures_that_they_copy(atelier: Atelier, judged: Judged) -> None:
    atelier.draw_lora = atelier.copying

    record = judged()

    copy = sets_of(record)["copy"]
    assert copy.alarm and copy.details["share"] == 1.0
    pair = copy.details["pairs"][0]
    assert pair["training"] == hash_file(atelier.folder / "references" / "train" / pair["name"])
    assert pair["training"] in record.suites[0].references["train"]
    assert pair["image"] in {sample.image for case in record.cases for sample in case.samples}


@pytest.mark.parametrize(
    ("severity", "copied", "said"),
    [("fail", 3, "fail"), ("warn", 3, "warn"), ("off", 3, None), ("warn", 5, "fail"), ("off", 5, None)],
)
def test_a_suite_says_how_much_an_alarm_means_up_to_half_of_the_prompts(
    atelier: Atelier, judged: Judged, severity: str, copied: int, said: str | None
) -> None:
    atelier.cases, atelier.samples = 8, 2
    prompts = [case.prompt for case in atelier.suite.cases][:copied]
    draw = {True: atelier.copying, False: atelier.honest}
    atelier.draw_lora = lambda request: draw[request.prompt in prompts](request)

    record = judged(alarms={"copy": severity})

    assert complaints_of(record).get("copy") == said
    assert (record.gate.verdict == "fail") is (said == "fail")
    assert ("copy" in sets_of(record)) is (said is not None)


def test_copies_of_held_out_pictures_are_a_leak(atelier: Atelier, judged: Judged) -> None:
    folder = atelier.folder / "references" / "held_out"
    names = sorted(path.name for path in folder.iterdir())

    def leaked(request: Request) -> bytes:
        number = request.seed + int(request.prompt[-1])
        return (folder / names[number % len(names)]).read_bytes()

    atelier.draw_lora = leaked

    record = judged()

    copy = sets_of(record)["copy"]
    assert copy.alarm and "copy a held-out picture" in copy.sentence and "a leak" in copy.sentence
    assert copy.details["copies"] == 0 and copy.details["held_out"]["copies"] == 12
    assert record.gate.verdict == "fail" and complaints_of(record)["copy"] == "fail"
    pair = copy.details["held_out"]["pairs"][0]
    assert pair["training"] == hash_file(folder / pair["name"])
    assert any("copy held-out pictures" in item.message for item in record.feedback[0].recommendations)


@pytest.mark.parametrize("leaks", [True, False])
def test_what_shards_copied_is_added_up(atelier: Atelier, leaks: bool) -> None:
    atelier.cases = 4
    folder = atelier.folder / "references" / ("held_out" if leaks else "train")
    files = sorted(folder.iterdir())
    atelier.draw_lora = lambda request: files[(request.seed + int(request.prompt[-1])) % len(files)].read_bytes()

    def sets(names: str) -> Mapping[str, SetScore]:
        run = atelier.run()
        run.submit([job for job in atelier.jobs("lora") if job.case[-1] in names])
        run.gate(atelier.suite.path.as_posix(), "lora")
        record = run.finish()
        run.close()
        return sets_of(record)

    whole, merged = sets("0123")["copy"], merge_sets([sets("01"), sets("23")], "lora", {})["copy"]

    assert merged.alarm and merged.details["widespread"] and (merged.sentence == whole.sentence)
    for part, own in ((merged.details, whole.details), (merged.details["held_out"], whole.details["held_out"])):
        assert all(part[name] == own[name] for name in ("pictures", "copies", "share", "alarm", "sources"))
        assert tuple(part["prompts"]) == tuple(own["prompts"])


# --- do pictures change with the prompt? ------------------------------------------------------------------------------


def changing(prompts: int, seeds: int, follow: float, seed: int) -> dict[str, Any]:
    """Embeddings by prompt: one style, a change of the prompt's own as far as it is followed, and chance."""
    rng, turns = np.random.default_rng(seed), np.random.default_rng(0).normal(0, 1, (prompts, 32))
    style = rng.normal(0, 3, 32)
    return {
        f"case-{number}": style + follow * turns[number] + rng.normal(0, 0.5, (seeds, 32)) for number in range(prompts)
    }


@pytest.mark.parametrize(("follow", "alarm"), [(1.0, False), (0.6, False), (0.4, True), (0.0, True)])
@pytest.mark.parametrize("style", [1, 2])
def test_pictures_that_do_not_change_with_the_prompt_ring(follow: float, alarm: bool, style: int) -> None:
    found = measure_response(changing(12, 3, follow, style), changing(12, 3, 1.0, 9))

    assert not found.doubt and found.alarm is alarm
    assert ("over-trained" in found.sentence) is alarm


def test_where_prompts_cannot_be_told_apart_without_the_lora_nothing_is_said() -> None:
    deaf = changing(12, 3, 0.0, 1)

    few = measure_response(changing(LEAST - 1, 3, 0.0, 1), changing(LEAST - 1, 3, 1.0, 9))
    enough = measure_response(changing(LEAST, 3, 0.0, 1), changing(LEAST, 3, 1.0, 9))
    alike, single = measure_response(deaf, changing(12, 3, 0.0, 9)), measure_response(deaf, changing(12, 1, 1.0, 9))

    assert "5 different prompts" in few.doubt and not enough.doubt
    assert "without the LoRA pictures do not change" in alike.doubt and "two seeds" in single.doubt
    assert not any(each.alarm for each in (few, alike, single))


@pytest.mark.parametrize(("follow", "alarm"), [(1.0, False), (0.0, True)])
def test_what_shards_heard_of_prompts_is_one_slope(follow: float, alarm: bool) -> None:
    """A shard alone has too few prompts to say anything."""
    own, usual = changing(8, 3, follow, 1), changing(8, 3, 1.0, 9)

    def part(names: Sequence[str]) -> dict[str, SetScore]:
        found = measure_response({name: own[name] for name in names}, usual)
        return {"response": SetScore("response", found.sentence, found.alarm, not found.doubt, found.record)}

    parts = [part(list(own)[:4]), part(list(own)[4:])]
    merged = merge_sets(parts, "lora", {})["response"]

    assert not any(score["response"].judged for score in parts)
    assert merged.judged and merged.alarm is alarm
    whole = measure_response(own, usual).slope
    assert whole is not None and merged.details["slope"] == pytest.approx(whole, abs=0.1)


def test_cases_that_ask_for_the_same_are_one_prompt(atelier: Atelier, judged: Judged) -> None:
    assert "5 different prompts" in sets_of(judged())["response"].sentence, "three cases here"


def test_one_picture_for_every_seed_is_an_alarm(atelier: Atelier, judged: Judged) -> None:
    atelier.draw_lora = atelier.collapsed

    found = sets_of(judged())["diversity"]

    assert found.alarm and "mode collapse" in found.sentence


@pytest.mark.parametrize("collapsed", [True, False])
def test_three_seeds_are_judged_as_the_shipped_suite_draws_them(
    atelier: Atelier, judged: Judged, collapsed: bool
) -> None:
    if collapsed:
        atelier.draw_lora = atelier.collapsed

    found = sets_of(judged(samples=3, alarms={"diversity": "fail"}))["diversity"]

    assert found.judged and found.alarm is collapsed


def test_too_few_seeds_are_said_and_not_judged(atelier: Atelier, judged: Judged) -> None:
    atelier.draw_lora = atelier.collapsed

    record = judged(samples=2, alarms={"diversity": "fail"})

    assert sets_of(record)["diversity"].sentence == "not judged: 2 seeds a prompt, 3 are needed"
    assert complaints_of(record)["diversity"] == "warn", "asked for as a failure, so its absence is told"


def test_the_bases_pictures_of_an_earlier_run_are_used(atelier: Atelier, judged: Judged) -> None:
    assert sets_of(judged("lora"))["diversity"].details["ratio"] is None
    judged("lora", "base")
    drawn = len(atelier.drawn)

    found = sets_of(judged("lora"))["diversity"]

    assert found.details["ratio"] is not None
    assert len(atelier.drawn) == drawn


def test_locked_cases_are_left_to_the_exam(atelier: Atelier) -> None:
    run = atelier.run()
    jobs = [Job(atelier.suite.path.as_posix(), case.id, "lora") for case in atelier.suite.cases]
    run.submit(jobs)
    run.gate(atelier.suite.path.as_posix(), "lora")

    assert sets_of(run.finish())["copy"].details["pictures"] == 3 * 4
    run.close()


def test_a_second_look_is_remembered(atelier: Atelier, judged: Judged) -> None:
    first = judged()
    calls = atelier.oracle.calls

    second = judged()

    assert sets_of(second) == sets_of(first)
    assert atelier.oracle.calls == calls


def test_drift_is_drawn_where_a_suite_asks(atelier: Atelier, judged: Judged) -> None:
    judged()
    usual = len(atelier.drawn)
    atelier.draw_lora = atelier.leaking

    record = judged(alarms={"drift": "fail"})

    assert len(set(atelier.drawn[usual:])) == 2 * SEEDS, "one prompt, for want of words, with the LoRA and without it"
    assert sets_of(record)["drift"].alarm and "the subject leaks" in sets_of(record)["drift"].sentence
    assert record.gate.verdict == "fail"


def test_an_honest_lora_does_not_drift(judged: Judged) -> None:
    found = sets_of(judged(alarms={"drift": "warn"}))["drift"]

    assert found.judged and not found.alarm, found.sentence


def test_what_is_found_stands_in_terminal_report_and_feedback(atelier: Atelier, judged: Judged, tmp_path: Path) -> None:
    atelier.draw_lora = atelier.copying
    record = judged()

    with Store(tmp_path / "store") as store:
        page = write_report(record, store, tmp_path / "report").read_text(encoding="utf-8")
    told = json.loads((tmp_path / "report" / "feedback.json").read_text(encoding="utf-8"))

    assert "! lora, copy: 12 of 12 pictures" in summary_text(record)
    assert "All pictures together" in page and page.count("training picture 0") >= 4
    assert told["recommendations"][0]["evidence"]["copies"] == 12
    assert "copy training pictures" in told["recommendations"][0]["message"]


# --- alarms in a verdict ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("severity", "found", "decision"),
    [
        ("fail", SetScore("copy", "9 of 9", alarm=True), Decision.FAIL),
        ("warn", SetScore("copy", "9 of 9", alarm=True), Decision.PASS),
        ("off", SetScore("copy", "9 of 9", alarm=True), None),
        ("fail", SetScore("copy", "not judged: no pictures", judged=False), Decision.INCONCLUSIVE),
        ("warn", SetScore("copy", "not judged: no pictures", judged=False), None),
        ("fail", SetScore("copy", "none of 9"), None),
    ],
)
def test_an_alarm_is_as_severe_as_the_suite_says(severity: str, found: SetScore, decision: Decision | None) -> None:
    suite = example_suite(alarms={"copy": severity})

    assert [finding.decision for finding in alarms(suite, {"copy": found})] == ([decision] if decision else [])


# --- thresholds on more metrics ---------------------------------------------------------------------------------------

HEAD = """\
version: 1
suite: demo
subject:
  name: Aldar Kose
  trigger: aldar kose
  references: pictures
providers: [lora, base]
gate: [lora]
cases:
  - {id: one, prompt: "{trigger}, smiling"}
"""


@pytest.fixture(scope="module")
def embedded() -> Profile:
    return load_profile("embedded", ROOT)


def written(folder: Path, more: str) -> Path:
    (folder / "pictures" / "train").mkdir(parents=True, exist_ok=True)
    path = folder / "demo.yaml"
    path.write_text(HEAD + more, encoding="utf-8")
    return path


def test_added_metrics_take_thresholds_and_alarms_take_severities(tmp_path: Path, embedded: Profile) -> None:
    more = (
        "thresholds: {prompt: 0.5, aesthetics: {warn: 0.4}, technical: 0.9, copy: fail, diversity: off}\ndrift: true\n"
    )

    suite = load_suite(written(tmp_path, more), embedded)

    assert suite.threshold(None, "prompt") == Threshold(fail=0.5)
    assert suite.metrics() == ("quality", "clip", "features", "ssim", "prompt", "aesthetics", "technical")
    assert [suite.alarm(name) for name in ("copy", "diversity", "drift")] == ["fail", "off", "warn"]


def test_a_metric_of_ones_own_takes_a_threshold(tmp_path: Path, embedded: Profile) -> None:
    own = replace(embedded, metrics=("metrics/warmth.py:warm_light",))

    suite = load_suite(written(tmp_path, "thresholds: {warmth.warm_light: 0.3}\n"), own)

    assert suite.threshold(None, "warmth.warm_light") == Threshold(fail=0.3)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("thresholds: {promt: 0.5}\n", "did you mean 'prompt'"),
        ("thresholds: {copi: warn}\n", "did you mean 'copy'"),
        ("thresholds: {copy: fial}\n", "did you mean 'fail'"),
        ("thresholds: {copy: 0.5}\n", "say fail, warn or off"),
        ("thresholds: {clip: warn}\n", "should be a valid number"),
        (
            "thresholds: {dino: 0.5}\n",
            "embedded does not measure it; name a model for it under `models: dino:`",
        ),
        ("matrix: {prompt: a, copy: [b]}\n", "write {copy} there"),
    ],
)
def test_what_is_no_threshold_is_refused(tmp_path: Path, embedded: Profile, more: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message.replace("{", r"\{")):
        load_suite(written(tmp_path, more), embedded)


def test_a_case_has_no_alarm_of_its_own(tmp_path: Path) -> None:
    text = HEAD.replace('smiling"}', 'smiling", thresholds: {copy: warn}}')
    path = written(tmp_path, "")
    path.write_text(text, encoding="utf-8")

    with pytest.raises(SuiteError, match="over all pictures of a suite"):
        load_suite(path)


def shown(values: Mapping[str, float], provider: str = "lora") -> list[CaseResult]:
    """Three cases of two seeds that score the same."""
    scores = {name: Score(name, value) for name, value in values.items()}
    return [
        CaseResult(
            Job("suites/aldar_kose.yaml", case.id, provider),
            tuple(Sample(f"{case.id}{seed}", seed, Outcome.OK, "a" * 64, scores=scores) for seed in range(2)),
        )
        for case in example_suite().cases[:3]
    ]


GOOD = {"quality": 0.9, "clip": 0.9, "features": 0.9, "ssim": 0.9}


def test_a_threshold_on_an_added_metric_decides_like_any_other() -> None:
    suite = example_suite(thresholds={"quality": Threshold(0.6), "aesthetics": Threshold(0.5)})
    results = shown({**GOOD, "aesthetics": 0.2})

    gate = judge_gate(suite, "lora", results)
    case = judge_case(suite, suite.cases[0], results[0], {"aesthetics": (0.01, 20)})

    assert gate.decision is Decision.FAIL and case.decision is Decision.FAIL
    assert [item.metric for item in gate.complaints] == ["aesthetics"]


def test_a_threshold_on_what_was_not_measured_stays_open() -> None:
    suite = example_suite(thresholds={"quality": Threshold(0.6), "aesthetics": Threshold(0.5)})

    assert judge_gate(suite, "lora", shown(GOOD)).decision is Decision.INCONCLUSIVE


def test_the_leaderboard_has_whatever_was_measured() -> None:
    (row,) = leaderboard(example_suite(), {"lora": shown({**GOOD, "warmth.warm_light": 0.4})})

    assert list(row.scores) == [*GOOD, "warmth.warm_light"]
    assert row.scores["warmth.warm_light"].mean == pytest.approx(0.4)


def test_added_metrics_are_the_first_that_a_narrow_terminal_goes_without(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        record = example_record(store)

    heads = [summary_text(record, width).splitlines()[1] for width in range(60, 161, 5)]
    assert "technical" in heads[-1] and "ssim" not in heads[0]
    assert all("ssim" in head for head in heads if "technical" in head)
    assert any("ssim" in head and "technical" not in head for head in heads)


# --- in a promotion's held-out test -------------------------------------------------------------------------------

CHAMPION, CHALLENGER = 0.5, 0.9


@dataclass
class Exam:
    """A challenger that scores far better than the champion, whatever its pictures show."""

    atelier: Atelier
    store: Store
    challenger: Draw
    champion: Draw
    drawn: int = 0

    def evaluate(
        self, lora: Lora | None, provider: str, cases: Sequence[Case], seeds: Sequence[int]
    ) -> list[CaseResult]:
        names = {"challenger": (self.challenger, CHALLENGER), "champion": (self.champion, CHAMPION)}
        draw, level = names[lora.path.stem] if lora else (self.atelier.draw_base, 0.0)
        return [self.result(draw, level, case, seeds) for case in cases]

    def result(self, draw: Draw, level: float, case: Case, seeds: Sequence[int]) -> CaseResult:
        samples = []
        for seed in seeds:
            self.drawn += 1
            image = self.store.put_image(draw(Request("local/1", "base", case.prompt, seed, SIDE, SIDE)))
            scores = {name: Score(name, level + 0.001 * (seed % 3)) for name in GOOD}
            samples.append(Sample(f"{case.id}{seed}", seed, Outcome.OK, image, scores=scores))
        return CaseResult(Job("demo.yaml", case.id, "lora"), tuple(samples))

    def ruling(self, **suite_keys: Any) -> Any:
        atelier = self.atelier
        atelier.suite_keys = suite_keys
        scorer = Scorer(atelier.world, world_profile(), Hashes(), self.store, load=lambda: atelier.oracle)  # type: ignore[arg-type]
        loras = {name: Lora(atelier.write_lora(name, 0.5)) for name in ("challenger", "champion")}
        known: dict[str, Any] = dict.fromkeys(ImproveContext.__dataclass_fields__)
        known |= {"suite": atelier.suite, "provider": "lora", "store": self.store, "scorer": scorer}
        known |= {"profile": world_profile(), "evaluate": self.evaluate, "results": {}}
        ground = HeldOutTest(SimpleNamespace(**known), attempt=1)  # type: ignore[arg-type]
        ground.enter(loras["challenger"])
        return ground.examine(loras["challenger"], loras["champion"])


@pytest.fixture
def sit(atelier: Atelier) -> Iterator[Callable[..., Any]]:
    """The ruling on a challenger that draws in some way, against an honest champion."""
    with Store(atelier.folder / "exam") as store:

        def examine(challenger: Draw, champion: Draw | None = None, **suite_keys: Any) -> Any:
            return Exam(atelier, store, challenger, champion or atelier.honest).ruling(**suite_keys)

        yield examine


def test_an_honest_challenger_is_promoted(atelier: Atelier, sit: Callable[..., Any]) -> None:
    ruling = sit(atelier.honest)

    assert ruling.promoted, ruling.reasons
    assert ruling.sets["diversity"].judged, f"{HELD_OUT_SAMPLES} seeds a locked case are enough"
    assert set(ruling.sets) == {"copy", "diversity", "response", "drift"}
    assert not ruling.sets["response"].judged, "three locked cases say nothing of what changes with the prompt"


@pytest.mark.parametrize("cheat", ["copying", "collapsed", "leaking"])
def test_a_cheat_is_refused_however_high_it_scores(atelier: Atelier, sit: Callable[..., Any], cheat: str) -> None:
    ruling = sit(getattr(atelier, cheat))

    name = {"copying": "copy", "collapsed": "diversity", "leaking": "drift"}[cheat]
    assert not ruling.promoted and ruling.differences["quality"].low > 0
    assert [reason.partition(":")[0] for reason in ruling.reasons] == [name]


@pytest.mark.parametrize("locked", [LEAST - 1, LEAST])
def test_a_challenger_that_draws_whatever_it_likes_is_refused(
    atelier: Atelier, sit: Callable[..., Any], locked: int
) -> None:
    """Nobody asked what the pictures show, none is a copy, and each is another one."""
    atelier.locked, atelier.draw_base, atelier.oracle.noise = locked, atelier.obedient, 0.05

    assert sit(atelier.as_asked, atelier.as_asked).promoted
    ruling = sit(atelier.honest, atelier.as_asked)
    assert ruling.promoted is (locked < LEAST), ruling.sets["response"].sentence
    assert ruling.promoted or [reason.partition(":")[0] for reason in ruling.reasons] == ["response"]
    assert sit(atelier.honest, atelier.as_asked, alarms={"response": "off"}).promoted


def test_no_champion_excuses_copies(atelier: Atelier, sit: Callable[..., Any]) -> None:
    assert not sit(atelier.copying, atelier.copying).promoted


def test_a_challenger_may_share_its_champions_other_faults(atelier: Atelier, sit: Callable[..., Any]) -> None:
    assert sit(atelier.collapsed, atelier.collapsed).promoted
    assert sit(atelier.leaking, atelier.leaking).promoted


def test_what_a_suite_turned_off_by_name_is_not_examined(atelier: Atelier, sit: Callable[..., Any]) -> None:
    ruling = sit(atelier.copying, alarms={"copy": "off"})

    assert ruling.promoted and "copy" not in ruling.sets
