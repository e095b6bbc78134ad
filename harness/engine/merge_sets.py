"""What several shards found in their pictures together, as one run over all of them would have found it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from harness.core.values import BASE, CaseResult, SetScore
from harness.scoring.metrics.aesthetics import compare_aesthetics
from harness.scoring.metrics.copying import Copies, Nearest, tell_copies
from harness.scoring.metrics.diversity import Diversity, PromptPictures
from harness.scoring.metrics.response import PromptChange, PromptResponse

Results = Mapping[str, Sequence[CaseResult]]
Sets = Mapping[str, SetScore]
SHOWN = 12  # copies side by side, as `harness.engine.set_metrics` keeps them


def merge_sets(parts: Sequence[Sets], provider: str, results: Results) -> dict[str, SetScore]:
    """One provider's findings; what was measured a picture or a prompt at a time is added up, and judged anew.

    Args:
        parts: of each shard, by metric.
        results: of the whole run, by provider.
    """
    result: dict[str, SetScore] = {}
    for metric in dict.fromkeys(name for part in parts for name in part):
        known = [part[metric] for part in parts if metric in part]
        judged = [score for score in known if score.judged]
        if metric == "response":
            result[metric] = merge_responses(known)
        elif metric == "aesthetics":
            result[metric] = merge_gain(provider, results) or known[0]
        elif not judged:
            result[metric] = known[0]
        else:
            result[metric] = MERGERS.get(metric, first)(judged)
    return result


def first(judged: Sequence[SetScore]) -> SetScore:
    """Every shard draws the same prompts about others with the same seeds, so each found the same."""
    return next((score for score in judged if score.alarm), judged[0])


def merge_spreads(judged: Sequence[SetScore]) -> SetScore:
    """Diversity is measured prompt by prompt."""
    groups = [
        {case: PromptPictures(**spread) for score in judged for case, spread in score.details[name].items()}
        for name in ("cases", "base")
    ]
    result = Diversity(*groups)
    return SetScore("diversity", result.sentence, result.alarm, details=result.record)


def merge_responses(known: Sequence[SetScore]) -> SetScore:
    """Each prompt's change was measured from the mean of its shard; the slope is that of all of them."""
    parts = [score.details for score in known if score.details.get("cases")]
    if not parts:
        return known[0]
    cases = {case: PromptChange(**change) for part in parts for case, change in part["cases"].items()}
    agreed = [part["agreement"] for part in parts if part["agreement"] is not None]
    found = PromptResponse(cases, sum(agreed) / len(agreed) if agreed else None, parts[0]["against"])
    return SetScore("response", found.sentence, found.alarm, not found.doubt, details=found.record)


def merge_copies(judged: Sequence[SetScore]) -> SetScore:
    """Copies are found picture by picture, of the training pictures and of the held-out ones."""
    details = [score.details for score in judged]
    found, record = add_copies(details)
    every, held = [found], [part["held_out"] for part in details if part.get("held_out")]
    if held:
        leaked, about = add_copies(held, "held_out")
        every.append(leaked)
        record["held_out"] = {name: item for name, item in about.items() if name != "nearest"}
    record["widespread"] = any(copies.widespread for copies in every)
    return SetScore("copy", tell_copies(every), any(copies.alarm for copies in every), details=record)


def add_copies(details: Sequence[Mapping[str, Any]], split: str = "train") -> tuple[Copies, dict[str, object]]:
    """What all shards copied of one split of the references, and the same as plain data."""
    every = [pair for part in details for pair in part["pairs"]]
    pairs = sorted(every, key=lambda pair: (-pair["lines"], -(pair["embedding"] or 0.0)))
    copies, pictures, looked = (sum(part[name] for part in details) for name in ("copies", "pictures", "looked"))
    names = {item.name for item in fields(Nearest)}
    near = [
        Nearest(**{name: value for name, value in {**pair, "sha": pair["training"]}.items() if name in names})
        for pair in pairs
    ]
    copied = [nearest for nearest in near if nearest.copied]
    result = Copies(
        pictures,
        tuple((place, copied[min(place, len(copied) - 1)]) for place in range(copies if copied else 0)),
        near[0] if near else None,
        details[0]["normal"],
        looked if looked < pictures else None,
        merge_counts([part["prompts"] for part in details]),
        split,
    )
    sources: Counter[str] = Counter()
    for part in details:
        sources.update(part["sources"])
    shown = [pair for pair, nearest in zip(pairs, near, strict=True) if nearest.copied][:SHOWN] or pairs[:1]
    return result, {
        "pictures": pictures, "looked": looked, "copies": copies, "share": result.share, "prompts": result.prompts,
        "normal": result.normal, "alarm": result.alarm, "sources": dict(sources.most_common()), "pairs": shown,
        "nearest": {image: item for part in details for image, item in part.get("nearest", {}).items()},
    }  # fmt: skip


def merge_counts(counts: Sequence[Sequence[int] | None]) -> tuple[int, int] | None:
    """Prompts with a copy, and prompts in all."""
    known = [count for count in counts if count]
    return (sum(count[0] for count in known), sum(count[1] for count in known)) if known else None


def merge_gain(provider: str, results: Results) -> SetScore | None:
    """Aesthetics beside the base's, from the ratings themselves; None without pairs."""
    gain = compare_aesthetics(results.get(provider, ()), results.get(BASE, ()))
    return SetScore("aesthetics", gain.sentence, details=gain.record) if gain else None


MERGERS: Mapping[str, Callable[[Sequence[SetScore]], SetScore]] = {"diversity": merge_spreads, "copy": merge_copies}
