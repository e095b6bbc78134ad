"""Warnings are errors in the project's own tests, but not in the suites that people run beside them."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.test_plugin_hooks import Project

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores; set before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")
SHARED = "HARNESS_TESTS_SHARED"  # see tests.known
HERE = Path(__file__).parent
LEFT_OUT = """adaptive calibration_command checkpoints cohort docs docs_commands drawing experiments gate_figures
    gpu_benchmark hotswap house improve local lora_tools making models moved mutants own_best pytest_versions
    references_check references_prepare remote_contract sdks services_in_pytest setlevel stats sweep text_writers
    training training_data training_runs training_samples training_variants wheel world write_your_own yaml_fuzz"""
SLOW = frozenset(f"test_{name}.py" for name in LEFT_OUT.split())
"""Files whose tests draw, train, simulate, compile, install or wait for services; not of the inner loop."""
MINUTES = "main_job faults world abroad compare pytest_versions docs_commands"
FIRST = {f"test_{name}.py": place for place, name in enumerate(MINUTES.split())}
"""Files of several minutes: begun first, or one worker ends with one of them while the other is idle."""
FILTERS = (
    "error",
    "ignore::DeprecationWarning:(torch|diffusers|transformers|peft|accelerate|skimage|huggingface_hub)",
    "ignore::FutureWarning:(torch|diffusers|transformers|peft|accelerate|skimage|huggingface_hub)",
    "ignore::UserWarning:(torch|diffusers|transformers|peft|accelerate)",
    "ignore::ResourceWarning",  # sockets that the emulator's faults leave hanging on purpose
)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny random models; no test changes them."""
    from tests.tiny import save_models

    folder = tmp_path_factory.mktemp("tiny")
    save_models(folder)
    return folder


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A folder with painted suites; whoever asks names `pytester` in its `pytest_plugins`."""
    from tests.test_plugin_hooks import Project

    return Project(pytester, monkeypatch)


@pytest.fixture(autouse=True)
def no_real_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have real keys and HARNESS_EMULATOR=off; no test may spend their money."""
    monkeypatch.setenv("HARNESS_EMULATOR", "profile")


def pytest_configure(config: pytest.Config) -> None:
    """By its number of tests xdist would start the longest files last, each with one worker and the other idle.

    What workers share lies in a folder of this run, made by the process that starts them.
    """
    if SHARED not in os.environ:
        os.environ[SHARED] = folder = tempfile.mkdtemp(prefix="lora-harness-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        config.add_cleanup(lambda: os.environ.pop(SHARED, None))
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(*FILTERS))
            if item.path.name in SLOW:
                item.add_marker("slow")
    items.sort(key=lambda item: FIRST.get(item.path.name, len(FIRST)))
