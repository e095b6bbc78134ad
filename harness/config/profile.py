"""With what to test: models, providers, scorers, training defaults. A suite says what to test."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from harness.config.adapters import find_adapter, known_adapters
from harness.config.extending import check_whole, read_extended
from harness.config.local_options import CLIP_SKIP, LocalOptions, Scheduling, WrongOption, read_local, read_scheduling
from harness.config.prompts.negatives import FILE, read_negative
from harness.config.training import TrainingEntry
from harness.core.errors import SuiteError, nearest
from harness.core.secrets import variable_name
from harness.core.settings import data_root
from harness.core.values import Suite, Vocabulary
from harness.core.yaml import Document, PathText, Strict, read_yaml, validate

__all__ = [
    "ModelPaths",
    "Profile",
    "ProviderConfig",
    "RawHead",
    "Vocabulary",
    "data_root",
    "extend_vocabulary",
    "load_profile",
]


@dataclass(frozen=True)
class RawHead:
    """An aesthetics head by itself, as LAION publishes it, and the CLIP whose image tower it belongs to."""

    head: str  # .pth or .safetensors, relative to the project
    sha256: str  # of the file; a .pth is opened only with it
    vision: str  # folder or hub id


@dataclass(frozen=True)
class ModelPaths:
    """Folders or hub ids."""

    base: str  # also one .safetensors file that holds a whole checkpoint
    clip: str
    vae: str | None = None  # None: the base's own
    aesthetics: str | RawHead | None = None  # also modelscope:OWNER/NAME; None: pictures are not rated
    dino: str | None = None  # None: DINOv2 is not asked
    config: str | None = None  # of a single-file checkpoint: a pipeline's settings and tokenizers; None: SDXL's
    vae_dtype: str = "float32"  # SDXL's own overflows in float16
    domain: str | None = None  # a summary of the pictures that these models know; None: nothing is refused


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
    models: ModelPaths
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
    emulator: bool = False  # remote providers are answered by the emulator, unless they say otherwise themselves
    writers: Mapping[str, ProviderConfig] = field(default_factory=dict)  # services that write and caption
    metrics: tuple[str, ...] = ()  # of installed packages (NAMESPACE.NAME) or Python files (FILE.py:FUNCTION)
    words: str = ""  # which vocabulary its models understand: the name of its traits file
    prompts: str = "plain"  # or "weighted": local prompts may be long and hold (word:1.2)
    scheduling: Scheduling = field(default_factory=Scheduling)  # what is set on `scheduler`, and its LoRA
    guidance_rescale: float = 0.0  # 0.7 for checkpoints with zero-terminal SNR
    clip_skip: int = CLIP_SKIP
    compile: bool = False  # the UNet, for this machine: slow to begin, then faster

    @property
    def added(self) -> tuple[str, ...]:
        """The metrics that this profile adds to those of every suite, in their order."""
        named = {"aesthetics": self.models.aesthetics, "dino": self.models.dino}
        return (*(name for name, source in named.items() if source), *map(metric_name, self.metrics))


def metric_name(source: str) -> str:
    """How scores call a metric of one's own: FILE.py:FUNCTION is file.function, a package's metric is what it says."""
    path, colon, function = source.rpartition(":")
    return f"{Path(path).stem}.{function}".lower() if colon else source


def with_place(text: str) -> str:
    """A text that has a place for the phrase."""
    if text.count("{}") != 1:
        raise ValueError(f"needs exactly one {{}} where the phrase goes (found {text!r})")
    return text


def multiple_of_eight(pixels: int) -> int:
    """A side that SDXL's autoencoder can halve three times."""
    if pixels % 8 or not 8 <= pixels <= 4096:
        raise ValueError(f"a side is a multiple of 8 pixels, 4096 at most (found {pixels})")
    return pixels


Template = Annotated[str, AfterValidator(with_place)]
Side = Annotated[int, AfterValidator(multiple_of_eight)]


class HeadEntry(Strict):
    """An aesthetics head by itself."""

    head: PathText = Field(description="its .pth or .safetensors file")
    sha256: str = Field(
        default="", pattern="^([0-9a-fA-F]{64})?$", description="of the file; a .pth is opened only with it"
    )
    vision: PathText = Field(description="the CLIP whose image tower it belongs to: a folder or hub id")


