"""From a run's record to what the page shows: plain dictionaries with every key, whatever the record lacks."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import Any

from harness.report.pictures import SHA, Pictures
from harness.terminal import added_metrics, bounds_text, changed_cases, duration
from harness.values import METRICS

Record = Mapping[str, Any]
DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
LONGEST = 1_500  # characters of one foreign text in the page; results.json has it whole
BANDS = ((0.8, "excellent"), (0.6, "good"), (0.4, "fair"), (-math.inf, "poor"))
VERDICTS: Mapping[str, tuple[str, str]] = {  # word to (sign, what it means)
    "pass": ("✓", "passed"),
    "fail": ("✗", "failed"),
    "inconclusive": ("?", "still open"),
    "error": ("!", "broke"),
    "skipped": ("–", "skipped"),
    "none": ("·", "not judged"),
}
COMPETITORS: Mapping[str, str] = {"fail": "below the bounds", "error": "no usable pictures"}
OPEN_CASES = 16  # up to here every case is unfolded; above, only what went wrong


def build_view(results: Record, pictures: Pictures) -> dict[str, Any]:
    """Everything that the template says, ready to be printed."""
    suites = {str(item["name"]): item for item in listed(results, "suites") if item.get("name")}
    names = list(dict.fromkeys([*suites, *(row["suite"] for row in [*results["leaderboard"], *results["cases"]])]))
    parts = [suite_view(results, str(name), suites.get(name, {}), pictures) for name in names]
    return {
        "verdict": verdict_view(results),
        "suites": parts,
        "rounds": [round_view(number, item) for number, item in enumerate(listed(results, "rounds"), 1)],
        "facts": facts_view(results),
        "cases": sum(len(part["cases"]) for part in parts),
        "title": ", ".join(text(name, 60) for name in names) or "no suite",
    }


# --- small things -------------------------------------------------------------------------------------------------


def text(value: Any, longest: int = LONGEST) -> str:
    """Foreign text without what could reorder or hide the text around it; too long is cut, and says so."""
    whole = "" if value is None else str(value)
    if whole.isascii() and whole.isprintable() and len(whole) <= longest:
        return whole  # by far the most
    safe = "".join(char if is_plain(char) else "\N{REPLACEMENT CHARACTER}" for char in whole[:longest])
    return safe if len(whole) <= longest else f"{safe}… ({len(whole):,} characters, whole in results.json)"


def is_plain(char: str) -> bool:
    """Neither a control character, half a surrogate, nor a switch of the reading direction."""
    return char in "\n\t" or (unicodedata.category(char) not in ("Cc", "Cs") and char not in DIRECTION)


def listed(record: Any, key: str) -> list[Any]:
    """The records of a list, [] where there is none."""
    found = record.get(key) if isinstance(record, Mapping) else None
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def mapped(record: Any, key: str) -> Record:
    """The mapping under a key, {} where there is none."""
    found = record.get(key) if isinstance(record, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def number(value: Any) -> float | None:
    """A finite number, else None: a record is data, and may hold anything."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def interval(record: Any) -> dict[str, Any] | None:
    """Mean and bounds of a record, under `mean` or `diff`; None without a mean."""
    if not isinstance(record, Mapping):
        return None
    mean = number(record.get("mean", record.get("diff")))
    if mean is None:
        return None
    return {"mean": mean, "low": number(record.get("low")), "high": number(record.get("high")), "n": record.get("n")}


def dollars(value: Any, always: bool = False) -> str | None:
    """US dollars in words; None for nothing, unless it is wanted always."""
    amount = number(value) or 0.0
    return f"${amount:.2f}" if amount or always else None


def band(value: float) -> str:
    return next(word for bound, word in BANDS if value >= bound)


def slug(*parts: Any) -> str:
    """A fragment for links inside the page."""
    return "-".join(re.sub(r"[^A-Za-z0-9]+", "-", str(part)).strip("-").lower()[:60] for part in parts) or "part"


def bar(record: Any, low: float = 0.0, high: float = 1.0, marks: Record | None = None) -> dict[str, Any] | None:
    """An interval as percent of a scale: where its band begins, how wide it is, where the mean is; and as words."""
    found = interval(record)
    if found is None:
        return None

    def place(value: float) -> float:
        return round(min(100.0, max(0.0, 100 * (value - low) / (high - low))), 2)

    first = place(found["mean"] if found["low"] is None else found["low"])
    last = place(found["mean"] if found["high"] is None else found["high"])
    signed = low < 0
    lines = [
        {"x": place(bound), "kind": kind}
        for kind, value in (marks or {}).items()
        if (bound := number(value)) is not None
    ]
    return {
        "x": first,
        "width": round(max(last - first, 0.6), 2),
        "mean": place(found["mean"]),
        "marks": lines,
        "zero": place(0.0) if signed else None,
        "text": bounds_text(found, signed=signed),
        "value": f"{found['mean']:{'+.2f' if signed else '.2f'}}",
        "range": bounds_text(found, signed=signed).partition(" ")[2],
        "band": band(found["mean"]),
        "n": found["n"],
    }


