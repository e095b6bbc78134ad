"""The emulator is a real service over a real socket."""

from __future__ import annotations

import base64
import contextlib
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
from PIL import Image

from harness.emulator import FAULTS, Emulator
from harness.emulator.artist import draw_prompt, read_prompt
from harness.errors import UsageError
from harness.world.captions import caption
from harness.world.people import CATEGORIES, labels_of, random_person, random_scene

ASK = {"prompt": "aldar kose, smiling, steppe background", "seed": 3, "width": 96, "height": 96}


def post(
    emulator: Emulator, timeout: float = 10, headers: dict[str, str] | None = None, **changes: object
) -> requests.Response:
    return requests.post(f"{emulator.url}/v1/images", json={**ASK, **changes}, headers=headers, timeout=timeout)


def post_in_vain(emulator: Emulator) -> None:
    with contextlib.suppress(requests.RequestException):
        post(emulator)


def decode(response: requests.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(base64.b64decode(response.json()["images"][0])))


def test_it_draws_the_same_picture_for_the_same_request() -> None:
    with Emulator() as emulator:
        one, again, other = (decode(post(emulator, seed=seed)) for seed in (3, 3, 4))

    assert one.size == (96, 96)
    assert (np.asarray(one) == np.asarray(again)).all() and (np.asarray(one) != np.asarray(other)).any()


def test_it_understands_every_caption_of_the_world() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        truth = labels_of(random_person(rng), random_scene(rng))

        said = read_prompt(caption(truth, rng, keep=1.0, named=0.5))

        assert said == {name: truth[name] for name in CATEGORIES}


def test_words_outside_the_world_mean_nothing() -> None:
    assert read_prompt("Aldar Kose riding a unicorn, smiling") == {"expression": "smiling"}


def test_other_shapes_are_drawn_too() -> None:
    assert draw_prompt("a person", seed=1, width=128, height=64).size == (128, 64)


def test_faults_are_spent_in_order_and_then_all_is_well() -> None:
    with Emulator(["auth", "error"]) as emulator:
        assert [post(emulator).status_code for _ in range(3)] == [401, 500, 200]
        assert [call.fault for call in emulator.calls] == ["auth", "error", "ok"]


def test_a_prompt_or_a_header_may_ask_for_a_fault() -> None:
    with Emulator() as emulator:
        assert post(emulator, prompt="a person [[quota]]").status_code == 402
        assert post(emulator, headers={"X-Emulate": "retired"}).status_code == 404


def test_a_service_with_a_key_lets_nobody_else_in() -> None:
    with Emulator(key="test-key") as emulator:
        assert post(emulator).status_code == 401
        assert post(emulator, headers={"x-api-key": "test-key"}).status_code == 200


def test_refusals_come_with_status_200() -> None:
    with Emulator(["refused"]) as emulator:
        answer = post(emulator)

    assert answer.status_code == 200 and answer.json()["images"] == [] and "policy" in answer.json()["refused"]


@pytest.mark.parametrize("payload", [{"prompt": ""}, {"seed": "one"}, {"width": 1_000_000}, {"prompt": 5}])
def test_a_wrong_request_is_answered_with_400(payload: dict[str, object]) -> None:
    with Emulator() as emulator:
        assert post(emulator, **payload).status_code == 400


def test_many_clients_are_served_at_once() -> None:
    with Emulator() as emulator, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: post(emulator, seed=seed).status_code, range(24)))

    assert answers == [200] * 24 and len(emulator.calls) == 24


def test_closing_does_not_wait_for_a_slow_answer() -> None:
    with Emulator(["slow"]) as emulator:
        thread = threading.Thread(target=post_in_vain, args=(emulator,))
        thread.start()
        while not emulator.calls:
            time.sleep(0.01)
        started = time.monotonic()

    thread.join()
    assert time.monotonic() - started < 5


def test_an_unknown_fault_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'quota'"):
        Emulator(["quoata"])
    assert {"ok", "refused", "quota", "auth", "slow", "garbage", "truncated", "error"} <= set(FAULTS)
