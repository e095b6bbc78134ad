"""`harness compare`: one LoRA against another on a suite's prompts with the same seeds, or against itself with others.

harness compare NEW.safetensors OLD.safetensors suites/toma.yaml    is the new one better than the one we ship?
harness compare --aa LORA.safetensors suites/toma.yaml              what does chance alone make of one LoRA?
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.config.profile import Profile
from harness.core import stats
from harness.core.errors import UsageError, nearest
from harness.core.settings import Settings
from harness.core.values import PROMPT_ONLY, Case, CaseResult, Decision, Interval, Job, Lora, Suite, hash_file
from harness.engine.run import Run
from harness.judging.changes import Changes, compare_results, compare_scores, flips_text
from harness.judging.complaints import ORDER, missing_pictures
from harness.judging.following import MARGIN, Loss, choose_questions, followed, gap_between
from harness.judging.leaderboard import interval_of
from harness.judging.record import Change, GateRecord, RunRecord
from harness.judging.scores import by_case, on_one_scale
from harness.report.terminal import ProgressLine, bounds_text, table
from harness.store import Store

WORSE, BROKEN, OPEN = 1, 10, 11  # exit codes beside 0; the last two as pytest's
SPLITS = 1_000  # of one LoRA's pictures into two halves
SHOWN = 3  # best and worst cases
WORDS: Mapping[str, tuple[str, str, str]] = {
    "improved": ("is better than", "better", "pass"),
    "regressed": ("is worse than", "worse", "fail"),
    "higher": ("is better than", "better, by little", "pass"),
    "lower": ("is worse than", "worse, by little", "inconclusive"),
    "unchanged": ("is no different from", "no different", "pass"),
    "inconclusive": ("cannot be told from", "open", "inconclusive"),
}
"""A verdict between two names, in a row of the table, and as a gate's decision."""
OpenRun = Callable[..., "Run"]
"""As `harness.engine.run.Run`."""


@dataclass(frozen=True)
class ComparisonSetup:
    """Where and with what LoRAs are compared."""

    suite: Suite
    profile: Profile
    settings: Settings
    provider: str  # who draws
    open_run: OpenRun | None = None  # None: the engine's

    @property
    def cases(self) -> tuple[Case, ...]:
        return tuple(case for case in self.suite.cases if self.settings.locked or case.split == "open")

    @property
    def samples(self) -> int:
        return self.settings.samples or self.suite.samples


@dataclass(frozen=True)
class ComparedResults:
    """What a run made of some LoRAs, by the names under which they are told."""

    sides: Mapping[str, Sequence[CaseResult]]
    results: RunRecord
    problem: str = ""  # why nothing can be concluded
    cause: str = ""  # what the gate found besides: the LoRA without effect, say
    control: Mapping[str, Sequence[CaseResult]] = field(default_factory=dict)  # the same prompts without any LoRA
    blind: str = ""  # why scores against these references decide nothing


def draw(
    bench: ComparisonSetup, loras: Mapping[str, Lora], samples: int, control: Sequence[str] = ()
) -> ComparedResults:
    """Every LoRA on every case with the same seeds, in one run of the engine; the first is the one under test.

    Args:
        control: providers that draw the same without a LoRA; what they could not draw is left out.
    """
    first, *others = loras
    suite = plain_suite(bench.suite, tuple(loras), samples)
    suite = replace(suite, providers=(*suite.providers, *control))
    settings = replace(
        bench.settings, lora=loras[first], samples=samples, baseline=None, baseline_from="off", retrain=0, providers=()
    )
    run = (bench.open_run or Run)(
        settings,
        plain_profile(bench.profile, bench.provider, tuple(loras)),
        [suite],
        Store(settings.store),
        listener=progress_line(),
        loras={name: loras[name] for name in others},
    )
    path = suite.path.as_posix()
    jobs = {name: [Job(path, case.id, name) for case in bench.cases] for name in (*loras, *control)}
    try:
        run.submit([job for own in jobs.values() for job in own])
        drawn = {name: [run.result(job) for job in own] for name, own in jobs.items()}
        sides = {name: drawn[name] for name in loras}
        gate = run.gate(path, first)
        problem = missing_words(sides)
        if gate.decision is Decision.ERROR and not problem:
            problem = "; ".join(complaint.message for complaint in gate.complaints)
        usual = {name: drawn[name] for name in control}
        return ComparedResults(sides, run.finish(), problem, gate.cause, usual, str(gate.details.get("blind", "")))
    finally:
        run.close()