def verdict_word(value: Any, gate: bool = True) -> dict[str, str]:
    """A verdict as class, sign and words. A competitor only informs: where it falls short is no alarm."""
    word = value if isinstance(value, str) and value in VERDICTS else "none"
    sign, means = VERDICTS[word]
    if not gate and word in COMPETITORS:
        return {"word": "none", "sign": sign, "means": COMPETITORS[word]}
    return {"word": word, "sign": sign, "means": means}


# --- the top ------------------------------------------------------------------------------------------------------


def verdict_view(results: Record) -> dict[str, Any]:
    gate, run = mapped(results, "gate"), mapped(results, "run")
    reasons = gate.get("reasons")
    words = [text(reason, 600) for reason in reasons] if isinstance(reasons, list) else []
    return {
        **verdict_word(gate.get("verdict")),
        "reasons": words,
        "profile": text(run.get("profile"), 80),
        "started": text(run.get("started"), 40).replace("T", " ")[:19],
        "id": text(run.get("id"), 60),
    }


def facts_view(results: Record) -> dict[str, Any]:
    """What the run did and with what."""
    engine, run = mapped(results, "engine"), mapped(results, "run")
    seconds = {
        text(name, 40): duration(value)
        for name, item in mapped(engine, "seconds").items()
        if (value := number(item)) is not None
    }
    done = {
        "pictures drawn": engine.get("images_generated"),
        "pictures from the store": engine.get("images_cached"),
        "model loads": engine.get("model_loads"),
        "paid to services": dollars(engine.get("cost_usd"), always=True),
        "would be paid, had services not been emulated": dollars(engine.get("emulated_usd")),
        "possibly billed for calls that broke off": dollars(engine.get("possibly_billed_usd")),
        "paid calls": engine.get("paid_calls") or None,
        "of them, of unknown price": engine.get("unpriced_calls") or None,
        "pictures held back by the budget": engine.get("held_back") or None,
    }
    others = {name: item for name, item in run.items() if name not in ("versions", "warnings")}
    warnings = run.get("warnings")
    return {
        "done": {name: text(item, 60) for name, item in done.items() if item is not None},
        "seconds": seconds,
        "run": {text(name, 60): plain_words(item) for name, item in others.items()},
        "warnings": [text(item, 400) for item in warnings] if isinstance(warnings, list) else [],
        "versions": {text(name, 60): text(item, 200) for name, item in mapped(run, "versions").items()},
    }


# --- one suite ----------------------------------------------------------------------------------------------------


def suite_view(results: Record, name: str, suite: Record, pictures: Pictures) -> dict[str, Any]:
    rows = [row for row in results["leaderboard"] if row["suite"] == name]
    cases = [case for case in results["cases"] if case["suite"] == name]
    order = list(dict.fromkeys([*(row["provider"] for row in rows), *(case["provider"] for case in cases)]))
    thresholds = mapped(suite, "thresholds")
    references = mapped(suite, "references")
    shown = {
        split: [picture(pictures, sha) for sha in hashes]
        for split, hashes in references.items()
        if isinstance(hashes, list)
    }
    board = leaderboard_view(rows, thresholds)
    sets = sets_view(mapped(suite, "sets"), mapped(suite, "alarms"), pictures)
    return {
        "name": text(name, 120),
        "id": slug("suite", name),
        "subject": text(mapped(suite, "subject").get("name"), 120),
        "trigger": text(mapped(suite, "subject").get("trigger"), 120),
        "lora": lora_words(suite.get("lora")),
        "path": text(suite.get("path"), 200),
        "notes": [text(note, 400) for note in suite.get("notes", ()) if note],
        "board": board,
        "glance": glance_view(cases, order, references, pictures),
        "matrix": matrix_view(name, cases, order),
        "sets": sets,
        "traits": traits_view(cases, order, listed(suite, "traits")),
        "feedback": [
            feedback_view(item, pictures) for item in listed(results, "feedback") if item.get("suite") == name
        ],
        "references": shown,
        "cases": cases_view(name, cases, order, references, pictures),
        "calibration": calibration_view(suite, rows),
        "scorer": {text(key, 60): text(item, 120) for key, item in mapped(suite, "scorer").items()},
        "recipes": recipes_view(mapped(suite, "recipe")),
        "baseline": baseline_view(name, mapped(suite, "baseline"), cases),
    }


