"""Does who draws follow the prompt? The second primary metric beside quality, wherever cases say what they `expect`.

A question (`background: steppe`) is asked only if it can be read back: in pictures that the same base drew of the same
prompts without the LoRA, CLIP sees what was asked for clearly oftener than where something else was. A reader that
always says "steppe" fails that, and so does what the base cannot draw. Of the others nothing is judged, and it is said.
Nor is anything where drawings are of a style that the base's pictures are not, at the edge of what the models know.

What is left is held against the suite's bound on `prompt`, at a level of its own, and against `prompt_only` on the same
prompts and seeds: a LoRA that draws the subject and nothing that is asked is over-trained.

    proven worse, and by MARGIN or more      fail
    proven to stay within MARGIN             no worse
    otherwise                                open
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harness.core import stats
from harness.core.stats import Pair
from harness.core.text import bounds_text
from harness.core.values import BASE, PROMPT_ONLY, CaseResult, Interval, Suite, TraitScore, to_record
from harness.judging.complaints import JudgedComplaint, blind, bounded, fail, hold, unsure, warn
from harness.judging.foreign import UNLIKE, is_unlike
from harness.judging.prompts import own_prompts
from harness.judging.scores import values_of

PROMPT = "prompt"
CONTROLS = (PROMPT_ONLY, BASE)  # whose pictures show what the base can draw and CLIP can read
MARGIN = 0.05  # of the mean probability of what was asked
READ = 0.5  # how much oftener a value must be read where it was asked for than where another was
SHOWN = 4  # questions that cannot be read, in a complaint

Question = tuple[str, str]
"""A category and the value that a case expects of it."""


# --- what can be read -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReadBack:
    """How one question is answered in the pictures of one provider that draws without the LoRA."""

    asked: int = 0  # pictures that were to show it
    agreed: int = 0  # of them, read as it
    others: int = 0  # pictures that were to show another value of the category
    mistaken: int = 0  # of them, read as it

    @property
    def told(self) -> float:
        """Youden's J: how much oftener it is read where it was asked for, -1 to 1; 0 where nothing compares."""
        return self.agreed / self.asked - self.mistaken / self.others if self.asked and self.others else 0.0

    @property
    def reason(self) -> str:
        """Why it is not judged, or ""."""
        if self.told >= READ:
            return ""
        if not self.others:
            return "no case asks for anything else, so a reading that is always the same would not be seen"
        return (
            f"read in {self.agreed} of {self.asked} pictures that ask for it, {self.mistaken} of {self.others} others"
        )


def read_back(results: Sequence[CaseResult]) -> dict[Question, ReadBack]:
    """Every question that was put to a provider's pictures."""
    seen: dict[str, list[TraitScore]] = defaultdict(list)
    for result in results:
        for sample in result.scored:
            for category, answer in answers(sample.scores.get(PROMPT)).items():
                seen[category].append(answer)
    found = {}
    for category, each in seen.items():
        for value in dict.fromkeys(answer.value for answer in each):
            own, rest = ([a.seen == value for a in each if (a.value == value) is same] for same in (True, False))
            found[category, value] = ReadBack(len(own), sum(own), len(rest), sum(rest))
    return found


def answers(score: object) -> dict[str, TraitScore]:
    """What `prompt` found of one picture, by category; {} where the score carries no answers."""
    traits: dict[str, TraitScore] = getattr(score, "traits", {})
    return {category: answer for category, answer in traits.items() if answer.seen and answer.score is not None}


@dataclass(frozen=True)
class ReadableQuestions:
    """The questions of a suite's cases, as pictures without the LoRA answer them."""

    against: str = ""  # whose pictures were read; "" where nobody draws without the LoRA
    known: Mapping[Question, ReadBack] = field(default_factory=dict)

    @property
    def judged(self) -> frozenset[Question]:
        return frozenset(question for question, back in self.known.items() if not back.reason)

    @property
    def unread(self) -> dict[str, str]:
        """Question to the reason why it is not judged."""
        return {f"{name} {value!r}": back.reason for (name, value), back in self.known.items() if back.reason}

    @property
    def reason(self) -> str:
        """Why nothing is judged, or ""."""
        if not self.against:
            return f"nobody here draws these prompts without the LoRA; add {PROMPT_ONLY} to `providers`"
        if self.judged:
            return ""
        return f"none of its questions can be read back in the pictures of {self.against}: {spell(self.unread)}"


def spell(unread: Mapping[str, str]) -> str:
    listed = "; ".join(f"{name} ({reason})" for name, reason in list(unread.items())[:SHOWN])
    return f"{listed} and {len(unread) - SHOWN} more" if len(unread) > SHOWN else listed


