"""Verdicts where the truth is known: newcomers, planted encoders, a second world, pictures of other worlds, statistics.

Method: of each newcomer 12 references to learn from and 8 held out, the suite that `harness init` writes with 12
prompts and 2 seeds, folders of rendered pictures for gates, the base's own cohort and `prompt_only`. Verdicts are the
harness's: of people who are drawn those of whole runs, of the committed scores those of its judge. "Passed" is the word
PASS and exit code 0. Strangers are each person's good pictures judged as everybody else's; copies are not looked for
among these, which could only make them red. Truth is what the world's reader finds. `rows` are the mistakes that were
once made with pictures from elsewhere, most of them held right by a test. Statistics are `benchmarks.gate_cells`,
foreign pictures `benchmarks.foreign` with fewer own drawings.

    python -m benchmarks abroad               re-judges the table, and draws some people anew into an empty folder
    python -m benchmarks abroad --full        draws whoever the work folder lacks and rewrites the table; can be stopped
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.abroad_encoders import PEOPLE as SEEN_PEOPLE
from benchmarks.abroad_encoders import judge_encoders, measure_encoders
from benchmarks.abroad_looks import LOOKS, ON_WHITE
from benchmarks.abroad_people import DRAWERS, OVERTRAINED, PEOPLE, UNDERTRAINED, drawers_of, newcomer, suite_of
from benchmarks.abroad_rows import judge_evidence
from benchmarks.abroad_runs import WORK, Studio
from benchmarks.abroad_table import SHIPPED, Outcomes, judge_pair, judge_person, load_table, save_table
from benchmarks.foreign import measure as measure_foreign
from benchmarks.gate import upper
from benchmarks.gate_cells import measure_cells
from benchmarks.score_table import load_table as load_scores
from harness.core.values import PROMPT_ONLY, Suite

MARKED, FOLLOWED = 0.8, 0.8  # shares of marks and of what was asked from which pictures are of the subject, as asked
UNLIKE, IGNORED = 0.5, 0.5  # below either they are not; between nothing is claimed
SEES = 0.9  # AUC of fresh pictures against twins from which a suite of the second world can be judged at all
STATISTICS = ("case_false_red_max", "own_coverage_min", "collapse_found_min", "twin_trainings_worse")
LOOK_PEOPLE = (0, 1, 2, 4, 5, 7, 8)

Table = Mapping[str, Any]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--redraw", type=int, default=3, metavar="N", help="people drawn anew (default: 3)")
    parser.add_argument("--full", action="store_true", help="draw whoever is missing and rewrite the table")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"of the whole table (default: {PEOPLE})")
    parser.add_argument("--looks", type=int, default=len(LOOK_PEOPLE), help="people of the second world")
    parser.add_argument("--work", type=Path, default=WORK, help="what is finished is kept there")
    parser.add_argument("--no-rows", action="store_true", help="leave out the rows that tests hold; they take minutes")
    parser.add_argument("--runs", type=int, default=4_000, help="simulated runs of each statistic; 0: leave them out")
    parser.add_argument(
        "--drawn", type=int, default=8, help="own pictures by each LoRA; -1: nothing foreign is looked at"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures, each with what it is made of."""
    if options.full:
        make_table(Studio(options.work.resolve()), options.people, options.looks)
    table = load_table()
    if not table:
        raise FileNotFoundError(f"{SHIPPED}: no such table; python -m benchmarks abroad --full")
    people, looks = judge_people(table), judge_looks(table)
    pairs, encoders = judge_pairs(table), judge_encoders(table["encoders"])
    figures: dict[str, Any] = people | pairs
    if not options.no_rows:
        figures = judge_evidence(people["description_passed"] == 0, white_is_right(table)) | figures
    figures |= encoders | looks
    if options.drawn >= 0:
        found = measure_foreign(argparse.Namespace(drawn=options.drawn))
        figures |= {name: found[name] for name in ("foreign_told", "own_told")}
    if options.runs:
        cells = measure_cells(load_scores(), options.runs)
        figures |= {name: round(cells[name], 4) for name in STATISTICS}
    if options.redraw:
        figures["redrawn_the_same"] = redraw(table, options.redraw)
    return figures


