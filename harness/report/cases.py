"""One case: references, the LoRA under test, what it was before, its base, the competitors, and all their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.values import BASE, METRICS, WITHOUT_LORA, Sample
from harness.judging.record import CaseRecord, CopyDetails, NearPicture, SuiteRecord
from harness.report.held import inline_webp
from harness.report.matrix import WEAK
from harness.report.words import Photo, text, trait_words


def group_cases(cases: Sequence[CaseRecord], order: Sequence[str]) -> dict[str, list[CaseRecord]]:
    """Case to its providers, the gate first, its base next, competitors after; cases in the suite's order."""
    grouped: dict[str, list[CaseRecord]] = {}
    for case in sorted(cases, key=lambda case: (role_of(case)[0], order.index(case.provider))):
        grouped.setdefault(case.case, []).append(case)
    return {name: grouped[name] for name in dict.fromkeys(case.case for case in cases)}


def role_of(case: CaseRecord) -> tuple[int, str]:
    """What a provider is in a case, in the order of the columns."""
    if case.gate:
        return 0, "under test"
    if case.provider not in WITHOUT_LORA:
        return 2, "competitor"
    return 1, "its base" if case.provider == BASE else "its base, told in words"


def metrics_of(case: CaseRecord) -> list[str]:
    """What its pictures have numbers of, the metrics of every suite first."""
    known = dict.fromkeys(name for sample in case.samples for name in sample.scores)
    return [*(name for name in METRICS if name in known), *(name for name in known if name not in METRICS)]


def missing_traits(sample: Sample) -> list[str]:
    """Traits that a picture shows too little of, and what the scorer saw in their place."""
    results = []
    for category, trait in sample.traits.items():
        if trait.score is not None and trait.score < WEAK:
            instead = f", seen: {text(trait.seen, 60)}" if trait.seen and trait.seen != trait.value else ""
            results.append(f"{trait_words(category, trait.value)} {trait.score:.2f}{instead}")
    return results


def nearest_pictures(suite: SuiteRecord) -> dict[str, NearPicture]:
    """By drawn picture: the training picture it is nearest to, as the copy metric found it."""
    results: dict[str, NearPicture] = {}
    for group in suite.sets.values():
        details = CopyDetails.of(group["copy"].details) if "copy" in group else CopyDetails()
        results |= details.nearest
        results |= {
            pair.image: NearPicture(to=pair.training, name=pair.name, lines=pair.lines, copied=pair.copied)
            for pair in details.pairs
            if pair.image
        }
    return results


def earlier_pictures(suite: SuiteRecord) -> dict[str, list[Photo]]:
    """By case: its picture of the baseline, for those cases that changed."""
    results: dict[str, list[Photo]] = {}
    for held in suite.baseline.providers.values() if suite.baseline else ():
        for case in held.cases:
            if src := inline_webp(case):
                results.setdefault(case.case, []).append(Photo(src))
    return results