def glance_view(
    cases: Sequence[Record], order: Sequence[str], references: Record, pictures: Pictures
) -> list[dict[str, Any]]:
    """A reference, and of the first prompt that most providers drew one picture each, with the same seed."""
    drawn: dict[tuple[str, Any], dict[str, Record]] = {}
    for case in cases:
        for sample in listed(case, "samples"):
            if sample.get("image"):
                drawn.setdefault((case["case"], sample.get("seed")), {})[case["provider"]] = sample
    if not drawn:
        return []
    (case_id, seed), samples = max(drawn.items(), key=lambda item: len(item[1]))
    gallery = references.get("held_out") or references.get("train")
    shown = (
        [{"name": "reference", "about": "", "picture": picture(pictures, gallery[0])}]
        if isinstance(gallery, list) and gallery
        else []
    )
    for provider in (provider for provider in order if provider in samples):
        about = f"{text(case_id, 60)}, seed {text(seed, 20)}"
        shown.append(
            {"name": text(provider, 60), "about": about, "picture": picture(pictures, samples[provider].get("image"))}
        )
    return shown


def lora_words(lora: Any) -> str:
    if not isinstance(lora, Mapping):
        return ""
    return f"{text(lora.get('file'), 120)} at strength {text(lora.get('strength'), 12)}"


def picture(pictures: Pictures, sha: Any) -> dict[str, Any]:
    """A thumbnail and the link to its original; `src` is None when the picture is gone."""
    src = pictures.thumb(sha)
    known = isinstance(sha, str) and SHA.fullmatch(sha) is not None
    return {"src": src, "href": f"images/{sha}.png" if src else None, "short": sha[:8] if known else ""}


def recipes_view(recipe: Record) -> list[dict[str, Any]]:
    return [
        {"provider": text(name, 80), "lines": {text(key, 60): text(item, 300) for key, item in shared.items()}}
        for name, shared in recipe.items()
        if isinstance(shared, Mapping)
    ]


# --- the leaderboard ----------------------------------------------------------------------------------------------


def leaderboard_view(rows: Sequence[Record], thresholds: Record) -> dict[str, Any]:
    rival = next((row["provider"] for row in rows if row["gate"]), None)
    bound = mapped(thresholds, "quality")
    partial = any(row.get("common") and row.get("common") != row.get("quality") for row in rows)
    bounded = [*METRICS, *(name for name in thresholds if name not in METRICS)]
    needed = [words for metric in bounded if (words := bound_words(text(metric, 60), mapped(thresholds, metric)))]
    added = added_metrics(rows)
    gate = next((row for row in rows if row["gate"]), None)
    return {
        "rows": [row_view(row, rival, bound, tie_of(row, rows), added) for row in rows],
        "metrics": [*METRICS[1:], *(text(name, 60) for name in added)],
        "rival": text(rival, 80) if rival else None,
        "needed": needed,
        "partial": partial,
        "heads": heads_view(gate, rows) if gate else [],
    }


def bound_words(metric: str, bound: Record) -> str:
    """`quality: fail below 0.60, warn below 0.70`; "" without a bound."""
    known = [(kind, number(bound.get(kind))) for kind in ("fail", "warn")]
    words = ", ".join(f"{kind} below {value:.2f}" for kind, value in known if value is not None)
    return f"{metric}: {words}" if words else ""


def row_view(row: Record, rival: Any, bound: Record, tied: str, added: Sequence[str]) -> dict[str, Any]:
    outcomes = mapped(row, "outcomes")
    lost = {text(name, 40): count for name, count in outcomes.items() if name != "ok"}
    raw = {
        name: plain_figure(value) for name, item in mapped(row, "raw").items() if (value := number(item)) is not None
    }
    found = {**mapped(row, "added"), **{metric: row.get(metric) for metric in METRICS}}
    return {
        "rank": row["rank"] if interval(row.get("quality")) else "–",
        "provider": text(row["provider"], 80),
        "gate": bool(row["gate"]),
        "emulated": bool(row["emulated"]),
        "quality": bar(row.get("quality"), marks=bound),
        "others": [(name, bar(found.get(name)), raw.get(f"{name}_raw")) for name in (*METRICS[1:], *added)],
        "raw": raw,
        "versus": bar(mapped(row, "versus").get(rival), -1.0, 1.0) if rival else None,
        "tied": tied,
        "pictures": outcomes.get("ok", 0),
        "lost": lost,
        "cost": (dollars(row.get("cost_usd")) or "") + (" emulated" if row["emulated"] and row.get("cost_usd") else ""),
        "seconds": duration(number(row.get("seconds")) or 0.0),
    }


