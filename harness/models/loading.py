"""The heavy models of a profile: where they lie, what identifies them, and loading each of them once."""

from __future__ import annotations

import ctypes
import platform
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from harness.config.profile import Profile
from harness.core.errors import ModelError
from harness.core.settings import Settings, data_root
from harness.core.values import digest
from harness.models.checkpoints import PICKLES, PLACE, SDXL, is_single_file, settings_hash, unpacked
from harness.models.identity import HUB_ID, WEIGHT_FILE, WEIGHTS, hash_once, quiet_libraries

if TYPE_CHECKING:
    import numpy as np

    from harness.models.pipeline import LocalPipeline

DTYPES = ("float32", "bfloat16", "float16")
DEVICES = ("cpu", "cuda", "mps")


# --- where a model lies, and what it is -------------------------------------------------------------------------------


def locate_model(name: str, root: Path, profile: str = "PROFILE", config: str | None = None) -> Path:
    """The folder of a model: a path under `root`, or beside the shipped suites, else the hub's cache.

    A checkpoint of one file is unpacked into a folder first. Nothing is ever downloaded here: a run that silently
    fetches gigabytes surprises people.

    Args:
        config: of a single file, the model whose settings and tokenizers it shares; None: those it was unpacked with
            before, else SDXL's.

    Raises:
        ModelError: it is nowhere; the text names the model, the cache folder and the command that fetches it.
    """
    result = find_local(name, root)
    if result is not None and result.is_dir():
        return result
    if result is not None:
        sha = hash_once(result)
        before = sorted((root / PLACE).glob(f"*-{sha[:12]}-*")) if config is None else []
        return before[0] if before else unpacked(result, sha, locate_settings(config, root, profile), root)
    if not HUB_ID.fullmatch(name) or name.endswith((".safetensors", *PICKLES)):
        raise ModelError(f"model {name!r}: there is no such folder under {root}; correct `models` in the profile")
    return cached_snapshot(name, profile)


def find_local(name: str, root: Path) -> Path | None:
    """A model's folder, or its single file; None when it is neither under `root` nor beside the shipped suites."""
    for base in (root, data_root()):
        if (base / name).is_dir() or is_single_file(base / name):  # an absolute name stays itself
            return base / name
    return None


def locate_settings(config: str | None, root: Path, profile: str) -> Path:
    """The folder with the settings and tokenizers of single-file checkpoints.

    Raises:
        ModelError: it is nowhere.
    """
    try:
        return locate_model(config or SDXL, root, profile)
    except ModelError as error:
        raise ModelError(
            f"a checkpoint of one file holds no settings, and those of {config or SDXL} are not here; name a folder "
            f"that has them under `models: config:`, or run `harness fetch {profile}` where there is a network"
        ) from error


def cached_snapshot(name: str, profile: str) -> Path:
    """The newest snapshot of a hub model in the local cache."""
    from huggingface_hub import constants, errors, snapshot_download

    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, local_files_only=True))
    except (errors.LocalEntryNotFoundError, FileNotFoundError) as error:
        raise ModelError(
            f"model {name!r} is not in the cache folder {constants.HF_HUB_CACHE}; "
            f"run `harness fetch {profile}` where there is a network, or name a folder in the profile"
        ) from error


def fetch_models(profile: Profile) -> list[Path]:
    """Download whatever the profile names on the hub; models that are folders are left alone."""
    models, root, folders = profile.models, Path.cwd(), []
    if any(name and find_file(name, root) for name in (models.base, models.vae)):
        settings = models.config or SDXL
        folders.append(find_local(settings, root) or fetch_model(settings, weights=False))
    for name in dict.fromkeys(filter(None, (models.base, models.vae, models.clip))):
        local = HUB_ID.fullmatch(name) is None or find_local(name, root) is not None
        where = data_root() if find_local(name, root) is None else root
        folders.append(locate_model(name, where, profile.name, models.config) if local else fetch_model(name))
    return folders


def find_file(name: str, root: Path) -> bool:
    """Whether a model is a checkpoint of one file."""
    result = find_local(name, root)
    return result is not None and result.is_file()


def fetch_model(name: str, weights: bool = True) -> Path:
    """Download one hub model, resuming what an earlier attempt left; HF_TOKEN and HF_HOME work as everywhere.

    Args:
        weights: False: its settings and tokenizers only.
    """
    from huggingface_hub import HfApi, snapshot_download

    repository, _, revision = name.partition("@")
    try:
        files = choose_files(HfApi().list_repo_files(repository, revision=revision or None))
        if not weights:
            files = [file for file in files if not file.endswith(".safetensors")]
        if not weights or any(file.endswith(".safetensors") for file in files):
            return Path(snapshot_download(repository, revision=revision or None, allow_patterns=files))
    except Exception as error:  # the hub client raises a dozen kinds; all of them mean "no download"
        raise ModelError(f"model {name!r} could not be fetched: {error}") from error
    raise ModelError(
        f"model {name!r} has no .safetensors weights there, and pickles are never loaded; "
        "name a revision that has them in the profile: NAME@REVISION, refs/pr/15 say"
    )


