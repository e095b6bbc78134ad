"""Train and held-out: which picture goes where, so that no copy straddles and both parts show the same mixture.

Decided by the pictures' content alone: names, order and machine do not matter. Where a model has seen the pictures,
they are clustered by how it sees them, and both parts get something of every cluster: a kind of picture that is only
held out is never learnt, and one that only trains is never judged.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.core.arrays import Floats
from harness.core.errors import UsageError
from harness.core.values import digest, hash_file
from harness.scoring.references.duplicates import Fingerprint, cluster, find_pairs, take_fingerprint

HELD_OUT_SHARE = 0.4  # of an automatic split: 12 + 8 of twenty pictures
LEAST_HELD_OUT = 3  # a spread needs three
LEVELS = 3  # parts of equal size into which a figure without names is cut
MOST_CLUSTERS = 8  # of a set as a model sees it

Labels = Mapping[str, str]  # what is balanced: "background" to "steppe", or "brightness" to "2"


@dataclass(frozen=True)
class Group:
    """Pictures that belong together: copies of one another, or a single picture."""

    places: tuple[int, ...]
    key: str  # of the content: decides where everything else is equal
    cluster: int = 0  # of those that a model finds alike


def choose_held_out(
    prints: Sequence[Fingerprint],
    labels: Sequence[Labels] | None = None,
    alike: Iterable[tuple[int, int]] = (),
    share: float = HELD_OUT_SHARE,
    vectors: Floats | None = None,
) -> list[int]:
    """The places of the pictures that are held out, ascending.

    Args:
        prints: of all pictures.
        labels: what each picture shows; without it brightness and colour are balanced.
        alike: further pairs, by place, that must stay together.
        share: of the pictures, [0, 1]; at least three are held out and at least one trains.
        vectors: the pictures' unit vectors, (n, d); both parts then see every cluster of them.
    """
    if len(prints) < 2:
        return []
    links = [*((pair.first, pair.second) for pair in find_pairs(prints)), *alike]
    groups = [
        Group(places, digest(sorted(prints[place].sha for place in places))) for places in cluster(len(prints), links)
    ]
    wanted = min(len(prints) - 1, max(LEAST_HELD_OUT, round(share * len(prints))))
    if vectors is not None:
        groups = clustered(groups, vectors, wanted)
    chosen = balance(groups, list(labels if labels is not None else plain_labels(prints)), wanted)
    return sorted(place for group in chosen for place in group.places)


def clustered(groups: Sequence[Group], vectors: Floats, wanted: int) -> list[Group]:
    """The groups with their clusters (Ward 1963), as many as leave two groups in each: one for either part."""
    from scipy.cluster.hierarchy import fcluster, linkage

    ranked = sorted(groups, key=lambda group: group.key)
    if len(ranked) < 4:
        return ranked
    tree = linkage(np.stack([vectors[list(group.places)].mean(0) for group in ranked]).round(5), "ward")
    most = min(MOST_CLUSTERS, wanted, len(vectors) - wanted, len(ranked) // 2)
    for count in range(most, 1, -1):
        result = fcluster(tree, count, "maxclust")
        if min(np.bincount(result)[1:]) > 1:
            return [replace(group, cluster=int(number)) for group, number in zip(ranked, result, strict=True)]
    return ranked


def balance(groups: Sequence[Group], labels: Sequence[Labels], wanted: int) -> list[Group]:
    """Groups of `wanted` pictures in all or as near to it as whole groups allow, mixed as the whole is.

    One after another that group joins which brings the mixture nearest to the whole's (iterative stratification), but
    first one of every cluster, and never a cluster's last.
    """
    columns = sorted({(name, value) for item in labels for name, value in item.items()})
    table = np.array([[float(item.get(name) == value) for name, value in columns] for item in labels])
    rest = sorted(groups, key=lambda group: group.key)
    goal = wanted / len(labels) * table.sum(0)
    rows = {group.key: table[list(group.places)].sum(0) for group in rest}
    chosen: list[Group] = []
    have, count = np.zeros(len(columns)), 0

    def cost(group: Group) -> tuple[bool, float, str]:
        seen = any(other.cluster == group.cluster for other in chosen)
        return seen, float(np.sum((have + rows[group.key] - goal) ** 2)), group.key

    while True:
        left = Counter(group.cluster for group in rest)
        fitting = [group for group in rest if count + len(group.places) <= wanted and left[group.cluster] > 1]
        if not fitting:
            break
        best = min(fitting, key=cost)
        chosen.append(best)
        rest.remove(best)
        have, count = have + rows[best.key], count + len(best.places)
    if not chosen and len(rest) > 1:  # every group is larger than what was wanted
        chosen.append(min(rest, key=lambda group: (len(group.places), group.key)))
    return chosen


def plain_labels(prints: Sequence[Fingerprint]) -> list[dict[str, str]]:
    """Brightness, contrast and colour of each picture as thirds of the set: what can be balanced without a model."""
    figures = {
        "brightness": [float(item.grey.mean()) for item in prints],
        "contrast": [float(item.grey.std()) for item in prints],
        "colour": [float(item.planes[2].mean() - item.planes[1].mean()) for item in prints],
    }
    results: list[dict[str, str]] = [{} for _ in prints]
    for name, values in figures.items():
        order = sorted(range(len(prints)), key=lambda place: (values[place], prints[place].sha))
        for rank, place in enumerate(order):
            results[place][name] = str(rank * LEVELS // len(prints))
    return results


def split_pictures(pictures: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Train and held-out pictures without a model; equal files count once, so that no copy can leak.

    Raises:
        ReferencesError: a picture cannot be read.
    """
    by_hash: dict[str, Path] = {}
    for path in pictures:
        by_hash.setdefault(hash_file(path), path)
    ranked = [by_hash[sha] for sha in sorted(by_hash)]
    held = set(choose_held_out([take_fingerprint(path) for path in ranked]))
    train = [path for place, path in enumerate(ranked) if place not in held]
    return sorted(train), sorted(ranked[place] for place in held)


