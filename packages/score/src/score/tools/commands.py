"""What each subcommand of ``score`` does; what it says goes to stdout, bars to stderr."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

from ..client import Client, connect
from ..errors import UsageError
from . import backup, compaction, look, show
from .progress import Bar
from .show import to_json

# Folding is all processor time, and nobody waits for it: those who write on the same machine come first.
NICENESS = 10


class Asked(NamedTuple):
    """A subcommand with the client that it works on."""

    client: Client
    options: argparse.Namespace


def run(options: argparse.Namespace) -> int:
    """Do *options*.command; the exit status.

    Raises:
        ScoreError, UCoreError, OSError: it could not be done.
    """
    with _connected(options) as client:
        return _COMMANDS[options.command](Asked(client, options))


def _connected(options: argparse.Namespace) -> Client:
    # A companion is started together with its server, and waits for it.
    wait = options.timeout if getattr(options, "follow", False) else 0
    return connect(options.url, timeout=options.timeout, name=f"score {options.command}", wait=wait)


def _ls(asked: Asked) -> int:
    groups = asked.client.groups()
    if asked.options.json:
        print(look.groups_as_json(groups))
    else:
        print("\n".join(look.groups_in_words(groups)))
    return 0


def _get(asked: Asked) -> int:
    with Bar(f"joining {asked.options.group}") as bar:
        value = look.content(asked.client, asked.options.group, bar)
    found = look.part(value, asked.options.keys)
    print(to_json(found) if asked.options.json else look.in_words(found))
    return 0


def _tail(asked: Asked) -> int:
    options = asked.options
    line = show.entry_json if options.json else show.entry_line
    printed = False
    for entry in look.latest(asked.client, options.group, options.count, follow=options.follow):
        print(line(entry), flush=options.follow)
        printed = True
    if not printed and options.count:
        text = (
            f"score: the log of group {options.group!r} has been trimmed; score get shows its state"
        )
        print(text, file=sys.stderr)
    return 0


def _compact(asked: Asked) -> int:
    group = asked.options.group
    if asked.options.is_program:
        os.nice(NICENESS)
    with asked.client.another() as checker:
        if group is None:
            compaction.follow(asked.client, checker, _say)
        done = compaction.compact(asked.client, checker, group)
    nothing = f"group {group!r} holds nothing that could be compacted, or somebody else is at it"
    _say(nothing if done is None else str(done))
    return 0


def _export(asked: Asked) -> int:
    options = asked.options
    with Bar(f"exporting {options.group}") as bar:
        position = backup.export_group(asked.client, options.group, options.file, bar)
    _say(f"{options.file} holds group {options.group!r} as of change {position:,}")
    return 0


def _import(asked: Asked) -> int:
    options = asked.options
    with Bar(f"reading {options.file}") as bar:
        position = backup.import_group(asked.client, options.file, options.group, bar)
    _say(f"group {options.group!r} begins at change {position:,}")
    return 0


def _delete(asked: Asked) -> int:
    group = asked.options.group
    if not asked.options.yes:
        if not sys.stdin.isatty():
            raise UsageError("say --yes to delete a group for good where nobody can be asked")
        if input(f"Delete group {group!r} on {asked.client.url} for good? [y/N] ").lower() != "y":
            return 1
    if not asked.client.delete(group):
        raise look.NotThere(f"there is no group {group!r} on {asked.client.url}")
    _say(f"group {group!r} is deleted")
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


_COMMANDS: dict[str, Callable[[Asked], int]] = {
    "ls": _ls,
    "get": _get,
    "tail": _tail,
    "compact": _compact,
    "export": _export,
    "import": _import,
    "delete": _delete,
}
