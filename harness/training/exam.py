"""Where a challenger practises and where it is examined: the wall between open and locked cases, and the decision.

Choosing draws open cases with practice seeds; the decision draws locked cases with seeds that nobody has drawn before.
Each exam is sat once, by one file that was named before its first picture was drawn. A challenger must also not have
memorised its training pictures, draw one picture for every seed, or change pictures of others: such a LoRA can score
better than an honest one. Nor may it have learnt from other pictures than the train pictures, by its own record, or
gain on the locked cases what it does not gain on open ones: it would have learnt the exam.

Every look at one champion is paid for: the k-th challenger of the same champion is held against ALPHA / 2**k, so that
all of them together, however many come, promote one that is no better with a probability of ALPHA at most.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

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
from harness.errors import EngineError, HarnessError
from harness.stats import LEVEL, Pair, clustered, max_of_k, paired
from harness.training.export import read_facts
from harness.values import ALARMS, METRICS, Case, CaseResult, Interval, Lora, SetScore, Suite, hash_file

PRACTICE_OFFSET = 1_000  # of practice seeds, per attempt; below the exams', above the suite's own
EXAM_OFFSET = 10_000  # of exam seeds, per attempt
EXAM_SAMPLES = 4  # seeds a locked case, the fewest that show a collapse: 8 cases x 4 x 2 LoRAs are 64 pictures
WORSE = 0.05  # how far a challenger may stand behind a champion that raises the same alarm
ALPHA = 0.05  # of promoting a challenger that is no better than one champion, over all who ever challenge it
OPEN_CASES = 8  # that are drawn beside the locked ones, one seed each
RIVAL_OFFSET = 9_500  # of the seeds of competitors: the same in every exam, so that no service is paid twice
NO_RIVALS = ("base", "prompt_only")  # they are what a LoRA is made on, and competitors to nobody

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
    base: Interval | None = None  # the challenger's quality minus that of the base without a LoRA
    rival: str = ""  # the competitor that is nearest or ahead
    rival_gap: Interval | None = None  # quality minus the best competitor's, corrected for the choice of the best
    look: int = 1  # how many challengers this champion has had, this one included
    level: float = LEVEL  # of the interval that had to lie above 0


class Ground:
    """The only way to pictures that an improve loop has."""

    def __init__(self, context: ImproveContext, attempt: int) -> None:
        suite = context.suite
        self._context = context
        self._locked = tuple(case for case in suite.cases if case.split == "locked")
        self._exam_seeds = suite.seeds(EXAM_SAMPLES, EXAM_OFFSET * attempt)
        self._practice_seed = suite.seeds(1, PRACTICE_OFFSET * (1 + (attempt - 1) % 8))
        self._candidate = ""
        self._origins: frozenset[str] | None = None
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

    def enter(self, challenger: Lora, origins: Collection[str] | None = None) -> None:
        """Name the one file that sits this exam. Raises EngineError when another was named before.

        Args:
            origins: hashes of the sets of pictures that it may have learnt from; None: any.
        """
        self._origins = None if origins is None else frozenset(origins)
        candidate = hash_file(challenger.path)
        if self._candidate and self._candidate != candidate:
            raise EngineError("an exam is sat by one challenger: a second try on the same locked pictures is a leak")
        self._candidate = candidate

    def examine(self, challenger: Lora, champion: Lora | None, look: int = 1, goal: str = "quality") -> Ruling:
        """Draw the locked cases for both, for the base and the competitors, and decide.

        Args:
            look: how many challengers this champion has had, this one included.
            goal: the metric that has to be better, named by what fails on the open cases.

        Raises:
            EngineError: the challenger was not entered.
        """
        if not self._candidate or hash_file(challenger.path) != self._candidate:
            raise EngineError("the challenger was not entered before the exam, or its file has changed since")
        before = self._draw(champion, self._locked, self._exam_seeds)
        after = self._draw(challenger, self._locked, self._exam_seeds)
        calibration = self._context.scorer.calibration()
        doubt = "" if calibration is None or calibration.can_gate else str(calibration.reason)
        metrics, sets = self._context.suite.metrics(), self._together(challenger, after, tuple(ALARMS))
        alarms = [name for name, found in sets.items() if found.alarm]
        usual = self._together(champion, before, alarms) if champion else {}
        base = self._draw(None, self._locked, self._exam_seeds) if champion else before
        values = values_of(after, metrics), values_of(before, metrics)
        rivals = {name: values_of(found)["quality"] for name, found in self._competitors().items()}
        beside = Beside(
            values_of(base)["quality"], rivals, self._gain_on_open(challenger, champion), self._strange(challenger)
        )
        return decide(self._context.suite, *values, doubt, sets, usual, beside, look, goal)

    def _gain_on_open(self, challenger: Lora, champion: Lora | None) -> Interval | None:
        """What the challenger gains in quality on open cases, drawn with the exam's first seed."""
        cases = [case for case in self._context.suite.cases if case.split == "open"][:OPEN_CASES]
        new, old = (values_of(self._draw(lora, cases, self._exam_seeds[:1])) for lora in (challenger, champion))
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
        """Locked cases by those that have drawn open ones in this run; one picture a case, the same in every exam."""
        context = self._context
        here = [name for name, results in context.results.items() if any(result.scored for result in results)]
        names = [name for name in here if name not in (*context.suite.gate, *NO_RIVALS, context.provider)]
        found = {}
        for name in names:
            seeds = context.suite.seeds(1, RIVAL_OFFSET)
            self.pictures += len(self._locked)
            try:
                found[name] = context.evaluate(None, name, self._locked, seeds)
            except EngineError:
                raise
            except HarnessError:  # a competitor only informs; without it the exam goes on
                continue
        return found

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


