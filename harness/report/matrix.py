"""Cases x providers and traits x providers: a number, a word and a sign in every cell, never colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.judging.record import CaseRecord, LeaderboardRow, SuiteRecord
from harness.judging.scores import TraitMean, trait_means
from harness.report.words import band, spaced, text

BLIND = "cannot judge"
WEAK = 0.6  # a trait under it is shown too little; the band "good" begins there


def search_words(name: str, case: CaseRecord) -> str:
    """What the search looks at."""
    words = [name, case.prompt, *(f"{key}: {value}" for key, value in case.expect.items()), *case.tags]
    return text(" ".join(words), 600).lower()


def weak_keys(items: Sequence[CaseRecord]) -> list[str]:
    """Traits of which a case's pictures show too little, the gate's where there is one, for the trait filter."""
    case = next((case for case in items if case.gate), items[0])
    return [trait_key(category) for category, trait in case.trait_means.items() if trait.mean < WEAK]


def trait_key(category: str) -> str:
    """A category as one word, for the trait filter."""
    return "_".join(text(category, 60).lower().split())


def cell_word(case: CaseRecord) -> str:
    """The word for one provider's score of one case; where there is none, why."""
    if case.quality is not None:
        return band(case.quality)
    if case.blind:
        return BLIND
    return spaced(case.outcome, 30) if case.outcome not in (None, "ok") else text(case.verdict or "ok", 20)


# --- traits ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TraitCell:
    """How surely one provider's pictures show one trait."""

    trait: TraitMean
    rank: int | None  # among all, on shared pictures

    @property
    def band(self) -> str:
        return band(self.trait.mean)


@dataclass(frozen=True)
class TraitLine:
    """One trait by all providers."""

    category: str
    value: str
    cells: tuple[TraitCell | None, ...]


@dataclass(frozen=True)
class TraitTable:
    """Mean score by trait and provider, with the best two of each trait marked."""

    providers: tuple[str, ...]
    lines: tuple[TraitLine, ...]


def trait_table(
    cases: Sequence[CaseRecord], order: Sequence[str], suite: SuiteRecord, rows: Sequence[LeaderboardRow]
) -> TraitTable:
    wanted = {trait.category: trait.value for trait in suite.traits}
    ranks = {row.provider: row.trait_ranks for row in rows}
    means = {
        name: own
        for name in order
        if (own := trait_means(sample for case in cases if case.provider == name for sample in case.samples))
    }

    def cell(provider: str, category: str) -> TraitCell | None:
        trait = means[provider].get(category)
        return TraitCell(trait, ranks.get(provider, {}).get(category)) if trait else None

    lines = [
        TraitLine(
            category,
            wanted.get(category) or next(own[category].value for own in means.values() if category in own),
            tuple(cell(provider, category) for provider in means),
        )
        for category in dict.fromkeys(name for own in means.values() for name in own)
    ]
    return TraitTable(tuple(means), tuple(lines))
