"""What must hold of the scores, axis by axis: from the sheets of the test identities to figures with bounds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import kendalltau

from harness.core import stats
from harness.core.arrays import Floats
from harness.core.stats.calibration import area_under_curve, equal_error_rate
from harness.core.values import METRICS, Interval
from harness.studies.metric_card.distortions import COPIES, HUES, WALKS
from harness.studies.metric_card.sheets import KEPT, NUISANCES, SEEDS, STRENGTHS, IdentityScores, PictureScores
from harness.world.people import IDENTITY

PRIMARY = METRICS[0]
LIKENESS = ("quality", "clip", "features")
NEAR = {"siblings": "one or two attributes differ", "twins": "only the marks differ"}
OTHER_COLOUR = 45  # degrees from which a turned hue goes by another name
REFUSED = 0.05  # of the genuine pictures of the dev split lie below the frozen threshold


@dataclass(frozen=True)
class Figure:
    """One number, and the bound that it must keep; without a rule it is only reported."""

    name: str
    value: float
    rule: str = ""  # "<=" or ">="
    bound: float = 0.0
    note: str = ""

    @property
    def passed(self) -> bool:
        if not self.rule:
            return True
        return self.value <= self.bound if self.rule == "<=" else self.value >= self.bound  # NaN passes nothing


@dataclass(frozen=True)
class Curve:
    """The mean over identities of one score along a walk, with 95% intervals."""

    name: str
    levels: tuple[str, ...]
    points: tuple[Interval, ...]

    @property
    def means(self) -> list[float]:
        return [point.mean for point in self.points]


@dataclass(frozen=True)
class Axis:
    """One kind of fault."""

    name: str
    question: str
    figures: tuple[Figure, ...]
    curves: tuple[Curve, ...] = ()
    crowds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # for a picture of distributions

    @property
    def passed(self) -> bool:
        return all(figure.passed for figure in self.figures)


Thresholds = Mapping[str, float]
Sheets = Sequence[IdentityScores]


def freeze_thresholds(dev: Sheets) -> dict[str, float]:
    """From the dev split: below `quality` lie 5% of the genuine, and at `clip_eer` both errors are alike."""
    genuine = np.array([shot.scores[PRIMARY] for sheet in dev for shot in sheet.of("genuine")])
    own, others = population(dev, "genuine", "clip"), population(dev, "far", "clip")
    levels = np.unique(np.concatenate([own, others]))
    gaps = [abs(float(np.mean(own < level)) - float(np.mean(others >= level))) for level in levels]
    best = int(np.argmin(gaps))
    below = levels[best - 1] if best else levels[best]
    return {
        PRIMARY: float(np.quantile(genuine, REFUSED)),
        "clip_eer": float((levels[best] + below) / 2),  # the middle of the gap: no picture decides alone
    }


def judge_axes(test: Sheets, thresholds: Thresholds) -> tuple[Axis, ...]:
    """Every axis, in the order of the card."""
    axes = [judge_walk(test, name) for name in WALKS]
    axes += [judge(test, thresholds) for judge in AXES]
    return tuple(axes)


# --- helpers ----------------------------------------------------------------------------------------------------------


def population(sheets: Sheets, axis: str, metric: str, level: object = "") -> Floats:
    """One score of all pictures of a level, all identities together."""
    shots = [shot for sheet in sheets for shot in sheet.of(axis, level)]
    return np.array([shot.scores[metric] for shot in shots if metric in shot.scores])


def levels_of(sheets: Sheets, name: str) -> list[str]:
    """All levels that an axis has."""
    return sorted({level for sheet in sheets for axis, level in sheet.shots if axis == name})


def mean_of(shots: Sequence[PictureScores], metric: str) -> float:
    return float(np.mean([shot.scores[metric] for shot in shots]))


def gains(sheets: Sheets, axis: str, level: object, metric: str) -> list[float]:
    """Each identity's mean change against the same scenes without the fault."""
    results = []
    for sheet in sheets:
        shots, base = sheet.of(axis, level), sheet.of("genuine")
        pairs = [(a.scores, b.scores) for a, b in zip(shots, base, strict=False) if metric in a.scores]
        if pairs:
            results.append(float(np.mean([a[metric] - b[metric] for a, b in pairs])))
    return results


def curves_of(
    sheets: Sheets, axis: str, levels: Sequence[object], metrics: Sequence[str] = METRICS, start: str = "0"
) -> tuple[Curve, ...]:
    """Scores along a walk, the primary first; those that no identity has are left out."""
    results = [(metric, [sheet for sheet in sheets if measures(sheet, metric)]) for metric in metrics]
    return tuple(curve(own, axis, levels, metric, start) for metric, own in results if own)


