"""Several runs on one page: united and judged as one where that is honest, else side by side, with the reason said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from harness.core.errors import HarnessError
from harness.engine.merge import merge_engines, merge_results
from harness.engine.rederive import ScoreStore, verified
from harness.judging.record import GateRecord, Part, RunFacts, RunRecord
from harness.judging.results import WORST

Tell = Callable[[str], None]
SomePart = TypeVar("SomePart", bound=Part)


def join_runs(records: Sequence[RunRecord], store: object = None, tell: Tell = lambda words: None) -> RunRecord:
    """One record of several; of a single one what its pictures' scores give.

    Parts of the same suites (shards, or runs of different cases) become one run, with every verdict given again over
    all of it. Runs that cannot be judged as one stand side by side, each with its own verdicts; the page says why.

    Args:
        store: asked for the pictures' scores, where it is one.
        tell: hears where a record does not agree with its pictures' scores.
    """
    derived = [verified(record, store if isinstance(store, ScoreStore) else None) for record in records]
    for record, (_, told) in zip(records, derived, strict=True):
        for words in told:
            tell(f"run {record.run.id}: {words}")
    if len(records) == 1:
        return derived[0][0]
    try:
        return merge_results(records)
    except HarnessError as error:
        return beside([record for record, _ in derived], str(error))


def beside(records: Sequence[RunRecord], why: str) -> RunRecord:
    """All runs in one record, nothing judged anew; a suite that stands in several bears its run's name."""
    counts = Counter(name for record in records for name in suite_names(record))
    parts = [rename(record, {name for name, count in counts.items() if count > 1}) for record in records]
    runs, gates = [record.run for record in records], [part.gate for part in parts]
    message = (
        f"{len(records)} runs stand side by side, each with its own verdicts; they could not be judged as one: {why}"
    )
    verdict = next(word for word in WORST if any(gate.verdict is word for gate in gates))
    about = {
        "id": ", ".join(run.id for run in runs),
        "started": min(run.started for run in runs),
        "warnings": tuple(dict.fromkeys(text for run in runs for text in run.warnings)),
        "merged": (message, *differences(runs)),
    }
    return RunRecord(
        schema=parts[0].schema_,
        run=runs[-1].model_copy(update=about),
        gate=GateRecord(
            verdict=verdict,
            reasons=tuple(reason for gate in gates if gate.verdict is verdict for reason in gate.reasons),
            items=tuple(item for gate in gates for item in gate.items),
        ),
        leaderboard=tuple(row for part in parts for row in part.leaderboard),
        cases=tuple(case for part in parts for case in part.cases),
        engine=merge_engines(parts),
        rounds=tuple(item for part in parts for item in part.rounds),
        suites=tuple(suite for part in parts for suite in part.suites),
        feedback=tuple(item for part in parts for item in part.feedback),
    )


def suite_names(record: RunRecord) -> set[str]:
    """The suites of one run."""
    return (
        {row.suite for row in record.leaderboard}
        | {case.suite for case in record.cases}
        | {item.name for item in record.suites}
    )


def rename(record: RunRecord, shared: set[str]) -> RunRecord:
    """The same run, its suites told from those of the same name in other runs."""

    def renamed(parts: tuple[SomePart, ...], key: str = "suite") -> tuple[SomePart, ...]:
        return tuple(
            part.model_copy(update={key: f"{old} ({record.run.id})"}) if (old := getattr(part, key)) in shared else part
            for part in parts
        )

    lists = {name: renamed(getattr(record, name)) for name in ("leaderboard", "cases", "feedback", "rounds")}
    gate = record.gate.model_copy(update={"items": renamed(record.gate.items)})
    return record.model_copy(update={**lists, "suites": renamed(record.suites, "name"), "gate": gate})


def differences(runs: Sequence[RunFacts]) -> list[str]:
    """What the runs were made with, where it is not the same."""
    results = []
    for key in ("profile", "versions"):
        kinds = {str(getattr(run, key)): run.id for run in runs}
        if len(kinds) > 1:
            message = "; ".join(f"{run}: {words}" for words, run in kinds.items())
            results.append(f"the runs differ in {key}: {message}")
    return results
