"""Where a scorer's weights lie: a folder, the Hugging Face hub's cache, or ModelScope's (`modelscope:OWNER/NAME`)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from harness.config.profile import Profile, RawHead
from harness.core.errors import ModelError
from harness.core.settings import data_root
from harness.core.values import digest
from harness.models.identity import WEIGHTS, hash_once
from harness.models.loading import fetch_model, locate_model

MODELSCOPE = "modelscope:"


def locate(name: str, root: Path, profile: str) -> Path:
    """The folder of a model; nothing is downloaded here.

    Raises:
        ModelError: it is nowhere; the text says how to get it.
    """
    if not name.startswith(MODELSCOPE):
        return locate_model(name, root, profile)
    try:
        return _snapshot(name, local_files_only=True)
    except ModelError:
        raise
    except Exception as error:  # its client raises kinds of its own, and they differ between its versions
        raise ModelError(
            f"model {name!r} is not in ModelScope's cache; run `harness fetch {profile}` where there is a network, "
            "or name a folder in the profile"
        ) from error


def fetch(name: str) -> Path:
    """Download a model from the hub or from ModelScope: weights as safetensors, settings, vocabularies.

    Raises:
        ModelError: it cannot be had, or has no safetensors.
    """
    if not name.startswith(MODELSCOPE):
        return fetch_model(name)
    try:
        folder = _snapshot(name, allow_patterns=list(WEIGHTS))
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"model {name!r} could not be fetched: {error}") from error
    if not any(folder.rglob("*.safetensors")):
        raise ModelError(f"model {name!r} has no .safetensors weights there, and pickles are never loaded")
    return folder


def fetch_scorers(profile: Profile) -> list[Path]:
    """Download what the profile's added metrics need; folders are left alone. `fetch_models` brings all else."""
    rated, dino = profile.models.aesthetics, profile.models.dino
    names = (rated.vision if isinstance(rated, RawHead) else rated, dino)
    return [data_root() / name if (data_root() / name).is_dir() else fetch(name) for name in names if name]


def weights_hash(folder: Path) -> str:
    """What identifies a model's weights alone: names and bytes of its safetensors, whatever lies beside them."""
    if folder.parent.name == "snapshots":  # the hub's cache: the revision names every byte, and gigabytes hash slowly
        return digest(["revision", folder.name])
    return digest({path.relative_to(folder).as_posix(): hash_once(path) for path in folder.rglob("*.safetensors")})


def _snapshot(name: str, **options: Any) -> Path:
    try:
        client = importlib.import_module("modelscope")
    except ImportError as error:
        raise ModelError(f"model {name!r}: ModelScope's client is missing; run `pip install modelscope`") from error
    repository, _, revision = name.removeprefix(MODELSCOPE).partition("@")
    return Path(client.snapshot_download(repository, revision=revision or None, **options))
