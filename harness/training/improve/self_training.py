"""The last rung: a LoRA learns from the best of its own pictures, when nothing cheaper has helped.

Keep-the-best fine-tuning (RAFT, arXiv 2304.06767) within narrow bounds: open cases alone, with seeds that neither
choosing nor an exam draws; only pictures that pass every bound of the suite, quality with room to spare, and copy no
training picture; one or two a prompt; and never more than SHARE of all that is learnt from, because a model that learns
mostly from itself narrows with every round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.errors import EngineError
from harness.core.values import Case, CaseResult, Lora, Sample, Suite
from harness.engine.context import ImproveContext
from harness.engine.set_metrics import LEAST_LOOKED, ReceivedPicture, SetScorer, Table, look_at
from harness.judging.causes.cause import Cause
from harness.training.improve.data_fixes import Added, Mending
from harness.training.improve.held_out_test import HeldOutTest
from harness.training.improve.open_results import open_cases

SHARE = 0.3  # of the pictures that are learnt from, at most
A_CASE = 2  # pictures of one prompt, at most
BETTER = 0.05  # how far quality must be above the suite's bound
USUAL = 0.6  # the bound where the suite names none: what reports call good
REFUSED = 2  # challengers, after which this rung is reached


@dataclass(frozen=True)
class Own:
    """One picture that may be learnt from."""

    case: Case
    sample: Sample

    @property
    def quality(self) -> float:
        value = self.sample.scores["quality"].value
        assert value is not None  # `is_good` has seen it
        return value


def is_last_rung(causes: Sequence[Cause], refused: int, continued: bool) -> bool:
    """Whether nothing cheaper is left.

    Args:
        causes: what is wrong; what lies in the pictures is mended there.
        refused: challengers of this run since the last promotion.
        continued: whether one of them continued the LoRA under test.
    """
    in_pictures = any(cause.area == "data" for cause in causes)
    return not in_pictures and (refused >= REFUSED or (refused > 0 and continued))


def self_train(context: ImproveContext, ground: HeldOutTest, champion: Lora, train: int) -> Mending:
    """Draw the open cases with the champion and add its best pictures to what is learnt from; none is a reason too.

    Args:
        train: how many train pictures there are.
    """
    scorer = context.scorer
    if not isinstance(scorer, SetScorer) or scorer.train_set() is None:
        return Mending(reasons=("nobody here can tell copies, so it does not learn from its own pictures",))
    results = ground.practise(champion, open_cases(context), ground.own_seeds)
    good = rank_good(context.suite, results)[:LEAST_LOOKED]
    fresh = drop_copies(Table(context.store, scorer), good)
    kept = pick_varied(fresh, most_own(train))
    drawn = sum(len(result.samples) for result in results)
    if not kept:
        message = f"of {drawn} pictures of its own none is good enough to learn from ({len(good) - len(fresh)} copies)"
        return Mending(reasons=(message,))
    added = tuple(Added(name_of(own), context.store.image(str(own.sample.image)), own.case.prompt) for own in kept)
    return Mending(added=added, reasons=(tell(kept, drawn, train),))


def most_own(train: int) -> int:
    """How many pictures may join so many train pictures: 5 join 12."""
    return int(SHARE * train / (1 - SHARE) + 1e-9)


def rank_good(suite: Suite, results: Sequence[CaseResult]) -> list[Own]:
    """The pictures that pass every bound, quality by BETTER, the best first. Raises EngineError for a locked case."""
    findings = []
    for result in results:
        case = suite.case(result.job.case)
        if case.split != "open":
            raise EngineError(f"case {case.id!r} is locked; nothing may be learnt from its pictures")
        findings += [Own(case, sample) for sample in result.scored if sample.image and is_good(suite, case, sample)]
    return sorted(findings, key=lambda own: (-own.quality, own.case.id, own.sample.seed))


def is_good(suite: Suite, case: Case, sample: Sample) -> bool:
    """Whether quality is known and BETTER than its bound, and no other metric is under its own."""
    values = {name: score.value for name, score in sample.scores.items() if score.value is not None}
    bounds = {name: suite.threshold(case, name).fail for name in suite.metrics()}
    least = bounds.get("quality")
    if values.get("quality", -1.0) < (USUAL if least is None else least) + BETTER:
        return False
    return all(value >= bound for name, value in values.items() if (bound := bounds.get(name)) is not None)


def drop_copies(table: Table, ranked: Sequence[Own]) -> list[Own]:
    """Those that are no training picture drawn again."""
    train = table.scorer.train_set()
    shots = [ReceivedPicture(own.case.id, own.sample.seed, str(own.sample.image)) for own in ranked]
    if train is None or not shots:
        return []
    nearest = look_at(table, train, shots)  # of all of them: there are no more than it looks at
    return [own for place, own in enumerate(ranked) if place in nearest and not nearest[place].copied]


def pick_varied(ranked: Sequence[Own], most: int) -> list[Own]:
    """The best of each prompt, then the second best of each."""
    turns: list[list[Own]] = [[] for _ in range(A_CASE)]
    taken: dict[str, int] = {}
    for own in ranked:
        turn = taken.get(own.case.prompt, 0)
        taken[own.case.prompt] = turn + 1
        if turn < A_CASE:
            turns[turn].append(own)
    return [own for turn in turns for own in turn][:most]


def name_of(own: Own) -> str:
    """The file of a picture in the mended copy."""
    return f"own-{own.case.id}-{own.sample.seed}.png"


def tell(kept: Sequence[Own], drawn: int, train: int) -> str:
    """What is added and why, in words."""
    counts: dict[str, int] = {}
    for own in kept:
        counts[own.case.id] = counts.get(own.case.id, 0) + 1
    whose = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in counts.items())
    share, least = len(kept) / (len(kept) + train), min(own.quality for own in kept)
    return (
        "cheaper rungs were refused and nothing known is wrong with the pictures: "
        f"{len(kept)} of {drawn} pictures that the LoRA drew itself join the {train} train pictures "
        f"({share:.0%} of all); they are the best of the open cases {whose}, "
        f"of quality {least:.2f} or more, and none is a copy"
    )
