"""Gathers the inputs of `judging.causes.lora`: the LoRA's own record, its strength, pictures and references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.config.profile import extend_vocabulary, merge_vocabulary
from harness.core.errors import HarnessError
from harness.core.stats import paired
from harness.core.values import WITHOUT_LORA, CaseResult, Lora, SetScore, digest
from harness.engine.context import ImproveContext
from harness.engine.set_metrics import SetScorer, Table, find_diversity, find_set_copies
from harness.judging.causes.lora import DiagnosticInputs, Making, Study
from harness.judging.leaderboard import interval_of
from harness.judging.scores import values_by_metric, values_of
from harness.models.embeddings import Embeddings
from harness.models.identity import library_class
from harness.models.lora.export import LoraFacts
from harness.models.lora.train_config import TrainConfig
from harness.scoring.references import References, load_references
from harness.scoring.references.duplicates import cluster, find_pairs, take_fingerprint
from harness.scoring.references.skew import HARMLESS
from harness.scoring.references.zero_shot import VERSION, CategorySeen, ZeroShotTagger, named_values

CLOSE = 8  # of 64 bits of their perceptual hashes: pictures that are worth a closer look
LEAST = 6  # train pictures: fewer share a value by chance


@dataclass(frozen=True)
class Readings:
    """What is known of each train picture."""

    study: Study
    seen: Mapping[str, CategorySeen]  # scene category to what CLIP reads, where it reads it reliably
    names: tuple[str, ...]  # files, in the order of `seen`


def gather_diagnostic_inputs(
    context: ImproveContext,
    lora: Lora | None,
    results: Sequence[CaseResult],
    full: TrainConfig,
    facts: LoraFacts | None,
    study: Study | None,
) -> DiagnosticInputs:
    """All that is known about a LoRA under test.

    Args:
        results: its pictures of open cases.
        full: what the profile would do with these train pictures.
        facts: what the LoRA's file says of itself.
    """
    base = next((context.results[name] for name in WITHOUT_LORA if context.results.get(name)), ())
    values = values_by_metric(results, ("clip", "prompt", "ssim"))
    bounds = {name: bound.fail for name, bound in context.suite.thresholds.items() if bound.fail is not None}
    return DiagnosticInputs(
        strength=lora.strength if lora else None,
        making=making_of(full, facts),
        study=study or Study(),
        sets=sets_of(context, results),
        over_base=paired(values["clip"], values_of(base, "clip")) if base else None,
        bounds=bounds,
        clip=interval_of(values["clip"]),
        prompt=interval_of(values["prompt"]),
        ssim=interval_of(values["ssim"]),
    )


def making_of(full: TrainConfig, facts: LoraFacts | None) -> Making | None:
    """The LoRA's own record beside the profile; None for a file that does not tell."""
    known = facts.config if facts else None
    if facts is None or known is None or not facts.steps:
        return None
    samples = facts.steps * known.samples / (full.steps * full.samples)
    prior = known.prior_weight / full.prior_weight if full.prior_weight else 1.0
    words = f"{facts.steps} steps of {known.samples} at {known.learning_rate:g}"
    return Making(samples, known.learning_rate / full.learning_rate, prior, words)


def sets_of(context: ImproveContext, results: Sequence[CaseResult]) -> dict[str, SetScore]:
    """Copies and collapse; remembered, so a second look costs nothing."""
    scorer = context.scorer
    if not isinstance(scorer, SetScorer) or not any(result.scored for result in results):
        return {}
    table, finding = Table(context.store, scorer), dict[str, SetScore]()
    if context.suite.alarm("copy") != "off":
        finding["copy"] = find_set_copies(table, results)
    if context.suite.alarm("diversity") != "off":
        finding["diversity"] = find_diversity(table, results)
    return finding


# --- the train pictures -------------------------------------------------------------------------------------------


