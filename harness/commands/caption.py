"""`harness caption`: captions for pictures that have none."""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.options import argument, command, flag, option, profile_option
from harness.commands.writers import need_key, open_context, title_of
from harness.core.errors import UsageError
from harness.providers import ProviderContext
from harness.providers.text import choose_writer, open_writer, writer_configs
from harness.providers.text.caption import Asking, Captioner, plan_captions, read_classes, show_report

EMULATED = "the emulator wrote this, nothing to train on: HARNESS_EMULATOR=off asks the real service"


@command
@argument("folder", type=Path, help="pictures; or a folder with train/ and held_out/ in it")
@option("--writer", help="a service of the profile's `writers` that sees (default: gigachat)")
@option("--trigger", default="", metavar="WORD", help="the word that opens each caption")
@option("--style", type=click.Choice(["sentence", "tags"]), default="sentence")
@option("--language", default="English", help="of the captions; the local text encoders read English (default)")
@option("--question", metavar="TEXT|FILE", help="your own; a YAML or JSON file has one a class, the folder's name")
@option("--names", type=Path, metavar="FILE", help="YAML or JSON: class to what its captions open with, not --trigger")
@flag("--force", help="write captions anew that are there already")
@flag("--dry-run", help="say what would be asked, and ask nothing")
@profile_option
def caption(
    folder: Path,
    writer: str | None,
    trigger: str,
    style: str,
    language: str,
    question: str | None,
    names: Path | None,
    force: bool,
    dry_run: bool,
    profile: str | None,
) -> int:
    """The exit status: 1 when a picture is left without a caption."""
    context = open_context(profile)
    service = choose_writer(writer, "gigachat", context)
    if not service.sees:
        raise UsageError(f"--writer {service.name}: is shown no pictures; {seeing(context)}")
    asking = Asking(style, language, trigger, own_questions(question), read_classes(names, "--names") if names else {})
    plan = plan_captions(folder, force, service.emulated)
    if dry_run:
        for path in plan.todo:
            print(path)
        print(f"{len(plan.todo)} pictures for {title_of(service)}, {len(plan.kept)} have a caption; nothing was asked")
        return 0
    if plan.todo:
        need_key(service)
    try:
        print(f"{len(plan.todo)} pictures for {title_of(service)}", flush=True)
        report = Captioner(service, asking).run(plan)
    finally:
        service.close()
    if language.lower() not in ("english", "en"):
        print(f"note: captions in {language} are for models that read it; the text encoders of SDXL know English")
    print(show_report(report, getattr(service, "leftovers", ())))
    if service.emulated and report.written:
        print(EMULATED)
    return 1 if report.failures or report.left else 0


def own_questions(question: str | None) -> dict[str, str]:
    """The questions of a file by class, or one for all. Raises UsageError for a file that holds something else."""
    if not question:
        return {}
    is_file = question.lower().endswith((".json", ".yaml", ".yml"))
    return read_classes(Path(question), "--question") if is_file else {"": question}


def seeing(context: ProviderContext) -> str:
    """Which of the profile's writers can be shown pictures."""
    names = [name for name in writer_configs(context) if open_writer(name, context).sees]
    return f"choose {' or '.join(names)}" if names else "the profile has no writer that sees"
