"""What a provider's pictures of a suite say together: copies of training pictures, collapse, drift, aesthetics.

Whatever is found of a picture or of a prompt's seeds is remembered, so that a second look costs nothing. Only drift
needs pictures of its own: prompts about others with the LoRA and without it, drawn where a suite or a promotion asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from harness.config.profile import Profile, merge_vocabulary
from harness.core.arrays import Floats
from harness.core.errors import HarnessError
from harness.core.under_test import LoraUnderTest
from harness.core.values import BASE, Case, CaseResult, Job, Outcome, SetScore, Suite, Trait, digest, to_record
from harness.engine.gates import Control, lora_of, plan_controls
from harness.engine.plan import Step, plan_step
from harness.engine.resources import Resources
from harness.judging.following import CONTROLS
from harness.judging.foreign import UNLIKE, is_unlike
from harness.models.embeddings import open_picture
from harness.scoring.metrics.aesthetics import compare_aesthetics
from harness.scoring.metrics.copying import Copies, Nearest, TrainSet, gather_copies, tell_copies
from harness.scoring.metrics.diversity import LEAST, Diversity, PromptPictures, measure_spread
from harness.scoring.metrics.drift import Drift, unrelated_prompts
from harness.scoring.metrics.response import measure_response
from harness.store import Store

VERSION = 1  # of what is remembered: raise it, and copies and spreads are looked for anew
WORK = 900  # pictures times training pictures that are held against each other; about 4 s of one core
LEAST_LOOKED = 24  # pictures that are looked at, however many training pictures there are
PAIRS = 12  # copies that the report shows side by side
STRANGERS, SEEDS = 6, 2  # prompts about others and seeds of each: 24 pictures, 12 of them the same for every LoRA

Results = Mapping[str, Sequence[CaseResult]]
Sets = dict[str, SetScore]


@runtime_checkable
class SetScorer(Protocol):
    """A scorer that can say more than single pictures do; `harness.scoring.metrics.Scorer` is one."""

    identity: str

    def train_set(self) -> TrainSet | None: ...

    def held_set(self) -> TrainSet | None: ...

    def embed(self, pictures: Sequence[bytes]) -> Floats: ...

    def drift(self, pairs: Mapping[str, tuple[Sequence[bytes], Sequence[bytes]]]) -> Drift | None: ...


@dataclass(frozen=True)
class ReceivedPicture:
    """One picture that came."""

    case: str
    seed: int
    image: str  # SHA-256


@dataclass(frozen=True)
class Table:
    """Where pictures are looked at: the store that holds them, and who sees."""

    store: Store
    scorer: SetScorer

    def read(self, shots: Sequence[ReceivedPicture]) -> list[bytes]:
        return [self.store.image(shot.image) for shot in shots]

    def embed(self, shots: Sequence[ReceivedPicture]) -> Floats:
        return self.scorer.embed(self.read(shots))

    def key(self, *parts: Any) -> str:
        """Of something remembered: it holds as long as scorer and references stay what they are."""
        return digest([VERSION, self.scorer.identity, *parts])


@dataclass(frozen=True)
class ExtraSamples:
    """What a gate's verdict needs beside the pictures of its cases."""

    controls: Sequence[Control] = ()  # cases with the LoRA turned off
    strangers: Sequence[Control] = ()  # prompts about others with the LoRA and without it, where drift is asked for

    @property
    def steps(self) -> list[Step]:
        """What is to be drawn besides the plan."""
        return [*(c.off for c in self.controls), *(step for c in self.strangers for step in (c.tested, c.off))]


def plan_extras(resources: Resources, steps: Sequence[Step], under_test: LoraUnderTest) -> ExtraSamples:
    """What one gate provider's verdict needs beside its steps, with this LoRA under test."""
    return ExtraSamples(plan_controls(resources, steps, under_test), plan_unrelated(resources, steps, under_test))


