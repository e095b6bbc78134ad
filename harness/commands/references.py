"""`harness references check | prepare | split | analyse`: a suite's references, or any folder of pictures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError, ModelError, ReferencesError, UsageError
from harness.scoring.references.gather import Gathered, gather_folder, gather_subject

if TYPE_CHECKING:
    from harness.config.profile import Profile
    from harness.core.settings import Settings
    from harness.scoring.references.zero_shot import ZeroShotTagger

SUITES = (".yaml", ".yml")
MOST_HELD_OUT = 0.8  # share of the pictures


def references_options(sub: argparse.ArgumentParser) -> None:
    """The four subcommands and their options."""
    actions = sub.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add(name: str, action: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=summary, description=summary)
        parser.set_defaults(action=action)
        parser.add_argument("source", type=Path, metavar="SUITE_OR_FOLDER")
        parser.add_argument("--profile", help="default: embedded, or HARNESS_PROFILE")
        parser.add_argument(
            "--kind", choices=["character", "style"], help="of a folder's subject; a suite says it itself"
        )
        parser.add_argument("--trigger", help="of a folder's subject (default: the folder's name)")
        parser.add_argument("--store", help="where embeddings are kept")
        parser.add_argument("--no-clip", action="store_true", help="ask no model")
        parser.add_argument("--json", action="store_true", help="print plain data instead of text")
        return parser

    look = add("check", check, "say what is wrong with the pictures; exit status 1 when it is serious")
    look.add_argument("--html", type=Path, metavar="FILE", help="write a page with the pictures as well")
    look.add_argument("--strict", action="store_true", help="exit status 1 for whatever is worth mending")
    make = add("prepare", prepare, "crop, pad and resize into another folder; originals stay as they are")
    make.add_argument("--into", type=Path, required=True, metavar="FOLDER")
    make.add_argument("--crop", choices=["none", "centre", "subject"], default="subject")
    make.add_argument("--padding", type=float, default=0.1, help="room around the subject, a share of its size")
    make.add_argument("--size", type=parse_size, help="WIDTHxHEIGHT (default: the profile's)")
    make.add_argument(
        "--buckets", action="store_true", help="other shapes of the same area too, for a trainer with buckets"
    )
    part = add("split", split, "divide into train/ and held_out/ so that no copy straddles")
    part.add_argument("--into", type=Path, metavar="FOLDER", help="copy into this folder")
    part.add_argument("--in-place", action="store_true", help="move within the folder instead")
    part.add_argument("--share", type=float, default=0.4, help="of the pictures that are held out, at most 0.8")
    part.add_argument("--dry-run", action="store_true", help="say it without doing it")
    add("analyse", analyse, "read the traits and write a training prompt")


def references(options: argparse.Namespace) -> int:
    """Run one action. The exit status."""
    action: Callable[[argparse.Namespace], int] = options.action
    return action(options)


def parse_size(text: str) -> tuple[int, int]:
    """`1024x1024` or `1024`."""
    words = text.lower().split("x")
    try:
        sides = [int(word) for word in words]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or any(side % 8 or not 8 <= side <= 4096 for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 1024x1024, multiples of 8 up to 4096")
    return sides[0], sides[-1]


# --- what a command works on --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """The pictures and what to read them with."""

    gathered: Gathered
    profile: Profile
    settings: Settings
    vocabulary: Mapping[str, Any]


def open_work(options: argparse.Namespace) -> Work:
    """The suite's references or the folder's pictures."""
    from harness.config.profile import extend_vocabulary, load_profile
    from harness.config.suite import load_suite
    from harness.core.settings import Settings

    settings = Settings.load(Path.cwd(), {"profile": options.profile, "store": options.store})
    profile = load_profile(settings.profile, settings.root)
    if options.source.suffix.lower() not in SUITES:
        kind = options.kind or "character"
        gathered = gather_folder(options.source, trigger=options.trigger or "", kind=kind)
        return Work(gathered, profile, settings, profile.vocabulary)
    if options.kind or options.trigger:
        raise UsageError("--kind and --trigger are for folders; a suite says them under `subject`")
    suite = load_suite(options.source, profile)
    return Work(gather_subject(suite.subject), profile, settings, extend_vocabulary(profile, suite).vocabulary)


def with_tagger(work: Work, options: argparse.Namespace, use: Callable[[ZeroShotTagger | None, str], Any]) -> Any:
    """What `use` makes of CLIP's view of the readable pictures, or of the reason why there is none."""
    from harness.scoring.references.zero_shot import open_tagger
    from harness.store import Store

    if options.no_clip:
        return use(None, "--no-clip was given")
    paths = [path for path in work.gathered.pictures if is_readable(path)]
    if not paths:
        return use(None, "no picture could be read")
    with Store(work.settings.store) as store:
        try:
            tagger = open_tagger(work.profile, work.settings, store, work.vocabulary, paths, work.gathered.captions)
            len(tagger.vectors)  # loads the model now, where its absence can still be told
        except ModelError as error:
            return use(None, str(error))
        return use(tagger, "")


def is_readable(path: Path) -> bool:
    from harness.scoring.references.duplicates import take_fingerprint

    try:
        take_fingerprint(path)
    except ReferencesError:
        return False
    return True


# --- the four actions ---------------------------------------------------------------------------------------------