class ModelsEntry(Strict):
    """Folders from the project on, or hub ids."""

    base: PathText = Field(description="draws: an SDXL pipeline, or one .safetensors file of a whole checkpoint")
    clip: PathText = Field(description="scores: a CLIP model")
    vae: PathText | None = Field(default=None, description="the autoencoder; the base's own unless given")
    aesthetics: PathText | HeadEntry | None = Field(
        default=None, description="rates pictures by themselves: a model or a head; none: not rated"
    )
    dino: PathText | None = Field(default=None, description="a DINOv2 model for the metric dino; none: not asked")
    config: PathText | None = Field(
        default=None, description="a pipeline's settings and tokenizers for a single-file base; SDXL's unless given"
    )
    vae_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="of the autoencoder; SDXL's own overflows in float16"
    )
    domain: PathText | None = Field(
        default=None, description="a summary of the pictures that these models know, by `harness domain`; none: of all"
    )


class SchedulerEntry(BaseModel):
    """What the named scheduler accepts is the scheduler's to say."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str = Field(description="euler, dpmpp_2m, lcm ...: an unknown one is told with all that are known")
    lora: str | dict[str, Any] | None = Field(default=None, description="a LoRA that goes with it, LCM's say")


class ProviderEntry(BaseModel):
    """Everything beside the adapter is the adapter's own to check."""

    model_config = ConfigDict(extra="allow", frozen=True)
    adapter: str = Field(description="local, http, folder, command, a service's name, or PACKAGE.MODULE:CLASS")


class CategoryEntry(Strict):
    """One thing that can be told apart in pictures, and its values."""

    identity: bool = Field(default=True, description="belongs to the subject (hair), not to the scene (background)")
    phrase: Template = Field(default="{}", description="how a value is said to CLIP: `{} hair`")
    values: Annotated[list[str], Field(min_length=1)] | Annotated[dict[str, str], Field(min_length=1)] = Field(
        description="the alternatives, or each with a phrase of its own"
    )


class TraitsFile(Strict):
    """A vocabulary of traits in a file of its own, so that suites and profiles share it."""

    templates: list[Template] = Field(min_length=1, description="how a phrase is put to CLIP: `a picture of {}`")
    categories: dict[str, CategoryEntry] = Field(min_length=1, description="name to what can be told apart")


class ProfileFile(Strict):
    """The exact shape of a file in suites/profiles/."""

    version: Literal[1] = Field(description="of this format")
    profile: str = Field(
        description="the profile's id: a-z, 0-9, _, . and -; of one that extends another the file's name"
    )
    extends: str | None = Field(default=None, description="a profile by name or file; this file names what differs")
    models: ModelsEntry = Field(description="what draws and what scores")
    size: tuple[Side, Side] = Field(description="width and height in pixels, multiples of 8")
    steps: int = Field(default=30, ge=1, le=1000, description="of drawing a picture")
    guidance: float = Field(default=5.0, ge=0, le=50, description="how strictly the prompt is followed (CFG)")
    scheduler: str | SchedulerEntry = Field(default="euler", description="by name, or with options of its own")
    guidance_rescale: float = Field(default=0.0, ge=0, le=1, description="0.7 for checkpoints with zero-terminal SNR")
    clip_skip: int = Field(
        default=CLIP_SKIP,
        ge=1,
        le=12,
        description="which layer of the text encoders is read, from the last (1); SDXL's is 2",
    )
    compile: bool = Field(default=False, description="compile the UNet for this machine: slow to begin, then faster")
    batch: int = Field(default=4, ge=1, le=256, description="pictures drawn at once; part of what decides the pixels")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="of the models; auto: bfloat16 where the machine is really faster at it"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="auto: a GPU where there is one")
    negative: str = Field(default="", description="what no picture should show; ready/NAME is one of negatives.yaml")
    prompts: Literal["plain", "weighted"] = Field(
        default="plain", description="weighted: prompts may be long and hold (word:1.2)"
    )
    max_tokens: int = Field(default=77, ge=8, description="the text encoder's window, start and end included")
    traits: PathText = Field(description="the file of categories that CLIP reads, from this file's folder on")
    impostors: PathText | None = Field(
        default=None, description="folder of pictures of others, which calibrate to 0, from this file's folder on"
    )
    providers: dict[str, ProviderEntry] = Field(min_length=1, description="name to adapter and its options")
    training: TrainingEntry = Field(default=TrainingEntry(), description="how LoRAs are trained")
    emulator: bool = Field(default=False, description="remote services are answered by the emulator of this machine")
    writers: dict[str, ProviderEntry] = Field(
        default_factory=dict, description="services that write stories and captions, by name"
    )
    metrics: list[str] = Field(
        default_factory=list, description="of your own: FILE.py:FUNCTION, or NAMESPACE.NAME of an installed package"
    )


