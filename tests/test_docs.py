"""What the documentation says of files, options, variables and faults is true of the code."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from pydantic import BaseModel

from harness.commands.cli import main
from harness.config.profile import ProfileFile, ProviderConfig, TraitsFile
from harness.config.suite import SuiteSchema
from harness.core.settings import VARIABLES
from harness.core.values import Outcome
from harness.emulator import FAULTS, applicable
from harness.plugin import EXIT_BROKEN, EXIT_OPEN
from harness.providers import open_provider
from harness.providers.command import CommandOptions
from harness.providers.deepai import DeepAiOptions
from harness.providers.folder import FolderOptions
from harness.providers.freepik import MODES, FreepikOptions
from harness.providers.gemini import GeminiOptions
from harness.providers.http_client.options import RemoteOptions
from harness.providers.imagen import ImagenOptions
from harness.providers.openai import OpenAiOptions
from harness.providers.text import WRITERS, open_writer
from tests.tiny import make_context

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])
PROVIDER_PAGES = sorted((DOCS / "providers").glob("*.md"))
SERVICES = sorted((ROOT / "suites" / "services").glob("*.yaml"))
OPTIONS: dict[str, type[RemoteOptions]] = {
    "freepik": FreepikOptions,
    "deepai": DeepAiOptions,
    "gemini": GeminiOptions,
    "imagen": ImagenOptions,
    "openai": OpenAiOptions,
}
"""Adapters with a page of their own."""
VARIABLE = re.compile(
    r"\b(?:HARNESS_[A-Z]+|[A-Z][A-Z0-9_]*_(?:API_KEY|KEY|API_TOKEN|ACCESS_TOKEN|TOKEN|CREDENTIALS|CA_BUNDLE))\b"
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def label(value: object) -> str:
    return value.relative_to(ROOT).as_posix() if isinstance(value, Path) else str(value)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, kind: str = "yaml") -> list[Any]:
    """The examples of a page, parsed."""
    return [yaml.safe_load(text) for name, text in FENCE.findall(read(page)) if name == kind]


def examples(page: Path, section: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and options of everything under `providers:` or `writers:` in a page's examples."""
    for block in blocks(page):
        found = block.get(section) if isinstance(block, dict) else None
        yield from (found if isinstance(found, dict) else {}).items()


def tables(page: Path, head: str) -> Iterator[list[str]]:
    """The rows, cell by cell, of the tables whose first column is called `head`."""
    inside = False
    for line in FENCE.sub("", read(page)).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0] == head:
            inside = True
        elif inside and not set(cells[0]) <= set("-: "):
            yield cells


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", read(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def ours() -> set[str]:
    """Every variable that .env.example names."""
    return set(re.findall(r"^# (\w+)=", read(ROOT / ".env.example"), re.MULTILINE))


# --- links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", read(page)))
    for link in [link for link in links if not re.match(r"[a-z]+:", link)]:
        target, _, anchor = unquote(link).partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{link}: there is no {path}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{link}: {label(path)} has no heading of that name"


def test_every_page_is_in_the_index() -> None:
    links = re.findall(r"\]\(([^)]+)\)", read(DOCS / "README.md"))
    index = {(DOCS / link.partition("#")[0]).resolve() for link in links}

    assert {page for page in DOCS.rglob("*.md") if page != DOCS / "README.md"} <= index


# --- examples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PROVIDER_PAGES, ids=label)
def test_examples_are_accepted(page: Path) -> None:
    for name, given in examples(page, "providers"):
        options = {key: item for key, item in given.items() if key != "adapter"}
        adapter = given["adapter"]
        if adapter == "folder":
            FolderOptions.model_validate(options)
        elif adapter == "command":
            CommandOptions.model_validate({**options, "command": tuple(options["command"])})
        elif adapter in OPTIONS or (adapter == "http" and not str(options.get("service", "")).endswith(".yaml")):
            context = make_context(ROOT, providers={name: ProviderConfig(adapter, options)}, size=(1024, 1024))
            open_provider(name, context).close()
        else:
            assert adapter == "http" or ":" in adapter or page.name == "write-your-own.md", f"{name}: {adapter}?"
    for name, given in examples(page, "writers"):
        options = {key: item for key, item in given.items() if key != "adapter"}
        assert given["adapter"] in WRITERS
        open_writer(name, make_context(ROOT, writers={name: ProviderConfig(given["adapter"], options)}))


@pytest.mark.parametrize("adapter", OPTIONS)
def test_an_adapters_page_has_an_example_and_its_variable(adapter: str) -> None:
    page = DOCS / "providers" / f"{adapter}.md"
    key = OPTIONS[adapter]().key

    assert adapter in {given["adapter"] for _, given in examples(page, "providers")}
    assert key in read(page)


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", OPTIONS)
def test_an_adapters_own_options_are_in_its_table(adapter: str) -> None:
    fields = OPTIONS[adapter].model_fields
    rows = {name: cells for cells in tables(DOCS / "providers" / f"{adapter}.md", "option") for name in words(cells[0])}
    own = {name for name in fields if name not in RemoteOptions.model_fields}

    assert rows.keys() <= fields.keys()
    assert own <= rows.keys()
    for name, cells in rows.items():
        default = fields[name].default
        if default not in ("", None) and isinstance(default, str | int | bool):
            assert cells[1] == str(default).lower() or cells[1] == str(default), f"{name}: the default is {default}"