def measure_sets(
    resources: Resources, suite: Suite, provider: str, results: Results, strangers: Sequence[Control] = ()
) -> Sets:
    """All of one gate provider; {} for a scorer that sees single pictures only, or where nothing was drawn."""
    open_cases = {case.id for case in suite.cases if case.is_open}  # feedback reads what is found here
    results = {name: [item for item in items if item.job.case in open_cases] for name, items in results.items()}
    scorer, own = resources.scoring.scorer(suite), results.get(provider, ())
    if not isinstance(scorer, SetScorer) or not any(result.scored for result in own):
        return {}
    table, wanted = Table(resources.findings, scorer), [n for n in ("copy", "diversity") if suite.alarm(n) != "off"]
    finding = [find_set_copies(table, own)] if "copy" in wanted else []
    if "diversity" in wanted:
        base = results.get(BASE) or stored_base(resources, suite, own) if enough_seeds(own) else ()
        finding.append(find_diversity(table, own, base))
    if suite.alarm("response") != "off":
        finding.append(find_response(table, provider, results))
    finding += [check_strangers(table, strangers, resources)] if suite.alarm("drift") != "off" else []
    finding += [gain] if (gain := find_gain(own, results.get(BASE, ()))) else []
    return {score.metric: score for score in finding}


def shots_of(results: Sequence[CaseResult]) -> list[ReceivedPicture]:
    """The pictures of some results, prompt by prompt."""
    return [
        ReceivedPicture(result.job.case, sample.seed, sample.image)
        for result in results
        for sample in result.samples
        if sample.outcome is Outcome.OK and sample.image
    ]


# --- copies -----------------------------------------------------------------------------------------------------------


def find_set_copies(table: Table, results: Sequence[CaseResult]) -> SetScore:
    """Whether pictures are references drawn again, and which of which: training pictures, and held-out ones."""
    shots = shots_of(results)
    prompts = {result.job.case: result.prompt_id for result in results}
    key = table.key("copies", "splits", [[to_record(shot), prompts[shot.case]] for shot in shots])
    known = table.store.memo("copies", key)
    if known is not None:
        return SetScore(**known)
    train, held = table.scorer.train_set(), table.scorer.held_set()
    if train is None:
        return SetScore("copy", "not judged: no picture of the references is for training", judged=False)
    found, details = search_copies(table, train, shots, prompts)
    every = [found]
    if held is not None:
        leaked, about = search_copies(table, held, shots, prompts)
        every.append(leaked)
        details["held_out"] = {name: item for name, item in about.items() if name != "nearest"}
    details["widespread"] = any(copies.widespread for copies in every)
    alarm = any(copies.alarm for copies in every)
    result = SetScore("copy", tell_copies(every), alarm, details=to_record(details))
    table.store.put_memo("copies", key, to_record(result))
    return result


def search_copies(
    table: Table, known: TrainSet, shots: Sequence[ReceivedPicture], prompts: Mapping[str, str]
) -> tuple[Copies, dict[str, object]]:
    """What pictures copy of one split of the references, and the same as plain data.

    Args:
        prompts: each case to the one under whose id its prompt counts.
    """
    each = look_at(table, known, shots)
    normal, counted = normal_likeness(table, known), [prompts[shot.case] for shot in shots]
    copies = gather_copies(each, len(shots), normal, counted, known.split)
    shown = copies.found[:PAIRS] or sorted(each.items(), key=lambda item: -item[1].lines)[:1]
    sources = Counter(nearest.name for _, nearest in copies.found)
    return copies, {
        "pictures": copies.pictures,
        "looked": len(each),
        "copies": len(copies.found),
        "share": copies.share,
        "prompts": copies.prompts,
        "normal": copies.normal,
        "alarm": copies.alarm,
        "sources": dict(sources.most_common()),
        "pairs": [pair_record(shots[place], nearest) for place, nearest in shown],
        "nearest": {shots[place].image: near_record(nearest) for place, nearest in each.items()},
    }


