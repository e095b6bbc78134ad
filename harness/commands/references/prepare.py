"""`harness references prepare`: pictures cropped, padded and resized into another folder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.commands.options import command, flag, option
from harness.commands.output import json_for
from harness.commands.references.source import PictureSource, with_source
from harness.core.values import to_record
from harness.report.references_page import prepared_text
from harness.scoring.references.prepare import PrepareOptions, prepare_references


def parse_size(text: str) -> tuple[int, int]:
    """`1024x1024` or `1024`."""
    words = text.lower().split("x")
    try:
        sides = [int(word) for word in words]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or any(side % 8 or not 8 <= side <= 4096 for side in sides):
        raise click.BadParameter(f"{text!r} is no size; write 1024x1024, multiples of 8 up to 4096")
    return sides[0], sides[-1]


@command
@with_source
@option("--into", type=Path, required=True, metavar="FOLDER")
@option("--crop", type=click.Choice(["none", "centre", "subject"]), default="subject")
@option("--padding", type=float, default=0.1, help="room around the subject, a share of its size")
@option("--size", type=parse_size, help="WIDTHxHEIGHT (default: the profile's)")
@flag("--buckets", help="other shapes of the same area too, for a trainer with buckets")
def prepare(
    source: PictureSource,
    as_json: bool,
    into: Path,
    crop: str,
    padding: float,
    size: tuple[int, int] | None,
    buckets: bool,
) -> int:
    """Make the pictures ready in another folder; 1 when one could not be read."""
    work = source.open()
    chosen = PrepareOptions(crop, size or work.profile.size, buckets, padding)
    done = list(prepare_references(work.gathered, into, chosen))
    message = json_for(sys.stdout, to_record(done), 2)
    print(message if as_json else prepared_text(done, into.as_posix()))
    return 1 if any(item.state == "failed" for item in done) else 0
