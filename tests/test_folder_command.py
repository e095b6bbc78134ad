"""Pictures made elsewhere, and programs that make them."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.config.profile import ProviderConfig
from harness.core.errors import MissingKey, SuiteError
from harness.core.pictures import BadPicture, check_picture
from harness.core.settings import Secret
from harness.core.values import Generation, Outcome, Provider, Request
from harness.providers import open_provider
from harness.providers.budget import Budget
from tests.tiny import make_context, make_suite

KEY = "planted-7d21"


def picture(colour: str, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image = Image.new("RGB", (32, 32), colour)
    image.paste("white", (0, 0, 16, 16))
    image.save(buffer, form)
    return buffer.getvalue()


def open_one(root: Path, adapter: str, budget: Budget | None = None, **options: Any) -> Provider:
    config = ProviderConfig(adapter, options)
    context = make_context(root, providers={"it": config}, secrets={"A_KEY": Secret(KEY), "PATH": Secret(os.defpath)})
    return open_provider("it", replace(context, budget=budget) if budget else context)


def plan(provider: Provider, seeds: Iterable[int] = (0, 1)) -> tuple[Request, ...]:
    suite = make_suite("aldar kose, smiling", traits={})
    return provider.requests(suite, suite.cases[0], tuple(seeds))


def draw(provider: Provider, seeds: Iterable[int] = (0, 1)) -> list[Generation]:
    return list(provider.draw(plan(provider, seeds)))


# --- folder -----------------------------------------------------------------------------------------------------------


def fill(root: Path, *names: str) -> Path:
    folder = root / "made"
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(["red", "green", "blue", "black"][number % 4]))
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize(
    ("names", "seeds", "found"),
    [
        (["case-0_0.png", "case-0-1.webp", "case-0-10.png"], (0, 1), ["case-0_0.png", "case-0-1.webp"]),
        (["case-0/1.png", "case-0/0.jpg", "case-1/0.png"], (0, 1), ["case-0/0.jpg", "case-0/1.png"]),
        (["tiny/case-0-0.png", "tiny/case-0-1.png"], (0, 1), ["tiny/case-0-0.png", "tiny/case-0-1.png"]),
        (["case-0.png", "case-0.txt"], (7,), ["case-0.png"]),
        (
            ["case-0/img 10.png", "case-0/img 2.png", "case-0/img 1.png"],
            (5, 6),
            ["case-0/img 1.png", "case-0/img 2.png"],
        ),
    ],
)
def test_pictures_are_found_by_case_and_seed(tmp_path: Path, names: list[str], seeds: Any, found: list[str]) -> None:
    folder = fill(tmp_path, *names)
    provider = open_one(tmp_path, "folder", path="made")

    drawings = draw(provider, seeds)

    assert [one.meta["file"] for one in drawings] == found
    assert [one.data for one in drawings] == [(folder / name).read_bytes() for name in found]


def test_a_pattern_of_ones_own(tmp_path: Path) -> None:
    fill(tmp_path, "out/tiny [case-0] s=4.png")
    provider = open_one(tmp_path, "folder", path="made", pattern="out/{suite} *{case}* s={seed}.*")

    assert draw(provider, [4])[0].outcome is Outcome.OK


def test_a_missing_picture_says_what_it_should_be_called(tmp_path: Path) -> None:
    fill(tmp_path, "case-0-0.png")

    here, missing = draw(open_one(tmp_path, "folder", path="made"))

    assert here.outcome is Outcome.OK and missing.outcome is Outcome.PROVIDER_ERROR
    assert "no picture for case case-0 seed 1 in" in missing.message
    assert "expected names like case-0-1.png, case-0/1.png" in missing.message


def test_two_pictures_for_one_seed_are_not_guessed_between(tmp_path: Path) -> None:
    fill(tmp_path, "case-0-0.png", "case-0_0.jpg")

    (drawing,) = draw(open_one(tmp_path, "folder", path="made"), [0])

    assert drawing.outcome is Outcome.PROVIDER_ERROR and "several fit" in drawing.message


def test_the_cache_key_follows_the_bytes(tmp_path: Path) -> None:
    folder = fill(tmp_path, "case-0-0.png")
    provider = open_one(tmp_path, "folder", path="made")
    (before,) = plan(provider, [0])

    (folder / "case-0-0.png").write_bytes(picture("navy"))

    assert plan(provider, [0])[0].key != before.key
    (drawing,) = provider.draw([before])
    assert drawing.outcome is Outcome.PROVIDER_ERROR and "changed meanwhile" in drawing.message


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    folder = fill(tmp_path)
    (tmp_path / "secret.png").write_bytes(picture("red"))
    (folder / "case-0-0.png").symlink_to(tmp_path / "secret.png")
    (folder / "case-0").symlink_to(tmp_path)

    for drawing in draw(open_one(tmp_path, "folder", path="made"), [0]):
        assert drawing.outcome is Outcome.PROVIDER_ERROR and "leads out of the folder" in drawing.message
    for pattern in ("../{case}-{seed}.*", "/etc/{case}", "**/{case}.png"):
        with pytest.raises(SuiteError, match="below the folder"):
            open_one(tmp_path, "folder", path="made", pattern=pattern)


def test_what_is_no_picture_is_left_to_the_engine(tmp_path: Path) -> None:
    folder = fill(tmp_path)
    (folder / "case-0-0.gif").write_bytes(picture("red", "GIF"))
    provider = open_one(tmp_path, "folder", path="made")

    (drawing,) = draw(provider, [0])

    with pytest.raises(BadPicture, match="is not PNG"):
        check_picture(drawing.data, plan(provider, [0])[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "nowhere"}, "there is no folder"),
        ({"pth": "made"}, "did you mean 'path'"),
        ({"path": "made", "pattern": "{cas}-{seed}"}, "did you mean 'case'"),
    ],
)
def test_wrong_folder_options_are_answered_while_collecting(tmp_path: Path, options: Any, message: str) -> None:
    fill(tmp_path)

    with pytest.raises(SuiteError, match=message):
        open_one(tmp_path, "folder", **options)


# --- command ----------------------------------------------------------------------------------------------------------

DRAW = """
import json, os, sys
from PIL import Image
told = json.load(sys.stdin)
def paint(one, out):
    Image.linear_gradient("L").resize((one["width"], one["height"])).rotate(40 * one["seed"]).save(out, "PNG")