def find_profile(name: str, root: Path, but: Collection[Path] = ()) -> Path:
    """The file of a profile, none of `but`: a path, or a name in suites/profiles/ under `root` or of a shipped one."""
    folders = [root / "suites" / "profiles", data_root() / "suites" / "profiles"]
    choices = [root / name, *(folder / f"{name}.yaml" for folder in folders)]
    result = next((path for path in choices if path.is_file() and path.resolve() not in but), None)
    if result is None:
        known = {path.stem for folder in folders for path in folder.glob("*.yaml") if path.name != FILE}
        raise SuiteError(f"no profile called {name!r}; {nearest(name, known)}")
    return result.resolve()


def general_profiles(root: Path, but: str = "") -> tuple[str, ...]:
    """Profiles under `root` and the shipped ones whose models are not bound to one world, by name; never fails."""
    folders = [root / "suites" / "profiles", data_root() / "suites" / "profiles"]
    names: list[str] = []
    for path in dict.fromkeys(path for folder in folders for path in sorted(folder.glob("*.yaml"))):
        try:
            profile = load_profile(str(path), root)
        except SuiteError:  # a vocabulary, the negatives, or a file that is being written
            continue
        if profile.models.domain is None and profile.name != but:
            names.append(profile.name)
    return tuple(dict.fromkeys(names))


def load_profile(name: str, root: Path) -> Profile:
    """Read one profile.

    Raises:
        SuiteError: there is none of that name, or the file is wrong (file, line, key, remedy).
    """
    path = find_profile(name, root)
    document = read_extended(path, lambda other, but: find_profile(other, root, but))
    check_whole(document, [key for key, field in ProfileFile.model_fields.items() if field.is_required()])
    file = validate(document, ProfileFile)
    document.check_id(file.profile, "profile")
    for provider, entry in file.providers.items():
        document.check_id(provider, "providers", provider)
        if find_adapter(entry.adapter) is None:
            message = f"no adapter called {entry.adapter!r}; {nearest(entry.adapter, known_adapters())}"
            raise document.error(message, "providers", provider, "adapter")
    check_variables(document, file)
    traits = path.parent / file.traits
    if not traits.is_file():
        raise document.error(f"there is no file {traits}", "traits")
    vocabulary, templates = load_traits(traits)
    scheduling = check_local(document, file, path.parent)
    impostors = (path.parent / file.impostors).resolve() if file.impostors else None
    if impostors is not None and not impostors.is_dir():
        raise document.error(f"there is no folder {impostors}", "impostors")
    return Profile(
        name=file.profile,
        path=path,
        models=to_models(file.models),
        size=file.size,
        steps=file.steps,
        guidance=file.guidance,
        scheduler=scheduling.name,
        scheduling=scheduling,
        guidance_rescale=file.guidance_rescale,
        clip_skip=file.clip_skip,
        compile=file.compile,
        batch=file.batch,
        dtype=file.dtype,
        device=file.device,
        negative=read_negative(document, file.negative, "negative"),
        prompts=file.prompts,
        max_tokens=file.max_tokens,
        vocabulary=vocabulary,
        templates=templates,
        impostors=impostors,
        providers={
            name: ProviderConfig(entry.adapter, entry.model_extra or {}) for name, entry in file.providers.items()
        },
        training=read_training(document, file, path.parent),
        emulator=file.emulator,
        writers={name: ProviderConfig(entry.adapter, entry.model_extra or {}) for name, entry in file.writers.items()},
        metrics=tuple(file.metrics),
        words=traits.stem,
    )


def check_variables(document: Document, file: ProfileFile) -> None:
    """Where the name of a variable belongs stands no key: it would be in every report. Raises SuiteError."""
    for kind, entries in (("providers", file.providers), ("writers", file.writers)):
        for name, entry in entries.items():
            for key in ("key", "pass_env"):
                value = (entry.model_extra or {}).get(key)
                for text in value if isinstance(value, list) else [value]:
                    try:
                        variable_name(text if isinstance(text, str) else "")
                    except ValueError as error:
                        raise document.error(str(error), kind, name, key) from None