def control_of(bench: ComparisonSetup, names: Iterable[str]) -> tuple[str, ...]:
    """Who shows what the prompts ask for, where cases say what they expect: the same base without a LoRA."""
    config = bench.profile.providers.get(PROMPT_ONLY)
    asks = any(case.expect for case in bench.cases) and PROMPT_ONLY not in names
    return (PROMPT_ONLY,) if asks and config is not None and config.adapter == "local" else ()


def plain_suite(suite: Suite, names: tuple[str, ...], samples: int) -> Suite:
    """The suite with LoRAs for providers, and no thresholds: these are held against each other."""
    cases = tuple(replace(case, thresholds={}) for case in suite.cases)
    changes: dict[str, Any] = {"samples": samples, "min_samples": None, "beat": (), "thresholds": {}, "cases": cases}
    return replace(suite, providers=names, gate=names[:1], **changes)


def plain_profile(profile: Profile, provider: str, names: tuple[str, ...]) -> Profile:
    """The profile with the provider under each LoRA's name.

    Raises:
        UsageError: the profile does not know it.
    """
    config = profile.providers.get(provider)
    if config is None:
        raise UsageError(f"--provider: no provider called {provider!r}; {nearest(provider, profile.providers)}")
    if config.adapter == "local":  # which takes its use from its name
        config = replace(config, options={"use": provider, **config.options})
        if config.options["use"] != "lora":
            raise UsageError(f"--provider: {provider!r} draws without a LoRA; name one that uses it")
    return replace(profile, providers={**profile.providers, **dict.fromkeys(names, config)})


def progress_line() -> Any:
    return ProgressLine(lambda text: print(text, end="", file=sys.stderr, flush=True), sys.stderr.isatty())


def missing_words(sides: Mapping[str, Sequence[CaseResult]]) -> str:
    """What is missing on either side; no missing picture is ever a difference."""
    result = {name: missing_pictures(results) for name, results in sides.items()}
    return "; ".join(f"{name}: {finding.complaint.message}" for name, finding in result.items() if finding)


# --- one against another ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """Whether a new LoRA is better than an old one."""

    new: str
    old: str
    changes: Changes
    results: RunRecord
    text: str
    problem: str = ""
    loss: Loss = Loss.NONE  # in following prompts
    blind: bool = False  # nothing can be said, and the suite does not accept that

    def status(self, prove: bool = False) -> int:
        if self.problem:
            return BROKEN
        if self.blind:
            return OPEN
        if self.changes.word == "regressed" or self.loss is Loss.PROVEN:
            return WORSE
        unproven = self.changes.word in ("inconclusive", "lower") or self.loss is Loss.OPEN
        return OPEN if prove and unproven else 0


