"""What the run did and with what: work, time, money, versions, hashes."""

from __future__ import annotations

from collections.abc import Mapping

from harness.judging.record import EngineRecord, LoraRecord, RunFacts, RunRecord
from harness.report.words import dollars, duration, lines_of, plain_words, text

APART = ("versions", "warnings", "git", "merged", "profile_sha256")  # shown in places of their own
HASHED = {"identity": "scorer", "references_train": "references, train", "references_held_out": "references, held out"}
"""Parts of a suite's scorer that the page names, and how."""


def run_lines(run: RunFacts) -> dict[str, str]:
    """Which run it was; what says nothing is left out."""
    return lines_of({name: item for name, item in run.plain.items() if name not in APART and item})


def hash_lines(results: RunRecord) -> dict[str, str]:
    """What drew and what judged, by SHA-256: LoRA, base, profile, scorer, references."""
    result: dict[str, object] = {"profile": results.run.profile_sha256}
    for suite in results.suites:
        place = f" ({text(suite.name, 60)})" if len(results.suites) > 1 else ""
        for provider, lora in suite.under_test.items():
            result |= {f"LoRA {text(part.file, 80)}{place}": part.sha256 for part in (lora, *lora.beside)}
            result[f"base of {text(provider, 60)}{place}"] = suite.recipe.get(provider, {}).get("model")
        result |= {f"{name}{place}": suite.scorer.get(key) for key, name in HASHED.items()}
    return {name: text(sha, 64) for name, sha in result.items() if sha}


def merged_words(run: RunFacts) -> list[str]:
    """Which runs the page unites, or why it could not."""
    known = [item for item in run.merged if not isinstance(item, str)]
    names = [text(item.id, 60) + (f" (shard {text(item.shard, 12)})" if item.shard else "") for item in known]
    united = [f"{len(known)} runs judged as one: {', '.join(names)}"] if known else []
    return united + [text(item, 600) for item in run.merged if isinstance(item, str)]


def work_done(engine: EngineRecord) -> dict[str, str]:
    """What was drawn, and what was paid for it."""
    done = {
        "pictures drawn": str(engine.images_generated),
        "pictures from the store": str(engine.images_cached),
        "model loads": str(engine.model_loads),
        "paid to services": dollars(engine.cost_usd, always=True),
        "would be paid, had services not been emulated": dollars(engine.emulated_usd),
        "possibly billed for calls that broke off": dollars(engine.possibly_billed_usd),
        "paid calls": str(engine.paid_calls or ""),
        "of them, of unknown price": str(engine.unpriced_calls or ""),
        "pictures held back by the budget": str(engine.held_back or ""),
    }
    return {name: words for name, words in done.items() if words}


def top_figures(results: RunRecord) -> list[tuple[str, str]]:
    """Pictures, cache hits, money and time: value and label."""
    engine, seconds = results.engine, results.run.seconds
    every, cached = engine.images_generated + engine.images_cached, engine.images_cached
    figures = [(f"{every:,}", "pictures")]
    figures += [(f"{cached / every:.0%}", "from the store")] if every else []
    figures.append((dollars(engine.cost_usd, always=True), "paid"))
    figures += [(dollars(engine.emulated_usd), "emulated")] if engine.emulated_usd else []
    return figures + ([(duration(seconds), "long")] if seconds else [])


def recipe_lines(recipe: Mapping[str, object]) -> dict[str, str]:
    """What all requests of a provider share, in full."""
    return {text(key, 60): plain_words(item) for key, item in recipe.items() if item not in ("", {}, None)}


def lora_words(lora: LoraRecord) -> str:
    """`file.safetensors at strength 0.8, with other.safetensors at strength 1`."""
    beside = "".join(f", with {lora_words(each)}" for each in lora.beside)
    return f"{text(lora.file, 120)} at strength {text(lora.strength, 12)}{beside}"
