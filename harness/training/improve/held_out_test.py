"""Where a challenger is validated and where it is tested: the wall between open and locked cases.

Choosing draws open cases with validation seeds; the decision draws locked cases with seeds that nobody has drawn. Each
held-out test is taken once, by one file that was named before its first picture was drawn. A challenger must not have
memorised its training pictures, draw one picture for every seed, or change pictures of others: such a LoRA can score
better than an honest one. Nor may it have learnt from other pictures than the train pictures, by its own record, or
gain on the locked cases what it does not gain on open ones: it would have learnt the held-out test.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from harness.core.errors import EngineError, HarnessError
from harness.core.stats import paired
from harness.core.values import ALARMS, BASE, WITHOUT_LORA, Case, CaseResult, Interval, Lora, SetScore, hash_file
from harness.engine.context import ImproveContext
from harness.engine.set_metrics import (
    SEEDS,
    Sets,
    SetScorer,
    Table,
    find_diversity,
    find_drift,
    find_response,
    find_set_copies,
    stranger_cases,
)
from harness.judging.following import Gap, choose_questions, followed, gap_between
from harness.judging.scores import on_one_scale
from harness.models.lora.export import read_facts
from harness.training.improve.promotion import NO_ANSWER, RivalScores, Ruling, decide

VALIDATION_OFFSET = 1_000  # of validation seeds, per attempt; below the held-out tests', above the suite's own
OWN_OFFSET, OWN_SAMPLES = 500, 4  # beside a validation seed: of pictures that a LoRA learns from, not is chosen by
HELD_OUT_OFFSET = 10_000  # of held-out seeds, per attempt
HELD_OUT_SAMPLES = 4  # seeds a locked case, the fewest that show a collapse: 8 cases x 4 x 2 LoRAs are 64 pictures
OPEN_CASES = 8  # that are drawn beside the locked ones, one seed each
RIVAL_OFFSET = 9_500  # of the seeds of competitors: the same in every held-out test, so that no service is paid twice


class HeldOutTest:
    """The only way to pictures that an improve loop has."""

    def __init__(self, context: ImproveContext, attempt: int) -> None:
        suite = context.suite
        self._context = context
        self._locked = tuple(case for case in suite.cases if case.split == "locked")
        self._held_out_seeds = suite.seeds(HELD_OUT_SAMPLES, HELD_OUT_OFFSET * attempt)
        self._validation_seed = suite.seeds(1, VALIDATION_OFFSET * (1 + (attempt - 1) % 8))
        self.own_seeds = suite.seeds(OWN_SAMPLES, VALIDATION_OFFSET * (1 + (attempt - 1) % 8) + OWN_OFFSET)
        self._candidate = ""
        self._origins: frozenset[str] | None = None
        self.pictures = 0

    @property
    def has_held_out_test(self) -> bool:
        return bool(self._locked)

    def practise(
        self, lora: Lora | None, cases: Sequence[Case], seeds: Sequence[int] | None = None
    ) -> list[CaseResult]:
        """Draw and score open cases. Raises EngineError for a locked case or a held-out test's seed."""
        seeds = tuple(seeds or self._validation_seed)
        closed = [case.id for case in cases if case.split != "open"]
        if closed:
            raise EngineError(f"locked cases {closed} must not be seen while a LoRA is trained or chosen")
        if set(seeds) & set(self._held_out_seeds):
            raise EngineError("a held-out test's seeds must not be seen while a LoRA is trained or chosen")
        return self._draw(lora, cases, seeds)

    def enter(self, challenger: Lora, origins: Collection[str] | None = None) -> None:
        """Name the one file that takes this held-out test. Raises EngineError when another was named before.

        Args:
            origins: hashes of the sets of pictures that it may have learnt from; None: any.
        """
        self._origins = None if origins is None else frozenset(origins)
        candidate = hash_file(challenger.path)
        if self._candidate and self._candidate != candidate:
            raise EngineError("a held-out test is for one challenger: a second try on its pictures is a leak")
        self._candidate = candidate

    def examine(self, challenger: Lora, champion: Lora | None, look: int = 1, goal: str = "quality") -> Ruling:
        """Draw the locked cases for both, for the base and the competitors, and decide.

        Args:
            look: how many challengers this champion has had, this one included.
            goal: the metric that has to be better, named by what fails on the open cases.

        Raises:
            EngineError: the challenger was not entered, or a picture to compare it with could not be had.
        """
        if not self._candidate or hash_file(challenger.path) != self._candidate:
            raise EngineError("the challenger was not entered before the held-out test, or its file has changed since")
        before = complete(self._draw(champion, self._locked, self._held_out_seeds), "champion")
        after = self._draw(challenger, self._locked, self._held_out_seeds)
        calibration = self._context.scorer.calibration()
        doubt = "" if calibration is None or calibration.can_gate else str(calibration.reason)
        base = complete(self._draw(None, self._locked, self._base_seeds), "base") if champion else before
        metrics, sets = self._context.suite.metrics(), self._together(challenger, after, base, tuple(ALARMS))
        alarms = [name for name, result in sets.items() if result.alarm]
        usual = self._together(champion, before, base, alarms) if champion else {}
        others = self._competitors()
        ours, theirs, known, *rest = on_one_scale(after, before, base, *others.values(), metrics=metrics)
        values, rivals = (ours, theirs), {name: side["quality"] for name, side in zip(others, rest, strict=True)}
        beside = RivalScores(
            known["quality"], rivals, self._gain_on_open(challenger, champion), self._strange(challenger),
            follows(after, before, base),
        )  # fmt: skip
        return decide(self._context.suite, *values, doubt, sets, usual, beside, look, goal)

    @property
    def _base_seeds(self) -> Sequence[int]:
        """Two where the base's pictures say how far pictures change with these prompts: their halves must agree."""
        return self._held_out_seeds[: 1 if self._context.suite.alarm("response") == "off" else 2]

    def _gain_on_open(self, challenger: Lora, champion: Lora | None) -> Interval | None:
        """What the challenger gains in quality on open cases, drawn with the held-out test's first seed."""
        cases = self._context.suite.open_prompts[:OPEN_CASES]
        drawn = [self._draw(lora, cases, self._held_out_seeds[:1]) for lora in (challenger, champion)]
        new, old = on_one_scale(*drawn, metrics=("quality",))
        return paired(new["quality"], old["quality"])

    def _strange(self, challenger: Lora) -> str:
        """Why the challenger's own record says that it learnt from other pictures than it may; "" when it does not."""
        if self._origins is None:
            return ""
        learnt = read_facts(challenger.path).metadata.get("harness.references", "")
        if not learnt or learnt in self._origins:
            return ""
        return "it learnt from other pictures than the suite's train pictures, by its own record"

    def _competitors(self) -> dict[str, list[CaseResult]]:
        """Locked cases by those that have drawn open ones in this run; one picture a case, the same each time."""
        context = self._context
        here = [name for name, results in context.results.items() if any(result.scored for result in results)]
        names = [name for name in here if name not in (*context.suite.gate, *WITHOUT_LORA, context.provider)]
        findings = {}
        for name in names:
            seeds = context.suite.seeds(1, RIVAL_OFFSET)
            self.pictures += len(self._locked)
            try:
                findings[name] = context.evaluate(None, name, self._locked, seeds)
            except EngineError:
                raise
            except HarnessError:  # a competitor only informs; without it the held-out test goes on
                continue
        return findings

    def _together(
        self, lora: Lora, results: Sequence[CaseResult], base: Sequence[CaseResult], names: Sequence[str]
    ) -> Sets:
        """What a LoRA's held-out pictures say together; what the suite turned off by name is not asked."""
        suite, scorer = self._context.suite, self._context.scorer
        if not isinstance(scorer, SetScorer):
            return {}
        table, both = Table(self._context.store, scorer), {self._context.provider: results, BASE: base}
        ways: dict[str, Callable[[], SetScore]] = {
            "copy": lambda: find_set_copies(table, results),
            "diversity": lambda: find_diversity(table, results),
            "response": lambda: find_response(table, self._context.provider, both),
            "drift": lambda: self._drift(table, lora),
        }
        return {name: way() for name, way in ways.items() if name in names and suite.alarms.get(name) != "off"}

    def _drift(self, table: Table, lora: Lora) -> SetScore:
        """Prompts about others with the LoRA and without it, at seeds nobody has drawn."""
        context, seeds = self._context, self._held_out_seeds[:SEEDS]
        cases = stranger_cases(context.suite, context.profile, context.scorer.traits())
        on, off = (self._draw(each, cases, seeds) for each in (lora, None))
        return find_drift(table, {case.id: case.prompt for case in cases}, on, off)

    def _draw(self, lora: Lora | None, cases: Sequence[Case], seeds: Sequence[int]) -> list[CaseResult]:
        self.pictures += len(cases) * len(seeds)
        return self._context.evaluate(lora, self._context.provider, cases, seeds)


def follows(after: Sequence[CaseResult], before: Sequence[CaseResult], base: Sequence[CaseResult]) -> Gap | None:
    """How the challenger follows prompts against what is in use; None where no question can be read back.

    Args:
        base: pictures without a LoRA, in which what cases expect must be seen for it to be asked of others.
    """
    judged = choose_questions({"base": base}).judged
    theirs = followed(before, judged)
    return gap_between(followed(after, judged), theirs) or NO_ANSWER if theirs else None


def complete(results: list[CaseResult], whose: str) -> list[CaseResult]:
    """The results, if no picture is missing. Raises EngineError: without them nobody could say who is better."""
    missing = [sample for result in results for sample in result.samples if sample not in result.scored]
    if missing:
        about = ": ".join(filter(None, (missing[0].outcome.value, missing[0].message)))
        raise EngineError(f"held-out test: {len(missing)} pictures of the {whose} are missing ({about})")
    return results
