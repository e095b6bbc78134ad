"""`harness lora ...`: LoRA files looked into, converted, shrunk, merged, taken in; and who is champion."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import ModelError, UsageError

if TYPE_CHECKING:
    from harness.config.profile import Profile
    from harness.core.settings import Settings
    from harness.core.values import Suite
    from harness.models.lora.file import LoraFile
    from harness.models.lora.inspection import Inspection
    from harness.models.lora.resize import Resized

DTYPES = ("keep", "float16", "bfloat16", "float32")
MOST = 12  # modules shown of those that a resize cost most


def lora_options(sub: argparse.ArgumentParser) -> None:
    commands = sub.add_subparsers(title="what to do", metavar="WHAT", required=True)

    def add(name: str, act: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=summary, description=summary)
        parser.set_defaults(act=act)
        return parser

    look = add("inspect", inspect, "say what a file holds, and what is wrong with it")
    look.add_argument("file", type=Path)
    look.add_argument("--json", action="store_true", help="as JSON")
    export_options(add("export", export, "write a LoRA for diffusers, or for A1111, ComfyUI and kohya's tools"))
    take = add("import", take_lora, "take in a LoRA made elsewhere, as a challenger")
    take.add_argument("source", metavar="FILE|URL", help="a file, or an https address (also of Civitai, Hugging Face)")
    take.add_argument("--max-mb", type=int, default=1024, metavar="MB", help="of the file (default: 1024)")
    suite_options(take)
    resize_options(add("resize", resize, "bring a LoRA to a smaller rank, and say what that cost"))
    merge_options(add("merge", merge, "put several LoRAs with their strengths into one file"))
    up = add("promote", promote, "make a LoRA the champion by hand; the one before goes to the history")
    up.add_argument("candidate", metavar="FILE|HASH", help="a file, or the beginning of a challenger's hash")
    up.add_argument("--reason", required=True, help="in words, for the record")
    suite_options(up)
    back = add("rollback", rollback, "put a former champion back")
    back.add_argument("--to", default="", metavar="HASH", help="the beginning of its hash (default: the one before)")
    back.add_argument("--reason", default="", help="in words, for the record")
    suite_options(back)
    past = add("history", history, "list a subject's champions, and the challengers that were taken in")
    past.add_argument("--json", action="store_true", help="as JSON")
    suite_options(past)


def suite_options(sub: argparse.ArgumentParser, required: bool = True, more: str = "") -> None:
    sub.add_argument("--suite", type=Path, required=required, help=f"whose subject it is{more}")
    sub.add_argument("--profile", help="default: embedded, or HARNESS_PROFILE")


def export_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", type=Path)
    sub.add_argument("--style", choices=["diffusers", "kohya"], required=True)
    sub.add_argument("--out", type=Path, help="default: FILE with the style behind its name")
    sub.add_argument("--dtype", choices=DTYPES, default="keep")
    sub.add_argument("--blocks", choices=["sgm", "diffusers"], default="sgm", help="kohya: whose names of the blocks")
    alphas = sub.add_mutually_exclusive_group()
    alphas.add_argument("--keep-alpha", action="store_true", help="kohya: each module's own alpha, also if they differ")
    alphas.add_argument("--fold-alpha", action="store_true", help="put alpha into the weights")
    sub.add_argument("--card", action="store_true", help="write a model card beside the file")
    sub.add_argument("--results", type=Path, metavar="RESULTS.JSON", help="whose leaderboard goes onto the card")
    for name in ("title", "author", "description", "license", "trigger-phrase", "resolution"):
        sub.add_argument(f"--{name}", help="in the metadata (default: what the file says)")


def resize_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", type=Path)
    sub.add_argument("--rank", type=int, metavar="R", help="the largest of any module")
    sub.add_argument(
        "--energy", type=float, metavar="SHARE", help="of the squared singular values that stays, 0.95 say"
    )
    sub.add_argument("--out", type=Path, help="default: FILE with `resized` behind its name")
    sub.add_argument("--samples", type=int, metavar="N", help="with --suite: seeds per prompt")
    sub.add_argument("--store", metavar="DIR", help="with --suite: default .harness")
    suite_options(sub, False, "; its pictures then say what the resize cost")


def merge_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("loras", nargs="+", metavar="FILE[@STRENGTH]")
    sub.add_argument("--out", type=Path, required=True)
    sub.add_argument(
        "--rank", type=int, metavar="R", help="bring the result to this rank (default: exact, ranks add up)"
    )
    sub.add_argument("--energy", type=float, metavar="SHARE", help="keep so much of each module's energy")
    sub.add_argument("--dtype", choices=DTYPES, default="keep")


def lora(options: argparse.Namespace) -> int:
    """The exit status: 0; `inspect` 1 when something is wrong."""
    act: Callable[[argparse.Namespace], int] = options.act
    return act(options)


# --- files ----------------------------------------------------------------------------------------------------------


def inspect(options: argparse.Namespace) -> int:
    from harness.models.lora.inspection import inspect_lora

    result = inspect_lora(options.file)
    print(
        json.dumps(result.to_record(), indent=2, sort_keys=True) if options.json else "\n".join(show_inspection(result))
    )
    return 1 if result.problems else 0


def show_inspection(found: Inspection) -> list[str]:
    """What a file holds, for people. Its own words are a stranger's: no control characters get through."""
    from harness.report.terminal import clean, table

    details = {
        "kind": " ".join(
            filter(None, (found.kind, found.style and f"({found.style} keys)", found.base and f"for {found.base}"))
        ),
        "modules": counts_text(found.modules),
        "rank": counts_text(found.ranks, "modules"),
        "alpha": counts_text(found.alphas, "modules"),
        "dtype": counts_text(found.dtypes, "modules"),
        "trigger": clean(found.trigger),
        **{clean(name): clean(value, 100) for name, value in found.training.items()},
    }
    lines = [found.path.name, *table([(name, value) for name, value in details.items() if value])]
    blocks = [(name, f"{block.modules}", f"{block.norm:.3g}") for name, block in found.blocks.items()]
    lines += ["", *table([("block", "modules", "norm of the change"), *blocks])] if blocks else []
    lines += [f"wrong: {clean(problem, 1000)}" for problem in found.problems]
    return [*lines, *(f"mind: {clean(remark)}" for remark in found.remarks)]