def tie_of(row: Record, rows: Sequence[Record]) -> str:
    """The provider ranked just above, when the pairs do not prove that it is better."""
    above = next((other for other in rows if other["rank"] == row["rank"] - 1), None)
    gap = interval(mapped(row, "versus").get(above["provider"])) if above else None
    if above is None or gap is None or gap["high"] is None or gap["high"] < 0:
        return ""
    return text(above["provider"], 80)


def heads_view(gate: Record, rows: Sequence[Record]) -> list[dict[str, Any]]:
    """The gate against each other provider: the difference of quality, paired, in words."""
    heads = []
    for row in rows:
        gap = interval(mapped(gate, "versus").get(row["provider"]))
        if row is gate or gap is None:
            continue
        if gap["low"] is None or gap["high"] is None:
            word = "too few cases"
        else:
            word = "better" if gap["low"] > 0 else "worse" if gap["high"] < 0 else "no proven difference"
        heads.append(
            {
                "provider": text(row["provider"], 80),
                "emulated": bool(row["emulated"]),
                "word": word,
                "bar": bar(gap, -1.0, 1.0),
                "kind": slug(word),
            }
        )
    return heads


def matrix_view(suite: str, cases: Sequence[Record], order: Sequence[str]) -> dict[str, Any]:
    """Cases down, providers across; each cell a number, a word and a verdict's sign."""
    cells: dict[str, dict[str, Any]] = {}
    splits: dict[str, str] = {}
    for case in cases:
        cells.setdefault(case["case"], {})[case["provider"]] = cell_view(case)
        splits[case["case"]] = text(case.get("split"), 20)
    lines = [
        {
            "case": text(name, 120),
            "href": slug("case", suite, name),
            "split": splits[name],
            "cells": [row.get(provider) for provider in order],
        }
        for name, row in cells.items()
    ]
    return {"providers": [text(provider, 80) for provider in order], "lines": lines}


def cell_view(case: Record) -> dict[str, Any]:
    score = case_quality(case)
    outcome = case.get("outcome")
    word = text(case.get("verdict") or outcome or "nothing", 20) if score is None else band(score)
    if score is None and outcome not in (None, "ok"):
        word = text(outcome, 30).replace("_", " ")
    return {
        "value": None if score is None else f"{score:.2f}",
        "word": word,
        "band": band(score) if score is not None else "none",
        "verdict": verdict_word(case.get("verdict"), bool(case.get("gate"))),
    }


def case_quality(case: Record) -> float | None:
    """Of the verdict where there is one, else the mean of the samples."""
    judged = interval(mapped(case, "scores").get("quality"))
    if judged:
        return float(judged["mean"])
    values = [value for sample in listed(case, "samples") if (value := sample_value(sample, "quality")) is not None]
    return sum(values) / len(values) if values else None


def sample_value(sample: Record, metric: str) -> float | None:
    return number(mapped(mapped(sample, "scores"), metric).get("value"))


def traits_view(cases: Sequence[Record], order: Sequence[str], traits: Sequence[Record]) -> dict[str, Any]:
    """Mean score by trait and provider."""
    found: dict[str, dict[str, list[float]]] = {}
    wanted = {str(trait.get("category")): str(trait.get("value")) for trait in traits}
    for case in cases:
        for sample in listed(case, "samples"):
            for category, item in mapped(mapped(mapped(sample, "scores"), "features"), "details").items():
                value = number(item.get("score")) if isinstance(item, Mapping) else None
                if value is not None:
                    found.setdefault(category, {}).setdefault(case["provider"], []).append(value)
                    wanted.setdefault(category, str(item.get("value", "")))
    providers = [provider for provider in order if any(provider in row for row in found.values())]
    lines = []
    for category, row in found.items():
        means = [sum(row[provider]) / len(row[provider]) if row.get(provider) else None for provider in providers]
        cells = [None if mean is None else {"value": f"{mean:.2f}", "band": band(mean)} for mean in means]
        lines.append(
            {"category": text(category, 60).replace("_", " "), "value": text(wanted.get(category), 80), "cells": cells}
        )
    return {"providers": [text(provider, 80) for provider in providers], "lines": lines}


# --- all pictures together ---------------------------------------------------------------------------------------