def look_at(table: Table, train: TrainSet, shots: Sequence[ReceivedPicture]) -> dict[int, Nearest]:
    """Place to the nearest training picture, of the pictures that the embeddings say are nearest to any."""
    vectors = table.embed(shots)
    most = max(LEAST_LOOKED, WORK // len(train.paths))
    places = list(range(len(shots)))
    if train.vectors is not None:
        nearness = (vectors @ train.vectors.T).max(1)
        places.sort(key=lambda place: -nearness[place])
    results: dict[int, Nearest] = {}
    for place in places[:most]:
        key = table.key(*name_of(train, "copy"), shots[place].image)
        known = table.store.memo("copy", key)
        if known is None:
            picture = open_picture(table.store.image(shots[place].image))
            known = to_record(train.nearest(picture, vectors[place]))
            table.store.put_memo("copy", key, known)
        results[place] = Nearest(**known)
    return results


def normal_likeness(table: Table, train: TrainSet) -> float | None:
    """How like a training picture the likest held-out one is: what a new picture may be."""
    key = table.key(*name_of(train, "normal"))
    known = table.store.memo("copy", key)
    if known is None:
        known = [train.normal]
        table.store.put_memo("copy", key, known)
    normal: float | None = known[0]
    return normal


def name_of(known: TrainSet, kind: str) -> tuple[str, ...]:
    """Under what name something is remembered; that of the train pictures is older than that of the held-out ones."""
    return (kind,) if known.split == "train" else (kind, known.split)


def pair_record(shot: ReceivedPicture, nearest: Nearest) -> dict[str, object]:
    """A picture beside the training picture that it is nearest to, both by their hashes."""
    record = {name: item for name, item in to_record(nearest).items() if name != "sha"}
    return {"case": shot.case, "seed": shot.seed, "image": shot.image, "training": nearest.sha, **record}


def near_record(nearest: Nearest) -> dict[str, object]:
    """The same of any picture, in short: the training picture's hash and name, and how like it is."""
    return {"to": nearest.sha, "name": nearest.name, "lines": round(nearest.lines, 3), "copied": nearest.copied}


# --- diversity --------------------------------------------------------------------------------------------------------


def enough_seeds(results: Sequence[CaseResult]) -> bool:
    """Whether any prompt has the seeds that collapse can be seen in."""
    return any(len(result.scored) >= LEAST for result in results)


def find_diversity(table: Table, own: Sequence[CaseResult], base: Sequence[CaseResult] = ()) -> SetScore:
    """Whether seeds give different pictures, beside the base's at the same prompts and seeds where it has them all."""
    most = max((len(result.scored) for result in own), default=0)
    if most < LEAST:
        return SetScore("diversity", f"not judged: {most} seeds a prompt, {LEAST} are needed", judged=False)
    groups = {result.prompt_id: shots_of([result]) for result in own if len(result.scored) >= LEAST}
    theirs = {result.prompt_id: {shot.seed: shot for shot in shots_of([result])} for result in base}
    usual = {
        case: [theirs[case][shot.seed] for shot in shots]
        for case, shots in groups.items()
        if {shot.seed for shot in shots} <= theirs.get(case, {}).keys()
    }
    results = Diversity(*({case: spread_of(table, shots) for case, shots in each.items()} for each in (groups, usual)))
    return SetScore("diversity", results.sentence, results.alarm, details=results.record)


def spread_of(table: Table, shots: Sequence[ReceivedPicture]) -> PromptPictures:
    """How much the pictures of one prompt differ."""
    key = table.key("spread", [shot.image for shot in shots])
    known = table.store.memo("spread", key)
    if known is None:
        known = to_record(measure_spread(table.read(shots), table.embed(shots)))
        table.store.put_memo("spread", key, known)
    return PromptPictures(**known)


def stored_base(resources: Resources, suite: Suite, own: Sequence[CaseResult]) -> list[CaseResult]:
    """The base's pictures of the same prompts and seeds, where an earlier run has drawn them all; nothing is drawn."""
    if BASE not in resources.profile.providers:
        return []
    try:
        seeds = {result.job.case: tuple(sample.seed for sample in result.scored) for result in own}
        base = resources.provider(BASE)
        jobs = [(Job(suite.path.as_posix(), case, BASE), suite.case(case)) for case in seeds]
        steps = [plan_step(suite, case, job, base, seeds[case.id]) for job, case in jobs]
    except HarnessError:  # a profile's base may be anything; without it diversity stands alone
        return []
    known = resources.store.samples([request.key for step in steps for request in step.requests])
    drawn = [(step, [known.get(request.key) for request in step.requests]) for step in steps]
    return [step.with_samples(sample for sample in samples if sample) for step, samples in drawn]


# --- response ---------------------------------------------------------------------------------------------------------


def find_response(table: Table, provider: str, results: Results) -> SetScore:
    """Whether pictures change with the prompt, as those without the LoRA do."""
    control = next((name for name in CONTROLS if any(result.scored for result in results.get(name, ()))), "")
    if not control or provider in CONTROLS:
        return SetScore("response", f"not judged: it takes {' or '.join(CONTROLS)} in the run", judged=False)
    if is_unlike(results[provider], results[control]):
        return SetScore("response", f"not judged: {UNLIKE.format(control)}", judged=False)
    own, usual = (by_prompt(table, results[name]) for name in (provider, control))
    found = measure_response(own, usual, control)
    return SetScore("response", found.sentence, found.alarm, not found.doubt, details=found.record)


def by_prompt(table: Table, results: Sequence[CaseResult]) -> dict[str, Floats]:
    """The embeddings of each prompt's pictures; cases that ask for the same are one prompt, under the first's id."""
    shots: dict[str, list[ReceivedPicture]] = {}
    for result in results:
        shots.setdefault(result.prompt_id, []).extend(shots_of([result]))
    return {case: table.embed(own) for case, own in shots.items() if own}


# --- aesthetics -------------------------------------------------------------------------------------------------------


def find_gain(own: Sequence[CaseResult], base: Sequence[CaseResult]) -> SetScore | None:
    """How much more pleasing the pictures are than the base's; never an alarm. None where nothing rates pictures."""
    if not any("aesthetics" in sample.scores for result in own for sample in result.scored):
        return None
    gain = compare_aesthetics(own, base)
    if gain is None:
        text = "not compared: the base's pictures of the same prompts and seeds are not in this run"
        return SetScore("aesthetics", text, judged=False)
    return SetScore("aesthetics", gain.sentence, details=gain.record)


# --- drift ------------------------------------------------------------------------------------------------------------


def stranger_cases(suite: Suite, profile: Profile, traits: Sequence[Trait]) -> list[Case]:
    """Prompts about others as cases that no suite has."""
    vocabulary = merge_vocabulary(profile.vocabulary, suite.vocabulary)
    prompts = unrelated_prompts(vocabulary, {trait.category: trait.value for trait in traits}, STRANGERS)
    return [Case(suite.name, f"stranger-{place}", prompt) for place, prompt in enumerate(dict.fromkeys(prompts))]


def plan_unrelated(resources: Resources, steps: Sequence[Step], under_test: LoraUnderTest) -> list[Control]:
    """Prompts about others with the LoRA of a gate provider and without it, where the suite asks for drift."""
    first = next((step for step in steps if step.requests), None)
    if first is None or first.provider is None or first.suite.alarm("drift") == "off":
        return []
    lora, suite = lora_of(first, under_test), first.suite
    if lora is None or not lora.strength:
        return []
    with resources.timed("score"), resources.scoring.lock:
        try:
            cases = stranger_cases(suite, resources.profile, resources.scoring.scorer(suite).traits())
        except HarnessError:  # references that cannot be read are complained of where pictures are scored
            return []
    off, seeds = resources.provider(first.job.provider, replace(lora, strength=0.0)), suite.seeds(SEEDS)
    jobs = [(case, Job(first.job.path, case.id, first.job.provider)) for case in cases]
    return [
        Control(*(plan_step(suite, case, job, provider, seeds) for provider in (first.provider, off)))
        for case, job in jobs
    ]


def check_strangers(table: Table, controls: Sequence[Control], resources: Resources) -> SetScore:
    """What the LoRA did to the prompts of `plan_strangers`."""

    def result(step: Step) -> CaseResult:
        known = [resources.drawer.samples.get(request.key) for request in step.requests]
        return step.with_samples(sample for sample in known if sample)

    on, off = ([result(getattr(control, name)) for control in controls] for name in ("tested", "off"))
    prompts = {control.tested.case.id: control.tested.case.prompt for control in controls}
    return find_drift(table, prompts, on, off)


def find_drift(
    table: Table, prompts: Mapping[str, str], on: Sequence[CaseResult], off: Sequence[CaseResult]
) -> SetScore:
    """What turning the LoRA on changed in pictures of others.

    Args:
        prompts: by case id.
        on: with the LoRA; `off`: without it.
    """
    both = [{(shot.case, shot.seed): shot for shot in shots_of(results)} for results in (on, off)]
    pairs = {
        prompt: tuple(
            table.read([shots[pair] for pair in sorted(both[0].keys() & both[1].keys()) if pair[0] == case])
            for shots in both
        )
        for case, prompt in prompts.items()
    }
    result = table.scorer.drift({prompt: (each[0], each[1]) for prompt, each in pairs.items()})
    if result is None:
        text = "not judged: it takes a LoRA, pictures with it and without it, and references unlike the impostors"
        return SetScore("drift", text, judged=False)
    return SetScore("drift", result.sentence, result.alarm, details=result.record)
