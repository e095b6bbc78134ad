"""`harness references check`: what is wrong with a set of reference pictures, how far, and what to do about it.

Everything comes with its figure and its bound. What the models at hand cannot judge is listed with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.core.errors import ReferencesError
from harness.core.stats.calibration import LEAST_PICTURES, leave_one_out
from harness.scoring.domain import DomainCheck
from harness.scoring.references.advice import advice_for
from harness.scoring.references.duplicates import DuplicatePair, cluster, find_pairs
from harness.scoring.references.gather import Gathered
from harness.scoring.references.quality import (
    ImageStatistics,
    PictureFault,
    judge_faces,
    judge_look,
    repeated_corner,
    take_look,
)
from harness.scoring.references.skew import consistency, find_skew, odd_looks, variety
from harness.scoring.references.zero_shot import CategorySeen, ZeroShotTagger

FLOOR, GOOD, CEILING = 10, 20, 50  # pictures
PHOTOGRAPHED = 0.3  # share of equal neighbouring pixels: photographs stay below, flat drawings above
FACES_KNOWN = 0.6  # of the pictures in which a face must be found before a missing one means anything
STRANGER = 6.0  # robust standard deviations below the others' likeness
PENALTY = {"serious": 1.0, "warn": 0.5, "note": 0.0}
ORDER = ("serious", "warn", "note")


@dataclass(frozen=True)
class ReferenceFinding:
    """One thing that is wrong, with the pictures it is wrong with."""

    kind: str
    severity: str  # "serious": the set should not be trained on; "warn": worth mending; "note": good to know
    title: str
    pictures: tuple[str, ...]  # relative to the folder; () for the set as a whole
    reason: str  # with the measured figure and its bound
    effect: str  # on the LoRA
    remedy: str
    value: float | None = None
    bound: float | None = None


@dataclass(frozen=True)
class NotJudged:
    """What could not be judged, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class PictureFacts:
    """The figures of one picture; see `quality.ImageStatistics`."""

    name: str
    split: str
    width: int
    height: int
    enlarged: float
    lost: float
    blur: float
    highlight: float
    contrast: float
    entropy: float
    faces: int | None  # None: not judged


@dataclass(frozen=True)
class Audit:
    """All that was found about one set."""

    name: str
    folder: Path
    kind: str
    size: tuple[int, int]  # of the training
    counts: dict[str, int]  # pictures by split; "" for those outside train/ and held_out/
    findings: tuple[ReferenceFinding, ...]
    not_judged: tuple[NotJudged, ...]
    score: float  # [0, 1]: geometric mean of the parts
    parts: dict[str, float]  # count, distinct, pictures, variety, consistency; only what could be measured
    shares: dict[str, dict[str, float]] = field(default_factory=dict)  # category to value to share of the pictures
    pictures: tuple[PictureFacts, ...] = ()

    @property
    def serious(self) -> bool:
        return any(finding.severity == "serious" for finding in self.findings)

    @property
    def spotless(self) -> bool:
        """No finding that asks for anything."""
        return all(finding.severity == "note" for finding in self.findings)


def check_references(
    gathered: Gathered,
    size: tuple[int, int],
    tagger: ZeroShotTagger | None = None,
    blind: str = "no CLIP was asked",
    domain: DomainCheck | None = None,
) -> Audit:
    """Look at every picture and at the set.

    Args:
        size: width and height in pixels at which the trainer works.
        tagger: CLIP's view of exactly the gathered pictures; None: its checks are listed as not judged.
        blind: why there is none.
        domain: whether the models know such pictures, of the readable ones in their order; None: not asked.
    """
    looks, findings = look_at_all(gathered, size)
    alike, gaps = seen_alike(tagger, looks) if tagger else ([], [NotJudged("what CLIP sees", blind)])
    pairs = find_pairs([look.print for look in looks], alike)
    pairs += seen_pairs(tagger, looks, pairs) if tagger else []
    faces = judges_faces(looks)
    say = Speaker(gathered)
    findings += list(count_findings(say, len(looks)))
    findings += list(pair_findings(say, looks, pairs))
    findings += list(picture_findings(say, looks, faces == ""))
    findings += [*set_findings(say, looks, tagger, gathered), *domain_findings(say, looks, domain)]
    if domain and not domain.measured:
        gaps.append(NotJudged("whether the models know such pictures", domain.sentence))
    seen = tagger.seen if tagger else ()
    findings.sort(key=lambda item: (ORDER.index(item.severity), item.kind, item.pictures))
    parts = score_parts(findings, looks, pairs, seen, gathered.kind)
    return Audit(
        name=gathered.name,
        folder=gathered.folder,
        kind=gathered.kind,
        size=size,
        counts=dict(Counter(gathered.pictures.values())),
        findings=tuple(findings),
        not_judged=(*gaps, *unjudged(looks, faces, seen, gathered.kind)),
        score=float(np.prod(list(parts.values())) ** (1 / len(parts))) if parts else 0.0,
        parts=parts,
        shares={item.category: item.shares() for item in seen if not item.reason},
        pictures=tuple(to_facts(gathered, look, faces == "") for look in looks),
    )