def compare_loras(bench: ComparisonSetup, new: Lora, old: Lora) -> Comparison:
    """Both on the same cases and seeds, paired and clustered by case.

    Raises:
        UsageError: they are the same, or the provider uses no LoRA.
        EngineError: drawing or scoring broke down.
    """
    contents = [sorted((hash_file(part.path), part.strength) for part in lora.parts) for lora in (new, old)]
    if contents[0] == contents[1]:
        raise UsageError("compare: these are the same LoRA at the same strength; --aa compares one with itself")
    names = name_loras(new, old)
    drawn = draw(bench, dict(zip(names, (new, old), strict=True)), bench.samples, control_of(bench, names))
    recipes = drawn.results.suites[0].recipe
    if all(recipes[name].get("lora", "") == "" for name in names) and new.strength and old.strength:
        raise UsageError(f"compare: provider {bench.provider!r} uses no LoRA; name one that does with --provider")
    changes = compare_results(drawn.sides[names[0]], drawn.sides[names[1]], bench.suite.margin)
    problem = drawn.problem or ("" if changes.quality else "no case and seed has a score on both sides")
    prompts, loss = compare_prompts(drawn, *names)
    texts = [problem or verdict_words(*names, changes), *no_worse_words(*names, changes), *prompts, *cause_lines(drawn)]
    if drawn.blind and not problem:
        texts = [f"cannot judge: {drawn.blind}", *prompts, *cause_lines(drawn)]
    lines = [headline(bench, changes, names), *texts, *detail_lines(*names, changes)]
    decision = "error" if problem else decide(changes, loss, drawn.blind)
    compared = {"new": names[0], "old": names[1], **changes.record.plain}
    results = concluded(drawn.results, decision, texts, comparison=compared)
    blind = bool(drawn.blind) and bench.suite.on_blind != "report"
    return Comparison(*names, changes, results, "\n".join(lines), problem, loss, blind)


def decide(changes: Changes, loss: Loss, blind: str) -> str:
    """The two primaries as one decision: the worse of quality's and that of following prompts."""
    if blind:
        return "not_judged"
    also = {Loss.PROVEN: Decision.FAIL, Loss.OPEN: Decision.INCONCLUSIVE, Loss.NONE: Decision.PASS}[loss]
    return max(Decision(WORDS[changes.word][2]), also, key=ORDER.index).value


def compare_prompts(drawn: ComparedResults, new: str, old: str) -> tuple[list[str], Loss]:
    """Whether the new one follows prompts no worse, over the questions that can be read back, in lines."""
    questions = choose_questions(drawn.control)
    if not drawn.control:
        return [], Loss.NONE
    if questions.reason:
        return [f"prompt following is not judged: {questions.reason}"], Loss.NONE
    values = {name: followed(drawn.sides[name], questions.judged) for name in (new, old)}
    gap = gap_between(values[new], values[old])
    if gap is None:
        return [], Loss.NONE
    means = {name: interval_of(own) for name, own in values.items()}
    shown = f"{bounds_text(means[new])} against {bounds_text(means[old])}, {gap.text}"
    word = {Loss.PROVEN: "worse", Loss.OPEN: "not proven no worse", Loss.NONE: "no worse"}[gap.loss]
    lines = [f"{new} follows prompts {word} by more than the margin of {MARGIN:g} than {old}: {shown}"]
    usual = gap_between(values[new], followed(drawn.control[PROMPT_ONLY], questions.judged))
    if usual and usual.loss is Loss.PROVEN:
        lines.append(f"mind: {new} follows prompts worse than {PROMPT_ONLY} does, {usual.text}")
    return lines, gap.loss


def concluded(results: RunRecord, verdict: str, reasons: Sequence[str], **besides: object) -> RunRecord:
    """A run's record with what was concluded from it in place of its gate, and what was found besides."""
    gate = GateRecord(verdict=Decision(verdict), reasons=tuple(reasons))
    return results.model_copy(update={"gate": gate, **besides})


def name_loras(new: Lora, old: Lora) -> tuple[str, str]:
    """Short names that differ: the files', with strength or folder where those are equal."""
    sides = (new, old)
    for name in (
        lambda lora: lora.path.stem,
        lambda lora: f"{lora.path.stem}@{lora.strength:g}",
        lambda lora: "+".join(f"{part.path.stem}@{part.strength:g}" for part in (lora, *lora.beside)),
        lambda lora: f"{lora.path.parent.name}/{lora.path.stem}",
    ):
        first, second = (name(lora) for lora in sides)
        if first != second:
            return first, second
    return f"new {new.path.stem}", f"old {old.path.stem}"


