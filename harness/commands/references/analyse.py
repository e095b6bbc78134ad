"""`harness references analyse`: traits, agreement and a training prompt."""

from __future__ import annotations

import json
from dataclasses import replace

from harness.commands.options import command
from harness.commands.references.source import PictureSource, with_source, with_tagger
from harness.core.errors import HarnessError
from harness.core.values import to_record
from harness.report.references_page import analysis_text
from harness.scoring.references import analyse as reading
from harness.scoring.references.zero_shot import ZeroShotTagger


@command
@with_source
def analyse(source: PictureSource, as_json: bool) -> int:
    """Print traits, agreement and prompts."""
    work = source.open()

    def use(tagger: ZeroShotTagger | None, why: str) -> reading.Analysis:
        if tagger is None:
            raise HarnessError(f"traits are read by CLIP: {why}")
        pictures = {path: work.gathered.pictures[path] for path in tagger.paths}
        return reading.analyse(replace(work.gathered, pictures=pictures), tagger)

    analysis = with_tagger(work, source.no_clip, use)
    print(json.dumps(to_record(analysis), indent=2, ensure_ascii=False) if as_json else analysis_text(analysis))
    return 0
