"""The command line in this process: its errors are raised, and words can be parsed without doing what they say."""

from __future__ import annotations

from collections.abc import Sequence

import click

from harness.commands.cli import build_cli


def call(*words: str) -> int:
    """`harness WORDS`; the exit status, or whatever error a person would have read."""
    status: int = build_cli().main(list(words), "harness", standalone_mode=False)
    return status


def parse(words: Sequence[str]) -> click.Context:
    """A subcommand's context with its values as `params`.

    Raises:
        click.UsageError: the words are no command line.
        click.exceptions.Exit: they ask for help.
    """
    command: click.Command = build_cli()
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in command.commands:
            raise click.UsageError(f"no command {name}")
        command = command.commands[name]
    return command.make_context("harness", rest)
