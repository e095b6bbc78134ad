"""Scores of pictures whose truth is known, kept small, and judged again by whatever the rules are now."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT
from harness.core.files import write_file
from harness.core.stats.calibration import Calibration, calibration_from
from harness.core.values import (
    DISTANCE,
    DOMAIN,
    PROMPT_ONLY,
    UNCLIPPED,
    CaseResult,
    Decision,
    Job,
    Outcome,
    Sample,
    Score,
    SetScore,
    Suite,
    as_number,
    to_record,
)
from harness.judging.adaptive import confirming_seeds
from harness.judging.confirmation import MoreSeeds, first_look, judge_cases
from harness.judging.judge import judge_gate

SHIPPED = ROOT / "fixtures" / "scores" / "abroad.json.gz"
VERSION = 1
PLACES = 4  # decimals that are kept; a score's third is noise already
SETS = ("copy", "response", "diversity")

Row = Mapping[str, Any]
"""One picture: case `c`, seed `s`, quality `q`, clip `k` (with what lies behind their cut), features `f`, ssim `m`,
what was asked `p`, faults `t`, domain `d`, distance from the known `o`."""


# --- small and back ---------------------------------------------------------------------------------------------------


def pack(results: Sequence[CaseResult]) -> list[dict[str, Any]]:
    """What judging reads of some results."""
    return [pack_sample(result.job.case, sample) for result in results for sample in result.samples]


def pack_sample(case: str, sample: Sample) -> dict[str, Any]:
    scores = sample.scores
    row: dict[str, Any] = {"c": case, "s": sample.seed}
    for short, name, more in (("q", "quality", (UNCLIPPED,)), ("k", "clip", (UNCLIPPED, "train"))):
        if name in scores:
            values = (scores[name].value, *(as_number(scores[name].details.get(each)) for each in more))
            row[short] = [rounded(value) for value in values]
    for short, name in (("f", "features"), ("m", "ssim")):
        row |= {short: rounded(scores[name].value)} if name in scores else {}
    if prompt := scores.get("prompt"):
        row["p"] = {name: [item.value, rounded(item.score), item.seen] for name, item in prompt.traits.items()}
    found = scores["technical"].details if "technical" in scores else {}
    row |= {"o": rounded(found[DISTANCE])} if DISTANCE in found else {}
    if faults := list(found.get("faults", ())):
        row["t"] = [[fault["kind"], fault["message"]] for fault in faults]
    return row | ({"d": scores[DOMAIN].reason} if DOMAIN in scores else {})


def rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), PLACES)


def unpack(suite: Suite, provider: str, rows: Sequence[Row]) -> list[CaseResult]:
    """The way back."""
    path = suite.path.as_posix()
    return [
        CaseResult(
            Job(path, case.id, provider),
            tuple(unpack_sample(row) for row in rows if row["c"] == case.id),
            cluster=suite.repeats.get(case.id, ""),
        )
        for case in suite.cases
        if any(row["c"] == case.id for row in rows)
    ]


def unpack_sample(row: Row) -> Sample:
    why = row.get("d", "")
    scores: dict[str, Score] = {DOMAIN: Score(DOMAIN, None, reason=why)} if why else {}
    if "q" in row:
        value, whole = row["q"]
        scores["quality"] = Score("quality", value, None, why, {UNCLIPPED: whole})
    if "k" in row:
        value, whole, train = row["k"]
        scores["clip"] = Score("clip", value, None, why, {UNCLIPPED: whole, "train": train})
    scores |= {name: Score(name, row[short], None, why) for short, name in (("f", "features"), ("m", "ssim"))
               if short in row}  # fmt: skip
    if "p" in row:
        asked = {name: {"value": v, "score": score, "seen": seen} for name, (v, score, seen) in row["p"].items()}
        known = [item["score"] for item in asked.values() if item["score"] is not None]
        scores["prompt"] = Score("prompt", sum(known) / len(known) if known and not why else None, None, why, asked)
    faults = [{"kind": kind, "message": message} for kind, message in row.get("t", ())]
    far = {DISTANCE: row["o"]} if "o" in row else {}
    scores["technical"] = Score("technical", None if why else 1.0, details={"faults": faults, **far})
    return Sample("", row["s"], Outcome.OK, image=f"{row['c']}-{row['s']}", scores=scores)


def pack_sets(sets: Mapping[str, SetScore]) -> dict[str, Any]:
    """What was found of a provider's pictures together, in short."""
    return {
        name: {
            "metric": name,
            "sentence": found.sentence,
            "alarm": found.alarm,
            "judged": found.judged,
            "details": {key: found.details[key] for key in ("widespread", "slope") if key in found.details},
        }
        for name, found in sets.items()
        if name in SETS
    }


