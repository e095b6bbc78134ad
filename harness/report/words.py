"""What the templates of a page say of a record's values: texts made safe, figures, bars, badges, pictures."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.core.text import bounds_text
from harness.core.values import Interval, Threshold, as_number
from harness.report.pictures import Pictures
from harness.report.terminal import duration

__all__ = ["Frame", "badge", "band", "bar", "bounds_text", "duration", "figure", "text"]

DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
LONGEST = 1_500  # characters of one foreign text in the page; results.json has it whole
BANDS = ((0.8, "excellent"), (0.6, "good"), (0.4, "fair"), (-math.inf, "poor"))
SHOWN_APART = ("images", "score", "target", "gap", "certain")  # evidence that a card shows elsewhere
VERDICTS: Mapping[str, tuple[str, str]] = {  # word to (sign, what it means)
    "pass": ("✓", "passed"),
    "fail": ("✗", "failed"),
    "inconclusive": ("?", "still open"),
    "not_judged": ("?", "cannot be judged"),
    "error": ("!", "broke"),
    "skipped": ("–", "skipped"),
    "none": ("·", "not judged"),
}
COMPETITORS: Mapping[str, str] = {"fail": "below the bounds", "error": "no usable pictures"}


# --- texts and figures ----------------------------------------------------------------------------------------------


def text(value: object, longest: int = LONGEST) -> str:
    """Foreign text without what could reorder or hide the text around it; too long is cut, and says so."""
    whole = "" if value is None else str(value)
    if whole.isascii() and whole.isprintable() and len(whole) <= longest:
        return whole  # by far the most
    safe = "".join(char if is_plain(char) else "\N{REPLACEMENT CHARACTER}" for char in whole[:longest])
    return safe if len(whole) <= longest else f"{safe}… ({len(whole):,} characters, whole in results.json)"


def is_plain(char: str) -> bool:
    """Neither a control character, half a surrogate, nor a switch of the reading direction."""
    return char in "\n\t" or (unicodedata.category(char) not in ("Cc", "Cs") and char not in DIRECTION)


def spaced(value: object, longest: int = LONGEST) -> str:
    """An identifier as words: `facial hair` for `facial_hair`."""
    return text(value, longest).replace("_", " ")


def name(value: object) -> str:
    """A provider's, a metric's, a file's: short enough for a table."""
    return text(value, 80)


def plain(value: object) -> object:
    """What a template prints: its own markup as it is, everything else made safe."""
    return text(value) if type(value) is str else value


def figure(value: float | None, empty: str = "") -> str:
    """`0.71`, or `empty` without a number."""
    return empty if value is None else f"{value:.2f}"


def raw_figure(value: float | None, empty: str = "") -> str:
    """A raw figure as short as it can be read."""
    if value is None:
        return empty
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"


