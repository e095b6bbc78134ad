"""Ready negative prompts: `negative: ready/en-character` in a profile, a suite or a case."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.core.errors import nearest
from harness.core.settings import data_root
from harness.core.yaml import Document, read_yaml, validate

PREFIX = "ready/"
FILE = "negatives.yaml"


class Negative(BaseModel):
    """One ready negative; `language` is an ISO 639-1 code."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    language: str = Field(pattern=r"^[a-z]{2}$")
    text: str = Field(min_length=1)


class NegativesFile(BaseModel):
    """The exact shape of suites/profiles/negatives.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: Literal[1]
    negatives: dict[str, Negative] = Field(min_length=1)


def read_negative(document: Document, text: str, *place: str | int) -> str:
    """The text behind `ready/NAME`; any other text as it is.

    Raises:
        SuiteError: there is none of that name (file, line, key, nearest spelling).
    """
    if not text.startswith(PREFIX):
        return text
    known = ready_negatives(document.path.parent)
    name = text.removeprefix(PREFIX).strip()
    if name not in known:
        raise document.error(f"no ready negative called {name!r}; {nearest(name, known)}", *place)
    return known[name].text


def ready_negatives(folder: Path) -> dict[str, Negative]:
    """The shipped ones, and those of a negatives.yaml beside the file in `folder` or in its profiles/, which win.

    Raises:
        SuiteError: such a file is wrong.
    """
    shipped = data_root() / "suites" / "profiles"
    files = [result / FILE for result in (shipped, folder / "profiles", folder) if (result / FILE).is_file()]
    return {name: entry for file in files for name, entry in _read(file, file.stat().st_mtime_ns).items()}


@lru_cache(maxsize=16)
def _read(path: Path, changed: int) -> dict[str, Negative]:
    document = read_yaml(path)
    file = validate(document, NegativesFile)
    for name, entry in file.negatives.items():
        document.check_id(name, "negatives", name)
        if not entry.text.strip():
            raise document.error("must say something", "negatives", name, "text")
    return {name: Negative(language=e.language, text=" ".join(e.text.split())) for name, e in file.negatives.items()}
