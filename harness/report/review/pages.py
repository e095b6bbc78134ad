"""What is shown. A page is made from files each time it is asked for; nothing but names is remembered in between."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from harness import __version__
from harness.core.errors import HarnessError
from harness.core.html import templates
from harness.core.text import bounds_text
from harness.core.values import Interval
from harness.judging.results import relative
from harness.report.review.agreement import Agreement, known_scores, measure_all, people_agree
from harness.report.review.app_state import AppState
from harness.report.review.comparing import compare_view, run_choices, usual_pair
from harness.report.review.ledger import Ballot
from harness.report.review.promotions import DecisionsView
from harness.report.review.responses import Query, Refusal, Response
from harness.report.review.runs import VotePicture
from harness.report.review.votes import (
    LEAST_CASES,
    SETTLED,
    draw_order,
    judged,
    make_pairs,
    show,
    vote_ranks,
    with_lora,
)
from harness.report.words import Bar, badge, bar, text

LONGEST = 5_000  # characters of one foreign text
TINY = 64  # pixels: up to this width a picture is enlarged pixel by pixel; others smoothly, as in the report
REFERENCES = 5  # shown beside a blind pair
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}  # a name that is a hash has one content
AGREEING = {"agrees with people": "pass", "contradicts people": "fail"}
KINDS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
REPORT_KINDS = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "md": "text/plain; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "webp": "image/webp",
    "png": "image/png",
}
META = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
CLOSED = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'"  # for a report without a policy


def plain(value: Any) -> Any:
    """Everything that is printed is a text node without switches of the reading direction, unless it is our own."""
    return text(value, LONGEST) if type(value) is str else value


def render(state: AppState, secret: str, name: str, **context: Any) -> Response:
    """A page of ours."""
    page = templates("harness.report.review", plain).get_template(f"{name}.html")
    whole = page.render(
        page=name, csrf=secret, who=state.who, version=__version__, picture=picture_of(state), **context
    )
    return Response(body=whole.encode("utf-8", "replace"))


@dataclass(frozen=True)
class ShownPicture:
    """How a picture is shown."""

    src: str
    tiny: bool  # enlarged pixel by pixel


def picture_of(state: AppState) -> Callable[[str], ShownPicture | None]:
    """A function for templates: a hash to how its picture is shown, or None when nobody has it."""

    def find(sha: str) -> ShownPicture | None:
        path = state.picture_path(sha)
        if path is None:
            return None
        with path.open("rb") as stream:
            head = stream.read(24)
        tiny = head.startswith(b"\x89PNG") and int.from_bytes(head[16:20], "big") <= TINY
        return ShownPicture(f"/image/{sha}", tiny)

    return find


def trouble_page(state: AppState, refusal: Refusal, secret: str) -> Response:
    return render(state, secret, "trouble", status=refusal.status.phrase, words=refusal.words)


# --- files ------------------------------------------------------------------------------------------------------------


def asset(name: str, kind: str, state: AppState, query: Query, secret: str) -> Response:
    data = (files("harness.report.review") / "templates" / name).read_bytes()
    return Response(body=data, kind=kind, headers={"Cache-Control": "no-cache"})


def picture(sha: str, state: AppState, query: Query, secret: str) -> Response:
    """A picture by its hash, from the store or from beside a run; its bytes say what it is."""
    try:
        data = state.picture_bytes(sha)
    except HarnessError as error:
        raise Refusal(HTTPStatus.NOT_FOUND, "there is no such picture, or it was damaged") from error
    kind = next((kind for start, kind in KINDS.items() if data.startswith(start)), "")
    if not kind and data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "image/webp"
    if not kind:
        raise Refusal(HTTPStatus.NOT_FOUND, "this is no picture")
    return Response(body=data, kind=kind, headers=FOREVER)


def report_page(run_id: str, file: str, state: AppState, query: Query, secret: str) -> Response:
    """A file of a run's report; the page keeps its own policy, and may also show the originals."""
    run = state.runs.get(run_id)
    folder = state.report(run) if run else None
    result = {path.name: path for path in folder.iterdir() if path.is_file()} if folder else {}
    kind = REPORT_KINDS.get(file.rpartition(".")[2])
    if file not in result or kind is None:
        raise Refusal(HTTPStatus.NOT_FOUND, "there is no such report (any more)")
    body = result[file].read_bytes()
    policy = META.search(body[:20_000].decode("utf-8", "replace")) if file.endswith(".html") else None
    text = html.unescape(policy[1]) if policy else CLOSED
    return Response(body=body, kind=kind, headers={"Content-Security-Policy": f"{text}; frame-ancestors 'none'"})


# --- runs -------------------------------------------------------------------------------------------------------------


def runs_page(state: AppState, query: Query, secret: str) -> Response:
    """Every run in the reports folder."""
    runs = state.runs.all()
    choices = run_choices(runs)
    return render(
        state,
        secret,
        "runs",
        runs=runs,
        choices=choices,
        usual=usual_pair(choices),
        folder=relative(state.runs.folder),
        suites=state.names(runs),
        champions={seat.sha256 for seat in state.seats(runs) if seat.sha256},
        badge=badge,
        bar=bar,
    )