def sets_view(sets: Record, alarms: Record, pictures: Pictures) -> list[dict[str, Any]]:
    """What each gate provider's pictures say together; copies stand beside the training pictures that they copy."""
    found = []
    for provider, group in sets.items():
        for metric, item in group.items() if isinstance(group, Mapping) else ():
            alarm, judged = bool(mapped(group, metric).get("alarm")), bool(mapped(group, metric).get("judged", True))
            severe = alarms.get(metric) == "fail"
            found.append(
                {
                    "provider": text(provider, 80),
                    "metric": text(metric, 60),
                    "word": ("fail" if severe else "inconclusive") if alarm else "pass" if judged else "none",
                    "means": "alarm" if alarm else "no alarm" if judged else "not judged",
                    "sign": "!" if alarm else "✓" if judged else "·",
                    "sentence": text(mapped(group, metric).get("sentence"), 600),
                    "pairs": [pair_view(pair, pictures) for pair in listed(mapped(item, "details"), "pairs")],
                }
            )
    return found


def pair_view(pair: Record, pictures: Pictures) -> dict[str, Any]:
    """A picture and the training picture that it is nearest to."""
    lines, how = number(pair.get("lines")), text(pair.get("how"), 80)
    return {
        "drawn": picture(pictures, pair.get("image")),
        "training": picture(pictures, pair.get("training")),
        "about": f"{text(pair.get('case'), 80)}, seed {text(pair.get('seed'), 12)}",
        "name": text(pair.get("name"), 80) + (f", {how}" if how else ""),
        "likeness": "" if lines is None else f"{lines:.2f}",
        "copied": bool(pair.get("copied")),
    }


# --- feedback and rounds ------------------------------------------------------------------------------------------


def feedback_view(item: Record, pictures: Pictures) -> dict[str, Any]:
    short = [shortfall_view(part, pictures) for kind in ("metrics", "traits", "cases") for part in listed(item, kind)]
    score, rival = number(item.get("lora_score")), number(item.get("competitor_score"))
    gap = interval(item.get("score_gap"))
    return {
        "provider": text(item.get("provider"), 80),
        "needs": bool(item.get("needs_improvement")),
        "cause": text(item.get("cause"), 400),
        "score": None if score is None else f"{score:.2f}",
        "band": None if score is None else band(score),
        "best": text(item.get("best_competitor"), 80),
        "best_score": None if rival is None else f"{rival:.2f}",
        "gap": bounds_text(gap, signed=True) if gap else None,
        "short": short,
        "advice": [
            {
                **{key: text(part.get(key), 800) for key in ("area", "message", "priority")},
                "evidence": {
                    text(name, 60).replace("_", " "): evidence_words(found)
                    for name, found in mapped(part, "evidence").items()
                    if found is not None and name not in ("images", "score", "target", "gap", "certain")
                },
            }
            for part in listed(item, "recommendations")
        ],
    }


def evidence_words(value: Any) -> str:
    """A measured figure for people: an interval with its bounds, a number as it is, a list by its entries."""
    if isinstance(value, Mapping):
        if found := interval(value):
            return bounds_text(found)
        return ", ".join(f"{text(name, 60)}: {evidence_words(item)}" for name, item in value.items())
    plain = number(value)
    return plain_words(value) if plain is None or plain == int(plain) else f"{plain:.3g}"


def shortfall_view(part: Record, pictures: Pictures) -> dict[str, Any]:
    target, gap = number(part.get("target")), number(part.get("gap"))
    images = part.get("images")
    return {
        "kind": text(part.get("kind"), 20),
        "name": text(part.get("name"), 120).replace("_", " "),
        "bar": bar(part.get("score"), marks={"fail": target}),
        "target": None if target is None else f"{target:.2f}",
        "gap": None if gap is None else f"{gap:.2f}",
        "certain": bool(part.get("certain")),
        "images": [picture(pictures, sha) for sha in images[:3]] if isinstance(images, list) else [],
    }