@dataclass(frozen=True)
class Speaker:
    """Puts a finding into words for one set."""

    gathered: Gathered

    def say(
        self,
        kind: str,
        severity: str,
        reason: str,
        pictures: Sequence[Path] = (),
        value: float | None = None,
        bound: float | None = None,
    ) -> ReferenceFinding:
        advice = advice_for(kind, self.gathered.kind)
        names = tuple(self.gathered.label(path) for path in pictures)
        return ReferenceFinding(kind, severity, advice.title, names, reason, advice.effect, advice.remedy, value, bound)

    def fault(self, look: ImageStatistics, fault: PictureFault) -> ReferenceFinding:
        return self.say(fault.kind, fault.severity, fault.reason, [look.path], fault.value, fault.bound)


def look_at_all(gathered: Gathered, size: tuple[int, int]) -> tuple[list[ImageStatistics], list[ReferenceFinding]]:
    """Every picture that can be read, and a finding for every one that cannot."""
    say, looks, findings = Speaker(gathered), [], []
    for path, split in gathered.pictures.items():
        try:
            looks.append(take_look(path, split, size))
        except ReferencesError as error:
            findings.append(say.say("unreadable", "serious", str(error), [path]))
    for path in gathered.ignored:
        findings.append(say.say("ignored", "warn", f"{path.suffix} is not read", [path]))
    return looks, findings


# --- the set as a whole -------------------------------------------------------------------------------------------


def count_findings(speaker: Speaker, count: int) -> Iterator[ReferenceFinding]:
    """Ten to fifty pictures, with the reasons in the advice."""
    if count < FLOOR:
        gate = f", and fewer than {LEAST_PICTURES} may not gate" if count < LEAST_PICTURES else ""
        reason = f"{counted(count)} (at least {FLOOR}, better {GOOD}{gate})"
        yield speaker.say("too_few", "serious", reason, value=count, bound=FLOOR)
    elif count > CEILING:
        yield speaker.say("too_many", "warn", f"{counted(count)} (at most {CEILING})", value=count, bound=CEILING)


def counted(count: int) -> str:
    """A number of pictures in words."""
    return "1 picture" if count == 1 else f"{count} pictures"


def pair_findings(
    speaker: Speaker, looks: Sequence[ImageStatistics], pairs: Sequence[DuplicatePair]
) -> Iterator[ReferenceFinding]:
    """One finding a group of equal or near copies, one for every other pair, and one for every copy in both splits.

    A pair is named by its own relation: where a mirror image is known, its original's other copies are not named again.
    """
    links: list[tuple[int, int]] = []
    for kind, severity in (("exact", "serious"), ("near", "warn"), ("mirrored", "warn"), ("seen", "warn")):
        groups = cluster(len(looks), links)
        group_of = {place: group for group in groups for place in group}
        own = [pair for pair in pairs if pair.kind == kind and group_of[pair.first] != group_of[pair.second]]
        links += [(pair.first, pair.second) for pair in own]
        if kind in ("exact", "near"):
            joined = cluster(len(looks), ((pair.first, pair.second) for pair in own))
        else:
            joined = [(pair.first, pair.second) for pair in best_between(own, group_of)]
        for group in joined:
            if len(group) > 1:
                best = max((pair for pair in own if pair.first in group), key=lambda pair: pair.likeness)
                paths = [looks[place].path for place in group]
                yield speaker.say(kind, severity, how_alike(best), paths, best.likeness, best.bound)
    for pair in pairs:
        one, two = looks[pair.first], looks[pair.second]
        if {one.split, two.split} == {"train", "held_out"}:
            word = {"exact": "exact", "near": "near", "mirrored": "mirrored", "seen": "to CLIP"}[pair.kind]
            reason = f"{word} copies in train/ and held_out/: {how_alike(pair)}"
            severity = "warn" if pair.kind == "seen" else "serious"
            yield speaker.say("leak", severity, reason, [one.path, two.path], pair.likeness)


