"""Warnings are errors in the project's own tests, but not in the suites that people run beside them."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores; set before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")
SHARED = "HARNESS_TESTS_SHARED"  # see tests.known
HERE = Path(__file__).parent
SLOW = frozenset(
    f"test_{name}.py"
    for name in (
        *(
            "calibration_command",
            "docs",
            "docs_commands",
            "experiments",
            "gpu_benchmark",
            "hotswap",
            "house",
            "improve",
        ),
        *("lora_tools", "making", "moved", "mutants", "own_best", "pytest_versions", "references_check"),
        *(
            "references_prepare",
            "remote_contract",
            "services_in_pytest",
            "setlevel",
            "sweep",
            "text_writers",
            "training",
        ),
        *(
            "training_data",
            "training_runs",
            "training_samples",
            "training_variants",
            "wheel",
            "world",
            "write_your_own",
        ),
    )
)
"""Files whose tests train, compile, install or wait for services; `python -m tests --fast` leaves them out."""
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