def measures(sheet: IdentityScores, metric: str) -> bool:
    """Whether an identity has a score: without a measurable trait there are no features."""
    return all(metric in shot.scores for shot in sheet.of("genuine"))


def curve(sheets: Sheets, axis: str, levels: Sequence[object], metric: str, start: str = "0") -> Curve:
    """A score along a walk; "genuine" begins it when `start` is not among the levels."""
    points = []
    for level in levels:
        drawn = [sheet.of(axis, level) for sheet in sheets if sheet.of(axis, level)]
        points.append(stats.mean_interval([mean_of(shots, metric) for shots in drawn]))
    first = []
    if start not in [str(level) for level in levels]:
        own = [s for s in sheets if s.of(axis, levels[0])]
        means = [mean_of(s.of("genuine")[: len(s.of(axis, levels[0]))], metric) for s in own]
        first, levels = [stats.mean_interval(means)], [start, *levels]
    return Curve(metric, tuple(map(str, levels)), (*first, *points))


def share(hits: Sequence[bool] | np.ndarray) -> float:
    """How many of them are true; NaN of nothing, which keeps no bound."""
    return float(np.mean(hits)) if len(hits) else float("nan")


def tau_of(means: Sequence[float]) -> float:
    """Kendall's tau of a walk with its strength: -1 falls at every step."""
    return round(float(kendalltau(np.arange(len(means)), means).statistic), 9)


def walk_taus(sheets: Sheets, axis: str, levels: Sequence[object]) -> float:
    """The mean over identities of each one's own tau."""
    results = []
    for sheet in sheets:
        if sheet.of(axis, levels[-1]):
            count = len(sheet.of(axis, levels[-1]))
            own = [mean_of(sheet.of("genuine")[:count], PRIMARY)]
            results.append(tau_of([*own, *(mean_of(sheet.of(axis, level), PRIMARY) for level in levels)]))
    return float(np.mean(results))


# --- the axes ---------------------------------------------------------------------------------------------------------


def judge_walk(sheets: Sheets, name: str) -> Axis:
    """Blur, JPEG or noise: quality falls, and no gated score ever rises."""
    levels = list(range(1, len(WALKS[name][1]) + 1))
    curves = curves_of(sheets, name, levels)
    surest = [
        (float(interval.low if interval.low is not None else interval.mean), metric, level)
        for metric in METRICS
        for level in levels
        for changes in [gains(sheets, name, level, metric)]
        if changes
        for interval in [stats.mean_interval(changes)]
    ]
    low, metric, level = max(surest)
    steps = np.diff(curves[0].means)
    return Axis(
        name,
        f"does {name} cost, and never pay?",
        (
            Figure("tau", tau_of(curves[0].means), "<=", -0.9, "of the mean walk of quality"),
            Figure("largest_rise", float(steps.max()), "<=", 0.0, "of the mean walk, from one strength to the next"),
            Figure("surest_gain", round(low, 9), "<=", 0.0, f"95% lower bound; {metric} at strength {level}"),
            Figure("tau_each", walk_taus(sheets, name, levels), note="mean of the identities' own walks"),
        ),
        curves,
    )


def judge_hue(sheets: Sheets, _: Thresholds) -> Axis:
    """Robe or hair in another hue."""
    own = [sheet for sheet in sheets if sheet.turned]
    curves = curves_of(own, "hue", HUES, LIKENESS)
    walk = curves[0].means
    fall = walk[0] - min(walk)
    regained = (walk[-1] - min(walk)) / fall if fall > 0 else float("nan")
    right = [
        most_moved(sheet, sheet.of("hue", degrees)) == sheet.turned
        for sheet in own
        for degrees in HUES
        if degrees >= OTHER_COLOUR and sheet.turned in sheet.of("genuine")[0].traits
    ]
    return Axis(
        "hue",
        "does a robe or hair of another hue cost, and is the right trait blamed?",
        (
            Figure("tau", tau_of(walk), "<=", -0.8, "of the mean walk of quality, 0 to 180 degrees"),
            Figure("regained", regained, "<=", 0.25, "share of the fall that the way on to 180 degrees gives back"),
            Figure("localised", share(right), ">=", 0.8, f"the turned category falls most, from {OTHER_COLOUR}°"),
            Figure("identities", len(own), note="whose robe or hair has a hue"),
        ),
        curves,
    )


