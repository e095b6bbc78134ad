"""Pairwise votes to strengths: Bradley and Terry's model, for what people judged and for nothing that has a number.

Numeric scores on a shared grid are compared by paired means: a vote throws away by how much one is better.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.core.stats.intervals import LEVEL
from harness.core.values import Interval

DRAWS = 500
PRIOR = 0.5  # ties that nobody gave, between every two that met: keeps strengths finite when one never lost


@dataclass(frozen=True)
class Vote:
    """One person's choice between two pictures of one case."""

    case: Hashable
    winner: str
    loser: str
    tie: bool = False  # then the order of the two means nothing


def bradley_terry(wins: NDArray[np.float64], tolerance: float = 1e-12) -> NDArray[np.float64]:
    """Log strengths with mean 0: the maximum of the likelihood, by Hunter's MM iteration (2004).

    Args:
        wins: wins[i, j] is how often i beat j; a tie is half a win for each.

    Raises:
        ValueError: somebody won or lost everything, or two groups never met: then there is no maximum.
    """
    if not _strongly_connected(wins):
        raise ValueError("somebody won or lost every comparison, or never met the others: no strength fits")
    games, won = wins + wins.T, wins.sum(1)
    strength = np.ones(len(wins))
    for _ in range(100_000):
        new = won / (games / (strength[:, None] + strength[None, :])).sum(1)
        new /= np.exp(np.log(new).mean())
        moved = float(np.abs(np.log(new / strength)).max())
        strength = new
        if moved < tolerance:
            break
    result: NDArray[np.float64] = np.log(strength)
    return result


def _strongly_connected(wins: NDArray[np.float64]) -> bool:
    """Whether everybody can be reached from everybody along wins."""
    reach = (wins > 0) | np.eye(len(wins), dtype=bool)
    for _ in range(len(wins)):
        reach = (reach.astype(int) @ reach.astype(int)) > 0
    return bool(reach.all())


def win_matrix(votes: Sequence[Vote], names: Sequence[str]) -> NDArray[np.float64]:
    """wins[i, j], ties as half wins."""
    place = {name: number for number, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for vote in votes:
        a, b = place[vote.winner], place[vote.loser]
        wins[a, b] += 0.5 if vote.tie else 1.0
        wins[b, a] += 0.5 if vote.tie else 0.0
    return wins


def rate_votes(
    votes: Sequence[Vote], level: float = LEVEL, prior: float = PRIOR, draws: int = DRAWS, seed: int = 0
) -> Mapping[str, Interval]:
    """Log strengths with intervals, the strongest first; `n` counts cases.

    Cases are drawn again, not votes (percentile bootstrap): votes on one case share its pictures. Bounds are None for
    fewer than two cases, and without a prior, because a resample may hold somebody who never lost.

    Raises:
        ValueError: some never met the others, not even through third ones.
    """
    names = sorted({name for vote in votes for name in (vote.winner, vote.loser)})
    by_case: dict[Hashable, list[Vote]] = {}
    for vote in votes:
        by_case.setdefault(vote.case, []).append(vote)
    if not names:
        return {}
    matrices = np.array([win_matrix(group, names) for group in by_case.values()])
    total = matrices.sum(0)
    ties = prior / 2 * ((total + total.T) > 0)
    rated = bradley_terry(total + ties)
    random, rounds = np.random.default_rng(seed), []
    for _ in range(draws if prior > 0 and len(by_case) > 1 else 0):
        chosen = matrices[random.integers(len(matrices), size=len(matrices))].sum(0)
        rounds.append(bradley_terry(chosen + ties, tolerance=1e-6))
    bounds: list[tuple[float | None, float | None]] = [(None, None)] * len(names)
    if rounds:
        lows, highs = np.quantile(rounds, [(1 - level) / 2, (1 + level) / 2], axis=0)
        bounds = [(float(low), float(high)) for low, high in zip(lows, highs, strict=True)]
    order = np.argsort(-rated, kind="stable")
    return {names[p]: Interval(float(rated[p]), bounds[p][0], bounds[p][1], len(by_case)) for p in order}