def choose_files(files: Iterable[str]) -> list[str]:
    """Of a model's files those that are loaded: settings, vocabularies, and each part's weights once, halves first."""
    files = list(files)
    weights = [file for file in files if WEIGHT_FILE.fullmatch(file.rpartition("/")[2])]
    halved = {file.rpartition("/")[0] for file in weights if ".fp16" in file}
    weights = [file for file in weights if ".fp16" in file or file.rpartition("/")[0] not in halved]
    return sorted([*weights, *(file for file in files if file.endswith((".json", ".txt", ".model")))])


def hash_model(name: str, root: Path, profile: str = "PROFILE", config: str | None = None) -> str:
    """What identifies a model, without torch: the hash of its files, or a hub model's name and revision."""
    file = find_local(name, root)
    if file is not None and file.is_file():
        return digest([hash_once(file), settings_hash(locate_settings(config, root, profile))])
    folder = locate_model(name, root, profile)
    if folder.parent.name == "snapshots":  # the hub's cache: the revision already names every byte
        return digest([name, folder.name])
    files = [file for pattern in WEIGHTS for file in folder.rglob(pattern)]
    if not any(file.suffix == ".safetensors" for file in files):
        raise ModelError(f"model {name!r}: {folder} holds no .safetensors file")
    return digest({file.relative_to(folder).as_posix(): hash_once(file) for file in files})


# --- where it runs, and how precisely ---------------------------------------------------------------------------------


def resolve_device(name: str = "auto") -> str:
    """cuda, mps or cpu, found out without importing torch, because a warm run never needs it."""
    if name != "auto":
        if name.split(":")[0] not in DEVICES:
            raise ModelError(f"device {name!r} is unknown; choose auto, {', '.join(DEVICES)}")
        return name
    if sys.platform == "darwin":
        return "mps" if platform.machine() == "arm64" else "cpu"
    return "cpu" if metadata.version("torch").endswith("+cpu") or not count_cuda_cards() else "cuda"


def missing_device(name: str) -> str:
    """Why this machine has not the device that a profile names; "" where it has."""
    try:
        kind, _, place = resolve_device(name).partition(":")
    except ModelError as error:
        return str(error)
    cards = count_cuda_cards() if kind == "cuda" and not metadata.version("torch").endswith("+cpu") else 0
    if kind == "cuda" and int(place or 0) >= cards:
        return f"this machine has {cards} card(s) that torch {metadata.version('torch')} can use"
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return "this machine is no Mac with Apple's chip" if kind == "mps" and not apple else ""


@lru_cache(maxsize=1)
def count_cuda_cards() -> int:
    """How many cards the NVIDIA driver lets this process see; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    result = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if result else 0


def resolve_dtype(name: str = "auto", device: str = "cpu") -> str:
    """float32, bfloat16 or float16; auto is bfloat16 only where the hardware is really faster at it."""
    if name != "auto":
        if name not in DTYPES:
            raise ModelError(f"dtype {name!r} is unknown; choose auto, {', '.join(DTYPES)}")
        return name
    fast = device.startswith("cuda") or (device == "cpu" and cpu_multiplies_bfloat16())
    return "bfloat16" if fast else "float32"


@lru_cache(maxsize=1)
def cpu_multiplies_bfloat16() -> bool:
    """Whether the CPU has AVX512-BF16 or AMX; where that cannot be read (not Linux), no: slower, never wrong."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16"})


# --- loading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoadedClip:
    """A CLIP model in float32 (it is small, and scores must not depend on the machine), with its preprocessing."""

    model: Any  # CLIPModel
    processor: Any  # CLIPImageProcessorPil
    tokenizer: Any  # CLIPTokenizer
    device: str
    batch: int = 32

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> LoadedClip:
        """From a folder with model, preprocessing and tokenizer."""
        import torch
        from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

        model = CLIPModel.from_pretrained(folder, dtype=torch.float32, **load_options(folder))
        processor = CLIPImageProcessorPil.from_pretrained(folder)
        return cls(model.eval().to(device), processor, CLIPTokenizer.from_pretrained(folder), device)

    @property
    def logit_scale(self) -> float:
        """The checkpoint's own softmax temperature, as a factor."""
        return float(self.model.logit_scale.detach().exp())

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Unit vectors [n, d], float32."""
        return self._embed(list(images), lambda part: self.processor(images=part, return_tensors="pt"), "image")

    def read_views(self, images: Sequence[Image.Image]) -> np.ndarray:
        """What the image tower makes of each picture, before anything is said in words: [n, 2, width], float32.

        First the mean over its patches after two thirds of the layers, then the whole picture after the last.
        """
        import numpy as np
        import torch

        tower = self.model.config.vision_config
        depth = round(2 * tower.num_hidden_layers / 3)
        results = [np.zeros((0, 2, tower.hidden_size), np.float32)]
        for start in range(0, len(images), self.batch):
            pixels = self.processor(images=list(images[start : start + self.batch]), return_tensors="pt")
            with torch.inference_mode():
                seen = self.model.vision_model(**pixels.to(self.device), output_hidden_states=True)
                patches = seen.hidden_states[depth][:, 1:].mean(1)  # the first is of the whole picture
                results.append(torch.stack([patches, seen.pooler_output], 1).float().cpu().numpy())
        return np.concatenate(results)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors [n, d], float32; a text longer than the window is cut."""
        window = self.model.config.text_config.max_position_embeddings

        def tokenize(part: list[str]) -> Any:
            return self.tokenizer(part, padding="max_length", max_length=window, truncation=True, return_tensors="pt")

        return self._embed(list(texts), tokenize, "text")

    def _embed(self, items: list[Any], prepare: Any, kind: str) -> np.ndarray:
        import numpy as np
        import torch

        encode = getattr(self.model, f"get_{kind}_features")
        results = [np.zeros((0, self.model.config.projection_dim), np.float32)]
        for start in range(0, len(items), self.batch):
            with torch.inference_mode():
                features = encode(**prepare(items[start : start + self.batch]).to(self.device))
                features = getattr(features, "pooler_output", features)  # transformers 5 wraps them
                results.append(torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy())
        return np.concatenate(results)


