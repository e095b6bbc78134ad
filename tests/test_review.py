"""The review over a real socket: who may come in, what is shown, what a form does to which file."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from harness.commands.cli import main
from harness.commands.review import write_entry
from harness.core.errors import LoraError
from harness.judging.baseline import parse_baseline
from harness.judging.changes import compare_scores
from harness.models.lora.registry import read_champion, read_history, record_path
from harness.report import to_lines
from harness.report.review import decisions
from harness.report.review.evidence import ChallengerEvidence
from harness.report.review.server import LARGEST_FORM, ReviewServer
from tests.reviewing import SUITE, Browser, Project, copy_project, make_project, serving
from tests.support import ROOT

PAGES = ("/", "/compare", "/challengers", "/vote", "/people", f"/case?suite={SUITE}&case=night-staff")
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7*7 }} Көсе \u202e"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """For tests that change nothing."""
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def server(shared: Project) -> Iterator[ReviewServer]:
    with serving(shared) as started:
        yield started


@pytest.fixture
def browser(server: ReviewServer) -> Browser:
    return Browser(server)


@pytest.fixture
def project(shared: Project, tmp_path: Path) -> Project:
    return copy_project(shared, tmp_path)


def talk(server: ReviewServer, *lines: str, body: bytes = b"") -> bytes:
    """What the server answers to a request as it stands; the cookie of a known browser is sent with it."""
    head = [*lines, f"Cookie: {server.cookie}={server.session}", "Connection: close", "", ""]
    with socket.create_connection(server.server_address[:2], timeout=10) as wire:
        wire.sendall("\r\n".join(head).encode() + body)
        return b"".join(iter(lambda: wire.recv(65536), b""))


def status(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1])


# --- who may come in ------------------------------------------------------------------------------------------------


def test_the_address_with_the_token_lets_a_browser_in(server: ReviewServer) -> None:
    first = requests.get(server.address, allow_redirects=False, timeout=10)

    assert first.status_code == 303 and first.headers["Location"] == "/"
    assert re.search(r"; HttpOnly; SameSite=Strict$", first.headers["Set-Cookie"])
    assert server.token not in first.headers["Set-Cookie"]


def test_a_token_lets_one_browser_in(server: ReviewServer) -> None:
    told: list[str] = []
    server.entered = lambda: told.append(server.address)
    spent = server.address

    assert requests.get(spent, timeout=10).status_code == 200
    assert requests.get(spent, timeout=10).status_code == 403
    assert told == [server.address] and server.address != spent
    assert requests.get(server.address, timeout=10).status_code == 200


def test_a_browser_is_sent_by_a_file_that_nobody_else_reads(server: ReviewServer, tmp_path: Path) -> None:
    page = write_entry(tmp_path, server.address)
    address = re.search(r"url=([^\"]+)", page.read_text(encoding="utf-8"))
    assert address and server.token in address[1] and server.token not in page.as_uri()

    reply = requests.get(address[1], allow_redirects=False, timeout=10)

    assert reply.status_code == 200 and 'content="0; url=/"' in reply.text, "a page of ours leads on, with the cookie"
    assert server.cookie in reply.cookies


@pytest.mark.parametrize("length", ["9" * 5000, "1" * 16, "-1", "1e3", "\u00b2", "0x10"])
def test_host_comes_before_whatever_else_a_request_says(server: ReviewServer, length: str) -> None:
    lines = ["POST /vote HTTP/1.1", "Host: evil.example", f"Content-Length: {length}"]
    with socket.create_connection(server.server_address[:2], timeout=10) as wire:
        wire.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
        wire.shutdown(socket.SHUT_WR)
        reply = b"".join(iter(lambda: wire.recv(65536), b""))
    assert status(reply) == 403 and reply.endswith(b"403 Forbidden\n")


def test_a_length_of_many_digits_is_too_large_and_no_crash(
    server: ReviewServer, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"Host: localhost:{server.server_port}", f"Origin: http://localhost:{server.server_port}"]
    form = [*lines, "Content-Type: application/x-www-form-urlencoded"]
    with socket.create_connection(server.server_address[:2], timeout=10) as wire:
        head = [
            "POST /vote HTTP/1.1",
            *form,
            f"Cookie: {server.cookie}={server.session}",
            f"Content-Length: {'9' * 5000}",
        ]
        wire.sendall("\r\n".join([*head, "", ""]).encode())
        wire.shutdown(socket.SHUT_WR)
        reply = b"".join(iter(lambda: wire.recv(65536), b""))
    assert status(reply) == 413
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
@pytest.mark.parametrize("path", ["/", "/vote", "/approve", "/static/style.css", "/nothing", "/?token=wrong"])
def test_a_browser_without_the_token_gets_403_and_nothing_else(server: ReviewServer, method: str, path: str) -> None:
    stranger = Browser(server, enter=False)

    reply = stranger.request(method, stranger.home + path, headers={"Cookie": f"{server.cookie}=guess"})

    assert reply.status_code == 403
    assert reply.text in ("403 Forbidden\n", "")
    assert "Set-Cookie" not in reply.headers and "Python" not in str(reply.headers)


def test_it_listens_on_this_machine_only(server: ReviewServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1:{port}.evil.example", ""])
def test_a_name_that_was_made_to_resolve_here_is_refused(server: ReviewServer, host: str) -> None:
    said = host.format(port=server.server_port)

    assert status(talk(server, "GET / HTTP/1.1", f"Host: {said}")) == 403
    assert status(talk(server, "GET / HTTP/1.1", f"Host: localhost:{server.server_port}")) == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1", ""]
)
def test_a_form_of_another_site_does_nothing(server: ReviewServer, shared: Project, origin: str) -> None:
    browser = Browser(server)
    headers = {"Origin": origin.format(port=server.server_port)} if origin else {"Origin": None}  # type: ignore[dict-item]

    reply = browser.submit("/refuse", headers, seat=SUITE, lora=shared.challenger, who="x", why="y")

    assert reply.status_code == 403
    assert not (shared.reviews / "decisions.jsonl").exists()


def test_a_form_without_the_pages_secret_does_nothing(browser: Browser, shared: Project) -> None:
    for secret in ("", "guess"):
        form = {"csrf": secret, "seat": SUITE, "champion": shared.champion, "lora": shared.challenger}
        assert browser.submit("/refuse", **form, who="x", why="y").status_code == 403
    assert not (shared.reviews / "decisions.jsonl").exists()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/approve", "POST"), ("PUT", "/", "GET, HEAD"), ("DELETE", "/people", "GET, HEAD")],
)
def test_the_wrong_method_is_told_the_right_one(browser: Browser, method: str, path: str, allowed: str) -> None:
    reply = browser.request(method, browser.home + path)

    assert reply.status_code == 405 and reply.headers["Allow"] == allowed


def test_a_method_that_nobody_knows_is_refused(browser: Browser) -> None:
    assert browser.request("BREW", browser.home + "/").status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/base.html",
        "/image/../../records.sqlite",
        "/image/" + "A" * 64,
        "/run/{run}/../../records.sqlite",
        "/run/{run}/%2e%2e%2frecords.sqlite",
        "/run/{run}/images/../index.html",
        "//etc/passwd",
        "http://127.0.0.1/etc/passwd",
        "*",
    ],
)
def test_no_path_climbs_out(server: ReviewServer, shared: Project, path: str) -> None:
    run = re.search(r"/run/(\w+)/", Browser(server).page("/"))
    assert run
    reply = talk(server, f"GET {path.format(run=run[1])} HTTP/1.1", f"Host: {server.hosts[0]}")

    assert status(reply) == 404 or b"<h1>Runs</h1>" in reply, "a target that is no path of ours is the list of runs"
    assert b"root:" not in reply and b"SQLite" not in reply and b"import" not in reply


def test_what_is_too_large_or_no_form_is_refused(server: ReviewServer, browser: Browser) -> None:
    large = browser.submit("/comment", text="x" * (LARGEST_FORM + 1))
    other = browser.submit("/comment", {"Content-Type": "application/json"}, text="x")
    head = [
        f"Host: {server.hosts[0]}",
        f"Origin: http://{server.hosts[0]}",
        "Content-Type: application/x-www-form-urlencoded",
    ]

    assert large.status_code == 413 and other.status_code == 415
    assert status(talk(server, "POST /comment HTTP/1.1", *head)) == 411
    assert status(talk(server, "POST /comment HTTP/1.1", *head, "Content-Length: -1")) == 411
    assert status(talk(server, "POST /comment HTTP/1.1", *head, "Transfer-Encoding: chunked", body=b"0\r\n\r\n")) == 411
    assert status(talk(server, f"GET /{'x' * 70_000} HTTP/1.1", head[0])) == 414
    assert status(talk(server, f"GET /?{'&'.join('a=1' for _ in range(99))} HTTP/1.1", head[0])) == 400


def test_every_answer_forbids_what_a_page_need_not_do(browser: Browser) -> None:
    for path in (*PAGES, "/static/script.js", "/nothing"):
        headers = browser.get(browser.home + path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert not [name for name in headers if name.lower().startswith("access-control")]


# --- what is shown --------------------------------------------------------------------------------------------------


def test_runs_are_listed_the_newest_first_and_a_broken_one_says_why(project: Project) -> None:
    broken = project.root / "reports" / "broken"
    broken.mkdir()
    (broken / "results.json").write_text("{}", encoding="utf-8")

    with serving(project) as server:
        page = Browser(server).page("/")

    assert page.index("2026-01-02 12:00") < page.index("2026-01-01 12:00")
    assert "unreadable" in page and "schema None" in page


def test_a_report_is_served_under_its_own_policy(browser: Browser, shared: Project) -> None:
    (run,) = set(re.findall(r'<h2>.*?/run/(\w+)/">2026-01-02', browser.page("/")))
    reply = browser.get(f"{browser.home}/run/{run}/")
    image = shared.records["challenger"]["cases"][0]["samples"][0]["image"]

    assert reply.status_code == 200 and "script-src 'sha256-" in reply.headers["Content-Security-Policy"]
    assert browser.get(f"{browser.home}/run/{run}/images/{image}.png").content == shared.store.image(image)
    assert browser.get(f"{browser.home}/run/{run}/results.json").json()["run"]["id"] == "challenger"
    assert browser.get(f"{browser.home}/run/{run}/nothing.html").status_code == 404
    assert browser.get(f"{browser.home}/run/{'0' * 12}/").status_code == 404


def test_pictures_come_by_hash_and_only_whole(project: Project) -> None:
    images = [case["samples"][0]["image"] for case in project.records["champion"]["cases"][:3]]
    project.store.image_path(images[1]).write_bytes(b"\x89PNG\r\n\x1a\n another picture")
    beside = project.root / "reports" / "champion" / "images" / f"{images[2]}.png"
    beside.parent.mkdir()
    project.store.image_path(images[2]).rename(beside)

    with serving(project) as server:
        browser = Browser(server)
        whole, altered, other, lost = (browser.get(f"{browser.home}/image/{sha}") for sha in [*images, "0" * 64])

    assert whole.content == project.store.image(images[0]) and whole.headers["Content-Type"] == "image/png"
    assert altered.status_code == 404 and lost.status_code == 404
    assert other.status_code == 200, "a report from elsewhere brings its pictures with it"


def test_two_runs_are_compared_in_pairs(browser: Browser) -> None:
    new, old = re.findall(r'<option value="(\w+/aldar-kose)"', browser.page("/"))[:2]
    page = browser.page("/compare", new=new, old=old)
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())

    assert re.search(r"better lora \w{8} is better than lora \w{8}: quality 0\.9\d against 0\.7\d, \+0\.15 \[", text)
    assert "12 pictures in pairs" in text and "4 cases" in text
    assert page.count('<figure class="duo">') == 12
    assert "These are the same" in browser.page("/compare", new=new, old=new)
    assert "better" in browser.page("/compare", new=new, old=new, old_by="base")


@pytest.mark.parametrize("path", ["/", "/compare"])
def test_the_newest_run_and_the_one_before_it_of_its_suite_are_preselected(project: Project, path: str) -> None:
    other = json.loads(json.dumps(project.records["champion"]).replace('"aldar-kose"', '"other"'))
    other["run"]["started"] = "2026-01-01T18:00:00+00:00"  # between the two
    (project.root / "reports" / "other").mkdir()
    (project.root / "reports" / "other" / "results.json").write_text(to_lines(other), encoding="utf-8")
    with serving(project) as server:
        page = Browser(server).page(path)
    chosen = [re.findall(r"<option[^>]* selected>([^<]+)", part) for part in re.findall(r"<select.*?</select>", page)]

    assert [option[:10] for (option,) in chosen] == ["2026-01-02", "2026-01-01"]
    assert all("aldar-kose" in option for (option,) in chosen)


def test_scores_that_do_not_mean_the_same_are_not_compared(project: Project) -> None:
    project.add_run("odd", project.champion, 0.8, "2026-01-03T00:00:00+00:00", scorer={"identity": "9" * 64})
    with serving(project) as server:
        browser = Browser(server)
        new, old = re.findall(r'<option value="(\w+/aldar-kose)"', browser.page("/"))[:2]
        page = browser.page("/compare", new=new, old=old)

    assert "Their scores do not mean the same" in page and "scorer.identity" in page
    assert "is better than" not in page and '<figure class="duo">' in page


def test_hostile_strings_are_text_on_every_page(project: Project) -> None:
    record = json.loads(json.dumps(project.records["champion"]))
    for case in record["cases"]:
        case["prompt"] = case["case"] = HOSTILE
        case["provider"] = HOSTILE if case["provider"] == "base" else case["provider"]
    for row in record["leaderboard"]:
        row["provider"] = HOSTILE if row["provider"] == "base" else row["provider"]
    record["gate"]["reasons"] = [HOSTILE]
    record["suites"][0]["subject"]["name"] = record["run"]["profile"] = record["run"]["started"] = HOSTILE
    record["rounds"] = [{"suite": SUITE, "place": f"loras/{HOSTILE}", "challenger": {"sha256": HOSTILE}}]
    (project.root / "reports" / "champion" / "results.json").write_text(to_lines(record), encoding="utf-8")

    with serving(project, who=HOSTILE[:99]) as server:
        browser = Browser(server)
        browser.vote("left")
        assert browser.submit("/comment", suite=SUITE, case=HOSTILE, who=HOSTILE[:90], text=HOSTILE).status_code == 200
        odd = re.findall(r"/run/(\w+)/", browser.page("/"))[0]  # its date is the greatest text
        seen = [browser.page(path) for path in ("/", "/compare", "/challengers", "/vote", "/people")]
        seen.append(browser.page("/case", suite=SUITE, case=HOSTILE))
        seen.append(browser.page("/compare", new=f"{odd}/{SUITE}", old=f"{odd}/{SUITE}", old_by=HOSTILE))

    for page in seen:
        assert "<script>alert" not in page and "<img src=x" not in page and "\u202e" not in page and " 49 " not in page
        assert page.count("<script") == 1
    assert "&lt;script&gt;alert(1)" in seen[0]


# --- votes and comments ---------------------------------------------------------------------------------------------


def test_twenty_votes_give_the_documented_file(project: Project) -> None:
    with serving(project) as server:
        browser = Browser(server)
        for number in range(20):
            shown = browser.page("/vote")
            assert not re.search(
                r"prompt_only|painter|base\b|lora [0-9a-f]{8}",
                re.sub(r'<div class="reveal".*?</div>', "", shown, flags=re.DOTALL),
            )
            assert browser.vote(("left", "right", "tie", "skip")[number % 4]).status_code == 200
        people = browser.page("/people")
    file = json.loads((project.reviews / "votes.json").read_text("utf-8"))
    votes = file["votes"]

    assert {name: file[name] for name in ("kind", "schema", "suite")} == {
        "kind": "lora-harness votes",
        "schema": 1,
        "suite": SUITE,
    }
    assert len(votes) == 20 and votes == sorted(votes, key=lambda vote: (vote["case"], vote["seed"], vote["id"]))
    assert {vote["who"] for vote in votes} == {"Aigerim"}
    assert [sum(vote["choice"] == word for vote in votes) for word in ("left", "right", "tie", "skip")] == [5] * 4
    known = {
        (case["case"], sample["seed"], sample["image"]): sample["scores"]["quality"]["value"]
        for record in project.records.values()
        for case in record["cases"]
        for sample in case["samples"]
        if sample["image"] and case["provider"] != "lora"
    }
    for vote in votes:
        for side in (vote["left"], vote["right"]):
            if not side["player"].startswith("lora "):
                assert side["scores"]["quality"] == pytest.approx(
                    known[vote["case"], vote["seed"], side["image"]], abs=1e-6
                )
    assert "10 decided, 5 without a difference, 5 skipped" in people


def test_pairs_of_the_lora_under_test_can_be_asked_for_alone(project: Project) -> None:
    with serving(project) as server:
        browser = Browser(server)
        counts = [int(text) for text in re.findall(r">(?:all|the) (\d+) (?:pairs|with)", browser.page("/vote"))]
        for _ in range(12):
            page = browser.page("/vote", among="lora")
            form = re.search(r'name="pair" value="(\w+)"><input type="hidden" name="left" value="(\w+)"', page)
            assert form and 'name="among" value="lora"' in page
            said = browser.submit("/vote", suite=SUITE, pair=form[1], left=form[2], choice="tie", among="lora")
            assert f"of {counts[1]} pairs judged" in said.text, "the choice stays"
        browser.vote("tie")
    votes = json.loads((project.reviews / "votes.json").read_text("utf-8"))["votes"]
    chosen = [vote for vote in votes if vote["among"] == "lora"]

    assert counts[1] < counts[0] and (len(chosen), len(votes)) == (12, 13)
    assert all(
        vote["left"]["player"].startswith("lora ") or vote["right"]["player"].startswith("lora ") for vote in chosen
    )


def test_a_pair_is_judged_once_by_a_person_and_can_be_taken_back(project: Project) -> None:
    with serving(project) as server:
        browser = Browser(server)
        first = browser.page("/vote")
        form = re.search(r'name="pair" value="(\w+)"><input type="hidden" name="left" value="(\w+)"', first)
        assert form
        for choice in ("left", "right"):  # a key that bounced
            after = browser.submit("/vote", suite=SUITE, pair=form[1], left=form[2], choice=choice)
        kept = json.loads((project.reviews / "votes.json").read_text("utf-8"))["votes"]
        assert [vote["choice"] for vote in kept] == ["left"] and form[1] not in after.text
        browser.submit("/undo", suite=SUITE, vote=kept[0]["id"])
        again = browser.page("/vote")
        for bad in ({"choice": "both"}, {"pair": "0" * 32}, {"left": "0" * 64}):
            given = {"suite": SUITE, "pair": form[1], "left": form[2], "choice": "left", **bad}
            assert browser.submit("/vote", **given).status_code in (400, 409)

    assert f'value="{form[1]}"' in again and f'value="{form[2]}"' in again, "the same pair, the same way round"
    (mark,) = json.loads((project.reviews / "votes.json").read_text("utf-8"))["votes"]
    assert mark["withdrawn"] is True


def test_a_comment_is_kept_with_its_lines(project: Project) -> None:
    with serving(project) as server:
        browser = Browser(server)
        reply = browser.submit(
            "/comment", suite=SUITE, case="night-staff", who="Бекзат", text="no staff\r\n\r\ntwice\u2028"
        )
        for bad in ({"text": " "}, {"text": "x" * 4_001}, {"case": "no-such"}, {"who": ""}, {"suite": "../up"}):
            form = {"suite": SUITE, "case": "night-staff", "who": "x", "text": "x", **bad}
            assert browser.submit("/comment", **form).status_code in (400, 404)
    (kept,) = json.loads((project.reviews / "comments.json").read_text("utf-8"))["comments"]

    assert kept["text"] == "no staff\n\ntwice" and kept["who"] == "Бекзат" and kept["case"] == "night-staff"
    assert "no staff" in reply.text and not (project.root / "up").exists()


# --- decisions ------------------------------------------------------------------------------------------------------


def decide(browser: Browser, project: Project, act: str, **changes: Any) -> requests.Response:
    """The form of the challenger's card, as the page fills it."""
    page = browser.page("/challengers")
    run = re.search(r'name="run">\s*<option value="([^"]+)">from aldar-kose, 2026-01-02', page)
    form = {
        "seat": SUITE,
        "champion": project.champion,
        "lora": project.challenger,
        "who": "Aigerim",
        "why": "the hat is right at last",
        "run": run[1] if run else "",
    }
    return browser.submit(act, **{**form, **changes})


