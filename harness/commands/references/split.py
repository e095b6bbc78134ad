"""`harness references split`: train/ and held_out/, so that no copy straddles."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.commands.options import command, flag, option
from harness.commands.output import json_for
from harness.commands.references.source import PictureSource, is_readable, with_source, with_view
from harness.core.errors import ReferencesError, UsageError
from harness.scoring.references.duplicates import take_fingerprint
from harness.scoring.references.gather import Gathered
from harness.scoring.references.splitting import LEAST_HELD_OUT, carry_out, choose_held_out, plan_moves
from harness.scoring.references.zero_shot import ZeroShotTagger

MOST_HELD_OUT = 0.8  # share of the pictures


@command
@with_source
@option("--into", type=Path, metavar="FOLDER", help="copy into this folder")
@flag("--in-place", help="move within the folder instead")
@option("--share", type=float, default=0.4, help="of the pictures that are held out, at most 0.8")
@flag("--dry-run", help="say it without doing it")
def split(source: PictureSource, as_json: bool, into: Path | None, in_place: bool, share: float, dry_run: bool) -> int:
    """Divide the pictures; equal files go together, copies never straddle."""
    if not 0 < share <= MOST_HELD_OUT:
        raise UsageError(f"--share {share:g}: above 0, at most {MOST_HELD_OUT:g}: the rest must train")
    work = source.open()
    target = target_folder(work.gathered, into, in_place, dry_run)
    pictures = list(work.gathered.pictures)
    if len(pictures) < 2:
        raise ReferencesError(f"{work.gathered.folder}: one picture cannot be split; add others of the same subject")
    if unreadable := [path for path in pictures if not is_readable(path)]:
        raise ReferencesError(f"{unreadable[0]}: cannot be read as a picture; save it again or remove it")
    held = with_view(work, source.no_clip, lambda view: held_out(pictures, view.tagger, share))
    moves = plan_moves(pictures, held, target)
    if not dry_run:
        carry_out(moves, in_place)
    record = [{"source": work.gathered.label(move.source), "split": move.split} for move in moves]
    if as_json:
        print(json_for(sys.stdout, {"into": target.as_posix(), "pictures": record}, 2))
        return 0
    for item in record:
        print(f"{item['split']:10}{item['source']}")
    did = "would go" if dry_run else "moved" if in_place else "copied"
    print(f"{len(moves) - len(held)} train and {len(held)} held-out pictures {did} into {target.as_posix()}")
    if len(held) < LEAST_HELD_OUT:
        print(f"warning: {len(held)} held out, {LEAST_HELD_OUT} are needed to judge: add pictures that are no copies")
    return 0


def target_folder(gathered: Gathered, into: Path | None, in_place: bool, dry_run: bool) -> Path:
    """Where the splits are made.

    Raises:
        UsageError: neither or both of --into and --in-place, or a copy into the originals' own folder.
    """
    if in_place:
        if into:
            raise UsageError("--into copies and --in-place moves; give one of them")
        return gathered.folder
    if into is None:
        if dry_run:
            return gathered.folder
        raise UsageError("name a folder to copy --into, or move the pictures with --in-place")
    if into.resolve() == gathered.folder.resolve():
        raise UsageError(f"--into {into}: the pictures are there already; --in-place moves them")
    return into


def held_out(pictures: list[Path], tagger: ZeroShotTagger | None, share: float) -> list[int]:
    """Places of the held-out pictures: balanced by what CLIP reads where it can be believed."""
    prints = [take_fingerprint(path) for path in pictures]
    if tagger is None:
        return choose_held_out(prints, share=share)
    scene = [item for item in tagger.seen if not item.reason and not item.reading.identity]
    labels = [{item.category: item.values[place] for item in scene} for place in range(len(pictures))]
    alike = [(a, b) for a, b, _ in (*tagger.alike_pairs()[0], *tagger.standing_out()[0])]
    return choose_held_out(prints, labels if scene else None, alike, share, tagger.vectors)
