"""What a log means, computed by a second implementation: ``docs/operations.md``, written down again.

It shares no code with ``ucore``, so that a mistake there (or one planted there) does not hide itself by
being on both sides of a comparison.  It is slow and short: a change is applied to a copy.
"""

from __future__ import annotations

import copy
import struct
from typing import Any, NamedTuple

import cbor2

MAP, VEC, STACK = "map", "vec", "stack"
_LITERALS = {32: MAP, 33: VEC, 34: STACK}
_DUMPED = {35: MAP, 36: VEC, 37: STACK, 38: MAP, 39: VEC, 40: STACK}
_BY_COLUMNS = 38
_PACKED = {1: (1, "b"), 2: (2, "h"), 4: (4, "i"), 8: (8, "q"), 9: (8, "d")}


class Failure(Exception):
    """The operation fails where it lands; *kind* is the class of what its author is told."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Node:
    """A container."""

    def __init__(self, kind: str, ident: tuple[int, int]) -> None:
        self.kind = kind
        self.ident = ident
        self.items: Any = {} if kind == MAP else []

    def children(self) -> list[Node]:
        values = self.items.values() if self.kind == MAP else self.items
        return [value for value in values if isinstance(value, Node)]


class Folded(NamedTuple):
    """What one change did: a result for each operation, or the *failure* of number *index*."""

    results: list[Any]
    failure: str | None
    changed: bool
    content: Any
    nodes: frozenset[tuple[int, int]]


def plain(value: Any) -> Any:
    """Containers as builtins; a stack is a list from the bottom up."""
    if not isinstance(value, Node):
        return value
    if value.kind == MAP:
        return {key: plain(item) for key, item in value.items.items()}
    return [plain(item) for item in value.items]


class Fold:
    """A structure as the fold of payloads."""

    def __init__(self, kind: str) -> None:
        self.root = Node(kind, (0, 0))

    @classmethod
    def load(cls, dump: bytes, kind: str, position: int) -> Fold:
        """The structure that a snapshot of *position* is of.

        Raises:
            ValueError: it is none, or none of that.
        """
        version, its_position, _, root = cbor2.loads(dump)
        if (version, its_position) != (1, position):
            raise ValueError(f"a dump of version {version}, of position {its_position}")
        fold = cls(kind)
        fold.root = _dumped(root)
        if (fold.root.kind, fold.root.ident) != (kind, (0, 0)):
            raise ValueError(f"the root is a {fold.root.kind} of id {fold.root.ident}")
        return fold

    def nodes(self) -> dict[tuple[int, int], Node]:
        found, left = {}, [self.root]
        while left:
            node = left.pop()
            found[node.ident] = node
            left += node.children()
        return found

    def apply(self, payload: bytes, position: int) -> Folded:
        version, *ops = cbor2.loads(payload)
        assert version == 1
        before = self.root
        content = plain(before)
        self.root = copy.deepcopy(before)
        reader = _Reader(position)
        results: list[Any] = []
        failure = None
        # All literals are numbered before anything is applied.
        read = [(op, reader.arguments(op)) for op in ops]
        try:
            for op, arguments in read:
                results.append(self._run(op, arguments, position))
        except Failure as failed:
            failure, results, self.root = failed.kind, [], before
        after = plain(self.root)
        return Folded(results, failure, after != content, after, frozenset(self.nodes()))

    def _run(self, op: list[Any], arguments: list[Any], position: int) -> Any:
        if op[0] == 0:
            return None
        target = (op[1], op[2])
        if target[1] and not target[0]:
            target = (position, target[1])
        node = self.nodes().get(target)
        if node is None:
            raise Failure("StaleHandleError")
        return _OPERATIONS[op[0]](node.items, *arguments)


def _dumped(form: Any) -> Any:
    """The value that *form* in a dump stands for; containers are written with their ids there."""
    if not isinstance(form, list):
        return form
    code, position, ordinal, *items = form
    node = Node(_DUMPED[code], (position, ordinal))
    is_map = node.kind == MAP
    if code >= _BY_COLUMNS:
        columns = list(map(_column, items))
        (node.items,) = [dict(zip(*columns, strict=True))] if is_map else columns
        return node
    values = list(map(_dumped, items))
    node.items = dict(zip(values[::2], values[1::2], strict=True)) if is_map else values
    return node


def _column(form: Any) -> list[Any]:
    """The natives of a column."""
    if isinstance(form, str):
        return form.split("\0")
    if isinstance(form, bytes):
        size, code = _PACKED[form[0]]
        return [struct.unpack_from(f"<{code}", form, at)[0] for at in range(1, len(form), size)]
    return list(form)


class _Reader:
    """Builds the nodes that a change's literals stand for."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.ordinal = 0

    def arguments(self, op: list[Any]) -> list[Any]:
        return [] if op[0] == 0 else [self.value(item) for item in op[3:]]

    def value(self, form: Any) -> Any:
        if not isinstance(form, list):
            return form
        kind = _LITERALS[form[0]]
        self.ordinal += 1
        node = Node(kind, (self.position, self.ordinal))
        items = [self.value(item) for item in form[1:]]
        node.items = dict(zip(items[::2], items[1::2], strict=True)) if kind == MAP else items
        return node


def _put(items: dict[Any, Any], *flat: Any) -> None:
    items.update(zip(flat[::2], flat[1::2], strict=True))


def _delete(items: dict[Any, Any], key: Any) -> Any:
    if key not in items:
        raise Failure("KeyError")
    return plain(items.pop(key))


def _discard(items: dict[Any, Any], key: Any) -> Any:
    return (True, plain(items.pop(key))) if key in items else (False, None)


def _set_default(items: dict[Any, Any], key: Any, value: Any) -> Any:
    return plain(items.setdefault(key, value))


def _increment(items: dict[Any, Any], key: Any, by: Any) -> Any:
    old = items.get(key, 0)
    if type(old) not in (int, float):
        raise Failure("TypeError")
    items[key] = old + by
    return items[key]


def _discard_many(items: dict[Any, Any], *keys: Any) -> None:
    for key in keys:
        items.pop(key, None)


def _clear(items: Any) -> None:
    items.clear()


def _extend(items: list[Any], *values: Any) -> None:
    items.extend(values)


def _pop(items: list[Any]) -> Any:
    if not items:
        raise Failure("IndexError")
    return plain(items.pop())


def _splice(items: list[Any], start: int, count: int, *values: Any) -> Any:
    if start + count > len(items):
        raise Failure("IndexError")
    old = items[start : start + count]
    items[start : start + count] = values
    return [plain(item) for item in old]


def _stride_set(items: list[Any], start: int, step: int, *values: Any) -> None:
    if start + (len(values) - 1) * step >= len(items):
        raise Failure("IndexError")
    for index, value in enumerate(values):
        items[start + index * step] = value


def _stride_delete(items: list[Any], start: int, step: int, count: int) -> Any:
    if start + (count - 1) * step >= len(items):
        raise Failure("IndexError")
    old = [items[start + index * step] for index in range(count)]
    for index in reversed(range(count)):
        del items[start + index * step]
    return [plain(item) for item in old]


def _reverse(items: list[Any]) -> None:
    items.reverse()


_OPERATIONS: dict[int, Any] = {
    1: _put, 2: _delete, 3: _discard, 5: _set_default, 6: _put, 7: _clear, 8: _increment,
    9: _discard_many, 16: _extend, 17: _extend, 18: _pop, 19: _splice, 20: _stride_set, 21: _stride_delete, 24: _reverse,
}  # fmt: skip