def test_an_approval_writes_registry_baseline_and_audit(project: Project) -> None:
    with serving(project) as server:
        browser = Browser(server)
        shown = browser.page("/challengers")
        reply = decide(browser, project, "/approve")
    champion = read_champion(project.weights)
    path = project.root / "suites" / "baselines" / "aldar-kose.json"
    baseline = parse_baseline(path.read_text("utf-8"), SUITE, "here")
    (line,) = project.lines()

    assert "better than the champion</span>" in shown and "+0.15 [" in shown
    assert champion and champion.sha256 == project.challenger and champion.lineage == (project.champion,)
    assert champion.reason == "approved by Aigerim: the hat is right at last"
    assert champion.scores["review"] == {"who": "Aigerim", "run": line["run"] and champion.scores["review"]["run"]}
    assert champion.scores["quality"]["mean"] == pytest.approx(line["scores"]["quality"]["mean"])
    assert baseline.providers["lora"].lora == project.challenger and len(baseline.scores) == 12
    assert {name: line[name] for name in ("decision", "suite", "who", "why", "lora", "champion", "run")} == {
        "decision": "approve",
        "suite": SUITE,
        "who": "Aigerim",
        "why": "the hat is right at last",
        "lora": project.challenger,
        "champion": project.champion,
        "run": "challenger",
    }
    assert "is the champion" in reply.text and "wrote " in reply.text