def check(options: argparse.Namespace) -> int:
    """Tell what is wrong; 1 when something serious is, with --strict when anything is worth mending."""
    from harness.report.references_page import audit_page, audit_record, audit_text
    from harness.scoring.references.check import Audit, check_references

    work = open_work(options)
    audit: Audit = with_tagger(
        work, options, lambda tagger, why: check_references(work.gathered, work.profile.size, tagger, why)
    )
    print(json.dumps(audit_record(audit), indent=2, ensure_ascii=False) if options.json else audit_text(audit))
    if options.html:
        options.html.parent.mkdir(parents=True, exist_ok=True)
        options.html.write_text(audit_page(audit), encoding="utf-8")
        if not options.json:
            print(f"wrote {options.html}")
    return 1 if audit.serious or (options.strict and not audit.spotless) else 0


def prepare(options: argparse.Namespace) -> int:
    """Make the pictures ready in another folder; 1 when one could not be read."""
    from harness.core.values import to_record
    from harness.report.references_page import prepared_text
    from harness.scoring.references.prepare import PrepareOptions, prepare_references

    work = open_work(options)
    chosen = PrepareOptions(options.crop, options.size or work.profile.size, options.buckets, options.padding)
    done = list(prepare_references(work.gathered, options.into, chosen))
    message = json.dumps(to_record(done), indent=2, ensure_ascii=False)
    print(message if options.json else prepared_text(done, options.into.as_posix()))
    return 1 if any(item.state == "failed" for item in done) else 0


def split(options: argparse.Namespace) -> int:
    """Divide the pictures; equal files go together, copies never straddle."""
    from harness.scoring.references.splitting import LEAST_HELD_OUT, carry_out, plan_moves

    if not 0 < options.share <= MOST_HELD_OUT:
        raise UsageError(f"--share {options.share:g}: above 0, at most {MOST_HELD_OUT:g}: the rest must train")
    work = open_work(options)
    target = target_folder(options, work.gathered)
    pictures = list(work.gathered.pictures)
    if len(pictures) < 2:
        raise ReferencesError(f"{work.gathered.folder}: one picture cannot be split; add others of the same subject")
    if unreadable := [path for path in pictures if not is_readable(path)]:
        raise ReferencesError(f"{unreadable[0]}: cannot be read as a picture; save it again or remove it")
    held = with_tagger(work, options, lambda tagger, why: held_out(pictures, tagger, options.share))
    moves = plan_moves(pictures, held, target)
    if not options.dry_run:
        carry_out(moves, options.in_place)
    record = [{"source": work.gathered.label(move.source), "split": move.split} for move in moves]
    if options.json:
        print(json.dumps({"into": target.as_posix(), "pictures": record}, indent=2, ensure_ascii=False))
        return 0
    for item in record:
        print(f"{item['split']:10}{item['source']}")
    did = "would go" if options.dry_run else "moved" if options.in_place else "copied"
    print(f"{len(moves) - len(held)} train and {len(held)} held-out pictures {did} into {target.as_posix()}")
    if len(held) < LEAST_HELD_OUT:
        print(f"warning: {len(held)} held out, {LEAST_HELD_OUT} are needed to judge: add pictures that are no copies")
    return 0


def target_folder(options: argparse.Namespace, gathered: Gathered) -> Path:
    """Where the splits are made.

    Raises:
        UsageError: neither or both of --into and --in-place, or a copy into the originals' own folder.
    """
    if options.in_place:
        if options.into:
            raise UsageError("--into copies and --in-place moves; give one of them")
        return gathered.folder
    if options.into is None:
        if options.dry_run:
            return gathered.folder
        raise UsageError("name a folder to copy --into, or move the pictures with --in-place")
    if options.into.resolve() == gathered.folder.resolve():
        raise UsageError(f"--into {options.into}: the pictures are there already; --in-place moves them")
    return Path(options.into)


def held_out(pictures: list[Path], tagger: ZeroShotTagger | None, share: float) -> list[int]:
    """Places of the held-out pictures: balanced by what CLIP reads where it can be believed."""
    from harness.scoring.references.duplicates import take_fingerprint
    from harness.scoring.references.splitting import choose_held_out

    prints = [take_fingerprint(path) for path in pictures]
    if tagger is None:
        return choose_held_out(prints, share=share)
    scene = [item for item in tagger.seen if not item.reason and not item.reading.identity]
    labels = [{item.category: item.values[place] for item in scene} for place in range(len(pictures))]
    alike = [(a, b) for a, b, _ in (*tagger.alike_pairs()[0], *tagger.standing_out()[0])]
    return choose_held_out(prints, labels if scene else None, alike, share, tagger.vectors)


def analyse(options: argparse.Namespace) -> int:
    """Print traits, agreement and prompts."""
    from harness.core.values import to_record
    from harness.report.references_page import analysis_text
    from harness.scoring.references.analyse import Analysis
    from harness.scoring.references.analyse import analyse as read

    work = open_work(options)

    def use(tagger: ZeroShotTagger | None, why: str) -> Analysis:
        if tagger is None:
            raise HarnessError(f"traits are read by CLIP: {why}")
        return read(
            replace(work.gathered, pictures={path: work.gathered.pictures[path] for path in tagger.paths}), tagger
        )

    analysis: Analysis = with_tagger(work, options, use)
    text = json.dumps(to_record(analysis), indent=2, ensure_ascii=False) if options.json else analysis_text(analysis)
    print(text)
    return 0
