"""`harness calibrate`: its options, and the few lines that carry it out."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import UsageError
from harness.core.files import write_file
from harness.scoring.calibration.distributions import FALSE_ALARM

if TYPE_CHECKING:
    from harness.scoring.calibration.populations import CalibrationReport


def calibrate_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("suite", type=Path, metavar="SUITE")
    sub.add_argument("--false-alarm", type=parse_rate, default=FALSE_ALARM, metavar="RATE", help="default: 0.05")
    sub.add_argument("--write", action="store_true", help="put the suggested thresholds into the suite's file")
    sub.add_argument("--html", type=Path, metavar="FILE", help="write a page with the distributions")
    sub.add_argument("--json", action="store_true", help="print plain data instead of tables")
    sub.add_argument("--profile", help="default: embedded, or HARNESS_PROFILE")
    sub.add_argument("--store", help="where embeddings are kept")


def parse_rate(text: str) -> float:
    """A share between 0.001 and 0.5."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.001 <= rate <= 0.5:
        raise argparse.ArgumentTypeError(f"{text!r} is no false-alarm rate; write 0.05, between 0.001 and 0.5")
    return rate


def calibrate(options: argparse.Namespace) -> int:
    """The exit status: 1 when the suite cannot tell its subject from others and must not gate."""
    from harness.report.calibration_page import report_page, report_text

    report = examine_suite(options)
    print(json.dumps(report.record, indent=2, ensure_ascii=False) if options.json else report_text(report))
    if options.html:
        options.html.parent.mkdir(parents=True, exist_ok=True)
        write_file(options.html, report_page(report))
    if options.write:
        note = write_into(options.suite, report)
        if not options.json:
            print(note)
    return 1 if report.refusal else 0


def examine_suite(options: argparse.Namespace) -> CalibrationReport:
    """Load what is needed and look."""
    from harness.config.profile import load_profile
    from harness.config.suite import load_suite
    from harness.core.settings import Settings
    from harness.models.loading import Models
    from harness.scoring.calibration.populations import calibrate_suite
    from harness.scoring.metrics.scorer import Scorer
    from harness.store import Store

    settings = Settings.load(Path.cwd(), {"profile": options.profile, "store": options.store})
    profile = load_profile(settings.profile, settings.root)
    suite = load_suite(options.suite.resolve(), profile)
    with Store(settings.store) as store:
        return calibrate_suite(Scorer(suite, profile, Models(profile, settings), store), options.false_alarm)


def write_into(path: Path, report: CalibrationReport) -> str:
    """Write the suggestions; what was done, in words.

    Raises:
        UsageError: there is nothing to write, and a gate without meaning must not look like one.
    """
    from harness.scoring.calibration.writing import write_thresholds

    if not report.suggested:
        raise UsageError(f"{path}: nothing is written: {report.refusal or 'no score tells the subject from others'}")
    write_thresholds(path, report.suggested, provenance(report))
    return f"wrote {', '.join(report.suggested)} into {path.as_posix()}"


def provenance(report: CalibrationReport) -> str:
    """Where thresholds come from, for comments: when, with what, how well it tells apart, and what each bound costs.

    The first line is of the whole, then one of each metric that is written, then what of the lines is not calibrated.
    """
    from harness.report.calibration_page import cost_of, spread

    clip = report.calibration.clip
    findings = {finding.metric: finding for finding in report.findings}
    eer = spread(findings["clip"].eer, "{:.0%}") if "clip" in findings else f"{clip.eer:.0%}"
    first = (
        f"{datetime.now(UTC):%Y-%m-%d}: false alarms {report.false_alarm:g}, CLIP {report.clip_hash[:12]}, "
        f"{clip.n_genuine} genuine, {clip.n_impostor} impostors, d' {clip.d_prime:.1f}, EER {eer}"
    )
    costs = [f"{metric}: {cost_of(wanted)}" for metric in report.suggested if (wanted := findings[metric].suggested)]
    return "\n".join([first, *costs, f"wrote {', '.join(report.suggested)}; any other line is the author's own"])
