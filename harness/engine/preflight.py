"""What a run needs of this machine: what is there, what is lacking, and how to mend it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path

import psutil

from harness.config.profile import Profile, RawHead, load_profile
from harness.config.suite import is_suite_file, load_suite
from harness.core.errors import HarnessError
from harness.core.settings import Settings
from harness.core.values import Outcome
from harness.engine.provider_check import check_lifetimes, check_providers
from harness.models.hub import locate
from harness.models.loading import Models, missing_device, resolve_device, resolve_dtype
from harness.providers import ProviderContext, open_provider
from harness.providers.remote import RemoteProvider
from harness.scoring.domain import DomainJudge
from harness.scoring.references import load_references

PACKAGES = (
    *("pytest", "pytest-xdist", "torch", "diffusers", "transformers", "peft", "scikit-image", "scipy", "requests"),
    "jinja2",
)
MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
LEAST_DISK_GB, LEAST_MEMORY_GB = 2, 4


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `remedy` says what to do when it is not ok."""

    name: str
    state: str  # ok, warn, fail
    found: str
    remedy: str = ""


def examine(
    root: Path, profile_name: str | None, services: bool = False, paid: bool = False, today: date | None = None
) -> list[Check]:
    """Everything that a run needs, in the order in which it would fail; `services`: remote ones are really called."""
    checks = [check_python(), *check_packages(), *check_machine(root)]
    try:
        settings = Settings.load(root, {"profile": profile_name})
        profile = load_profile(settings.profile, root)
    except HarnessError as error:
        return [*checks, Check("profile", "fail", str(error), "name a shipped profile or mend the file")]
    keys = check_services(profile, settings, paid) if services else check_keys(profile, settings)
    models = check_lives(profile, settings, today or date.today())
    return [*checks, *check_models(profile, root), *keys, *models, *check_suites(root, profile, settings)]


def check_python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return Check("python", "ok" if good else "fail", version, "" if good else "install Python 3.11 or newer")


def check_packages() -> Iterator[Check]:
    for package in PACKAGES:
        try:
            yield Check(package, "ok", metadata.version(package))
        except metadata.PackageNotFoundError:
            yield Check(package, "fail", "not installed", f"pip install -c constraints.txt {package}")


def check_machine(root: Path) -> Iterator[Check]:
    """Device and dtype as a run would choose them, memory and disk."""
    device = resolve_device("auto")
    yield Check("device", "ok", f"{device}, {resolve_dtype('auto', device)}")
    memory, disk = psutil.virtual_memory().available / 1e9, shutil.disk_usage(root).free / 1e9
    for name, free, least, text, remedy in (
        ("memory", memory, LEAST_MEMORY_GB, f"{memory:.1f} GB free", "close other programs"),
        ("disk", disk, LEAST_DISK_GB, f"{disk:.0f} GB free", "free some space, or set --store elsewhere"),
    ):
        yield Check(name, "ok", text) if free > least else Check(name, "warn", text, remedy)


def check_models(profile: Profile, root: Path) -> Iterator[Check]:
    """What draws and what scores, the models of added metrics too, and the device where the profile names one."""
    rated = profile.models.aesthetics
    named = [profile.models.base, profile.models.vae, profile.models.clip, profile.models.dino]
    named.append(rated.vision if isinstance(rated, RawHead) else rated)
    for name in dict.fromkeys(filter(None, named)):
        try:
            yield Check(f"model {name}", "ok", str(locate(name, root, profile.name)))
        except HarnessError as error:
            yield Check(f"model {name}", "fail", str(error), f"harness fetch {profile.name}")
    if isinstance(rated, RawHead) and not (root / rated.head).is_file():
        yield Check(f"head {rated.head}", "fail", f"there is no file {root / rated.head}", "put it there, as docs say")
    if profile.device != "auto" and (missing := missing_device(profile.device)):
        yield Check(f"device {profile.device}", "fail", missing, f"`device: auto` in profile {profile.name}")


def check_keys(profile: Profile, settings: Settings) -> Iterator[Check]:
    """The remote providers' keys; without one a provider is skipped, so that is no failure."""
    context = ProviderContext(profile, settings, Models(profile, settings))
    for name in profile.providers:
        try:
            provider = open_provider(name, context)
        except HarnessError as error:
            yield Check(f"provider {name}", "fail", str(error), "mend the profile")
            continue
        if not isinstance(provider, RemoteProvider):
            continue
        variable = provider.missing()
        if variable:
            yield Check(
                f"provider {name}", "warn", f"{variable} is not set; it will be skipped", f"set {variable} in .env"
            )
        else:
            key = provider.options.key
            yield Check(
                f"provider {name}",
                "ok",
                "emulated" if provider.emulated else f"{key or 'no key'} is {'set' if key else 'needed'}",
            )


def check_services(profile: Profile, settings: Settings, paid: bool) -> Iterator[Check]:
    """The same, by asking them."""
    for result in check_providers(profile, settings, paid):
        state = "ok" if result.outcome is Outcome.OK else "warn" if result.outcome is None else "fail"
        yield Check(f"provider {result.provider}", state, result.found, result.remedy)


def check_lives(profile: Profile, settings: Settings, today: date) -> Iterator[Check]:
    """Models of services that end, and those that have ended."""
    for result in check_lifetimes(profile, settings, today):
        yield Check(f"model of {result.provider}", "warn", result.found, result.remedy)


def check_domain(name: str, pictures: Sequence[Path], judge: DomainJudge) -> Iterator[Check]:
    """Whether the models know pictures like a suite's references; a model that is not there is told by itself."""
    try:
        found = judge.check_files(pictures)
    except HarnessError:
        return
    state = "warn" if found.count else "ok"
    yield Check(f"references of {name}", state, found.sentence, found.remedy if found.blind else "")


def check_suites(root: Path, profile: Profile, settings: Settings) -> Iterator[Check]:
    """Every suite loads, its LoRA exists, its references are enough."""
    judge = DomainJudge(profile, Models(profile, settings))
    for path in sorted((root / "suites").glob("*.yaml")):
        if not is_suite_file(path):
            continue
        try:
            suite = load_suite(path, profile)
            pictures = load_references(suite.subject)
        except HarnessError as error:
            yield Check(f"suite {path.name}", "fail", str(error), "mend the file or the folder it names")
            continue
        yield from check_domain(path.name, pictures.all, judge)
        lora = suite.subject.lora
        absent = lora is not None and not lora.path.exists()
        text = f"{len(suite.cases)} cases, {len(pictures.train)} + {len(pictures.held_out)} references"
        yield Check(
            f"suite {path.name}",
            "warn" if absent else "ok",
            text + (", no LoRA yet" if absent else ""),
            f"harness train {path.relative_to(root).as_posix()}" if absent else "",
        )


def show(checks: list[Check]) -> str:
    """A line a check, its remedy behind an arrow."""
    width = max(len(check.name) for check in checks)
    lines = [
        f"{MARKS[check.state]}  {check.name:{width}}  {check.found}" + (f"  -> {check.remedy}" if check.remedy else "")
        for check in checks
    ]
    worst = sum(check.state == "fail" for check in checks)
    return "\n".join([*lines, "", f"{worst} to mend" if worst else "ready"])