class Models:
    """Loads each heavy model of a profile at most once, whoever asks, and counts."""

    def __init__(self, profile: Profile, settings: Settings) -> None:
        self.profile, self.root = profile, settings.root
        self.device = resolve_device(profile.device)
        self.dtype = resolve_dtype(profile.dtype, self.device)
        self.loads = 0
        self.seconds: dict[str, float] = {}  # model to seconds of loading
        self._lock = threading.RLock()
        self._loaded: dict[str, object] = {}
        self._base_hash: str | None = None

    def model_hash(self, name: str) -> str:
        """A model's identity, without torch."""
        return hash_model(name, self.root, self.profile.name, self.profile.models.config)

    def base_hash(self) -> str:
        """The identity of what draws: the base, and the autoencoder that replaces its own. Computed once."""
        if self._base_hash is None:
            names = (self.profile.models.base, self.profile.models.vae)
            self._base_hash = digest([self.model_hash(name) for name in names if name])
        return self._base_hash

    def pipeline(self) -> LocalPipeline:
        """The one diffusion pipeline that every local provider shares."""
        return self._once("pipeline", self._load_pipeline)

    def clip(self) -> LoadedClip:
        """The one CLIP model that every metric shares."""
        return self._once("clip", self._load_clip)

    def close(self) -> None:
        """Let go of everything loaded; the counts stay."""
        with self._lock:
            self._loaded.clear()

    def _once(self, name: str, load: Any) -> Any:
        with self._lock:
            if name not in self._loaded:
                started = time.perf_counter()
                with quiet_libraries():
                    self._loaded[name] = load()
                self.loads += 1
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
            return self._loaded[name]

    def _folder(self, name: str) -> Path:
        return locate_model(name, self.root, self.profile.name, self.profile.models.config)

    def _load_pipeline(self) -> LocalPipeline:
        import torch
        from diffusers import AutoencoderKL, StableDiffusionXLPipeline

        from harness.models.pipeline import LocalPipeline

        precise = getattr(torch, self.profile.models.vae_dtype)
        dtype = {"default": getattr(torch, self.dtype), "vae": precise}
        parts: dict[str, object] = {}
        with translated(self.profile.models.base):
            if self.profile.models.vae:
                vae = self._folder(self.profile.models.vae)
                parts["vae"] = AutoencoderKL.from_pretrained(vae, dtype=precise, **load_options(vae))
            folder = self._folder(self.profile.models.base)
            pipe = StableDiffusionXLPipeline.from_pretrained(
                folder, dtype=dtype, add_watermarker=False, **parts, **load_options(folder)
            )
        return LocalPipeline(move(pipe, self.device), self.device, self.profile.compile)

    def _load_clip(self) -> LoadedClip:
        name = self.profile.models.clip
        folder = self._folder(name)
        with translated(name):
            return LoadedClip.load(folder, self.device)


def move(pipe: Any, device: str) -> Any:
    """A pipeline onto the device that draws.

    Raises:
        ModelError: it does not fit there; with the figures.
    """
    from harness.models.memory import GIB, memory_errors_translated, memory_text, release_memory

    models = (part for part in pipe.components.values() if hasattr(part, "parameters"))
    size = sum(value.numel() * value.element_size() for part in models for value in part.parameters()) / GIB
    try:
        with memory_errors_translated(1):
            return pipe.to(device)
    except MemoryError as error:
        release_memory()
        remedy = "choose `dtype: bfloat16`, a smaller model or another device in the profile"
        raise ModelError(f"the model takes {size:.1f} GiB, and {memory_text(device)}; {remedy}") from error


def load_options(folder: Path) -> dict[str, object]:
    """Safetensors only, no network, and the half-size files where a model has them."""
    halves = any(folder.rglob("*.fp16.safetensors"))
    return {"use_safetensors": True, "local_files_only": True, **({"variant": "fp16"} if halves else {})}


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Whatever the libraries raise about files of a model becomes one ModelError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"model {name!r} could not be loaded: {error}") from error
