"""From a run's record to what the page shows: plain dictionaries with every key, whatever the record lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.report.advice import feedback_view
from harness.report.board import leaderboard_view
from harness.report.cases import cases_view
from harness.report.facts import facts_view, recipes_view
from harness.report.held import baseline_view, sets_view
from harness.report.history import grid_view, progress_view, round_view
from harness.report.matrix import matrix_view, trait_key, traits_view
from harness.report.measure import calibration_view, card_view, check_view, references_view, spread_view
from harness.report.pictures import Pictures, lost_words
from harness.report.words import Frame, Record, lines_of, listed, mapped, text, texts, verdict_word


def build_view(results: Record, pictures: Pictures) -> dict[str, Any]:
    """Everything that the template says, ready to be printed."""
    frame = Frame(pictures)
    suites = {str(item["name"]): item for item in listed(results, "suites") if item.get("name")}
    names = list(dict.fromkeys([*suites, *(row["suite"] for row in [*results["leaderboard"], *results["cases"]])]))
    parts = [suite_view(frame, results, str(name), suites.get(name, {})) for name in names]
    rounds = listed(results, "rounds")
    return {
        "verdict": verdict_view(results),
        "suites": parts,
        "rounds": [round_view(frame, count, item) for count, item in enumerate(rounds, 1)],
        "progress": progress_view(rounds),
        "facts": facts_view(results),
        "lost": lost_words(*pictures.lost),
        "cases": sum(len(part["cases"]) for part in parts),
        "filters": filters_view(parts),
        "title": ", ".join(text(name, 60) for name in names) or "no suite",
    }


def verdict_view(results: Record) -> dict[str, Any]:
    gate, run = mapped(results, "gate"), mapped(results, "run")
    return {
        **verdict_word(gate.get("verdict")),
        "reasons": texts(gate.get("reasons"), 600),
        "profile": text(run.get("profile"), 80),
        "started": text(run.get("started"), 40).replace("T", " ")[:19],
        "id": text(run.get("id"), 60),
    }


def filters_view(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What there is to choose from: only choices that would show something."""
    providers = [item["name"] for part in parts for item in part["matrix"]["providers"]]
    weak = {key for part in parts for line in part["matrix"]["lines"] for key in line["weak"].split()}
    traits = [line["category"] for part in parts for line in part["traits"]["lines"]]
    return {
        "suites": [(part["id"], part["name"]) for part in parts] if len(parts) > 1 else [],
        "providers": list(dict.fromkeys(providers)),
        "traits": [(key, name) for name in dict.fromkeys(traits) if (key := trait_key(name.replace(" ", "_"))) in weak],
    }


def suite_view(frame: Frame, results: Record, name: str, suite: Record) -> dict[str, Any]:
    """One suite with all its chapters."""
    rows = [row for row in results["leaderboard"] if row["suite"] == name]
    cases = [case for case in results["cases"] if case["suite"] == name]
    order = list(dict.fromkeys([*(row["provider"] for row in rows), *(case["provider"] for case in cases)]))
    thresholds, references = mapped(suite, "thresholds"), mapped(suite, "references")
    known = {case["case"] for case in cases}
    return {
        "name": text(name, 120),
        "id": frame.anchor("suite", name),
        "subject": text(mapped(suite, "subject").get("name"), 120),
        "trigger": text(mapped(suite, "subject").get("trigger"), 120),
        "lora": tested_words(suite),
        "path": text(suite.get("path"), 200),
        "notes": texts(suite.get("notes"), 400),
        "board": leaderboard_view(rows, thresholds),
        "glance": glance_view(frame, cases, order, references),
        "matrix": matrix_view(frame, name, cases, order),
        "sets": sets_view(frame, mapped(suite, "sets"), mapped(suite, "alarms")),
        "traits": traits_view(cases, order, listed(suite, "traits"), rows),
        "feedback": [feedback_view(frame, item) for item in listed(results, "feedback") if item.get("suite") == name],
        "references": references_view(frame, references),
        "cases": cases_view(frame, name, suite, cases, order),
        "calibration": calibration_view(suite, rows),
        "spread": spread_view(cases, rows, mapped(thresholds, "quality")),
        "card": card_view(mapped(suite, "card")),
        "check": check_view(frame, suite),
        "sweep": grid_view(frame, listed(suite, "sweep")),
        "scorer": lines_of(mapped(suite, "scorer")),
        "recipes": recipes_view(frame, name, mapped(suite, "recipe")),
        "baseline": baseline_view(frame, name, mapped(suite, "baseline"), known),
    }


def glance_view(
    frame: Frame, cases: Sequence[Record], order: Sequence[str], references: Record
) -> list[dict[str, Any]]:
    """A reference, and of the first prompt that most providers drew one picture each, with the same seed."""
    drawn: dict[tuple[str, Any], dict[str, Record]] = {}
    for case in cases:
        for sample in listed(case, "samples"):
            if sample.get("image"):
                drawn.setdefault((case["case"], sample.get("seed")), {})[case["provider"]] = sample
    if not drawn:
        return []
    (case_id, seed), samples = max(drawn.items(), key=lambda item: len(item[1]))
    about = f"{text(case_id, 60)}, seed {text(seed, 20)}"
    gallery = references.get("held_out") or references.get("train")
    shown = [("reference", "", gallery[0])] if isinstance(gallery, list) and gallery else []
    shown += [(text(name, 60), about, samples[name].get("image")) for name in order if name in samples]
    return [{"name": name, "about": words, "picture": frame.picture(sha, shared=True)} for name, words, sha in shown]


def tested_words(suite: Record) -> str:
    """The LoRA under test by each gate provider, and the suite's own where that is another one."""
    own = lora_words(suite.get("lora"))
    tested = {str(name): lora_words(lora) for name, lora in mapped(suite, "under_test").items()}
    if len(set(tested.values())) < 2:
        message = next(iter(tested.values()), own)
    else:
        message = "; ".join(f"{text(name, 60)}: {words}" for name, words in tested.items())
    return f"{message} (the suite's own: {own})" if own and tested and own not in tested.values() else message


def lora_words(lora: Any) -> str:
    """`file.safetensors at strength 0.8, with other.safetensors at strength 1`."""
    if not isinstance(lora, dict):
        return ""
    beside = [f", with {words}" for each in listed(lora, "beside") if (words := lora_words(each))]
    return f"{text(lora.get('file'), 120)} at strength {text(lora.get('strength'), 12)}{''.join(beside)}"