def most_moved(sheet: IdentityScores, shots: Sequence[PictureScores]) -> str:
    """The measurable category whose score falls most against the same scenes."""
    base = sheet.of("genuine")
    drops = {
        category: float(np.mean([b.traits[category] - a.traits[category] for a, b in zip(shots, base, strict=False)]))
        for category in base[0].traits
    }
    return max(drops, key=lambda category: drops[category]) if drops else ""


def judge_wrong(sheets: Sheets, _: Thresholds) -> Axis:
    """0, 1, 2, 3 or all attributes wrong."""
    levels = ("0", "1", "2", "3", "all")
    curves = curves_of(sheets, "wrong", levels, LIKENESS)
    one = np.concatenate([population(sheets, "trait", PRIMARY, kind) for kind in levels_of(sheets, "trait")])
    none = population(sheets, "genuine", PRIMARY)
    return Axis(
        "wrong attributes",
        "does every wrong attribute cost more?",
        (
            Figure("tau", tau_of(curves[0].means), "<=", -0.8, "of the mean walk of quality"),
            Figure("auc_one", area_under_curve(none, one), ">=", 0.8, "none wrong against one wrong, by quality"),
        ),
        curves,
        {"none wrong": tuple(none), "one wrong": tuple(one)},
    )


def judge_localisation(sheets: Sheets, _: Thresholds) -> Axis:
    """One described attribute is wrong: which trait's score falls most?"""
    hits: dict[str, list[bool]] = {}
    described = 0
    for sheet in sheets:
        for (axis, kind), shots in sheet.shots.items():
            if axis == "trait" and kind in IDENTITY:
                described += 1
                if kind in sheet.of("genuine")[0].traits:
                    hits.setdefault(kind, []).append(most_moved(sheet, shots) == kind)
    every = [hit for each in hits.values() for hit in each]
    return Axis(
        "localisation",
        "is the right trait blamed for one wrong attribute?",
        (
            Figure("localised", share(every), ">=", 0.8, "of the measurable traits"),
            Figure("measurable", len(every) / max(1, described), note="share of the described attributes"),
            *(Figure(kind, float(np.mean(each)), note=f"of {len(each)}") for kind, each in sorted(hits.items())),
        ),
    )


def judge_others(sheets: Sheets, thresholds: Thresholds) -> Axis:
    """Other characters in the same scenes."""
    own, far = population(sheets, "genuine", PRIMARY), population(sheets, "far", PRIMARY)
    near = {kind: population(sheets, "near", PRIMARY, kind) for kind in NEAR}
    clip_own, clip_far = population(sheets, "genuine", "clip"), population(sheets, "far", "clip")
    frozen, least = thresholds["clip_eer"], thresholds[PRIMARY]
    return Axis(
        "other characters",
        "is somebody else told from the subject?",
        (
            Figure("auc_far", area_under_curve(own, far), ">=", 0.95, "quality; shares at most two attributes"),
            Figure("auc_far_clip", area_under_curve(clip_own, clip_far), ">=", 0.95, "clip"),
            Figure("eer_far", equal_error_rate(own, far), note="quality"),
            *(
                Figure(f"auc_{k}", area_under_curve(own, near[k]), note=f"quality; {message}")
                for k, message in NEAR.items()
            ),
            *(Figure(f"eer_{k}", equal_error_rate(own, near[k]), note="quality") for k in NEAR),
            Figure("passed_far", float(np.mean(clip_far >= frozen)), note=f"clip at {frozen:.2f}, frozen on dev"),
            Figure("refused", float(np.mean(clip_own < frozen)), note=f"genuine, clip at {frozen:.2f}"),
            Figure("refused_quality", float(np.mean(own < least)), note=f"genuine, quality at {least:.3f}: dev has 5%"),
        ),
        crowds={"genuine": tuple(own), "near": tuple(np.concatenate(list(near.values()))), "far": tuple(far)},
    )


def judge_nuisance(sheets: Sheets, _: Thresholds) -> Axis:
    """The scene changes, the person does not."""

    def moved(axis: str, level: str) -> list[float]:
        return [
            abs(a.scores[PRIMARY] - b.scores[PRIMARY])
            for sheet in sheets
            for a, b in zip(sheet.of(axis, level), sheet.of("genuine"), strict=False)
        ]

    kinds = levels_of(sheets, "trait")
    effect = float(np.mean([value for kind in kinds for value in moved("trait", kind)]))
    each = {kind: float(np.mean(moved("nuisance", kind))) for kind in NUISANCES}
    return Axis(
        "nuisance",
        "does the score stay when only the scene changes?",
        (
            Figure("ratio", max(each.values()) / effect, "<=", 0.5, "the worst change of scene over one attribute's"),
            Figure("attribute", effect, note="mean |change| of quality when one attribute is wrong"),
            *(Figure(kind, value, note="mean |change| of quality") for kind, value in each.items()),
        ),
    )


