"""A suite's baseline: the scores that a team has agreed on, in a small file that is reviewed like code.

It lies at `baselines/<suite>.json` beside the suite, holds one score record a line, a thumbnail a case, and the hashes
of everything that decided them. A run is held against it in pairs (`harness.changes`); one of another recipe or scorer
is refused by the name of the field. It is written by `--update-baseline` and by nothing else.
"""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import HarnessError, UsageError
from harness.results import UNDER_TEST, Comparable, check_results, compare_parts
from harness.values import CaseResult, Job, Outcome, Sample, Score, Suite

if TYPE_CHECKING:
    from harness.settings import Settings

KIND, SCHEMA = "lora-harness baseline", 1
FOLDER = "baselines"  # beside the suite
LARGEST = 512 * 2**20  # bytes; as an earlier run's results.json, which is accepted too
DIGITS = 6  # of a score in the file; what they cannot tell apart is equal
THUMB, THUMB_BYTES = 64, 1_500  # pixels of the longer side, bytes of WebP: 2 KB as text
QUALITIES = (75, 60, 45, 30, 15)  # of WebP, until it fits
GIT_S = 60.0  # patience with git
WORST = 6  # cases that a record shows with their old pictures
REMEDY = "make a new baseline with --update-baseline, or leave this one out with --baseline off"


# --- the file -----------------------------------------------------------------------------------------------------


class _Part(BaseModel):
    """A newer version may add keys; those that are known are checked."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, frozen=True)


class Drawn(_Part):
    """What one provider's pictures were made with."""

    lora: str = ""  # SHA-256; "" without one
    strength: float = 0.0
    recipe: dict[str, Any] = {}


class Prompt(_Part):
    """What a case asked for; of another prompt nothing can be compared."""

    case: str
    prompt: str
    negative: str = ""


class Mark(_Part):
    """The scores of one picture."""

    provider: str
    case: str
    seed: int
    image: str = ""  # SHA-256
    scores: dict[str, float]


class Thumbnail(_Part):
    """A small picture of a case, for whoever reviews the file or reads a report."""

    provider: str
    case: str
    seed: int
    webp: str = Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=200_000)  # base64


class Baseline(_Part):
    """One suite's."""

    kind: Literal["lora-harness baseline"] = KIND  # type: ignore[assignment]
    schema_: Literal[1] = Field(SCHEMA, alias="schema")
    suite: str
    made: dict[str, Any] = {}  # date, commit, profile, versions
    scorer: dict[str, Any] = {}
    providers: dict[str, Drawn] = {}
    cases: tuple[Prompt, ...] = Field((), strict=False)
    scores: tuple[Mark, ...] = Field((), strict=False)
    thumbnails: tuple[Thumbnail, ...] = Field((), strict=False)

    def comparable(self, record: Mapping[str, Any], provider: str) -> Comparable:
        """Whether it may be held against a run.

        Args:
            record: of the suite in that run, as `harness.results.suite_record` makes it.
        """
        if self.suite != record["name"]:
            return Comparable((f"suite: the baseline is of {self.suite!r}, the run of {record['name']!r}",))
        drawn = self.providers.get(provider, Drawn())
        return compare_parts(drawn.recipe, record["recipe"].get(provider, {}), self.scorer, record["scorer"])

    def changed_cases(self, suite: Suite) -> list[str]:
        """Cases that the suite still has, with another prompt."""
        now = {case.id: (case.prompt, case.negative) for case in suite.cases}
        return [old.case for old in self.cases if now.get(old.case, (old.prompt, old.negative)) != old[1:]]

    def results(self, suite: Suite, provider: str, like: Sequence[CaseResult] = ()) -> list[CaseResult]:
        """A provider's scores as the results of a run, but those of prompts that are no longer asked.

        Args:
            like: of the run to be compared; of scores that differ by less than the file's digits, its own are taken.
        """
        left_out, exact = set(self.changed_cases(suite)), exact_scores(like)
        found: dict[str, list[Sample]] = {}
        for mark in self.scores:
            if mark.provider == provider and mark.case not in left_out:
                known = exact.get((mark.case, mark.seed), {})
                scores = {name: Score(name, snap(value, known.get(name))) for name, value in mark.scores.items()}
                sample = Sample("", mark.seed, Outcome.OK, image=mark.image or None, scores=scores)
                found.setdefault(mark.case, []).append(sample)
        return [CaseResult(Job(suite.path.as_posix(), case, provider), tuple(own)) for case, own in found.items()]