def test_the_common_options_are_in_the_table() -> None:
    rows = {name: cells for cells in tables(DOCS / "providers" / "README.md", "option") for name in words(cells[0])}

    assert rows.keys() == RemoteOptions.model_fields.keys()
    for name, cells in rows.items():
        default = RemoteOptions.model_fields[name].default
        if isinstance(default, bool | int | float):
            assert cells[1] == (str(default).lower() if isinstance(default, bool) else f"{default:.10g}"), name


def test_every_outcome_is_explained() -> None:
    found = [word for cells in tables(DOCS / "providers" / "README.md", "outcome") for word in words(cells[0])]

    assert found == [outcome.value for outcome in Outcome]


def test_every_mode_of_freepik_is_in_its_table() -> None:
    named = {word for cells in tables(DOCS / "providers" / "freepik.md", "mode") for word in words(cells[0])}

    assert named == set(MODES)


@pytest.mark.parametrize("adapter", OPTIONS)
def test_an_adapters_faults_are_the_emulators(adapter: str) -> None:
    served = {fault.name: fault for fault in applicable(adapter)}
    own = {name for name, fault in served.items() if fault.kind == "own"}
    rows = {word: cells for cells in tables(DOCS / "providers" / f"{adapter}.md", "fault") for word in words(cells[0])}

    assert own <= rows.keys() <= served.keys()
    for name, cells in rows.items():
        assert cells[-1] == served[name].outcome.value, name


def test_the_emulators_page_tells_faults_and_outcomes_right() -> None:
    rows = {word: cells for cells in tables(DOCS / "emulator.md", "fault") for word in words(cells[0])}

    assert rows
    for name, cells in rows.items():
        assert cells[-1] == FAULTS[name].outcome.value, name


def test_the_emulators_options_are_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    main(["emulator", "--help"])
    printed = capsys.readouterr().out
    told = {word.split()[0] for cells in tables(DOCS / "emulator.md", "option") for word in words(cells[0])}

    assert told == set(re.findall(r"--\w+", printed)) - {"--help"}


def test_the_emulators_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [text for kind, text in FENCE.findall(read(DOCS / "emulator.md")) if kind == "python"]

    exec(example, {})

    assert "http://127.0.0.1:" in capsys.readouterr().out


# --- variables --------------------------------------------------------------------------------------------------------


def test_every_variable_of_the_pages_is_in_the_example_file() -> None:
    invented = set()  # an example's own: `key: MUSEUM_KEY`
    named: dict[str, str] = {}
    for page in PROVIDER_PAGES:
        for _, text in FENCE.findall(read(page)):
            invented |= set(re.findall(r"\bkey: (\w+)|pass_env: \[(\w+)", text))
        named |= dict.fromkeys(VARIABLE.findall(read(page)), page.name)
    made_up = {name for pair in invented for name in pair if name}
    lacking = {name: page for name, page in named.items() if name not in ours() and name not in made_up}

    assert not lacking, "add to .env.example, or correct the page"


def test_every_default_key_is_in_the_example_file() -> None:
    keys = {model().key for model in OPTIONS.values()} | {ImagenOptions(project="p").key}
    keys |= {yaml.safe_load(read(path)).get("key", "") for path in SERVICES}

    assert keys - {""} <= ours()


# --- the reference, and the site ----------------------------------------------------------------------------------


def load_generator() -> Any:
    """docs/generate.py, which is a program and no part of the package."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()
GENERATED: Mapping[str, str] = GENERATOR.pages()


@pytest.mark.parametrize("name", GENERATED)
def test_reference_pages_are_what_the_code_says(name: str) -> None:
    assert read(DOCS / "reference" / name) == GENERATED[name], "run `python docs/generate.py`"


@pytest.mark.parametrize("model", [SuiteSchema, ProfileFile, TraitsFile])
def test_every_key_has_a_description(model: type[BaseModel]) -> None:
    """Editors show it while people write."""
    places: dict[type[BaseModel], list[str]] = {}
    GENERATOR.visit(model, "", places)
    silent = [f"{found.__name__}.{key}" for found in places for key in silent_keys(found)]

    assert len(places) > 1
    assert not silent


def silent_keys(model: type[BaseModel]) -> list[str]:
    return [key for key, field in model.model_fields.items() if not field.description]


def test_every_exit_code_is_explained() -> None:
    assert {*map(int, pytest.ExitCode), EXIT_BROKEN, EXIT_OPEN} <= GENERATOR.EXIT_CODES.keys()


def test_every_variable_of_ours_is_in_the_reference() -> None:
    page = read(DOCS / "reference" / "environment.md")

    assert {*VARIABLES.values(), *ours()} <= set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-d", str(tmp_path / "trees")]
    done = subprocess.run([*command, "-b", "html", str(DOCS), str(tmp_path / "site")], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "README.html").is_file()
    assert (tmp_path / "site" / "reference" / "api.html").is_file()


@pytest.mark.parametrize("picture", sorted(DOCS.glob("*.png")), ids=label)
def test_pictures_are_shown_and_small(picture: Path) -> None:
    assert any(f"{picture.name})" in read(page) for page in PAGES), "no page shows it"
    assert picture.stat().st_size < 400_000
