"""What is shown. A page is made from files each time it is asked for; nothing but names is remembered in between."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from harness import __version__
from harness.core.errors import HarnessError
from harness.core.values import Interval, to_record
from harness.judging.results import relative
from harness.report.review.agreement import Agreement, known_scores, measure_all, people_agree
from harness.report.review.app_state import Desk
from harness.report.review.comparing import compare_view, run_choices, usual_pair
from harness.report.review.ledger import Ballot
from harness.report.review.promotions import seats_view
from harness.report.review.responses import Query, Refusal, Reply
from harness.report.review.runs import Part, Shot
from harness.report.review.votes import (
    LEAST_CASES,
    SETTLED,
    Standing,
    draw_order,
    judged,
    make_pairs,
    show,
    standings,
    with_lora,
)
from harness.report.terminal import bounds_text
from harness.report.words import bar, text, verdict_word

if TYPE_CHECKING:
    from jinja2 import Environment

LONGEST = 5_000  # characters of one foreign text
TINY = 64  # pixels: up to this width a picture is enlarged pixel by pixel; others smoothly, as in the report
REFERENCES = 5  # shown beside a blind pair
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}  # a name that is a hash has one content
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


@cache
def templates() -> Environment:
    """Everything that is printed is a text node without switches of the reading direction, unless it is our own."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("harness.report.review", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=plain,
    )


def plain(value: Any) -> Any:
    return text(value, LONGEST) if type(value) is str else value


def render(desk: Desk, secret: str, name: str, **context: Any) -> Reply:
    """A page of ours."""
    page = templates().get_template(f"{name}.html")
    whole = page.render(page=name, csrf=secret, who=desk.who, version=__version__, picture=picture_of(desk), **context)
    return Reply(body=whole.encode("utf-8", "replace"))


def picture_of(desk: Desk) -> Any:
    """A function for templates: a hash to how its picture is shown, or None when nobody has it."""

    def find(sha: str) -> dict[str, Any] | None:
        path = desk.picture_path(sha)
        if path is None:
            return None
        with path.open("rb") as stream:
            head = stream.read(24)
        tiny = head.startswith(b"\x89PNG") and int.from_bytes(head[16:20], "big") <= TINY
        return {"src": f"/image/{sha}", "tiny": tiny}

    return find


def trouble_page(desk: Desk, refusal: Refusal, secret: str) -> Reply:
    return render(desk, secret, "trouble", status=refusal.status.phrase, words=refusal.words)


# --- files ------------------------------------------------------------------------------------------------------------


def asset(name: str, kind: str, desk: Desk, query: Query, secret: str) -> Reply:
    data = (files("harness.report.review") / "templates" / name).read_bytes()
    return Reply(body=data, kind=kind, headers={"Cache-Control": "no-cache"})


def picture(sha: str, desk: Desk, query: Query, secret: str) -> Reply:
    """A picture by its hash, from the store or from beside a run; its bytes say what it is."""
    try:
        data = desk.picture_bytes(sha)
    except HarnessError as error:
        raise Refusal(HTTPStatus.NOT_FOUND, "there is no such picture, or it was damaged") from error
    kind = next((kind for start, kind in KINDS.items() if data.startswith(start)), "")
    if not kind and data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "image/webp"
    if not kind:
        raise Refusal(HTTPStatus.NOT_FOUND, "this is no picture")
    return Reply(body=data, kind=kind, headers=FOREVER)


def report_page(run_id: str, file: str, desk: Desk, query: Query, secret: str) -> Reply:
    """A file of a run's report; the page keeps its own policy, and may also show the originals."""
    run = desk.runs.get(run_id)
    folder = desk.report(run) if run else None
    found = {path.name: path for path in folder.iterdir() if path.is_file()} if folder else {}
    kind = REPORT_KINDS.get(file.rpartition(".")[2])
    if file not in found or kind is None:
        raise Refusal(HTTPStatus.NOT_FOUND, "there is no such report (any more)")
    body = found[file].read_bytes()
    policy = META.search(body[:20_000].decode("utf-8", "replace")) if file.endswith(".html") else None
    said = html.unescape(policy[1]) if policy else CLOSED
    return Reply(body=body, kind=kind, headers={"Content-Security-Policy": f"{said}; frame-ancestors 'none'"})


# --- runs -------------------------------------------------------------------------------------------------------------


def runs_page(desk: Desk, query: Query, secret: str) -> Reply:
    """Every run in the reports folder."""
    runs = desk.runs.all()
    champions = {seat.sha256: seat for seat in desk.seats(runs) if seat.sha256}
    rows = [
        {
            "run": run,
            "verdict": verdict_word(run.verdict),
            "parts": [part_view(part, champions) for part in run.parts.values()],
        }
        for run in runs
    ]
    choices = run_choices(runs)
    return render(
        desk,
        secret,
        "runs",
        rows=rows,
        choices=choices,
        usual=usual_pair(choices),
        folder=relative(desk.runs.folder),
        suites=desk.names(runs),
    )


def part_view(part: Part, champions: Mapping[str, Any]) -> dict[str, Any]:
    quality = part.quality.get(part.main)
    return {
        "part": part,
        "quality": bar(to_record(quality)) if quality else None,
        "role": "champion" if part.lora in champions else "",
    }


def compare_page(desk: Desk, query: Query, secret: str) -> Reply:
    """Two runs, or two providers of one, side by side."""
    choices = run_choices(desk.runs.all())
    usual = usual_pair(choices)
    return render(desk, secret, "compare", choices=choices, usual=usual, **compare_view(desk.runs, query))


