"""Commands whose flags are words with one dash or two, as in programs written in Go: `-exit-node`, `-exit-node=true`.

Click reads `-exit` as the five short flags `-e -x -i -t`; here it is one flag, and an error names it whole.
"""

from __future__ import annotations

import re
from typing import Final

import click

_VALUED: Final = re.compile(r"(--?[a-z][a-z0-9-]*)=(.*)", re.DOTALL)


class Command(click.Command):
    """A command with such flags."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`."""
        words = _with_switches(self, ctx, args)
        try:
            return super().parse_args(ctx, list(words))
        except click.NoSuchOption as error:
            raise _whole(self, error, words, ctx) from None


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`."""
        words = _with_switches(self, ctx, args)
        try:
            return super().parse_args(ctx, list(words))
        except click.NoSuchOption as error:
            raise _whole(self, error, words, ctx) from None


def _with_switches(command: click.Command, ctx: click.Context, words: list[str]) -> list[str]:
    """`-switch=true` as `-switch`, `-switch=false` as `-no-switch`."""
    switches = {
        spelling: option
        for option in command.get_params(ctx)
        if isinstance(option, click.Option) and option.is_bool_flag
        for spelling in option.opts
    }
    written: list[str] = []
    for index, word in enumerate(words):
        if word == "--":
            return written + words[index:]
        found = _VALUED.fullmatch(word)
        option = switches.get(found[1]) if found else None
        if found is None or option is None:
            written.append(word)
        elif click.BOOL.convert(found[2], option, ctx):
            written.append(found[1])
        else:
            written += option.secondary_opts[:1]
    return written


def _whole(
    command: click.Command, error: click.NoSuchOption, words: list[str], ctx: click.Context
) -> click.NoSuchOption:
    known = [spelling for option in command.get_params(ctx) for spelling in (*option.opts, *option.secondary_opts)]
    given = next((word for word in words if word.startswith(error.option_name)), error.option_name).partition("=")[0]
    # Only here, for an agent that runs for months needs no help with its flags.
    from difflib import get_close_matches

    return click.NoSuchOption(given, possibilities=get_close_matches(given, known, 2), ctx=ctx)
