"""The improve loop: a failing LoRA's feedback becomes a challenger, which is kept only if it is proven better.

A round: name the cause; choose another strength or checkpoint, or mend the pictures and train; choose on open cases;
take the held-out test on locked cases with seeds nobody has drawn; promote or refuse. What it shows never reaches a
plan: a refusal only counts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from harness.config.profile import merge_vocabulary
from harness.core.errors import EngineError, HarnessError
from harness.core.values import Lora, Progress, Subject, digest, hash_file, to_record
from harness.engine.context import ImproveContext, ImproveResult
from harness.judging.causes import diagnose_lora
from harness.judging.causes.cause import Cause
from harness.models.lora.export import read_facts
from harness.models.lora.registry import HeldOutRefusal, keep_refused, promote
from harness.models.lora.train_config import TrainConfig, changes
from harness.models.lora.training_pictures import TrainingPicture
from harness.scoring.references import set_hash
from harness.training.auto import choose_settings
from harness.training.data import train_pictures
from harness.training.improve.candidate_training import Maker, challengers
from harness.training.improve.candidates import step_of
from harness.training.improve.data_fixes import Mending, fix_pictures, mended_subject
from harness.training.improve.held_out_test import HeldOutTest
from harness.training.improve.history import remember
from harness.training.improve.open_results import OpenResults, review
from harness.training.improve.outcome import describe, own_champion, scores_of, settle, told_of, told_of_ruling
from harness.training.improve.plan import Learner, TrainPlan, plan_from_feedback, plan_with_own
from harness.training.improve.promotion import Ruling
from harness.training.improve.remedies import RatedFile, goal_of
from harness.training.improve.selection import Cancelled, Validation
from harness.training.improve.self_training import is_last_rung, self_train
from harness.training.improve.symptoms import Readings, gather_diagnostic_inputs, study_pictures
from harness.training.trainer import Trained

WHOLE = 0.01  # a shortfall of all metrics together below which nothing fails
MEMO, LOOKS, ENTERED = "improve-attempts", "improve-looks", "improve-entered"  # what the store remembers


def improve(context: ImproveContext) -> ImproveResult:
    """Up to `settings.retrain` rounds within `settings.retrain_budget` minutes, until the open cases pass.

    Failures of a round (a loss that is no number, pictures that cannot be learnt from) end the loop and are in the last
    round's record: a run that cannot retrain still has its verdict. Cancelled: returns what there is.
    """
    champion, rounds = context.lora, list[dict[str, Any]]()
    failing = {job: verdict for job, verdict in context.verdicts.items() if job in context.failing}
    standing = OpenResults(context.feedback, context.results[context.provider], failing)
    promoted: Lora | None = None
    refused, continued, deadline = 0, False, deadline_of(context)
    for number in range(1, context.settings.retrain + 1):
        if context.cancelled() or (rounds and time.monotonic() > deadline):
            break
        round_ = Round(context, number, champion, standing, refused, deadline, continued)
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
            refused, continued = refused + 1, continued or bool(record.get("start_from"))
            continue
        champion = promoted = winner
        refused, continued = 0, False
        standing = review(context, winner, round_.ground)
        record["failing_after"] = standing.failing
        remember(context, record)
        if standing.has_nothing_to_train:
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
        standing: OpenResults,
        refused: int,
        deadline: float = float("inf"),
        continued: bool = False,
    ) -> None:
        """Args:
        refused: challengers of this run since the last promotion.
        continued: whether one of them continued the champion.
        """
        self.context, self.number, self.champion = context, number, champion
        self.standing, self.feedback, self.refused = standing, standing.feedback, refused
        self.continued, self.deadline, self.started = continued, deadline, time.monotonic()
        # counted over sessions: a held-out test that was taken once has no fresh seeds for anybody else
        self.attempt = 1 + int(context.store.memo(MEMO, self._suite_key()) or 0)
        self.ground = HeldOutTest(context, self.attempt)
        self.validation = Validation(context, self.ground, standing.failing)
        self.causes: tuple[Cause, ...] = ()
        self.origins: set[str] = set()  # of the pictures that a challenger may have learnt from, by their hash
        self.readings: Readings | None = None
        self.record: dict[str, Any] = {
            "round": number,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "attempt": self.attempt,
            "suite": context.suite.name,
            "provider": context.provider,
            "champion": describe(champion),
            "failing_before": standing.failing,
            "promoted": False,
        }

    def run(self) -> tuple[dict[str, object], Lora | None]:
        """The round's record, and the new champion if there is one."""
        if not self.ground.has_held_out_test:
            raise EngineError("the suite has no locked cases, so nothing can be promoted; mark some `split: locked`")
        self.investigate()
        challenger = self.reselect()
        if challenger is None:
            mending = self.mend()
            subject = self.learn_from(mending)
            plan = self.plan(subject, mending)
            challenger = self.choose(self.train(plan, subject), plan)
        candidate = settle(self.context, challenger.lora)
        ruling = self.sit(candidate)
        return self.conclude(candidate, ruling)

    # --- why it fails -----------------------------------------------------------------------------------------------

    def investigate(self) -> None:
        """Name the causes, in the record as well."""
        context, subject = self.context, self.context.suite.subject
        self.say("looking for the cause")
        self.readings = study_pictures(context)
        pictures = train_pictures(subject)
        full = self.settings(subject, pictures)
        study = self.readings.study if self.readings else None
        facts = read_facts(self.champion.path) if self.champion else None
        self.origins = {set_hash(picture.path for picture in pictures)}
        self.origins |= {facts.metadata.get("harness.references", "")} if facts else set()
        known = gather_diagnostic_inputs(context, self.champion, self.standing.results, full, facts, study)
        self.causes = diagnose_lora(known)
        first = self.causes[0]
        self.record |= {
            "cause": first.name,
            "evidence": list(first.evidence),
            "confidence": first.confidence,
            "causes": [cause.to_record() for cause in self.causes],
        }
        self.say(f"cause: {first.diagnosis}")

    def settings(self, subject: Subject, pictures: Sequence[TrainingPicture]) -> TrainConfig:
        """What `harness train` would do with these pictures on this machine."""
        profile, models = self.context.profile, self.context.models
        return choose_settings(profile.training, subject, pictures, profile, models, keep=True).config

    @property
    def vocabulary(self) -> Any:
        return merge_vocabulary(self.context.profile.vocabulary, self.context.suite.vocabulary)

    # --- the remedies, cheapest first ---------------------------------------------------------------------------------

    def reselect(self) -> RatedFile | None:
        """The champion at another strength, or as it was earlier in its training, where that alone mends it."""
        champion = self.champion
        if champion is None or self.refused:
            return None
        looked = self.validation.others(champion, self.causes, self.quality_gap())
        if not looked:
            return None
        now, *tried = looked
        best = max(tried, key=lambda choice: choice.worth)
        self.record["choice"] = [told_of(choice) for choice in looked]
        if best.short > WHOLE or best.worth <= now.worth:
            return None
        if best.lora.path != champion.path:
            message = f"the LoRA as it was at step {step_of(best.lora.path)}"
        else:
            message = f"strength {best.lora.strength:g} instead of {champion.strength:g}"
        words = [cause.diagnosis for cause in self.causes[:1]] if self.causes[0].confidence >= 0.6 else []
        self.record["plan"] = [f"{message}: nothing to train", *words]
        return best

    def mend(self) -> Mending:
        """What is wrong with the pictures; where nothing is and cheaper steps were refused, the LoRA's own best."""
        subject = self.context.suite.subject
        mending = fix_pictures(self.causes, self.readings, subject, self.vocabulary)
        if mending or self.champion is None or not is_last_rung(self.causes, self.refused, self.continued):
            return mending
        self.say("drawing pictures of its own to learn from")
        return self_train(self.context, self.ground, self.champion, len(train_pictures(subject)))

    def learn_from(self, mending: Mending) -> Subject:
        """The subject, with a mended copy of its train pictures where they are at fault."""
        subject = self.context.suite.subject
        if not mending:
            return subject
        self.record["mended"] = {"dropped": dict(mending.dropped), "captions": dict(mending.captions)}
        if mending.added:
            self.record["mended"]["added"] = {each.name: each.caption for each in mending.added}
        for line in mending.reasons:
            self.say(line)
        return mended_subject(subject, mending, challengers(self.context))

    def plan(self, subject: Subject, mending: Mending) -> TrainPlan:
        """What to train, from open feedback and the files alone."""
        context, suite, lora = self.context, self.context.suite, self.champion.path if self.champion else None
        pictures = train_pictures(subject)
        self.origins.add(set_hash(picture.path for picture in pictures))
        full, facts = self.settings(subject, pictures), read_facts(lora) if lora else None
        own = {each.name for each in mending.added}
        captions = {picture.path.name: picture.caption for picture in pictures if picture.path.name not in own}
        known = train_pictures(suite.subject) if own else pictures  # its own pictures make no other set of them
        sha = set_hash(picture.path for picture in known)
        learner = Learner(subject.trigger, sha, context.models.base_hash(), captions)
        make = plan_with_own if own else plan_from_feedback
        plan = make(self.feedback, suite, full, learner, lora, facts, self.refused, self.causes)
        before = (facts.config if facts else None) or full
        text = [*mending.reasons, *plan.reasons] if mending else [*plan.reasons, *mending.reasons]
        self.record |= {"plan": text, "changes": changes(before, plan.config)}
        start = plan.start_from.name if plan.start_from else ""
        self.record |= {"config": plan.config.to_record(), "start_from": start}
        return plan

    def train(self, plan: TrainPlan, subject: Subject) -> Trained:
        """Train the candidates in the store's folder, the best to its end; a run that was killed here goes on here."""
        maker = Maker(
            self.context, self.attempt, self.deadline, self.say, lambda lora: self.validation.judge(lora).worth
        )
        made, config, seen = maker.make(plan, subject)
        self.record |= {"candidates": seen} if seen else {}
        self.record |= {"config": config.to_record(), "steps": made.steps}
        self.record |= {"loss": [list(point) for point in made.losses], "training_seconds": round(made.seconds, 1)}
        return made

    def choose(self, made: Trained, plan: TrainPlan) -> RatedFile:
        """The best of the last checkpoints, then of a few strengths, on open cases with validation seeds."""
        best, tried = self.validation.choose(made, plan.config.steps)
        self.record["choice"] = [told_of(choice) for choice in tried]
        return best

    # --- the held-out test ------------------------------------------------------------------------------------------

    def sit(self, candidate: Lora) -> Ruling:
        """Examine one challenger. The attempt is counted before the first locked picture is drawn.

        A held-out test that was cut off is taken again by the same file alone; another one gets fresh seeds.
        """
        store, key, sha = self.context.store, self._suite_key(), hash_file(candidate.path)
        entered = store.memo(ENTERED, key) or {}
        if entered.get("attempt") == self.attempt and entered.get("challenger") != sha:
            self.attempt += 1
            self.record["attempt"] = self.attempt
            drawn, self.ground = self.ground.pictures, HeldOutTest(self.context, self.attempt)
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

    def conclude(self, challenger: Lora, ruling: Ruling) -> tuple[dict[str, object], Lora | None]:
        """Put a winner in its place, keep a loser aside, and write the round down."""
        own, scores, reason = own_champion(self.context), scores_of(ruling), "; ".join(ruling.reasons)
        self.record |= {
            **scores,
            **told_of_ruling(ruling),
            "gap": to_record(ruling.differences.get(self.record["goal"])),
            "challenger": describe(challenger),
            "place": f"loras/{challenger.path.name}",  # in the store; a champion's own place is its suite's
            **self._costs(),
        }
        about = {"attempt": self.attempt, "cause": self.record["cause"]}
        if not ruling.promoted:
            why = HeldOutRefusal(
                suite=self.context.suite.name,
                attempt=self.attempt,
                cause=self.record["cause"],
                look=ruling.look,
                reasons=ruling.reasons,
            )
            self.record["kept"] = keep_refused(challenger.path, own.path if own else None, why).name
            return self.record, None
        if own is None:
            return self.record, challenger
        self.record["place"] = own.path.name
        examined = self.record["champion"]["sha256"] if self.champion else ""
        promote(challenger.path, own.path, {**scores, **about, "plan": self.record["plan"]}, reason, over=examined)
        return self.record, own

    def failed(self, error: HarnessError) -> dict[str, object]:
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

    def _costs(self) -> dict[str, object]:
        return {"seconds": round(time.monotonic() - self.started, 1), "pictures": self.ground.pictures}

    def _suite_key(self) -> str:
        return digest([self.context.suite.name, self.context.suite.subject.name])
