"""`harness references check`: what is wrong with the pictures."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.commands.options import command, flag, option
from harness.commands.output import json_for
from harness.commands.references.source import PictureSource, with_source, with_view
from harness.report.references_page import audit_page, audit_record, audit_text
from harness.scoring.references.check import check_references


@command
@with_source
@option("--html", type=Path, metavar="FILE", help="write a page with the pictures as well")
@flag("--strict", help="exit status 1 for whatever is worth mending")
def check(source: PictureSource, as_json: bool, html: Path | None, strict: bool) -> int:
    """Tell what is wrong; 1 when something serious is, with --strict when anything is worth mending."""
    work = source.open()
    size = work.profile.size
    audit = with_view(
        work, source.no_clip, lambda view: check_references(work.gathered, size, view.tagger, view.why, view.domain)
    )
    print(json_for(sys.stdout, audit_record(audit), 2) if as_json else audit_text(audit))
    if html:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(audit_page(audit), encoding="utf-8")
        if not as_json:
            print(f"wrote {html}")
    return 1 if audit.serious or (strict and not audit.spotless) else 0
