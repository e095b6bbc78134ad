"""`harness history`: what retraining did to a suite, in lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.commands.options import command, flag, option, profile_option, suite_argument
from harness.commands.project import open_suite
from harness.core.text import bounds_text, clean
from harness.core.values import Suite
from harness.judging.causes import title_of
from harness.judging.record import RoundRecord
from harness.models.lora.registry import ChampionRecord, KeptChallenger, read_challengers, read_history
from harness.store import Store
from harness.training.improve.history import read_rounds


@command
@suite_argument
@profile_option
@option("--store", help="whose rounds (default: .harness)")
@flag("--json", "as_json", help="print plain data instead of text")
def history(suite: Path, profile: str | None, store: str | None, as_json: bool) -> int:
    """`harness history SUITE`: the rounds of its retraining, and the champions that came of them."""
    read, _, settings = open_suite(suite, profile=profile, store=store)
    with Store(settings.store) as kept:
        rounds = read_rounds(kept, read)
    weights = read.subject.lora.path if read.subject.lora else None
    champions = read_history(weights) if weights else []
    challengers = read_challengers(weights) if weights else []
    if as_json:
        record = {"suite": read.name, "rounds": rounds, "champions": champions, "challengers": challengers}
        print(json.dumps(record, indent=2, sort_keys=True))
        return 0
    print("\n".join(history_lines(read, rounds, champions, challengers)))
    return 0


def history_lines(
    suite: Suite,
    rounds: Sequence[Mapping[str, object]],
    champions: Sequence[ChampionRecord],
    challengers: Sequence[KeptChallenger],
) -> list[str]:
    """For people."""
    lines = [f"{suite.name}: {len(rounds)} rounds of retraining in this store"]
    for item in rounds:
        (first, head), *rest = round_lines(str(item["at"]), RoundRecord.of(item))
        lines += ["", f"{first}  {clean(head, 200)}", *(f"  {label:8} {clean(text, 400)}" for label, text in rest)]
    lines += ["", f"{len(champions)} champions of {suite.subject.name}, the present one last"]
    lines += [
        f"  {item['sha256'][:16]}  {item['promoted'][:10] or '-':10}  {clean(item['reason'] or '-', 160)}"
        for item in champions
    ]
    refused = sum(bool(item.get("origin", {}).get("refused")) for item in challengers)
    return [*lines, f"{refused} refused challengers are kept beside them"] if refused else lines


def round_lines(at: str, item: RoundRecord) -> list[tuple[str, str]]:
    """One round as labels and texts: when, how it ended, why it was needed, what changed, what it gained."""
    when = at[:16].replace("T", " ")
    lines = [(when, f"attempt {item.attempt}, {item.provider}: {item.verdict}")]
    if item.cause:
        lines.append(("cause", f"{title_of(item.cause)} ({item.confidence or 0:.0%})"))
        lines += [("", line) for line in item.evidence]
    lines += [("" if place else "plan", line) for place, line in enumerate(item.plan)]
    lines += [("change", f"{name}: {old} -> {new}") for name, (old, new) in item.changes.items()]
    if item.gap:
        gained = bounds_text(item.gap, signed=True)
        lines.append(("gained", f"{item.goal or 'quality'} {gained} on the locked cases"))
    if item.competitor_gap:
        gap = bounds_text(item.competitor_gap, signed=True)
        lines.append(("beside", f"{item.competitor}, the best competitor: {gap}"))
    if item.failing_after is not None:
        before, after = len(item.failing_before), len(item.failing_after)
        lines.append(("failing", f"{before} open cases before, {after} after"))
    return [*lines, ("because", item.reason)]
