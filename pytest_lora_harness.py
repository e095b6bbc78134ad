"""The name by which pytest loads the plugin: light, quiet, and out of the way where no suite is.

Every pytest session of a machine loads this file, so it imports nothing but the standard library and pluggy. What it
does before it meets a suite: it declares options. Those with `--harness-` before their names are always there, and so
are four that nobody else means; the short names of the others only where suites are, or where the configuration of
pytest names `harness_suites`, because `--profile`, `--baseline` and their like belong to others, too. The plugin itself
(`harness.plugin`) comes with the first suite.

`harness` is an ordinary word, and a package of that name may lie in the project whose tests run. Whichever is imported
first would be everybody's, so this module looks before it imports: a foreign one stays the project's, and where such a
project has suites, it is told.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluggy import HookimplMarker

if TYPE_CHECKING:
    import pytest

OURS = Path(__file__).resolve().with_name("harness")
INI = "harness_suites"
PLUGIN = "harness.plugin"
SUFFIXES = (".yaml", ".yml")
MOST, DEPTH = 2_000, 4  # files that are looked at for suites, and folders below one that is named
CONFIGURED = re.compile(rf"^\s*{INI}\s*=", re.MULTILINE)
CONFIGURATIONS = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")

OPTIONS: Mapping[str, tuple[str, str]] = {
    "--profile": ("NAME", "models, providers and scorers: embedded, sdxl or a file (default: embedded)"),
    "--providers": ("A,B", "only these providers of each suite"),
    "--samples": ("N", "seeds per prompt instead of the suite's own number"),
    "--lora": (
        "FILE[@STRENGTH][+...]",
        "the LoRA under test instead of the suite's own; behind + come LoRAs that are drawn with it",
    ),
    "--store": ("DIR", "where pictures and records are kept (default: .harness)"),
    "--fresh": ("", "draw and score everything again"),
    "--locked": ("", "also run the cases that are kept for promotions"),
    "--report-dir": ("DIR", "where the report goes (default: reports)"),
    "--baseline": (
        "FILE|compare|off|save|git:REF",
        "what to compare with, paired by case and seed (default: baselines/<suite>.json beside the suite, if any)",
    ),
    "--update-baseline": (
        "",
        "write baselines/<suite>.json beside each suite from this run, if it is green and complete",
    ),
    "--update-baseline-anyway": ("", "write it from a red or incomplete run too"),
    "--budget": ("USD", "stop asking remote services before more than this is spent (default: no limit)"),
    "--max-calls": ("N", "make at most N paid calls (default: no limit)"),
    "--shard": ("I/N", "draw only every N-th case; `harness merge` judges the suites over all N shards"),
    "--retrain": ("N", "retrain a failing LoRA, up to N rounds, and keep it only if it is proven better"),
    "--retrain-budget": ("MINUTES", "let no training of --retrain go on after so many minutes (default: no limit)"),
}
"""Option to the name of its value, "" for a switch, and its help; `Settings.load` reads what is given."""
WHOLE = ("--samples", "--retrain")  # options whose value is a whole number
ALWAYS = ("--lora", "--retrain", "--retrain-budget", "--locked")  # short names that nobody else means


# --- whose `harness`? ---------------------------------------------------------------------------------------------


def found_first() -> Iterator[Path]:
    """What `import harness` would load now."""
    try:
        spec = find_spec("harness")
    except ValueError:  # somebody put a module there by hand
        return
    if spec and spec.origin:
        yield Path(spec.origin)


def in_project(start: Path) -> Iterator[Path]:
    """What lies where pytest would add a project's folders to the path: here or above, and in their `src`."""
    for folder in (start, *start.parents):
        for place in (folder, folder / "src"):
            yield place / "harness" / "__init__.py"
            yield place / "harness.py"
        if any((folder / name).exists() for name in (".git", *CONFIGURATIONS)):
            return


def foreign(candidates: Iterable[Path]) -> Path | None:
    """The first of them that is there and is not this distribution's package."""
    return next((path for path in candidates if path.is_file() and path.resolve().parent != OURS), None)


CHOSEN = "harness" in sys.modules  # `harness ci` has imported ours already: then it is wanted, whatever lies here
FOREIGN = foreign(found_first()) or (None if CHOSEN else foreign(in_project(Path.cwd())))


# --- what is a suite? -----------------------------------------------------------------------------------------------

HEAD = 100_000  # bytes of a file that are looked at
WORDS = ("version", "suite", "subject", "cases", "providers", "matrix", "include")  # a suite's own, at its top level
KEYS = re.compile(rf"""^\ufeff?["']?({"|".join(WORDS)})["']?\s*:""", re.MULTILINE)
TRIGGER = re.compile(r"""^\s+["']?trigger["']?\s*:|[{,]\s*["']?trigger["']?\s*:""", re.MULTILINE)
SCHEMA_LINE = re.compile(r"^# yaml-language-server: \$schema=\S*suite\.json", re.MULTILINE)


