"""Where a challenger practises and where it is examined: the wall between open and locked cases, and the decision.

Choosing draws open cases with practice seeds; the decision draws locked cases with seeds that nobody has drawn before.
Each exam is sat once, by one file that was named before its first picture was drawn. A challenger must also not have
memorised its training pictures, draw one picture for every seed, or change pictures of others: such a LoRA can score
better than an honest one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.engine.context import ImproveContext
from harness.engine.setlevel import (
    SEEDS,
    Sets,
    SetScorer,
    Table,
    find_diversity,
    find_drift,
    find_set_copies,
    stranger_cases,
)
from harness.errors import EngineError
from harness.stats import Pair, clustered, paired
from harness.values import ALARMS, METRICS, Case, CaseResult, Interval, Lora, SetScore, Suite, hash_file

PRACTICE_OFFSET = 1_000  # of practice seeds, per attempt; below the exams', above the suite's own
EXAM_OFFSET = 10_000  # of exam seeds, per attempt
EXAM_SAMPLES = 4  # seeds a locked case, the fewest that show a collapse: 8 cases x 4 x 2 LoRAs are 64 pictures
WORSE = 0.05  # how far a challenger may stand behind a champion that raises the same alarm

Values = Mapping[str, Mapping[Pair, float]]
"""Metric to calibrated scores by (case, seed)."""


@dataclass(frozen=True)
class Ruling:
    """How an exam ended."""

    promoted: bool
    reasons: tuple[str, ...]
    differences: Mapping[str, Interval]  # challenger minus champion, by metric
    before: Mapping[str, Interval]  # the champion's scores on the locked cases
    after: Mapping[str, Interval]  # the challenger's
    sets: Mapping[str, SetScore] = field(default_factory=dict)  # what the challenger's pictures say together


class Ground:
    """The only way to pictures that an improve loop has."""

    def __init__(self, context: ImproveContext, attempt: int) -> None:
        suite = context.suite
        self._context = context
        self._locked = tuple(case for case in suite.cases if case.split == "locked")
        self._exam_seeds = suite.seeds(EXAM_SAMPLES, EXAM_OFFSET * attempt)
        self._practice_seed = suite.seeds(1, PRACTICE_OFFSET * (1 + (attempt - 1) % 8))
        self._candidate = ""
        self.pictures = 0

    @property
    def has_exam(self) -> bool:
        return bool(self._locked)

    def practise(
        self, lora: Lora | None, cases: Sequence[Case], seeds: Sequence[int] | None = None
    ) -> list[CaseResult]:
        """Draw and score open cases. Raises EngineError for a locked case or an exam's seed."""
        seeds = tuple(seeds or self._practice_seed)
        closed = [case.id for case in cases if case.split != "open"]
        if closed:
            raise EngineError(f"locked cases {closed} must not be seen while a LoRA is trained or chosen")
        if set(seeds) & set(self._exam_seeds):
            raise EngineError("an exam's seeds must not be seen while a LoRA is trained or chosen")
        return self._draw(lora, cases, seeds)

    def enter(self, challenger: Lora) -> None:
        """Name the one file that sits this exam. Raises EngineError when another was named before."""
        candidate = hash_file(challenger.path)
        if self._candidate and self._candidate != candidate:
            raise EngineError("an exam is sat by one challenger: a second try on the same locked pictures is a leak")
        self._candidate = candidate

    def examine(self, challenger: Lora, champion: Lora | None) -> Ruling:
        """Draw the locked cases for both and decide. Raises EngineError when the challenger was not entered."""
        if not self._candidate or hash_file(challenger.path) != self._candidate:
            raise EngineError("the challenger was not entered before the exam, or its file has changed since")
        before = self._draw(champion, self._locked, self._exam_seeds)
        after = self._draw(challenger, self._locked, self._exam_seeds)
        calibration = self._context.scorer.calibration()
        doubt = "" if calibration is None or calibration.can_gate else str(calibration.reason)
        metrics, sets = self._context.suite.metrics(), self._together(challenger, after, tuple(ALARMS))
        alarms = [name for name, found in sets.items() if found.alarm]
        usual = self._together(champion, before, alarms) if champion else {}
        values = values_of(after, metrics), values_of(before, metrics)
        return decide(self._context.suite, *values, doubt, sets, usual)

    def _together(self, lora: Lora, results: Sequence[CaseResult], names: Sequence[str]) -> Sets:
        """What a LoRA's exam pictures say together; what the suite turned off by name is not asked."""
        suite, scorer = self._context.suite, self._context.scorer
        if not isinstance(scorer, SetScorer):
            return {}
        table = Table(self._context.store, scorer)
        ways = {
            "copy": lambda: find_set_copies(table, results),
            "diversity": lambda: find_diversity(table, results),
            "drift": lambda: self._drift(table, lora),
        }
        return {name: ways[name]() for name in names if suite.alarms.get(name) != "off"}

    def _drift(self, table: Table, lora: Lora) -> SetScore:
        """Prompts about others with the LoRA and without it, at seeds nobody has drawn."""
        context, seeds = self._context, self._exam_seeds[:SEEDS]
        cases = stranger_cases(context.suite, context.profile, context.scorer.traits())
        on, off = (self._draw(each, cases, seeds) for each in (lora, None))
        return find_drift(table, {case.id: case.prompt for case in cases}, on, off)

    def _draw(self, lora: Lora | None, cases: Sequence[Case], seeds: Sequence[int]) -> list[CaseResult]:
        self.pictures += len(cases) * len(seeds)
        return self._context.evaluate(lora, self._context.provider, cases, seeds)