def headline(bench: ComparisonSetup, changes: Changes, names: Sequence[str]) -> str:
    return (
        f"{' against '.join(names)}, suite {bench.suite.name}: {len(bench.cases)} cases x {bench.samples} seeds, "
        f"{changes.pairs} pairs"
    )


def verdict_words(new: str, old: str, changes: Changes) -> str:
    """The answer in a sentence: `a is better than b: quality 0.83 against 0.41, +0.42 [+0.35, +0.49]`."""
    quality = changes.quality
    if quality is None:
        return f"{new} and {old} have no picture in common"
    sentence = (
        f"{new} {WORDS[quality.verdict][0]} {old}: quality {quality.after:.2f} against {quality.before:.2f}, "
        f"{gap_text(quality.gap)}"
    )
    few = flips_text(quality.gap, quality.sign_flip_p)
    if quality.verdict == "unchanged":
        return f"{sentence}, within the margin of {changes.margin:g}"
    if quality.verdict in ("higher", "lower"):
        return f"{sentence}: proven, and by less than the margin of {changes.margin:g}{few}"
    if quality.verdict == "inconclusive":
        better = quality.gap.high
        side = "; not better by more than the margin" if better is not None and better <= changes.margin else ""
        return f"{sentence}{few}{side}; more cases or --samples would tell"
    return f"{sentence}{few}"


def no_worse_words(new: str, old: str, changes: Changes) -> list[str]:
    """Non-inferiority in a line of its own."""
    if changes.quality is None or changes.quality.gap.low is None:
        return []
    word = "proven" if changes.no_worse else "not proven"
    return [f"{new} is no worse than {old} by more than the margin of {changes.margin:g}: {word} ({p_text(changes)})"]


def p_text(changes: Changes) -> str:
    return f"p {changes.worse_p:.2g}" if changes.worse_p >= 1e-4 else "p below 0.0001"


def gap_text(gap: Interval) -> str:
    return bounds_text(gap, signed=True)


def cause_lines(drawn: ComparedResults) -> list[str]:
    return [f"mind: {drawn.cause}"] if drawn.cause else []


def detail_lines(new: str, old: str, changes: Changes) -> list[str]:
    """Metrics, traits and cases."""
    if changes.quality is None:
        return []
    rows: list[tuple[str, ...]] = [("metric", new, old, "difference", "")]
    rows += [change_row(name, change) for name, change in {"quality": changes.quality, **changes.metrics}.items()]
    lines = ["", *table(rows)]
    for title, word in (("gains", "improved"), ("losses", "regressed")):
        traits = [f"{name} {gap_text(item.gap)}" for name, item in changes.traits.items() if item.verdict == word]
        lines += [f"  traits, {title}: {', '.join(traits)}"] if traits else []
    cases = [change_row(name, change) for name, change in changes.cases.items()]
    parts = {"cases, the best first": cases[::-1]}
    if len(cases) > 2 * SHOWN:
        parts = {"best cases": cases[-SHOWN:][::-1], "worst cases": cases[:SHOWN]}
    for title, some in parts.items():
        lines += ["", f"  {title}", *table(some, "    ")]
    return lines


def change_row(name: str, change: Change) -> tuple[str, ...]:
    return name, f"{change.after:.2f}", f"{change.before:.2f}", gap_text(change.gap), WORDS[change.verdict][1]


# --- one against itself -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SelfCheck:
    """What chance alone makes of one LoRA."""

    changes: Changes
    noise: float  # standard deviation of the difference that other seeds alone make
    detectable: float  # the smallest true difference called better or worse in 80% of comparisons
    alarms: float  # share of random halves whose interval leaves out 0
    wrong: float  # share of random halves called better or worse
    results: RunRecord
    text: str
    problem: str = ""

    @property
    def covers(self) -> bool:
        """Whether the interval holds 0, as it should."""
        gap = self.changes.quality.gap if self.changes.quality else None
        return gap is not None and gap.low is not None and gap.high is not None and gap.low <= 0 <= gap.high

    def status(self, prove: bool = False) -> int:
        if self.problem:
            return BROKEN
        return WORSE if self.changes.word in ("improved", "regressed") else 0


