"""The improve loop: a failing LoRA's feedback becomes a challenger, which is kept only if it is proven better.

A round: name the cause; choose another strength or checkpoint, or mend the pictures and train; choose on open cases;
sit the exam on locked cases with seeds nobody has drawn; promote or refuse. What an exam shows never reaches a plan: a
refusal only counts.
"""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import fmean
from typing import Any

from harness.diagnosis import Cause, diagnose_lora
from harness.engine.context import ImproveContext, ImproveResult, Progress
from harness.engine.setlevel import SetScorer, Table, find_set_copies
from harness.errors import EngineError, HarnessError
from harness.references import set_hash
from harness.training.candidates import step_of
from harness.training.config import changes, config_for
from harness.training.data import train_pictures
from harness.training.exam import Ground, Ruling, values_of
from harness.training.export import read_facts
from harness.training.history import remember
from harness.training.ladder import Choice, earlier_checkpoints, goal_of, other_strengths, shortfall
from harness.training.making import Maker, challengers
from harness.training.mend import Mending, mend_pictures, mended_subject
from harness.training.plan import Learner, TrainPlan, plan_from_feedback
from harness.training.registry import keep_refused, promote, rescale
from harness.training.standing import Standing, open_cases, review
from harness.training.symptoms import Readings, gather_symptoms, study_pictures
from harness.training.trainer import Trained
from harness.values import Case, Lora, Subject, digest, hash_file, to_record

CHOICE_CASES = 6  # open cases that a checkpoint or a strength is chosen on, the failing ones first
LAST_CHECKPOINTS = 3  # how many of a run's checkpoints are tried
STRENGTHS = (0.8, 1.2)  # tried beside 1 on the best checkpoint
WHOLE = 0.01  # a shortfall of all metrics together below which nothing fails
MEMO, LOOKS, ENTERED = "improve-attempts", "improve-looks", "improve-entered"  # what the store remembers


class Cancelled(HarnessError):
    """The run wants to stop."""


def improve(context: ImproveContext) -> ImproveResult:
    """Up to `settings.retrain` rounds within `settings.retrain_budget` minutes, until the open cases pass.

    Failures of a round (a loss that is no number, pictures that cannot be learnt from) end the loop and are in the last
    round's record: a run that cannot retrain still has its verdict. Cancelled: returns what there is.
    """
    champion, rounds = context.lora, list[dict[str, Any]]()
    failing = {job: verdict for job, verdict in context.verdicts.items() if job in context.failing}
    standing = Standing(context.feedback, context.results[context.provider], failing)
    promoted: Lora | None = None
    refused, deadline = 0, deadline_of(context)
    for number in range(1, context.settings.retrain + 1):
        if context.cancelled() or (rounds and time.monotonic() > deadline):
            break
        round_ = Round(context, number, champion, standing, refused, deadline)
        try:
            record, winner = round_.run()
        except Cancelled:
            break
        except HarnessError as error:
            if context.cancelled():
                break
            rounds.append(round_.failed(error))
            remember(context, rounds[-1])
            break
        rounds.append(record)
        remember(context, record)
        if winner is None:
            refused += 1
            continue
        champion = promoted = winner
        refused = 0
        standing = review(context, winner, round_.ground)
        record["failing_after"] = standing.failing
        remember(context, record)
        if not standing.told.needs_improvement:
            break
    return ImproveResult(tuple(rounds), promoted)


def deadline_of(context: ImproveContext) -> float:
    """When no further training may go on, on the monotonic clock; infinity without a budget."""
    minutes = context.settings.retrain_budget
    return float("inf") if minutes is None else time.monotonic() + 60 * minutes


