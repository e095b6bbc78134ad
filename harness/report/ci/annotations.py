"""What went wrong, at the line of the suite that asked for it, as GitHub's workflow commands.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.core.errors import SuiteError
from harness.core.text import clean
from harness.core.yaml import Place, read_yaml

Record = Mapping[str, Any]
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


def annotate(results: Record, workspace: Path) -> list[Annotation]:
    """The gate items' complaints, then those of the gate providers' cases; a shard's only where something broke.

    Args:
        workspace: the repository's folder; paths in it are told from there.
    """
    shard = bool(results["run"].get("shard"))
    result = [] if shard else [each for item in results["gate"].get("items", ()) for each in of_gate(results, item)]
    result += [each for case in results["cases"] for each in of_case(results, case, shard)]
    return [each if not each.path else place(each, workspace) for each in result]


def of_gate(results: Record, item: Record) -> Iterator[Annotation]:
    """One for a gate that is not green, at the key that its first complaint is about."""
    if item["verdict"] == "pass":
        return
    suite = suite_of(results, item["suite"])
    complaints = item.get("complaints", ())
    serious = [each for each in complaints if each.get("severity") != "warn"] or list(complaints)
    words = "; ".join(
        dict.fromkeys([*([item["cause"]] if item.get("cause") else []), *(e["message"] for e in serious)])
    )
    level: Literal["error", "warning"] = "warning" if only_open(suite, item["verdict"]) else "error"
    line = line_of(str(suite.get("path", "")), [str(each.get("metric", "")) for each in serious])
    yield Annotation(level, str(suite.get("path", "")), line, f"{item['suite']}: gate {item['provider']}", words)


def of_case(results: Record, case: Record, shard: bool = False) -> Iterator[Annotation]:
    """One for a gate provider's case that failed or broke, at its line."""
    bad = ("error",) if shard else ("fail", "error")
    if not case.get("gate") or case.get("verdict") not in bad:
        return
    words = "; ".join(each["message"] for each in case.get("complaints", ())) or str(case.get("outcome"))
    path = str(suite_of(results, case["suite"]).get("path", ""))
    yield Annotation("error", path, int(case.get("line") or 1), f"{case['case']} by {case['provider']}", words)


def only_open(suite: Record, verdict: str) -> bool:
    """Whether a verdict leaves the run green: it is open, and the suite does not demand a proof."""
    return verdict == "inconclusive" and suite.get("definition", {}).get("on_inconclusive") != "fail"


def suite_of(results: Record, name: str) -> Record:
    return next((suite for suite in results.get("suites", ()) if suite.get("name") == name), {})


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
