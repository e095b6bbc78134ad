"""The emulator is a real server on a real socket: faults, ledger, limits, results by address, life and death."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from harness.core.errors import UsageError
from harness.emulator import FAULTS, SERVICES, Emulator, Limits, applicable, serve, share
from harness.emulator.faults import KINDS
from harness.emulator.image_generator import HABITS, paint, read_prompt
from harness.world.captions import caption
from harness.world.people import CATEGORIES, labels_of, random_person, random_scene

KEY = {"x-magnific-api-key": "anything"}
ASK: dict[str, Any] = {"prompt": "a person, smiling, steppe background", "seed": 3}
CLASSIC = "/freepik/v1/ai/text-to-image"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(scale=1 / 16) as running:
        yield running


def post(emulator: Emulator, headers: dict[str, str] | None = None, timeout: float = 10, **body: Any) -> Any:
    url, sent = f"{emulator.url}{CLASSIC}", {**KEY, **(headers or {})}
    return requests.post(url, json={**ASK, **body}, headers=sent, timeout=timeout)


def post_in_vain(emulator: Emulator) -> None:
    with contextlib.suppress(requests.RequestException):
        post(emulator)


def decode(response: Any) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(base64.b64decode(response.json()["data"][0]["base64"])))


def wait_for_calls(emulator: Emulator, count: int) -> None:
    while len(emulator.calls) < count:
        time.sleep(0.01)


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_it_draws_the_same_picture_for_the_same_request(emulator: Emulator) -> None:
    one, again, other = (decode(post(emulator, seed=seed)) for seed in (3, 3, 4))

    assert one.size == (64, 64)
    assert (np.asarray(one) == np.asarray(again)).all() and (np.asarray(one) != np.asarray(other)).any()


def test_every_answer_says_the_scale_of_its_pictures(emulator: Emulator) -> None:
    assert post(emulator).headers["X-Emulated-Scale"] == "0.0625"


def test_it_understands_every_caption_of_the_world() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        truth = labels_of(random_person(rng), random_scene(rng))

        said = read_prompt(caption(truth, rng, keep=1.0, named=0.5))

        assert said == {name: truth[name] for name in CATEGORIES}


def test_words_outside_the_world_mean_nothing() -> None:
    assert read_prompt("Aldar Kose riding a unicorn, smiling") == {"expression": "smiling"}


def test_other_shapes_are_drawn_too() -> None:
    assert paint("freepik", "a person", 1, 128, 64).size == (128, 64)


def test_every_service_has_a_hand_of_its_own() -> None:
    drawn = {name: paint(name, "a person, smiling", 1, 32, 32).tobytes() for name in HABITS}

    assert len(set(drawn.values())) == len(HABITS)


def test_a_marker_does_not_change_the_picture(emulator: Emulator) -> None:
    plain, marked = post(emulator), post(emulator, prompt=f"{ASK['prompt']} [[extra_keys]]")

    assert decode(plain).tobytes() == decode(marked).tobytes()


# --- faults -----------------------------------------------------------------------------------------------------------


def test_the_table_is_whole() -> None:
    assert {fault.kind for fault in FAULTS.values()} == set(KINDS)
    assert all(fault.what and fault.name.isidentifier() for fault in FAULTS.values())


def test_every_fault_is_served_by_some_service() -> None:
    served = {fault.name for parts in SERVICES.values() for part in parts for fault in applicable(part)}

    assert served == set(FAULTS)


def test_faults_are_spent_in_order_and_then_all_is_well() -> None:
    with Emulator(["auth", "error_500"], scale=1 / 16) as emulator:
        assert [post(emulator).status_code for _ in range(3)] == [401, 500, 200]
        assert [call.fault for call in emulator.calls] == ["auth", "error_500", "ok"]


def test_each_service_has_a_queue_of_its_own() -> None:
    with Emulator({"freepik": ["quota"], "gemini": ["auth"]}, scale=1 / 16) as emulator:
        assert [post(emulator).status_code for _ in range(2)] == [402, 200]


def test_a_prompt_or_a_header_may_ask_for_a_fault_and_the_header_wins(emulator: Emulator) -> None:
    emulator.plan("freepik", ["forbidden"])

    assert post(emulator, prompt="a person [[quota]]").status_code == 402
    assert post(emulator, {"X-Emulate": "retired"}, prompt="a person [[quota]]").status_code == 404
    assert post(emulator).status_code == 403


def test_a_fault_that_ends_is_met_once_by_the_same_request(emulator: Emulator) -> None:
    prompt = "a person [[unavailable]]"

    assert [post(emulator, prompt=prompt).status_code for _ in range(3)] == [503, 200, 200]


def test_a_fault_for_ever_stays_with_the_request_that_met_it() -> None:
    with Emulator(["rate_always"], scale=1 / 16) as emulator:
        assert [post(emulator).status_code for _ in range(3)] == [429] * 3
        assert post(emulator, seed=4).status_code == 200


def test_chance_follows_from_the_seed_and_the_request() -> None:
    met = []
    for _ in range(2):
        with Emulator(fault_rate=0.5, rate_faults=["quota", "error_500", "grid"], seed=1, scale=1 / 64) as emulator:
            met.append([post(emulator, seed=seed).status_code for seed in range(12)])

    assert met[0] == met[1] and set(met[0]) == {200, 402, 500}


def test_an_unknown_fault_is_answered_with_the_nearest(emulator: Emulator) -> None:
    with pytest.raises(UsageError, match="did you mean 'quota'"):
        Emulator(["quoata"])
    with pytest.raises(UsageError, match="freepik has no fault 'grid'"):
        emulator.plan("freepik", ["grid"])
    with pytest.raises(UsageError, match="did you mean 'gemini'"):
        emulator.plan("gemni", ["auth"])


@pytest.mark.parametrize("fault", ["dropped", "truncated"])
def test_a_connection_breaks(emulator: Emulator, fault: str) -> None:
    with pytest.raises(requests.RequestException):
        post(emulator, {"X-Emulate": fault})

    assert emulator.ledger["freepik"].accepted == 1


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_service_keeps_its_client_waiting(emulator: Emulator, fault: str) -> None:
    reply, port = b"", int(emulator.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=0.2 if fault == "hang" else 5) as connection:
        body = json.dumps(ASK)
        head = f"POST {CLASSIC} HTTP/1.1\r\nHost: localhost\r\nX-Emulate: {fault}\r\nx-freepik-api-key: k\r\n"
        connection.sendall(
            f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        with contextlib.suppress(TimeoutError):
            while not reply.partition(b"\r\n\r\n")[2][1:]:
                reply += connection.recv(1000)

    assert (fault == "drip") == reply.startswith(b"HTTP/1.1 200") and b"has_nsfw" not in reply


def test_a_wrong_length_cuts_the_reply(emulator: Emulator) -> None:
    reply = post(emulator, {"X-Emulate": "wrong_length"})

    assert reply.status_code == 200 and reply.content.startswith(b'{"data"') and not reply.content.endswith(b"}")


@pytest.mark.parametrize("fault", ["huge_body", "gzip_bomb"])
def test_a_body_without_end_stops_when_the_client_hangs_up(emulator: Emulator, fault: str) -> None:
    sent = {**KEY, "X-Emulate": fault}
    with requests.post(emulator.url + CLASSIC, json=ASK, headers=sent, timeout=5, stream=True) as reply:
        taken = sum(len(piece) for _, piece in zip(range(20), reply.iter_content(100_000), strict=False))

    assert taken > 1_000_000 and int(reply.headers.get("Content-Length", 0)) < 1_000_000
    assert post(emulator).status_code == 200


@pytest.mark.parametrize(("fault", "start"), [("html", b"<!doctype"), ("not_json", b"\x00"), ("empty_body", b"")])
def test_a_body_is_something_else(emulator: Emulator, fault: str, start: bytes) -> None:
    reply = post(emulator, {"X-Emulate": fault})

    assert reply.status_code == 200 and reply.content[:9].startswith(start) and len(reply.content) < 100


def test_odd_json_is_json_all_the_same(emulator: Emulator) -> None:
    blank, extra = (post(emulator, {"X-Emulate": fault}) for fault in ("blank_lines", "extra_keys"))

    assert blank.content.startswith(b"\n\n") and decode(blank).tobytes() == decode(extra).tobytes()
    assert "x_trace" in extra.json()


@pytest.mark.parametrize(("fault", "form"), [("jpeg", "JPEG"), ("webp", "WEBP"), ("gif", "GIF"), ("blank", "PNG")])
def test_pictures_come_in_other_forms(emulator: Emulator, fault: str, form: str) -> None:
    picture = decode(post(emulator, {"X-Emulate": fault}))

    assert picture.format == form and (fault != "blank" or picture.getextrema() == ((128, 128),) * 3)


def test_pictures_that_are_none(emulator: Emulator) -> None:
    def data(fault: str) -> str:
        return str(post(emulator, {"X-Emulate": fault}).json()["data"][0]["base64"])

    assert base64.b64decode(data("svg")).startswith(b"<svg") and "!" in data("bad_base64")
    assert data("data_prefix").startswith("data:image/png;base64,iVBOR")
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(base64.b64decode(data("half_picture")))).load()
    with pytest.raises(Image.DecompressionBombError, match="2500000000 pixels"):
        Image.open(io.BytesIO(base64.b64decode(data("pixel_bomb"))))


RATES = {
    "rate_seconds": ("Retry-After", "0.05"),
    "rate_date": ("Retry-After", "GMT"),
    "rate_ms": ("retry-after-ms", "50"),
    "rate_reset": ("x-ratelimit-reset-requests", "50ms"),
}


@pytest.mark.parametrize("fault", [*RATES, "rate_json", "rate_bare"])
def test_a_429_says_in_its_own_way_how_long_to_wait(emulator: Emulator, fault: str) -> None:
    reply = post(emulator, {"X-Emulate": fault})

    header, text = RATES.get(fault, ("Content-Type", "json"))
    assert reply.status_code == 429 and text in reply.headers[header]
    assert ("retry_after" in reply.json()) == (fault == "rate_json")
    assert post(emulator, {"X-Emulate": fault}).status_code == 200


# --- results by address -----------------------------------------------------------------------------------------------


def fetch(emulator: Emulator, fault: str, times: int = 1) -> tuple[str, list[Any]]:
    """The address that a reply names, and what fetching it gives; redirects are not followed."""
    headers = {"api-key": "k", "X-Emulate": fault}
    form = {"text": (None, "a person"), "grid_size": (None, "1")}
    reply = requests.post(f"{emulator.url}/deepai/api/text2img", files=form, headers=headers, timeout=5)
    url = reply.json()["output_url"]
    here = url.startswith(emulator.url)
    return url, [requests.get(url, timeout=5, allow_redirects=False) for _ in range(times if here else 0)]


def test_an_address_gives_the_picture_to_whoever_has_its_signature(emulator: Emulator) -> None:
    url, (reply,) = fetch(emulator, "ok")

    assert reply.status_code == 200 and Image.open(io.BytesIO(reply.content)).format == "JPEG"
    assert requests.get(url[:-1], timeout=5).status_code == 403


@pytest.mark.parametrize(("fault", "statuses"), [("url_expired", [403, 403]), ("url_flaky", [403, 200])])
def test_an_address_may_not_last(emulator: Emulator, fault: str, statuses: list[int]) -> None:
    assert [reply.status_code for reply in fetch(emulator, fault, 2)[1]] == statuses


HOPS = {
    "url_to_link_local": "http://169.254.169.254/",
    "url_to_private": "http://10.0.0.1/",
    "url_to_mapped": "http://[::ffff:10.0.0.1]/",
    "url_to_file": "file:///etc/passwd",
}


@pytest.mark.parametrize("fault", list(HOPS))
def test_an_address_leads_elsewhere(emulator: Emulator, fault: str) -> None:
    _, (reply,) = fetch(emulator, fault)

    assert reply.status_code == 302 and reply.headers["Location"].startswith(HOPS[fault])


def test_an_address_leads_to_itself_or_one_hop_on(emulator: Emulator) -> None:
    url, (loop,) = fetch(emulator, "url_loop")
    _, (hop,) = fetch(emulator, "url_redirect")

    assert loop.headers["Location"] == url
    assert requests.get(hop.headers["Location"], timeout=5, allow_redirects=False).status_code == 200


def test_who_follows_an_address_to_another_port_is_counted(emulator: Emulator) -> None:
    _, (reply,) = fetch(emulator, "url_to_loopback")
    assert emulator.strays == 0

    host, port = reply.headers["Location"].split("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=5):
        assert emulator.strays == 1


@pytest.mark.parametrize(
    ("fault", "start"),
    [
        ("url_plain", "http://pictures."),
        ("url_private", "http://10."),
        ("url_file", "file://"),
        ("relative_url", "/cdn"),
    ],
)
def test_a_reply_names_an_odd_address(emulator: Emulator, fault: str, start: str) -> None:
    assert fetch(emulator, fault)[0].startswith(start)


def test_a_relative_address_is_good_under_the_origin_and_under_the_service(emulator: Emulator) -> None:
    url, _ = fetch(emulator, "relative_url")

    assert {requests.get(start + url, timeout=5).status_code for start in (emulator.url, f"{emulator.url}/deepai")} == {
        200
    }


def test_an_address_may_give_without_end_or_hold_a_password(emulator: Emulator) -> None:
    url, _ = fetch(emulator, "url_huge", times=0)
    with requests.get(url, timeout=5, stream=True) as reply:
        assert len(next(reply.iter_content(1_000_000))) > 1000 and "Content-Length" not in reply.headers
    assert "user:secret@127.0.0.1" in fetch(emulator, "url_userinfo")[0]


# --- keys and bodies --------------------------------------------------------------------------------------------------


def test_a_service_lets_in_whoever_has_a_key_in_the_right_header(emulator: Emulator) -> None:
    def status(**headers: str) -> int:
        return int(requests.post(emulator.url + CLASSIC, json=ASK, headers=headers, timeout=5).status_code)

    assert status() == 401 and status(Authorization="Bearer k") == 401
    assert status(**{"x-magnific-api-key": "wrong-key"}) == 401
    assert status(**{"x-freepik-api-key": "k"}) == 200 == status(**{"X-Magnific-API-Key": "k"})


def test_bodies_are_bounded_and_announced(emulator: Emulator) -> None:
    def head(lines: str) -> bytes:
        with socket.create_connection(("127.0.0.1", int(emulator.url.rpartition(":")[2])), timeout=5) as connection:
            connection.sendall(f"POST {CLASSIC} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n".encode())
            return connection.recv(100)

    assert head("Content-Length: 99999999999").startswith(b"HTTP/1.1 413")
    assert head(f"Content-Length: {'9' * 5000}").startswith(b"HTTP/1.1 413")
    assert head("Transfer-Encoding: chunked").startswith(b"HTTP/1.1 411")


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:1", 401), ("localhost", 401), ("[::1]:80", 401), ("evil.example", 403), ("localhost.evil.com", 403),
     ("evil.example:80", 403), ("127.0.0.1.evil.example", 403), ("[::2]", 403), ("", 403)],
)  # fmt: skip
def test_a_name_that_was_made_to_resolve_here_is_refused(emulator: Emulator, host: str, status: int) -> None:
    reply = requests.post(emulator.url + CLASSIC, json=ASK, headers={"Host": host}, timeout=5)

    assert reply.status_code == status


def test_unknown_addresses_are_not_found(emulator: Emulator) -> None:
    assert requests.get(f"{emulator.url}/nobody/v1", timeout=5).status_code == 404
    assert requests.get(f"{emulator.url}/freepik/v1/nothing", timeout=5).json() == {
        "message": "no route GET /v1/nothing"
    }


def test_the_front_page_tells_people_what_there_is(emulator: Emulator) -> None:
    page = requests.get(emulator.url, timeout=5).text

    assert f"{emulator.url}/freepik" in page and "_control/faults" in page


# --- the ledger -------------------------------------------------------------------------------------------------------


def test_the_ledger_is_exact_under_load() -> None:
    with Emulator(scale=1 / 64, delay=0.05) as emulator, ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda seed: post(emulator, seed=seed).status_code, range(64)))
        entry = emulator.ledger["freepik"]

    assert statuses == [200] * 64
    assert (entry.asked, entry.accepted, entry.resubmitted, entry.per_minute_peak) == (64, 64, 0, 64)
    assert 2 <= entry.peak <= 16 and entry.limit_exceeded == 0


def test_what_was_turned_away_is_not_accepted_and_what_may_be_billed_is() -> None:
    turned_away = ["auth", "quota", "rate_bare", "unavailable", "invalid", "retired"]
    with Emulator({"freepik": [*turned_away, "error_500", "bad_gateway", "gateway_timeout", "html"]}) as emulator:
        for seed in range(10):
            post(emulator, seed=seed)
        entry = emulator.ledger["freepik"]

    assert entry.asked == 10 and entry.accepted == 4 and entry.resubmitted == 0


def test_a_request_that_comes_again_after_it_was_accepted_is_counted(emulator: Emulator) -> None:
    for fault in ("rate_bare", "error_500", "ok"):
        post(emulator, {"X-Emulate": fault})

    assert (emulator.ledger["freepik"].accepted, emulator.ledger["freepik"].resubmitted) == (2, 1)


def test_samples_of_a_seedless_request_are_not_the_same_request(emulator: Emulator) -> None:
    one, two, again = (post(emulator, {"X-Sample": sample}, seed=-1) for sample in ("one", "two", "one"))

    assert emulator.ledger["freepik"].resubmitted == 1
    assert decode(one).tobytes() == decode(again).tobytes() != decode(two).tobytes()


def test_polls_and_downloads_are_not_in_the_ledger(emulator: Emulator) -> None:
    fetch(emulator, "ok")
    requests.get(f"{emulator.url}/freepik/v1/ai/mystic", headers=KEY, timeout=5)

    assert emulator.ledger.record() == {"deepai": {**emulator.ledger.record()["deepai"], "asked": 1}}
    assert len(emulator.calls) == 3


def test_more_at_once_than_a_service_bears_is_turned_away() -> None:
    limits = {"freepik": Limits(concurrency=1)}
    with Emulator(scale=1 / 64, delay=30, limits=limits) as emulator:
        thread = threading.Thread(target=post_in_vain, args=(emulator,))
        thread.start()
        wait_for_calls(emulator, 1)

        assert post(emulator, seed=4).status_code == 429
        entry = emulator.ledger["freepik"]

    thread.join(timeout=5)
    assert (entry.asked, entry.peak, entry.limit_exceeded) == (2, 2, 1)


def test_more_in_a_minute_than_a_service_bears_is_turned_away() -> None:
    with Emulator(scale=1 / 64, limits={"freepik": Limits(per_minute=2)}) as emulator:
        assert [post(emulator, seed=seed).status_code for seed in range(3)] == [200, 200, 429]
        assert emulator.ledger["freepik"].limit_exceeded == 1


# --- control ----------------------------------------------------------------------------------------------------------


def test_faults_are_planned_and_the_ledger_is_read_from_outside(emulator: Emulator) -> None:
    control = f"{emulator.url}/_control"
    planned = requests.post(f"{control}/faults", json={"service": "freepik", "faults": ["quota"]}, timeout=5)
    wrong = requests.post(f"{control}/faults", json={"service": "freepik", "faults": ["quoata"]}, timeout=5)

    assert planned.status_code == 200 and wrong.status_code == 400 and "did you mean" in wrong.json()["error"]
    assert post(emulator).status_code == 402
    assert requests.get(f"{control}/ledger", timeout=5).json()["freepik"]["asked"] == 1


def test_the_processes_emulator_lives_as_long_as_somebody_uses_it() -> None:
    one, two = share(), share()
    assert one.url == two.url
    one.release()
    one.release()
    two.plan("freepik", ["quota"])
    url = f"{two.url}{CLASSIC}"
    assert requests.post(url, json=ASK, headers=KEY, timeout=5).status_code == 402
    two.release()

    with pytest.raises(requests.ConnectionError):
        requests.post(url, json=ASK, headers=KEY, timeout=5)


def test_an_emulator_that_runs_elsewhere_is_planned_over_its_socket(emulator: Emulator) -> None:
    other = share(f"{emulator.url}/")
    other.plan("freepik", [])
    other.plan("freepik", ["quota"])
    other.release()

    assert other.url == emulator.url and post(emulator).status_code == 402
    with pytest.raises(UsageError, match="did you mean 'quota'"):
        other.plan("freepik", ["quoata"])


def test_nobody_at_an_address_is_said_so() -> None:
    with Emulator() as emulator:
        other = share(emulator.url)

    with pytest.raises(UsageError, match="start one with"):
        other.plan("freepik", ["quota"])


def test_closing_lets_go_of_whoever_waits() -> None:
    with Emulator(["hang"]) as emulator:
        thread = threading.Thread(target=post_in_vain, args=(emulator,))
        thread.start()
        wait_for_calls(emulator, 1)

    thread.join(timeout=5)
    assert not thread.is_alive()
    emulator.close()


def test_serving_tells_what_there_is_until_ctrl_c() -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("Ctrl-C"):
            raise KeyboardInterrupt

    serve(port=0, services=["gemini"], say=say)

    assert "/openai" in said[0] and "refused_text" in "\n".join(said) and said[-1] == "stopped"


def test_a_port_that_is_taken_is_said_so(emulator: Emulator) -> None:
    port = int(emulator.url.rpartition(":")[2])

    with pytest.raises(UsageError, match="choose another with --port"):
        serve(port=port)
