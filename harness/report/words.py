"""The record's values as the page may print them: a record is data, and may hold anything anywhere."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.judging import scores
from harness.report.pictures import SHA, Pictures
from harness.report.terminal import bounds_text

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
    result = record.get(key) if isinstance(record, Mapping) else None
    return [item for item in result if isinstance(item, Mapping)] if isinstance(result, list) else []


def mapped(record: Any, key: str) -> Record:
    """The mapping under a key, {} where there is none."""
    result = record.get(key) if isinstance(record, Mapping) else None
    return result if isinstance(result, Mapping) else {}


def texts(value: Any, longest: int = LONGEST) -> list[str]:
    """A list of foreign texts; a text alone is a list of one, nothing is an empty one."""
    if isinstance(value, list):
        return [text(item, longest) for item in value if item]
    return [text(value, longest)] if value else []


def number(value: Any) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def two_places(value: Any, empty: str = "") -> str:
    """`0.71`, or `empty` without a number."""
    result = number(value)
    return empty if result is None else f"{result:.2f}"


def plain_figure(value: float) -> str:
    """A raw figure as short as it can be read."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"


def plain_words(value: Any) -> str:
    """A value as a person writes it: `03.png: 2.0, 07.png: 1.5` for a mapping, `none` for an empty one."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{name}: {item}" for name, item in value.items() if item is not None) or "none"
    elif isinstance(value, bool):
        value = "yes" if value else "no"
    elif isinstance(value, list):
        value = ", ".join(str(item) for item in value) or "none"
    return text(value, 300)


def lines_of(record: Record, longest: int = 300) -> dict[str, str]:
    """A flat record as names and words."""
    return {text(name, 60).replace("_", " "): plain_words(item)[:longest] for name, item in record.items()}


def dollars(value: Any, always: bool = False) -> str | None:
    """US dollars in words; None for nothing, unless it is wanted always."""
    amount = number(value) or 0.0
    return f"${amount:.2f}" if amount or always else None


def band(value: float) -> str:
    """The word for a score as the page shows it: 0.796 is printed as 0.80, and so called excellent."""
    value = round(value, 2)
    return next(word for bound, word in BANDS if value >= bound)


def interval(record: Any) -> dict[str, Any] | None:
    """Mean and bounds of a record, under `mean` or `diff`; None without a mean."""
    if not isinstance(record, Mapping):
        return None
    mean = number(record.get("mean", record.get("diff")))
    if mean is None:
        return None
    return {"mean": mean, "low": number(record.get("low")), "high": number(record.get("high")), "n": record.get("n")}


def bar(
    record: Any, low: float = 0.0, high: float = 1.0, marks: Record | None = None, outer: Any = None
) -> dict[str, Any] | None:
    """An interval as percent of a scale, and as words.

    Args:
        marks: bounds by name, drawn as upright lines.
        outer: a second, wider interval, drawn as a whisker.
    """
    result = interval(record)
    if result is None:
        return None

    def place(value: float) -> float:
        return round(min(100.0, max(0.0, 100 * (value - low) / (high - low))), 1)

    def span(part: Record) -> tuple[float, float]:
        first, last = (place(part["mean"] if part[end] is None else part[end]) for end in ("low", "high"))
        return first, round(max(last - first, 0.6), 1)

    wide = interval(outer)
    first, width = span(result)
    signed = low < 0
    lines = [
        {"x": place(bound), "kind": "warn" if kind == "warn" else "fail"}
        for kind, value in (marks or {}).items()
        if (bound := number(value)) is not None
    ]
    return {
        "x": first,
        "width": width,
        "outer": span(wide) if wide and wide["low"] is not None else None,
        "mean": place(result["mean"]),
        "marks": lines,
        "zero": place(0.0) if signed else None,
        "text": bounds_text(result, signed=signed),
        "value": f"{result['mean']:{'+.2f' if signed else '.2f'}}",
        "range": bounds_text(result, signed=signed).partition(" ")[2],
        "band": band(result["mean"]),
        "n": result["n"],
    }


def verdict_word(value: Any, gate: bool = True) -> dict[str, str]:
    """A verdict as class, sign and words. A competitor only informs: where it falls short is no alarm."""
    word = value if isinstance(value, str) and value in VERDICTS else "none"
    sign, means = VERDICTS[word]
    if not gate and word in COMPETITORS:
        return {"word": "none", "sign": sign, "means": COMPETITORS[word]}
    return {"word": word, "sign": sign, "means": means}


def case_quality(case: Record) -> float | None:
    """Of the verdict where there is one, else the mean of the samples."""
    judged = interval(mapped(case, "scores").get("quality"))
    if judged:
        return float(judged["mean"])
    values = [value for sample in listed(case, "samples") if (value := sample_value(sample, "quality")) is not None]
    return sum(values) / len(values) if values else None


def sample_value(sample: Record, metric: str) -> float | None:
    return number(mapped(mapped(sample, "scores"), metric).get("value"))


def trait_means(samples: list[Any]) -> dict[str, scores.TraitMean]:
    """Category to the wanted value, the mean score over pictures, and of how many."""
    return scores.trait_means(mapped(mapped(mapped(sample, "scores"), "features"), "details") for sample in samples)


def slug(*parts: Any) -> str:
    """A fragment for links inside the page."""
    return "-".join(re.sub(r"[^A-Za-z0-9]+", "-", str(part)).strip("-").lower()[:60] for part in parts) or "part"


@dataclass
class Frame:
    """What all parts of a page share: its pictures, and ids that no two things have."""

    pictures: Pictures
    _taken: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def anchor(self, *parts: Any) -> str:
        """The id of a thing, always the same for the same thing."""
        name = first = slug(*parts)
        count = 1
        while self._taken.setdefault(name, parts) != parts:
            count += 1
            name = f"{first}-{count}"
        return name

    def picture(self, sha: Any, shared: bool = False) -> dict[str, Any]:
        """A thumbnail and the link to its original; `src` is None when the picture is gone.

        Args:
            shared: it stands in several places; the page keeps it once, as a class of its style sheet.
        """
        src = self.pictures.thumb(sha)
        known = isinstance(sha, str) and SHA.fullmatch(sha) is not None
        return {
            "src": src,
            "shared": self.pictures.share(sha) if shared else "",
            "href": f"images/{sha}.png" if src else None,
            "short": sha[:8] if known else "",
        }