def counts_text(counts: Any, unit: str = "") -> str:
    """`16`, or `16 (140 modules), 8 (36 modules)`."""
    if unit and len(counts) == 1:
        return str(next(iter(counts)))
    return ", ".join(f"{value} ({count}{f' {unit}' if unit else ''})" for value, count in counts.items())


def export(options: argparse.Namespace) -> int:
    from harness.models.lora.convert import DESCRIBED, Style, export_file
    from harness.models.lora.file import read_lora
    from harness.studies.lora_publish import read_leaderboard, write_card

    if options.results and not options.card:
        raise UsageError("export: --results goes onto the card; add --card")
    rows = read_leaderboard(options.results) if options.results else []
    source = read_lora(options.file)
    alphas = "keep" if options.keep_alpha else "fold" if options.fold_alpha else "auto"
    style = Style(options.style, dtype_of(options), options.blocks, alphas)
    fields = {name: getattr(options, name) for name in DESCRIBED if getattr(options, name, None)}
    out = options.out or beside(options.file, options.style)
    written = export_file(source, out, style, fields)
    print_written(out)
    if options.card:
        card = out.with_suffix(".md")
        card.write_text(write_card(written, out.name, rows), encoding="utf-8", newline="\n")
        print_written(card)
    print_lines([*source.notes, *export_remarks(source, options)], "mind: ")
    return 0


