"""How many pictures a verdict needs: what a suite can prove before anything is drawn, and which pictures come next.

With `samples: {min: 2, max: 12}` every case gets `min` seeds, and more only where the verdict is still open: a first
look at 2, a second at 5, a last at 12. Looking three times would give three chances of a false alarm, so each look
holds its scores against narrower odds (alpha spending, `stats.looking`): whatever is decided at any look, at
most 2.5% of true passes fail and at most 2.5% of true fails pass, as with one look at a fixed number.

Prompts come before seeds: a round goes once over all open cases before any of them gets the next seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from harness.core import stats
from harness.core.values import PROMPT_ONLY, Case, CaseResult, Decision, Job, Suite, Verdict

BEST = "best_competitor"
TYPICAL = stats.StandardDeviations(between=0.05, within=0.06)
"""How calibrated quality varies where nothing is known yet: measured on the embedded suite, a trained LoRA."""
HARD, HARDER = 0.15, 3.0  # the share of prompts whose seeds vary by more, and how much more: what lint reckons with
DROP = 0.2  # that a single prompt may surely have fallen by, before it fails the gate by its name
LIKELY_RED = 0.05  # a chance of a red run for nothing that is worth a warning


# --- looks --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InterimAnalyses:
    """When a growing sample is judged, and at which level its intervals are drawn each time."""

    seeds: tuple[int, ...]  # a case has at each look, rising
    levels: tuple[float, ...]

    def number(self, drawn: int) -> int:
        """Which look a case with so many seeds has reached, from 0."""
        return next((place for place, seeds in enumerate(self.seeds) if drawn <= seeds), len(self.seeds) - 1)

    def after(self, drawn: int) -> int | None:
        """The seeds of the next look; None after the last."""
        return next((seeds for seeds in self.seeds if seeds > drawn), None)


@lru_cache(maxsize=64)
def plan_looks(least: int, most: int) -> InterimAnalyses:
    """Two or three looks, a constant factor apart; Pocock-type spending, because what counts is stopping early.

    A case's information grows with its seeds. A gate's grows less (its prompts stay the same), for which these levels
    are on the safe side.
    """
    seeds = tuple(sorted({least, round(math.sqrt(least * most)), most}))
    if len(seeds) < 2:
        return InterimAnalyses((most,), (stats.LEVEL,))
    shares = tuple(count / most for count in seeds)
    return InterimAnalyses(seeds, stats.levels(stats.spending_bounds(shares, (1 - stats.LEVEL) / 2, "pocock")))


def looks_of(suite: Suite) -> InterimAnalyses:
    """One look, unless the suite says `samples: {min, max}`."""
    if suite.min_samples is None or suite.min_samples >= suite.samples:
        return InterimAnalyses((suite.samples,), (stats.LEVEL,))
    return plan_looks(suite.min_samples, suite.samples)


def level_at(suite: Suite, drawn: int) -> float:
    """The level of intervals for a case that has so many seeds, or a gate whose cases all have them."""
    looks = looks_of(suite)
    return looks.levels[looks.number(drawn)]


def gate_seeds(results: Sequence[CaseResult]) -> int:
    """Where a gate stands among the looks: at the seeds that all its cases have, whatever single ones draw beyond."""
    return min((len(result.samples) for result in results), default=0)


def is_last_look(suite: Suite, drawn: int) -> bool:
    """Whether no more samples will come for a gate whose cases all have so many seeds."""
    looks = looks_of(suite)
    return len(looks.seeds) == 1 or looks.after(drawn) is None


def confirming_seeds(suite: Suite, samples: int | None = None) -> int:
    """How many seeds a red case is confirmed with: twice the first ones, and never so few that their spread is luck.

    Args:
        samples: from the command line, in place of the suite's own number.
    """
    return max(2 * (samples or suite.min_samples or suite.samples), stats.ENOUGH)


# --- what to draw next --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NextSample:
    """One more picture that a verdict waits for."""

    job: Job
    seed: int


def next_draws(
    suite: Suite, verdicts: Mapping[Job, Verdict], gates: Mapping[str, Verdict], drawn: Mapping[Job, int]
) -> tuple[NextSample, ...]:
    """The pictures of the next look, prompts before seeds; nothing when every verdict is closed or `max` is reached.

    A case that is red until its own seeds confirm it gets those seeds, whatever `max` says. A gate that is open takes
    all its cases with it, an open case only itself. Where `beat` is open, those who must be beaten draw the same seeds,
    where `prompt` is, those without the LoRA. Competitors by themselves never get more than `min`: their verdicts only
    inform.

    Args:
        verdicts: of the gate providers' cases.
        gates: by provider.
        drawn: how many seeds each job has, the competitors' too.
    """
    looks, wanted = looks_of(suite), dict[Job, int]()
    for provider, gate in gates.items():
        own = [job for job in drawn if job.provider == provider]
        every = needs_more_samples(gate)
        for job in own:
            verdict = verdicts.get(job)
            if verdict and (seeds := verdict.details.get("confirm")):
                wanted[job] = max(seeds, drawn[job])
            elif every or (verdict and needs_more_samples(verdict)):
                wanted[job] = looks.after(drawn[job]) or drawn[job]
        for rival in rivals_of(suite, gate, drawn):
            goal = max((wanted.get(job, drawn[job]) for job in own if job.case == rival.case), default=0)
            wanted[rival] = max(goal, drawn[rival])
    places = {case.id: number for number, case in enumerate(suite.cases)}
    draws = [NextSample(job, suite.seed + number) for job, goal in wanted.items() for number in range(drawn[job], goal)]
    return tuple(sorted(draws, key=lambda draw: (draw.seed, places[draw.job.case], draw.job.provider)))


def needs_more_samples(verdict: Verdict) -> bool:
    """Whether more pictures could settle it; what is missing, unmeasured or not calibrated they cannot mend."""
    return verdict.decision is Decision.INCONCLUSIVE and bool(verdict.details.get("open"))


def rivals_of(suite: Suite, gate: Verdict, jobs: Iterable[Job]) -> list[Job]:
    """The jobs of those whom an open `beat`, or an open `prompt`, waits for."""
    waits = gate.details["open"] if needs_more_samples(gate) else ()
    names = {*(suite.beat if "beat" in waits else ()), *((PROMPT_ONLY,) if "prompt" in waits else ())}
    return [job for job in jobs if job.provider not in suite.gate and (BEST in names or job.provider in names)]


def saved_text(suite: Suite, drawn: Mapping[Job, int]) -> str:
    """What stopping early spared, for people; "" where the number of samples is fixed."""
    looks = looks_of(suite)
    if len(looks.seeds) < 2 or not drawn:
        return ""
    spent, fixed = sum(drawn.values()), suite.samples * len(drawn)
    early = sum(count < suite.samples for count in drawn.values())
    return (
        f"samples {suite.min_samples} to {suite.samples}: {spent} of {fixed} pictures were drawn "
        f"({1 - spent / fixed:.0%} saved); {early} of {len(drawn)} cases x providers stopped before {suite.samples}"
    )


# --- before anything is drawn -------------------------------------------------------------------------------------


def plan_notes(suite: Suite, spread: stats.StandardDeviations = TYPICAL) -> list[str]:
    """What the suite can prove, in plain words with the assumptions: for `harness lint`.

    Args:
        spread: of calibrated quality; from a calibration or an earlier run where there is one.
    """
    cases = suite.open_prompts
    if not cases or not suite.gate:
        return []
    looks = looks_of(suite)
    return [
        f"assumed: prompts' true qualities vary by {spread.between:.2f} and seeds of one prompt by {spread.within:.2f} "
        "(standard deviations of quality, as measured on the shipped suite; other metrics are taken to vary like it)",
        *_power_notes(len(cases), looks, suite.margin, spread),
        *_own_notes(len(cases), looks, spread),
        *_red_notes(suite, cases, spread),
        *_look_notes(suite),
    ]


def _power_notes(prompts: int, looks: InterimAnalyses, margin: float, spread: stats.StandardDeviations) -> list[str]:
    """Against a baseline, by the judge's whole rule; of the last look."""
    if prompts < 2:
        return ["one open prompt: no interval over prompts exists, so no difference can ever be proven; add prompts"]
    seeds, level = looks.seeds[-1], looks.levels[-1]
    sd = spread.of_difference(seeds)
    smallest = stats.smallest_change(sd, prompts, margin, level=level)
    result = stats.change_found(spread.between, sd, prompts, margin, level)
    half = stats.quantile((1 - level) / 2, prompts - 1) * sd / math.sqrt(prompts)
    notes = [
        f"{prompts} open prompts x {seeds} samples fail a drop of {smallest:.3f} in quality against a baseline in 80% "
        f"of runs (proven, and by the margin of {margin:g} or more), and one of {spread.between:.2f} (one standard "
        f"deviation of prompts) in {result:.0%}"
    ]
    if half > margin:
        needed = stats.clusters_needed(margin, sd, 0.95, level)
        notes.append(
            f"an unchanged LoRA will often stay inconclusive against a baseline: the interval reaches {half:.3f} to "
            f"either side, the margin is {margin:.3f}; {needed} prompts would do, or a wider margin"
        )
    return notes


