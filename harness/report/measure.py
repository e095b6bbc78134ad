"""What the numbers are worth: distributions with their thresholds, the metric card, the check of the references."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from harness.calibration.distributions import density
from harness.calibration.plots import Scale, Tick, tick_values
from harness.report.matrix import spread_of
from harness.report.words import Frame, Record, listed, mapped, number, plain_figure, text, texts, two_places

BELLS = (600.0, 118.0)  # width, and height of the axis
ROW, LABEL, WIDE = 44.0, 130.0, 640.0  # of the picture with a row a provider
MARKS = 400  # pictures with a mark of their own in a row; the outline is drawn from all
CHECKED = ("references_check", "audit")  # keys under which a run may keep `harness references check --json`


def calibration_view(suite: Record, rows: Sequence[Record]) -> dict[str, Any] | None:
    """How well the scorer tells the subject from others, with both kinds' similarities as bell curves."""
    calibration = mapped(suite, "calibration")
    if not calibration:
        return None
    clip = mapped(calibration, "clip")
    named = {
        name: number(clip.get(name)) for name in ("genuine", "impostor", "genuine_sd", "impostor_sd", "d_prime", "eer")
    }
    return {
        "reason": text(calibration.get("reason"), 400),
        "d_prime": two_places(named["d_prime"]),
        "eer": "" if named["eer"] is None else f"{named['eer']:.1%}",
        "genuine": "" if named["genuine"] is None else f"{named['genuine']:.3f}",
        "impostor": "" if named["impostor"] is None else f"{named['impostor']:.3f}",
        "counts": [text(clip.get("n_genuine"), 8), text(clip.get("n_impostor"), 8)],
        "curves": bells(named, rows),
        "measures": [
            {
                "trait": f"{text(item.get('category'), 60)}: {text(item.get('value'), 80)}".replace("_", " "),
                "accuracy": "" if (share := number(item.get("accuracy"))) is None else f"{share:.0%}",
                "counts": bool(number(item.get("weight"))),
                "reason": text(item.get("reason"), 200),
            }
            for item in listed(calibration, "measures")
        ],
    }


def bells(clip: Record, rows: Sequence[Record]) -> dict[str, Any] | None:
    """Two normal curves, and where each provider's mean similarity lies on the same scale; None without a spread."""
    g, i, g_sd, i_sd = (clip[name] for name in ("genuine", "impostor", "genuine_sd", "impostor_sd"))
    if g is None or i is None or not g_sd or not i_sd or g_sd < 0 or i_sd < 0:
        return None
    raws = [(row, value) for row in rows if (value := number(mapped(row, "raw").get("clip_raw"))) is not None]
    low = min([i - 3.2 * i_sd, g - 3.2 * g_sd, *(value for _, value in raws)])
    high = min(1.0, max([g + 3.2 * g_sd, i + 3.2 * i_sd, *(value for _, value in raws)]))  # it is a cosine
    wide, axis = BELLS
    x = Scale(low, high, 0, wide)
    peaks = {kind: NormalDist(mean, sd).pdf(mean) for kind, mean, sd in (("g", g, g_sd), ("i", i, i_sd))}

    def path(mean: float, sd: float, peak: float) -> str:
        # each to its own peak: a narrow crowd would press the wide one flat
        values = np.linspace(low, high, 301)
        points = (f"{x.at(v)},{axis - 0.85 * axis * NormalDist(mean, sd).pdf(v) / peak:.1f}" for v in values)
        return f"0,{axis:.0f} {' '.join(points)} {wide:.0f},{axis:.0f}"

    return {
        "genuine": path(g, g_sd, peaks["g"]),
        "impostor": path(i, i_sd, peaks["i"]),
        "marks": [
            {"x": x.at(value), "name": text(row["provider"], 24), "gate": bool(row["gate"]), "value": f"{value:.3f}"}
            for row, value in sorted(raws, key=lambda item: item[1])
        ],
        "low": f"{low:.2f}",
        "high": f"{high:.2f}",
    }


# --- every picture's quality --------------------------------------------------------------------------------------


