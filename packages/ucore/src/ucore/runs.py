"""A run: many small changes of one kind to one node, which can be applied in one go.

A log that a replica replays is mostly this: a hundred thousand assignments to one map.  What takes
several calls for each change one by one is done here for all of them in a few passes in C.

Only what comes to exactly the same is a run: every change is one ``PUT``, one ``APPEND`` or one
``INCREMENT`` by an int, all are of the same kind and on the same node, and keys and values are natives.
Such a change makes no node, nobody asks for its result, and only an increment can fail, of what is no
int, which whoever applies the run looks at.  Everything else is read and applied one by one (``ops``,
``Tree.apply``), which is also what names whatever is wrong.

Whoever has the changes' bytes brings them here by columns: what they have in common is compared as bytes
(``RUN_FORMS`` says what that is), and neither lists nor numbers are made of it for each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple

from . import codes
from .base import ABSENT, Effect, Node, NodeId
from .primitives import NATIVE_TYPES, QUICK_KEYS, are_natives

RUN_FORMS: Final = {codes.PUT: 5, codes.APPEND: 4, codes.INCREMENT: 5}
"""The operations that a run can be made of, and how many items each has: its code, two that name its node, and
then a key and a value, or a value alone."""

_INTS: Final = frozenset({int})
_get = dict.get


class Run(NamedTuple):
    """What the changes of a run say, in their order; *keys* is empty for ``APPEND``."""

    code: int
    target: NodeId
    keys: Sequence[Any]
    values: Sequence[Any]


class Told(NamedTuple):
    """What each change of a run does, by columns: together what as many ``Effect``s would say.

    *olds* may go on for ever, where nothing was before.
    """

    node: Node
    kind: str
    keys: Collection[object]
    olds: Any
    news: Collection[object]

    def effects(self) -> list[Effect]:
        """One for each change."""
        node, kind, keys, olds, news = self
        rows = zip(repeat(node), repeat(kind), keys, olds, news, strict=False)
        return list(map(tuple.__new__, repeat(Effect), rows))


def run_of(code: int, target: NodeId, columns: Sequence[Sequence[Any]]) -> Run | None:
    """The run of changes by *code*, one of ``RUN_FORMS``, with these keys and values, or values alone.

    None if it is none: one of them is no native, or none that such an operation takes.
    """
    *keys, values = columns
    kinds = _INTS if code == codes.INCREMENT else NATIVE_TYPES
    if not are_natives(values, kinds) or not all(are_natives(k, QUICK_KEYS) for k in keys):
        return None
    return Run(code, target, keys[0] if keys else (), values)


def told_of(run: Run, node: Node, raw: Any) -> Told:
    """What each change of *run* does to *node*, whose content *raw* is before the first."""
    keys, values = run.keys, run.values
    if run.code == codes.APPEND:
        places = range(len(raw), len(raw) + len(values))
        return Told(node, "insert", places, repeat(ABSENT), values)
    # What stands under each of the keys, as the run goes on.
    now = dict(zip(keys, map(_get, repeat(raw), keys, repeat(ABSENT)), strict=False))
    if run.code == codes.INCREMENT:
        olds: list[Any] = []
        news: list[Any] = []
        for key, by in zip(keys, values, strict=True):
            old: Any = now[key]
            olds.append(old)
            now[key] = by if old is ABSENT else old + by
            news.append(now[key])
        return Told(node, "put", keys, olds, news)
    # Each is looked up before the next value takes its place: zip takes from both in turn.
    turns = zip(map(now.__getitem__, keys), map(now.__setitem__, keys, values), strict=True)
    return Told(node, "put", keys, [old for old, _ in turns], values)