def test_a_refusal_keeps_the_champion_and_says_why(project: Project) -> None:
    before = project.weights.read_bytes(), record_path(project.weights).read_bytes()
    with serving(project) as server:
        reply = decide(Browser(server), project, "/refuse", why="the sash lost its colour")
    (line,) = project.lines()

    assert (project.weights.read_bytes(), record_path(project.weights).read_bytes()) == before
    assert (line["decision"], line["why"]) == ("refuse", "the sash lost its colour")
    assert "Refused by Aigerim: the sash lost its colour" in reply.text
    assert not (project.root / "suites" / "baselines").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"why": "  "}, "why: must be said"),
        ({"why": "x" * 2_001}, "at most 2,000"),
        ({"who": ""}, "a name is needed"),
        ({"champion": "0" * 64}, "has changed since"),
        ({"lora": "0" * 64}, "no such challenger"),
        ({"seat": "elsewhere"}, "no such champion"),
        ({"run": "000000000000/aldar-kose"}, "no such run"),
    ],
    ids=["no reason", "long reason", "nobody", "stale page", "unknown", "no seat", "no run"],
)
def test_a_decision_that_cannot_be_carried_out_is_none(
    server: ReviewServer, shared: Project, changes: dict[str, str], words: str
) -> None:
    reply = decide(Browser(server), shared, "/approve", **changes)

    assert reply.status_code in (400, 404, 409) and words in reply.text
    assert not (shared.reviews / "decisions.jsonl").exists()
    assert read_history(shared.weights)[-1]["sha256"] == shared.champion


