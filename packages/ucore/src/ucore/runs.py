"""A run: many small changes of one kind to one node, which can be applied in one go.

A log that a replica replays is mostly this: a hundred thousand assignments to one map.  What takes
several calls for each change one by one is done here for all of them in a few passes in C.

Only what comes to exactly the same is a run: every change is one ``PUT``, one ``APPEND`` or one
``INCREMENT`` by an int, all are of the same kind and on the same node, and keys and values are natives.
Such a change makes no node, nobody asks for its result, and only an increment can fail, of what is no
int, which whoever applies the run looks at.  Everything else is read and applied one by one (``ops``,
``Tree.apply``), which is also what names whatever is wrong.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from . import codes
from .base import ABSENT, Effect, Node, NodeId, note
from .primitives import NATIVE_TYPES, QUICK_KEYS, are_natives

_LENGTHS: Final = {codes.PUT: 5, codes.APPEND: 4, codes.INCREMENT: 5}
_INTS: Final = frozenset({int})


class Run(NamedTuple):
    """What the changes of a run say, in their order; *keys* is empty for ``APPEND``."""

    code: int
    target: NodeId
    keys: tuple[Any, ...]
    values: tuple[Any, ...]


def read_run(plains: list[Any]) -> Run | None:
    """The run that these updates (``Update.to_plain``) are, if they are one."""
    if set(map(type, plains)) != {list} or set(map(len, plains)) != {2}:
        return None
    versions, ops = zip(*plains, strict=True)
    if not _is_one(versions) or versions[0] != codes.OPS_VERSION or set(map(type, ops)) != {list}:
        return None
    lengths = set(map(len, ops))
    if len(lengths) != 1 or not lengths <= {4, 5}:
        return None
    numbers, positions, ordinals, *arguments = zip(*ops, strict=True)
    if not (_is_one(numbers) and _is_one(positions) and _is_one(ordinals)):
        return None
    code = numbers[0]
    if {_LENGTHS.get(code)} != lengths:
        return None
    *keys, values = arguments
    kinds = _INTS if code == codes.INCREMENT else NATIVE_TYPES
    if not are_natives(values, kinds) or not all(are_natives(k, QUICK_KEYS) for k in keys):
        return None
    return Run(code, (positions[0], ordinals[0]), keys[0] if keys else (), values)


def effects_of(run: Run, node: Node, raw: Any) -> list[Effect]:
    """What each change of *run* does to *node*, whose content *raw* is before the first."""
    effects: list[Effect] = []
    if run.code == codes.APPEND:
        for index, value in enumerate(run.values, len(raw)):
            note(effects, node, "insert", index, ABSENT, value)
        return effects
    now: dict[object, Any] = {}
    for key, value in zip(run.keys, run.values, strict=True):
        old = now[key] if key in now else dict.get(raw, key, ABSENT)
        if run.code == codes.INCREMENT and old is not ABSENT:
            value = old + value
        now[key] = value
        note(effects, node, "put", key, old, value)
    return effects


def _is_one(column: tuple[Any, ...]) -> bool:
    """Whether it is one and the same int again and again; True is none."""
    return set(map(type, column)) == {int} and column.count(column[0]) == len(column)
