"""The page's plots: drawn by matplotlib, then freed of all that the page's policy forbids or the page itself knows.

Colours are the page's own (CSS variables), so that plots turn dark with it; text stays text in the page's font.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE = 420.0  # SVG units of a plot, about as wide as a phone: text of 11 units can be read there
BROAD, TALL = 640.0, 170.0  # of a plot as wide as the page
SIZE = 11.0  # of text
NAMES = ("ink", "quiet", "line", "range", "pass", "fail", "warn", "paper", "genuine", "impostor", "third", "fourth")
COLOURS = {f"#0000f{place:x}": name for place, name in enumerate(NAMES)}
"""What matplotlib is told, and the variable of the page's style that takes its place."""
INK, QUIET, LINE, RANGE, PASS, FAIL, WARN, PAPER, GENUINE, IMPOSTOR, THIRD, FOURTH = COLOURS
KEPT = frozenset({"d", "x", "y", "transform"})  # attributes of the drawing
STYLED = frozenset({"fill", "stroke", "opacity", "fill-opacity", "stroke-opacity", "stroke-width", "stroke-dasharray",
                    "font-size", "font-weight", "text-anchor"})  # fmt: skip
SVG, LINKED = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
NUMBER = re.compile(r"-?\d+\.\d+(e-?\d+)?")


def draw(
    tall: float,
    title: str,
    told: str,
    paint: Callable[[Axes], None],
    left: float = 38.0,
    bottom: float = 20.0,
    wide: float = WIDE,
) -> Markup:
    """An SVG of `wide` by `tall` units, with `title` and `told` for who does not see it.

    Args:
        paint: draws into axes without frame and ticks, which fill all but `left` and `bottom` units.
    """
    import matplotlib
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of glyphs that its font lacks: the page has its own fonts
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "report", "text.parse_math": False})
        figure = Figure(figsize=(wide / 72, tall / 72), dpi=72)
        axes = figure.add_axes((left / wide, bottom / tall, 1 - (left + 8) / wide, 1 - (bottom + 8) / tall))
        for part in (figure.patch, axes.patch, *axes.spines.values()):
            part.set_visible(False)
        axes.tick_params(left=False, bottom=False, labelsize=SIZE, labelcolor=QUIET)
        paint(axes)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    # nobody else's XML comes here: matplotlib wrote it just now, texts escaped and without entities of its own
    inside = Cleaner(ElementTree.fromstring(buffer.getvalue())).markup  # noqa: S314
    head = Markup('<svg viewBox="0 0 {:.0f} {:.0f}" role="img"><title>{}</title><desc>{}</desc>')
    return head.format(wide, tall, title, told) + inside + Markup("</svg>")


class Cleaner:
    """Matplotlib's SVG without ids, styles and references: paths and text with plain attributes."""

    def __init__(self, root: ElementTree.Element) -> None:
        self._named = {f"#{item.get('id')}": item for item in root.iter(f"{SVG}path") if item.get("id")}
        self.markup = Markup("").join(self._inside(root))

    def _inside(self, parent: ElementTree.Element) -> list[Markup]:
        results = []
        for item in parent:
            kind = item.tag.removeprefix(SVG)
            if kind == "g":
                results += self._inside(item)
            elif kind == "use":
                marker = self._named[item.get(LINKED, "")]
                moved = f"translate({item.get('x')} {item.get('y')})"
                results.append(element("path", {**attributes(marker), **attributes(item), "transform": moved}))
            elif kind == "path":
                results.append(element("path", attributes(item)))
            elif kind == "text":
                results.append(element("text", attributes(item), "".join(item.itertext())))
        return results


def attributes(item: ElementTree.Element) -> dict[str, str]:
    """An element's style as attributes, which the policy allows; `use` gives no place of its own."""
    styles = (part.partition(":") for part in item.get("style", "").split(";"))
    results = {name.strip(): value.strip() for name, _, value in styles}
    kept = {name: value for name, value in results.items() if name in STYLED}
    if item.tag != f"{SVG}use":
        kept |= {name: value for name, value in item.attrib.items() if name in KEPT}
    return kept


def element(kind: str, given: Mapping[str, str], inside: str = "") -> Markup:
    """One element: numbers as short as the eye needs them, colours of the page."""
    short = {name: NUMBER.sub(lambda match: f"{float(match[0]):.4g}", " ".join(value.split()))
             for name, value in given.items()}  # fmt: skip
    named = {name: f"var(--{COLOURS[value]})" if value in COLOURS else value for name, value in short.items()}
    words = Markup("").join(Markup(' {}="{}"').format(name, value) for name, value in named.items())
    return Markup("<{0}{1}>{2}</{0}>").format(kind, words, inside)


# --- parts of drawings --------------------------------------------------------------------------------------------


def scale(axes: Axes, low: float, high: float) -> None:
    """Room for outlines of height 1 above a line from `low` to `high`."""
    axes.set(xlim=(low, high), ylim=(0, 1.08), yticks=[])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.plot([low, high], [0, 0], color=QUIET, linewidth=1)


def rug(axes: Axes, values: Sequence[float], low: float, high: float, colour: str) -> None:
    """A short line a value, all of them one path."""
    xs = [part for value in values for part in (value, value, math.nan)]  # no number: the pen is lifted
    axes.plot(xs, [low, high, math.nan] * len(values), color=colour, linewidth=0.8, alpha=0.7)


def population(
    axes: Axes, values: Sequence[float], base: float, tall: float, low: float, high: float, colour: str
) -> None:
    """How often values lie where: a histogram of 40 bins over the axis, its highest bin `tall` high."""
    counts, edges = np.histogram(np.clip(values, low, high), 40, (low, high))
    heights = base + tall * counts / max(1, counts.max())
    axes.stairs(heights, edges, baseline=base, fill=True, color=colour, alpha=0.4, linewidth=0)


def outline(
    axes: Axes, values: Sequence[float], low: float, high: float, base: float, tall: float, colour: str, line: float = 0
) -> None:
    """A crowd's smooth outline between `low` and `high` by normal kernels, its highest point `tall` above `base`."""
    known, at = np.asarray(values, float), np.linspace(low, high, 161)
    width = max(0.9 * float(known.std()) * len(known) ** -0.2, 0.012)
    heights = np.exp(-0.5 * ((at[:, None] - known[None]) / width) ** 2).sum(1)
    heights /= max(float(heights.max()), 1e-12)
    at, heights = at[heights > 1e-3], heights[heights > 1e-3]  # no line where nobody is
    ys = base + tall * heights
    axes.fill([at[0], *at, at[-1]], [base, *ys, base], facecolor=(colour, 0.3), edgecolor=colour, linewidth=line)


def bound(axes: Axes, value: float, low: float, high: float, kind: str) -> None:
    """A threshold across rows: red where it fails, amber and dashed where it warns."""
    colour, style = (WARN, "--") if kind == "warn" else (FAIL, "-")
    axes.plot([value, value], [low, high], color=colour, linestyle=style, linewidth=1)


def label(axes: Axes, y: float, words: str, below: str = "", strong: bool = False) -> None:
    """A row's name left of the axes, and a smaller line under it."""
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "ha": "left"}
    words = "".join(char if char.isprintable() else " " for char in words)  # XML forbids some of the others
    left = -axes.get_position().x0 / axes.get_position().width
    axes.text(left, y, words, fontsize=SIZE, color=INK, weight="bold" if strong else "normal", va="bottom", **place)
    axes.text(left, y, below, fontsize=SIZE - 1, color=QUIET, va="top", **place)