def test_a_run_of_another_lora_is_no_evidence(project: Project) -> None:
    with serving(project) as server:
        browser = Browser(server)
        old = re.search(r'<option value="(\w+/aldar-kose)">2026-01-01', browser.page("/compare"))
        assert old
        reply = decide(browser, project, "/approve", run=old[1])

    assert reply.status_code == 409 and "another LoRA under test" in reply.text
    assert read_history(project.weights)[-1]["sha256"] == project.champion


def test_a_challenger_that_was_changed_on_disk_is_refused(project: Project) -> None:
    (kept,) = (project.weights.parent / "challengers").glob("*.safetensors")
    with serving(project) as server:
        browser = Browser(server)
        browser.page("/challengers")
        kept.write_bytes(kept.read_bytes() + b"\0")
        reply = decide(browser, project, "/approve")

    assert reply.status_code == 409 and "was changed" in reply.text
    assert not (project.reviews / "decisions.jsonl").exists()


def spoil(project: Project) -> None:
    """The challenger's only run becomes a red one."""
    shutil.rmtree(project.root / "reports" / "challenger")
    project.add_run("red", project.challenger, 0.4, "2026-01-02T12:00:00+00:00")


def tick(browser: Browser) -> str:
    """What the page's box "approve although" stands for."""
    found = re.search(r'name="although" value="(\w+)"', browser.page("/challengers"))
    return found[1] if found else ""