# --- verdicts over the table ------------------------------------------------------------------------------------------


def suite_for(record: Mapping[str, Any]) -> Suite:
    """The suite of a person's record; nothing is read from its folder."""
    who = newcomer(record["number"])
    return suite_of(who, Path(f"{who.number:02}"), drawers_of(who))


def judge_all(record: Mapping[str, Any]) -> dict[str, Outcomes]:
    """Every gate's verdict, by drawer."""
    suite = suite_for(record)
    return {name: judge_person(suite, record, name) for name in record["providers"] if name != PROMPT_ONLY}


def judge_people(table: Table) -> dict[str, int]:
    """How many people passed with each kind of drawer."""
    found = {record["number"]: judge_all(record) for record in table["people"]}
    print(f"{'drawer':14}{'people':>7}{'pass':>6}{'red':>5}{'open':>6}{'not judged':>12}   passes are at most (95%)")
    for name in DRAWERS:
        each = [verdicts[name] for verdicts in found.values() if name in verdicts]
        if each:
            print(f"{name:14}{counts(each)}   {upper(sum(one.passed for one in each) / len(each), len(each)):.3f}")

    def passed(names: Sequence[str]) -> int:
        return sum(any(verdicts[name].passed for name in names if name in verdicts) for verdicts in found.values())

    for number, verdicts in found.items():
        for name, verdict in verdicts.items():
            if verdict.passed != (name == "good"):
                print(f"  {newcomer(number).name}, {name}: {verdict.word}; {'; '.join(verdict.complaints[:2])}")
    return {
        "people": len(found),
        "good_passed": passed(["good"]),
        "description_passed": passed(["description"]),
        "overtrained_passed": passed(OVERTRAINED),
        "undertrained_passed": passed(UNDERTRAINED),
    }


def counts(each: Sequence[Outcomes]) -> str:
    """Passes, reds, open ones and those not judged, in columns."""
    passed, red = sum(one.passed for one in each), sum(one.red for one in each)
    dark = sum(one.word == "not_judged" and not one.red for one in each)
    return f"{len(each):7}{passed:6}{red:5}{len(each) - passed - red - dark:6}{dark:12}"


def judge_pairs(table: Table) -> dict[str, float]:
    """How often somebody else's good pictures pass as a person's."""
    records, verdicts = {record["number"]: record for record in table["people"]}, []
    for target, others in table["pairs"].items():
        record = records[int(target)]
        suite = suite_for(record)
        for number, rows in others.items():
            verdicts.append(judge_pair(suite, record, with_prompts(rows, records[int(number)])))
    passed = sum(one.passed for one in verdicts)
    rate = passed / max(1, len(verdicts))
    print(f"strangers: {passed} of {len(verdicts)} pairs pass, at most {upper(rate, len(verdicts)):.4f} (95%)")
    return {"pairs": len(verdicts), "stranger_rate": rate}


