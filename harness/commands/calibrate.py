"""`harness calibrate`: its options, and the few lines that carry it out."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from harness.commands.options import command, flag, option, profile_option, suite_argument
from harness.commands.output import json_for
from harness.commands.project import open_suite
from harness.core.errors import UsageError
from harness.core.files import write_file
from harness.models.loading import Models
from harness.report.calibration_page import cost_of, report_page, report_text, spread
from harness.scoring.calibration.distributions import FALSE_ALARM
from harness.scoring.calibration.populations import CalibrationReport, calibrate_suite, rounded
from harness.scoring.calibration.writing import write_thresholds
from harness.scoring.metrics.scorer import scorer_of
from harness.store import Store


def parse_rate(text: str | float) -> float:
    """A share between 0.001 and 0.5."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.001 <= rate <= 0.5:
        raise click.BadParameter(f"{text!r} is no false-alarm rate; write 0.05, between 0.001 and 0.5")
    return rate


@command
@suite_argument
@option("--false-alarm", type=parse_rate, default=FALSE_ALARM, metavar="RATE", help="default: 0.05")
@flag("--write", help="put the suggested thresholds into the suite's file")
@flag("--freeze", help="keep what 0 and 1 mean in anchors/SUITE.json beside the suite, for a reviewed commit")
@option("--html", type=Path, metavar="FILE", help="write a page with the distributions")
@flag("--json", "as_json", help="print plain data instead of tables")
@profile_option
@option("--store", help="where embeddings are kept")
def calibrate(
    suite: Path,
    false_alarm: float,
    write: bool,
    freeze: bool,
    html: Path | None,
    as_json: bool,
    **options: str | None,
) -> int:
    """The exit status: 1 when the suite cannot tell its subject from others and must not gate."""
    read, profile, settings = open_suite(suite, **options)
    with Store(settings.store) as store:
        scorer = scorer_of(read, profile, Models(profile, settings), store, tell=warn)
        report = calibrate_suite(scorer, false_alarm)
        kept = scorer.freeze(rounded(report.sides)) if freeze else None
    print(json_for(sys.stdout, report.record, 2) if as_json else report_text(report))
    if kept and not as_json:
        print(f"kept {kept.as_posix()}")
    if html:
        html.parent.mkdir(parents=True, exist_ok=True)
        write_file(html, report_page(report))
    if write:
        note = write_into(suite, report)
        if not as_json:
            print(note)
    return 1 if report.refusal else 0


def warn(text: str) -> None:
    """Beside what is printed, which may be JSON."""
    print(text, file=sys.stderr)


def write_into(path: Path, report: CalibrationReport) -> str:
    """Write the suggestions; what was done, in words.

    Raises:
        UsageError: there is nothing to write, and a gate without meaning must not look like one.
    """
    if not report.suggested:
        raise UsageError(f"{path}: nothing is written: {report.refusal or 'no score tells the subject from others'}")
    write_thresholds(path, report.suggested, provenance(report))
    return f"wrote {', '.join(report.suggested)} into {path.as_posix()}"


def provenance(report: CalibrationReport) -> str:
    """Where thresholds come from, for comments: when, with what, how well it tells apart, and what each bound costs.

    The first line is of the whole, then one of each metric that is written, then what of the lines is not calibrated.
    """
    clip = report.calibration.clip
    findings = {finding.metric: finding for finding in report.findings}
    eer = spread(findings["clip"].eer, "{:.0%}") if "clip" in findings else f"{clip.eer:.0%}"
    first = (
        f"{datetime.now(UTC):%Y-%m-%d}: false alarms {report.false_alarm:g}, CLIP {report.clip_hash[:12]}, "
        f"{clip.n_genuine} genuine, {clip.n_impostor} impostors, d' {clip.d_prime:.1f}, EER {eer}"
    )
    costs = [f"{metric}: {cost_of(wanted)}" for metric in report.suggested if (wanted := findings[metric].suggested)]
    return "\n".join([first, *costs, f"wrote {', '.join(report.suggested)}; any other line is the author's own"])
