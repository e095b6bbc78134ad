"""The name by which pytest loads the plugin: light, quiet, and out of the way where no suite is.

Every pytest session of a machine loads this file, so it imports nothing but the standard library and pytest. What it
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
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.core import claim

OURS = Path(__file__).resolve().with_name("harness")
PLUGIN = "harness.plugin"
if not TYPE_CHECKING:  # by its place and not by its name: that may be somebody else's
    _spec = spec_from_file_location("lora_harness_claim", OURS / "core" / "claim.py")
    claim = module_from_spec(_spec)
    _spec.loader.exec_module(claim)

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
        if any((folder / name).exists() for name in (".git", *claim.CONFIGURATIONS)):
            return


def foreign(candidates: Iterable[Path]) -> Path | None:
    """The first of them that is there and is not this distribution's package."""
    return next((path for path in candidates if path.is_file() and path.resolve().parent != OURS), None)


CHOSEN = "harness" in sys.modules  # `harness ci` has imported ours already: then it is wanted, whatever lies here
FOREIGN = foreign(found_first()) or (None if CHOSEN else foreign(in_project(Path.cwd())))


# --- is the plugin wanted? ------------------------------------------------------------------------------------------


def places_of(config: pytest.Config) -> list[Path]:
    """What the command line names, and `suites` where it names nothing; values of options among them."""
    here = config.invocation_params.dir
    words = [os.fspath(word).split("::")[0] for word in config.invocation_params.args]
    named = [here / word for word in words if word and not word.startswith("-") and (here / word).exists()]
    tests = [path for path in named if path.is_dir() or path.suffix in (".py", *claim.SUFFIXES)]
    return named if tests else [*named, here / "suites"]


def configured(config: pytest.Config) -> bool:
    """Whether the configuration of the project says where suites are; pytest may have read another's."""
    files = [config.inipath] if config.inipath else []
    for start in (config.invocation_params.dir, *places_of(config)):
        around = ([folder / name for name in claim.CONFIGURATIONS] for folder in (start, *start.parents))
        files += next(filter(None, ([path for path in paths if path.is_file()] for paths in around)), [])
    return any(
        claim.CONFIGURED.search(file.read_text("utf-8", "replace")) for file in dict.fromkeys(files) if file.is_file()
    )


def wanted(config: pytest.Config) -> bool:
    """Whether there are suites: by the configuration, or because some lie where pytest is to look."""
    key = "_lora_harness_wanted"
    if not hasattr(config, key):
        here = configured(config) or any(True for place in places_of(config) for _ in claim.suites_in(place))
        setattr(config, key, here)
    return bool(getattr(config, key))


def load(config: pytest.Config) -> Any:
    """The plugin, registered. Raises pytest.UsageError where another `harness` is in its way."""
    if FOREIGN is not None:
        raise pytest.UsageError(f"lora-harness: stands aside, because {FOREIGN} is a `harness` of this project's own")
    config.pluginmanager.import_plugin(PLUGIN)
    return sys.modules[PLUGIN]


# --- hooks --------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """All options by their long names; by their short ones where they are nobody else's."""
    parser.addini(claim.INI, "where LoRA quality suites are; with it their options have short names", "args", [])
    if FOREIGN is not None:
        return
    config: Any = pluginmanager.get_plugin("pytestconfig")
    short = wanted(config)
    add_options(parser, short)
    given = [os.fspath(word).partition("=")[0] for word in config.invocation_params.args]
    used = [word for word in dict.fromkeys(given) if word in claim.OPTIONS and word not in claim.ALWAYS]
    if used and not short:
        words = ", ".join(f"{word} is --harness-{word.removeprefix('--')}" for word in used)
        parser.extra_info["lora-harness"] = f"{words} here, where no suite is and pytest's ini names no {claim.INI}"


def add_options(parser: pytest.Parser, short: bool) -> None:
    """Each under its long name, and under its short one where that is wanted or nobody else's."""
    group = parser.getgroup("harness", "LoRA quality suites")
    for option, (value, text) in claim.OPTIONS.items():
        name = option.removeprefix("--")
        settings: dict[str, Any] = {"dest": f"harness_{name.replace('-', '_')}", "help": text}
        settings |= (
            {"type": int if option in claim.WHOLE else str, "metavar": value} if value else {"action": "store_true"}
        )
        long = f"--harness-{name}"
        try:
            group.addoption(*([option, long] if short or option in claim.ALWAYS else [long]), **settings)
        except ValueError:  # another plugin's already
            group.addoption(long, **settings)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Late, because the plugin wants pytest's own terminal reporter to be there."""
    given = getattr(config, "workerinput", None)  # of xdist: what the controller tells a worker
    asked = any(value for name, value in vars(config.option).items() if name.startswith("harness_"))
    if FOREIGN is None and ("harness" in given if given is not None else asked or wanted(config)):
        load(config)


def pytest_report_header() -> str | None:
    return f"lora-harness: stands aside, because {FOREIGN} is a `harness` of this project's own" if FOREIGN else None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix not in claim.SUFFIXES:
        return None
    config, session = parent.config, parent.session
    named = file_path in session._initialpaths or in_folders(config, file_path)
    if not claim.is_suite_file(file_path, named) or FOREIGN is not None:
        return None
    collector: pytest.Collector = load(config).SuiteFile.from_parent(parent, path=file_path)
    return collector


def in_folders(config: pytest.Config, path: Path) -> bool:
    """Whether a file lies where the configuration says that suites do."""
    return any(path.is_relative_to(config.rootpath / folder) for folder in config.getini(claim.INI))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test over a suite's cases, in a session that knows of no suite yet."""
    known = metafunc.config.pluginmanager.has_plugin(PLUGIN)
    if "lora_case" in metafunc.fixturenames and FOREIGN is None and not known:
        load(metafunc.config).pytest_generate_tests(metafunc)
