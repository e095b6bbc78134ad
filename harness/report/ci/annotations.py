"""What went wrong, at the line of the suite that asked for it, as GitHub's workflow commands.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.errors import SuiteError
from harness.core.text import clean
from harness.core.yaml import Place, read_yaml
from harness.judging.record import RunRecord, VerdictRecord

MOST = 10  # of each level that GitHub shows of one step
LONGEST = 1_000  # characters of a message
PROBLEM = re.compile(r"(?P<path>[^\n]+?\.ya?ml)(:(?P<line>\d+))?: (?P<message>.+)", re.DOTALL)


@dataclass(frozen=True)
class Annotation:
    """One message at one line of a file."""

    level: Literal["error", "warning"]
    path: str  # as the repository knows it
    line: int  # from 1
    title: str
    message: str

    def command(self) -> str:
        """The line that GitHub reads from the log."""
        place = f"file={escape(self.path, True)},line={self.line},title={escape(self.title, True)}"
        return f"::{self.level} {place}::{escape(self.message)}"


def escape(text: str, value: bool = False) -> str:
    """Text so that it stays one command: as @actions/core escapes data, and property values besides."""
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if value else text


def annotate(results: RunRecord, workspace: Path) -> list[Annotation]:
    """The gate items' complaints, then those of the gate providers' cases; a shard's only where something broke.

    Args:
        workspace: the repository's folder; paths in it are told from there.
    """
    items = () if results.run.shard else results.gate.items
    result = [each for item in items for each in of_gate(results, item)]
    for case in results.red_cases:  # each at its line
        path, title = results.suite(case.suite).path, f"{case.case} by {case.provider}"
        result.append(Annotation("error", path, case.line or 1, title, case.complaint))
    return [each if not each.path else place(each, workspace) for each in result]


def of_gate(results: RunRecord, item: VerdictRecord) -> Iterator[Annotation]:
    """One for a gate that is not green, at the key that its first complaint is about."""
    if item.verdict == "pass":
        return
    suite = results.suite(item.suite)
    serious = [each for each in item.complaints if each.severity != "warn"] or list(item.complaints)
    words = "; ".join(dict.fromkeys([*([item.cause] if item.cause else []), *(each.message for each in serious)]))
    demanded = {"inconclusive": suite.demands_proof, "not_judged": suite.demands_judgement}.get(item.verdict, True)
    line = line_of(suite.path, [each.metric for each in serious])
    title = f"{item.suite}: gate {item.provider}"
    yield Annotation("error" if demanded else "warning", suite.path, line, title, words)


def line_of(path: str, metrics: Iterable[str]) -> int:
    """The line of the first key that complaints are about: a threshold, `regression`, `beat`; else that of `gate`."""
    try:
        document = read_yaml(Path(path))
    except SuiteError:
        return 1
    named = ["regression" if metric == "baseline" else metric for metric in metrics]
    places: list[Place] = [place for metric in named for place in (("thresholds", metric), (metric,))]
    return next((document.lines[place] for place in [*places, ("gate",), ("suite",)] if place in document.lines), 1)


def of_problem(text: str, workspace: Path) -> Annotation:
    """A collection error; its text begins with file and line."""
    result = PROBLEM.match(text)
    if not result:
        return Annotation("error", "", 1, "collection", text)
    whole = Annotation("error", result["path"], int(result["line"] or 1), "collection", result["message"])
    return place(whole, workspace)


def place(found: Annotation, workspace: Path) -> Annotation:
    """With its path as the repository knows it, and a message of one line and bearable length."""
    path = (Path.cwd() / found.path).resolve()
    inside = path.is_relative_to(workspace.resolve())
    shown = path.relative_to(workspace.resolve()).as_posix() if inside else path.as_posix()
    return Annotation(found.level, shown, found.line, clean(found.title, 200), clean(found.message, LONGEST))


def commands(found: Iterable[Annotation]) -> Sequence[str]:
    """The lines for the log; of each level as many as GitHub shows, and how many there are besides."""
    lines: list[str] = []
    every = list(found)
    for level in ("error", "warning"):
        some = [each for each in every if each.level == level]
        if len(some) > MOST:
            rest = f"and {len(some) - MOST + 1} more, in the summary and the report"
            last = Annotation(some[MOST - 1].level, some[MOST - 1].path, some[MOST - 1].line, "more", rest)
            some = [*some[: MOST - 1], last]
        lines += [each.command() for each in some]
    return lines