def judge_collapse(sheets: Sheets, _: Thresholds) -> Axis:
    """Some of a prompt's pictures are the same one."""
    results = {kept: [item for sheet in sheets for item in sheet.kept if item.kept == kept] for kept in KEPT}
    quarter = [item.alarm for kept in KEPT if kept <= SEEDS / 4 for item in results[kept]]
    count = {kept: stats.mean_interval([item.distinct for item in results[kept]]) for kept in KEPT}
    off = max(abs(count[kept].mean / kept - 1) for kept in KEPT)
    return Axis(
        "mode collapse",
        f"is it noticed when {SEEDS} seeds draw few pictures?",
        (
            Figure("alarm_quarter", float(np.mean(quarter)), ">=", 1.0, "a quarter of the seeds or fewer differ"),
            Figure("alarm_all", float(np.mean([item.alarm for item in results[SEEDS]])), "<=", 0.0, "all differ"),
            Figure("vendi_off", off, "<=", 0.1, "the count of different pictures, off by this share at worst"),
        ),
        (Curve("different pictures found", tuple(map(str, KEPT)), tuple(count[kept] for kept in KEPT)),),
    )


def judge_copies(sheets: Sheets, _: Thresholds) -> Axis:
    """Training pictures drawn again."""
    every = [item for sheet in sheets for item in sheet.copies]
    recall = {kind: float(np.mean([item.found for item in every if item.kind == kind])) for kind in COPIES}
    fresh = [item for item in every if item.kind == "fresh"]
    return Axis(
        "memorised copies",
        "is a training picture recognised, and nothing else?",
        (
            Figure("recall", min(recall.values()), ">=", 0.95, "of the kind that is found least"),
            Figure("false_alarms", float(np.mean([item.found for item in fresh])), "<=", 0.01, f"of {len(fresh)}"),
            *(Figure(kind, value, note="found") for kind, value in recall.items()),
        ),
        crowds={
            "fresh pictures": tuple(item.lines for item in fresh),
            "copies": tuple(item.lines for item in every if item.kind != "fresh"),
        },
    )


def judge_degenerate(sheets: Sheets, thresholds: Thresholds) -> Axis:
    """Pictures of nothing."""
    kinds = levels_of(sheets, "degenerate")
    quality = {kind: population(sheets, "degenerate", PRIMARY, kind) for kind in kinds}
    below = {kind: values < thresholds[PRIMARY] for kind, values in quality.items()}
    return Axis(
        "degenerate pictures",
        "do pictures of nothing fall below what 95% of the genuine reach?",
        (
            Figure("below", float(np.mean([*below.values()])), ">=", 1.0, f"{thresholds[PRIMARY]:.3f}, frozen on dev"),
            *(
                Figure(kind, share(hits), note=f"below it; mean quality {quality[kind].mean():.2f}")
                for kind, hits in below.items()
            ),
        ),
    )


def judge_strength(sheets: Sheets, _: Thresholds) -> Axis:
    """Too little, right, too much."""
    curves = curves_of(sheets, "strength", STRENGTHS, start="0.0")
    means = curves[0].means
    best, right = int(np.argmax(means)), STRENGTHS.index(1.0)
    against = [*-np.diff(means[: best + 1]), *np.diff(means[best:]), 0.0]
    each = [
        abs(int(np.argmax([mean_of(sheet.of("strength", s), PRIMARY) for s in STRENGTHS])) - right) for sheet in sheets
    ]
    return Axis(
        "strength",
        "is the score highest at the right strength?",
        (
            Figure("off_by", abs(best - right), "<=", 1.0, "steps from the right strength to the best mean score"),
            Figure("largest_dent", float(max(against)), "<=", 0.005, "against one peak, of the mean walk"),
            Figure("off_by_each", float(np.mean([steps <= 1 for steps in each])), note="identities within a step"),
        ),
        curves,
    )


AXES: tuple[Callable[[Sheets, Thresholds], Axis], ...] = (
    judge_hue,
    judge_wrong,
    judge_localisation,
    judge_others,
    judge_nuisance,
    judge_collapse,
    judge_copies,
    judge_degenerate,
    judge_strength,
)
