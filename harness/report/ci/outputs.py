"""Where a run leaves what a CI shows: the step summary, the annotations, the contact sheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.core.settings import Settings
from harness.core.values import Interval
from harness.judging.record import RunRecord, VerdictRecord
from harness.judging.scores import possible, possible_change
from harness.report.ci.annotations import annotate, commands, of_problem
from harness.report.ci.sheet import NAME, contact_sheet
from harness.report.summary import escape, summary_markdown

Plain = dict[str, object]
"""For JSON."""
LARGEST = 900_000  # bytes; GitHub refuses a step summary of more than 1 MiB, all steps' appendices together
PROBLEMS = 20  # collection errors in a summary
EXIT_BROKEN, EXIT_OPEN = 10, 11


def exit_code(results: RunRecord) -> int:
    """What pytest would exit with, were there nothing but these suites: 0, 1, 10 or 11.

    A gate item that could not be judged is no success, unless its suite says so; where a selection of cases left the
    gate out there is none.
    """
    verdict = results.gate.verdict
    if verdict == "error":
        return EXIT_BROKEN
    if verdict == "fail":
        return 1
    if results.run.shard:
        return 0
    found = [(item.verdict, results.suite(item.suite)) for item in results.gate.items]
    blind = any(word == "not_judged" and suite.demands_judgement for word, suite in found)
    unproven = any(word == "inconclusive" and suite.demands_proof for word, suite in found)
    demands = verdict == "inconclusive" and any(suite.demands_proof for suite in results.suites)
    return EXIT_OPEN if blind or unproven or demands else 0


def publish(results: RunRecord | None, problems: Sequence[str], settings: Settings) -> list[str]:
    """Append the step summary where GitHub says so; returns the annotations' lines for the log, if any are wanted.

    Args:
        results: of the run; None when there are none.
        problems: collection errors, each beginning with file and line.
    """
    summary = settings.secret("GITHUB_STEP_SUMMARY")
    if summary and (results is not None or problems):
        append_summary(Path(summary.reveal()), summary_of(results, problems))
    wanted = settings.secret("GITHUB_ACTIONS")
    if wanted is None or wanted.reveal() != "true":
        return []
    named = settings.secret("GITHUB_WORKSPACE")
    workspace = Path(named.reveal()) if named else Path.cwd()
    findings = [of_problem(text, workspace) for text in problems]
    return list(commands([*findings, *(annotate(results, workspace) if results else ())]))


def summary_of(results: RunRecord | None, problems: Sequence[str]) -> str:
    """The run in Markdown, or why there is none."""
    lines = [f"- {escape(text)}" for text in problems[:PROBLEMS]]
    lines += [f"- and {len(problems) - PROBLEMS} more"] if len(problems) > PROBLEMS else []
    message = ["⚠️ **ERROR** suites could not be read", "", *lines, ""] if problems else []
    return "\n".join(message) + (summary_markdown(results) if results else "")


def append_summary(path: Path, text: str) -> None:
    """Add to the step's summary what still fits; a summary that cannot be written costs no verdict."""
    try:
        room = LARGEST - (path.stat().st_size if path.exists() else 0)
        data = (text if text.endswith("\n") else text + "\n").encode("utf-8", "replace")
        if len(data) > room:
            data = data[: max(0, room)].rpartition(b"\n")[0] + b"\n\nand more, in the report\n"
        with path.open("ab") as stream:
            stream.write(data)
    except OSError:
        return


def write_contact_sheet(results: RunRecord, read: Callable[[str], bytes], folder: Path) -> Path | None:
    """The contact sheet beside the report; None when nothing was drawn."""
    data = contact_sheet(results, read)
    path = folder / NAME
    if data is None:
        path.unlink(missing_ok=True)  # an earlier run's would be a lie
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def final_record(results: RunRecord | None, status: int, folder: Path, problems: Sequence[str] = ()) -> Plain:
    """What one last line of JSON says: everything that a pipeline may want to decide on."""
    if results is None:
        why = list(problems) or ["no suite was run"]
        return {"verdict": "error" if status else "none", "exit_code": status, "reasons": why, "gates": []}
    gate, engine, shard = results.gate, results.engine, results.run.shard
    return {
        "verdict": "shard" if shard and gate.verdict != "error" else gate.verdict,
        "exit_code": status,
        **({"shard": shard} if shard else {}),
        "reasons": gate.reasons,
        "gates": [] if shard else [gate_line(item) for item in gate.items],
        "regressions": [] if shard else regressions(results),
        "images": {"drawn": engine.images_generated, "cached": engine.images_cached},
        "cost_usd": round(engine.cost_usd, 4),
        "report": (folder / "index.html").as_posix(),
        "results": (folder / "results.json").as_posix(),
    }


def gate_line(item: VerdictRecord) -> Plain:
    """One gate provider's verdict, and its quality with its interval."""
    about = {"suite": item.suite, "provider": item.provider, "verdict": item.verdict}
    return {**about, **figures(item.scores.get("quality"), "quality", possible)}


def regressions(results: RunRecord) -> list[Plain]:
    """What the baseline says of each gate provider, and the cases that became worse."""
    return [
        {
            "suite": suite.name,
            "provider": provider,
            "verdict": held.verdict,
            **figures(held.quality.gap if held.quality else None, "diff", possible_change),
            "cases": [case.case for case in held.cases if case.verdict == "regressed"],
        }
        for suite in results.suites
        for provider, held in (suite.baseline.providers if suite.baseline else {}).items()
    ]


def figures(score: Interval | None, name: str, within: Callable[[Interval], Interval]) -> dict[str, float | None]:
    """An interval with its mean under a name of its own, to four digits, `within` what is possible."""
    score = within(score) if score else None
    known = {name: score.mean, "low": score.low, "high": score.high} if score else dict.fromkeys((name, "low", "high"))
    return {key: None if value is None else round(value, 4) for key, value in known.items()}
