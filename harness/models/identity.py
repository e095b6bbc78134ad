"""What identifies a model: hashes of its weights, and the class of libraries that it is drawn with."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from harness.core.values import hash_file

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")  # NAME or NAME@REVISION


WEIGHT_FILE = re.compile(r"(diffusion_pytorch_)?model(\.fp16)?(-\d+-of-\d+)?(\.fp16)?\.safetensors")


WEIGHTS = ("*.safetensors", "*.json", "*.txt")  # never a pickle, so never *.bin, *.pt or *.ckpt


LIBRARIES = r"(torch|diffusers|transformers|peft|accelerate|huggingface_hub)\b"


def hash_once(path: Path) -> str:
    """SHA-256 of a file, computed again only when its size or time of change differs."""
    status = path.stat()
    return _hash_file(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _hash_file(path: Path, size: int, changed: int) -> str:
    return hash_file(path)


@lru_cache(maxsize=16)
def library_class(*names: str) -> str:
    """The compatibility class of libraries: "torch 2.13, diffusers 0.42"; patch releases draw alike."""
    versions = ((name, metadata.version(name).split("+")[0].split(".")) for name in names)
    return ", ".join(f"{name} {'.'.join(parts[:2])}" for name, parts in versions)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Load and run without progress bars, advice and deprecation warnings: people read our output, not theirs.

    Not `warnings.catch_warnings`: it would silence every thread, and with them the tests that finish meanwhile.
    """
    from diffusers.utils import logging as diffusers_logging
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]  # exported lazily
    from transformers.utils import logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    disable_progress_bars()
    for category in (DeprecationWarning, FutureWarning, UserWarning):
        warnings.filterwarnings("ignore", category=category, module=LIBRARIES)
    yield
