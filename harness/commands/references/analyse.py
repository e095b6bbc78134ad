"""`harness references analyse`: traits, agreement and a training prompt."""

from __future__ import annotations

import sys
from dataclasses import replace

from harness.commands.options import command
from harness.commands.output import json_for
from harness.commands.references.source import PictureSource, PicturesSeen, with_source, with_view
from harness.core.errors import HarnessError
from harness.core.values import to_record
from harness.report.references_page import analysis_text
from harness.scoring.references import analyse as reading


@command
@with_source
def analyse(source: PictureSource, as_json: bool) -> int:
    """Print traits, agreement and prompts; 1 where the models cannot judge such pictures, and nothing is read."""
    work = source.open()

    def use(view: PicturesSeen) -> reading.Analysis:
        if view.domain and view.domain.blind:
            return reading.unread(work.gathered, view.domain.sentence)
        if view.tagger is None:
            raise HarnessError(f"traits are read by CLIP: {view.why}")
        pictures = {path: work.gathered.pictures[path] for path in view.tagger.paths}
        return reading.analyse(replace(work.gathered, pictures=pictures), view.tagger)

    analysis = with_view(work, source.no_clip, use)
    print(json_for(sys.stdout, to_record(analysis), 2) if as_json else analysis_text(analysis))
    return 1 if analysis.blind else 0
