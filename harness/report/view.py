"""From a run's record to what the page shows: what has to be worked out; the rest its templates read off the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.judging.record import CaseRecord, FeedbackRecord, RunRecord, SuiteRecord
from harness.report import board, cases, facts, held, history, matrix, measure, words
from harness.report.pictures import Pictures, is_hash, lost_words
from harness.report.words import Frame, Photo, text

SHOWN = 6  # references beside a case; all of them are in the chapter on measurement
IMAGES = 4  # of a finding of the references' check


@dataclass(frozen=True)
class Glimpse:
    """One picture of those that a suite begins with."""

    name: str
    about: str
    picture: Photo


class SuiteView:
    """One suite with all its chapters."""

    def __init__(self, frame: Frame, results: RunRecord, name: str) -> None:
        """What stands in the page several times is made here, because the page's style holds it."""
        self.frame, self.results, self.name = frame, results, name
        self.record: SuiteRecord = results.suite(name)
        self.rows, self.cases = results.rows(name), results.cases_of(name)
        self.order = list(
            dict.fromkeys([*(row.provider for row in self.rows), *(case.provider for case in self.cases)])
        )
        self.grouped = cases.group_cases(self.cases, self.order)
        self.board = board.Board(self.rows, self.record.thresholds)
        self.references = {
            split: [frame.picture(sha, shared=True) for sha in hashes]
            for split, hashes in self.record.references.items()
        }
        self.sets = held.sets_view(frame, self.record)
        self.nearest = {
            image: (near, frame.picture(near.to, shared=True))
            for image, near in cases.nearest_pictures(self.record).items()
        }
        self.earlier = cases.earlier_pictures(self.record)
        self.glance = self._glance()
        audit = self.record.references_check
        self.findings = [
            (finding, [frame.picture(sha, shared=True) for sha in filter(is_hash, finding.images[:])][:IMAGES])
            for finding in (audit.findings if audit else ())
        ]

    @property
    def id(self) -> str:
        return self.frame.anchor("suite", self.name)

    def case_id(self, case: str) -> str:
        return self.frame.anchor("case", self.name, case)

    def recipe_id(self, provider: str) -> str:
        """Where a provider's recipe stands; "" without one."""
        return self.frame.anchor("recipe", self.name, provider) if self.record.recipe.get(provider) else ""

    @cached_property
    def gallery(self) -> list[Photo]:
        """The references that stand beside every case."""
        known = (self.references.get(split) for split in ("held_out", "gallery", "train"))
        return next(filter(None, known), [])[:SHOWN]

    @cached_property
    def traits(self) -> matrix.TraitTable:
        return matrix.trait_table(self.cases, self.order, self.record, self.rows)

    @cached_property
    def gates(self) -> set[str]:
        """Providers whose cases decide."""
        return {case.provider for case in self.cases if case.gate}

    @property
    def feedback(self) -> list[FeedbackRecord]:
        return [item for item in self.results.feedback if item.suite == self.name]

    @property
    def tested(self) -> str:
        """The LoRA under test by each gate provider, and the suite's own where that is another one."""
        own = facts.lora_words(self.record.lora) if self.record.lora else ""
        tested = {name: facts.lora_words(lora) for name, lora in self.record.under_test.items()}
        if len(set(tested.values())) < 2:
            message = next(iter(tested.values()), own)
        else:
            message = "; ".join(f"{text(name, 60)}: {words}" for name, words in tested.items())
        return f"{message} (the suite's own: {own})" if own and tested and own not in tested.values() else message

    def line(self, items: Sequence[CaseRecord]) -> list[CaseRecord | None]:
        """A case's records in the order of the providers."""
        known = {case.provider: case for case in items}
        return [known.get(provider) for provider in self.order]

    def _glance(self) -> list[Glimpse]:
        """A reference, and of the first prompt that most providers drew one picture each, with the same seed."""
        drawn: dict[tuple[str, int], dict[str, str]] = {}
        for case in self.cases:
            for sample in case.samples:
                if sample.image:
                    drawn.setdefault((case.case, sample.seed), {})[case.provider] = sample.image
        if not drawn:
            return []
        (case_id, seed), images = max(drawn.items(), key=lambda item: len(item[1]))
        about = f"{text(case_id, 60)}, seed {seed}"
        real = self.references.get("held_out") or self.references.get("train") or []
        return [Glimpse("reference", "", picture) for picture in real[:1]] + [
            Glimpse(name, about, self.frame.picture(images[name], shared=True)) for name in self.order if name in images
        ]


class PageView:
    """Everything that the templates ask for."""

    words, cases_of, facts_of, rounds_of, matrix_of, plots, held, board = (
        words, cases, facts, history, matrix, measure, held, board,
    )  # fmt: skip
    """The modules whose functions the templates call."""

    def __init__(self, results: RunRecord, pictures: Pictures) -> None:
        self.results, self.frame = results, Frame(pictures)
        named = [item.name for item in results.suites if item.name]
        every = [*named, *(row.suite for row in results.leaderboard), *(case.suite for case in results.cases)]
        self.suites = [SuiteView(self.frame, results, name) for name in dict.fromkeys(every)]
        self.lost = lost_words(*pictures.lost)

    @property
    def title(self) -> str:
        return ", ".join(text(suite.name, 60) for suite in self.suites) or "no suite"

    @property
    def case_count(self) -> int:
        return sum(len(suite.grouped) for suite in self.suites)

    @property
    def providers(self) -> list[str]:
        """Whom cases can be judged by."""
        return list(dict.fromkeys(name for suite in self.suites for name in suite.order))

    @property
    def weak_traits(self) -> list[tuple[str, str]]:
        """Traits that some case shows too little of, for the filter: key and name."""
        weak = {key for suite in self.suites for items in suite.grouped.values() for key in matrix.weak_keys(items)}
        names = dict.fromkeys(line.category for suite in self.suites for line in suite.traits.lines)
        return [(key, words.spaced(name, 60)) for name in names if (key := matrix.trait_key(name)) in weak]
