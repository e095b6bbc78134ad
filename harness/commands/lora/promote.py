"""`harness lora promote`: a LoRA becomes the champion by hand."""

from __future__ import annotations

from pathlib import Path

from harness.commands.lora.common import champion_path, suite_options
from harness.commands.options import argument, command, option
from harness.commands.project import open_suite
from harness.core.errors import UsageError
from harness.models.lora import registry


@command
@argument("candidate", metavar="FILE|HASH", help="a file, or the beginning of a challenger's hash")
@option("--reason", required=True, help="in words, for the record")
@suite_options()
def promote(candidate: str, reason: str, suite: Path, profile: str | None) -> int:
    read, _, _ = open_suite(suite, profile=profile)
    weights = champion_path(read)
    champion = registry.promote(find_candidate(candidate, weights), weights, {}, f"by hand: {reason}")
    print(f"{read.subject.name}: {champion.sha256[:16]} is the champion, after {len(champion.lineage)} others")
    return 0


def find_candidate(text: str, weights: Path) -> Path:
    """A file, or the one challenger whose hash begins so. Raises UsageError."""
    if Path(text).is_file():
        return Path(text)
    result = sorted((weights.parent / registry.CHALLENGERS).glob(f"*{weights.suffix}")) if text else []
    result = [path for path in result if path.stem.startswith(text[: registry.SHORT].lower())]
    if len(result) != 1:
        raise UsageError(f"{text}: {'no file and no challenger' if not result else 'several challengers'} of this name")
    return result[0]