def is_suite_file(path: Path, named: bool = False) -> bool:
    """Whether a YAML file is one of ours.

    By itself only what nobody else writes is: the editors' line with our schema (of a file that was cut off nothing
    else may be left), or three of the four things that a suite is made of and a subject's trigger.

    Args:
        named: by hand, or it lies where the configuration says that suites do: two of a suite's keys will do, so that
            a broken one is told of.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(HEAD)
    except OSError:
        return named
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")  # UTF-16 or UTF-32; refused later, in words
    head = "\n".join(raw.replace(b"\0", b"").decode("latin-1" if wide else "utf-8", "replace").splitlines())
    if SCHEMA_LINE.search(head):
        return True
    keys = set(KEYS.findall(head))
    parts = ("suite" in keys, "subject" in keys, "providers" in keys, bool(keys & {"cases", "matrix", "include"}))
    return (sum(parts) >= 3 and bool(TRIGGER.search(head))) or (named and bool(keys & set(WORDS[1:4])))


def suites_in(place: Path) -> Iterator[Path]:
    """The YAML files of a folder that are suites, not too deep and not too many; a file by itself."""
    if place.is_file():
        yield from [place] if place.suffix in SUFFIXES and is_suite_file(place) else []
        return
    left = MOST
    for folder, folders, files in os.walk(place):
        depth = len(Path(folder).relative_to(place).parts)
        hidden = {name for name in folders if name.startswith((".", "_")) or name in ("node_modules", "venv", "build")}
        folders[:] = sorted(set(folders) - hidden) if depth < DEPTH else []
        for name in sorted(files):
            left -= 1
            if left < 0:
                return
            if name.endswith(SUFFIXES) and is_suite_file(Path(folder) / name):
                yield Path(folder) / name


# --- is the plugin wanted? ------------------------------------------------------------------------------------------


def places_of(config: pytest.Config) -> list[Path]:
    """What the command line names, and `suites` where it names nothing; values of options among them."""
    here = config.invocation_params.dir
    words = [os.fspath(word).split("::")[0] for word in config.invocation_params.args]
    named = [here / word for word in words if word and not word.startswith("-") and (here / word).exists()]
    return named or [here / "suites"]


def configured(config: pytest.Config) -> bool:
    """Whether the configuration of the project says where suites are; pytest may have read another's."""
    files = [config.inipath] if config.inipath else []
    for start in (config.invocation_params.dir, *places_of(config)):
        around = ([folder / name for name in CONFIGURATIONS] for folder in (start, *start.parents))
        files += next(filter(None, ([path for path in paths if path.is_file()] for paths in around)), [])
    return any(CONFIGURED.search(file.read_text("utf-8", "replace")) for file in dict.fromkeys(files) if file.is_file())


def wanted(config: pytest.Config) -> bool:
    """Whether there are suites: by the configuration, or because some lie where pytest is to look."""
    key = "_lora_harness_wanted"
    if not hasattr(config, key):
        here = configured(config) or any(True for place in places_of(config) for _ in suites_in(place))
        setattr(config, key, here)
    return bool(getattr(config, key))


def load(config: pytest.Config) -> Any:
    """The plugin, registered. Raises pytest.UsageError where another `harness` is in its way."""
    if FOREIGN is not None:
        from pytest import UsageError

        raise UsageError(f"lora-harness: stands aside, because {FOREIGN} is a `harness` of this project's own")
    config.pluginmanager.import_plugin(PLUGIN)
    return sys.modules[PLUGIN]


# --- hooks --------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """All options by their long names; by their short ones where they are nobody else's."""
    parser.addini(INI, "where LoRA quality suites are; with it their options have short names", "args", [])
    if FOREIGN is not None:
        return
    config: pytest.Config = pluginmanager.get_plugin("pytestconfig")
    short = wanted(config)
    add_options(parser, short)
    given = [os.fspath(word).partition("=")[0] for word in config.invocation_params.args]
    used = [word for word in dict.fromkeys(given) if word in OPTIONS and word not in ALWAYS]
    if used and not short:
        words = ", ".join(f"{word} is --harness-{word.removeprefix('--')}" for word in used)
        parser.extra_info["lora-harness"] = f"{words} here, where no suite is and pytest's ini names no {INI}"


def add_options(parser: pytest.Parser, short: bool) -> None:
    """Each under its long name, and under its short one where that is wanted or nobody else's."""
    group = parser.getgroup("harness", "LoRA quality suites")
    for option, (value, text) in OPTIONS.items():
        name = option.removeprefix("--")
        settings: dict[str, Any] = {"dest": f"harness_{name.replace('-', '_')}", "help": text}
        settings |= {"type": int if option in WHOLE else str, "metavar": value} if value else {"action": "store_true"}
        long = f"--harness-{name}"
        try:
            group.addoption(*([option, long] if short or option in ALWAYS else [long]), **settings)
        except ValueError:  # another plugin's already
            group.addoption(long, **settings)


@HookimplMarker("pytest")(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Late, because the plugin wants pytest's own terminal reporter to be there."""
    given = getattr(config, "workerinput", None)  # of xdist: what the controller tells a worker
    asked = any(value for name, value in vars(config.option).items() if name.startswith("harness_"))
    if FOREIGN is None and ("harness" in given if given is not None else asked or wanted(config)):
        load(config)


def pytest_report_header() -> str | None:
    return f"lora-harness: stands aside, because {FOREIGN} is a `harness` of this project's own" if FOREIGN else None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix not in SUFFIXES:
        return None
    config, session = parent.config, parent.session
    named = file_path in session._initialpaths or in_folders(config, file_path)
    if not is_suite_file(file_path, named) or FOREIGN is not None:
        return None
    collector: pytest.Collector = load(config).SuiteFile.from_parent(parent, path=file_path)
    return collector


def in_folders(config: pytest.Config, path: Path) -> bool:
    """Whether a file lies where the configuration says that suites do."""
    return any(path.is_relative_to(config.rootpath / folder) for folder in config.getini(INI))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test over a suite's cases, in a session that knows of no suite yet."""
    known = metafunc.config.pluginmanager.has_plugin(PLUGIN)
    if "lora_case" in metafunc.fixturenames and FOREIGN is None and not known:
        load(metafunc.config).pytest_generate_tests(metafunc)
