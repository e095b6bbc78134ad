"""The reference pages of this folder, written from the code: `python docs/generate.py [--check]`."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import click
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import pytest_lora_harness
from harness import plugin
from harness.commands.cli import Commands, Deferred, build_cli
from harness.commands.options import ForeignCommand
from harness.config.profile import ProfileFile, TraitsFile
from harness.config.suite import SuiteSchema
from harness.core.settings import DEFAULTS, VARIABLES

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
INTO = DOCS / "reference"
HEAD = "<!-- Written by `python docs/generate.py`: change the code, not this page. -->\n\n"
EXIT_CODES: Mapping[int, str] = {
    0: "every gate that was asked passed, or is open where the suite allows that",
    1: "a gate provider's case, a gate or a Python test failed",
    2: "interrupted, or a suite could not be read",
    3: "pytest itself broke",
    4: "a wrong option, or a baseline was asked for and refused",
    5: "nothing was collected",
    6: "more warnings than `--max-warnings` allows (pytest 9.1 and later)",
    plugin.EXIT_BROKEN: "a gate provider or the engine broke: there is no verdict",
    plugin.EXIT_OPEN: "a gate could not be judged, unless its suite says `on_blind: report`; or the verdict is open, "
    "and its suite says `on_inconclusive: fail`",
}
OWN: Mapping[str, str] = {
    "HARNESS_PROFILE": "models, providers and scorers, as `--profile`",
    "HARNESS_STORE": "where pictures and records are kept, as `--store`",
    "HARNESS_REPORT_DIR": "where the report goes, as `--report-dir`",
    "HARNESS_EMULATOR": "`profile`, `on`, `off`, or the address of a `harness emulator` that runs",
}
BESIDE: Mapping[str, str] = {
    "GOOGLE_ACCESS_TOKEN": "of Imagen on Vertex, where it has a project",
    "GIGACHAT_SCOPE": "whose key it is: `GIGACHAT_API_PERS` (individuals), `GIGACHAT_API_B2B` or `GIGACHAT_API_CORP`",
    "GIGACHAT_CA_BUNDLE": "a file of authorities that GigaChat's certificate is checked by",
}
FOREIGN: Mapping[str, str] = {
    "GITHUB_STEP_SUMMARY": "the summary is appended to this file",
    "GITHUB_ACTIONS": "`true`: what failed is annotated",
    "GITHUB_WORKSPACE": "the folder that annotations are relative to",
    "GITHUB_BASE_REF": "the branch that `--baseline git` compares with",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "the same on GitLab",
    "WORLD_SIZE": "processes of one training, as accelerate and torchrun set it",
}
MODULES = (
    *("core.values", "core.errors", "core.settings", "config.profile", "config.suite"),
    *("judging.judge", "judging.leaderboard", "core.stats.calibration", "core.stats.intervals"),
    *("core.stats.comparing", "core.stats.power", "core.stats.many", "core.stats.looking", "core.stats.votes"),
    *("scoring.metrics.table", "providers"),
)
"""Of the package: what a program or a notebook may build on."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which pages are out of date; exit status 1")
    options = parser.parse_args()
    stale = {name: text for name, text in pages().items() if read(INTO / name) != text}
    for name, text in stale.items():
        if not options.check:
            INTO.mkdir(exist_ok=True)
            (INTO / name).write_text(text, encoding="utf-8", newline="\n")
        print(f"{'out of date' if options.check else 'wrote'}: docs/reference/{name}")
    return 1 if stale and options.check else 0


def pages() -> dict[str, str]:
    """Every page by its file name."""
    made: dict[str, Callable[[], str]] = {
        "suite.md": suite_page,
        "profile.md": profile_page,
        "commands.md": commands_page,
        "pytest.md": pytest_page,
        "environment.md": environment_page,
        "api.md": api_page,
    }
    return {name: HEAD + make().rstrip() + "\n" for name, make in made.items()}


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(cell_text, row)) + " |" for row in lines) + "\n"


