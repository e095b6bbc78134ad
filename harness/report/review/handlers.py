"""What a form does. Each act ends with the page that shows what came of it."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import cast

from harness.core.errors import UsageError
from harness.core.values import Suite
from harness.report.review.app_state import AppState
from harness.report.review.decisions import LONGEST_NAME, Voice
from harness.report.review.evidence import weigh
from harness.report.review.ledger import Ballot, Choice, Comment, PairSide, now
from harness.report.review.responses import Query, Refusal, Response, redirect
from harness.report.review.runs import JudgedRun, VotePicture
from harness.report.review.seats import Seat
from harness.report.review.votes import judged, make_pairs
from harness.report.words import text

LONGEST_COMMENT = 4_000  # characters
CHOICES = ("left", "right", "tie", "skip")


def change_name(state: AppState, form: Query) -> Response:
    """Say who sits here; everything from now on bears this name."""
    state.who = read_name(form)
    back = form.get("back")
    return redirect(back if back in ("/", "/challengers", "/vote", "/people", "/compare") else "/")


def read_name(form: Query) -> str:
    name = text(form.get("who"), LONGEST_NAME + 1).replace("\n", " ").replace("\t", " ").strip()
    if not name or len(name) > LONGEST_NAME:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"a name is needed, of {LONGEST_NAME} characters at most")
    return name


# --- votes and comments -----------------------------------------------------------------------------------------------


def cast_vote(state: AppState, form: Query) -> Response:
    """Keep an answer to a blind pair. A second answer to the same pair changes nothing: it is a key that bounced."""
    suite, choice, who = form.get("suite"), form.get("choice"), state.who
    if choice not in CHOICES:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the answer is left, right, tie or skip")
    if not who:
        raise Refusal(HTTPStatus.BAD_REQUEST, "say who you are first")
    ledger, pairs = state.votes(suite), make_pairs(state.runs.all(), suite)
    pair = next((pair for pair in pairs if pair.id == form.get("pair")), None)
    if pair is None:
        raise Refusal(HTTPStatus.CONFLICT, "this pair is in no run any more; go on with the next one")
    sides = (pair.one, pair.other)
    if form.get("left") not in [shot.image for shot in sides]:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the pair does not have this picture")
    left, right = sides if form.get("left") == pair.one.image else sides[::-1]
    if pair.id in judged(suite, ledger.valid(), who):
        return redirect("/vote", suite=suite, among=form.get("among"))
    ballot = Ballot(
        id=secrets.token_hex(16),
        at=now(),
        who=who,
        case=pair.one.case,
        seed=pair.one.seed,
        left=side_of(left),
        right=side_of(right),
        choice=cast(Choice, choice),
        among="lora" if form.get("among") == "lora" else "all",
    )
    ledger.add(ballot)
    return redirect("/vote", suite=suite, among=form.get("among"), last=ballot.id)


def side_of(shot: VotePicture) -> PairSide:
    scores = {name: round(value, 6) for name, value in sorted(shot.scores.items())}
    return PairSide(player=shot.player, image=shot.image, scores=scores)


def undo_vote(state: AppState, form: Query) -> Response:
    """Take an answer of one's own back; the pair comes again."""
    ledger = state.votes(form.get("suite"))
    result = next((item for item in ledger.valid() if (item.id, item.who) == (form.get("vote"), state.who)), None)
    if result is None:
        raise Refusal(HTTPStatus.NOT_FOUND, "there is no such vote of yours")
    ledger.withdraw(result)
    return redirect("/vote", suite=form.get("suite"), among=form.get("among"))


def write_comment(state: AppState, form: Query) -> Response:
    """Keep a comment on a case."""
    suite, case, message = form.get("suite"), form.get("case"), form.get("text").replace("\r\n", "\n").strip()
    who = read_name(form)
    if not message or len(message) > LONGEST_COMMENT:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"a comment has 1 to {LONGEST_COMMENT:,} characters")
    if not any((shot.suite, shot.case) == (suite, case) for run in state.runs.all() for shot in run.shots):
        raise Refusal(HTTPStatus.NOT_FOUND, "there is no such case in any run")
    state.who = who
    state.comments(suite).add(Comment(id=secrets.token_hex(16), at=now(), who=who, case=case, text=message))
    return redirect("/case", suite=suite, case=case)


# --- decisions --------------------------------------------------------------------------------------------------------


def approve(state: AppState, form: Query) -> Response:
    """A challenger becomes the champion, and its run the baseline unless the form leaves that alone."""
    voice, seat, anyway = read_voice(state, form), find_seat(state, form), bool(form.get("anyway"))
    evidence, lora = find_evidence(state, form.get("run")) if form.get("run") else None, form.get("lora")
    weighed = weigh(state.runs, seat, lora, state.runs.all())
    return told(state, state.decisions.approve(seat, lora, voice, evidence, weighed, form.get("although"), anyway))


def refuse(state: AppState, form: Query) -> Response:
    return told(state, state.decisions.refuse(find_seat(state, form), form.get("lora"), read_voice(state, form)))


def roll_back(state: AppState, form: Query) -> Response:
    return told(state, state.decisions.roll_back(find_seat(state, form), form.get("lora"), read_voice(state, form)))


def bless(state: AppState, form: Query) -> Response:
    """A run becomes its suite's baseline."""
    evidence, runs = find_evidence(state, form.get("run")), state.runs.all()
    suite = state.suite_of(evidence.part, runs)
    if suite is None:
        raise UsageError(
            f"the suite {evidence.part.name!r:.60} has no file in this project, so no place for a baseline"
        )
    seat = next((seat for seat in state.seats(runs) if has_suite(seat, suite)), None)
    return told(state, state.decisions.bless(suite, seat, read_voice(state, form), evidence, bool(form.get("anyway"))))


def has_suite(seat: Seat, suite: Suite) -> bool:
    return suite.name in [item.name for item in seat.suites]


def read_voice(state: AppState, form: Query) -> Voice:
    """Who and why; the name is kept for the next form."""
    voice = Voice(read_name(form), text(form.get("why").replace("\r\n", "\n"), 10_000).strip())
    state.who = voice.who
    return voice


def find_seat(state: AppState, form: Query) -> Seat:
    """The champion's place that a form is about, as the person saw it. Raises Refusal when it has changed since."""
    seats = [
        seat for seat in state.seats(state.runs.all()) if form.get("seat") in [suite.name for suite in seat.suites]
    ]
    if not seats:
        raise Refusal(HTTPStatus.NOT_FOUND, "there is no such champion's place")
    if seats[0].problem:
        raise UsageError(seats[0].problem)
    if seats[0].sha256 != form.get("champion"):
        raise Refusal(HTTPStatus.CONFLICT, "the champion has changed since this page was opened; nothing was done")
    return seats[0]


def find_evidence(state: AppState, name: str) -> JudgedRun:
    """A run's id and its suite, `0123456789ab/aldar-kose`, as the run and its record."""
    run_id, _, suite = name.partition("/")
    run = state.runs.get(run_id)
    if run is None or suite not in run.parts:
        raise Refusal(HTTPStatus.NOT_FOUND, "there is no such run (any more)")
    return JudgedRun(run, run.parts[suite], state.runs.record(run))


def told(state: AppState, sentences: list[str]) -> Response:
    """The page of decisions, which says once what was done."""
    state.said = sentences
    return redirect("/challengers")
