"""`harness improve SUITE`: what `pytest SUITE --retrain N` does, outside pytest."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import UsageError
from harness.core.values import Job, Suite

if TYPE_CHECKING:
    from harness.engine.run import Run
    from harness.judging.record import RunRecord

STATUS = {"pass": 0, "inconclusive": 0, "fail": 1, "error": 10}
"""Exit status by the run's verdict, as pytest's."""


def improve_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("suite", type=Path)
    sub.add_argument("--rounds", type=int, default=3, metavar="N", help="at most so many challengers (default: 3)")
    sub.add_argument("--retrain-budget", metavar="MINUTES", help="let no training go on after so many minutes")
    sub.add_argument("--samples", metavar="N", help="seeds a prompt instead of the suite's own number")
    sub.add_argument("--lora", metavar="FILE[@STRENGTH]", help="the LoRA under test instead of the suite's own")
    sub.add_argument("--profile", help="default: embedded, or HARNESS_PROFILE")
    sub.add_argument("--store", help="where pictures and records are kept (default: .harness)")
    sub.add_argument("--report-dir", help="where the report goes (default: reports)")


def improve_suite(options: argparse.Namespace) -> int:
    """Judge the gate's open cases, retrain where they fail, judge again, and write the report. The exit status."""
    from harness.config.profile import load_profile
    from harness.config.suite import load_suite
    from harness.core.settings import Settings
    from harness.engine.run import Run
    from harness.report import write_report
    from harness.report.terminal import ProgressLine, summary_text
    from harness.store import Store
    from harness.training.improve.loop import improve

    if options.rounds < 1:
        raise UsageError(f"--rounds {options.rounds}: at least 1")
    named = ("samples", "lora", "profile", "store", "report_dir", "retrain_budget")
    settings = Settings.load(
        Path.cwd(), {**{name: getattr(options, name) for name in named}, "retrain": options.rounds}
    )
    profile = load_profile(settings.profile, settings.root)
    suite = load_suite(options.suite.resolve(), profile)
    if not suite.gate:
        raise UsageError(
            f"{suite.path}: the suite has no gate provider, so nothing can be improved; name one in `gate`"
        )
    progress = ProgressLine(lambda text: print(text, end="", file=sys.stderr, flush=True), sys.stderr.isatty())
    store = Store(settings.store)
    run = Run(settings, profile, [suite], store, listener=progress, improve=improve)
    try:
        results = judge(run, suite)
        page = write_report(results, store, settings.report_dir)
    finally:
        run.close()
    print(summary_text(results, report=page))
    return STATUS[results.gate.verdict]


def judge(run: Run, suite: Suite) -> RunRecord:
    """Every open case by the gate's providers and those that they must beat; the run's record."""
    rivals = (
        suite.providers if "best_competitor" in suite.beat else [name for name in suite.providers if name in suite.beat]
    )
    names = dict.fromkeys([*suite.gate, *rivals])
    path = suite.path.as_posix()
    run.submit([Job(path, case.id, name) for name in names for case in suite.cases if case.split == "open"])
    run.wait()
    for name in suite.gate:
        run.gate(path, name)
    return run.finish()
