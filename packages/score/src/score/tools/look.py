"""``score ls``, ``get`` and ``tail``: looking at what is on a server."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pprint import pformat
from typing import Any

from score_server.wire.entry import Entry, decode_entry
from ucore import UStack

from ..client import Client, Group
from ..errors import ScoreError
from ..rawlog import RawLog
from .fold import Fold
from .show import table, to_json


class NotThere(ScoreError, LookupError):
    """The group, or what was looked for in it, is not there."""


def groups_in_words(groups: list[Group]) -> list[str]:
    """A line for each group, and one above them."""
    head = ("group", "changes up to", "snapshot of", "its bytes", "log from", "bytes behind it", "")
    rows: list[tuple[object, ...]] = [
        (
            group.name,
            group.position,
            group.snapshot_position,
            group.snapshot_bytes,
            group.floor,
            group.tail_bytes,
            "keeps its history" if group.keep_history else "",
        )
        for group in groups
    ]
    return table(head, rows)


def groups_as_json(groups: list[Group]) -> str:
    return to_json([group._asdict() for group in groups])


def content(client: Client, group: str, progress: Callable[[int, int], None]) -> object:
    """What *group* holds now, as builtins; a stack as a list, its top first.

    Raises:
        NotThere: it holds nothing, and never did.
    """
    fold = Fold(group)
    fold.progress = lambda at: progress(at.done, at.total)
    client.sync(fold)
    if not fold.position:
        raise _no_group(client, group)
    root: Any = fold.tree.root
    return list(root) if isinstance(root, UStack) else root.copy()


def latest(client: Client, group: str, count: int, *, follow: bool) -> Iterator[Entry]:
    """The last *count* changes of *group* that the server still has, the oldest first; *follow*: and
    then those that come, without end.

    Raises:
        NotThere: the group holds nothing, and never did.
    """
    with RawLog(client, group, history=True) as log:
        last: deque[bytes] = deque(maxlen=count)
        for entries in log.entries():
            last.extend(entries)
        if not log.raw.position and not follow:
            raise _no_group(client, group)
        yield from map(decode_entry, last)
        if follow:
            for entries in log.follow():
                yield from map(decode_entry, entries)


def part(value: object, keys: Sequence[str]) -> object:
    """What *keys* lead to in *value*, one level each.

    Raises:
        NotThere: there is nothing; the message says how far they led.
    """
    for depth, text in enumerate(keys):
        found = _step(value, text)
        if found is None:
            way = " ".join(keys[:depth]) or "the group"
            raise NotThere(f"there is no {text!r} in {way}{_what_is_there(value)}")
        (value,) = found
    return value


def _no_group(client: Client, group: str) -> NotThere:
    return NotThere(
        f"there is no group {group!r} on {client.url} (score ls lists those that there are)"
    )


def _step(value: object, text: str) -> tuple[object] | None:
    try:
        key = json.loads(text)
    except ValueError:
        key = text
    if isinstance(value, Mapping):
        for candidate in (key, text):
            if isinstance(candidate, str | int | float | bool | None) and candidate in value:
                return (value[candidate],)
        return None
    if (
        isinstance(value, Sequence)
        and not isinstance(value, str | bytes)
        and type(key) is int
        and -len(value) <= key < len(value)
    ):
        return (value[key],)
    return None


def _what_is_there(value: object) -> str:
    if isinstance(value, Mapping):
        few = ", ".join(repr(key) for key, _ in zip(value, range(5), strict=False))
        return f", which has {len(value):,} keys" + (
            f" ({few}{', ...' if len(value) > 5 else ''})" if few else ""
        )
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return f", a list of {len(value):,}"
    return f", which is {value!r}"


def in_words(value: object) -> str:
    """*value* as Python writes it, over as many lines as it takes."""
    return pformat(value, width=100, sort_dicts=False)