"""


def program(root: Path, body: str, name: str = "draw.py") -> str:
    path = root / name
    path.write_text(DRAW + body)
    return name


@pytest.mark.parametrize(
    ("body", "arguments", "options"),
    [
        ("paint(told, sys.argv[1])", ["{out}"], {}),
        ("paint(told, told['out'])", [], {}),
        ("paint(told, sys.stdout.buffer)", [], {"concurrency": 2}),
        ("[paint(one, one['out']) for one in told['requests']]", [], {"per_call": 2}),
        (
            "[paint(one, f'{sys.argv[1]}/{n}.png') for n, one in enumerate(told['requests'])]",
            ["{out}"],
            {"per_call": 3},
        ),
    ],
)
def test_a_program_draws_in_each_of_the_ways(tmp_path: Path, body: str, arguments: list[str], options: Any) -> None:
    command = ["python", program(tmp_path, body), *arguments]
    provider = open_one(tmp_path, "command", command=command, **options)

    drawings = draw(provider, range(3))

    assert [one.outcome for one in drawings] == [Outcome.OK] * 3, drawings[0].message
    assert len({one.data for one in drawings}) == 3
    assert check_picture(drawings[0].data, plan(provider)[0]).png


def test_a_prompt_is_one_argument_whatever_stands_in_it(tmp_path: Path) -> None:
    body = "paint(told, told['out']); print(json.dumps({'said': sys.argv[1], 'argc': len(sys.argv)}))"
    provider = open_one(tmp_path, "command", command=["python", program(tmp_path, body), "--prompt={prompt}"])
    evil = '; touch "hacked" $(id) `id` {seed}\n--help'

    (drawing,) = provider.draw([replace(plan(provider)[0], prompt=evil)])

    assert drawing.meta["argc"] == 2 and drawing.meta["said"].startswith("--prompt=; touch")
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    ("body", "outcome", "message"),
    [
        ("sys.exit(10)", Outcome.REFUSED, "exit code 10; reword the prompt"),
        (
            "print('no such GPU', file=sys.stderr); sys.exit(3)",
            Outcome.PROVIDER_ERROR,
            "exit code 3.* it said: no such GPU",
        ),
        ("sys.exit(11)", Outcome.QUOTA, "exit code 11"),
        ("os.kill(os.getpid(), 9)", Outcome.PROVIDER_ERROR, "signal 9"),
        ("pass", Outcome.BAD_IMAGE, "no picture in"),
        ("import no_such_module", Outcome.PROVIDER_ERROR, "ModuleNotFoundError"),
    ],
)
def test_every_way_to_fail_is_an_outcome(tmp_path: Path, body: str, outcome: Outcome, message: str) -> None:
    (drawing,) = draw(open_one(tmp_path, "command", command=["python", program(tmp_path, body)]), [0])

    assert drawing.outcome is outcome and drawing.data is None
    assert re.search(message, drawing.message), drawing.message


def test_a_program_that_there_is_not(tmp_path: Path) -> None:
    (drawing,) = draw(open_one(tmp_path, "command", command=["no-such-program"]), [0])

    assert drawing.outcome is Outcome.PROVIDER_ERROR and "check `command`" in drawing.message


def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    body = "import subprocess, time\n"
    body += "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    body += "open('child', 'w').write(str(child.pid)); time.sleep(60)"
    provider = open_one(tmp_path, "command", command=["python", program(tmp_path, body)], timeout=1.0)

    (drawing,) = draw(provider, [0])

    assert drawing.outcome is Outcome.TIMEOUT and "raise `timeout`" in drawing.message
    assert is_gone(int((tmp_path / "child").read_text()))


def is_gone(pid: int) -> bool:
    """Whether a process has ended, or is only waiting for its parent to notice; it may take a moment."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_a_program_sees_only_the_keys_that_are_named(tmp_path: Path) -> None:
    body = "paint(told, told['out']); print(json.dumps({'key': 'A_KEY' in os.environ, 'path': 'PATH' in os.environ}))"
    command = ["python", program(tmp_path, body)]

    (without,) = draw(open_one(tmp_path, "command", command=command), [0])
    (named,) = draw(open_one(tmp_path, "command", command=command, pass_env=["A_KEY"]), [0])

    assert (without.meta["key"], named.meta["key"], without.meta["path"]) == (False, True, True)