def cell_text(text: str) -> str:
    """Bars would end the cell, and what stands between < and > outside of code would be HTML."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if place % 2 else part.replace("<", "&lt;") for place, part in enumerate(parts))


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


# --- keys of YAML -------------------------------------------------------------------------------------------------


def suite_page() -> str:
    return (
        "# Keys of a suite\n\nA file in `suites/`; editors complete it by `suites/schema/suite.json`, which is made "
        "from the same models. An unknown key is an error with its line.\n\n" + model_tables(SuiteSchema, "suite")
    )


def profile_page() -> str:
    return (
        "# Keys of a profile\n\nA file in `suites/profiles/`; editors complete it by `suites/schema/profile.json`. "
        "What a provider takes beside `adapter` is the adapter's own: see [remote providers](../providers/README.md). "
        "What `training` leaves out follows from the pictures and the machine.\n\n"
        + model_tables(ProfileFile, "profile")
        + "# Keys of a file of traits\n\nWhat a profile's `traits` names: `suites/profiles/traits/world.yaml`, "
        "for instance.\n\n" + model_tables(TraitsFile, "file")
    )


def model_tables(model: type[BaseModel], name: str) -> str:
    """A table of the model's keys, then one of each model inside it, under the places where that stands."""
    places: dict[type[BaseModel], list[str]] = {}
    visit(model, "", places)
    parts = []
    for found, where in places.items():
        title = f"The {name}" if found is model else ", ".join(f"`{place}`" for place in where)
        said = own_words(found)
        rows = [key_row(key, field, found) for key, field in found.model_fields.items()]
        about = f"{said}\n\n" if found is not model and said else ""
        parts.append(f"## {title}\n\n{about}{table(('key', 'type', 'default', 'meaning'), rows)}")
    return "\n".join(parts) + "\n"


def own_words(model: type[BaseModel]) -> str:
    """A model's docstring; pydantic hands down its own to models that have none."""
    return one_line(vars(model).get("__doc__") or "")


def visit(model: type[BaseModel], place: str, places: dict[type[BaseModel], list[str]]) -> None:
    """Every model below, with the places where it may stand: `subject.lora`, `cases[]`, `loras.NAME[]`."""
    places.setdefault(model, [])
    if place:
        places[model].append(place)
    for key, field in model.model_fields.items():
        for inner, behind in models_in(field.annotation):
            visit(inner, f"{place}.{key}{behind}".lstrip("."), places)