def export_remarks(source: LoraFile, options: argparse.Namespace) -> list[str]:
    """What a reader of the exported file may do otherwise."""
    from harness.models.lora.convert import uneven
    from harness.models.lora.inspection import kind_of

    lines = []
    if options.style == "kohya" and uneven(source.modules):
        lines.append(
            "its modules have different alphas; plain diffusers reads one of them, so their changes get lost there"
            if options.keep_alpha
            else "its modules had different alphas; they are evened out, since plain diffusers reads one of them"
        )
    if options.style == "kohya" and kind_of(source) == "DoRA":
        lines.append("plain diffusers leaves out DoRA's norms in kohya files; ComfyUI and A1111 read them")
    return lines


def resize(options: argparse.Namespace) -> int:
    from harness.models.lora.convert import Style, export_file
    from harness.models.lora.file import read_lora
    from harness.models.lora.resize import resize as shrink

    source = read_lora(options.file)
    resized = shrink(source, options.rank, options.energy)
    out = options.out or beside(options.file, "resized")
    export_file(resized.lora, out, Style(source.style))
    print("\n".join(show_costs(resized)))
    print_written(out)
    if options.suite is None:
        return 0
    return compare_pictures(options, out)


def show_costs(resized: Resized) -> list[str]:
    """What each module lost: those that lost most, and all of them together."""
    from harness.report.terminal import table

    costs = sorted(resized.costs.items(), key=lambda item: -item[1].error)
    rows = [(name, f"{cost.before} -> {cost.after}", f"{cost.error:.2%}") for name, cost in costs[:MOST]]
    before, after = sum(cost.before for _, cost in costs), sum(cost.after for _, cost in costs)
    rest = [f"  and {len(costs) - MOST} more that lost less"] if len(costs) > MOST else []
    whole = f"all {len(costs)} modules: ranks {before} -> {after} in sum, {resized.error:.2%} of the change left out"
    return [*table([("module", "rank", "left out (Frobenius norm)"), *rows]), *rest, whole]


def compare_pictures(options: argparse.Namespace, out: Path) -> int:
    """The same prompts and seeds with the LoRA before and after; the exit status is `harness compare`'s."""
    from dataclasses import replace

    from harness.core.settings import parse_lora
    from harness.studies.compare import ComparisonSetup, compare_loras

    suite, profile, settings = load(options)
    settings = replace(settings, samples=options.samples or settings.samples)
    bench = ComparisonSetup(suite, profile, settings, suite.gate[0])
    new, old = (parse_lora(str(path.resolve()), settings.root, "") for path in (out, options.file))
    result = compare_loras(bench, new, old)
    print(f"\n{result.text}")
    return result.status()


def merge(options: argparse.Namespace) -> int:
    from harness.core.settings import parse_lora
    from harness.core.values import hash_file
    from harness.models.lora.convert import Style, export_file
    from harness.models.lora.file import read_lora
    from harness.models.lora.merge import Ingredient, concatenate
    from harness.models.lora.resize import resize as shrink

    results = [parse_lora(text, Path.cwd(), "") for text in options.loras]
    items = [Ingredient(item.path, hash_file(item.path), read_lora(item.path), item.strength) for item in results]
    mixture = concatenate(items, dtype_of(options))
    notes = mixture.notes
    if options.rank is not None or options.energy is not None:
        resized = shrink(mixture, options.rank, options.energy)
        mixture = resized.lora
        print("\n".join(show_costs(resized)))
    export_file(mixture, options.out, Style("diffusers"))
    print_written(options.out)
    print_lines(notes, "mind: ")
    return 0


# --- champions ------------------------------------------------------------------------------------------------------


def take_lora(options: argparse.Namespace) -> int:
    from harness.studies.lora_import import MEGABYTE, take_in

    suite, profile, settings = load(options)
    parts = base_parts(profile, settings)
    command = f"harness lora import --suite {options.suite.name}"
    taken = take_in(options.source, champion_path(suite), parts, options.max_mb * MEGABYTE, command)
    print_lines(taken.notes, "mind: ")
    print(f"kept as a challenger: {taken.path.as_posix()}")
    print(f"try it: pytest {options.suite.as_posix()} --lora {taken.path.as_posix()}")
    return 0