def by_case(scores: Mapping[Pair, float]) -> dict[Hashable, list[float]]:
    """One list of values a case."""
    grouped: dict[Hashable, list[float]] = {}
    for (case, _), value in scores.items():
        grouped.setdefault(case, []).append(value)
    return grouped


@dataclass(frozen=True)
class Beside:
    """Quality of the others on the locked cases."""

    base: Mapping[Pair, float] = field(default_factory=dict)  # without a LoRA, the same cases and seeds
    rivals: Mapping[str, Mapping[Pair, float]] = field(default_factory=dict)  # competitors, each with its own seeds
    gain_on_open: Interval | None = None  # the challenger's over the champion, on open cases with fresh seeds
    strange: str = ""  # why its origin alone refuses the challenger


def level_of(look: int) -> float:
    """The level of the two-sided interval that the k-th challenger of one champion must have above 0.

    One-sided, ALPHA / 2**k is spent at look k: 2.5%, 1.25%, 0.63%, ... which add up to ALPHA (Bonferroni over a
    geometric series, the simplest alpha spending that needs no end). Interval levels are 1 - 2 * ALPHA / 2**k.
    """
    return 1 - 2 * ALPHA / 2 ** max(1, look)


def decide(
    suite: Suite,
    challenger: Values,
    champion: Values,
    doubt: str = "",
    sets: Mapping[str, SetScore] | None = None,
    usual: Mapping[str, SetScore] | None = None,
    beside: Beside | None = None,
    look: int = 1,
    goal: str = "quality",
) -> Ruling:
    """Promote what is proven better in one metric, no worse than base, nowhere proven worse, above all bounds. Pure.

    "Worse" is a whole interval below -margin, the suite's own: with many pictures any nothing becomes significant.

    Args:
        doubt: why the scores themselves cannot be trusted, which refuses everything; "" when they can.
        sets: what the challenger's pictures say together.
        usual: the same of the champion's; needed only where the challenger raises an alarm.
        beside: the base and the competitors; competitors are told of and refuse nobody.
        look: how many challengers this champion has had, this one included; each raises the proof that is asked for.
        goal: the one metric that has to be better, quality but for a suite in which something else fails.
    """
    beside, level = beside or Beside(), level_of(look)
    found = {
        metric: paired(challenger[metric], champion[metric], level if metric == goal else LEVEL)
        for metric in challenger
    }
    differences = {metric: interval for metric, interval in found.items() if interval is not None}
    after = intervals(challenger)
    over_base = paired(challenger["quality"], beside.base)
    against = [f"the scores cannot decide: {doubt}"] if doubt else []
    against += [beside.strange] if beside.strange else []
    gain = differences.get(goal)
    if gain is None or gain.low is None:
        against.append(f"{goal}: too few pictures in common on the locked cases to prove anything")
    elif gain.low <= 0:
        against.append(f"{goal}: not proven better on the locked cases, {spell(gain)}{spell_look(look, level)}")
    if over_base is not None and (over_base.low is None or over_base.low < -suite.margin):
        against.append(f"quality: not proven as good as the base without a LoRA, {spell(over_base)}")
    for metric, interval in differences.items():
        if metric != goal and interval.high is not None and interval.high < -suite.margin:
            against.append(f"{metric}: worse on the locked cases, {spell(interval)}")
    for metric, interval in after.items():
        bound = suite.threshold(None, metric).fail
        if bound is not None and interval.mean < bound:
            against.append(f"{metric}: {interval.mean:.2f} on the locked cases, under the suite's {bound:.2f}")
    against += alarms_against(sets or {}, usual or {})
    against += learnt_exam(differences.get("quality"), beside.gain_on_open, suite.margin)
    rival, gap = best_rival(challenger["quality"], beside.rivals)
    reasons = against or [f"{goal}: better on the locked cases, {spell(gain)}{spell_look(look, level)}"]
    return Ruling(
        not against,
        tuple(reasons),
        differences,
        intervals(champion),
        after,
        sets or {},
        over_base,
        rival,
        gap,
        look,
        level,
    )


def learnt_exam(locked: Interval | None, open_: Interval | None, margin: float) -> list[str]:
    """A gain on the locked cases that lies wholly above that on the open ones: nobody learns what he has not seen."""
    if locked is None or open_ is None or locked.low is None or open_.high is None:
        return []
    if locked.low <= open_.high + margin:
        return []
    return [f"quality: gains {spell(locked)} on the locked cases and {spell(open_)} on open ones: it knows the exam"]


def best_rival(own: Mapping[Pair, float], rivals: Mapping[str, Mapping[Pair, float]]) -> tuple[str, Interval | None]:
    """The competitor that is nearest or ahead, and the gap to the best of all, corrected for taking the maximum.

    Seeds of a service mean nothing here, so means of cases are compared, not single pictures.
    """
    ours = {case: fmean(values) for case, values in by_case(own).items()}
    gaps: dict[str, dict[Hashable, list[float]]] = {
        name: {case: [ours[case] - fmean(values)] for case, values in by_case(theirs).items() if case in ours}
        for name, theirs in rivals.items()
    }
    gaps = {name: groups for name, groups in gaps.items() if groups}
    if not gaps:
        return "", None
    return min(gaps, key=lambda name: clustered(gaps[name]).mean), max_of_k(gaps)


def spell_look(look: int, level: float) -> str:
    """Which challenger of this champion it is, and what was asked of it; "" of the first."""
    return f" at {level:.2%}, challenger {look} of this champion" if look > 1 else ""


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