def with_prompts(rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A pair's rows with what the same pictures show of their prompts, which is nobody's in particular."""
    asked = {(row["c"], row["s"]): row.get("p", {}) for row in record["providers"]["good"]["rows"]}
    return [{**row, "p": asked[row["c"], row["s"]]} for row in rows]


def should_pass(truth: Mapping[str, float]) -> bool | None:
    """What is right for pictures that show this; None where nothing is claimed."""
    if truth["marks"] >= MARKED and truth["asked"] >= FOLLOWED:
        return True
    return False if truth["marks"] < UNLIKE or truth["asked"] < IGNORED else None


@dataclass(frozen=True)
class Judged:
    """One suite of the second world."""

    name: str  # of the person and who draws
    verdict: Outcomes
    right: bool | None  # whether it should pass; None: nothing is claimed
    seen: bool  # whether by truth the encoder sees whom such pictures show

    @property
    def wrong(self) -> bool:
        """A verdict that is sure of the opposite of what is true."""
        return (self.verdict.passed and self.right is False) or (self.verdict.red and self.right is True)

    @property
    def able(self) -> bool:
        """Whether a verdict can be had."""
        return self.seen and self.right is not None


def judge_looks(table: Table) -> dict[str, Any]:
    """The second world: wrong verdicts, and the share of suites that got one where one can be had."""
    every: list[Judged] = []
    print(f"{'look':22}{'AUC twins':>13}{'suites':>7}{'pass':>6}{'red':>5}{'open':>6}{'not judged':>12}{'wrong':>7}")
    for look in dict.fromkeys(record["look"] for record in table["looks"]):
        records = [record for record in table["looks"] if record["look"] == look]
        own = [
            Judged(f"{record['name']}, {name}, {look}", verdict, should_pass(record["providers"][name]["truth"]),
                   record["told_apart"] >= SEES)
            for record in records for name, verdict in judge_all(record).items()
        ]  # fmt: skip
        areas, wrong = [record["told_apart"] for record in records], [one for one in own if one.wrong]
        print(f"{look:22}{span(areas):>13}{counts([one.verdict for one in own])}{len(wrong):7}")
        for one in (one for one in own if one.wrong or (one.right and not one.verdict.passed)):
            print(f"  {one.name}: {one.verdict.word}; {'; '.join(one.verdict.complaints[:2])}")
        every += own
    able = [one.verdict.judged for one in every if one.able]
    return {
        "suites": len(every),
        "confident_wrong": sum(one.wrong for one in every),
        "wrong": [one.name for one in every if one.wrong],
        "judged_share": round(sum(able) / len(able), 4) if able else 0.0,
    }


def white_is_right(table: Table) -> bool:
    """Whether references on white ground cost nobody who draws what was asked."""
    records = [record for record in table["looks"] if record["look"] == ON_WHITE]
    return bool(records) and all(judge_all(record)["good"].passed for record in records)


def span(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


# --- drawing ----------------------------------------------------------------------------------------------------------


def make_table(studio: Studio, people: int, looks: int) -> None:
    """Draw what the work folder lacks, and write the table when all is there; stopped before, the next call goes on."""
    done: dict[int, dict[str, Any]] = {}
    for number in range(people):
        done[number] = studio.settle(number)
        print(f"person {number + 1} of {people}", flush=True)
    again, pairs = [], {}
    for number in LOOK_PEOPLE[:looks]:
        again += [shorter(studio.settle(number, look)) for look in LOOKS]
        print(f"second world, person {number}", flush=True)
    for number in done:
        found = studio.pair(newcomer(number), done)
        pairs[str(number)] = {
            other: [slim(row) for row in found[other]] for other in sorted(found) if int(other) in done
        }
        print(f"strangers as person {number + 1} of {people}", flush=True)
    seen = measure_encoders(studio, [number for number in SEEN_PEOPLE if number in done])
    save_table({"people": list(map(shorter, done.values())), "looks": again, "pairs": pairs, "encoders": seen})


def slim(row: Mapping[str, Any]) -> dict[str, Any]:
    """A pair's row without what no verdict on it reads."""
    kept = {name: part for name, part in row.items() if name != "m"}
    return kept | ({"k": [*row["k"][:2], None]} if "k" in row else {})


def shorter(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without what was said in the run."""
    providers = {
        provider: {name: part for name, part in each.items() if name != "said"}
        for provider, each in record["providers"].items()
    }
    return {**record, "providers": providers}


def redraw(table: Table, count: int) -> int:
    """People drawn from nothing whose verdicts in the run are those of the table; spread over it."""
    records = table["people"]
    chosen = [records[place * len(records) // count] for place in range(min(count, len(records)))]
    same = 0
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Path(folder))
        for record in chosen:
            run = {name: each["run"] for name, each in studio.settle(record["number"])["providers"].items()
                   if "run" in each}  # fmt: skip
            known = judge_all(record)
            differ = [name for name, (word, red) in run.items()
                      if (word == "pass" and not red) != known[name].passed]  # fmt: skip
            same += not differ
            print(f"redrawn: {record['name']}: {', '.join(differ) or 'the same verdicts'}", flush=True)
        studio.store.close()
    return same
