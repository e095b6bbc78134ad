"""Packs of prompts that suites include by name: from packs/ beside the suite, or from the shipped suites/packs/."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.core.errors import nearest
from harness.core.settings import data_root
from harness.core.values import Vocabulary
from harness.core.yaml import Document, Strict, read_yaml, validate

USUAL = "people"  # the words of a profile that a pack does not know: those of a full-size model


class PackCase(Strict):
    id: str
    prompt: str = Field(min_length=1)
    expect: dict[str, str] = Field(default_factory=dict)


class PackFile(Strict):
    """The exact shape of a file in suites/packs/; not `cases`, because it is no suite."""

    version: Literal[1]
    pack: str
    prompts: dict[str, list[PackCase]] = Field(min_length=1)  # by the vocabulary that they are written in


def read_packs(
    document: Document, names: list[str], words: str, vocabulary: Mapping[str, Vocabulary]
) -> list[tuple[PackCase, tuple[str, int]]]:
    """The cases of all packs that a suite includes, ids prefixed, each with its place in the suite.

    Args:
        words: the profile's, `Profile.words`.
        vocabulary: expectations that it cannot tell are left out.

    Raises:
        SuiteError: no such pack, one twice, or a pack that is wrong (its file, line and key).
    """
    results = []
    for number, name in enumerate(names):
        if name in names[:number]:
            raise document.error(f"{name!r} stands here twice; remove one", "include", number)
        source = read_yaml(find_pack(document, name, number))
        pack = validate(source, PackFile)
        if not (chosen := pack.prompts.get(words) or pack.prompts.get(USUAL)):
            raise source.error(f"no prompts for {words or USUAL!r}; {nearest(words, pack.prompts)}", "prompts")
        for case in chosen:
            known = {k: v for k, v in case.expect.items() if k in vocabulary and v in vocabulary[k].alternatives}
            results.append((PackCase(id=f"{name}.{case.id}", prompt=case.prompt, expect=known), ("include", number)))
    return results


def find_pack(document: Document, name: str, number: int) -> Path:
    """The file of a pack: beside the suite in packs/, or a shipped one."""
    folders = [document.path.parent / "packs", data_root() / "suites" / "packs"]
    result = next((path for folder in folders if (path := folder / f"{name}.yaml").is_file()), None)
    if result is None:
        known = {path.stem for folder in folders for path in folder.glob("*.yaml")}
        raise document.error(f"no pack called {name!r}; {nearest(name, known)}", "include", number)
    return result