def compare_page(state: AppState, query: Query, secret: str) -> Response:
    """Two runs, or two providers of one, side by side."""
    choices = run_choices(state.runs.all())
    usual = usual_pair(choices)
    return render(state, secret, "compare", choices=choices, usual=usual, view=compare_view(state.runs, query))


def challengers_page(state: AppState, query: Query, secret: str) -> Response:
    """Champions, who wants their place, and what was decided."""
    text, state.said = state.said, []
    runs = state.runs.all()
    return render(state, secret, "challengers", said=text, view=DecisionsView(state, runs))


def case_page(state: AppState, query: Query, secret: str) -> Response:
    """One case: everybody's pictures, and what people say of it."""
    suite, case = query.get("suite"), query.get("case")
    shots: dict[str, dict[int, VotePicture]] = {}
    for run in state.runs.all():
        for shot in run.shots:
            if (shot.suite, shot.case) == (suite, case):
                shots.setdefault(shot.player, {}).setdefault(shot.seed, shot)
    if not shots:
        raise Refusal(HTTPStatus.NOT_FOUND, "there is no such case in any run")
    prompts = list(dict.fromkeys(shot.prompt for seeds in shots.values() for shot in seeds.values()))
    seeds = sorted({seed for result in shots.values() for seed in result})
    comments = [item for item in state.comments(suite).valid() if item.case == case]
    return render(
        state, secret, "case", suite=suite, case=case, prompts=prompts, seeds=seeds, shots=shots, comments=comments
    )


# --- votes ------------------------------------------------------------------------------------------------------------


def vote_page(state: AppState, query: Query, secret: str) -> Response:
    """The next blind pair."""
    runs = state.runs.all()
    names = state.names(runs)
    suite = query.get("suite") if query.get("suite") in names else next(iter(names), "")
    every = make_pairs(runs, suite)
    tested = with_lora(every, runs, suite)
    among = "lora" if query.get("among") == "lora" and tested else ""
    pairs = tested if among else every
    ballots = state.votes(suite).valid() if suite else []
    seen = judged(suite, ballots, state.who)
    waiting = [pair for pair in draw_order(pairs, state.who) if pair.id not in seen]
    ready = (pair for pair in waiting if all(state.picture_path(shot.image) for shot in (pair.one, pair.other)))
    pair = next(ready, None) if state.who else None
    about = next((run.parts[suite] for run in runs if suite in run.parts), None)
    return render(
        state,
        secret,
        "vote",
        suites=names,
        suite=suite,
        turn=show(pair, state.who) if pair else None,
        among=among,
        counts={"every": len(every), "tested": len(tested)},
        total=len(pairs),
        done=sum(pair.id in seen for pair in pairs),
        last=last_vote(ballots, query.get("last"), state.who),
        subject=about.subject if about else suite,
        references=[sha for sha in (about.references if about else ())[:REFERENCES] if state.picture_path(sha)],
    )


def last_vote(ballots: list[Ballot], vote_id: str, who: str) -> Ballot | None:
    """What the pair before was, now that it has been answered."""
    return next((item for item in ballots if (item.id, item.who) == (vote_id, who)), None)


def people_page(state: AppState, query: Query, secret: str) -> Response:
    """What the votes say together: who is strongest, and which metric foresees people."""
    runs = state.runs.all()
    names = state.names(runs)
    suite = query.get("suite") if query.get("suite") in names else next(iter(names), "")
    ballots = state.votes(suite).valid() if suite else []
    places, problem = vote_ranks(ballots)
    voters: dict[str, int] = {}
    for ballot in ballots:
        voters[ballot.who] = voters.get(ballot.who, 0) + 1
    return render(
        state,
        secret,
        "people",
        suites=names,
        suite=suite,
        counts={choice: sum(item.choice == choice for item in ballots) for choice in ("left", "right", "tie", "skip")},
        voters=voters,
        cases=len({ballot.case for ballot in ballots}),
        ranks=[(place, share_bar(place.strength)) for place in places],
        thin=any(tally.votes < SETTLED for place in places for tally in place.against.values()),
        settled=SETTLED,
        least=LEAST_CASES,
        problem=problem,
        metrics=[(item, agreement_bar(item)) for item in measure_all(ballots, known_scores(runs, suite))],
        kinds=AGREEING,
        ceiling=people_agree(suite, ballots),
        file=relative(state.votes(suite).file) if suite else "",
    )


class PercentBar(Bar):
    """A share with its interval, and a line at one half."""

    @property
    def zero(self) -> float:
        return 50.0

    @property
    def value(self) -> str:
        return f"{self.score.mean:.0%}"

    @property
    def range(self) -> str:
        return bounds_text(self.score, percent=True).partition(" ")[2]


def share_bar(strength: Interval | None) -> PercentBar | None:
    """Strength as the share of votes that one wins against an average rival: Bradley and Terry's probability."""
    if strength is None:
        return None
    low, high = (None if end is None else chance_of(end) for end in (strength.low, strength.high))
    return PercentBar(Interval(chance_of(strength.mean), low, high, strength.n))


def chance_of(strength: float) -> float:
    """Of winning against a rival of strength 0."""
    return 1 / (1 + math.exp(-strength))


def agreement_bar(item: Agreement) -> PercentBar:
    return PercentBar(Interval(item.share, item.low, item.high, item.cases))
