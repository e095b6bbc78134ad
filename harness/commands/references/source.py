"""What all `harness references` commands take: a suite's references, or any folder of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from harness.commands.options import Callback, argument, flag, option, profile_option, together
from harness.commands.project import open_profile
from harness.config.profile import Profile, extend_vocabulary
from harness.config.suite import load_suite
from harness.core.errors import ModelError, ReferencesError, UsageError
from harness.core.settings import Settings
from harness.models.loading import Models
from harness.scoring.domain import DomainCheck, DomainJudge
from harness.scoring.references.duplicates import take_fingerprint
from harness.scoring.references.gather import Gathered, gather_folder, gather_subject
from harness.scoring.references.zero_shot import ZeroShotTagger, open_tagger
from harness.store import Store

SUITES = (".yaml", ".yml")
Result = TypeVar("Result")

shared_options = together(
    argument("path", type=Path, metavar="SUITE_OR_FOLDER"),
    profile_option,
    option("--kind", type=click.Choice(["character", "style"]), help="of a folder's subject; a suite says it itself"),
    option("--trigger", help="of a folder's subject (default: the folder's name)"),
    option("--store", help="where embeddings are kept"),
    flag("--no-clip", help="ask no model"),
    flag("--json", "as_json", help="print plain data instead of text"),
)


@dataclass(frozen=True)
class PictureSource:
    """A suite or a folder, and how its pictures are looked at."""

    path: Path
    profile: str | None
    kind: str | None
    trigger: str | None
    store: str | None
    no_clip: bool

    def open(self) -> Work:
        """The suite's references or the folder's pictures."""
        profile, settings = open_profile(profile=self.profile, store=self.store)
        if self.path.suffix.lower() not in SUITES:
            gathered = gather_folder(self.path, trigger=self.trigger or "", kind=self.kind or "character")
            return Work(gathered, profile, settings, profile.vocabulary)
        if self.kind or self.trigger:
            raise UsageError("--kind and --trigger are for folders; a suite says them under `subject`")
        suite = load_suite(self.path, profile)
        return Work(gather_subject(suite.subject), profile, settings, extend_vocabulary(profile, suite).vocabulary)


@dataclass(frozen=True)
class Work:
    """The pictures and what to read them with."""

    gathered: Gathered
    profile: Profile
    settings: Settings
    vocabulary: Mapping[str, Any]


def with_source(callback: Callback) -> Callback:
    """Give a subcommand the options of all of them, as one `PictureSource`."""

    @wraps(callback)
    def call(**options: Any) -> Any:
        source = PictureSource(**{field.name: options.pop(field.name) for field in fields(PictureSource)})
        return callback(source, **options)

    return shared_options(call)


@dataclass(frozen=True)
class PicturesSeen:
    """CLIP's view of the readable pictures, or the reason why there is none."""

    tagger: ZeroShotTagger | None
    why: str = ""
    domain: DomainCheck | None = None  # whether the models know such pictures; None: they were not asked


def with_view(work: Work, no_clip: bool, use: Callable[[PicturesSeen], Result]) -> Result:
    """What `use` makes of it; pictures that the models do not know are not read by them."""
    if no_clip:
        return use(PicturesSeen(None, "--no-clip was given"))
    paths = [path for path in work.gathered.pictures if is_readable(path)]
    if not paths:
        return use(PicturesSeen(None, "no picture could be read"))
    with Store(work.settings.store) as store:
        try:
            tagger = open_tagger(work.profile, work.settings, store, work.vocabulary, paths, work.gathered.captions)
            len(tagger.vectors)  # loads the model now, where its absence can still be told
            domain = DomainJudge(work.profile, Models(work.profile, work.settings), store).check_files(paths)
        except ModelError as error:
            return use(PicturesSeen(None, str(error)))
        return use(PicturesSeen(None, domain.sentence, domain) if domain.blind else PicturesSeen(tagger, "", domain))


def is_readable(path: Path) -> bool:
    try:
        take_fingerprint(path)
    except ReferencesError:
        return False
    return True