# --- verdicts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcomes:
    """What a run said of one provider: its gate and its cases."""

    word: str  # of the gate
    red_cases: int
    complaints: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """The word PASS and exit code 0."""
        return self.word == Decision.PASS and not self.red_cases

    @property
    def judged(self) -> bool:
        return self.word in (Decision.PASS, Decision.FAIL) or self.red_cases > 0

    @property
    def red(self) -> bool:
        return self.word == Decision.FAIL or self.red_cases > 0


def judge_rows(
    suite: Suite,
    provider: str,
    rows: Mapping[str, Sequence[Row]],
    calibration: Calibration,
    sets: Mapping[str, Any] | None = None,
) -> Outcomes:
    """One provider's verdict by the harness's own judge; red cases have the seeds that they were confirmed with."""
    results = {name: unpack(suite, name, rows[name]) for name in (provider, PROMPT_ONLY) if name in rows}
    more = MoreSeeds(confirming_seeds(suite), {result.job: "" for result in results[provider]})
    cases = judge_cases(suite, results[provider], calibration, more)
    gate = judge_gate(
        suite,
        provider,
        results[provider],
        others={PROMPT_ONLY: results[PROMPT_ONLY]},
        calibration=calibration,
        sets={name: SetScore(**found) for name, found in (sets or {}).items()},
    )
    red = sum(verdict.decision is Decision.FAIL for verdict in cases.values())
    said = tuple(f"{item.severity} {item.metric}: {item.message}" for item in gate.complaints)
    return Outcomes(gate.decision.value, red, said)


def judge_person(suite: Suite, record: Mapping[str, Any], provider: str) -> Outcomes:
    """The same of a person's record."""
    mine = record["providers"][provider]
    rows = {name: each["rows"] for name, each in record["providers"].items()}
    return judge_rows(suite, provider, rows, calibration_from(record["calibration"]), mine["sets"])


def judge_pair(suite: Suite, record: Mapping[str, Any], other: Sequence[Row]) -> Outcomes:
    """Somebody else's pictures as those of this person; copies are not looked for, which could only make them red."""
    rows = {PROMPT_ONLY: record["providers"][PROMPT_ONLY]["rows"], "good": other}
    return judge_rows(suite, "good", rows, calibration_from(record["calibration"]))


def first_seeds(suite: Suite, provider: str, rows: Sequence[Row]) -> list[CaseResult]:
    """Without the seeds that only confirm."""
    return list(first_look({provider: unpack(suite, provider, rows)}, suite, None)[provider])


# --- the file ---------------------------------------------------------------------------------------------------------


def small_calibration(calibration: Calibration) -> dict[str, Any]:
    """All of it but names and measures, which no verdict reads."""
    record: dict[str, Any] = to_record(replace(calibration, names=(), measures=()))
    return record


def load_table(path: Path = SHIPPED) -> dict[str, Any]:
    """A table; {} where there is none."""
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return found


def save_table(table: Mapping[str, Any], path: Path = SHIPPED) -> None:
    """Compact and the same bytes for the same scores."""
    text = json.dumps({"version": VERSION, **table}, separators=(",", ":"), ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def save_record(record: Mapping[str, Any] | Sequence[Any], path: Path) -> None:
    """One part of a table that is being made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(record, separators=(",", ":"), ensure_ascii=False))