def plain_words(value: object) -> str:
    """A value as a person writes it: `03.png: 2.0, 07.png: 1.5` for a mapping, `none` for an empty one."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{name}: {item}" for name, item in value.items() if item is not None) or "none"
    elif isinstance(value, bool):
        value = "yes" if value else "no"
    elif isinstance(value, list | tuple):
        value = ", ".join(str(item) for item in value) or "none"
    return text(value, 300)


def lines_of(record: Mapping[str, object]) -> dict[str, str]:
    """A flat record as names and words."""
    return {spaced(name, 60): plain_words(item) for name, item in record.items()}


def evidence_lines(evidence: Mapping[str, object], apart: bool = False) -> dict[str, str]:
    """Measured figures by name; differences with their sign.

    Args:
        apart: without what a card of feedback shows elsewhere.
    """
    return {
        spaced(name, 60): evidence_words(value, signed="gap" in name or "gain" in name)
        for name, value in evidence.items()
        if not apart or (value is not None and name not in SHOWN_APART)
    }


def evidence_words(value: object, signed: bool = False) -> str:
    """A measured figure for people: an interval with its bounds, a number as it is, a list by its entries.

    Args:
        signed: it is a difference.
    """
    if isinstance(value, Mapping):
        mean = as_number(value.get("mean", value.get("diff")))
        if mean is not None:
            return bounds_text(Interval(mean, as_number(value.get("low")), as_number(value.get("high"))), signed=signed)
        return ", ".join(f"{text(name, 60)}: {evidence_words(item)}" for name, item in value.items())
    plain = as_number(value)
    return plain_words(value) if plain is None or plain == int(plain) else f"{plain:.3g}"


def trait_words(category: str, value: str, longest: int = 60) -> str:
    """`facial hair: thin mustache`."""
    return f"{spaced(category, 60)}: {text(value, longest)}"


def dollars(amount: float, always: bool = False) -> str:
    """US dollars in words; "" for nothing, unless it is wanted always."""
    return f"${amount:.2f}" if amount or always else ""


def band(value: float) -> str:
    """The word for a score as the page shows it: 0.796 is printed as 0.80, and so called excellent."""
    value = round(value, 2)
    return next(word for bound, word in BANDS if value >= bound)


# --- drawings and badges --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BoundMark:
    """A bound on a bar."""

    x: float  # percent
    kind: str  # fail or warn


@dataclass(frozen=True)
class Bar:
    """An interval on a scale, in percent of it, and in words."""

    score: Interval
    low: float = 0.0  # of the scale; below 0 it is one of differences
    high: float = 1.0
    bounds: Threshold | None = None
    whisker: Interval | None = None  # a second, wider interval

    def place(self, value: float) -> float:
        return round(min(100.0, max(0.0, 100 * (value - self.low) / (self.high - self.low))), 1)

    def span(self, score: Interval) -> tuple[float, float]:
        """Where an interval begins, and how wide it is."""
        first, last = (self.place(score.mean if end is None else end) for end in (score.low, score.high))
        return first, round(max(last - first, 0.6), 1)

    @property
    def x(self) -> float:
        return self.span(self.score)[0]

    @property
    def width(self) -> float:
        return self.span(self.score)[1]

    @property
    def outer(self) -> tuple[float, float] | None:
        return self.span(self.whisker) if self.whisker and self.whisker.low is not None else None

    @property
    def mean(self) -> float:
        return self.place(self.score.mean)

    @property
    def marks(self) -> list[BoundMark]:
        known = (("fail", self.bounds.fail), ("warn", self.bounds.warn)) if self.bounds else ()
        return [BoundMark(self.place(value), kind) for kind, value in known if value is not None]

    @property
    def zero(self) -> float | None:
        return self.place(0.0) if self.low < 0 else None

    @property
    def text(self) -> str:
        return bounds_text(self.score, signed=self.low < 0)

    @property
    def value(self) -> str:
        return f"{self.score.mean:{'+.2f' if self.low < 0 else '.2f'}}"

    @property
    def range(self) -> str:
        return self.text.partition(" ")[2]

    @property
    def band(self) -> str:
        return band(self.score.mean)

    @property
    def n(self) -> int:
        return self.score.n


def bar(score: Interval | None, bounds: Threshold | None = None, whisker: Interval | None = None) -> Bar | None:
    """A score's bar from 0 to 1; None without a score.

    Args:
        bounds: drawn as upright lines.
        whisker: a second, wider interval.
    """
    return Bar(score, 0.0, 1.0, bounds, whisker) if score else None


def gap_bar(gap: Interval | None) -> Bar | None:
    """A difference's bar, from -1 to 1; None without one."""
    return Bar(gap, -1.0) if gap else None


@dataclass(frozen=True)
class Badge:
    """A verdict as class, sign and words."""

    word: str
    sign: str
    means: str


def badge(verdict: str | None, gate: bool = True) -> Badge:
    """A verdict's badge. A competitor only informs: where it falls short is no alarm."""
    word = verdict if verdict and verdict in VERDICTS else "none"
    sign, means = VERDICTS[word]
    if not gate and word in COMPETITORS:
        return Badge("none", sign, COMPETITORS[word])
    return Badge(word, sign, means)


def slug(*parts: object) -> str:
    """A fragment for links inside the page."""
    return "-".join(re.sub(r"[^A-Za-z0-9]+", "-", str(part)).strip("-").lower()[:60] for part in parts) or "part"


@dataclass(frozen=True)
class Photo:
    """A thumbnail and the link to its original."""

    src: str | None  # None: the picture is gone
    href: str | None = None
    shared: str = ""  # it stands in several places; the page keeps it once, as this class of its style sheet


@dataclass
class Frame:
    """What all parts of a page share: its pictures, and ids that no two things have."""

    pictures: Pictures
    _taken: dict[str, tuple[object, ...]] = field(default_factory=dict)

    def anchor(self, *parts: object) -> str:
        """The id of a thing, always the same for the same thing."""
        name = first = slug(*parts)
        count = 1
        while self._taken.setdefault(name, parts) != parts:
            count += 1
            name = f"{first}-{count}"
        return name

    def picture(self, sha: object, shared: bool = False) -> Photo:
        """A picture by its hash.

        Args:
            shared: it stands in several places.
        """
        src = self.pictures.thumb(sha)
        return Photo(src, f"images/{sha}.png" if src else None, self.pictures.share(sha) if shared else "")
