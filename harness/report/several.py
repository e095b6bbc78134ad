"""Several runs on one page: united and judged as one where that is honest, else side by side, with the reason said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.errors import HarnessError
from harness.engine.merge import merge_numbers, merge_results

Record = Mapping[str, Any]
WORST = ("error", "fail", "inconclusive", "pass")
NAMED = ("leaderboard", "cases", "feedback", "rounds")  # lists whose records say their suite


def join_runs(records: Sequence[Record]) -> dict[str, Any]:
    """One record of several.

    Parts of the same suites (shards, or runs of different cases) become one run, with every verdict given again over
    all of it. Runs that cannot be judged as one stand side by side, each with its own verdicts; the page says why.

    Args:
        records: contents of `results.json`, checked.
    """
    if len(records) == 1:
        return dict(records[0])
    try:
        return merge_results(records)
    except HarnessError as error:
        return beside(records, str(error))


def beside(records: Sequence[Record], why: str) -> dict[str, Any]:
    """All runs in one record, nothing judged anew; a suite that stands in several bears its run's name."""
    counts = Counter(name for record in records for name in suite_names(record))
    parts = [rename(record, {name for name, count in counts.items() if count > 1}) for record in records]
    runs = [record["run"] for record in parts]
    message = (
        f"{len(records)} runs stand side by side, each with its own verdicts; they could not be judged as one: {why}"
    )
    gates = [part["gate"] for part in parts]
    verdict = next(word for word in WORST if any(gate["verdict"] == word for gate in gates))
    return {
        "schema": parts[0]["schema"],
        "run": {
            **runs[-1],
            "id": ", ".join(str(run["id"]) for run in runs),
            "started": min(str(run["started"]) for run in runs),
            "warnings": list(dict.fromkeys(text for run in runs for text in run.get("warnings") or ())),
            "merged": [message, *differences(runs)],
        },
        "gate": {
            "verdict": verdict,
            "reasons": [
                text for part in parts if part["gate"]["verdict"] == verdict for text in part["gate"]["reasons"]
            ],
            "items": [item for gate in gates for item in gate.get("items", ())],
        },
        **{key: [item for part in parts for item in part.get(key, ())] for key in (*NAMED, "suites")},
        "engine": merge_numbers([part["engine"] for part in parts]),
    }


def suite_names(record: Record) -> set[str]:
    """The suites of one run."""
    return {item["suite"] for key in ("leaderboard", "cases") for item in record[key]} | {
        item["name"] for item in record.get("suites", ())
    }


def rename(record: Record, shared: set[str]) -> dict[str, Any]:
    """The same run, its suites told from those of the same name in other runs."""
    run = record["run"]["id"]

    def name(old: Any) -> Any:
        return f"{old} ({run})" if old in shared else old

    gate = record["gate"]
    items = [{**item, "suite": name(item["suite"])} for item in gate.get("items", ())]
    return {
        **record,
        **{key: [{**item, "suite": name(item.get("suite"))} for item in record.get(key, ())] for key in NAMED},
        "suites": [{**item, "name": name(item["name"])} for item in record.get("suites", ())],
        "gate": {**gate, "items": items},
    }


def differences(runs: Sequence[Record]) -> list[str]:
    """What the runs were made with, where it is not the same."""
    results = []
    for key in ("profile", "versions"):
        kinds = {str(run.get(key)): run["id"] for run in runs}
        if len(kinds) > 1:
            message = "; ".join(f"{run}: {words}" for words, run in kinds.items())
            results.append(f"the runs differ in {key}: {message}")
    return results
