"""The one number that decides: the suite's weights over calibrated scores, and the plain formula over raw ones."""

from __future__ import annotations

from collections.abc import Mapping

from harness.core.values import UNCLIPPED, Score, as_number

RAW_WEIGHTS: Mapping[str, float] = {"clip": 0.4, "features": 0.4, "ssim": 0.2}
"""`quality_raw` is always these, whatever the suite weighs."""
BANDS: tuple[tuple[float, str], ...] = ((0.8, "excellent"), (0.6, "good"), (0.4, "fair"), (0.0, "poor"))


def band_name(quality: float) -> str:
    """excellent, good, fair or poor."""
    return next(name for least, name in BANDS if quality >= least or least == 0)


def quality_score(
    scores: Mapping[str, Score], weights: Mapping[str, float], kept: Mapping[str, float] | None = None
) -> Score:
    """The weighted mean; a metric that could not be measured is left out, and the reason says so.

    Leaving it out re-weights the rest: a zero in its place would be a lie, and no score at all would hide the others.

    Args:
        kept: metric to the share of its weight that it keeps, by what it can tell (`Calibration.weights`).
    """
    asked = dict(weights) or dict(RAW_WEIGHTS)
    weights = {name: weight * (kept or {}).get(name, 1.0) for name, weight in asked.items()}
    known = {name: weight for name, weight in weights.items() if weight > 0 and scores[name].value is not None}
    left_out = [name for name, weight in weights.items() if weight > 0 and name not in known]
    reason = f"without {', '.join(left_out)}, which could not be measured" if left_out else ""
    if mute := [name for name, weight in asked.items() if weight > 0 and not weights[name]]:
        words = f"without {', '.join(mute)}, which cannot tell the subject from others"
        reason = f"{reason}; {words}" if reason else words
    raw = _raw(scores)
    if not known:
        return Score("quality", None, raw, "none of its metrics could be measured")
    value, whole = (
        sum(weight * (numbers(scores[name]) or 0.0) for name, weight in known.items()) / sum(known.values())
        for numbers in (lambda score: score.value, unclipped)
    )
    details = {"band": band_name(value), "plain": _plain(scores), "weights": weights, UNCLIPPED: whole}
    return Score("quality", value, raw, reason, details)


def unclipped(score: Score) -> float | None:
    """A score that is not cut off at 1, where good ones are told apart; below 0 nobody is like the subject at all."""
    number = as_number(score.details.get(UNCLIPPED))
    return score.value if number is None or score.value is None else max(number, score.value)


def _plain(scores: Mapping[str, Score]) -> float | None:
    """The plain formula over the calibrated scores, whatever they can tell; None where one is not known."""
    values = {name: scores[name].value for name in RAW_WEIGHTS}
    if any(value is None for value in values.values()):
        return None
    return sum(weight * (values[name] or 0.0) for name, weight in RAW_WEIGHTS.items())


def _raw(scores: Mapping[str, Score]) -> float | None:
    raws = {name: scores[name].raw for name in RAW_WEIGHTS}
    if any(raw is None for raw in raws.values()):
        return None
    return sum(weight * (raws[name] or 0.0) for name, weight in RAW_WEIGHTS.items())