def test_the_page_shows_why_to_decide(browser: Browser) -> None:
    page = browser.page("/challengers")

    assert re.search(r'<b class="figure">\+0\.15 \[[^]]+\]</b> <span class="quiet">12 pairs, 4 cases', page)
    assert page.count(", champion") == page.count(", challenger") == 4, "pairs of pictures, one a case"
    assert tick(browser) == "" and '<option value="" selected>' not in page, "nothing speaks against it"


def test_what_is_not_proven_better_is_approved_only_although(project: Project) -> None:
    spoil(project)
    with serving(project) as server:
        browser = Browser(server)
        page = browser.page("/challengers")
        refused = [decide(browser, project, "/approve", run="", **given) for given in ({}, {"although": "0" * 32})]
        before = (project.reviews / "decisions.jsonl").exists()
        decide(browser, project, "/approve", run="", although=tick(browser))
    (line,) = project.lines()

    assert '<option value="" selected>leave it as it is' in page, "nobody blesses it by accident"
    assert "approve although" in page and "not proven better than the champion, -0.3" in page
    assert all(reply.status_code == 409 and "not proven better" in reply.text for reply in refused) and not before
    assert line["although"][0] == "aldar-kose: the verdict is fail" and "not proven better" in line["although"][1]
    assert line["tested"][0]["run"] == "red" and line["tested"][0]["quality"]["high"] < 0
    assert read_history(project.weights)[-1]["sha256"] == project.challenger