def base_parts(profile: Profile, settings: Settings) -> Any:
    """The base's models without weights; None, and a word about it, when the base is not on this machine."""
    from harness.models.identity import quiet_libraries
    from harness.models.loading import locate_model
    from harness.studies.lora_import import empty_parts

    try:
        with quiet_libraries():
            return empty_parts(locate_model(profile.models.base, settings.root, profile.name))
    except ModelError as error:
        print(f"mind: not held against the base: {error}", file=sys.stderr)
        return None


def promote(options: argparse.Namespace) -> int:
    from harness.models.lora import registry

    suite, _, _ = load(options)
    weights = champion_path(suite)
    candidate = find_candidate(options.candidate, weights)
    champion = registry.promote(candidate, weights, {}, f"by hand: {options.reason}")
    print(f"{suite.subject.name}: {champion.sha256[:16]} is the champion, after {len(champion.lineage)} others")
    return 0


def find_candidate(text: str, weights: Path) -> Path:
    """A file, or the one challenger whose hash begins so. Raises UsageError."""
    from harness.models.lora.registry import CHALLENGERS, SHORT

    if Path(text).is_file():
        return Path(text)
    result = sorted((weights.parent / CHALLENGERS).glob(f"*{weights.suffix}")) if text else []
    result = [path for path in result if path.stem.startswith(text[:SHORT].lower())]
    if len(result) != 1:
        raise UsageError(f"{text}: {'no file and no challenger' if not result else 'several challengers'} of this name")
    return result[0]


def rollback(options: argparse.Namespace) -> int:
    from harness.models.lora import registry

    suite, _, _ = load(options)
    champion = registry.rollback(champion_path(suite), options.to.lower(), options.reason)
    print(f"{suite.subject.name}: {champion.sha256[:16]} is the champion again")
    return 0


def history(options: argparse.Namespace) -> int:
    from harness.models.lora.registry import read_challengers, read_history
    from harness.report.terminal import clean, table

    suite, _, _ = load(options)
    weights = champion_path(suite)
    champions, challengers = read_history(weights), read_challengers(weights)
    if options.json:
        print(json.dumps({"champions": champions, "challengers": challengers}, indent=2, sort_keys=True))
        return 0
    rows = [(item["sha256"][:16], item["promoted"][:10] or "-", clean(item["reason"], 80) or "-") for item in champions]
    print(f"{suite.subject.name}: {len(champions)} champions, the present one last")
    print_lines(table([("hash", "promoted", "why"), *rows]) if rows else [])
    if challengers:
        taken = [
            (item["sha256"][:16], item["origin"]["taken"][:10], clean(item["origin"]["source"], 80))
            for item in challengers
        ]
        print_lines(["challengers from elsewhere", *table([("hash", "taken in", "from"), *taken])])
    return 0


# --- common ---------------------------------------------------------------------------------------------------------


def load(options: argparse.Namespace) -> tuple[Suite, Profile, Settings]:
    from harness.config.profile import load_profile
    from harness.config.suite import load_suite
    from harness.core.settings import Settings

    settings = Settings.load(Path.cwd(), {"profile": options.profile, "store": getattr(options, "store", None)})
    profile = load_profile(settings.profile, settings.root)
    return load_suite(options.suite.resolve(), profile), profile, settings


def champion_path(suite: Suite) -> Path:
    """Where the subject's champion is. Raises UsageError when its suite names no place."""
    if suite.subject.lora is None:
        raise UsageError(f"{suite.path}: the suite names no lora, so its subject has no champion's place")
    return suite.subject.lora.path


def dtype_of(options: argparse.Namespace) -> str | None:
    return None if options.dtype == "keep" else str(options.dtype)


def beside(file: Path, word: str) -> Path:
    return file.with_name(f"{file.stem}.{word}.safetensors")


def print_written(path: Path) -> None:
    print(f"wrote {path.as_posix()}")


def print_lines(lines: Iterable[str] | Sequence[str], start: str = "") -> None:
    for line in lines:
        print(f"{start}{line}")