def check_itself(bench: ComparisonSetup, lora: Lora) -> SelfCheck:
    """One LoRA with twice the seeds, one half held against the other as if they were two LoRAs.

    Raises:
        EngineError: drawing or scoring broke down.
    """
    name, seeds = lora.path.stem, bench.samples
    drawn = draw(bench, {name: lora}, 2 * seeds)
    [values] = on_one_scale(drawn.sides[name])
    first = bench.suite.seed
    new = {metric: half(result, first, seeds) for metric, result in values.items()}
    old = {metric: half(result, first + seeds, seeds) for metric, result in values.items()}
    changes = compare_scores(new, old, bench.suite.margin)
    problem = drawn.problem or ("" if changes.quality else "no case and seed has a score")
    groups = list(by_case(values.get("quality", {})).values())
    complete = [group for group in groups if len(group) == 2 * seeds]
    sd = stats.spread_of(groups).of_difference(seeds) if groups else 0.0
    alarms, wrong = split_alarms(complete, bench.suite.margin)
    noise, smallest = sd / math.sqrt(max(1, len(groups))), stats.smallest_change(sd, len(groups), bench.suite.margin)
    check = SelfCheck(changes, noise, smallest, alarms, wrong, drawn.results, "", problem)
    lines = [problem] if problem else self_lines(bench, name, check)
    decision = "error" if problem else "fail" if check.status() else "pass"
    found = {"noise": check.noise, "alarms": alarms, "wrong": wrong, **changes.record.plain}
    results = concluded(drawn.results, decision, [*lines[:2], *cause_lines(drawn)], self_check=found)
    return replace(check, results=results, text="\n".join([*lines, *cause_lines(drawn)]))


def half(values: Mapping[Any, float], first: int, seeds: int) -> dict[Any, float]:
    """The values of some seeds, numbered from 0, so that the n-th of one half meets the n-th of the other."""
    return {(case, seed - first): value for (case, seed), value in values.items() if first <= seed < first + seeds}


def split_alarms(groups: Sequence[Sequence[float]], margin: float) -> tuple[float, float]:
    """How often random halves of the same pictures look different: the interval leaves out 0 (and the signs of few
    cases agree); called better or worse.

    Args:
        groups: the values of each case, equally many and evenly many.
    """
    if len(groups) < 2:
        return 0.0, 0.0
    values = np.array(groups)
    seeds, random = values.shape[1] // 2, np.random.default_rng(0)
    mixed = random.permuted(np.broadcast_to(values, (SPLITS, *values.shape)), axis=2)
    gaps = mixed[..., :seeds].mean(2) - mixed[..., seeds:].mean(2)
    proven = stats.rows_differ(gaps)
    return float(proven.mean()), float((proven & (np.abs(gaps.mean(1)) >= margin)).mean())


def self_lines(bench: ComparisonSetup, name: str, check: SelfCheck) -> list[str]:
    """The verdict first, then what it is to be held against."""
    quality = check.changes.quality
    if quality is None:
        return []
    wrongly = {"improved": "called better than itself", "regressed": "called worse than itself"}.get(quality.verdict)
    covers = "holds 0, as it should" if check.covers else "leaves out 0, which chance does in 5% of comparisons"
    detectable = f"{check.detectable:.3f}" if math.isfinite(check.detectable) else "no difference at all"
    return [
        f"{name} against itself with other seeds, suite {bench.suite.name}: "
        f"{wrongly or quality.verdict}, {gap_text(quality.gap)}; the interval {covers}",
        f"expected noise: +-{check.noise:.3f} (one standard deviation) with {quality.gap.n} cases x {bench.samples} "
        f"seeds; the smallest difference called better or worse in 80% of comparisons is {detectable}",
        f"of {SPLITS:,} random halves of these pictures {check.alarms:.1%} leave out 0 and {check.wrong:.1%} would be "
        f"called better or worse (margin {check.changes.margin:g})",
    ]
