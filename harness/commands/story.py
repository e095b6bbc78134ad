"""`harness story`: a suite from an idea."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from harness.commands.options import argument, command, flag, option, profile_option
from harness.commands.writers import need_key, open_context, title_of
from harness.core.errors import UsageError
from harness.providers.text import choose_writer
from harness.providers.text.story import (
    MOST_CASES,
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


@command
@argument("idea", help="what the story is about, in a sentence")
@option("--cases", type=int, default=8, help="scenes of the story (default: 8)")
@option("--locked", type=int, default=0, metavar="N", help="of them, drawn only to decide a promotion")
@option("--writer", help="a service of the profile's `writers` (default: deepseek)")
@option("--subject", metavar="NAME", help="whom the story is about (default: the suites' only subject)")
@option("--trigger", metavar="WORD", help="the word that stands for the subject (default: the suite's)")
@option("--references", type=Path, metavar="FOLDER", help="the subject's pictures, where no suite has them")
@option("--language", default="en", help="of the story; its scenes are English always (default: en)")
@option("--out", type=Path, help="the suite to write (default: suites/TITLE.yaml)")
@flag("--force", help="replace the suite when it exists")
@profile_option
def story(
    idea: str,
    cases: int,
    locked: int,
    writer: str | None,
    subject: str | None,
    trigger: str | None,
    references: Path | None,
    language: str,
    out: Path | None,
    force: bool,
    profile: str | None,
) -> int:
    check_story(idea, cases, locked, None if force else out)
    context = open_context(profile)
    chosen, root = context.profile, context.settings.root
    about = find_subject(root, subject, trigger, references)
    wish = Wish(idea, cases, str(about["name"]), str(about["trigger"]), language.strip(), locked)
    service = choose_writer(writer, "deepseek", context)
    need_key(service)
    print(f"asking {title_of(service)} for a story with {wish.cases} scenes", flush=True)
    try:
        message = ask_story(service, wish, chosen.vocabulary)
    finally:
        service.close()
    file = (out or free_file(root / "suites", message.title)).resolve()
    composed = compose_cases(message, wish, chosen.vocabulary)
    text = suite_text(message, composed, about, file, chosen, origin_of(service, wish, date.today()))
    write_suite(text, file, chosen, force)
    for note in long_prompts(composed, wish.trigger, chosen, root):
        print(f"note: {note}")
    print(f"wrote {file}: {message.title}, {len(composed)} cases; `harness lint` says more about them")
    return 0


def check_story(idea: str, cases: int, locked: int, fresh: Path | None) -> None:
    """What can be said before anybody is asked; `fresh`: a file that must not be there yet.

    Raises:
        UsageError: an empty idea, a number out of range, or a file in the way.
    """
    if not idea.strip():
        raise UsageError('the idea is empty; say what the story is about: harness story "a theft at the market"')
    if not 1 <= cases <= MOST_CASES:
        raise UsageError(f"--cases {cases}: between 1 and {MOST_CASES}")
    if not 0 <= locked < cases:
        raise UsageError(f"--locked {locked}: 0 or more, and fewer than the {cases} cases")
    if fresh is not None and fresh.exists():
        raise UsageError(f"{fresh} exists already; choose another --out, or --force to replace it")
