"""The suite's verdict on a gate provider: controls with the LoRA off, the baseline, and what the judge says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.core.errors import LoraError
from harness.core.under_test import LoraUnderTest
from harness.core.values import CaseResult, Lora, SetScore, Suite, Verdict
from harness.engine.plan import Step, plan_step
from harness.engine.resources import Resources
from harness.judging.judge import judge_gate
from harness.models.lora.header import read_header
from harness.scoring.metrics.applied import Applied

CONTROLS = 2  # cases whose first seed is drawn with the LoRA off as well


@dataclass(frozen=True)
class Control:
    """A case drawn with the LoRA under test and without it."""

    tested: Step
    off: Step


def lora_of(step: Step, under_test: LoraUnderTest) -> Lora | None:
    """The LoRA behind a step, also at strength 0; None for a provider that uses none."""
    uses = any(request.lora for request in step.requests) or getattr(step.provider, "use", "") == "lora"
    return under_test.of(step.suite, step.job.provider) if uses else None


def plan_controls(resources: Resources, steps: Sequence[Step], under_test: LoraUnderTest) -> list[Control]:
    """The first cases of one gate provider once more, one seed each, at strength 0."""
    controls = []
    for step in steps[:CONTROLS]:
        lora = lora_of(step, under_test)
        if lora is None or not step.requests or not lora.strength:
            continue
        off = resources.provider(step.job.provider, replace(lora, strength=0.0))
        controls.append(Control(step, plan_step(step.suite, step.case, step.job, off, step.seeds[:1])))
    return [control for control in controls if control.off.requests]


def check_controls(resources: Resources, controls: Sequence[Control], step: Step) -> Applied | None:
    """Whether the LoRA was applied; None when none is under test, or its pictures could not be had."""
    lora = lora_of(step, resources.under_test)
    if lora is None or step.error:
        return None
    pairs = []
    for control in controls:
        images = [resources.drawer.samples.get(each.requests[0].key) for each in (control.tested, control.off)]
        if all(sample and sample.image for sample in images):
            on, off = (resources.store.image(sample.image) for sample in images if sample and sample.image)
            pairs.append((on, off))
    if lora.strength and not pairs:
        return None  # the missing pictures are complained of by themselves
    return resources.scoring.scorer(step.suite).applied(pairs, count_keys(lora), lora)


def count_keys(lora: Lora) -> int | None:
    """How many weights the file brings; the provider refuses a file of which any has no place in the model."""
    try:
        return len(read_header(lora.path).keys)
    except LoraError:
        return None


def judge_provider(
    resources: Resources,
    suite: Suite,
    provider: str,
    results: Mapping[str, Sequence[CaseResult]],
    applied: Applied | None,
    lora: Lora | None,
    sets: Mapping[str, SetScore] | None = None,
) -> Verdict:
    """The gate's verdict from everything the run has."""
    own = results.get(provider, ())
    scorer, calibration, evidence = resources.scoring.scorer(suite), None, None
    if any(result.scored for result in own):  # without a picture there is nothing that the references could explain
        calibration = scorer.calibration()
        evidence = scorer.evidence(provider, own, lora, applied)
    return judge_gate(
        suite,
        provider,
        own,
        others={name: items for name, items in results.items() if name != provider},
        baseline=baseline_of(resources, suite, provider, own),
        applied=applied,
        calibration=calibration,
        evidence=evidence,
        sets=sets,
    )


def baseline_of(
    resources: Resources, suite: Suite, provider: str, results: Sequence[CaseResult]
) -> list[CaseResult] | None:
    """The provider's results in the baseline that binds this run; None without one."""
    result = resources.baselines.of(suite)
    if result is None or result.baseline is None or not result.binding:
        return None
    return result.baseline.results(suite, provider, results)
