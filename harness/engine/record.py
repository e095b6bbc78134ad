"""What a run leaves behind: the parts of `results.json` that only the engine knows."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

from harness import __version__
from harness.core.errors import HarnessError
from harness.core.values import CaseResult, Lora, Request, Suite, digest, to_record
from harness.engine.context import ScorerLike
from harness.engine.plan import Step
from harness.judging.record import AuditRecord, LoraRecord, PopulationRecord, SuiteFindings, Tried
from harness.models.identity import hash_once
from harness.scoring.calibration.populations import populations, rounded
from harness.scoring.metrics.scorer import Scorer
from harness.scoring.references.check import check_references
from harness.scoring.references.gather import gather_subject
from harness.store import Store

LIBRARIES = ("torch", "diffusers", "transformers", "peft", "pytest")
VERSION = 1  # of what is remembered of a set of references: raise it, and the set is looked at anew
SWEEPS = "sweep"  # what the store remembers of the last `harness sweep` of each suite, by the suite's path
SHOWN = 4  # pictures of a finding that the report shows
BLIND = "a run looks without CLIP: `harness references check` asks it too"


def versions() -> dict[str, str]:
    """What made the results."""
    results = {"harness": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            results[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return results


def shared_recipe(requests: Sequence[Request]) -> dict[str, object]:
    """What all requests of a provider have in common."""
    records = [{item.name: to_record(getattr(each, item.name)) for item in fields(Request)} for each in requests]
    first = records[0] if records else {}
    return {name: value for name, value in first.items() if all(record[name] == value for record in records)}


def recipes(steps: Sequence[Step]) -> dict[str, dict[str, object]]:
    """By provider."""
    gathered: dict[str, list[Request]] = {}
    for step in steps:
        gathered.setdefault(step.job.provider, []).extend(step.requests)
    return {provider: shared_recipe(requests) for provider, requests in gathered.items()}


def scorer_record(scorer: ScorerLike) -> dict[str, object]:
    """What decides a score; by name where the scorer tells its parts."""
    return {"identity": scorer.identity, **getattr(scorer, "parts", {})}


def keep_references(store: Store, scorer: ScorerLike) -> dict[str, list[str]]:
    """The reference pictures, put into the store so that the report can show them."""
    references = getattr(scorer, "references", None)
    splits: dict[str, Sequence[Path]] = {name: getattr(references, name, ()) for name in ("train", "held_out")}
    return {name: [store.put_image(path.read_bytes()) for path in paths] for name, paths in splits.items() if paths}


def notes_of(suite: Suite, results: Mapping[str, Sequence[CaseResult]]) -> list[str]:
    """What a reader should know: locked cases that were left out, prompts that were cut off."""
    drawn = {result.job.case for group in results.values() for result in group}
    locked = [case.id for case in suite.cases if case.split == "locked" and case.id not in drawn]
    notes = [f"{len(locked)} locked cases were left out; they are kept for promotions (--locked)"] if locked else []
    cut = {
        (result.job.provider, result.job.case): str(sample.meta["truncated"])
        for group in results.values()
        for result in group
        for sample in result.samples
        if sample.meta.get("truncated")
    }
    return notes + [f"{case} by {name}: the prompt was cut off before {end!r}" for (name, case), end in cut.items()]


def low_bounds(suite: Suite, crowds: Sequence[PopulationRecord]) -> list[str]:
    """Bounds that everybody reaches: below the least that any picture of somebody else gets they cannot fail."""
    known = [(crowd, suite.threshold(None, crowd.metric).fail) for crowd in crowds if crowd.impostor]
    return [
        f"{crowd.metric}: fail {bound:g} lies below what every picture of somebody else reaches "
        f"({min(crowd.impostor):.2f} at least), so it tells nobody apart; `harness calibrate` proposes bounds"
        for crowd, bound in known
        if bound is not None and bound < min(crowd.impostor)
    ]


# --- what only the page shows --------------------------------------------------------------------------------------


def about_suite(
    store: Store, suite: Suite, size: tuple[int, int], scorer: ScorerLike | None, tested: Mapping[str, Lora]
) -> SuiteFindings:
    """What cannot be had is left out, because a record must not fail for it.

    Args:
        size: of the profile, width and height.
        scorer: None where no picture has a score.
        tested: the LoRA behind each gate provider.
    """
    return SuiteFindings(
        under_test={name: lora_record(lora) for name, lora in tested.items()},
        references_check=check_record(store, suite, size),
        crowds=populations_record(store, scorer) if isinstance(scorer, Scorer) else (),
        sweep=tuple(map(Tried.of, store.memo(SWEEPS, suite.path.as_posix()) or ())),
    )


def lora_record(lora: Lora) -> LoraRecord:
    """A LoRA file with its hash, and those that are drawn together with it."""
    sha = hash_once(lora.path) if lora.path.is_file() else ""
    beside = {"beside": tuple(map(lora_record, lora.beside))} if lora.beside else {}
    return LoraRecord(file=lora.path.name, strength=lora.strength, sha256=sha, **beside)


def check_record(store: Store, suite: Suite, size: tuple[int, int]) -> AuditRecord | None:
    """What `harness references check` says of a suite's references without CLIP, found once for each state of them."""
    try:
        gathered = gather_subject(suite.subject)
        paths = {gathered.label(path): path for path in gathered.pictures}
        hashes = {label: hash_once(path) for label, path in paths.items()}
        captions = sorted(map(gathered.label, gathered.captions))
        key = digest(
            [
                __version__,
                VERSION,
                gathered.kind,
                list(size),
                hashes,
                captions,
                [path.name for path in gathered.ignored],
            ]
        )
        known: dict[str, Any] | None = store.memo("references_check", key)
        if known is None:
            audit = to_record(check_references(gathered, size, blind=BLIND))
            known = {name: audit[name] for name in ("score", "parts", "findings", "not_judged")}
            for item in known["findings"]:
                item["images"] = [store.put_image(paths[name].read_bytes()) for name in item["pictures"][:SHOWN]]
            store.put_memo("references_check", key, known)
    except (HarnessError, OSError):
        return None
    return AuditRecord.of(known)


def populations_record(store: Store, scorer: Scorer) -> tuple[PopulationRecord, ...]:
    """Every gated score of the references and of those who are called 0: what the calibration was made from."""
    frozen, key = scorer.frozen, digest(["crowds", VERSION, scorer.identity])
    known: list[dict[str, object]] | None = store.memo("crowds", key)
    if known is None and frozen and frozen.weights == scorer.suite.weights:
        known = [dict(side) for side in frozen.populations]
        store.put_memo("crowds", key, known)
    if known is None:
        if scorer.blind:
            return ()
        try:
            known = rounded(populations(scorer, scorer.ground))
        except (HarnessError, OSError):
            return ()
        store.put_memo("crowds", key, known)
    return tuple(map(PopulationRecord.of, known))
