"""The `harness` command: each subcommand is a few lines that call the package."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import __version__
from harness.commands.cache import cache, cache_options
from harness.commands.calibrate import calibrate, calibrate_options
from harness.commands.card import card, card_options
from harness.commands.history import history, history_options
from harness.commands.improve import improve_options, improve_suite
from harness.commands.lint import lint_options
from harness.commands.lora import lora, lora_options
from harness.commands.references import references, references_options
from harness.commands.review import review, review_options
from harness.commands.score import score, score_options
from harness.commands.train import train, train_options
from harness.commands.write import caption, caption_options, story, story_options
from harness.core.errors import HarnessError
from harness.studies.compare import compare, compare_options
from harness.studies.experiment import experiment_command, experiment_options
from harness.studies.sweep import sweep_command, sweep_options

Command = Callable[[argparse.Namespace], int]
MANY_FILES = 5  # written into one folder: its name is enough


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; errors raised on purpose are printed, not traced. The exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["run"]:  # everything behind it is pytest's
        return run(words[1:])
    if words[:1] == ["ci"]:
        return ci_words(words[1:])
    options = build_parser().parse_args(words)
    try:
        command: Command = options.command
        status = command(options)
        sys.stdout.flush()  # here, where a reader that went away can still be told from a fault
        return status
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has seen enough; as Python's manual advises, nothing is left to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("harness: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """All subcommands and their options."""
    parser = argparse.ArgumentParser(prog="harness", description="pytest for LoRA quality.")
    parser.add_argument("--version", action="version", version=f"lora-harness {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, command: Command, summary: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.set_defaults(command=command)
        return sub

    init_options(add("init", init, "write the demo suite here, or a suite for a folder of your pictures"))
    doctor_options(add("doctor", doctor, "say what this machine lacks and how to mend it"))
    commands.add_parser("run", help="run suites: the same as `pytest suites/`, options and all")
    commands.add_parser("ci", help="run suites for a pipeline: JUnit beside the report, one last line of JSON")
    merge_options(add("merge", merge, "unite the results of shards and judge their suites over all cases"))
    calibrate_options(add("calibrate", calibrate, "what a suite's scores tell apart, and thresholds from that"))
    references_options(add("references", references, "check, prepare, split and analyse reference pictures"))
    train_options(add("train", train, "train a suite's LoRA on its reference pictures"))
    improve_options(add("improve", improve_suite, "retrain a failing LoRA, and keep it only if it is proven better"))
    history_options(add("history", history, "the rounds of a suite's retraining, and what they gained"))
    experiment_options(add("experiment", experiment_command, "train a matrix of settings and say which mattered"))
    lora_options(add("lora", lora, "inspect, convert, shrink, merge and take in LoRA files; who is champion"))
    report_options(add("report", report, "make the report again from a results.json"))
    review_options(add("review", review, "look at runs, compare, vote blindly, approve or refuse: in a browser"))
    lint_options(add("lint", lint, "check suites without drawing anything"))
    story_options(add("story", story, "write a suite from an idea, by a text service"))
    caption_options(add("caption", caption, "caption pictures that have no caption yet"))
    score_options(add("score", score, "rate the pictures of a folder"))
    compare_options(add("compare", compare, "hold one LoRA against another, or against itself"))
    sweep_options(add("sweep", sweep_command, "draw several checkpoints at several strengths and show the grid"))
    add("fetch", fetch, "download a profile's weights from the hub").add_argument("profile", metavar="PROFILE")
    cache_options(add("cache", cache, "what the store holds, whether it is sound, and what may go"))
    emulator_options(add("emulator", emulator, "serve the emulated services on this machine"))
    card_options(add("card", card, "test the metrics themselves on drawn people whose truth is known"))
    world_options(add("world", world, "draw the world, train the embedded models, measure them"))
    return parser


# --- run ----------------------------------------------------------------------------------------------------------


def run(arguments: Sequence[str]) -> int:
    """`harness run ...` is `pytest ...`, over suites/ when no path is given."""
    import pytest

    paths = [word for word in arguments if not word.startswith("-") and Path(word.split("::")[0]).exists()]
    return int(pytest.main([*arguments, *([] if paths else ["suites"])]))


def ci_words(arguments: Sequence[str]) -> int:
    """`harness ci ...`: errors raised on purpose are printed, not traced."""
    from harness.commands.ci import ci

    try:
        return ci(arguments)
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return 4


def merge_options(sub: argparse.ArgumentParser) -> None:
    from harness.commands.ci import merge_options

    merge_options(sub)


def merge(options: argparse.Namespace) -> int:
    from harness.commands.ci import merge

    return merge(options)


# --- init ---------------------------------------------------------------------------------------------------------


def init_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("pictures", nargs="?", type=Path, help="a folder of pictures of one subject; none: the demo suite")
    sub.add_argument("--name", help="the subject's name (default: the folder's)")
    sub.add_argument("--trigger", help="the word that stands for the subject in prompts (default: the name)")
    sub.add_argument("--kind", choices=["character", "style"], default="character")
    sub.add_argument("--profile", default="embedded")
    sub.add_argument("--into", type=Path, default=Path(), help="where to write (default: here)")


def init(options: argparse.Namespace) -> int:
    from harness.commands.init import write_demo, write_subject

    if options.pictures is None:
        written = write_demo(options.into)
    else:
        name = options.name or options.pictures.name.replace("_", " ").replace("-", " ")
        written = write_subject(options.into, options.pictures, name, options.trigger or name.lower(), options.kind)
    for line in written_lines(written):
        print(line)
    return 0


def written_lines(written: Sequence[Path]) -> list[str]:
    """A line a file, or a line a folder where it received many."""
    folders: dict[Path, list[Path]] = {}
    for path in written:
        folders.setdefault(path.parent, []).append(path)
    return [
        line
        for folder, paths in folders.items()
        for line in (
            [f"wrote {folder.as_posix()}/ ({len(paths)} files)"]
            if len(paths) > MANY_FILES
            else [f"wrote {path.as_posix()}" for path in paths]
        )
    ]


# --- doctor -------------------------------------------------------------------------------------------------------


def doctor_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--profile", help="default: embedded, or HARNESS_PROFILE")
    sub.add_argument("--providers", action="store_true", help="make the cheapest real call to each remote service")
    sub.add_argument("--paid", action="store_true", help="with --providers: draw one picture where no call is free")


def doctor(options: argparse.Namespace) -> int:
    from harness.commands.doctor import examine, show

    checks = examine(Path.cwd(), options.profile, options.providers, options.paid)
    print(show(checks))
    return 1 if any(check.state == "fail" for check in checks) else 0


# --- report, lint, fetch, emulator --------------------------------------------------------------------------------


def report_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--from",
        dest="results",
        type=Path,
        action="append",
        metavar="RESULTS.JSON",
        help="an earlier run (default: reports/results.json); again for more: shards become one, others stand together",
    )
    sub.add_argument("--store", help="where the pictures are (default: .harness)")
    sub.add_argument("--report-dir", type=Path, help="where to write (default: reports, unless another run is there)")


def report(options: argparse.Namespace) -> int:
    from harness.core.settings import Settings
    from harness.report import rerender
    from harness.store import Store

    settings = Settings.load(Path.cwd(), {"store": options.store})
    results = options.results or [Path("reports/results.json")]
    store = Store(settings.store) if settings.store.is_dir() else None
    folder, keep = options.report_dir or Path("reports"), options.report_dir is None
    page = rerender(results, store, folder, tell=lambda words: print(f"note: {words}", file=sys.stderr), keep=keep)
    print(f"wrote {page}")
    return 0


def lint(options: argparse.Namespace) -> int:
    from harness.commands.lint import lint_suites

    return lint_suites(options)


def fetch(options: argparse.Namespace) -> int:
    from harness.config.profile import load_profile
    from harness.models.hub import fetch_scorers
    from harness.models.loading import fetch_models

    profile = load_profile(options.profile, Path.cwd())
    for folder in [*fetch_models(profile), *fetch_scorers(profile)]:
        print(folder)
    return 0


def emulator_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--port", type=int, default=8899)
    sub.add_argument("--services", default="", metavar="A,B", help="list only these services' addresses and faults")
    sub.add_argument("--faults", default="", metavar="A,B", help="answer the first paid requests with these faults")
    sub.add_argument("--delay", type=float, default=0.0, metavar="SECONDS", help="that each paid call takes")
    sub.add_argument(
        "--scale", type=float, default=1.0, help="of the pictures: 0.125 is an eighth of the size asked for"
    )


def emulator(options: argparse.Namespace) -> int:
    from harness.emulator import serve

    serve(options.port, words(options.faults), options.delay, options.scale, words(options.services))
    return 0


def words(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


# --- world --------------------------------------------------------------------------------------------------------


def world_options(sub: argparse.ArgumentParser) -> None:
    from harness.commands.world import STAGES

    sub.add_argument(
        "stage", choices=list(STAGES), help="; ".join(f"{name}: {stage.summary}" for name, stage in STAGES.items())
    )
    sub.add_argument("--work", type=Path, default=Path(".cache/world"), help="where checkpoints and the bank are kept")
    sub.add_argument("--steps", type=int, help="of a training (default: what the card was made with)")
    sub.add_argument("--count", type=int, help="pictures of the bank (default: 48,000), or of the newcomer (12)")
    sub.add_argument("--into", type=Path, default=Path("pictures"), help="where the newcomer's pictures go")
    sub.add_argument("--seed", type=int, help="of the newcomer: another number is another person")


def world(options: argparse.Namespace) -> int:
    from harness.commands.world import STAGES

    STAGES[options.stage].run(options)
    return 0