def _own_notes(prompts: int, looks: InterimAnalyses, spread: stats.StandardDeviations) -> list[str]:
    """What seeds within prompts can tell where they vary unequally: the gate's own mean, and one prompt's fall."""
    seeds, level = looks.seeds[-1], looks.levels[-1]
    if seeds < 2:
        away = stats.detectable(spread.of_mean(seeds), prompts, level=level)
        shown = f"a mean must stand {away:.3f} away from it" if math.isfinite(away) else "no mean is ever certain"
        return [f"one sample a prompt tells nothing of seeds: against a threshold {shown}; draw 2 or more"]
    own = stats.own_reach(unequal(prompts, spread.within), seeds, level)
    fall = spread.within * math.sqrt(2 / seeds)
    df = min(stats.PRIOR, 2 * (seeds - 1) * (prompts - 1)) + 2 * (seeds - 1)
    found = DROP + stats.reach(fall, df, 1 - (1 - level) / prompts)
    return [
        f"against a threshold the mean of these prompts must stand {own:.3f} away from it to be decided in 80% of runs "
        f"(one in {round(1 / HARD)} is taken to vary {HARDER:g} times as much)",
        f"one prompt that falls by {found:.2f} against a baseline fails by its name in 80% of runs",
    ]


def unequal(prompts: int, sd: float) -> list[float]:
    """How seeds of prompts vary that vary by `sd` on the whole, the hard ones by more."""
    hard = max(1, round(HARD * prompts))
    easy = sd * math.sqrt(prompts / (prompts - hard + HARDER**2 * hard))
    return [HARDER * easy] * hard + [easy] * (prompts - hard)