def choose_questions(controls: Mapping[str, Sequence[CaseResult]]) -> ReadableQuestions:
    """What can be judged, by the control whose pictures answer most questions."""
    read = {name: ReadableQuestions(name, back) for name in CONTROLS if (back := read_back(controls.get(name, ())))}
    return max(read.values(), key=lambda questions: len(questions.judged), default=ReadableQuestions())


# --- what is said of them ---------------------------------------------------------------------------------------------


def followed(results: Sequence[CaseResult], judged: Collection[Question]) -> dict[Pair, float]:
    """The mean probability of what was asked, by prompt and seed, over the questions that are judged."""
    kept: dict[Pair, list[float]] = defaultdict(list)
    for result in results:
        for sample in result.scored:
            kept[result.prompt_id, sample.seed] += [
                answer.score
                for category, answer in answers(sample.scores.get(PROMPT)).items()
                if (category, answer.value) in judged and answer.score is not None
            ]
    return {pair: sum(scores) / len(scores) for pair, scores in kept.items() if scores}


class Loss(StrEnum):
    """What a paired difference says of "no worse by MARGIN or more"."""

    PROVEN = "worse"
    NONE = "no worse"
    OPEN = "open"


@dataclass(frozen=True)
class Gap:
    """One side's prompts against another's, in pairs."""

    interval: Interval
    loss: Loss

    @property
    def text(self) -> str:
        return bounds_text(self.interval, signed=True, places=3)


def gap_between(ours: Mapping[Pair, float], theirs: Mapping[Pair, float], level: float = stats.LEVEL) -> Gap | None:
    """None where they share no picture."""
    groups = stats.differences(ours, theirs)
    if not groups:
        return None
    gap, flips = stats.clustered(groups, level), stats.flips_of_few(groups)
    if gap.mean <= -MARGIN and gap.high is not None and gap.high < 0 and stats.differs(gap, flips, level):
        return Gap(gap, Loss.PROVEN)
    return Gap(gap, Loss.NONE if gap.low is not None and gap.low >= -MARGIN else Loss.OPEN)


def hold_gap(gap: Gap, against: str, more: bool = True) -> list[JudgedComplaint]:
    """A difference as a complaint.

    Args:
        more: pictures could settle it.
    """
    text, bound = f"prompt following against {against} {gap.text}", f"the margin {MARGIN:.2f}"
    if gap.loss is Loss.PROVEN:
        return [fail(PROMPT, f"{text}: worse, and by more than {bound}: over-trained, it draws what it was not asked")]
    if gap.loss is Loss.OPEN:
        return [unsure(PROMPT, f"{text}: not proven to stay within {bound}; add cases or samples", more)]
    return []


@dataclass(frozen=True)
class Following:
    """What a gate is told of its prompts."""

    findings: Sequence[JudgedComplaint] = ()
    score: Interval | None = None  # over the questions that are judged; None: nothing is


def judge_following(
    suite: Suite,
    results: Sequence[CaseResult],
    others: Mapping[str, Sequence[CaseResult]],
    baseline: Sequence[CaseResult] | None,
    details: dict[str, object],
    level: float = stats.LEVEL,
) -> Following:
    """The second primary of one gate provider; nothing where no case expects anything and no bound asks."""
    bound = suite.threshold(None, PROMPT)
    if not values_of(results, PROMPT):
        return Following(
            [unsure(PROMPT, "prompt could not be measured (no case has `expect`)")] if bounded(bound) else []
        )
    questions = choose_questions(others)
    about: dict[str, object] = {"against": questions.against, "unread": questions.unread}
    details[PROMPT] = about
    values = followed(results, questions.judged)
    if questions.reason or not values:
        why = f"prompt following is not judged: {questions.reason or 'no picture answers'}"
        return Following(
            [unsure(PROMPT, f"{why}; its threshold says nothing") if bounded(bound) else warn(PROMPT, why)]
        )
    if is_unlike(results, others.get(questions.against, ())):
        about["unlike"] = questions.against
        return Following([blind(PROMPT, f"prompt following is not judged: {UNLIKE.format(questions.against)}")])
    score = own_prompts({PROMPT: values}, level)[PROMPT]
    findings = hold(PROMPT, score, bound)
    if questions.unread:
        findings.append(warn(PROMPT, f"prompt following leaves out what is not read back: {spell(questions.unread)}"))
    usual = gap_between(values, followed(others.get(PROMPT_ONLY, ()), questions.judged), level)
    if usual:
        about[PROMPT_ONLY] = to_record(usual.interval)
        findings += hold_gap(usual, PROMPT_ONLY)
    before = gap_between(values_of(results, PROMPT), values_of(baseline or (), PROMPT), level)
    if before:
        about["baseline"] = to_record(before.interval)
        findings += hold_gap(before, "the baseline", more=False)
    return Following(findings, score)