def challengers_page(desk: Desk, query: Query, secret: str) -> Reply:
    """Champions, who wants their place, and what was decided."""
    said, desk.said = desk.said, []
    runs = desk.runs.all()
    return render(desk, secret, "challengers", said=said, **seats_view(desk, runs))


def case_page(desk: Desk, query: Query, secret: str) -> Reply:
    """One case: everybody's pictures, and what people say of it."""
    suite, case = query.get("suite"), query.get("case")
    shots: dict[str, dict[int, Shot]] = {}
    for run in desk.runs.all():
        for shot in run.shots:
            if (shot.suite, shot.case) == (suite, case):
                shots.setdefault(shot.player, {}).setdefault(shot.seed, shot)
    if not shots:
        raise Refusal(HTTPStatus.NOT_FOUND, "there is no such case in any run")
    prompts = list(dict.fromkeys(shot.prompt for seeds in shots.values() for shot in seeds.values()))
    seeds = sorted({seed for found in shots.values() for seed in found})
    comments = [item for item in desk.comments(suite).valid() if item.case == case]
    return render(
        desk, secret, "case", suite=suite, case=case, prompts=prompts, seeds=seeds, shots=shots, comments=comments
    )


# --- votes ------------------------------------------------------------------------------------------------------------


def vote_page(desk: Desk, query: Query, secret: str) -> Reply:
    """The next blind pair."""
    runs = desk.runs.all()
    names = desk.names(runs)
    suite = query.get("suite") if query.get("suite") in names else next(iter(names), "")
    every = make_pairs(runs, suite)
    tested = with_lora(every, runs, suite)
    among = "lora" if query.get("among") == "lora" and tested else ""
    pairs = tested if among else every
    ballots = desk.votes(suite).valid() if suite else []
    seen = judged(suite, ballots, desk.who)
    waiting = [pair for pair in draw_order(pairs, desk.who) if pair.id not in seen]
    ready = (pair for pair in waiting if all(desk.picture_path(shot.image) for shot in (pair.one, pair.other)))
    pair = next(ready, None) if desk.who else None
    about = next((run.parts[suite] for run in runs if suite in run.parts), None)
    return render(
        desk,
        secret,
        "vote",
        suites=names,
        suite=suite,
        turn=show(pair, desk.who) if pair else None,
        among=among,
        counts={"every": len(every), "tested": len(tested)},
        total=len(pairs),
        done=sum(pair.id in seen for pair in pairs),
        last=last_vote(ballots, query.get("last"), desk.who),
        subject=about.subject if about else suite,
        references=[sha for sha in (about.references if about else ())[:REFERENCES] if desk.picture_path(sha)],
    )


def last_vote(ballots: list[Ballot], vote_id: str, who: str) -> dict[str, Any] | None:
    """What the pair before was, now that it has been answered."""
    found = next((item for item in ballots if (item.id, item.who) == (vote_id, who)), None)
    if found is None:
        return None
    return {"ballot": found, "chosen": {"left": found.left.player, "right": found.right.player}.get(found.choice)}


def people_page(desk: Desk, query: Query, secret: str) -> Reply:
    """What the votes say together: who is strongest, and which metric foresees people."""
    runs = desk.runs.all()
    names = desk.names(runs)
    suite = query.get("suite") if query.get("suite") in names else next(iter(names), "")
    ballots = desk.votes(suite).valid() if suite else []
    places, problem = standings(ballots)
    voters: dict[str, int] = {}
    for ballot in ballots:
        voters[ballot.who] = voters.get(ballot.who, 0) + 1
    return render(
        desk,
        secret,
        "people",
        suites=names,
        suite=suite,
        counts={choice: sum(item.choice == choice for item in ballots) for choice in ("left", "right", "tie", "skip")},
        voters=voters,
        cases=len({ballot.case for ballot in ballots}),
        standings=[standing_view(place) for place in places],
        thin=any(tally.votes < SETTLED for place in places for tally in place.against.values()),
        settled=SETTLED,
        least=LEAST_CASES,
        problem=problem,
        metrics=[agreement_view(item) for item in measure_all(ballots, known_scores(runs, suite))],
        ceiling=people_agree(suite, ballots),
        file=relative(desk.votes(suite).file) if suite else "",
    )


def standing_view(place: Standing) -> dict[str, Any]:
    """Strength as the share of votes that one wins against an average rival."""
    found = place.strength
    share = Interval(chance_of(found.mean), chance_of(found.low), chance_of(found.high), found.n) if found else None
    return {"place": place, "bar": percent_bar(share) if share else None}


def chance_of(strength: float | None) -> Any:
    """Bradley and Terry's probability against a rival of strength 0."""
    return None if strength is None else 1 / (1 + math.exp(-strength))


def agreement_view(item: Agreement) -> dict[str, Any]:
    words = {"agrees with people": "pass", "contradicts people": "fail"}
    share = Interval(item.share, item.low, item.high, item.cases)
    return {"item": item, "kind": words.get(item.word, "none"), "bar": percent_bar(share)}


def percent_bar(share: Interval) -> dict[str, Any] | None:
    """A share with its interval, and a line at one half."""
    made = bar(to_record(share))
    if made is None:
        return None
    figures = {"mean": share.mean, "low": share.low, "high": share.high}
    return {**made, "zero": 50.0, "text": bounds_text(figures), "value": f"{share.mean:.0%}", "range": percents(share)}


def percents(share: Interval) -> str:
    if share.low is None or share.high is None:
        return ""
    return f"[{share.low:.0%}, {share.high:.0%}]"
