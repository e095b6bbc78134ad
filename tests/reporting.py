"""A record with every chapter that a report can have, and texts that would break a careless page."""

from __future__ import annotations

from typing import Any

from harness.store import Store
from tests.example_run import ROUND, example_record, plain

HOSTILE = {
    "script": "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>",
    "noscript": "</noscript><svg onload=window.hacked=1><style>*{display:none}</style><!--",
    "quotes": "\"'`><a href=\"javascript:window.hacked=1\" style='color:red' onclick=window.hacked=1>",
    "template": "{{ 7*7 }}{% for x in y %}{# #}&lt;b&gt;&#x3C;script>",
    "direction": "a\u202eb\u2066c\u200fd\u0000e\u001bf\ud800",
    "long": "ш" * 10_000,
    "words": "👩‍🌾🏔 Алдар Көсе, қобыз, 日本語 עברית",
}


def full_record(store: Store, level: float = 0.83) -> dict[str, Any]:
    """The example run's file, with two rounds, a sweep, copies, a metric card, a check of the references and git."""
    second = {**ROUND, "round": 2, "promoted": False, "verdict": "refused", "reason": "no proof on locked prompts"}
    second |= {"cause": "too few steps", "evidence": {"clip": {"mean": 0.5, "low": 0.4, "high": 0.6}}}
    second["choice"] = [
        {"file": name, "strength": strength, "quality": 0.5 + strength / 10}
        for name in ("step-200", "step-300")
        for strength in (0.8, 1.0)
    ]
    record = plain(example_record(store, level, rounds=(ROUND, second)))
    suite = record["suites"][0]
    drawn = next(case["samples"][0]["image"] for case in record["cases"] if case["provider"] == "lora")
    pair = {"case": "smiling-steppe", "seed": 0, "image": drawn, "training": suite["references"]["train"][0]}
    pair |= {"name": "01.png", "lines": 0.91, "how": "", "copied": True}
    copied = {"metric": "copy", "sentence": "1 of 12 pictures copies 01.png", "alarm": True, "judged": True}
    other = next(case["samples"][1]["image"] for case in record["cases"] if case["provider"] == "lora")
    near = {other: {"to": pair["training"], "name": "02.png", "lines": 0.42, "copied": False}}
    suite["sets"] = {"lora": {"copy": {**copied, "details": {"pairs": [pair], "nearest": near}}}}
    axis = {"name": "identity", "value": 0.99, "goal": "≥ 0.95", "passed": True, "what": "another person scores lower"}
    suite["card"] = {"identities": 20, "axes": [axis, {**axis, "name": "blur", "passed": False}]}
    finding = {"severity": "serious", "title": "Two alike", "reason": "01.png and 02.png", "remedy": "drop one"}
    suite["references_check"] = {
        "score": 0.71,
        "findings": [{**finding, "pictures": ["01.png"], "images": [pair["training"]], "effect": "it overfits"}],
        "not_judged": [{"what": "closed eyes", "reason": "no model at hand"}],
    }
    suite["sweep"] = [
        {"checkpoint": "last", "strength": s, "quality": q, "image": drawn, "date": "2026-01-01"}
        for s, q in ((0.6, 0.5), (1.0, 0.8))
    ]
    suite["under_test"] = {"lora": {"file": "other.safetensors", "strength": 0.8, "sha256": "2f" * 32}}
    suite["crowds"] = [
        {"metric": name, "genuine": [0.95, 1.0, 1.05, 0.98], "impostor": [-0.4, 0.0, 0.1, 0.3, 0.2]}
        for name in ("quality", "clip")
    ]
    record["run"] |= {"git": {"commit": "c0ffee", "uncommitted_changes": False}, "seconds": 51.0, "warnings": ["cold"]}
    for case in record["cases"]:
        case["tags"] = ["portrait"]
    return record


KEPT = frozenset({"schema", "image", "images", "training", "held_out", "train"})  # numbers and pictures' names
FREE = frozenset(
    {"details", "expect", "recipe", "versions", "outcomes", "sets", "evidence", "raw", "versus", "changes"}
)
"""Mappings whose keys are text from outside too."""


def poisoned(value: Any, text: str, key: str = "") -> Any:
    """The same record with every text in it, and every free key, replaced by `text` and a number of its own."""
    count = 0

    def replace(part: Any, name: str) -> Any:
        nonlocal count
        if name in KEPT or (name == "verdict" and part in ("pass", "fail", "inconclusive", "error")):
            return part
        if isinstance(part, dict):
            found = {}
            for inner, item in part.items():
                count += 1
                found[f"{text} {count}" if name in FREE and inner not in ("ok", "pairs") else inner] = replace(
                    item, inner
                )
            return found
        if isinstance(part, list):
            return [replace(item, name) for item in part]
        return text if isinstance(part, str) else part

    return replace(value, key)
