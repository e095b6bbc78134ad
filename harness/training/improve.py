"""The improve loop: a failing LoRA's feedback becomes a challenger, which is kept only if it is proven better.

A round: plan from feedback over open cases; train; choose checkpoint and strength on open cases; sit the exam on locked
cases with seeds nobody has drawn; promote or refuse. What an exam shows never reaches a plan: a refusal only counts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from harness.engine.context import ImproveContext, ImproveResult, Progress
from harness.errors import EngineError, HarnessError
from harness.feedback import Feedback, feedback
from harness.judge import judge_case, judge_gate, pooled_sds
from harness.references import set_hash
from harness.training.config import TrainConfig, changes, config_for
from harness.training.data import train_pictures
from harness.training.exam import Ground, Ruling, values_of
from harness.training.export import LoraFacts, read_facts
from harness.training.plan import Learner, TrainPlan, plan_from_feedback
from harness.training.registry import promote, rescale
from harness.training.trainer import Trained, train
from harness.values import Case, Decision, Job, Lora, Verdict, digest, hash_file, to_record

CHOICE_CASES = 6  # open cases that a checkpoint or a strength is chosen on, the failing ones first
LAST_CHECKPOINTS = 3  # how many of a run's checkpoints are tried
STRENGTHS = (0.8, 1.2)  # tried beside 1 on the best checkpoint
RESELECTED = (0.8, 1.25)  # times the strength under test, tried before anything is trained
WEAK = 0.5  # a strength below it is a mistake rather than a choice
NEAR = 0.15  # a shortfall in quality that another strength may still close
MEMO = "improve-attempts"


@dataclass(frozen=True)
class Choice:
    """A file, at a strength, with the mean quality it had on the practice cases."""

    lora: Lora
    quality: float


class Cancelled(HarnessError):
    """The run wants to stop."""


def improve(context: ImproveContext) -> ImproveResult:
    """Up to `settings.retrain` rounds, until the open cases pass.

    Failures of a round (a loss that is no number, pictures that cannot be learnt from) end the loop and are in the last
    round's record: a run that cannot retrain still has its verdict. Cancelled: returns what there is.
    """
    champion, told = context.lora, context.feedback
    rounds: list[dict[str, Any]] = []
    promoted: Lora | None = None
    refused = 0
    for number in range(1, context.settings.retrain + 1):
        if context.cancelled():
            break
        round_ = Round(context, number, champion, told, refused)
        try:
            record, winner = round_.run()
        except Cancelled:
            break
        except HarnessError as error:
            if context.cancelled():
                break
            rounds.append(round_.failed(error))
            break
        rounds.append(record)
        if winner is None:
            refused += 1
            continue
        champion = promoted = winner
        refused = 0
        told, failing = review(context, winner, round_.ground)
        record["failing_after"] = list(failing)
        if not told.needs_improvement:
            break
    return ImproveResult(tuple(rounds), promoted)


def review(context: ImproveContext, lora: Lora, ground: Ground) -> tuple[Feedback, tuple[str, ...]]:
    """Feedback over the open cases with a new champion, and the ids of those that still fail.

    The run draws the very same pictures when it judges again, so they cost nothing twice.
    """
    suite, provider, cases = context.suite, context.provider, open_cases(context)
    results = ground.practise(lora, cases, suite.seeds(context.settings.samples))
    everybody = {**context.results, provider: results}
    pooled, calibration = pooled_sds(results), context.scorer.calibration()
    verdicts: dict[Job, Verdict] = {
        result.job: judge_case(suite, case, result, pooled, calibration=calibration)
        for case, result in zip(cases, results, strict=True)
    }
    gate = judge_gate(suite, provider, results, others=everybody, calibration=calibration)
    told = feedback(suite, verdicts, everybody, context.scorer.traits(), gate=gate, provider=provider)
    return told, tuple(job.case for job, verdict in verdicts.items() if verdict.decision is Decision.FAIL)


def open_cases(context: ImproveContext) -> tuple[Case, ...]:
    """The open cases that were submitted for the gate provider."""
    asked = {result.job.case for result in context.results[context.provider]}
    return tuple(case for case in context.suite.cases if case.id in asked and case.split == "open")


class Round:
    """One attempt to replace the champion."""

    def __init__(
        self, context: ImproveContext, number: int, champion: Lora | None, told: Feedback, refused: int
    ) -> None:
        self.context, self.number, self.champion = context, number, champion
        self.feedback, self.refused = told, refused
        # counted over sessions: an exam that was sat once has no fresh seeds for anybody else
        self.attempt = 1 + int(context.store.memo(MEMO, self._suite_key()) or 0)
        self.ground = Ground(context, self.attempt)
        self.started = time.monotonic()
        self.record: dict[str, Any] = {
            "round": number,
            "attempt": self.attempt,
            "suite": context.suite.name,
            "provider": context.provider,
            "champion": self._describe(champion),
            "failing_before": [job.case for job in context.failing] if number == 1 else cases_of(told),
            "promoted": False,
        }

    def run(self) -> tuple[dict[str, Any], Lora | None]:
        """The round's record, and the new champion if there is one."""
        if not self.ground.has_exam:
            raise EngineError("the suite has no locked cases, so nothing can be promoted; mark some `split: locked`")
        challenger = self.reselect()
        if challenger is None:
            plan = self.plan()
            challenger = self.choose(self.train(plan), plan)
        candidate = self.settle(challenger.lora)
        self.ground.enter(candidate)
        ruling = self.ground.examine(candidate, self.champion)
        self.context.store.put_memo(MEMO, self._suite_key(), self.attempt)
        return self.conclude(candidate, ruling)

    # --- the ladder, cheapest first ---------------------------------------------------------------------------------

    def reselect(self) -> Choice | None:
        """The champion at another strength, where that alone may mend it."""
        champion, gap = self.champion, self.quality_gap()
        if champion is None or self.refused or is_short(self.context, champion):
            return None
        weak = champion.strength < WEAK
        if not weak and (gap is None or gap > NEAR):
            return None
        strengths = [1.0] if weak else [champion.strength * factor for factor in RESELECTED]
        now, *tried = [self.practise(replace(champion, strength=value)) for value in (champion.strength, *strengths)]
        best = max(tried, key=lambda choice: choice.quality)
        self.record["choice"] = [self._told(choice) for choice in (now, *tried)]
        if best.quality < now.quality + (gap or 0.0):
            return None
        self.record["plan"] = [f"strength {best.lora.strength:g} instead of {champion.strength:g}: nothing to train"]
        return best

    def plan(self) -> TrainPlan:
        """What to train, from open feedback and the files alone."""
        context, subject = self.context, self.context.suite.subject
        pictures = train_pictures(subject)
        full = config_for(context.profile.training, len(pictures), subject.kind)
        captions = {picture.path.name: picture.caption for picture in pictures}
        learner = Learner(
            subject.trigger, set_hash(picture.path for picture in pictures), context.models.base_hash(), captions
        )
        lora = self.champion.path if self.champion else None
        facts = read_facts(lora) if lora else None
        plan = plan_from_feedback(self.feedback, context.suite, full, learner, lora, facts, self.refused)
        before = (facts.config if facts else None) or full
        self.record |= {"plan": list(plan.reasons), "changes": changes(before, plan.config)}
        start = plan.start_from.name if plan.start_from else ""
        self.record |= {"config": plan.config.to_record(), "start_from": start}
        return plan

    def train(self, plan: TrainPlan) -> Trained:
        """Train the challenger in the store's folder; a run that was killed here goes on here."""
        subject, folder = self.context.suite.subject, challengers(self.context)
        inputs = [plan.config.to_record(), self.attempt, hash_file(plan.start_from) if plan.start_from else ""]
        name = digest(inputs)[:12]
        command = f"pytest {self.context.suite.path.name} --retrain {self.context.settings.retrain}"
        made = train(
            plan.config,
            subject,
            self.context.profile,
            self.context.models,
            folder / f"trained-{name}.safetensors",
            work=folder / f"work-{name}",
            start_from=plan.start_from,
            progress=self.say,
            command=command,
        )
        self.record |= {"steps": made.steps, "loss": [list(point) for point in made.losses]}
        self.record["training_seconds"] = round(made.seconds, 1)
        return made

    def choose(self, made: Trained, plan: TrainPlan) -> Choice:
        """The best of the last checkpoints, then of a few strengths, on open cases with practice seeds."""
        late = [path for path in made.checkpoints if step_of(path) * 2 >= plan.config.steps][-LAST_CHECKPOINTS:]
        tried = [self.practise(Lora(path)) for path in late]
        best = max(reversed(tried), key=lambda choice: choice.quality)
        tried += [self.practise(Lora(best.lora.path, strength)) for strength in STRENGTHS]
        best = max([best, *tried], key=lambda choice: choice.quality)
        self.record["choice"] = [self._told(choice) for choice in tried]
        return best

    def practise(self, lora: Lora) -> Choice:
        """Mean quality on the practice cases; -1 when no picture could be scored."""
        if self.context.cancelled():
            raise Cancelled("stopped")
        values = values_of(self.ground.practise(lora, self.practice_cases()))["quality"]
        return Choice(lora, fmean(values.values()) if values else -1.0)

    def practice_cases(self) -> tuple[Case, ...]:
        """A few open cases, the failing ones first."""
        failing = set(self.record["failing_before"])
        cases = sorted(open_cases(self.context), key=lambda case: case.id not in failing)
        return tuple(cases[:CHOICE_CASES])

    # --- the end ----------------------------------------------------------------------------------------------------

    @property
    def own(self) -> Lora | None:
        """The suite's own champion, when it is what is under test and a new one may take its place."""
        own = self.context.suite.subject.lora
        return own if own and own.strength > 0 and self.context.settings.lora is None else None

    def settle(self, lora: Lora) -> Lora:
        """The file that is examined: the chosen strength goes into its weights.

        So a new champion needs no new strength in the suite, and what is promoted is byte for byte what was examined.
        """
        strength = self.own.strength if self.own else 1.0
        name = digest([hash_file(lora.path), lora.strength, strength])[:12]
        settled = challengers(self.context) / f"challenger-{name}.safetensors"
        return Lora(rescale(lora.path, settled, lora.strength / strength), strength)

    def conclude(self, challenger: Lora, ruling: Ruling) -> tuple[dict[str, Any], Lora | None]:
        """Put a winner in its place, keep a loser aside, and write the round down."""
        reason = "; ".join(ruling.reasons)
        scores = {name: to_record(getattr(ruling, name)) for name in ("before", "after", "differences")}
        self.record |= {
            **scores,
            "sets": to_record(ruling.sets),
            "promoted": ruling.promoted,
            "verdict": "promoted" if ruling.promoted else "refused",
            "reason": reason,
            "gap": to_record(ruling.differences.get("quality")),
            "challenger": self._describe(challenger),
            **self._costs(),
        }
        self.record["place"] = f"loras/{challenger.path.name}"  # in the store; a champion's own place is its suite's
        if not ruling.promoted:
            return self.record, None
        if self.own is None:
            return self.record, challenger
        self.record["place"] = self.own.path.name
        promote(challenger.path, self.own.path, {**scores, "attempt": self.attempt}, reason)
        return self.record, self.own

    def failed(self, error: HarnessError) -> dict[str, Any]:
        """The record of a round that broke down."""
        self.record |= {"verdict": "error", "reason": str(error), **self._costs()}
        return self.record

    def say(self, line: str) -> None:
        """Pass a line of the training on, and stop it when the run wants to stop."""
        if self.context.cancelled():
            raise Cancelled("stopped")
        about, suite = self.context.provider, self.context.suite.name
        self.context.listener(Progress("train", provider=about, suite=suite, message=f"round {self.number}: {line}"))

    def quality_gap(self) -> float | None:
        """How far quality is under its bound on the open cases; None when it is not."""
        gaps = [item.gap for item in self.feedback.metrics if item.name == "quality"]
        return gaps[0] if gaps else None

    def _costs(self) -> dict[str, Any]:
        return {"seconds": round(time.monotonic() - self.started, 1), "pictures": self.ground.pictures}

    def _suite_key(self) -> str:
        return digest([self.context.suite.name, self.context.suite.subject.name])

    def _describe(self, lora: Lora | None) -> dict[str, Any] | None:
        if lora is None:
            return None
        return {"file": lora.path.name, "strength": lora.strength, "sha256": hash_file(lora.path)}

    def _told(self, choice: Choice) -> dict[str, Any]:
        return {"file": choice.lora.path.name, "strength": choice.lora.strength, "quality": round(choice.quality, 4)}


def cases_of(told: Feedback) -> list[str]:
    """The ids of the failing cases."""
    return [item.name for item in told.cases]


def is_short(context: ImproveContext, lora: Lora) -> bool:
    """Whether a LoRA is so under-trained, or so unknown, that no strength can mend it."""
    from harness.training.plan import SHORT

    facts: LoraFacts = read_facts(lora.path)
    known = facts.config
    if known is None:
        return True
    subject = context.suite.subject
    full: TrainConfig = config_for(context.profile.training, len(train_pictures(subject)), subject.kind)
    return facts.steps * known.batch < SHORT * full.steps * full.batch


def challengers(context: ImproveContext) -> Path:
    """Where the LoRAs of improve loops lie."""
    folder: Path = context.store.folder / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint's name."""
    return int(checkpoint.stem.removeprefix("step-"))