def models_in(annotation: Any, behind: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation, behind
    origin = getattr(annotation, "__origin__", None)
    many = "[]" if origin is list else ".NAME" if origin is dict else ""
    for part in get_args(annotation):
        yield from models_in(part, behind + many)


def key_row(key: str, field: FieldInfo, model: type[BaseModel]) -> list[str]:
    schema = model.model_json_schema()["properties"][key]
    return [f"`{key}`", kind(schema), default_text(field), one_line(field.description or "")]


def kind(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words: `number from 0 to 1, or mapping`."""
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        choices = [kind(choice) for choice in schema["anyOf"] if choice.get("type") != "null"]
        return ", or ".join(dict.fromkeys(choices))
    if "$ref" in schema or "allOf" in schema:
        return "mapping, below"
    if "prefixItems" in schema:
        return "[" + ", ".join(kind(item) for item in schema["prefixItems"]) + "]"
    if schema.get("type") == "array":
        return f"list of {kind(schema['items'])}"
    if schema.get("type") == "object":
        inside = schema.get("additionalProperties")
        return f"mapping of names to {kind(inside) if isinstance(inside, dict) else 'anything'}"
    return (str(schema.get("type", "anything")) + bounds(schema)).replace("string", "text")


def bounds(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    parts = [
        f"from {least:,.16g}" if least is not None else f"above {above:,.16g}" if above is not None else "",
        f"to {most:,.16g}" if most is not None else f"below {below:,.16g}" if below is not None else "",
    ]
    return "".join(f" {part}" for part in parts if part)


def default_text(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_none=True)
    if value is None or value in ("", [], {}):
        return ""
    return f"`{yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix('...' + chr(10)).strip()}`"


# --- commands -----------------------------------------------------------------------------------------------------


def commands_page() -> str:
    parts = [
        "# Commands\n\n`harness COMMAND --help` says the same. Errors of whoever typed or wrote a file are one line "
        "and exit code 2; Ctrl-C is 130.\n"
    ]
    for name, command in commands_of(build_cli(), "harness"):
        parts.append(f"## {name}\n\n{sentence(command.help or '')}\n\n{options_of(command)}")
    return "\n".join(parts)


def sentence(text: str) -> str:
    text = one_line(text)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def commands_of(group: Commands, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every subcommand and its own subcommands, in the order of `--help`."""
    for word, command in group.commands.items():
        loaded = command.load() if isinstance(command, Deferred) else command
        yield f"{name} {word}", loaded
        if isinstance(loaded, Commands):
            yield from commands_of(loaded, f"{name} {word}")


def options_of(command: click.Command) -> str:
    """Arguments and options of a command; what is behind them, their defaults and meanings."""
    if isinstance(command, ForeignCommand):
        return "Everything behind it is [pytest's](pytest.md).\n"
    rows = [[parameter_text(each), parameter_default(each), one_line(each.help or "")] for each in command.params]
    return table(("argument", "default", "meaning"), rows) if rows else ""


def parameter_text(parameter: click.Parameter) -> str:
    """`--size WIDTHxHEIGHT`, `SUITE`, `[SUITE ...]`."""
    value = parameter.metavar or parameter.name.upper()
    if isinstance(parameter.type, click.Choice) and not parameter.metavar:
        value = "{" + ",".join(map(str, parameter.type.choices)) + "}"
    if isinstance(parameter, click.Option):
        names = ", ".join([*parameter.opts, *parameter.secondary_opts])
        return f"`{names}`" if parameter.is_flag else f"`{names} {value}`"
    return (
        f"`{value.removesuffix('...')} ...`"
        if parameter.nargs == -1
        else f"`{value}`"
        if parameter.required
        else f"`[{value}]`"
    )


def parameter_default(parameter: click.Parameter) -> str:
    if parameter.required:
        return "needed"
    value = parameter.to_info_dict()["default"]
    if value in (None, False, 0, "", ()) or value == Path():
        return ""
    return f"`{value.as_posix() if isinstance(value, Path) else value}`"


# --- pytest -------------------------------------------------------------------------------------------------------


class Recorder:
    """Takes the plugin's options as pytest's own parser does."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []

    def getgroup(self, *_: str) -> Recorder:
        return self

    def addoption(self, *names: str, **given: Any) -> None:
        value = "" if given.get("action") == "store_true" else f" {given.get('metavar', 'VALUE')}"
        self.rows.append([f"`{', '.join(names)}{value}`", one_line(given.get("help", ""))])


SHORT = (
    "Short names are there where suites are: in what the command line names, in `suites/`, or because the "
    "configuration of pytest names `harness_suites` (as `harness init` writes it). Everywhere else they may be "
    "another plugin's, and only the long ones are ours, with `--lora`, `--locked`, `--retrain` and `--retrain-budget`."
)
EXAMPLE = """import pytest

from harness.core.values import Decision


@pytest.mark.lora_suite("suites/smoke.yaml")
def test_likeness(lora_case):
    assert lora_case.verdict.decision is not Decision.FAIL
"""


def pytest_page() -> str:
    recorder = Recorder()
    pytest_lora_harness.add_options(recorder, True)  # type: ignore[arg-type]  # it records what a parser is told
    marks = [[f"`{mark}`", meaning] for mark, meaning in plugin.MARKS.items()]
    codes = [[str(code), EXIT_CODES[code]] for code in sorted(EXIT_CODES)]
    return (
        "# In pytest\n\nThe package is a plugin of pytest: `pytest suites/` collects every suite, and each item is "
        "called `suites/NAME.yaml::CASE::PROVIDER`, the suite's verdict "
        "`suites/NAME.yaml::gate::PROVIDER`. All options of pytest itself work as you know them.\n\n"
        f"## Options\n\n{SHORT}\n\n{table(('option', 'meaning'), recorder.rows)}\n"
        f"## Marks\n\nFor `-m`, and for Python tests.\n\n{table(('mark', 'meaning'), marks)}\n"
        f"## Exit codes\n\n{table(('code', 'meaning'), codes)}\n"
        "## Python tests over a suite\n\n`lora_case` is one case by one gate provider, drawn when it is asked for:\n\n"
        f"```python\n{EXAMPLE}```\n\n"
        "`lora_case.suite`, `.case`, `.provider`, `.result` (samples and scores) and `.verdict` are values of "
        "[the Python API](api.md).\n"
    )


# --- environment --------------------------------------------------------------------------------------------------


def environment_page() -> str:
    own = [
        [f"`{name}`", f"`{DEFAULTS[option]}`" if (option := field_of(name)) else "`profile`", OWN[name]] for name in OWN
    ]
    keys = [[f"`{name}`", BESIDE.get(name) or ", ".join(f"`{user}`" for user in users)] for name, users in key_users()]
    foreign = [[f"`{name}`", meaning] for name, meaning in FOREIGN.items()]
    return (
        "# Environment variables\n\nThey stand in the environment or in `.env` in the folder where the command runs "
        "(`.env.example` has them all); the environment wins, and options win over both. An empty variable is an unset "
        "one.\n\n"
        f"{table(('variable', 'default', 'meaning'), own)}\n"
        "## Keys\n\nA provider without its key is skipped. Keys are sent to their service and nowhere else.\n\n"
        f"{table(('variable', 'of'), keys)}\n"
        "## Read where they are set\n\nCI systems and launchers set these; nobody needs to.\n\n"
        f"{table(('variable', 'what happens'), foreign)}"
    )


def field_of(variable: str) -> str:
    return next((name for name, known in VARIABLES.items() if known == variable), "")


def key_users() -> list[tuple[str, list[str]]]:
    """The variables of .env.example that are no settings, with the adapters and services whose default key they are."""
    users: dict[str, list[str]] = {}
    for path in sorted((ROOT / "harness" / "providers").glob("*.py")) + sorted(
        (ROOT / "harness" / "text").glob("*.py")
    ):
        for name in re.findall(r'^    key: (?:str|VariableName) = "(\w+)"', read(path), re.MULTILINE):
            users.setdefault(name, []).append(path.stem)
    for path in sorted((ROOT / "suites" / "services").glob("*.yaml")):
        if name := yaml.safe_load(read(path)).get("key"):
            users.setdefault(name, []).append(path.stem)
    named = re.findall(r"^# (\w+)=", read(ROOT / ".env.example"), re.MULTILINE)
    return [(name, sorted(set(users.get(name, [])))) for name in named if name not in OWN]


# --- Python -------------------------------------------------------------------------------------------------------


def api_page() -> str:
    parts = [
        "# Python API\n\nEverything is typed. These modules are what programs, notebooks and metrics of your own may "
        "build on; others change without notice. The site shows their classes and functions, on GitHub follow the "
        "links.\n"
    ]
    for name in MODULES:
        module = importlib.import_module(f"harness.{name}")
        source = Path(inspect.getfile(module)).relative_to(ROOT).as_posix()
        first = (module.__doc__ or "").strip().splitlines()[0]
        said = "" if "  " in first else f"{sentence(first)} "  # the exception tree is a drawing
        parts.append(
            f"## harness.{name}\n\n{said}[{source}](../../{source})\n\n"
            f"```{{eval-rst}}\n.. automodule:: harness.{name}\n   :members:\n   :noindex:\n```\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