def study_pictures(context: ImproveContext) -> Readings | None:
    """Look at the train pictures one by one and together; None where nobody here can see more than single pictures.

    Held-out pictures only say who the subject is: no training learns from them.
    """
    scorer, subject = context.scorer, context.suite.subject
    if not isinstance(scorer, SetScorer):
        return None
    references = load_references(subject)
    names = tuple(path.name for path in references.train)
    try:
        seen = read_scene(context, references)
        likeness = stand_of(context, scorer, references)
    except HarnessError:  # without a model the pictures themselves still tell what is a copy
        seen, likeness = {}, {}
    groups = find_groups(references.train)
    once = tuple(group[0] for group in groups)
    repeated = {name for group in groups for name in group[1:]}
    single = [place for place, name in enumerate(names) if name not in repeated]
    study = Study(
        likeness if subject.kind == "character" else {},
        [group for group in groups if len(group) > 1],
        len(names),
        {category: commonest(item, single) for category, item in seen.items()} if len(once) >= LEAST else {},
        silent_shares(context, seen, references, single),
        frozenset(HARMLESS),
    )
    return Readings(study, seen, names)


def stand_of(context: ImproveContext, scorer: SetScorer, references: References) -> dict[str, float]:
    """Each train picture between strangers (0) and the held-out pictures (1)."""
    calibration = context.scorer.calibration()
    if calibration is None or references.leave_one_out or calibration.clip.genuine <= calibration.clip.impostor:
        return {}
    train, held_out = ([path.read_bytes() for path in paths] for paths in (references.train, references.held_out))
    vectors, gallery = scorer.embed(train), scorer.embed(held_out)
    own, others = calibration.clip.genuine, calibration.clip.impostor
    stands = ((vectors @ gallery.T).mean(1) - others) / (own - others)
    return {path.name: round(float(value), 3) for path, value in zip(references.train, stands, strict=True)}


def read_scene(context: ImproveContext, references: References) -> dict[str, CategorySeen]:
    """The categories of the scene that CLIP reads reliably in the train pictures."""
    profile, models = extend_vocabulary(context.profile, context.suite), context.models
    identity = [VERSION, models.model_hash(profile.models.clip), library_class("transformers", "pillow")]
    embeddings = Embeddings(models.clip, context.store, digest(identity))
    captions = {path: text for path, text in references.captions.items() if path in references.train}
    tagger = ZeroShotTagger(embeddings, profile.vocabulary, profile.templates, references.train, captions)
    scene = [name for name, words in profile.vocabulary.items() if not words.identity]
    results = {name: tagger.read(name) for name in scene}
    return {name: item for name, item in results.items() if not item.reason}


def find_groups(paths: Sequence[Path]) -> list[list[str]]:
    """The pictures by what they show: copies of one another together, in the order of the files.

    Of forty copies each is compared with the first one alone: all pairs of them would take minutes.
    """
    prints = [take_fingerprint(path) for path in paths]
    firsts, links = list[int](), list[tuple[int, int]]()
    for place, result in enumerate(prints):
        near = [first for first in firsts if (prints[first].hash ^ result.hash).bit_count() <= CLOSE]
        twin = next((first for first in near if find_pairs([prints[first], result])), None)
        if twin is None:
            firsts.append(place)
        else:
            links.append((twin, place))
    links += [(firsts[pair.first], firsts[pair.second]) for pair in find_pairs([prints[place] for place in firsts])]
    return [[paths[place].name for place in group] for group in cluster(len(paths), links)]


def commonest(item: CategorySeen, places: Sequence[int]) -> tuple[str, float]:
    """The most frequent value among some of the pictures, and its share."""
    some = replace(item, values=tuple(item.values[place] for place in places))
    return next(iter(some.shares().items()))


def silent_shares(
    context: ImproveContext, seen: Mapping[str, CategorySeen], references: References, places: Sequence[int]
) -> dict[str, float]:
    """WorldScene category to the share of captions that name no value of it."""
    vocabulary = merge_vocabulary(context.profile.vocabulary, context.suite.vocabulary)
    captions = [references.captions.get(references.train[place], "") for place in places]
    return {
        category: float(np.mean([not named_values(caption, vocabulary[category]) for caption in captions]))
        for category in seen
        if captions
    }