def test_a_suite_of_the_same_champion_that_was_not_run_is_an_objection(project: Project) -> None:
    text = (project.root / "suites" / "aldar_kose.yaml").read_text("utf-8")
    (project.root / "suites" / "night.yaml").write_text(text.replace("suite: aldar-kose", "suite: night"), "utf-8")
    with serving(project) as server:
        browser = Browser(server)
        reply = decide(browser, project, "/approve")
        page = browser.page("/challengers")

    assert reply.status_code == 409 and "night: it was not run" in reply.text
    assert "night: it was not run" in page and "not run</span>" in page


def test_a_red_run_becomes_the_baseline_only_all_the_same(project: Project) -> None:
    spoil(project)
    with serving(project) as server:
        browser = Browser(server)
        although = tick(browser)
        first = decide(browser, project, "/approve", although=although)
        assert (
            first.status_code == 409 and "nothing was done" in first.text and "the gate of lora says fail" in first.text
        )
        assert read_history(project.weights)[-1]["sha256"] == project.champion
        assert not (project.reviews / "decisions.jsonl").exists()
        second = decide(browser, project, "/approve", although=although, anyway="1")

    assert "although" in second.text
    assert read_history(project.weights)[-1]["sha256"] == project.challenger


def test_a_run_of_the_champion_is_blessed_and_a_former_one_comes_back(project: Project) -> None:
    with serving(project) as server:
        browser = Browser(server)
        run = re.search(r'<option value="(\w+/aldar-kose)">from aldar-kose, 2026-01-01', browser.page("/challengers"))
        assert run
        browser.submit("/bless", run=run[1], who="Aigerim", why="a good state")
        decide(browser, project, "/approve", run="")
        back = {"seat": SUITE, "champion": project.challenger, "lora": project.champion}
        browser.submit("/rollback", **back, who="Aigerim", why="night scenes broke")
    baseline = (project.root / "suites" / "baselines" / "aldar-kose.json").read_text("utf-8")
    history = read_history(project.weights)

    assert [line["decision"] for line in project.lines()] == ["bless", "approve", "rollback"]
    assert parse_baseline(baseline, SUITE, "here").providers["lora"].lora == project.champion
    assert [record["sha256"] for record in history] == [project.champion, project.challenger, project.champion]
    assert history[-1]["reason"].endswith("by Aigerim: night scenes broke")