def test_a_program_that_says_its_key_does_not_get_it_printed(tmp_path: Path) -> None:
    command = ["python", program(tmp_path, "print(os.environ['A_KEY'], file=sys.stderr); sys.exit(1)")]

    (drawing,) = draw(open_one(tmp_path, "command", command=command, pass_env=["A_KEY"]), [0])

    assert KEY not in drawing.message and "***" in drawing.message
    missing = open_one(tmp_path, "command", command=command, pass_env=["B_KEY"])
    with pytest.raises(MissingKey, match="B_KEY"):
        draw(missing)


def test_after_an_empty_account_no_program_is_started_again(tmp_path: Path) -> None:
    body = "open('starts', 'a').write('x'); sys.exit(11)"
    provider = open_one(tmp_path, "command", command=["python", program(tmp_path, body)])

    outcomes = {one.outcome for one in draw(provider, range(4))}

    assert outcomes == {Outcome.QUOTA} and (tmp_path / "starts").read_text() == "x"


def test_a_program_with_a_price_is_under_the_runs_budget(tmp_path: Path) -> None:
    price = {"usd": 0.04, "as_of": "2026-11-20"}
    command = ["python", program(tmp_path, "paint(told, told['out'])")]
    provider = open_one(tmp_path, "command", budget=Budget(usd=0.05), command=command, price=price)

    first, second = draw(provider)

    assert first.outcome is Outcome.OK and first.cost_usd == 0.04
    assert second.outcome is Outcome.QUOTA and "budget" in second.message


def test_the_cache_key_follows_the_programs_files(tmp_path: Path) -> None:
    name = program(tmp_path, "paint(told, told['out'])")
    provider = open_one(tmp_path, "command", command=["python", name], fingerprint=[name])
    before = plan(provider)[0].key

    program(tmp_path, "paint(told, told['out'])  # other weights")

    assert plan(provider)[0].key != before
    assert plan(open_one(tmp_path, "command", command=["python", name], version="2"))[0].key != before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": "python draw.py"}, "command: is a list"),
        ({"command": ["python", "{promt}"]}, "did you mean 'prompt'"),
        ({"command": ["python", "{seed}"], "per_call": 4}, "is on stdin"),
        ({"command": ["python"], "timout": 3}, "did you mean 'timeout'"),
        ({"command": ["python"], "fingerprint": ["weights.bin"]}, "there is no file"),
    ],
)
def test_wrong_command_options_are_answered_while_collecting(tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        open_one(tmp_path, "command", **options)


def test_python_is_the_one_that_runs_the_suites(tmp_path: Path) -> None:
    body = "paint(told, told['out']); print(json.dumps({'python': sys.executable}))"

    (drawing,) = draw(open_one(tmp_path, "command", command=["python", program(tmp_path, body)]), [0])

    assert drawing.meta["python"] == sys.executable