def round_view(number_: int, record: Record) -> dict[str, Any]:
    """One round of retraining: what changed and why, the loss, how the exam ended."""
    changes = [(text(name, 60), *change_words(item)) for name, item in mapped(record, "changes").items()]
    plan = record.get("plan")
    gap = record.get("gap") or mapped(record, "differences").get("quality")
    verdict = (
        "promoted" if record.get("promoted") is True else "error" if record.get("verdict") == "error" else "refused"
    )
    exam = [
        {
            "metric": text(name, 40),
            "before": bar(mapped(record, "before").get(name)),
            "after": bar(mapped(record, "after").get(name)),
            "gap": bar(item, -1.0, 1.0),
        }
        for name, item in mapped(record, "differences").items()
    ]
    failing = record.get("failing_before")
    return {
        "number": text(record.get("round", number_), 12),
        "attempt": text(record.get("attempt"), 12),
        "suite": text(record.get("suite"), 80),
        "verdict": verdict,
        "sign": {"promoted": "✓", "refused": "✗", "error": "!"}[verdict],
        "reason": text(record.get("reason"), 1_000),
        "plan": [text(line, 600) for line in plan] if isinstance(plan, list) else [text(plan, 600)] if plan else [],
        "changes": changes,
        "gap": bar(gap, -1.0, 1.0),
        "exam": exam,
        "loss": curve(record.get("loss")),
        "failing": [text(name, 80) for name in failing] if isinstance(failing, list) else [],
        "choice": [
            {
                "file": text(part.get("file"), 80),
                "strength": text(part.get("strength"), 12),
                "quality": "" if (value := number(part.get("quality"))) is None else f"{value:.2f}",
            }
            for part in listed(record, "choice")
        ],
        "facts": round_facts(record),
    }


def change_words(item: Any) -> tuple[str, str]:
    """A setting before and after, for people."""
    before, after = item if isinstance(item, list) and len(item) == 2 else ("", item)
    return plain_words(before), plain_words(after)


def plain_words(value: Any) -> str:
    """A value as a person writes it: `03.png: 2.0, 07.png: 1.5` for a mapping, `none` for an empty one."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{name}: {item}" for name, item in value.items()) or "none"
    elif isinstance(value, list):
        value = ", ".join(str(item) for item in value) or "none"
    return text(value, 300)


def round_facts(record: Record) -> list[str]:
    seconds, pictures, steps = (number(record.get(name)) for name in ("seconds", "pictures", "steps"))
    facts = [f"{steps:,.0f} steps"] if steps else []
    facts += [f"{pictures:.0f} pictures drawn"] if pictures else []
    return facts + ([duration(seconds)] if seconds else [])


def curve(points: Any) -> dict[str, Any] | None:
    """A loss curve in a box of 300 x 90: [step, loss] pairs or plain losses; None for fewer than two."""
    if not isinstance(points, list):
        return None
    pairs = [
        (item[0], item[1]) if isinstance(item, list) and len(item) == 2 else (index, item)
        for index, item in enumerate(points)
    ]
    known = [(x, y) for a, b in pairs if (x := number(a)) is not None and (y := number(b)) is not None]
    if len(known) < 2:
        return None
    stride = max(1, len(known) // 300)
    known = [*known[:-1:stride], known[-1]]
    xs, ys = [x for x, _ in known], [y for _, y in known]
    width, height = max(xs) - min(xs) or 1, max(ys) - min(ys) or 1
    line = " ".join(f"{300 * (x - min(xs)) / width:.1f},{86 - 82 * (y - min(ys)) / height:.1f}" for x, y in known)
    return {
        "line": line,
        "first": f"{ys[0]:.3g}",
        "last": f"{ys[-1]:.3g}",
        "top": f"{max(ys):.3g}",
        "low": f"{min(ys):.3g}",
        "steps": f"{xs[-1]:,.0f}",
    }


# --- cases --------------------------------------------------------------------------------------------------------


def cases_view(
    suite: str, cases: Sequence[Record], order: Sequence[str], references: Record, pictures: Pictures
) -> list[dict[str, Any]]:
    grouped: dict[str, list[Record]] = {}
    for case in cases:
        grouped.setdefault(case["case"], []).append(case)
    held_out = references.get("held_out") or references.get("gallery") or references.get("train") or []
    few = held_out[:6] if isinstance(held_out, list) else []
    shown = [{**picture(pictures, sha), "shared": pictures.share(sha)} for sha in few]
    unfolded = len(grouped) <= OPEN_CASES
    return [
        case_view(suite, name, items, order, shown, unfolded)
        for name, items in ((n, _with_pictures(i, pictures)) for n, i in grouped.items())
    ]


def _with_pictures(items: Iterable[Record], pictures: Pictures) -> list[Record]:
    """The same records, each sample with its picture."""
    return [
        {
            **item,
            "samples": [
                {**sample, "shown": picture(pictures, sample.get("image"))} for sample in listed(item, "samples")
            ],
        }
        for item in items
    ]


def case_view(
    suite: str, name: str, items: Sequence[Record], order: Sequence[str], references: list[Any], few: bool
) -> dict[str, Any]:
    ranked = sorted(items, key=lambda item: order.index(item["provider"]))
    first = ranked[0]
    bad = [item for item in ranked if item.get("gate") and item.get("verdict") in ("fail", "error")]
    gate = next((item for item in bad), next((item for item in ranked if item.get("gate")), first))
    expect = [f"{text(key, 60)}: {text(value, 80)}" for key, value in mapped(first, "expect").items()]
    return {
        "id": slug("case", suite, name),
        "name": text(name, 120),
        "prompt": text(first.get("prompt")),
        "negative": text(first.get("negative"), 600),
        "expect": expect,
        "split": text(first.get("split"), 20),
        "verdict": verdict_word(gate.get("verdict")),
        "open": few or bool(bad),
        "search": text(
            " ".join([name, str(first.get("prompt", "")), *expect, *(str(item["provider"]) for item in ranked)]), 800
        ).lower(),
        "references": references,
        "providers": [provider_view(item) for item in ranked],
    }


def provider_view(item: Record) -> dict[str, Any]:
    """One provider's pictures of one case."""
    score = case_quality(item)
    judged = mapped(item, "scores").get("quality")
    samples = [sample_view(sample) for sample in listed(item, "samples")]
    return {
        "name": text(item["provider"], 80),
        "gate": bool(item.get("gate")),
        "emulated": any(sample["emulated"] for sample in samples),
        "verdict": verdict_word(item.get("verdict"), bool(item.get("gate"))),
        "quality": bar(judged, marks=mapped(mapped(item, "thresholds"), "quality")) if judged else None,
        "band": None if score is None else band(score),
        "complaints": [
            {"message": text(part.get("message"), 600), "severity": text(part.get("severity"), 12)}
            for part in listed(item, "complaints")
        ],
        "cause": text(item.get("cause"), 300),
        "skipped": text(item.get("skipped"), 300),
        "attempts": [verdict_word(part.get("verdict")) for part in listed(item, "attempts")],
        "samples": samples,
    }


