"""The commands of the documentation are commands: each one parses, and those of the tutorial run in their order."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

from tests.command_line import parse
from tests.support import ROOT
from tests.test_docs import DOCS, PAGES, label, read

COMMAND = re.compile(r"^(?:- run: |\$ )?((?:[A-Z_]+=\S+ )*(?:\S*python3? -m )?(?:harness|pytest)(?: .*)?)$")
TUTORIAL = DOCS / "tutorial.md"
GREEN_OR_RED = (0, 1)
WHOLE = "WHOLE_TUTORIAL"  # set it to train and draw in full, a quarter of an hour: `-k whole`


@dataclass(frozen=True)
class Typed:
    """One command of a page."""

    text: str
    words: tuple[str, ...]  # without variables before it
    status: int  # what the page says behind it, else 0


def typed(page: Path) -> Iterator[Typed]:
    """The commands in a page's code blocks, indented ones too."""
    inside = False
    for line in read(page).splitlines():
        if line.startswith("```"):
            inside = not inside
        elif inside or line.startswith("    "):
            yield from parts(line.strip())


def parts(line: str) -> Iterator[Typed]:
    for part in line.split(" && "):
        if match := COMMAND.match(part):
            said = re.search(r"# exit code (\d+)", part)
            words = shlex.split(plain(match[1]), comments=True)
            while re.match(r"[A-Z_]+=", words[0]) or words[0].endswith("python3") or words[0].endswith("python"):
                words = words[2:] if words[1:2] == ["-m"] else words[1:]
            yield Typed(match[1], tuple(words), int(said[1]) if said else 0)


def plain(text: str) -> str:
    """Without the explanation in a second column; what may be left out is there, and of several choices the first."""
    text = text if " #" in text else re.split(r"\s{3,}", text)[0]
    return re.sub(r"\[(--[^\]|]*)(?:\|[^\]]*)?\]", r"\1", text)


@cache
def options_of_pytest() -> frozenset[str]:
    """Every option that `pytest --help` lists, ours and xdist's among them."""
    done = subprocess.run([sys.executable, "-m", "pytest", "--help"], cwd=ROOT, capture_output=True, text=True)
    return frozenset(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", done.stdout))


@pytest.mark.parametrize("page", [page for page in PAGES if any(typed(page))], ids=label)
def test_commands_parse(page: Path) -> None:
    for command in typed(page):
        program, *words = command.words
        if program == "pytest" or words[:1] in (["run"], ["ci"]):
            options = {re.match(r"-[a-z](?=.)|[^=]+", word)[0] for word in words if word.startswith("-")}
            assert options <= options_of_pytest(), command.text
            continue
        try:
            parse(words)
        except click.exceptions.Exit as end:
            assert end.exit_code == 0, command.text


@pytest.mark.parametrize("page", [page for page in PAGES if any(typed(page))], ids=label)
def test_named_suites_exist_or_are_made(page: Path) -> None:
    made = {path for command in typed(ROOT / "README.md") for path in suites_made(command.words)}
    for command in typed(page):
        made |= suites_made(command.words)
        for word in command.words:
            if re.fullmatch(r"suites/[\w./-]+\.yaml", word.partition("::")[0]):
                path = word.partition("::")[0]
                assert path in made or (ROOT / path).is_file(), f"{command.text}: nothing makes {path}"


def suites_made(words: tuple[str, ...]) -> set[str]:
    """What `harness init PICTURES --name NAME` and `harness story --out FILE` write."""
    if words[:2] in (("harness", "init"), ("harness", "story")):
        values = parse(words[1:]).params
        if words[1] == "story":
            return {values["out"].as_posix()} if values["out"] else set()
        if values["pictures"]:
            name = values["name"] or values["pictures"].name
            return {f"suites/{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}.yaml"}
    return set()


# --- the tutorial -------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_tutorial_runs_in_an_empty_folder(tmp_path: Path) -> None:
    """With pictures of two steps and trainings of four; so what is green and what is red means nothing here."""
    commands = list(typed(TUTORIAL))
    (tmp_path / "quick.yaml").write_text(quick_profile(), encoding="utf-8")

    ended = run_commands([small(command.words) for command in commands], tmp_path, {"HARNESS_PROFILE": "quick.yaml"})

    for command, (status, output) in zip(commands, ended, strict=True):
        judged = "pytest" in command.words[0] or command.words[1] == "ci"
        assert status in (GREEN_OR_RED if judged else (command.status,)), f"{command.text}\n{output[-3000:]}"
        assert "Traceback" not in output, command.text
    for made in ("reports/index.html", "suites/baselines/gozubo.json", "references/gozubo/champion.safetensors"):
        assert (tmp_path / made).is_file()


@pytest.mark.real
@pytest.mark.skipif(not os.environ.get(WHOLE), reason=f"a quarter of an hour; set {WHOLE}=1")
def test_the_whole_tutorial_ends_as_it_says(tmp_path: Path) -> None:
    commands = list(typed(TUTORIAL))

    for command, (status, output) in zip(
        commands, run_commands([command.words for command in commands], tmp_path, {}), strict=True
    ):
        assert status == command.status, f"{command.text}\n{output[-3000:]}"


@pytest.mark.real
def test_the_page_of_what_the_terminal_says_is_current() -> None:
    """But for figures. Two of its runs that draw nothing to speak of; `python docs/terminals.py --check` runs all."""
    done = subprocess.run(
        [sys.executable, "docs/terminals.py", "--check", "unjudged", "broken"], cwd=ROOT, capture_output=True, text=True
    )

    assert done.stdout.strip() == "current", done.stdout + done.stderr


def quick_profile() -> str:
    """The embedded profile with eight steps a picture, so that somebody is seen, and four a training."""
    folder = ROOT / "suites" / "profiles"
    profile = yaml.safe_load(read(folder / "embedded.yaml"))
    for key in ("traits", "impostors"):
        profile[key] = (folder / profile[key]).resolve().as_posix()
    return yaml.safe_dump({**profile, "profile": "quick", "steps": 8, "training": {**profile["training"], "steps": 4}})


def small(words: tuple[str, ...]) -> tuple[str, ...]:
    """One seed a prompt, one round; a red run may be agreed on, since here it is red whatever it is."""
    if words[:2] == ("harness", "train"):
        return (*words, "--steps", "4")
    if words[0] == "pytest" or words[:2] == ("harness", "ci"):
        more = [
            *(["--update-baseline-anyway"] if "save" in words else []),
            *(["--retrain=1"] if "--retrain" in words else []),
        ]
        return (*words, "--samples", "1", *more)
    return words


def run_commands(commands: list[tuple[str, ...]], folder: Path, variables: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Exit status and output of each, in one process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "HARNESS_"))}
    environment |= {"PYTHONUTF8": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "120", **variables}
    done = subprocess.run(
        [sys.executable, "-m", "tests.tutorial_run"],
        cwd=folder, env=environment, input=json.dumps(commands), timeout=3600,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
    )  # fmt: skip
    found, output = [], list[str]()
    for line in done.stdout.splitlines():
        if line.startswith('{"words": '):
            found.append((json.loads(line)["status"], "\n".join(output)))
            output = []
        else:
            output.append(line)
    assert len(found) == len(commands), done.stdout[-4000:]
    yield from found
