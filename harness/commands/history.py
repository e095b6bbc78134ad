"""`harness history`: what retraining did to a suite, in lines."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.values import Suite
from harness.training.improve.history import read_rounds

if TYPE_CHECKING:
    pass


def history_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("suite", type=Path)
    sub.add_argument("--profile", help="default: embedded, or HARNESS_PROFILE")
    sub.add_argument("--store", help="whose rounds (default: .harness)")
    sub.add_argument("--json", action="store_true", help="print plain data instead of text")


def history(options: argparse.Namespace) -> int:
    """`harness history SUITE`: the rounds of its retraining, and the champions that came of them."""
    from harness.config.profile import load_profile
    from harness.config.suite import load_suite
    from harness.core.settings import Settings
    from harness.models.lora.registry import read_challengers, read_history
    from harness.store import Store

    settings = Settings.load(Path.cwd(), {"profile": options.profile, "store": options.store})
    suite = load_suite(options.suite.resolve(), load_profile(settings.profile, settings.root))
    with Store(settings.store) as store:
        rounds = read_rounds(store, suite)
    weights = suite.subject.lora.path if suite.subject.lora else None
    champions = read_history(weights) if weights else []
    challengers = read_challengers(weights) if weights else []
    if options.json:
        record = {"suite": suite.name, "rounds": rounds, "champions": champions, "challengers": challengers}
        print(json.dumps(record, indent=2, sort_keys=True))
        return 0
    print("\n".join(history_lines(suite, rounds, champions, challengers)))
    return 0


def history_lines(
    suite: Suite,
    rounds: Sequence[Mapping[str, Any]],
    champions: Sequence[Mapping[str, Any]],
    challengers: Sequence[Mapping[str, Any]],
) -> list[str]:
    """For people."""
    from harness.report.terminal import clean

    lines = [f"{suite.name}: {len(rounds)} rounds of retraining in this store"]
    for item in rounds:
        (first, head), *rest = round_lines(item)
        lines += ["", f"{first}  {clean(head, 200)}", *(f"  {label:8} {clean(text, 400)}" for label, text in rest)]
    lines += ["", f"{len(champions)} champions of {suite.subject.name}, the present one last"]
    lines += [
        f"  {item['sha256'][:16]}  {item['promoted'][:10] or '-':10}  {clean(item['reason'] or '-', 160)}"
        for item in champions
    ]
    refused = sum(bool(item.get("origin", {}).get("refused")) for item in challengers)
    return [*lines, f"{refused} refused challengers are kept beside them"] if refused else lines


def round_lines(item: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One round as labels and texts: when, how it ended, why it was needed, what changed, what it gained."""
    from harness.judging.causes import title_of
    from harness.report.terminal import bounds_text

    at = item["at"][:16].replace("T", " ")
    lines = [(at, f"attempt {item['attempt']}, {item['provider']}: {item['verdict']}")]
    if cause := item.get("cause"):
        lines.append(("cause", f"{title_of(cause)} ({item.get('confidence', 0):.0%})"))
        lines += [("", line) for line in item.get("evidence", ())]
    lines += [("" if place else "plan", line) for place, line in enumerate(item.get("plan", ()))]
    lines += [("change", f"{name}: {old} -> {new}") for name, (old, new) in item.get("changes", {}).items()]
    if gap := item.get("gap"):
        gained = bounds_text(gap, signed=True)
        lines.append(("gained", f"{item.get('goal', 'quality')} {gained} on the locked cases"))
    if gap := item.get("competitor_gap"):
        lines.append(("beside", f"{item['competitor']}, the best competitor: {bounds_text(gap, signed=True)}"))
    if "failing_after" in item:
        before, after = len(item["failing_before"]), len(item["failing_after"])
        lines.append(("failing", f"{before} open cases before, {after} after"))
    return [*lines, ("because", item["reason"])]
