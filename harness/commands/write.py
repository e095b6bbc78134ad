"""`harness story` and `harness caption`: their options, and a few lines that call the package."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import MissingKey, UsageError

if TYPE_CHECKING:
    from harness.providers import ProviderContext
    from harness.providers.text.chat import Writer


EMULATED = "the emulator wrote this, nothing to train on: HARNESS_EMULATOR=off asks the real service"


def open_context(profile: str | None) -> ProviderContext:
    """What a writer may use: the profile and the environment."""
    from harness.config.profile import load_profile
    from harness.core.settings import Settings
    from harness.models.loading import Models
    from harness.providers import ProviderContext

    settings = Settings.load(Path.cwd(), {"profile": profile})
    chosen = load_profile(settings.profile, settings.root)
    return ProviderContext(chosen, settings, Models(chosen, settings))


def choose(name: str | None, preferred: str, context: ProviderContext) -> Writer:
    """The writer, with its key at hand.

    Raises:
        MissingKey: it has none.
    """
    from harness.providers.text import choose_writer

    writer = choose_writer(name, preferred, context)
    if writer.missing():
        raise MissingKey(writer.name, writer.missing())
    return writer


def title_of(writer: Writer) -> str:
    """A writer's name for people: which model, and whether it is a real one."""
    return f"{writer.name} ({writer.model}{', emulated' if writer.emulated else ''})"


# --- story ----------------------------------------------------------------------------------------------------------


def story_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("idea", help="what the story is about, in a sentence")
    sub.add_argument("--cases", type=int, default=8, help="scenes of the story (default: 8)")
    sub.add_argument("--locked", type=int, default=0, metavar="N", help="of them, drawn only to decide a promotion")
    sub.add_argument("--writer", help="a service of the profile's `writers` (default: deepseek)")
    sub.add_argument("--subject", metavar="NAME", help="whom the story is about (default: the suites' only subject)")
    sub.add_argument("--trigger", metavar="WORD", help="the word that stands for the subject (default: the suite's)")
    sub.add_argument(
        "--references", type=Path, metavar="FOLDER", help="the subject's pictures, where no suite has them"
    )
    sub.add_argument("--language", default="en", help="of the story; its scenes are English always (default: en)")
    sub.add_argument("--out", type=Path, help="the suite to write (default: suites/TITLE.yaml)")
    sub.add_argument("--force", action="store_true", help="replace the suite when it exists")
    sub.add_argument("--profile", help="default: embedded, or HARNESS_PROFILE")


def story(options: argparse.Namespace) -> int:
    from harness.providers.text.story import (
        Wish,
        ask_story,
        compose_cases,
        find_subject,
        free_file,
        long_prompts,
        origin_of,
        suite_text,
        write_suite,
    )

    check_story(options)
    context = open_context(options.profile)
    profile, root = context.profile, context.settings.root
    subject = find_subject(root, options.subject, options.trigger, options.references)
    wish = Wish(
        options.idea, options.cases, subject["name"], subject["trigger"], options.language.strip(), options.locked
    )
    writer = choose(options.writer, "deepseek", context)
    print(f"asking {title_of(writer)} for a story with {wish.cases} scenes", flush=True)
    try:
        message = ask_story(writer, wish, profile.vocabulary)
    finally:
        writer.close()
    out = (options.out or free_file(root / "suites", message.title)).resolve()
    cases = compose_cases(message, wish, profile.vocabulary)
    text = suite_text(message, cases, subject, out, profile, origin_of(writer, wish, date.today()))
    write_suite(text, out, profile, options.force)
    for note in long_prompts(cases, wish.trigger, profile, root):
        print(f"note: {note}")
    print(f"wrote {out}: {message.title}, {len(cases)} cases; `harness lint` says more about them")
    return 0


def check_story(options: argparse.Namespace) -> None:
    """What can be said before anybody is asked.

    Raises:
        UsageError: an empty idea, a number out of range, or a file in the way.
    """
    from harness.providers.text.story import MOST_CASES

    if not options.idea.strip():
        raise UsageError('the idea is empty; say what the story is about: harness story "a theft at the market"')
    if not 1 <= options.cases <= MOST_CASES:
        raise UsageError(f"--cases {options.cases}: between 1 and {MOST_CASES}")
    if not 0 <= options.locked < options.cases:
        raise UsageError(f"--locked {options.locked}: 0 or more, and fewer than the {options.cases} cases")
    if options.out is not None and options.out.exists() and not options.force:
        raise UsageError(f"{options.out} exists already; choose another --out, or --force to replace it")


# --- caption --------------------------------------------------------------------------------------------------------


def caption_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("folder", type=Path, help="pictures; or a folder with train/ and held_out/ in it")
    sub.add_argument("--writer", help="a service of the profile's `writers` that sees (default: gigachat)")
    sub.add_argument("--trigger", default="", metavar="WORD", help="the word that opens each caption")
    sub.add_argument("--style", choices=["sentence", "tags"], default="sentence")
    sub.add_argument("--force", action="store_true", help="write captions anew that are there already")
    sub.add_argument("--dry-run", action="store_true", help="say what would be asked, and ask nothing")
    sub.add_argument("--profile", help="default: embedded, or HARNESS_PROFILE")


def caption(options: argparse.Namespace) -> int:
    from harness.providers.text import choose_writer
    from harness.providers.text.caption import Captioner, plan_captions, show_report

    context = open_context(options.profile)
    writer = choose_writer(options.writer, "gigachat", context)
    if not writer.sees:
        raise UsageError(f"--writer {writer.name}: is shown no pictures; {seeing(context)}")
    plan = plan_captions(options.folder, options.force, writer.emulated)
    if options.dry_run:
        for path in plan.todo:
            print(path)
        print(f"{len(plan.todo)} pictures for {title_of(writer)}, {len(plan.kept)} have a caption; nothing was asked")
        return 0
    if plan.todo and writer.missing():
        raise MissingKey(writer.name, writer.missing())
    try:
        print(f"{len(plan.todo)} pictures for {title_of(writer)}", flush=True)
        report = Captioner(writer, style=options.style, trigger=options.trigger).run(plan)
    finally:
        writer.close()
    print(show_report(report, getattr(writer, "leftovers", ())))
    if writer.emulated and report.written:
        print(EMULATED)
    return 1 if report.failures or report.left else 0


def seeing(context: ProviderContext) -> str:
    """Which of the profile's writers can be shown pictures."""
    from harness.providers.text import open_writer, writer_configs

    names = [name for name in writer_configs(context) if open_writer(name, context).sees]
    return f"choose {' or '.join(names)}" if names else "the profile has no writer that sees"
