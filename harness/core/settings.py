"""The only reader of the environment, of .env, and of command-line options."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from harness.core.errors import UsageError
from harness.core.sharding import Shard, read_shard
from harness.core.under_test import LoraUnderTest
from harness.core.values import Lora

DEFAULTS = {"profile": "embedded", "store": ".harness", "report_dir": "reports"}
VARIABLES = {"profile": "HARNESS_PROFILE", "store": "HARNESS_STORE", "report_dir": "HARNESS_REPORT_DIR"}


class Secret:
    """A key that shows itself only when asked to; logs, errors and records see stars."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> Any:
        raise TypeError("a secret is not written anywhere")


@dataclass(frozen=True)
class Settings:
    """What one invocation was asked for. Paths are absolute."""

    root: Path
    profile: str = "embedded"
    store: Path = Path(".harness")
    report_dir: Path = Path("reports")
    samples: int | None = None  # seeds a prompt, instead of the suite's own
    lora: Lora | None = None  # instead of the suite's own
    beside: tuple[Lora, ...] = ()  # drawn together with the LoRA under test, whichever that is
    providers: tuple[str, ...] = ()  # only these; empty: all of the suite's
    fresh: bool = False
    locked: bool = False
    baseline: Path | None = None  # a file named by hand: a baseline, or an earlier run's results.json
    baseline_from: str = "auto"  # where none is named: auto, off, suite (it must be there), git:REF
    update_baseline: str = ""  # "": no; "whole": of a green and complete run; "anyway"
    retrain: int = 0  # rounds
    retrain_budget: float | None = None  # minutes that the rounds of one LoRA may take; None: no limit
    shard: Shard | None = None  # draw only these cases, and leave the suites' verdicts to `harness merge`
    emulator: str = ""  # "off", "on", or the address of one that runs; "": as the profile says
    budget: float | None = None  # US dollars that a run may spend on remote services; None: no limit
    max_calls: int | None = None  # paid calls that a run may make
    environment: Mapping[str, Secret] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, root: Path, options: Mapping[str, object] | None = None) -> Settings:
        """Options win over the environment, the environment over .env, .env over the defaults.

        Args:
            options: by the names of the fields, as strings or None, as a command line delivers them.

        Raises:
            UsageError: an option that cannot be read.
        """
        given = {name: value for name, value in (options or {}).items() if value is not None}
        root = root.resolve()
        environment = read_environment(root)
        named = {name: str(given.get(name) or environment.get(VARIABLES[name]) or DEFAULTS[name]) for name in DEFAULTS}
        lora = parse_mix(str(given["lora"]), root) if given.get("lora") else None
        samples, retrain = given.get("samples"), int(str(given.get("retrain") or 0))
        if samples is not None and not 1 <= int(str(samples)) <= 1_000:
            raise UsageError(f"--samples {samples}: between 1 and 1000 seeds a prompt")
        if retrain < 0:
            raise UsageError(f"--retrain {retrain}: a number of rounds, 0 or more")
        shard = read_shard(str(given["shard"])) if given.get("shard") else None
        baseline, source = read_baseline(str(given.get("baseline") or ""), root)
        update = "anyway" if given.get("update_baseline_anyway") else "whole" if given.get("update_baseline") else ""
        if shard and (retrain or update or source == "save"):
            raise UsageError("--shard: a shard sees parts of suites; retrain or update the baseline in a whole run")
        return cls(
            root=root,
            profile=named["profile"],
            store=root / named["store"],
            report_dir=root / named["report_dir"],
            samples=int(str(samples)) if samples is not None else None,
            lora=replace(lora, beside=()) if lora else None,
            beside=lora.beside if lora else (),
            providers=tuple(part.strip() for part in str(given.get("providers") or "").split(",") if part.strip()),
            fresh=bool(given.get("fresh")),
            locked=bool(given.get("locked")),
            baseline=baseline,
            baseline_from="auto" if source == "save" else source,
            update_baseline=update or ("whole" if source == "save" else ""),
            retrain=retrain,
            retrain_budget=read_limit("--retrain-budget", given.get("retrain_budget")),
            shard=shard,
            emulator=read_emulator(environment.get("HARNESS_EMULATOR", "")),
            budget=read_limit("--budget", given.get("budget")),
            max_calls=int(calls) if (calls := read_limit("--max-calls", given.get("max_calls"))) is not None else None,
            environment={name: Secret(value) for name, value in environment.items()},
        )

    @property
    def under_test(self) -> LoraUnderTest:
        """Which LoRA providers draw with, as far as the command line says."""
        return LoraUnderTest(self.lora)

    @property
    def emulator_address(self) -> str:
        """Of the emulator that runs already; "" when a run starts its own."""
        return self.emulator if self.emulator.startswith("http") else ""

    def secret(self, name: str) -> Secret | None:
        """A variable's value, or None when it is unset or empty."""
        result = self.environment.get(name)
        return result if result is not None and result.reveal() else None


