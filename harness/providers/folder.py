"""Pictures that were made elsewhere: in a web UI, by a colleague, by last year's model; matched by case and seed.

    colleague: {adapter: folder, path: pictures/colleague}

Nothing is copied or changed. The cache key holds the hash of each file, so another picture is another result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from harness.config.profile import ProviderConfig
from harness.core.errors import SuiteError, nearest
from harness.core.values import Case, Generation, Outcome, Request, Suite, hash_file
from harness.core.yaml import Strict
from harness.models.identity import hash_once
from harness.providers import ProviderContext

ADAPTER = "folder/1"
PATTERNS = ("{case}[-_]{seed}.*", "{case}/{seed}.*", "{suite}/{case}[-_]{seed}.*", "{case}.*", "{case}/*")
"""Tried in this order; the first that finds a picture for any seed of a case serves all of them."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
ALMOST = (".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".svg")  # taken, so that the engine says what is wrong
BYTES_CAP = 100_000_000
WORD = re.compile(r"\{(\w*)\}")
WORDS = ("case", "index", "seed", "suite")
SPECIAL = re.compile(r"([*?[])")


class FolderOptions(Strict):
    """What a profile says of a folder."""

    path: str  # from the project's root
    pattern: str | tuple[str, ...] = Field(default=PATTERNS, min_length=1)


class FolderProvider:
    """Hands over files."""

    emulated = False

    def __init__(self, name: str, config: ProviderConfig, context: ProviderContext) -> None:
        self.name, self.context = name, context
        options = self._read(config.options)
        self.patterns = (options.pattern,) if isinstance(options.pattern, str) else options.pattern
        for pattern in self.patterns:
            self._check(pattern)
        self.folder = context.settings.root / options.path
        if not self.folder.is_dir():
            raise self._wrong(f"path: there is no folder {self.folder}")

    def missing(self) -> str:
        return ""

    def requests(self, suite: Suite, case: Case, seeds: Sequence[int]) -> tuple[Request, ...]:
        """One request a seed, with its file and the hash of that; or with the reason why there is none."""
        width, height = self.context.profile.size
        result = self._match(suite.name, case.id, seeds)
        return tuple(
            Request(ADAPTER, "pictures made elsewhere", case.prompt, seed, width, height, index=index, extra=extra)
            for index, (seed, extra) in enumerate(zip(seeds, result, strict=True))
        )

    def draw(self, requests: Sequence[Request]) -> Iterator[Generation]:
        for request in requests:
            yield self._read_picture(request)

    def close(self) -> None:
        """Nothing to give back."""

    # --- finding ------------------------------------------------------------------------------------------------------

    def _match(self, suite: str, case: str, seeds: Sequence[int]) -> list[dict[str, object]]:
        """For each seed its file and hash, or the problem."""
        folder = self.folder.resolve()
        for pattern in self.patterns:
            if pattern == "{case}.*" and len(seeds) > 1 and len(self.patterns) > 1:
                continue  # one file is one sample
            names = [
                spell(pattern, {"suite": suite, "case": case, "seed": str(seed), "index": str(index)})
                for index, seed in enumerate(seeds)
            ]
            hits = [find_pictures(folder, name) for name in names]
            if not any(hits):
                continue
            if len(seeds) > 1 and len(set(names)) == 1:  # one pattern for all seeds: pictures in their order
                hits = [hits[0][index : index + 1] for index in range(len(seeds))]
            return [self._describe(folder, case, seed, hit) for seed, hit in zip(seeds, hits, strict=True)]
        return [self._describe(folder, case, seed, []) for seed in seeds]

    def _describe(self, folder: Path, case: str, seed: int, hits: Sequence[Path]) -> dict[str, object]:
        """What goes into the request: a name below the folder and a hash, or why there is no picture."""
        where = f"no picture for case {case} seed {seed} in {self.folder}"
        inside = [path for path in hits if path.resolve().is_relative_to(folder)]
        if hits and not inside:
            return {"problem": f"{where}: {hits[0].name} is a link that leads out of the folder; copy the picture"}
        if len(inside) > 1:
            names = ", ".join(path.relative_to(folder).as_posix() for path in inside[:3])
            return {"problem": f"{where}: several fit ({names}); keep one of them"}
        if not inside:
            words = {"suite": "SUITE", "case": case, "seed": str(seed), "index": "0"}
            names = ", ".join(
                spell(pattern, words).replace("[-_]", "-").replace(".*", ".png") for pattern in self.patterns
            )
            return {"problem": f"{where}; expected names like {names}; add it, or correct `pattern`"}
        try:
            if inside[0].stat().st_size > BYTES_CAP:
                return {"problem": f"{where}: {inside[0].name} has more than {BYTES_CAP:,} bytes; choose a smaller one"}
            return {"file": inside[0].relative_to(folder).as_posix(), "sha256": hash_once(inside[0])}
        except OSError as error:
            return {"problem": f"{where}: {inside[0].name} cannot be read ({error.strerror}); check the file"}

    def _read_picture(self, request: Request) -> Generation:
        extra = request.extra
        if "problem" in extra:
            return Generation(Outcome.PROVIDER_ERROR, message=f"{self.name}: {extra['problem']}")
        path = self.folder / extra["file"]
        try:
            if not path.resolve().is_relative_to(self.folder.resolve()) or hash_file(path) != extra["sha256"]:
                return Generation(
                    Outcome.PROVIDER_ERROR, message=f"{self.name}: {path} was changed meanwhile; run again"
                )
            return Generation(Outcome.OK, path.read_bytes(), meta={"file": extra["file"]})
        except OSError as error:
            message = f"{self.name}: {path} cannot be read ({error.strerror}); check the file and run again"
            return Generation(Outcome.PROVIDER_ERROR, message=message)

    # --- options ------------------------------------------------------------------------------------------------------

    def _read(self, options: Any) -> FolderOptions:
        for key in options:
            if key not in FolderOptions.model_fields:
                raise self._wrong(f"no option called {key!r}; {nearest(key, FolderOptions.model_fields)}")
        try:
            return FolderOptions.model_validate(options)
        except ValidationError as error:
            first = error.errors()[0]
            raise self._wrong(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    def _check(self, pattern: str) -> None:
        for word in WORD.findall(pattern):
            if word not in WORDS:
                raise self._wrong(f"pattern {pattern!r}: no word called {{{word}}}; {nearest(word, WORDS)}")
        parts = Path(pattern).parts
        if not parts or Path(pattern).is_absolute() or ".." in parts or "**" in parts or "\\" in pattern:
            raise self._wrong(f"pattern {pattern!r}: names files below the folder, without .. and **")

    def _wrong(self, message: str) -> SuiteError:
        return SuiteError(f"provider {self.name!r}: {message}", self.context.profile.path)


def spell(pattern: str, words: dict[str, str]) -> str:
    """A pattern with its words, which are plain text wherever they stand."""
    return WORD.sub(lambda found: SPECIAL.sub(r"[\1]", words[found.group(1)]), pattern)


def find_pictures(folder: Path, pattern: str) -> list[Path]:
    """Files that fit, in the order in which people count; pictures rather than what is almost one.

    A closing `.*` stands for the ending of a picture and nothing else: `case-1.*` is not case-1.5.png.
    """
    *parents, last = pattern.split("/")
    stem = last.removesuffix(".*")
    ending = last.endswith(".*")
    homes = [folder]
    for part in parents:
        homes = [path for home in homes for path in home.iterdir() if path.is_dir() and fnmatchcase(path.name, part)]
    files = [path for home in homes for path in home.iterdir() if path.is_file() and not path.name.startswith(".")]
    fitting = [path for path in files if fnmatchcase(path.stem if ending else path.name, stem)]
    for endings in (PICTURES, ALMOST):
        results = [path for path in fitting if path.suffix.lower() in endings]
        if results:
            return sorted(results, key=lambda path: natural(path.as_posix()))
    return []


def natural(name: str) -> list[tuple[int, str]]:
    """A sorting key by which 2.png comes before 10.png."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