def best_between(pairs: Sequence[DuplicatePair], group_of: Mapping[int, tuple[int, ...]]) -> list[DuplicatePair]:
    """The surest pair between any two groups."""
    results: dict[frozenset[tuple[int, ...]], DuplicatePair] = {}
    for pair in sorted(pairs, key=lambda pair: -pair.likeness):
        results.setdefault(frozenset((group_of[pair.first], group_of[pair.second])), pair)
    return sorted(results.values(), key=lambda pair: (pair.first, pair.second))


def how_alike(pair: DuplicatePair) -> str:
    """What was measured of a pair, with its bound."""
    if pair.kind == "exact":
        return "equal pixels"
    if pair.kind == "seen":
        return f"cosine {pair.likeness:.3f} to CLIP (bound {pair.bound:.3f}, far above all others of this set)"
    return f"edges alike to {pair.likeness:.2f} (bound {pair.bound:g}), hashes {pair.bits} of 64 bits apart"


def set_findings(
    speaker: Speaker, looks: Sequence[ImageStatistics], tagger: ZeroShotTagger | None, gathered: Gathered
) -> Iterator[ReferenceFinding]:
    """Marks, skew, strangers, odd ones of a style, captions."""
    for corner, alike in repeated_corner(looks).items():
        reason = f"the {corner} corner's edges agree to {alike:.2f} in half of the pictures or more"
        yield speaker.say("watermark", "serious", reason, value=alike)
    captioned = sum(look.path in gathered.captions for look in looks)
    if 0 < captioned < len(looks):
        bare = [look.path for look in looks if look.path not in gathered.captions]
        yield speaker.say("some_captions", "note", f"{captioned} of {len(looks)} have one", bare, captioned, len(looks))
    if gathered.kind == "style":
        for look, figure, far in odd_looks(looks):
            reason = f"{figure} {far:.1f} robust standard deviations from the set's middle (at most 6)"
            yield speaker.say("other_look", "warn", reason, [look.path], far, 6.0)
    if tagger is None:
        return
    for skew in find_skew(tagger.seen, gathered.kind):
        reason = f"{skew.category} is {skew.value!r} in {skew.share:.0%} of the pictures (bound {skew.bound:.0%})"
        yield speaker.say(skew.kind, skew.severity, reason, value=skew.share, bound=skew.bound)
    if gathered.kind == "character":
        for path, far in strangers(tagger):
            reason = f"{far:.1f} robust standard deviations less like the others than they are (at most {STRANGER:g})"
            yield speaker.say("not_the_subject", "warn", reason, [path], far, STRANGER)


def domain_findings(
    speaker: Speaker, looks: Sequence[ImageStatistics], domain: DomainCheck | None
) -> Iterator[ReferenceFinding]:
    """Pictures that the profile's models do not know: serious where they are most, because no score means anything."""
    if domain is None or not domain.count:
        return
    outside = [look.path for look, out in zip(looks, domain.outside, strict=False) if out]
    severity = "serious" if domain.blind else "warn"
    yield speaker.say("outside", severity, domain.sentence, outside, domain.count / len(domain.outside), 0.5)


def strangers(tagger: ZeroShotTagger) -> Iterator[tuple[Path, float]]:
    """Pictures far less like the others than those among themselves, with the distance."""
    if len(tagger.paths) < LEAST_PICTURES:
        return
    alike = leave_one_out(tagger.vectors @ tagger.vectors.T)
    middle = float(np.median(alike))
    spread = max(1.4826 * float(np.median(np.abs(alike - middle))), 0.02)
    for path, value in zip(tagger.paths, alike, strict=True):
        if (far := (middle - float(value)) / spread) > STRANGER:
            yield path, far


def seen_alike(
    tagger: ZeroShotTagger, looks: Sequence[ImageStatistics]
) -> tuple[list[tuple[int, int]], list[NotJudged]]:
    """Pairs that CLIP may take for copies, as places among the looks."""
    pairs, _, reason = tagger.alike_pairs()
    if reason:
        return [], [NotJudged("near duplicates by embedding", reason)]
    place = {look.path: number for number, look in enumerate(looks)}
    return [(place[tagger.paths[a]], place[tagger.paths[b]]) for a, b, _ in pairs], []