def sample_view(sample: Record) -> dict[str, Any]:
    outcome = text(sample.get("outcome") or "ok", 30)
    quality = sample_value(sample, "quality")
    scores = mapped(sample, "scores")
    order = [*METRICS, *(name for name in scores if name not in METRICS)]
    return {
        "seed": text(sample.get("seed"), 20),
        "outcome": outcome.replace("_", " "),
        "ok": outcome == "ok",
        "message": text(sample.get("message"), 500),
        "picture": sample["shown"],
        "quality": None if quality is None else f"{quality:.2f}",
        "band": None if quality is None else band(quality),
        "numbers": [score_view(name, mapped(scores, name)) for name in order if name in scores],
        "missing": missing_traits(mapped(scores, "features")),
        "emulated": bool(sample.get("emulated")),
        "cached": bool(sample.get("cached")),
    }


def score_view(name: str, score: Record) -> dict[str, Any]:
    value, raw = number(score.get("value")), number(score.get("raw"))
    return {
        "metric": text(name, 40),
        "value": "–" if value is None else f"{value:.2f}",
        "raw": "" if raw is None else plain_figure(raw),
        "reason": text(score.get("reason"), 300),
    }


def plain_figure(value: float) -> str:
    """A raw figure as short as it can be read."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"


def missing_traits(features: Record) -> list[str]:
    """Traits that a picture shows too little of, and what the scorer saw in their place."""
    found = []
    for category, item in mapped(features, "details").items():
        value = number(item.get("score")) if isinstance(item, Mapping) else None
        if value is not None and value < 0.6:
            seen = text(item.get("seen"), 60)
            wanted = text(item.get("value"), 60)
            instead = f", seen: {seen}" if seen and seen != wanted else ""
            found.append(f"{text(category, 40).replace('_', ' ')}: {wanted} {value:.2f}{instead}")
    return found


# --- the baseline -------------------------------------------------------------------------------------------------

CHANGES: Mapping[str, str] = {
    "regressed": "fail",
    "improved": "pass",
    "unchanged": "none",
    "inconclusive": "inconclusive",
}
WEBP = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def baseline_view(suite: str, baseline: Record, cases: Sequence[Record]) -> dict[str, Any] | None:
    """How each gate provider stands against its baseline, and every case that is proven to have changed."""
    if not baseline:
        return None
    made = mapped(baseline, "made")
    order = list(dict.fromkeys(case["case"] for case in cases))
    return {
        "source": text(baseline.get("source"), 200),
        "made": " ".join(text(made.get(name), 40)[:10] for name in ("date", "commit")).strip(),
        "problem": text(baseline.get("problem"), 600),
        "providers": [
            held_view(suite, str(name), held, order)
            for name, held in mapped(baseline, "providers").items()
            if isinstance(held, Mapping)
        ],
    }


def held_view(suite: str, provider: str, held: Record, order: Sequence[str]) -> dict[str, Any]:
    cases = changed_cases({**held, "cases": listed(held, "cases")})
    refused = held.get("refused")
    return {
        "provider": text(provider, 80),
        **change_word(held.get("verdict")),
        "bar": bar(held.get("quality"), -1.0, 1.0),
        "pairs": text(held.get("pairs"), 20),
        "refused": [text(item, 300) for item in refused] if isinstance(refused, list) else [],
        "cases": [
            {
                "case": text(case.get("case"), 120),
                "href": slug("case", suite, case.get("case")) if case.get("case") in order else "",
                **change_word(case.get("verdict")),
                "bar": bar(case, -1.0, 1.0),
                "before": "" if (old := number(case.get("before"))) is None else f"{old:.2f}",
                "after": "" if (new := number(case.get("after"))) is None else f"{new:.2f}",
                "thumb": inline_webp(mapped(case, "thumbnail").get("webp")),
            }
            for case in cases
        ],
    }


def change_word(value: Any) -> dict[str, str]:
    """A verdict on a change, as class and word."""
    known = value if isinstance(value, str) else ""
    return {"kind": CHANGES.get(known, "error"), "word": text(known, 40)}


def inline_webp(data: Any) -> str | None:
    """A baseline's thumbnail as a data URI; whatever else is in the record is no picture."""
    return f"data:image/webp;base64,{data}" if isinstance(data, str) and WEBP.fullmatch(data) else None