def spread_view(cases: Sequence[Record], rows: Sequence[Record], bound: Record) -> dict[str, Any] | None:
    """The quality of every picture, a row a provider, with the thresholds across all rows."""
    found = [(row, values) for row in rows if (values := spread_of(cases, row["provider"]))]
    if not found:
        return None
    x = Scale(0.0, 1.0, LABEL, WIDE - 12)
    lines = [
        {
            "name": text(row["provider"], 24),
            "gate": bool(row["gate"]),
            "y": round(ROW * (place + 1), 1),
            "outline": ridge(values, x, ROW * (place + 1)),
            "marks": " ".join(f"M{x.at(v)} {ROW * (place + 1) + 2:.0f}v5" for v in spaced(values)),
            "count": len(values),
        }
        for place, (row, values) in enumerate(found)
    ]
    bounds = {kind: value for kind in ("fail", "warn") if (value := number(bound.get(kind))) is not None}
    means = "; ".join(
        f"{line['name']} about {np.mean(values):.2f}" for line, (_, values) in zip(lines, found, strict=True)
    )
    return {
        "lines": lines,
        "bounds": [{"kind": kind, "x": x.at(value), "value": f"{value:.2f}"} for kind, value in bounds.items()],
        "ticks": [Tick(x.at(value), f"{value:g}") for value in tick_values(0, 1)],
        "wide": WIDE,
        "tall": ROW * len(lines) + 34,
        "foot": ROW * len(lines) + 10,
        "label": f"Quality of every picture by provider: {means}",
    }


def spaced(values: Sequence[float]) -> list[float]:
    """At most MARKS of the values, evenly over their order."""
    ordered = sorted(values)
    stride = max(1, -(-len(ordered) // MARKS))
    return ordered[::stride]


def ridge(values: Sequence[float], x: Scale, base: float) -> str:
    """A crowd's smooth outline above its base line, or "" for a crowd of fewer than four."""
    if len(values) < 4:
        return ""
    at = np.linspace(x.low, x.high, 81)
    heights = density(values, at)
    points = " L".join(f"{x.at(float(v))} {base - 0.82 * ROW * float(h):.1f}" for v, h in zip(at, heights, strict=True))
    return f"M{x.at(x.low)} {base:.1f} L{points} L{x.at(x.high)} {base:.1f}Z"


# --- card and references ------------------------------------------------------------------------------------------


def card_view(card: Record) -> dict[str, Any] | None:
    """The metric card: planted faults that the scores must notice, axis by axis; None without one."""
    axes = listed(card, "axes")
    if not axes:
        return None
    return {
        "identities": text(card.get("identities") or card.get("people"), 20),
        "kept": sum(bool(axis.get("passed")) for axis in axes),
        "axes": [
            {
                "name": text(axis.get("name"), 80),
                "what": text(axis.get("what"), 300),
                "value": "–" if (value := number(axis.get("value"))) is None else plain_figure(value),
                "goal": text(axis.get("goal"), 60),
                "passed": bool(axis.get("passed")),
            }
            for axis in axes
        ],
    }


def check_view(suite: Record) -> dict[str, Any] | None:
    """What `harness references check` found, where the record has it."""
    audit = next((found for key in CHECKED if (found := mapped(suite, key))), None)
    if audit is None:
        return None
    return {
        "score": two_places(audit.get("score")),
        "findings": [
            {
                **{key: text(item.get(key), 400) for key in ("title", "reason", "effect", "remedy")},
                "severity": text(item.get("severity"), 12),
                "kind": {"serious": "fail", "warn": "inconclusive"}.get(str(item.get("severity")), "none"),
                "pictures": texts(item.get("pictures"), 80)[:12],
            }
            for item in listed(audit, "findings")
        ],
    }


def references_view(frame: Frame, references: Record) -> dict[str, list[dict[str, Any]]]:
    """All reference pictures by split; each stands in the page once, however often it is shown."""
    return {
        text(split, 40).replace("_", " "): [frame.picture(sha, shared=True) for sha in hashes]
        for split, hashes in references.items()
        if isinstance(hashes, list)
    }
