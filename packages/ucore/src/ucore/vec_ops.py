"""How the operations on vecs and stacks apply and how they are inverted.

The same rules as in ``map_ops``: atomic, inverted by plain operations in ``change.undo``.  *raw*
is the list that holds the elements: the vec itself, or a stack's items from bottom to top.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import codes
from .base import ABSENT, Effect, Node, note
from .change import Change, Failed, Literal, builtin, snapshot

Raw = list[object]
_get: Any = list.__getitem__


def _built(change: Change, node: Node, values: Sequence[object]) -> list[object]:
    return [change.build(v, node) if type(v) is Literal else v for v in values]


def _detach_all(change: Change, values: list[object]) -> None:
    for value in values:
        if isinstance(value, Node):
            change.detach(value)


def _note_inserted(change: Change, node: Node, start: int, values: list[object]) -> None:
    if change.effects is not None:
        for index, value in enumerate(values, start):
            change.effects.append(Effect(node, "insert", index, ABSENT, builtin(value)))


def _note_removed(change: Change, node: Node, indices: list[int], values: list[object]) -> None:
    """*indices* are those at the moment of each removal."""
    if change.effects is not None:
        for index, value in zip(indices, values, strict=True):
            change.effects.append(Effect(node, "remove", index, builtin(value), ABSENT))


def append(change: Change, node: Node, raw: Raw, arguments: tuple[object]) -> None:
    (value,) = arguments
    if change.undo is not None:
        change.undo.append([codes.POP, *node._id])
    if type(value) is Literal:
        value = change.build(value, node)
    list.append(raw, value)
    if change.effects is not None:
        note(change.effects, node, "insert", len(raw) - 1, ABSENT, builtin(value))


def extend(change: Change, node: Node, raw: Raw, values: tuple[object, ...]) -> None:
    start = len(raw)
    if change.undo is not None:
        change.undo.append([codes.SPLICE, *node._id, start, len(values)])
    built = _built(change, node, values)
    list.extend(raw, built)
    _note_inserted(change, node, start, built)


def pop(change: Change, node: Node, raw: Raw, _: tuple[()]) -> object:
    """Result: the last element, or the top.  IndexError when there is none."""
    if not len(raw):
        raise Failed(IndexError(f"pop from empty {'stack' if node._kind_ == 'stack' else 'list'}"))
    value = list.pop(raw)
    if change.undo is not None:
        change.undo.append([codes.APPEND, *node._id, snapshot(value)])
    if isinstance(value, Node):
        change.detach(value)
        value = builtin(value)
    _note_removed(change, node, [len(raw)], [value])
    return value


def splice(change: Change, node: Node, raw: Raw, arguments: tuple[Any, ...]) -> object:
    """Start, count, values.  Result: the removed elements.  IndexError when they are not all there."""
    start, count, *values = arguments
    end = start + count
    if end > len(raw):
        raise Failed(IndexError(f"no elements {start} to {end} in a list of {len(raw)}"))
    old = _get(raw, slice(start, end))
    if change.undo is not None:
        change.undo.append([codes.SPLICE, *node._id, start, len(values), *map(snapshot, old)])
    _detach_all(change, old)
    new = _built(change, node, values)
    list.__setitem__(raw, slice(start, end), new)
    if change.effects is not None:
        _note_splice(change, node, start, old, new)
    return [builtin(value) for value in old]


def _note_splice(change: Change, node: Node, start: int, old: Raw, new: Raw) -> None:
    """The elements both sides have are set; the rest of the longer side comes or goes."""
    assert change.effects is not None
    common = min(len(old), len(new))
    for index in range(common):
        effect = Effect(node, "set", start + index, builtin(old[index]), builtin(new[index]))
        change.effects.append(effect)
    rest = start + common
    _note_removed(change, node, [rest] * (len(old) - common), old[common:])
    _note_inserted(change, node, rest, new[common:])


def _stride(raw: Raw, start: int, step: int, count: int) -> slice:
    """The slice of *count* elements from *start* on; IndexError when they are not all there."""
    last = start + (count - 1) * step
    if last >= len(raw):
        raise Failed(IndexError(f"no element {last} in a list of {len(raw)}"))
    return slice(start, last + 1, step)


def stride_set(change: Change, node: Node, raw: Raw, arguments: tuple[Any, ...]) -> None:
    """Start, step, values."""
    start, step, *values = arguments
    where = _stride(raw, start, step, len(values))
    old = _get(raw, where)
    if change.undo is not None:
        change.undo.append([codes.STRIDE_SET, *node._id, start, step, *map(snapshot, old)])
    _detach_all(change, old)
    new = _built(change, node, values)
    list.__setitem__(raw, where, new)
    if change.effects is not None:
        change.effects += [
            Effect(node, "set", start + i * step, builtin(was), builtin(now))
            for i, (was, now) in enumerate(zip(old, new, strict=True))
        ]


def stride_delete(change: Change, node: Node, raw: Raw, arguments: tuple[int, int, int]) -> object:
    """Start, step, count.  Result: the removed elements."""
    start, step, count = arguments
    where = _stride(raw, start, step, count)
    old = _get(raw, where)
    if change.undo is not None:
        change.undo.append([codes.STRIDE_INSERT, *node._id, start, step, *map(snapshot, old)])
    list.__delitem__(raw, where)
    _detach_all(change, old)
    # One has gone before each: what stood at start + i * step stands i places lower.
    _note_removed(change, node, [start + i * (step - 1) for i in range(count)], old)
    return [builtin(value) for value in old]


def stride_insert(change: Change, node: Node, raw: Raw, arguments: tuple[Any, ...]) -> None:
    """Start, step, values: these stand at start, start + step, ... then; the others keep their order."""
    start, step, *values = arguments
    count = len(values)
    last = start + (count - 1) * step
    if last >= len(raw) + count:
        raise Failed(IndexError(f"no place {last} in a list of {len(raw)} and {count} more"))
    if change.undo is not None:
        change.undo.append([codes.STRIDE_DELETE, *node._id, start, step, count])
    new = _built(change, node, values)
    tail = _get(raw, slice(start, None))
    mixed: list[object] = []
    for i, value in enumerate(new):
        mixed.append(value)
        mixed += tail[i * (step - 1) : (i + 1) * (step - 1)]
    mixed += tail[count * (step - 1) :]
    list.__setitem__(raw, slice(start, None), mixed)
    if change.effects is not None:
        for i, value in enumerate(new):
            _note_inserted(change, node, start + i * step, [value])


def permute(change: Change, node: Node, raw: Raw, order: tuple[int, ...]) -> None:
    """Element j becomes what was element order[j].  IndexError when the length is another."""
    if len(order) != len(raw):
        raise Failed(IndexError(f"an order of {len(order)} for a list of {len(raw)}"))
    if change.undo is not None:
        inverse = [0] * len(order)
        for new, was in enumerate(order):
            inverse[was] = new
        change.undo.append([codes.PERMUTE, *node._id, *inverse])
    old = list.copy(raw)
    list.__setitem__(raw, slice(None), [old[i] for i in order])
    _note_reorder(change, node)


def reverse(change: Change, node: Node, raw: Raw, _: tuple[()]) -> None:
    if change.undo is not None:
        change.undo.append([codes.REVERSE, *node._id])
    list.reverse(raw)
    _note_reorder(change, node)


def _note_reorder(change: Change, node: Node) -> None:
    if change.effects is not None:
        change.effects.append(Effect(node, "reorder", 0, None, None))


def clear(change: Change, node: Node, raw: Raw, _: tuple[()]) -> None:
    old = list.copy(raw)
    if change.undo is not None and old:
        change.undo.append([codes.EXTEND, *node._id, *map(snapshot, old)])
    _note_removed(change, node, list(reversed(range(len(old)))), old[::-1])
    _detach_all(change, old)
    list.clear(raw)
