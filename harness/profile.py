"""With what to test: models, providers, scorers, training defaults. A suite says what to test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.errors import SuiteError, nearest
from harness.yamlfile import read_yaml, validate

PACKAGE = Path(__file__).resolve().parent
ADAPTERS = ("local", "http", "flat")


@dataclass(frozen=True)
class Models:
    """Folders or hub ids."""

    base: str
    clip: str
    vae: str | None = None  # None: the base's own


@dataclass(frozen=True)
class Vocabulary:
    """One category of traits: its alternatives and how a prompt says each."""

    alternatives: Mapping[str, str]  # value to phrase
    identity: bool = True  # False: belongs to the scene, that is to the prompt

    def phrase(self, value: str) -> str:
        """How a prompt says a value; a value that is not listed is said as it is."""
        return self.alternatives.get(value, value)


@dataclass(frozen=True)
class ProviderConfig:
    """How a profile sets up one provider."""

    adapter: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """One file of suites/profiles/, resolved."""

    name: str
    path: Path
    models: Models
    size: tuple[int, int]  # width, height, pixels
    steps: int
    guidance: float
    scheduler: str
    batch: int
    dtype: str
    device: str
    negative: str
    max_tokens: int  # of the text encoder, start and end included
    vocabulary: Mapping[str, Vocabulary]
    templates: tuple[str, ...]  # a text in which {} stands for a phrase
    impostors: Path | None
    providers: Mapping[str, ProviderConfig]
    training: Mapping[str, Any] = field(default_factory=dict)


class Strict(BaseModel):
    """An unknown key is a typo, not an option."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelsEntry(Strict):
    base: str
    clip: str
    vae: str | None = None


class ProviderEntry(BaseModel):
    """Everything beside the adapter is the adapter's own to check."""

    model_config = ConfigDict(extra="allow", frozen=True)
    adapter: Literal["local", "http", "flat"]


class CategoryEntry(Strict):
    identity: bool = True
    phrase: str = "{}"
    values: list[str] | dict[str, str]


class TraitsFile(Strict):
    """A vocabulary of traits in a file of its own, so that suites and profiles share it."""

    templates: list[str] = Field(min_length=1)
    categories: dict[str, CategoryEntry]


class ProfileFile(Strict):
    """The exact shape of a file in suites/profiles/."""

    version: Literal[1]
    profile: str
    models: ModelsEntry
    size: tuple[int, int]
    steps: int = Field(30, ge=1, le=1000)
    guidance: float = Field(5.0, ge=0, le=50)
    scheduler: str = "euler"
    batch: int = Field(4, ge=1, le=256)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    negative: str = ""
    max_tokens: int = Field(77, ge=8)
    traits: str
    impostors: str | None = None
    providers: dict[str, ProviderEntry]
    training: dict[str, Any] = Field(default_factory=dict)


@lru_cache(maxsize=1)
def data_root() -> Path:
    """Where suites/, fixtures/ and references/ lie: beside the package in a checkout, inside it when installed."""
    checkout = PACKAGE.parent
    return checkout if (checkout / "suites" / "profiles").is_dir() else PACKAGE / "data"


def find_profile(name: str, root: Path) -> Path:
    """The file of a profile: a path, or a name in suites/profiles/ under `root` or among the shipped ones."""
    folders = [root / "suites" / "profiles", data_root() / "suites" / "profiles"]
    choices = [root / name, *(folder / f"{name}.yaml" for folder in folders)]
    found = next((path for path in choices if path.is_file()), None)
    if found is None:
        known = {path.stem for folder in folders for path in folder.glob("*.yaml")}
        raise SuiteError(f"no profile called {name!r}; {nearest(name, known)}")
    return found.resolve()


def load_profile(name: str, root: Path) -> Profile:
    """Read one profile.

    Raises:
        SuiteError: there is none of that name, or the file is wrong (file, line, key, remedy).
    """
    path = find_profile(name, root)
    document = read_yaml(path)
    file = validate(document, ProfileFile)
    traits = path.parent / file.traits
    if not traits.is_file():
        raise document.error(f"there is no file {traits}", "traits")
    vocabulary, templates = load_traits(traits)
    impostors = (path.parent / file.impostors).resolve() if file.impostors else None
    if impostors is not None and not impostors.is_dir():
        raise document.error(f"there is no folder {impostors}", "impostors")
    return Profile(
        name=file.profile,
        path=path,
        models=Models(file.models.base, file.models.clip, file.models.vae),
        size=file.size,
        steps=file.steps,
        guidance=file.guidance,
        scheduler=file.scheduler,
        batch=file.batch,
        dtype=file.dtype,
        device=file.device,
        negative=file.negative,
        max_tokens=file.max_tokens,
        vocabulary=vocabulary,
        templates=templates,
        impostors=impostors,
        providers={key: ProviderConfig(entry.adapter, entry.model_extra or {}) for key, entry in file.providers.items()},
        training=file.training,
    )


def load_traits(path: Path) -> tuple[dict[str, Vocabulary], tuple[str, ...]]:
    """A vocabulary file's categories in its order, and its prompt templates."""
    file = validate(read_yaml(path), TraitsFile)
    return {name: to_vocabulary(entry) for name, entry in file.categories.items()}, tuple(file.templates)


def to_vocabulary(entry: CategoryEntry) -> Vocabulary:
    """Values with their phrases; a list is phrased by the category's own `phrase`."""
    values = entry.values if isinstance(entry.values, dict) else {value: entry.phrase.format(value) for value in entry.values}
    return Vocabulary(values, entry.identity)


def profile_schema() -> dict[str, Any]:
    """The JSON schema of profiles, for editors."""
    return ProfileFile.model_json_schema()