def test_what_sign_flips_do_not_bear_out_is_an_objection() -> None:
    gains = [0.3] * 5 + [-0.02]
    new = {"quality": {(f"c{number}", 0): 0.5 + gain for number, gain in enumerate(gains)}}
    old = {"quality": {(f"c{number}", 0): 0.5 for number in range(len(gains))}}
    side: Any = object()

    (said,) = ChallengerEvidence("s", side, side, verdict="pass", changes=compare_scores(new, old, 0.05)).objections

    assert "do not bear it out" in said


def test_a_deed_that_fails_is_written_down(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LoraError("the disk is full")

    monkeypatch.setattr(decisions, "promote", fail)
    with serving(project) as server:
        browser = Browser(server)
        reply = decide(browser, project, "/approve", run="")
        page = browser.page("/challengers")
    first, second = project.lines()

    assert reply.status_code == 409 and "the disk is full" in reply.text
    assert (second["decision"], second["of"], second["why"]) == ("failed", first["id"], "the disk is full")
    assert "failed" in page


# --- the command ----------------------------------------------------------------------------------------------------


@contextmanager
def hearing_ctrl_c() -> Iterator[None]:
    """What is started within hears it: a shell makes what it runs in the background deaf, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def start(project: Project) -> tuple[subprocess.Popen[str], str]:
    """`harness review` in a process of its own, and its address."""
    code = "import sys; from harness.commands.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "review", "--no-browser", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    with hearing_ctrl_c():
        process = subprocess.Popen(
            command, cwd=project.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    assert process.stdout
    line = process.stdout.readline()
    assert line.startswith("review: http://127.0.0.1:"), line
    return process, line.split()[1]


def test_ctrl_c_ends_it_cleanly(project: Project) -> None:
    process, address = start(project)
    try:
        assert requests.get(address, timeout=10).status_code == 200
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=20)
    finally:
        process.kill()

    assert process.returncode == 0 and "ended" in told and "Traceback" not in told


def test_kill_9_loses_no_vote(project: Project) -> None:
    process, address = start(project)
    with requests.Session() as client:
        client.trust_env = False
        client.get(address, timeout=10)
        home = address.partition("/?")[0]
        for _ in range(5):
            page = client.get(f"{home}/vote", timeout=10).text
            form = dict(re.findall(r'<input type="hidden" name="(csrf|pair|left|suite)" value="([^"]*)"', page))
            client.post(f"{home}/vote", data={**form, "choice": "right"}, headers={"Origin": home}, timeout=10)
    process.kill()
    process.communicate(timeout=20)
    (project.reviews / "votes.json").unlink()  # as if it had been killed before the file was written

    with serving(project) as server:
        browser = Browser(server)
        browser.vote("left")

    assert len(json.loads((project.reviews / "votes.json").read_text("utf-8"))["votes"]) == 6


def test_a_port_that_is_taken_is_told(
    project: Project, server: ReviewServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)

    assert main(["review", "--no-browser", "--port", str(server.server_port)]) == 2
    assert "0 takes a free one" in capsys.readouterr().err