def _red_notes(suite: Suite, cases: Sequence[Case], spread: stats.StandardDeviations) -> list[str]:
    """How often a good enough LoRA turns the run red: each bounded metric of each case, confirmed as red cases are."""
    known = bounds_of(suite, cases)
    if not known:
        return []
    centres = {metric: _centre(suite, metric, bounds) for metric, bounds in known.items()}
    confirming = confirming_seeds(suite)
    seeds = sorted({max(confirming, each) for each in looks_of(suite).seeds})
    planned = [(count, level_at(suite, count)) for count in seeds]

    def red(metric: str, typical: bool) -> float:
        prior = (centres[metric], spread) if typical else None
        return stats.spurious_red(known[metric], planned, prior, spread.within)

    likely, worst = ({metric: red(metric, typical) for metric in known} for typical in (True, False))
    means = ", ".join(f"{metric} {centre:.2f}" for metric, centre in centres.items())
    notes = [
        f"a run turns red for nothing (a case fails {' or '.join(known)} though its true score reaches `fail`) in "
        f"{any_of(likely):.1%} of runs at most when the LoRA's true mean is {means}, and in {any_of(worst):.0%} when "
        f"every case stands exactly on its bounds; a red case is drawn again and confirmed with {confirming} seeds"
    ]
    if len(known) > 1:
        each = ", ".join(f"{metric} {chance:.1%}" for metric, chance in likely.items())
        notes.append(f"of that, {each}; together at most, because metrics that move together fail together")
    if any_of(likely) > LIKELY_RED:
        notes.append(f"that is more than one run in {round(1 / LIKELY_RED)}; lower `fail`, or bound fewer metrics")
    return notes


def bounds_of(suite: Suite, cases: Sequence[Case]) -> dict[str, list[float]]:
    """Metric to `fail` of each case that has one: what can turn a case red. A suite's `prompt` is its gate's alone."""
    names = dict.fromkeys(metric for case in cases for metric in suite.metrics(case))
    results = {
        name: [suite.threshold(case, name).fail for case in cases if name != "prompt" or name in case.thresholds]
        for name in names
    }
    return {name: known for name, bounds in results.items() if (known := [b for b in bounds if b is not None])}


def _centre(suite: Suite, metric: str, bounds: Sequence[float]) -> float:
    """Where a good enough LoRA is taken to stand: on `warn`, or 0.1 above `fail`."""
    warn = suite.threshold(None, metric).warn
    return warn if warn is not None else min(1.0, max(bounds) + 0.1)


def any_of(chances: Mapping[str, float]) -> float:
    """That one of them happens, as if they were independent: at most that where they rise and fall together."""
    return 1 - math.prod(1 - chance for chance in chances.values())


def _look_notes(suite: Suite) -> list[str]:
    looks = looks_of(suite)
    if len(looks.seeds) < 2:
        return []
    odds = ", ".join(f"{seeds} ({level:.1%})" for seeds, level in zip(looks.seeds, looks.levels, strict=True))
    return [f"judged at {odds} samples and level; a case stops when its verdict is closed"]