class Round:
    """One attempt to replace the champion."""

    def __init__(
        self,
        context: ImproveContext,
        number: int,
        champion: Lora | None,
        standing: Standing,
        refused: int,
        deadline: float = float("inf"),
    ) -> None:
        self.context, self.number, self.champion = context, number, champion
        self.standing, self.feedback, self.refused = standing, standing.told, refused
        self.deadline, self.started = deadline, time.monotonic()
        # counted over sessions: an exam that was sat once has no fresh seeds for anybody else
        self.attempt = 1 + int(context.store.memo(MEMO, self._suite_key()) or 0)
        self.ground = Ground(context, self.attempt)
        self.causes: tuple[Cause, ...] = ()
        self.origins: set[str] = set()  # of the pictures that a challenger may have learnt from, by their hash
        self.readings: Readings | None = None
        self.record: dict[str, Any] = {
            "round": number,
            "attempt": self.attempt,
            "suite": context.suite.name,
            "provider": context.provider,
            "champion": self._describe(champion),
            "failing_before": standing.failing,
            "promoted": False,
        }

    def run(self) -> tuple[dict[str, Any], Lora | None]:
        """The round's record, and the new champion if there is one."""
        if not self.ground.has_exam:
            raise EngineError("the suite has no locked cases, so nothing can be promoted; mark some `split: locked`")
        self.investigate()
        challenger = self.reselect()
        if challenger is None:
            mending = mend_pictures(self.causes, self.readings, self.context.suite.subject, self.vocabulary)
            subject = self.learn_from(mending)
            plan = self.plan(subject, mending)
            challenger = self.choose(self.train(plan, subject), plan)
        candidate = self.settle(challenger.lora)
        ruling = self.sit(candidate)
        return self.conclude(candidate, ruling)

    # --- why it fails -----------------------------------------------------------------------------------------------

    def investigate(self) -> None:
        """Name the causes, in the record as well."""
        context, subject = self.context, self.context.suite.subject
        self.say("looking for the cause")
        self.readings = study_pictures(context)
        pictures = train_pictures(subject)
        full = config_for(context.profile.training, len(pictures), subject.kind)
        study = self.readings.study if self.readings else None
        facts = read_facts(self.champion.path) if self.champion else None
        self.origins = {set_hash(picture.path for picture in pictures)}
        self.origins |= {facts.metadata.get("harness.references", "")} if facts else set()
        seen = gather_symptoms(context, self.champion, self.feedback, self.standing.results, full, facts, study)
        self.causes = diagnose_lora(seen)
        first = self.causes[0]
        self.record |= {
            "cause": first.name,
            "evidence": list(first.evidence),
            "confidence": first.confidence,
            "causes": [to_record(cause) for cause in self.causes],
        }
        self.say(f"cause: {first.sentence}")

    @property
    def vocabulary(self) -> Any:
        from harness.profile import merge_vocabulary

        return merge_vocabulary(self.context.profile.vocabulary, self.context.suite.vocabulary)

    # --- the ladder, cheapest first ---------------------------------------------------------------------------------

    def reselect(self) -> Choice | None:
        """The champion at another strength, or as it was earlier in its training, where that alone mends it."""
        champion = self.champion
        if champion is None or self.refused:
            return None
        strengths = other_strengths(self.causes, champion.strength, self.quality_gap())
        if not strengths:
            return None
        others = [replace(champion, strength=value) for value in strengths]
        if "over_trained" in {cause.name for cause in self.causes}:
            early = earlier_checkpoints(challengers(self.context), read_facts(champion.path))
            others += [Lora(path, champion.strength) for path in early]
        now, *tried = [self.practise(lora) for lora in (champion, *others)]
        best = max(tried, key=lambda choice: choice.worth)
        self.record["choice"] = [self._told(choice) for choice in (now, *tried)]
        if best.short > WHOLE or best.worth <= now.worth:
            return None
        if best.lora.path != champion.path:
            told = f"the LoRA as it was at step {step_of(best.lora.path)}"
        else:
            told = f"strength {best.lora.strength:g} instead of {champion.strength:g}"
        words = [cause.sentence for cause in self.causes[:1]] if self.causes[0].confidence >= 0.6 else []
        self.record["plan"] = [f"{told}: nothing to train", *words]
        return best

    def learn_from(self, mending: Mending) -> Subject:
        """The subject, with a mended copy of its train pictures where they are at fault."""
        subject = self.context.suite.subject
        if not mending:
            return subject
        self.record["mended"] = {"dropped": dict(mending.dropped), "captions": dict(mending.captions)}
        for line in mending.reasons:
            self.say(line)
        return mended_subject(subject, mending, challengers(self.context))

    def plan(self, subject: Subject, mending: Mending) -> TrainPlan:
        """What to train, from open feedback and the files alone."""
        context = self.context
        pictures = train_pictures(subject)
        self.origins.add(set_hash(picture.path for picture in pictures))
        full = config_for(context.profile.training, len(pictures), subject.kind)
        captions = {picture.path.name: picture.caption for picture in pictures}
        learner = Learner(
            subject.trigger, set_hash(picture.path for picture in pictures), context.models.base_hash(), captions
        )
        lora = self.champion.path if self.champion else None
        facts = read_facts(lora) if lora else None
        plan = plan_from_feedback(self.feedback, context.suite, full, learner, lora, facts, self.refused, self.causes)
        before = (facts.config if facts else None) or full
        self.record |= {"plan": [*mending.reasons, *plan.reasons], "changes": changes(before, plan.config)}
        start = plan.start_from.name if plan.start_from else ""
        self.record |= {"config": plan.config.to_record(), "start_from": start}
        return plan

    def train(self, plan: TrainPlan, subject: Subject) -> Trained:
        """Train the candidates in the store's folder, the best to its end; a run that was killed here goes on here."""
        maker = Maker(self.context, self.attempt, self.deadline, self.say, lambda lora: self.practise(lora).worth)
        made, config, seen = maker.make(plan, subject)
        self.record |= {"candidates": seen} if seen else {}
        self.record |= {"config": config.to_record(), "steps": made.steps}
        self.record |= {"loss": [list(point) for point in made.losses], "training_seconds": round(made.seconds, 1)}
        return made

    def choose(self, made: Trained, plan: TrainPlan) -> Choice:
        """The best of the last checkpoints, then of a few strengths, on open cases with practice seeds."""
        late = [path for path in made.checkpoints if step_of(path) * 2 >= plan.config.steps][-LAST_CHECKPOINTS:]
        tried = [self.practise(Lora(path)) for path in late]
        best = max(reversed(tried), key=lambda choice: choice.worth)
        tried += [self.practise(Lora(best.lora.path, strength)) for strength in STRENGTHS]
        best = max([best, *tried], key=lambda choice: choice.worth)
        self.record["choice"] = [self._told(choice) for choice in tried]
        return best

    def practise(self, lora: Lora) -> Choice:
        """How a LoRA does on the practice cases; copies of training pictures count against it."""
        if self.context.cancelled():
            raise Cancelled("stopped")
        results = self.ground.practise(lora, self.practice_cases())
        values = values_of(results, self.context.suite.metrics())
        if not values["quality"]:
            return Choice(lora, -1.0)
        short = shortfall(self.context.suite, values)
        scorer = self.context.scorer
        if isinstance(scorer, SetScorer) and self.context.suite.alarm("copy") != "off":
            short += float(find_set_copies(Table(self.context.store, scorer), results).alarm)
        return Choice(lora, fmean(values["quality"].values()), short)

    def practice_cases(self) -> tuple[Case, ...]:
        """A few open cases, the failing ones first."""
        failing = set(self.record["failing_before"])
        cases = sorted(open_cases(self.context), key=lambda case: case.id not in failing)
        return tuple(cases[:CHOICE_CASES])

    # --- the exam ---------------------------------------------------------------------------------------------------

    def sit(self, candidate: Lora) -> Ruling:
        """Examine one challenger. The attempt is counted before the first locked picture is drawn.

        An exam that was cut off is sat again by the same file alone; another one gets fresh seeds.
        """
        store, key, sha = self.context.store, self._suite_key(), hash_file(candidate.path)
        entered = store.memo(ENTERED, key) or {}
        if entered.get("attempt") == self.attempt and entered.get("challenger") != sha:
            self.attempt += 1
            self.record["attempt"] = self.attempt
            drawn, self.ground = self.ground.pictures, Ground(self.context, self.attempt)
            self.ground.pictures = drawn
        store.put_memo(ENTERED, key, {"attempt": self.attempt, "challenger": sha})
        rival = hash_file(self.champion.path) if self.champion else ""
        looks = digest([key, rival, self.champion.strength if self.champion else 0])
        look = 1 + int(store.memo(LOOKS, looks) or 0)
        goal = goal_of(self.context.suite, self.feedback, self.standing.verdicts)
        self.ground.enter(candidate, self.origins)
        ruling = self.ground.examine(candidate, self.champion, look, goal)
        store.put_memo(LOOKS, looks, look)
        store.put_memo(MEMO, key, self.attempt)
        self.record |= {"look": look, "level": round(ruling.level, 6), "goal": goal}
        return ruling

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
            "gap": to_record(ruling.differences.get(self.record["goal"])),
            "over_base": to_record(ruling.base),
            "competitor": ruling.rival,
            "competitor_gap": to_record(ruling.rival_gap),
            "challenger": self._describe(challenger),
            **self._costs(),
        }
        self.record["place"] = f"loras/{challenger.path.name}"  # in the store; a champion's own place is its suite's
        if not ruling.promoted:
            kept = keep_refused(challenger.path, self.own.path if self.own else None, self._refusal(ruling))
            self.record["kept"] = kept.name
            return self.record, None
        if self.own is None:
            return self.record, challenger
        self.record["place"] = self.own.path.name
        told = {**scores, "attempt": self.attempt, "cause": self.record["cause"], "plan": self.record["plan"]}
        promote(challenger.path, self.own.path, told, reason)
        return self.record, self.own

    def _refusal(self, ruling: Ruling) -> dict[str, Any]:
        """What the record beside a refused challenger says."""
        about = {"suite": self.context.suite.name, "attempt": self.attempt, "look": ruling.look}
        return {**about, "cause": self.record["cause"], "reasons": list(ruling.reasons)}

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
        return {
            "file": choice.lora.path.name,
            "strength": choice.lora.strength,
            "quality": round(choice.quality, 4),
            "short": round(choice.short, 4),
        }
