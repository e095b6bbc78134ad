"""
HarnessError                   whatever this package raises on purpose
├─ UsageError                  a wrong option or argument             -> the person at the keyboard can fix it
├─ SuiteError                  a suite or profile file is wrong       -> its author can fix it
├─ ReferencesError             reference pictures are missing or bad  -> the owner of the pictures can fix it
├─ ModelError                  weights are absent or do not fit       -> fetch or replace them
│  └─ LoraError                a LoRA file is not what it should be   -> train or choose another
├─ MissingKey                  a provider's variable is not set       -> set it, or live without the provider
├─ ProviderError               images could not be made               -> see its outcome
├─ StoreError                  the store is locked, full or poisoned  -> the message says which
└─ EngineError                 drawing or scoring broke down          -> see the message
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class HarnessError(Exception):
    """Whatever this package raises on purpose; its text says where, what, and what to do about it."""


class UsageError(HarnessError):
    """A wrong option or argument."""


class SuiteError(HarnessError):
    """A suite or profile file is wrong; the text begins with file and line."""

    def __init__(self, message: str, path: Path | None = None, line: int | None = None) -> None:
        self.path, self.line = path, line
        where = "" if path is None else f"{path}:{line}: " if line else f"{path}: "
        super().__init__(where + message)


class ReferencesError(HarnessError):
    """Reference pictures are missing or unusable."""


class ModelError(HarnessError):
    """Weights are absent, or are not of the shape that the profile says."""


class LoraError(ModelError):
    """A LoRA file has missing, extra, mis-shaped or poisoned content."""


class MissingKey(HarnessError):
    """A provider's key is not set; `variable` names what to set."""

    def __init__(self, provider: str, variable: str) -> None:
        self.provider, self.variable = provider, variable
        super().__init__(f"{provider}: {variable} is not set; set it in the environment or in .env")


class ProviderError(HarnessError):
    """A provider cannot be used at all; a single failed image is an outcome, not an exception."""


class StoreError(HarnessError):
    """The store is locked, full, from a newer version, or holds something that its hash denies."""


class EngineError(HarnessError):
    """Drawing or scoring broke down in a way that no outcome describes."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the nearest right spelling, or all of them."""
    from difflib import get_close_matches  # few processes ever guess

    choices = sorted(known)
    guess = get_close_matches(name, choices, n=1)
    return f"did you mean {guess[0]!r}?" if guess else f"known: {', '.join(choices)}"