@dataclass(frozen=True)
class Move:
    """One picture's way into its split, its caption with it."""

    source: Path
    target: Path
    split: str


def plan_moves(pictures: Sequence[Path], held: Iterable[int], into: Path) -> list[Move]:
    """Where every picture goes; two of one name get their number.

    Args:
        held: places of the held-out pictures.
    """
    apart, used, moves = set(held), set(), []
    for place, path in enumerate(pictures):
        split = "held_out" if place in apart else "train"
        name, number = path.name, 2
        while (split, Path(name).stem.casefold()) in used:
            name, number = f"{path.stem}-{number}{path.suffix}", number + 1
        used.add((split, Path(name).stem.casefold()))
        moves.append(Move(path, into / split / name, split))
    return moves


def carry_out(moves: Sequence[Move], in_place: bool) -> None:
    """Copy the pictures and captions, or move them.

    Raises:
        UsageError: a target exists already with other content; nothing was changed then.
    """
    sources = {move.source.resolve() for move in moves}
    for move in moves:
        taken = move.target.exists() and move.target.resolve() != move.source.resolve()
        if taken and not (in_place and move.target.resolve() in sources) and not same_file(move.source, move.target):
            raise UsageError(f"{move.target} exists already; choose another --into or remove it")
    if in_place:
        move_all(moves)
        return
    for move in moves:
        move.target.parent.mkdir(parents=True, exist_ok=True)
        for source, target in with_caption(move):
            shutil.copyfile(source, target)


def move_all(moves: Sequence[Move]) -> None:
    """By way of names that nothing else has, because two pictures may change places."""
    steps = [pair for move in moves if move.source != move.target for pair in with_caption(move)]
    parked = [(target.with_name(f".{number}.moving"), target) for number, (_, target) in enumerate(steps)]
    for (source, _), (park, _) in zip(steps, parked, strict=True):
        park.parent.mkdir(parents=True, exist_ok=True)
        source.rename(park)
    for park, target in parked:
        park.rename(target)


def with_caption(move: Move) -> list[tuple[Path, Path]]:
    """A picture's way and, where it has a caption, the caption's."""
    caption = move.source.with_suffix(".txt")
    ways = [(move.source, move.target)]
    return [*ways, (caption, move.target.with_suffix(".txt"))] if caption.is_file() else ways


def same_file(one: Path, two: Path) -> bool:
    """Whether two files hold the same bytes."""
    return one.stat().st_size == two.stat().st_size and hash_file(one) == hash_file(two)
