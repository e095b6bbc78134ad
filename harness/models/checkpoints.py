"""Checkpoints of one file, as model sites hand them out: unpacked once into a pipeline's folder, with no network.

The file holds weights and nothing else; settings and tokenizers come from a folder on this machine, SDXL's as a rule.
After that such a checkpoint is a model like any other: it is drawn with, trained on, hashed and looked into.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from harness.core.errors import ModelError
from harness.core.values import digest
from harness.models.identity import hash_once

PLACE = Path(".cache", "checkpoints")  # under the project's root
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"  # whose settings nearly every checkpoint shares
PICKLES = (".bin", ".ckpt", ".pt", ".pth")


def is_single_file(path: Path) -> bool:
    """Whether a model's path is one file of weights.

    Raises:
        ModelError: it is a pickle, which is never loaded.
    """
    if path.suffix in PICKLES and path.is_file():
        raise ModelError(f"model {path}: a pickle can run code; convert it to .safetensors, or get that version of it")
    return path.suffix == ".safetensors" and path.is_file()


def unpacked(file: Path, sha: str, settings: Path, root: Path) -> Path:
    """The folder of an unpacked checkpoint, made now unless it is there; takes as much disk again.

    Args:
        sha: of the file.
        settings: a pipeline's folder; its weights, if it has any, are not read.

    Raises:
        ModelError: no SDXL checkpoint or autoencoder, or one that the settings do not describe.
    """
    target = root / PLACE / folder_name(file, sha, settings)
    if (target / "model_index.json").is_file() or (target / "config.json").is_file():
        return target
    from harness.models.unpacking import unpack  # torch, diffusers

    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacking-"))
    try:
        unpack(file, settings, work)
        work.replace(target)
    except OSError as error:
        if not target.is_dir():  # somebody else may have been faster
            raise ModelError(f"checkpoint {file}: could not be unpacked into {target}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def folder_name(file: Path, sha: str, settings: Path) -> str:
    return f"{file.stem}-{sha[:12]}-{digest(settings_hash(settings))[:8]}"


def settings_hash(settings: Path) -> dict[str, str]:
    """What of a pipeline's folder decides how a checkpoint is read: file to hash."""
    files = (path for pattern in ("*.json", "*.txt", "*.model") for path in settings.rglob(pattern))
    return {path.relative_to(settings).as_posix(): hash_once(path) for path in sorted(files)}
