"""A calibration for terminals and browsers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from harness.core.html import read_assets, render_page
from harness.core.stats.calibration import Calibration, Sight
from harness.core.values import Interval
from harness.report import plots
from harness.scoring.calibration.distributions import Discrimination, Sides, Suggested
from harness.scoring.calibration.populations import CalibrationReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METHOD = "95% intervals: d-prime by bootstrap; counts exact (Clopper-Pearson), and from both counts' bounds the EER"
MANY = 99.0  # a d' beyond it says no more


def report_text(report: CalibrationReport) -> str:
    """A calibration for the terminal."""
    return "\n".join(report_lines(report))


def report_lines(report: CalibrationReport) -> Iterator[str]:
    known = report.calibration
    yield f"{report.suite}: {report.subject}, {known.clip.n_genuine} references against {zero_text(known)}"
    if known.sight:
        yield sight_text(known.sight)
    yield ""
    yield f"{'score':10}{'genuine':>15}{'impostors':>15}  {'d-prime':18}{'EER':18}{'AUC':>6}{'fail':>7}{'warn':>7}"
    for finding in report.findings:
        yield finding_line(finding)
    yield METHOD
    for finding in report.findings:
        if finding.suggested:
            yield f"{finding.metric}: {cost_of(finding.suggested)}"
    yield from notes(report)
    yield ""
    yield f"{'trait':14}{'value':18}{'weight':>7}{'right':>7}{'reach':>7}"
    for trait in known.measures:
        yield f"{trait.category:14}{trait.value:18}{trait.weight:7.2f}{trait.accuracy:7.0%}{trait.reach:7.2f}" + (
            f"  {trait.reason}" if trait.reason else ""
        )
    yield ""
    yield verdict(report)


def zero_text(known: Calibration) -> str:
    """Who is called 0, and how many pictures of them there are."""
    whose = {
        "lookalikes": "that the base draws from the description",
        "redrawn references": "by the base",
        "strangers": "that the base draws",
        "impostors": "of the folder",
    }
    return f"{known.clip.n_impostor} {known.zero} {whose.get(known.zero, '')}".strip()


def sight_text(sight: Sight) -> str:
    """Whether the encoder sees who is shown, in words."""
    if not sight.sees:
        return sight.reason
    steps = ", ".join(f"{mean:.2f} at {at:g}" for at, mean in zip(sight.strengths, sight.means, strict=True))
    seen = f"CLIP sees who is shown: likeness falls as the references are redrawn ({steps}; told apart at least"
    seen = f"{seen} {sight.told:.2f} of the time)"
    if sight.enough:
        return f"{seen}; it finds lookalikes among the references, so a prompt is enough and a LoRA must not lose to it"
    return seen


def finding_line(finding: Any) -> str:
    result, wanted = finding.separation, finding.suggested
    genuine = f"{result.genuine:.2f} ± {result.genuine_sd:.2f}"
    impostor = f"{result.impostor:.2f} ± {result.impostor_sd:.2f}"
    bounds = f"{wanted.fail:7.2f}{wanted.warn:7.2f}" if wanted else f"{'-':>7}{'-':>7}"
    d_prime, eer = spread(finding.d_prime, "{:.1f}"), spread(finding.eer, "{:.0%}")
    return f"{finding.metric:10}{genuine:>15}{impostor:>15}  {d_prime:18}{eer:18}{finding.auc:6.3f}{bounds}"


def cost_of(wanted: Suggested) -> str:
    """What both thresholds refuse and let through, by count, with exact bounds."""
    sides = (
        ("fail", wanted.fail, wanted.false_alarm, wanted.refused, wanted.passed),
        ("warn", wanted.warn, wanted.false_alarm_warn, wanted.refused_warn, wanted.passed_warn),
    )
    return "; ".join(
        f"{name} {bound:.2f} refuses {expected:.1%} of genuine as predicted, {counted(refused)} as counted, and lets "
        f"{counted(passed)} impostors through"
        for name, bound, expected, refused, passed in sides
    )


def counted(share: Interval) -> str:
    """A share as a count with its interval: 0 of 8 (0% to 37%)."""
    return f"{round(share.mean * share.n)} of {share.n} ({share.low or 0:.0%} to {share.high or 0:.0%})"


def notes(report: CalibrationReport) -> Iterator[str]:
    """What the table leaves out."""
    for side in report.sides:
        if side.reason:
            yield f"{side.metric}: {side.reason}"
    for finding in report.findings:
        if finding.reason:
            yield f"{finding.metric}: {finding.reason}; no threshold follows from the references"
        elif finding.suggested and not finding.suggested.apart:
            share = finding.suggested.passed.mean
            message = (
                f"{finding.metric}: the crowds overlap; at {finding.suggested.fail:.2f} {share:.0%} of impostors pass"
            )
            yield message if finding.metric in report.suggested else f"{message}, so it is no gate by itself"


def spread(interval: Interval, form: str) -> str:
    """A figure with its interval."""
    low, high = interval.low or 0.0, interval.high or 0.0
    value, low, high = (min(MANY, number) for number in (interval.mean, low, high))
    return f"{form.format(value)} ({form.format(low)} to {form.format(high)})"


def verdict(report: CalibrationReport) -> str:
    """One sentence."""
    if report.refusal:
        return f"refuses to gate: {report.refusal}"
    kept = f"{report.false_alarm:.0%} of genuine pictures"
    return f"can gate; warn refuses {kept} (Student's t), fail lies half-way from there to what impostors reach"


def report_page(report: CalibrationReport) -> str:
    """A calibration as one HTML file: no network, no script, every string escaped."""
    sides = {side.metric: side for side in report.sides}
    drawn = [(each, populations_plot(sides[each.metric], each), roc_plot(each)) for each in report.findings]
    return render_page(
        "harness.report",
        "calibration/page.html",
        read_assets("harness.report", "calibration/style.css"),
        report=report,
        drawn=drawn,
        notes=list(notes(report)),
        says=verdict(report),
        spread=spread,
        cost_of=cost_of,
        method=METHOD,
    )


# --- plots ------------------------------------------------------------------------------------------------------------


def populations_plot(sides: Sides, finding: Discrimination) -> Markup:
    """Both populations of one score, every picture a short line, with the thresholds that follow."""
    values = (*sides.genuine, *sides.impostor)
    low, high = min(0.0, *values) - 0.05, max(1.0, *values) + 0.05
    gap = (high - low) / 150
    result, wanted = finding.separation, finding.suggested
    bounds = (("fail", wanted.fail), ("warn", wanted.warn)) if wanted else ()

    def paint(axes: Axes) -> None:
        plots.scale(axes, low, high)
        for each, tall, colour in ((sides.impostor, 0.05, plots.IMPOSTOR), (sides.genuine, 0.08, plots.GENUINE)):
            plots.outline(axes, each, low, high, 0, 1, colour, 1.2)
            plots.rug(axes, each, 0, tall, colour)
        for kind, value in bounds:
            plots.bound(axes, value, 0, 1.08, kind)
            left = kind == "fail"  # of its line, and warn on the right
            x, side = (value - gap, "right") if left else (value + gap, "left")
            axes.text(x, 1.08, kind, va="top", ha=side, color=plots.QUIET, fontsize=plots.SIZE)

    message = f"{sides.metric}: genuine pictures about {result.genuine:.2f}, impostors about {result.impostor:.2f}"
    if wanted:
        message += f"; thresholds fail {wanted.fail:.2f} and warn {wanted.warn:.2f}"
    return plots.draw(plots.TALL, "Genuine pictures and impostors", message, paint, 12, 22, plots.BROAD)


def roc_plot(finding: Discrimination) -> Markup:
    """The share of genuine pictures that is accepted over the share of impostors, threshold by threshold."""

    def paint(axes: Axes) -> None:
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
        axes.plot([0, 1, 1, 0, 0], [0, 0, 1, 1, 0], color=plots.QUIET, linewidth=1)
        axes.plot([0, 1], [0, 1], color=plots.LINE, linewidth=1, linestyle="--")
        axes.plot(*zip(*((x, y) for _, x, y in finding.roc), strict=True), color=plots.GENUINE, linewidth=2)

    return plots.draw(plots.TALL, "ROC", f"ROC: area {finding.auc:.3f}", paint, 8, 8, plots.TALL)