def seen_pairs(
    tagger: ZeroShotTagger, looks: Sequence[ImageStatistics], known: Sequence[DuplicatePair]
) -> list[DuplicatePair]:
    """Pairs that CLIP alone takes for copies: far more alike to it than two pictures of this set are."""
    place = {look.path: number for number, look in enumerate(looks)}
    result, bound = tagger.standing_out()
    messages = {(pair.first, pair.second) for pair in known}
    pairs = []
    for a, b, cosine in result:
        first, second = sorted((place[tagger.paths[a]], place[tagger.paths[b]]))
        if (first, second) not in messages:
            bits = (looks[first].print.hash ^ looks[second].print.hash).bit_count()
            pairs.append(DuplicatePair(first, second, "seen", cosine, bits, bound))
    return pairs


# --- single pictures ----------------------------------------------------------------------------------------------


def picture_findings(speaker: Speaker, looks: Sequence[ImageStatistics], faces: bool) -> Iterator[ReferenceFinding]:
    """What each picture's own figures say against it."""
    for look in looks:
        faults = judge_look(look)
        if speaker.gathered.kind == "style":  # a style may be dark, flat, soft, and show no subject at all
            faults = [fault for fault in faults if fault.kind not in ("small_subject", "backlit")]
        elif faces:
            faults += judge_faces(look)
        for fault in faults:
            yield speaker.fault(look, fault)


def judges_faces(looks: Sequence[ImageStatistics]) -> str:
    """Why the face cascade's word does not count for this set, or ""."""
    if not looks:
        return "no picture could be read"
    flat = float(np.median([look.flat for look in looks]))
    share = float(np.mean([bool(look.faces) for look in looks]))
    if flat > PHOTOGRAPHED:
        return f"the face cascade knows photographed faces; {flat:.0%} of these pictures' pixels equal their neighbours"
    if share < FACES_KNOWN:
        return f"the face cascade finds a face in {share:.0%} of the pictures (at least {FACES_KNOWN:.0%})"
    return ""


def to_facts(gathered: Gathered, look: ImageStatistics, faces: bool) -> PictureFacts:
    """The figures that people may want to see."""
    return PictureFacts(
        gathered.label(look.path),
        look.split,
        look.width,
        look.height,
        look.enlarged,
        look.lost,
        look.blur,
        look.highlight,
        look.contrast,
        look.entropy,
        len(look.faces) if faces else None,
    )


# --- what is not judged, and the score ----------------------------------------------------------------------------


def unjudged(
    looks: Sequence[ImageStatistics], faces: str, seen: Sequence[CategorySeen], kind: str
) -> Iterator[NotJudged]:
    """What nothing at hand can measure."""
    yield NotJudged(
        "watermarks and text",
        "no reader of text is at hand; only a mark that most of five or more pictures bear in the same corner is found",
    )
    for item in seen:
        if item.reason:
            yield NotJudged(f"{item.category} everywhere the same", item.reason)
    if len(looks) == 1:
        yield NotJudged("variety", "one picture has no other to differ from")
    if kind == "style":
        return
    yield NotJudged("closed eyes", "no model at hand tells open eyes from closed ones")
    yield NotJudged("steep and wide-angle views", "no model at hand measures the camera's angle or its lens")
    if faces:
        for what in ("several people", "hidden or shadowed faces", "cut-off heads"):
            yield NotJudged(what, faces)
        plain = sum(look.subject is not None for look in looks)
        if plain < len(looks):
            reason = f"the background is plain enough in {plain} of {len(looks)} pictures only, and {faces}"
            yield NotJudged("subject too small", reason)


def score_parts(
    findings: Sequence[ReferenceFinding],
    looks: Sequence[ImageStatistics],
    pairs: Sequence[DuplicatePair],
    seen: Sequence[CategorySeen],
    kind: str,
) -> dict[str, float]:
    """The parts of the set's score, each in [0, 1]; what could not be measured is left out."""
    if not looks:
        return {"count": 0.0}
    groups = len(cluster(len(looks), ((pair.first, pair.second) for pair in pairs)))
    worst: dict[str, float] = {}
    for finding in findings:
        if finding.kind not in ("exact", "near", "mirrored", "seen", "leak", "some_captions"):
            for name in finding.pictures:
                worst[name] = max(worst.get(name, 0.0), PENALTY[finding.severity])
    whole = [PENALTY[item.severity] for item in findings if item.kind == "watermark"]
    parts = {
        "count": min(1.0, groups / GOOD, CEILING / groups),
        "distinct": groups / len(looks),
        "pictures": max(0.0, 1 - sum(worst.values()) / max(len(worst), len(looks)) - 0.5 * sum(whole)),
    }
    even = variety(seen, kind) if len(looks) > 1 else None
    if even is not None:
        parts["variety"] = even
    if kind == "style" and len(looks) > 1:
        parts["consistency"] = consistency(looks)
    return parts