def read_baseline(text: str, root: Path) -> tuple[Path | None, str]:
    """`--baseline`: a file named by hand, else where to look (`save` is `--update-baseline`).

    Raises:
        UsageError: neither.
    """
    words = {"": "auto", "off": "off", "compare": "suite", "save": "save", "git": "git:merge-base"}
    kind, colon, reference = text.partition(":")
    if text in words:
        return None, words[text]
    if kind == "git" and colon:
        if not reference or reference.startswith("-"):
            raise UsageError(f"--baseline {text}: a commit, tag or branch must follow git:, or merge-base")
        return None, text
    if not (root / text).is_file():
        raise UsageError(
            f"--baseline {text}: there is no such file; name a baseline or an earlier run's results.json, or say "
            "off, compare, save or git:REF"
        )
    return root / text, "file"


def read_environment(root: Path) -> dict[str, str]:
    """The environment over `root`/.env; an empty variable is an unset one, as CI passes secrets that it lacks."""
    try:
        file = dotenv_values(root / ".env", interpolate=False, encoding="utf-8")  # a key may hold a dollar sign
    except UnicodeDecodeError as error:
        raise UsageError(f"{root / '.env'}: is not UTF-8 text; save it as UTF-8") from error
    return {name: value for name, value in {**file, **_set(os.environ)}.items() if value}


def _set(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if value}


def read_emulator(text: str) -> str:
    """`HARNESS_EMULATOR`: off, on, profile (as it says), or the address of an emulator that runs on this machine.

    Raises:
        UsageError: anything else.
    """
    word = text.strip().lower()
    if word in ("", "profile"):
        return ""
    if word in ("on", "1", "yes", "true"):
        return "on"
    if word in ("off", "0", "no", "false"):
        return "off"
    if not re.fullmatch(r"http://(127\.0\.0\.1|localhost|\[::1\]):\d+/?", word):
        choices = "on, off, profile, or http://127.0.0.1:PORT of a running `harness emulator`"
        raise UsageError(f"HARNESS_EMULATOR={text}: {choices}")
    return word.rstrip("/")


def read_limit(option: str, value: Any) -> float | None:
    """A limit of money or calls.

    Raises:
        UsageError: no number, or a negative one.
    """
    try:
        number = None if value is None else float(value)
    except ValueError:
        number = -1.0
    if number is not None and not 0 <= number < float("inf"):
        raise UsageError(f"{option} {value}: a number, 0 or more")
    return number


def parse_mix(text: str, root: Path, option: str = "--lora ") -> Lora:
    """`FILE[@STRENGTH]`, or several with + between them: the first is under test, the others are drawn beside it.

    Raises:
        UsageError: as `parse_lora`, or a file that stands there twice.
    """
    if "+" not in text or (root / text).is_file() or (root / text.rpartition("@")[0]).is_file():
        return parse_lora(text, root, option)
    first, *others = (parse_lora(part.strip(), root, option) for part in text.split("+"))
    for number, lora in enumerate(others):
        if lora.path in [first.path, *(earlier.path for earlier in others[:number])]:
            raise UsageError(f"{option}{text}: {lora.path.name} stands there twice; say one strength")
    return replace(first, beside=tuple(others))


def parse_lora(text: str, root: Path, option: str = "--lora ") -> Lora:
    """`FILE` or `FILE@STRENGTH`.

    Raises:
        UsageError: no such file, or a strength that is no number in [0, 4].
    """
    name, at, strength = text.rpartition("@")
    if not at or (root / text).is_file():
        name, strength = text, "1"
    try:
        value = float(strength)
    except ValueError:
        raise UsageError(f"{option}{text}: the strength behind @ must be a number, 0.8 say") from None
    if not 0 <= value <= 4:
        raise UsageError(f"{option}{text}: a strength is between 0 and 4")
    path = (root / name).resolve()
    if not path.is_file():
        raise UsageError(f"{option}{text}: there is no file {path}; train one with `harness train SUITE`")
    return Lora(path, value)


def launched_processes() -> int:
    """How many processes a launcher (accelerate, torchrun) started together with this one; 1 for one that is alone."""
    text = os.environ.get("WORLD_SIZE", "")
    return int(text) if text.isdecimal() else 1


PACKAGE = Path(__file__).resolve().parent.parent


@lru_cache(maxsize=1)
def data_root() -> Path:
    """Where suites/, fixtures/ and references/ lie: beside the package in a checkout, inside it when installed."""
    checkout = PACKAGE.parent
    return checkout if (checkout / "suites" / "profiles").is_dir() else PACKAGE / "data"