def values_of(results: Sequence[CaseResult], metrics: Sequence[str] = METRICS) -> dict[str, dict[Pair, float]]:
    """Calibrated scores by metric and (case, seed); what has no value is left out."""
    found: dict[str, dict[Pair, float]] = {metric: {} for metric in metrics}
    for result in results:
        for sample in result.scored:
            for metric in metrics:
                score = sample.scores.get(metric)
                if score is not None and score.value is not None:
                    found[metric][result.job.case, sample.seed] = score.value
    return found


def intervals(values: Values) -> dict[str, Interval]:
    """Each metric's mean, clustered by case."""
    return {metric: clustered(by_case(scores)) for metric, scores in values.items() if scores}


def by_case(scores: Mapping[Pair, float]) -> dict[object, list[float]]:
    """One list of values a case."""
    grouped: dict[object, list[float]] = {}
    for (case, _), value in scores.items():
        grouped.setdefault(case, []).append(value)
    return grouped


def decide(
    suite: Suite,
    challenger: Values,
    champion: Values,
    doubt: str = "",
    sets: Mapping[str, SetScore] | None = None,
    usual: Mapping[str, SetScore] | None = None,
) -> Ruling:
    """Promote only what is proven better in quality, nowhere proven worse, and above the suite's bounds. Pure.

    "Worse" is a whole interval below -margin, the suite's own: with many pictures any nothing becomes significant.

    Args:
        doubt: why the scores themselves cannot be trusted, which refuses everything; "" when they can.
        sets: what the challenger's pictures say together.
        usual: the same of the champion's; needed only where the challenger raises an alarm.
    """
    found = {metric: paired(challenger[metric], champion[metric]) for metric in challenger}
    differences = {metric: interval for metric, interval in found.items() if interval is not None}
    after = intervals(challenger)
    against = [f"the scores cannot decide: {doubt}"] if doubt else []
    quality = differences.get("quality")
    if quality is None or quality.low is None:
        against.append("quality: too few pictures in common on the locked cases to prove anything")
    elif quality.low <= 0:
        against.append(f"quality: not proven better on the locked cases, {spell(quality)}")
    for metric, interval in differences.items():
        if metric != "quality" and interval.high is not None and interval.high < -suite.margin:
            against.append(f"{metric}: worse on the locked cases, {spell(interval)}")
    for metric, interval in after.items():
        bound = suite.threshold(None, metric).fail
        if bound is not None and interval.mean < bound:
            against.append(f"{metric}: {interval.mean:.2f} on the locked cases, under the suite's {bound:.2f}")
    against += alarms_against(sets or {}, usual or {})
    reasons = against or [f"quality: better on the locked cases, {spell(quality)}"]
    return Ruling(not against, tuple(reasons), differences, intervals(champion), after, sets or {})


def alarms_against(sets: Mapping[str, SetScore], usual: Mapping[str, SetScore]) -> list[str]:
    """Why the pictures together refuse a challenger.

    Copies always do: likeness that was copied proves nothing. The others do where the champion is better.
    """
    against = []
    for name, found in sets.items():
        if not found.alarm:
            continue
        before = usual.get(name)
        if name == "copy" or before is None or not before.alarm:
            against.append(f"{name}: on the locked cases {found.sentence}")
        elif shortcoming(found) > shortcoming(before) + WORSE:
            against.append(f"{name}: worse than the champion's, {found.sentence}")
    return against


def shortcoming(found: SetScore) -> float:
    """How bad an alarm is, [0, 1]: the share of seeds that repeat a picture, of the way that others come nearer."""
    if found.metric == "diversity":
        return 1 - float(found.details["share"])
    return max(float(found.details["leak"]["mean"]), float(found.details["taken"]))


def spell(interval: Interval | None) -> str:
    """`+0.21 [+0.15, +0.27]`."""
    if interval is None:
        return "not measured"
    if interval.low is None or interval.high is None:
        return f"{interval.mean:+.2f}"
    return f"{interval.mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"