def read_training(document: Document, file: ProfileFile, folder: Path) -> dict[str, object]:
    """What the profile gives of training, with its folder found. Raises SuiteError when that is not there."""
    given = file.training.model_dump(exclude_unset=True)
    if given.get("class_folder"):
        place = (folder / given["class_folder"]).resolve()
        if not place.is_dir():
            raise document.error(f"there is no folder {place}", "training", "class_folder")
        given["class_folder"] = str(place)
    return given


def to_models(entry: ModelsEntry) -> ModelPaths:
    rated = entry.aesthetics
    head = RawHead(rated.head, rated.sha256, rated.vision) if isinstance(rated, HeadEntry) else rated
    own = (entry.base, entry.clip, entry.vae, head, entry.dino, entry.config, entry.vae_dtype, entry.domain)
    return ModelPaths(*own)


def check_local(document: Document, file: ProfileFile, folder: Path) -> Scheduling:
    """The profile's scheduler; every provider of this machine is read once, so that a typo is told now.

    Raises:
        SuiteError: an unknown scheduler or option, with its line and the nearest right spelling.
    """
    place: tuple[str | int, ...] = ("scheduler",)
    entry = file.scheduler
    try:
        written = entry if isinstance(entry, str) else {**entry.model_dump(exclude_unset=True)}
        scheduling = read_scheduling(written, folder, file.steps)
        defaults = LocalOptions("base", scheduling, file.steps, file.guidance, file.guidance_rescale, file.clip_skip)
        for name, provider in file.providers.items():
            place = ("providers", name)
            if provider.adapter == "local":
                own = read_local(name, provider.model_extra or {}, defaults, folder)
                if file.prompts == "weighted" and own.clip_skip != CLIP_SKIP:
                    raise WrongOption(f"`prompts: weighted` reads the layer of clip_skip {CLIP_SKIP} only", "clip_skip")
    except WrongOption as error:
        raise document.error(str(error), *place, *error.place) from error
    return scheduling


def local_options(profile: Profile, name: str) -> LocalOptions:
    """How one provider of this machine draws: its own options over the profile's.

    Raises:
        SuiteError: unknown or impossible.
    """
    scheduling = replace(profile.scheduling, name=profile.scheduler)
    if profile.scheduler != profile.scheduling.name:  # set without a file, by its name alone
        scheduling = Scheduling(profile.scheduler)
    defaults = LocalOptions(
        "base", scheduling, profile.steps, profile.guidance, profile.guidance_rescale, profile.clip_skip
    )
    try:
        return read_local(name, profile.providers[name].options, defaults, profile.path.parent)
    except WrongOption as error:
        raise SuiteError(f"provider {name!r}: {error}", profile.path) from error


def load_traits(path: Path) -> tuple[dict[str, Vocabulary], tuple[str, ...]]:
    """A vocabulary file's categories in its order, and its prompt templates."""
    file = validate(read_yaml(path), TraitsFile)
    return {name: to_vocabulary(entry) for name, entry in file.categories.items()}, tuple(file.templates)


def to_vocabulary(entry: CategoryEntry) -> Vocabulary:
    """Values with their phrases; a list is phrased by the category's own `phrase`."""
    if isinstance(entry.values, dict):
        return Vocabulary(entry.values, entry.identity)
    return Vocabulary({value: entry.phrase.replace("{}", value) for value in entry.values}, entry.identity)


def merge_vocabulary(known: Mapping[str, Vocabulary], added: Mapping[str, Vocabulary]) -> dict[str, Vocabulary]:
    """Known categories with further alternatives, then new categories. What a known one is about stays as it is."""
    merged = dict(known)
    for name, extra in added.items():
        old = merged.get(name, Vocabulary({}, extra.identity))
        merged[name] = Vocabulary({**old.alternatives, **extra.alternatives}, old.identity)
    return merged


def extend_vocabulary(profile: Profile, suite: Suite) -> Profile:
    """The profile with what a suite's `vocabulary:` adds."""
    return replace(profile, vocabulary=merge_vocabulary(profile.vocabulary, suite.vocabulary))


def profile_schema() -> dict[str, object]:
    """The JSON schema of profiles, for editors: suites/schema/profile.json."""
    return ProfileFile.model_json_schema()
