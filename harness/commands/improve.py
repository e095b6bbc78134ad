"""`harness improve SUITE`: what `pytest SUITE --retrain N` does, outside pytest."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.commands.options import command, option, profile_option, suite_argument
from harness.commands.project import open_suite
from harness.core.errors import UsageError
from harness.core.values import Job, Suite
from harness.engine.context import ImproveContext, ImproveResult
from harness.engine.run import Run
from harness.judging.record import RunRecord
from harness.report import write_report
from harness.report.ci.outputs import exit_code
from harness.report.terminal import ProgressLine, summary_text
from harness.store import Store


@command
@suite_argument
@option("--rounds", type=int, default=3, metavar="N", help="at most so many challengers (default: 3)")
@option("--retrain-budget", metavar="MINUTES", help="let no training go on after so many minutes")
@option("--samples", metavar="N", help="seeds a prompt instead of the suite's own number")
@option("--lora", metavar="FILE[@STRENGTH]", help="the LoRA under test instead of the suite's own")
@profile_option
@option("--store", help="where pictures and records are kept (default: .harness)")
@option("--report-dir", help="where the report goes (default: reports)")
def improve(suite: Path, rounds: int, **options: str | None) -> int:
    """Judge the gate's open cases, retrain where they fail, judge again, and write the report. The exit status."""
    if rounds < 1:
        raise UsageError(f"--rounds {rounds}: at least 1")
    read, profile, settings = open_suite(suite, retrain=rounds, **options)
    if not read.gate:
        raise UsageError(f"{read.path}: the suite has no gate provider, so nothing can be improved; name one in `gate`")
    progress = ProgressLine(lambda text: print(text, end="", file=sys.stderr, flush=True), sys.stderr.isatty())
    store = Store(settings.store)
    run = Run(settings, profile, [read], store, listener=progress, improve=retrain)
    try:
        results = judge(run, read)
        page = write_report(results, store, settings.report_dir)
    finally:
        run.close()
    print(summary_text(results, report=page))
    return exit_code(results)


def retrain(context: ImproveContext) -> ImproveResult:
    """The retraining, loaded where something fails."""
    from harness.training.improve.loop import improve

    return improve(context)


def judge(run: Run, suite: Suite) -> RunRecord:
    """Every open case by the gate's providers and those that they are held against; the run's record."""
    names = dict.fromkeys([*suite.gate, *suite.rivals(suite.providers)])
    path = suite.path.as_posix()
    run.submit([Job(path, case.id, name) for name in names for case in suite.cases if case.split == "open"])
    run.wait()
    for name in suite.gate:
        run.gate(path, name)
    return run.finish()
