"""The improve loop: real training of a tiny model; how good a LoRA's pictures are is a known function of its file."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from harness.commands.history import history_lines
from harness.core.errors import EngineError
from harness.core.stats.calibration import Band, Calibration, Separation
from harness.core.values import (
    Case,
    CaseResult,
    Complaint,
    Decision,
    Interval,
    Job,
    Lora,
    Outcome,
    Progress,
    Sample,
    Score,
    SetScore,
    Subject,
    Suite,
    Threshold,
    Verdict,
    hash_file,
)
from harness.engine.context import ImproveContext
from harness.judging.feedback import feedback
from harness.models.lora.export import read_facts
from harness.models.lora.registry import promote, read_challengers, read_champion
from harness.models.lora.train_config import TrainConfig
from harness.store import Store
from harness.training.improve.held_out_test import HELD_OUT_OFFSET, HeldOutTest
from harness.training.improve.history import read_rounds
from harness.training.improve.loop import improve
from harness.training.improve.promotion import RivalScores, decide, level_of
from harness.training.trainer import train
from tests.tiny import make_context

TRAINING: dict[str, Any] = {"steps": 6, "batch": 2, "rank": 4, "learning_rate": 5e-3, "checkpoint_every": 3}

Talent = Callable[[Lora | None], float]
"""How good the pictures of a LoRA are, 0 to 1."""


def by_steps(lora: Lora | None) -> float:
    """The longer trained the better, up to 0.9 for what the profile asks for; strength 1 is best."""
    if lora is None:
        return 0.1
    facts = read_facts(lora.path)
    scale = float(facts.metadata.get("harness.scale", "1")) * lora.strength
    return min(0.9, 0.2 + 0.12 * facts.steps) - 0.2 * abs(scale - 1)


@dataclass
class Studio:
    """Stands where the engine does: answers with scores instead of pictures and remembers what it was asked."""

    suite: Suite
    talent: Talent
    asked: list[tuple[Lora | None, str, int]] = field(default_factory=list)  # LoRA, case, seed

    def __call__(
        self, lora: Lora | None, provider: str, cases: Sequence[Case], seeds: Sequence[int]
    ) -> list[CaseResult]:
        self.asked += [(lora, case.id, seed) for case in cases for seed in seeds]
        return [self.result(lora, provider, case, seeds) for case in cases]

    def result(self, lora: Lora | None, provider: str, case: Case, seeds: Sequence[int]) -> CaseResult:
        samples = []
        for seed in seeds:
            value = self.talent(lora) + random.Random(f"{case.id} {seed}").uniform(-0.03, 0.03)
            scores = {name: Score(name, value, value) for name in ("quality", "clip", "features", "ssim")}
            samples.append(Sample(f"{case.id}{seed}", seed, Outcome.OK, "0" * 64, scores=scores))
        return CaseResult(Job(self.suite.path.as_posix(), case.id, provider), tuple(samples))


@dataclass
class World:
    """A suite, its references, tiny models, a store, and the LoRAs under test."""

    root: Path
    models: Path
    suite: Suite
    store: Store
    drawing: Any

    def lora(self, name: str, steps: int) -> Path:
        config = TrainConfig(**{**TRAINING, "steps": steps, "alpha": 4, "warmup": 1})
        out = self.root / f"{name}.safetensors"
        train(config, self.suite.subject, self.drawing.profile, self.drawing.models, out, work=self.root / f"w-{name}")
        return out

    def context(self, lora: Lora | None, talent: Talent = by_steps, **changes: Any) -> tuple[ImproveContext, Studio]:
        studio = Studio(self.suite, talent)
        cases = [case for case in self.suite.cases if case.split == "open"]
        results = studio(lora, "lora", cases, self.suite.seeds())
        studio.asked.clear()
        verdicts = {result.job: Verdict(Decision.FAIL, {"quality": Interval(0.3, 0.2, 0.4, 3)}) for result in results}
        gate = Verdict(Decision.FAIL, complaints=(Complaint("quality", "too low"),))
        told = feedback(self.suite, verdicts, {"lora": results}, gate=gate)
        settings = SimpleNamespace(retrain=2, retrain_budget=None, samples=None, lora=lora, store=self.store.folder)
        options: dict[str, Any] = {
            "suite": self.suite,
            "provider": "lora",
            "lora": lora,
            "profile": self.drawing.profile,
            "settings": settings,
            "store": self.store,
            "models": self.drawing.models,
            "scorer": SimpleNamespace(traits=lambda: (), identity="known", calibration=lambda: None),
            "results": {"lora": results},
            "verdicts": verdicts,
            "gate": gate,
            "feedback": told,
            "evaluate": studio,
            "listener": lambda progress: None,
            "cancelled": lambda: False,
        }
        return ImproveContext(**{**options, **changes}), studio


@pytest.fixture
def world(tiny: Path, tmp_path: Path) -> Iterator[World]:
    for split in ("train", "held_out"):
        folder = tmp_path / "references" / split
        folder.mkdir(parents=True)
        for number in range(5):
            colour = (50 * number, 90, 200 if split == "train" else 30)
            Image.new("RGB", (32, 32), colour).save(folder / f"{number}.png")
            (folder / f"{number}.txt").write_text(f"aldar kose, holding {number}", encoding="utf-8")
    subject = Subject("Aldar Kose", "aldar kose", tmp_path / "references")
    cases = [Case("demo", f"open-{number}", f"aldar kose, holding {number}") for number in range(4)]
    cases += [Case("demo", f"locked-{number}", f"aldar kose, {number}", split="locked") for number in range(4)]
    bounds = {"quality": Threshold(0.6)}
    path = tmp_path / "demo.yaml"
    suite = Suite("demo", path, subject, ("lora",), ("lora",), tuple(cases), thresholds=bounds)
    with Store(tmp_path / "store") as store:
        yield World(tmp_path, tiny, suite, store, make_context(tiny, training=TRAINING))


def test_an_under_trained_lora_is_replaced_by_a_proven_challenger(world: World) -> None:
    weak = Lora(world.lora("weak", steps=1))
    context, _ = world.context(weak)

    result = improve(context)

    (record,) = result.rounds
    assert record["promoted"] and record["gap"]["low"] > 0 and record["failing_after"] == []
    assert "trained from scratch" in record["plan"][0] and record["changes"]["steps"] == [1, 6]
    assert record["steps"] == 6 and record["loss"] and record["seconds"] > 0
    assert result.promoted and result.promoted.path.parent == world.store.folder / "loras"
    assert hash_file(result.promoted.path) == record["challenger"]["sha256"]
    assert read_facts(result.promoted.path).steps == 6


def test_what_no_training_mends_is_not_trained_for_once_the_pictures_are_good(world: World) -> None:
    """References of two people: the LoRA gets better, the run stays red until somebody corrects the folder."""
    clip, band = Separation(0.8, 0.2, 0.02, 0.1, 8.0, 0.0, 8, 48), Band(0.4, 0.1, 8)
    torn = Calibration(clip, band, band, (), 50.0, 40.0, agreement=0.37, crowd=0.3, references=20)
    scorer = SimpleNamespace(traits=lambda: (), identity="known", calibration=lambda: torn)
    context, _ = world.context(Lora(world.lora("weak", steps=1)), scorer=scorer)

    (record,) = improve(context).rounds

    assert record["promoted"] and record["failing_after"] == []


def test_training_and_choosing_never_see_a_locked_case_or_its_seeds(world: World) -> None:
    context, studio = world.context(Lora(world.lora("weak", steps=1)))

    (record,) = improve(context).rounds

    challenger = record["challenger"]["sha256"]
    locked = [entry for entry in studio.asked if entry[1].startswith("locked")]
    first = studio.asked.index(locked[0])
    chosen, examined = studio.asked[:first], locked
    assert chosen and not any(case.startswith("locked") or seed >= HELD_OUT_OFFSET for _, case, seed in chosen)
    assert not {seed for _, _, seed in chosen} & set(world.suite.seeds())
    assert all(seed >= HELD_OUT_OFFSET for _, _, seed in examined)
    assert {hash_file(lora.path) for lora, _, _ in examined if lora} == {challenger, record["champion"]["sha256"]}


def test_a_challenger_that_is_no_better_is_refused_and_kept_aside(world: World) -> None:
    champion = world.lora("sound", steps=6)
    before = hash_file(champion)
    context, _ = world.context(Lora(champion), talent=lambda lora: 0.4)

    result = improve(context)

    assert result.promoted is None and [record["verdict"] for record in result.rounds] == ["refused", "refused"]
    assert "not proven better" in result.rounds[0]["reason"]
    assert [record["attempt"] for record in result.rounds] == [1, 2]
    assert "refused" in result.rounds[1]["plan"][0] and result.rounds[1]["config"]["seed"] == 1
    assert hash_file(champion) == before
    assert (world.store.folder / "loras" / result.rounds[0]["challenger"]["file"]).exists()


def test_the_suites_own_champion_is_replaced_and_remembered(world: World) -> None:
    home = world.root / "references" / "champion.safetensors"
    promote(world.lora("weak", steps=1), home, {}, "the first one")
    before = hash_file(home)
    own = Lora(home)
    world.suite = replace(world.suite, subject=replace(world.suite.subject, lora=own))
    context, _ = world.context(own, settings=SimpleNamespace(retrain=1, retrain_budget=None, samples=None, lora=None))

    result = improve(context)

    champion = read_champion(home)
    assert result.promoted == own and champion and champion.lineage == (before,)
    assert champion.sha256 == result.rounds[0]["challenger"]["sha256"] and champion.scores["differences"]


def test_a_lora_given_on_the_command_line_leaves_the_champion_alone(world: World) -> None:
    home = world.root / "references" / "champion.safetensors"
    promote(world.lora("sound", steps=6), home, {}, "the first one")
    before = hash_file(home)
    world.suite = replace(world.suite, subject=replace(world.suite.subject, lora=Lora(home)))
    context, _ = world.context(Lora(world.lora("weak", steps=1)))

    assert improve(context).promoted
    assert hash_file(home) == before


def test_a_forgotten_strength_is_mended_without_training(world: World) -> None:
    weak = Lora(world.lora("sound", steps=6), strength=0.1)
    context, _ = world.context(weak, talent=lambda lora: by_steps(lora) - (0 if lora and lora.strength > 0.5 else 0.5))

    (record,) = improve(context).rounds

    assert record["promoted"] and "nothing to train" in record["plan"][0] and "steps" not in record


def test_without_locked_cases_nothing_is_promoted(world: World) -> None:
    world.suite = replace(world.suite, cases=tuple(case for case in world.suite.cases if case.split == "open"))
    context, studio = world.context(Lora(world.lora("weak", steps=1)))

    result = improve(context)

    assert result.promoted is None and "no locked cases" in result.rounds[0]["reason"] and not studio.asked


def test_a_cancelled_loop_stops_and_the_next_goes_on_where_it_was(world: World) -> None:
    weak = Lora(world.lora("weak", steps=1))
    lines: list[str] = []

    def listen(progress: Progress) -> None:
        lines.append(progress.message)

    stopped, _ = world.context(weak, listener=listen, cancelled=lambda: any("6/6" in line for line in lines))
    assert improve(stopped).rounds == ()
    resumed, _ = world.context(weak, listener=listen)

    assert improve(resumed).promoted
    assert any("resumed" in line for line in lines)


def test_a_round_names_its_cause_and_the_history_tells_it(world: World) -> None:
    context, _ = world.context(Lora(world.lora("weak", steps=1)))

    (record,) = improve(context).rounds
    rounds = read_rounds(world.store, world.suite)
    told = "\n".join(history_lines(world.suite, rounds, [], []))

    assert record["cause"] == "under_trained" and "17%" in record["evidence"][0]
    assert [item["attempt"] for item in rounds] == [1] and rounds[0]["failing_after"] == []
    assert "under-trained" in told and "steps: 1 -> 6" in told and "4 open cases before, 0 after" in told


def test_every_challenger_of_one_champion_has_to_prove_more_than_the_last(world: World) -> None:
    sound = Lora(world.lora("sound", steps=6))
    first, _ = world.context(sound, talent=lambda lora: 0.4)
    levels = [record["level"] for record in improve(first).rounds]
    again, _ = world.context(sound, talent=lambda lora: 0.4)

    levels += [record["level"] for record in improve(again).rounds]

    assert levels == pytest.approx([0.95, 0.975, 0.9875, 0.99375])


def test_the_exam_tells_the_gap_to_the_best_competitor(world: World) -> None:
    weak = Lora(world.lora("weak", steps=1))
    context, studio = world.context(weak)
    talents: dict[str, Talent] = {"freepik": lambda lora: 0.5, "gemini": lambda lora: 0.95}
    rivals = {
        name: [Studio(world.suite, talent).result(None, name, case, (0,)) for case in world.suite.cases]
        for name, talent in talents.items()
    }
    seen = {name: [each for each in results if "open" in each.job.case] for name, results in rivals.items()}

    def evaluate(lora: Lora | None, provider: str, cases: Sequence[Case], seeds: Sequence[int]) -> list[CaseResult]:
        if provider in rivals:
            return [result for case in cases for result in rivals[provider] if result.job.case == case.id]
        return studio(lora, provider, cases, seeds)

    (record,) = improve(replace(context, results={**context.results, **seen}, evaluate=evaluate)).rounds

    assert record["promoted"] and record["competitor"] == "gemini"
    assert record["competitor_gap"]["mean"] < 0 and record["over_base"]["low"] > 0


def test_a_refused_challenger_is_kept_beside_the_champion_with_the_reason(world: World) -> None:
    home = world.root / "references" / "champion.safetensors"
    promote(world.lora("sound", steps=6), home, {}, "the first one")
    world.suite = replace(world.suite, subject=replace(world.suite.subject, lora=Lora(home)))
    settings = SimpleNamespace(retrain=1, retrain_budget=None, samples=None, lora=None)
    context, _ = world.context(Lora(home), talent=lambda lora: 0.4, settings=settings)

    (record,) = improve(context).rounds
    (kept,) = read_challengers(home)

    assert kept["sha256"] == record["challenger"]["sha256"] and kept["path"] == record["kept"]
    assert kept["origin"]["refused"] and "not proven better" in kept["origin"]["source"]


def test_a_budget_of_minutes_ends_the_training_and_says_so(world: World) -> None:
    settings = SimpleNamespace(retrain=2, retrain_budget=0.0, samples=None, lora=None)
    context, _ = world.context(Lora(world.lora("weak", steps=1)), settings=settings)

    (record,) = improve(context).rounds

    assert not record["promoted"] and "the budget of 0 minutes" in record["reason"]


def test_a_round_trains_with_what_train_would_take_for_the_pictures_on_this_machine(world: World) -> None:
    """The profile leaves rank and rate out: five pictures get rank 8."""
    training = {name: value for name, value in TRAINING.items() if name not in ("rank", "learning_rate")}
    world.drawing = make_context(world.models, training={**training, "sample_every": 2})
    settings = SimpleNamespace(retrain=1, retrain_budget=None, samples=None, lora=None)
    context, _ = world.context(None, settings=settings)

    (record,) = improve(context).rounds

    assert (record["config"]["rank"], record["config"]["batch"]) == (8, 2)
    assert record["config"]["learning_rate"] == pytest.approx(1e-4 * 0.5**0.5, rel=0.02)


# --- the wall -----------------------------------------------------------------------------------------------------


def test_the_ground_refuses_what_would_leak(world: World) -> None:
    first, second = Lora(world.lora("one", steps=1)), Lora(world.lora("two", steps=2))
    context, _ = world.context(first)
    ground = HeldOutTest(context, attempt=1)
    open_cases = [case for case in world.suite.cases if case.split == "open"]
    locked = [case for case in world.suite.cases if case.split == "locked"]

    with pytest.raises(EngineError, match="locked cases"):
        ground.practise(first, locked)
    with pytest.raises(EngineError, match="seeds"):
        ground.practise(first, open_cases, [HELD_OUT_OFFSET])
    with pytest.raises(EngineError, match="not entered"):
        ground.examine(first, None)
    ground.enter(first)
    with pytest.raises(EngineError, match="one challenger"):
        ground.enter(second)


# --- the decision -------------------------------------------------------------------------------------------------


def scores(quality: float, **others: float) -> dict[str, dict[Any, float]]:
    """Four cases of two seeds, with the same small differences in all."""
    values = {"quality": quality, "clip": 0.7, "features": 0.7, "ssim": 0.7, **others}
    pairs = [(f"case-{number}", seed) for number in range(4) for seed in (0, 1)]
    return {name: {pair: value + 0.002 * number for number, pair in enumerate(pairs)} for name, value in values.items()}


@pytest.mark.parametrize(
    ("challenger", "champion", "promoted", "reason"),
    [
        (scores(0.8), scores(0.7), True, "better"),
        (scores(0.71), scores(0.7), False, "less than the margin of 0.02"),  # sure, and not worth a change
        (scores(0.7), scores(0.7), False, "not proven better"),
        (scores(0.6), scores(0.7), False, "not proven better"),
        (scores(0.8, ssim=0.6), scores(0.7), False, "ssim: worse"),
        (scores(0.8, ssim=0.69), scores(0.7), True, "better"),  # within the suite's margin
        (scores(0.5), scores(0.4), False, "under the suite's 0.60"),
    ],
)
def test_only_what_is_proven_better_and_nowhere_worse_is_promoted(
    world: World, challenger: Any, champion: Any, promoted: bool, reason: str
) -> None:
    ruling = decide(world.suite, challenger, champion)

    assert ruling.promoted is promoted and reason in ruling.reasons[0]


def test_with_few_locked_cases_their_signs_must_agree(world: World) -> None:
    gains = dict.fromkeys(range(6), 0.3)
    old, most = ({name: {(f"case-{n}", 0): 0.6 for n in gains} for name in scores(0)} for _ in range(2))

    for last, promoted in ((0.02, True), (-0.02, False)):
        new = {**most, "quality": {(f"case-{n}", 0): 0.6 + gain for n, gain in {**gains, 5: last}.items()}}
        ruling = decide(world.suite, new, old)
        assert ruling.differences["quality"].low and ruling.differences["quality"].low > 0
        assert ruling.promoted is promoted and ("do not bear it out" in ruling.reasons[0]) is not promoted


def test_the_proof_that_is_asked_for_adds_up_to_five_percent() -> None:
    spent = [(1 - level_of(look)) / 2 for look in range(1, 30)]

    assert spent[:3] == pytest.approx([0.025, 0.0125, 0.00625]) and sum(spent) == pytest.approx(0.05)


def test_what_is_worse_than_the_base_is_refused_however_bad_the_champion_is(world: World) -> None:
    ruling = decide(world.suite, scores(0.7), scores(0.6), beside=RivalScores(scores(0.8)["quality"]))

    assert not ruling.promoted and "as good as the base" in ruling.reasons[0]


def test_where_something_else_fails_that_has_to_be_better_and_quality_no_worse(world: World) -> None:
    better, same = scores(0.7, prompt=0.9), scores(0.7, prompt=0.5)

    assert decide(world.suite, better, same, goal="prompt").promoted
    assert not decide(world.suite, better, same).promoted
    assert not decide(world.suite, scores(0.65, prompt=0.9), same, goal="prompt").promoted


def test_a_challenger_without_pictures_of_the_hard_prompts_is_refused(world: World) -> None:
    weak, strong = Lora(world.lora("weak", steps=1)), Lora(world.lora("strong", steps=6))
    context, studio = world.context(weak)

    def lose(whose: Lora | None, case: str) -> Callable[..., list[CaseResult]]:
        def evaluate(lora: Lora | None, *asked: Any) -> list[CaseResult]:
            lost = Sample("", 0, Outcome.BAD_IMAGE, message="all one colour")
            return [
                replace(result, samples=(lost, *result.samples[1:]))
                if lora == whose and result.job.case == case
                else result
                for result in studio(lora, *asked)
            ]

        return evaluate

    def sit(evaluate: Any) -> Any:
        ground = HeldOutTest(replace(context, evaluate=evaluate), attempt=1)
        ground.enter(strong)
        return ground.examine(strong, weak)

    ruling = sit(lose(strong, "locked-1"))
    assert not ruling.promoted and ruling.reasons == ("1 of its pictures of the locked cases could not be drawn",)
    assert sit(studio).promoted
    for whose, name in ((weak, "champion"), (None, "base")):
        with pytest.raises(EngineError, match=f"{name} are missing.*bad_image: all one colour"):
            sit(lose(whose, "locked-1"))


CHEATS = [
    ({"copy": SetScore("copy", "9 of 16 pictures copy a training picture", True)}, RivalScores(), "copy"),
    (
        {"diversity": SetScore("diversity", "seeds draw the same", True, details={"share": 0.1})},
        RivalScores(),
        "diversity",
    ),
    ({}, RivalScores(gain_on_open=Interval(0.02, -0.02, 0.06, 8)), "knows the exam"),
    ({}, RivalScores(strange="it learnt from other pictures"), "other pictures"),
]


@pytest.mark.parametrize(("sets", "beside", "reason"), CHEATS, ids=["copies", "collapsed", "learnt the exam", "origin"])
def test_a_cheat_is_refused_although_every_score_is_better(
    world: World, sets: Any, beside: RivalScores, reason: str
) -> None:
    ruling = decide(world.suite, scores(0.95, clip=0.95), scores(0.5), sets=sets, beside=beside)

    assert not ruling.promoted and reason in "; ".join(ruling.reasons)


def test_a_challenger_trained_on_renders_of_the_locked_prompts_is_refused(world: World) -> None:
    weak, home = Lora(world.lora("weak", steps=1)), world.root / "renders"
    for split in ("train", "held_out"):
        (home / split).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (32, 32), (9, 40 * number, len(split))).save(home / split / f"{number}.png")
    world.suite, suite = replace(world.suite, subject=replace(world.suite.subject, references=home)), world.suite
    cheat = Lora(world.lora("cheat", steps=6))
    world.suite = suite
    context, _ = world.context(weak)
    ground = HeldOutTest(context, attempt=1)
    ground.enter(cheat, {read_facts(weak.path).metadata["harness.references"]})

    ruling = ground.examine(cheat, weak)

    assert ruling.differences["quality"].low and not ruling.promoted and "other pictures" in ruling.reasons[0]


def test_one_common_case_proves_nothing(world: World) -> None:
    one: dict[str, dict[Any, float]] = {name: {("case-0", 0): 0.9} for name in ("quality", "clip", "features", "ssim")}

    assert not decide(world.suite, one, {name: {("case-0", 0): 0.1} for name in one}).promoted
