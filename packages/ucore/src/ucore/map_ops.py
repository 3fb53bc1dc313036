"""How the operations on maps apply and how they are inverted.

Each function changes one node and is atomic: what can fail is looked at before anything is
changed.  ``change.undo``, when there is one, gets the plain operations that take it back.  The
builtin's own methods are called on the node (``dict.pop(node, key)``), past the overrides.
Its arguments come as the one tuple that they were read into: handing each over takes longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, cast

from . import codes
from .base import ABSENT, Effect, Node, note
from .change import Change, Failed, Literal, builtin, snapshot, stored_key
from .primitives import encode_key
from .registry import short

Raw = dict[object, object]
_get = dict.get
_set = dict.__setitem__
_has = dict.__contains__


def _undo_put(change: Change, node: Node, key: object, old: object) -> None:
    """Record what takes back that *key* gets another value than *old*."""
    assert change.undo is not None
    if old is ABSENT:
        change.undo.append([codes.DISCARD, *node._id, encode_key(key)])
    else:
        change.undo.append([codes.PUT, *node._id, encode_key(key), snapshot(old)])


def _replace(
    change: Change, node: Node, raw: Raw, key: object, value: object, old: object
) -> object:
    """Put *value* (a literal becomes a node) in *old*'s place; returns what is stored."""
    if type(value) is not Literal and not isinstance(old, Node):
        _set(raw, key, value)
        if change.effects is not None:
            note(change.effects, node, "put", key, old, value)
        return value
    was = builtin(old) if change.effects is not None else None
    if isinstance(old, Node):
        change.detach(old)
    if type(value) is Literal:
        value = change.build(value, node)
    _set(raw, key, value)
    if change.effects is not None:
        change.effects.append(Effect(node, "put", key, was, builtin(value)))
    return value


def put(change: Change, node: Node, raw: Raw, arguments: tuple[object, object]) -> None:
    key, value = arguments
    old = _get(raw, key, ABSENT)
    if change.plain and type(value) is not Literal and not isinstance(old, Node):
        _set(raw, key, value)  # what _replace comes to: a log is mostly this
        return
    if change.undo is not None:
        _undo_put(change, node, key, old)
    _replace(change, node, raw, key, value, old)


def set_default(change: Change, node: Node, raw: Raw, arguments: tuple[object, object]) -> object:
    """Result: what is stored under the key afterwards, live."""
    key, value = arguments
    old = _get(raw, key, ABSENT)
    if old is not ABSENT:
        return old
    if change.undo is not None:
        _undo_put(change, node, key, ABSENT)
    return _replace(change, node, raw, key, value, ABSENT)


def has_node(raw: Raw, keys: Iterable[object]) -> bool:
    """Whether a container stands under one of these *keys*."""
    kinds = set(map(type, map(_get, repeat(raw), keys)))
    return any(issubclass(kind, Node) for kind in kinds)


def put_many(change: Change, node: Node, raw: Raw, arguments: tuple[Raw, bool]) -> None:
    content, nested = arguments
    if change.plain and (len(change.tree.nodes) == 1 or not has_node(raw, content)):
        # No node goes, and nobody wants to hear of each.
        dict.update(raw, content)
        if nested:
            for key, value in content.items():
                if type(value) is Literal:
                    _set(raw, key, change.build(value, node))
        return
    if change.undo is not None:
        _undo_put_many(change, node, raw, content)
    for key, value in content.items():
        _replace(change, node, raw, key, value, _get(raw, key, ABSENT))


def _undo_put_many(change: Change, node: Node, raw: Raw, content: Raw) -> None:
    assert change.undo is not None
    added: list[object] = []
    replaced: list[object] = []
    for key in content:
        old = _get(raw, key, ABSENT)
        if old is ABSENT:
            added.append(encode_key(key))
        else:
            replaced += (encode_key(key), snapshot(old))
    if added:
        change.undo.append([codes.DISCARD_MANY, *node._id, *added])
    if replaced:
        change.undo.append([codes.PUT_MANY, *node._id, *replaced])


