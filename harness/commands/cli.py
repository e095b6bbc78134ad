"""The `harness` command: one table of subcommands, each loaded when it is called."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

import click

from harness import __version__
from harness.core.errors import HarnessError
from harness.core.signals import INTERRUPTED, TERMINATED, interruptible
from harness.core.streams import drop_buffer, spell_out

COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": ("init:init", "write the demo suite here, or a suite for a folder of your pictures"),
    "doctor": ("doctor:doctor", "say what this machine lacks and how to mend it"),
    "run": ("run:run", "run suites: the same as `pytest suites/`, options and all"),
    "ci": ("ci:ci", "run suites for a pipeline: JUnit beside the report, one last line of JSON"),
    "merge": ("merge:merge", "unite the results of shards and judge their suites over all cases"),
    "calibrate": ("calibrate:calibrate", "what a suite's scores tell apart, and thresholds from that"),
    "references": ("", "check, prepare, split and analyse reference pictures"),
    "references check": (
        "references.check:check",
        "say what is wrong with the pictures; exit status 1 when it is serious",
    ),
    "references prepare": (
        "references.prepare:prepare",
        "crop, pad and resize into another folder; originals stay as they are",
    ),
    "references split": ("references.split:split", "divide into train/ and held_out/ so that no copy straddles"),
    "references analyse": ("references.analyse:analyse", "read the traits and write a training prompt"),
    "train": ("train:train", "train a suite's LoRA on its reference pictures"),
    "improve": ("improve:improve", "retrain a failing LoRA, and keep it only if it is proven better"),
    "history": ("history:history", "the rounds of a suite's retraining, and what they gained"),
    "experiment": ("experiment:experiment", "train a matrix of settings and say which mattered"),
    "lora": ("", "inspect, convert, shrink, merge and take in LoRA files; who is champion"),
    "lora inspect": ("lora.inspect:inspect", "say what a file holds, and what is wrong with it"),
    "lora export": ("lora.export:export", "write a LoRA for diffusers, or for A1111, ComfyUI and kohya's tools"),
    "lora import": ("lora.take_in:take_in", "take in a LoRA made elsewhere, as a challenger"),
    "lora resize": ("lora.resize:resize", "bring a LoRA to a smaller rank, and say what that cost"),
    "lora merge": ("lora.merge:merge", "put several LoRAs with their strengths into one file"),
    "lora promote": (
        "lora.promote:promote",
        "make a LoRA the champion by hand; the one before goes to the history",
    ),
    "lora rollback": ("lora.rollback:rollback", "put a former champion back"),
    "lora history": ("lora.history:history", "list a subject's champions, and the challengers that were taken in"),
    "report": ("report:report", "make the report again from a results.json"),
    "review": ("review:review", "look at runs, compare, vote blindly, approve or refuse: in a browser"),
    "lint": ("lint:lint", "check suites without drawing anything"),
    "story": ("story:story", "write a suite from an idea, by a text service"),
    "caption": ("caption:caption", "caption pictures that have no caption yet"),
    "score": ("score:score", "rate the pictures of a folder"),
    "compare": ("compare:compare", "hold one LoRA against another, or against itself"),
    "sweep": ("sweep:sweep", "draw several checkpoints at several strengths and show the grid"),
    "fetch": ("fetch:fetch", "download a profile's weights from the hub"),
    "cache": ("", "what the store holds, whether it is sound, and what may go"),
    "cache ls": ("cache.ls:ls", "what the store holds: sizes by kind, ages, what is pinned"),
    "cache verify": ("cache.verify:verify", "hash everything again; exit 1 when something is damaged or lost"),
    "cache gc": (
        "cache.gc:gc",
        "remove pictures that were not used for long; those of baselines, champions and votes stay",
    ),
    "emulator": ("emulator:emulator", "serve the emulated services on this machine"),
    "domain": ("domain:domain", "summarise the pictures that a profile's models know, so that others are told"),
    "card": ("card:card", "test the metrics themselves on drawn people whose truth is known"),
    "world": ("world:world", "draw the world, train the embedded models, measure them"),
}
"""Every subcommand: module (of this package) and function, none for a group of others; then its line of help."""
SETTINGS = {"help_option_names": ["-h", "--help"]}


class Deferred(click.Command):
    """A line of the table: known by its help, loaded when it is called."""

    def __init__(self, name: str, home: str, summary: str) -> None:
        super().__init__(name, help=summary, short_help=summary)
        self.home = home

    def load(self) -> click.Command:
        """The subcommand itself, with the table's line of help."""
        module, _, function = self.home.partition(":")
        loaded: click.Command = getattr(import_module(f"harness.commands.{module}"), function)
        loaded.help = self.help
        loaded.context_settings = SETTINGS  # a command keeps the help option of whoever called it first
        return loaded

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        return self.load().make_context(info_name, args, parent, **extra)


class Commands(click.Group):
    """A group that lists its commands as the table does."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def build_cli() -> Commands:
    """The command line, nothing of it loaded yet."""
    cli = Commands("harness", help="pytest for LoRA quality.", context_settings=SETTINGS)
    for words, (home, summary) in COMMANDS.items():
        *above, name = words.split()
        group = cli.commands[above[0]] if above else cli
        assert isinstance(group, click.Group)
        group.add_command(Deferred(name, home, summary) if home else Commands(name, help=summary, short_help=summary))
    return click.version_option(__version__, message=f"lora-harness {__version__}")(cli)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; errors raised on purpose are printed, not traced. The exit status."""
    cli = build_cli()
    spell_out(sys.stdout, sys.stderr)
    try:
        with (
            interruptible(),
            cli.make_context("harness", list(sys.argv[1:] if arguments is None else arguments)) as context,
        ):
            status: int = cli.invoke(context)
        sys.stdout.flush()  # here, where a reader that went away can still be told from a fault
        return status
    except click.exceptions.Exit as end:  # --help and --version
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has seen enough
        drop_buffer(sys.stdout)
        return 1
    except KeyboardInterrupt as stop:
        print("harness: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return INTERRUPTED if stop.args != ("SIGTERM",) else TERMINATED
