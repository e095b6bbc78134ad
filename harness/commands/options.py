"""What the subcommands' options share: how they are declared and parsed, and those that many of them take."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

OPTION_LIKE = re.compile(r"-(?!\d|\.\d)\S+")  # not a negative number, a lone dash, or a sentence

Callback = Callable[..., Any]
Decorator = Callable[[Callback], Callback]


class Command(click.Command):
    """A subcommand whose function returns the exit status."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """An option is never taken for another one's value, as in `--store --json`: a value was forgotten there."""
        valued = {name for item in self.params if isinstance(item, Option) and not item.is_flag for name in item.opts}
        for name, value in pairwise(args[: args.index("--") + 1] if "--" in args else args):
            if name in valued and OPTION_LIKE.fullmatch(value):
                raise click.BadOptionUsage(name, f"Option {name!r} requires an argument.", ctx)
        return super().parse_args(ctx, args)


class ForeignCommand(click.Command):
    """A subcommand whose words are all pytest's, `--help` and `--` among them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.params["words"] = tuple(args)
        return []


class Option(click.Option):
    """An option whose value is called as the option is: `--store STORE`."""

    def make_metavar(self, ctx: click.Context) -> str:
        if self.metavar or isinstance(self.type, click.Choice):
            return super().make_metavar(ctx)
        return self.name.upper()


def command(callback: Callback) -> Command:
    """The subcommand that a function with options is; its line of help stands in the table of `commands.cli`."""
    return click.command(cls=Command)(callback)


def option(*names: str, **settings: Any) -> Decorator:
    return click.option(*names, cls=Option, **settings)


def flag(*names: str, help: str) -> Decorator:
    return click.option(*names, cls=Option, is_flag=True, help=help)


def argument(name: str, **settings: Any) -> Decorator:
    return click.argument(name, **settings)


def together(*decorators: Decorator) -> Decorator:
    """Several options as one decorator, in the order of `--help`."""

    def decorate(callback: Callback) -> Callback:
        for each in reversed(decorators):
            callback = each(callback)
        return callback

    return decorate


suite_argument = argument("suite", type=Path)
profile_option = option("--profile", help="default: embedded, or HARNESS_PROFILE")
store_option = option("--store", metavar="DIR", help="default: .harness")
samples_option = option("--samples", type=int, metavar="N", help="seeds per prompt (default: the suite's)")
provider_option = option("--provider", help="who draws (default: the suite's first gate provider)")
drawing_options = together(samples_option, provider_option, profile_option)