def _remove(change: Change, node: Node, raw: Raw, key: object) -> object:
    """Take *key*, which is there, out; returns its value as a plain builtin."""
    if change.undo is not None:
        _undo_put(change, node, stored_key(raw, key), _get(raw, key))
    old = dict.pop(raw, key)
    if isinstance(old, Node):
        change.detach(old)
        old = builtin(old)
    if change.effects is not None:
        change.effects.append(Effect(node, "delete", key, builtin(old), ABSENT))
    return old


def delete(change: Change, node: Node, raw: Raw, arguments: tuple[object]) -> object:
    """Result: the removed value.  KeyError when there is none."""
    (key,) = arguments
    if not _has(raw, key):
        raise Failed(KeyError(key))
    return _remove(change, node, raw, key)


def discard(change: Change, node: Node, raw: Raw, arguments: tuple[object]) -> tuple[bool, object]:
    """Result: (was it there, the removed value or None)."""
    (key,) = arguments
    if not _has(raw, key):
        return False, None
    return True, _remove(change, node, raw, key)


def discard_many(change: Change, node: Node, raw: Raw, keys: tuple[object, ...]) -> None:
    for key in keys:
        if _has(raw, key):
            _remove(change, node, raw, key)


def pop_item(change: Change, node: Node, raw: Raw, _: tuple[()]) -> tuple[object, object]:
    """Result: the last (key, value).  KeyError when the map is empty."""
    key = next(dict.__reversed__(raw), ABSENT)
    if key is ABSENT:
        raise Failed(KeyError("popitem(): dictionary is empty"))
    return key, _remove(change, node, raw, key)


def clear(change: Change, node: Node, raw: Raw, _: tuple[()]) -> None:
    if change.undo is not None and node._count:
        content: list[object] = []
        for key, value in dict.items(raw):
            content += (encode_key(key), snapshot(value))
        change.undo.append([codes.PUT_MANY, *node._id, *content])
    if change.effects is not None:
        change.effects += [
            Effect(node, "delete", key, builtin(value), ABSENT) for key, value in dict.items(raw)
        ]
    for value in dict.values(raw):
        if isinstance(value, Node):
            change.detach(value)
    dict.clear(raw)


def incremented(key: object, old: object, by: int | float) -> int | float:
    """*old*, which stands at *key*, plus *by*.  Raises TypeError or OverflowError."""
    base = 0 if old is ABSENT else old
    if type(base) not in (int, float):
        # Not repr: that of a large int or of a user's own type may raise, on every replica.
        raise TypeError(f"increment needs an int or a float, {short(key)} holds {short(base)}")
    return cast("int | float", base) + by


def incremented_by_all(
    raw: Raw, keys: Sequence[object], amounts: Sequence[int]
) -> dict[object, object] | None:
    """What stands under *keys* after one ``increment`` of each, in turn; None unless all are ints."""
    if keys.count(keys[0]) == len(keys):  # a counter
        keys, amounts = keys[:1], (sum(amounts),)
    sums: dict[object, int] = {}
    for key, amount in zip(keys, amounts, strict=True):
        sums[key] = sums.get(key, 0) + amount
    new: dict[object, object] = {}
    for key, amount in sums.items():
        old = _get(raw, key, 0)
        if type(old) is not int:
            return None
        new[key] = old + amount
    return new


def increment(
    change: Change, node: Node, raw: Raw, arguments: tuple[object, int | float]
) -> object:
    """Result: the new value; a missing key counts from 0."""
    key, by = arguments
    old: Any = _get(raw, key, ABSENT)
    if type(old) is type(by) is int:
        new: int | float = old + by  # nearly always, and cannot fail
    else:
        try:
            new = incremented(key, old, by)
        except (TypeError, OverflowError) as error:
            raise Failed(error.with_traceback(None)) from None
    if change.undo is not None:
        _undo_put(change, node, key, old)
    _set(raw, key, new)
    if change.effects is not None:
        note(change.effects, node, "put", key, old, new)
    return new
