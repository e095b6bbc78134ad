"""Blind pairs: two pictures of one prompt and seed, and nobody says whose; and what many answers say together."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.core import stats
from harness.core.values import Interval, digest
from harness.report.review.ledger import Ballot
from harness.report.review.runs import RunSummary, VotePicture

SETTLED = 10  # votes between two names, below which their order is only a hint
LEAST_CASES = 8  # below which an interval that draws cases again is far too narrow


@dataclass(frozen=True)
class BlindPair:
    """Two different pictures of one prompt and seed."""

    id: str
    one: VotePicture
    other: VotePicture


@dataclass(frozen=True)
class Turn:
    """A pair as one person sees it."""

    pair: BlindPair
    left: VotePicture
    right: VotePicture


def make_pairs(runs: Sequence[RunSummary], suite: str) -> list[BlindPair]:
    """Every two pictures of a suite that were drawn from one prompt with one seed by different providers or LoRAs.

    Of two that drew the very same picture only one takes part: nobody can say whose it is.

    Args:
        runs: the newest first: where two have a picture by the same name, the newest one's is shown.
    """
    fields: dict[Hashable, dict[str, VotePicture]] = {}
    for run in runs:
        for shot in run.shots:
            if shot.suite == suite:
                fields.setdefault((shot.case, shot.prompt, shot.seed), {}).setdefault(shot.player, shot)
    unlike = [list({shot.image: shot for shot in reversed(players.values())}.values()) for players in fields.values()]
    return [
        BlindPair(pair_id(one, other), one, other)
        for shots in unlike
        for one, other in combinations(sorted(shots, key=lambda shot: shot.player), 2)
    ]


def with_lora(pairs: Iterable[BlindPair], runs: Iterable[RunSummary], suite: str) -> list[BlindPair]:
    """The pairs that show a LoRA under test, of any run: none of two competitors."""
    tested = {
        part.players[name]
        for run in runs
        for part in run.parts.values()
        for name in part.gate
        if part.name == suite and part.loras.get(name)
    }
    return [pair for pair in pairs if {pair.one.player, pair.other.player} & tested]


def pair_id(one: VotePicture, other: VotePicture) -> str:
    """The same for the same two pictures of a case, whoever asks, whichever is on the left."""
    return digest([one.suite, one.case, one.seed, sorted([one.image, other.image])])[:32]


def ballot_pair(suite: str, ballot: Ballot) -> str:
    """The id of the pair that a ballot answers."""
    return digest([suite, ballot.case, ballot.seed, sorted([ballot.left.image, ballot.right.image])])[:32]


def draw_order(pairs: Iterable[BlindPair], who: str) -> list[BlindPair]:
    """All pairs in a random order, uniform, and each person's own.

    The generator is BLAKE2 seeded with the name, so a reload shows the same pair again: nobody can reroll one that is
    hard, and nothing has to be remembered between two requests.
    """
    return sorted(pairs, key=lambda pair: chance(who, pair.id))


def chance(*seed: str) -> bytes:
    """Random bytes, the same for the same seed."""
    return hashlib.blake2b("\0".join(seed).encode("utf-8", "replace"), digest_size=16).digest()


def show(pair: BlindPair, who: str) -> Turn:
    """A pair with left and right shuffled, each person's own way."""
    first, second = (pair.other, pair.one) if chance("side", who, pair.id)[0] & 1 else (pair.one, pair.other)
    return Turn(pair, first, second)


def judged(suite: str, ballots: Iterable[Ballot], who: str) -> set[str]:
    """The ids of the pairs that a person has answered or skipped."""
    return {ballot_pair(suite, ballot) for ballot in ballots if ballot.who == who}


# --- what votes say together ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tally:
    """How two names did against each other."""

    won: int = 0
    lost: int = 0
    tied: int = 0

    @property
    def votes(self) -> int:
        return self.won + self.lost + self.tied


@dataclass(frozen=True)
class VoteRank:
    """One name by the votes."""

    player: str
    strength: Interval | None  # log strength, 0 is the average; None where no strength fits
    against: Mapping[str, Tally]

    @property
    def total(self) -> Tally:
        result = self.against.values()
        return Tally(sum(item.won for item in result), sum(item.lost for item in result), sum(i.tied for i in result))


def to_votes(ballots: Iterable[Ballot]) -> list[stats.Vote]:
    """What counts: skipped pairs do not."""
    return [
        stats.Vote(ballot.case, ballot.right.player, ballot.left.player)
        if ballot.choice == "right"
        else stats.Vote(ballot.case, ballot.left.player, ballot.right.player, ballot.choice == "tie")
        for ballot in ballots
        if ballot.choice != "skip"
    ]


def vote_ranks(ballots: Iterable[Ballot]) -> tuple[list[VoteRank], str]:
    """Everybody by Bradley and Terry's model, the strongest first; and why nobody has a strength, if so."""
    votes = to_votes(ballots)
    names = sorted({name for vote in votes for name in (vote.winner, vote.loser)})
    try:
        strengths, problem = {name: bounded(result) for name, result in stats.rate_votes(votes).items()}, ""
    except ValueError:
        strengths, problem = {}, "some never met the others, not even through third ones: more votes are needed"
    order = list(strengths) or names
    return [VoteRank(name, strengths.get(name), tallies(votes, name)) for name in order], problem


def bounded(strength: Interval) -> Interval:
    """Without bounds where there are too few cases to draw from: then the bootstrap's are far too narrow."""
    return strength if strength.n >= LEAST_CASES else Interval(strength.mean, None, None, strength.n)


def tallies(votes: Iterable[stats.Vote], name: str) -> dict[str, Tally]:
    """One name against each other one that it met."""
    results: dict[str, list[int]] = {}
    for vote in votes:
        if name in (vote.winner, vote.loser):
            other = vote.loser if name == vote.winner else vote.winner
            kind = 2 if vote.tie else 0 if name == vote.winner else 1
            results.setdefault(other, [0, 0, 0])[kind] += 1
    return {other: Tally(*counts) for other, counts in sorted(results.items())}
