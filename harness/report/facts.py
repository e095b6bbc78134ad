"""What the run did and with what: work, time, money, versions, hashes."""

from __future__ import annotations

from typing import Any

from harness.report.terminal import duration
from harness.report.words import Frame, Record, dollars, lines_of, listed, mapped, number, plain_words, text, texts

APART = ("versions", "warnings", "git", "merged", "profile_sha256")  # shown in places of their own
HASHED = {"identity": "scorer", "references_train": "references, train", "references_held_out": "references, held out"}
"""Parts of a suite's scorer that the page names, and how."""


def facts_view(results: Record) -> dict[str, Any]:
    """The last chapter, and the small figures at the top."""
    engine, run = mapped(results, "engine"), mapped(results, "run")
    return {
        "top": top_figures(engine, run),
        "done": {name: text(item, 60) for name, item in work_done(engine).items() if item is not None},
        "seconds": {
            text(name, 40): duration(value)
            for name, item in mapped(engine, "seconds").items()
            if (value := number(item)) is not None
        },
        "run": {text(name, 60): plain_words(item) for name, item in run.items() if name not in APART and item},
        "git": git_lines(run.get("git")),
        "hashes": hash_lines(results),
        "warnings": texts(run.get("warnings"), 400),
        "merged": merged_words(run.get("merged")),
        "versions": {text(name, 60): text(item, 200) for name, item in mapped(run, "versions").items()},
    }


def hash_lines(results: Record) -> dict[str, str]:
    """What drew and what judged, by SHA-256: LoRA, base, profile, scorer, references."""
    suites, run = listed(results, "suites"), mapped(results, "run")
    result = {"profile": run.get("profile_sha256")}
    for suite in suites:
        place = f" ({text(suite.get('name'), 60)})" if len(suites) > 1 else ""
        for provider, lora in mapped(suite, "under_test").items():
            parts = [lora, *listed(lora, "beside")] if isinstance(lora, dict) else []
            result |= {f"LoRA {text(part.get('file'), 80)}{place}": part.get("sha256") for part in parts}
            result[f"base of {text(provider, 60)}{place}"] = mapped(mapped(suite, "recipe"), provider).get("model")
        result |= {f"{name}{place}": mapped(suite, "scorer").get(key) for key, name in HASHED.items()}
    return {name: text(sha, 64) for name, sha in result.items() if sha}


def git_lines(git: Any) -> dict[str, str]:
    """Commit, branch, whether there were changes: as many as were recorded."""
    if isinstance(git, dict):
        return lines_of(git)
    return {"git": text(git, 200)} if git else {}


def merged_words(merged: Any) -> list[str]:
    """Which runs the page unites, or why it could not."""
    if not isinstance(merged, list):
        return []
    runs = [item for item in merged if isinstance(item, dict)]
    names = [
        text(run.get("id"), 60) + (f" (shard {text(run['shard'], 12)})" if run.get("shard") else "") for run in runs
    ]
    united = [f"{len(runs)} runs judged as one: {', '.join(names)}"] if runs else []
    return united + texts([item for item in merged if isinstance(item, str)], 600)


def work_done(engine: Record) -> dict[str, Any]:
    return {
        "pictures drawn": engine.get("images_generated"),
        "pictures from the store": engine.get("images_cached"),
        "model loads": engine.get("model_loads"),
        "paid to services": dollars(engine.get("cost_usd"), always=True),
        "would be paid, had services not been emulated": dollars(engine.get("emulated_usd")),
        "possibly billed for calls that broke off": dollars(engine.get("possibly_billed_usd")),
        "paid calls": engine.get("paid_calls") or None,
        "of them, of unknown price": engine.get("unpriced_calls") or None,
        "pictures held back by the budget": engine.get("held_back") or None,
    }


def top_figures(engine: Record, run: Record) -> list[tuple[str, str]]:
    """Pictures, cache hits, money and time: value and label."""
    drawn, cached = (number(engine.get(name)) or 0.0 for name in ("images_generated", "images_cached"))
    results = [(f"{drawn + cached:,.0f}", "pictures")]
    results += [(f"{cached / (drawn + cached):.0%}", "from the store")] if drawn + cached else []
    paid, emulated = dollars(engine.get("cost_usd"), always=True) or "", dollars(engine.get("emulated_usd"))
    results.append((paid, "paid"))
    results += [(emulated, "emulated")] if emulated else []
    seconds = number(run.get("seconds"))
    return results + ([(duration(seconds), "long")] if seconds else [])


def recipes_view(frame: Frame, suite: str, recipe: Record) -> list[dict[str, Any]]:
    """What all requests of a provider share, in full."""
    return [
        {
            "id": frame.anchor("recipe", suite, name),
            "provider": text(name, 80),
            "lines": {text(key, 60): plain_words(item) for key, item in shared.items() if item not in ("", {}, None)},
        }
        for name, shared in recipe.items()
        if isinstance(shared, dict)
    ]