# --- calibration --------------------------------------------------------------------------------------------------


def calibration_view(suite: Record, rows: Sequence[Record]) -> dict[str, Any] | None:
    """How well the scorer tells the subject from others, with both kinds' similarities as bell curves."""
    calibration = mapped(suite, "calibration")
    if not calibration:
        return None
    clip = mapped(calibration, "clip")
    named = {
        name: number(clip.get(name)) for name in ("genuine", "impostor", "genuine_sd", "impostor_sd", "d_prime", "eer")
    }
    measures = [
        {
            "trait": f"{text(item.get('category'), 60)}: {text(item.get('value'), 80)}".replace("_", " "),
            "accuracy": "" if (share := number(item.get("accuracy"))) is None else f"{share:.0%}",
            "counts": bool(number(item.get("weight"))),
            "reason": text(item.get("reason"), 200),
        }
        for item in listed(calibration, "measures")
    ]
    return {
        "reason": text(calibration.get("reason"), 400),
        "d_prime": None if named["d_prime"] is None else f"{named['d_prime']:.2f}",
        "eer": None if named["eer"] is None else f"{named['eer']:.1%}",
        "genuine": None if named["genuine"] is None else f"{named['genuine']:.3f}",
        "impostor": None if named["impostor"] is None else f"{named['impostor']:.3f}",
        "counts": [clip.get("n_genuine"), clip.get("n_impostor")],
        "curves": bells(named, rows),
        "measures": measures,
    }


def bells(clip: Mapping[str, float | None], rows: Sequence[Record]) -> dict[str, Any] | None:
    """Two normal curves in a box of 600 x 120, and where each provider's mean similarity lies on the same scale."""
    g, i, g_sd, i_sd = (clip[name] for name in ("genuine", "impostor", "genuine_sd", "impostor_sd"))
    if g is None or i is None or not g_sd or not i_sd or g_sd < 0 or i_sd < 0:
        return None
    raws = [(row, value) for row in rows if (value := number(mapped(row, "raw").get("clip_raw"))) is not None]
    low = min([i - 3.2 * i_sd, g - 3.2 * g_sd, *(value for _, value in raws)])
    high = min(1.0, max([g + 3.2 * g_sd, i + 3.2 * i_sd, *(value for _, value in raws)]))  # it is a cosine
    span = (high - low) or 1.0
    peak = max(NormalDist(g, g_sd).pdf(g), NormalDist(i, i_sd).pdf(i))

    def path(mean: float, sd: float) -> str:
        xs = [low + span * step / 120 for step in range(121)]
        points = (f"{600 * (x - low) / span:.1f},{118 - 100 * NormalDist(mean, sd).pdf(x) / peak:.1f}" for x in xs)
        return "0,118 " + " ".join(points) + " 600,118"

    marks = [
        {
            "x": round(600 * (value - low) / span, 1),
            "name": text(row["provider"], 40),
            "gate": bool(row["gate"]),
            "value": f"{value:.3f}",
        }
        for row, value in raws
    ]
    return {
        "genuine": path(g, g_sd),
        "impostor": path(i, i_sd),
        "marks": marks,
        "low": f"{low:.2f}",
        "high": f"{high:.2f}",
    }
