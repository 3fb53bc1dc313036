"""The table of operations, and the reader that checks an update's text against it.

An operation is ``[code, pos, ord, *arguments]``.  ``read`` turns a whole list of them into
steps, with every value decoded, or raises and nothing has happened: an update from elsewhere is
looked at completely before it is applied.  Ordinals of new containers are counted here, over the
text: from 1, in the order in which literals stand there, outer before inner, used or not.

Adding an operation: its number in ``codes.py``, how it applies and is inverted in ``map_ops.py``
or ``vec_ops.py``, a row in ``OPERATIONS``, the mutator, the recorder, ``docs/operations.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from . import codes, map_ops, vec_ops
from .base import ROOT_ID, NodeId
from .change import Change, Failed, Literal
from .errors import MalformedUpdateError, SkeletonError
from .primitives import (
    DEPTH_MAX,
    INT_MAX,
    INT_MIN,
    QUICK_KEYS,
    Plain,
    are_natives,
    decode,
    decode_key,
)
from .registry import short
from .types import decode_skeleton, merge_skeletons

KINDS: Final = {
    codes.MAP_LITERAL: "map",
    codes.VEC_LITERAL: "vec",
    codes.STACK_LITERAL: "stack",
    codes.MAP_NODE: "map",
    codes.VEC_NODE: "vec",
    codes.STACK_NODE: "stack",
}
_QUICK: Final = frozenset({float, bool, bytes, type(None)})


Step = tuple[
    Callable[..., object],  # how it applies
    tuple[str, ...],  # the kinds of nodes that it applies to
    NodeId,  # its node; (0, n) with n > 0 is one that this very update makes
    tuple[Any, ...],  # its arguments, decoded
    tuple[NodeId, ...],  # ids that its text gives to nodes
    int,  # levels of containers that it brings
]
"""One operation, ready to run; a bare tuple, because one is made for every operation of a log."""


class Reader:
    """Reads plain forms; raises ``MalformedUpdateError`` or ``UnknownTypeError``, nothing else."""

    # Attributes of the class until a literal comes: one reader is made for every update of a log.
    ordinal = 0
    ids: list[NodeId] | None = None
    depth = 0

    def value(self, plain: Any, level: int = 1) -> object:
        """A native as it is, a leaf decoded, a container as a ``Literal``."""
        kind = type(plain)
        # What decode would say, without the calls: a log is mostly these.
        if kind is str:
            if plain.isascii():
                return plain
        elif kind is int:
            if INT_MIN <= plain <= INT_MAX:
                return plain
        elif kind in _QUICK:
            return plain
        elif kind is list and plain and type(plain[0]) is int and plain[0] in KINDS:
            return self._literal(plain, level)
        return decode(plain)

    def values(self, plains: list[object], level: int = 1) -> list[object]:
        """``value`` of each; perhaps *plains* itself."""
        if are_natives(plains):
            return plains
        value = self.value
        return [value(plain, level) for plain in plains]

    def pairs(self, flat: list[object], level: int = 1) -> dict[object, object]:
        """``k, v, k, v`` as a dict; a key that occurs twice is malformed."""
        if len(flat) % 2:
            raise MalformedUpdateError("a map's content must be keys and values in turn")
        keys: list[Any] = flat[::2]
        if not are_natives(keys, QUICK_KEYS):
            keys = list(map(decode_key, keys))
        content: dict[object, object] = dict(zip(keys, self.values(flat[1::2], level), strict=True))
        if len(content) != len(keys):
            raise MalformedUpdateError("a key occurs twice")
        return content

    def _literal(self, form: list[Any], level: int) -> Literal:
        if level > DEPTH_MAX:
            raise MalformedUpdateError(f"containers nested more than {DEPTH_MAX} deep")
        code = form[0]
        if code < codes.MAP_NODE:
            self.ordinal += 1
            literal = Literal(KINDS[code], self.ordinal)
            items = form[1:]
        else:
            literal = Literal(KINDS[code], node_id(form))
            if self.ids is None:
                self.ids = []
            self.ids.append(cast("NodeId", literal.ident))
            items = form[3:]
        if level > self.depth:
            self.depth = level
        if literal.kind == "map":
            literal.content = self.pairs(items, level + 1)
            literal.nested = Literal in set(map(type, literal.content.values()))
        else:
            literal.content = self.values(items, level + 1)
            literal.nested = Literal in set(map(type, literal.content))
        return literal


def node_id(form: list[Any]) -> NodeId:
    """The id at places 1 and 2 of *form*."""
    if len(form) >= 3:
        position, ordinal = form[1], form[2]
        # is_count, written out: this is read once for every operation of a log.
        if (
            type(position) is int
            and type(ordinal) is int
            and 0 <= position <= INT_MAX
            and 0 <= ordinal <= INT_MAX
        ):
            return (position, ordinal)
    raise MalformedUpdateError(f"no node id in {short(form)}")


def is_count(plain: object) -> bool:
    """Whether it is an int from 0 up that fits in 64 bits."""
    return type(plain) is int and 0 <= plain <= INT_MAX


# ---------------------------------------------------------------- arguments
#
# Each reads an operation's arguments, which begin at place 3, behind code and node id.

Arguments = tuple[Any, ...]


def _nothing(_: Reader, _op: list[Any]) -> Arguments:
    return ()


def _key(_: Reader, op: list[Any]) -> Arguments:
    return (decode_key(op[3]),)


def _key_value(reader: Reader, op: list[Any]) -> Arguments:
    _, _, _, key, value = op
    if type(key) is not str or not key.isascii():
        key = decode_key(key)
    if type(value) is not int or not INT_MIN <= value <= INT_MAX:
        value = reader.value(value)
    return (key, value)


def _key_number(_: Reader, op: list[Any]) -> Arguments:
    by = decode(op[4])
    if type(by) not in (int, float):
        raise MalformedUpdateError(f"an increment by {short(by)}")
    return (decode_key(op[3]), by)


def _content(reader: Reader, op: list[Any]) -> Arguments:
    content = reader.pairs(op[3:])
    return (content, reader.depth > 0)


def _keys(_: Reader, op: list[Any]) -> Arguments:
    return tuple(map(decode_key, op[3:]))


def _value(reader: Reader, op: list[Any]) -> Arguments:
    return (reader.value(op[3]),)


def _values(reader: Reader, op: list[Any]) -> Arguments:
    return tuple(reader.values(op[3:]))


def _splice(reader: Reader, op: list[Any]) -> Arguments:
    if len(op) < 5 or not (is_count(op[3]) and is_count(op[4])):
        raise MalformedUpdateError("a splice needs a start and a count")
    return (op[3], op[4], *reader.values(op[5:]))


def _stride(reader: Reader, op: list[Any]) -> Arguments:
    if len(op) < 6 or not (is_count(op[3]) and is_count(op[4])) or op[4] < 1:
        raise MalformedUpdateError("a stride needs a start, a step of 1 or more, and elements")
    return (op[3], op[4], *reader.values(op[5:]))


def _stride_count(_: Reader, op: list[Any]) -> Arguments:
    if not all(map(is_count, op[3:])) or op[4] < 1 or op[5] < 1:
        raise MalformedUpdateError("a stride needs a start, a step and a count of 1 or more")
    return tuple(op[3:])


def _order(_: Reader, op: list[Any]) -> Arguments:
    order = op[3:]
    if not all(map(is_count, order)) or sorted(order) != list(range(len(order))):
        raise MalformedUpdateError("an order must name each index once")
    return tuple(order)


def _skeleton(_: Reader, op: list[Any]) -> Arguments:
    return (decode_skeleton(op[1]),)


# ---------------------------------------------------------------- the table


def _declare(change: Change, _node: object, _raw: object, arguments: tuple[Plain]) -> None:
    (skeleton,) = arguments
    tree = change.tree
    try:
        tree.skeleton = merge_skeletons(tree.skeleton, skeleton)
    except SkeletonError as error:
        raise Failed(error) from None


def _clear(change: Change, node: Any, raw: Any, _: tuple[()]) -> None:
    if isinstance(raw, dict):
        map_ops.clear(change, node, raw, ())
    else:
        vec_ops.clear(change, node, raw, ())


class Operation(NamedTuple):
    """One row: what it is for, how long its text is (None: any), how it is read and applied."""

    name: str
    kinds: tuple[str, ...]
    length: int | None
    read: Callable[[Reader, list[Any]], Arguments]
    run: Callable[..., object]


_ANY = ("map", "vec", "stack")
_MAP = ("map",)
_VEC = ("vec",)
_LISTS = ("vec", "stack")

OPERATIONS: Final[dict[int, Operation]] = {
    codes.DECLARE: Operation("DECLARE", _ANY, 2, _skeleton, _declare),
    codes.PUT: Operation("PUT", _MAP, 5, _key_value, map_ops.put),
    codes.DELETE: Operation("DELETE", _MAP, 4, _key, map_ops.delete),
    codes.DISCARD: Operation("DISCARD", _MAP, 4, _key, map_ops.discard),
    codes.POP_ITEM: Operation("POP_ITEM", _MAP, 3, _nothing, map_ops.pop_item),
    codes.SET_DEFAULT: Operation("SET_DEFAULT", _MAP, 5, _key_value, map_ops.set_default),
    codes.PUT_MANY: Operation("PUT_MANY", _MAP, None, _content, map_ops.put_many),
    codes.CLEAR: Operation("CLEAR", _ANY, 3, _nothing, _clear),
    codes.INCREMENT: Operation("INCREMENT", _MAP, 5, _key_number, map_ops.increment),
    codes.DISCARD_MANY: Operation("DISCARD_MANY", _MAP, None, _keys, map_ops.discard_many),
    codes.APPEND: Operation("APPEND", _LISTS, 4, _value, vec_ops.append),
    codes.EXTEND: Operation("EXTEND", _LISTS, None, _values, vec_ops.extend),
    codes.POP: Operation("POP", _LISTS, 3, _nothing, vec_ops.pop),
    codes.SPLICE: Operation("SPLICE", _LISTS, None, _splice, vec_ops.splice),
    codes.STRIDE_SET: Operation("STRIDE_SET", _VEC, None, _stride, vec_ops.stride_set),
    codes.STRIDE_DELETE: Operation("STRIDE_DELETE", _VEC, 6, _stride_count, vec_ops.stride_delete),
    codes.STRIDE_INSERT: Operation("STRIDE_INSERT", _VEC, None, _stride, vec_ops.stride_insert),
    codes.PERMUTE: Operation("PERMUTE", _VEC, None, _order, vec_ops.permute),
    codes.REVERSE: Operation("REVERSE", _VEC, 3, _nothing, vec_ops.reverse),
}


def read(ops: list[Any]) -> list[Step]:
    """The steps of an update's text; raises MalformedUpdateError or UnknownTypeError."""
    reader = None
    steps: list[Step] = []
    for op in ops:  # no comprehension: for one operation, its frame would be a tenth of the work
        step = _read_simple(op)
        if step is None:
            if reader is None:
                reader = Reader()
            step = _read_one(reader, op)
        steps.append(step)
    return steps


_SIMPLE_KEYED: Final = {
    code: OPERATIONS[code].run for code in (codes.PUT, codes.SET_DEFAULT, codes.INCREMENT)
}
_NUMBERS: Final = frozenset({int, float})


def _read_simple(op: list[Any]) -> Step | None:
    """What ``_read_one`` makes of an operation that stores or adds one native; else None.

    Such are nearly all of a log, and this takes less than half the time: nothing is called or made but the step.
    """
    arguments: Arguments
    if type(op) is not list:
        return None
    if len(op) == 5:
        code, position, ordinal, key, value = op
        if type(code) is not int or type(key) is not str or not key.isascii():
            return None
        run = _SIMPLE_KEYED.get(code)
        if run is None or (code == codes.INCREMENT and type(value) not in _NUMBERS):
            return None
        kinds: tuple[str, ...] = _MAP
        arguments = (key, value)
    elif len(op) == 4:
        code, position, ordinal, value = op
        if type(code) is not int or code != codes.APPEND:
            return None
        run, kinds = vec_ops.append, _LISTS
        arguments = (value,)
    else:
        return None
    kind = type(value)
    if kind is int:
        if not INT_MIN <= value <= INT_MAX:
            return None
    elif kind is str:
        if not value.isascii():
            return None
    elif kind not in _QUICK:
        return None
    if (
        type(position) is not int
        or type(ordinal) is not int
        or not 0 <= position <= INT_MAX
        or not (0 < ordinal <= INT_MAX or position == ordinal == 0)
    ):
        return None
    return (run, kinds, (position, ordinal), arguments, (), 0)


def put_step(target: NodeId, content: dict[Any, Any]) -> Step:
    """What reading the ``PUT_MANY`` of *content*, natives alone, would give."""
    return (map_ops.put_many, _MAP, target, (content, False), (), 0)


def _read_one(reader: Reader, op: list[Any]) -> Step:
    if type(op) is not list or not op or type(op[0]) is not int:
        raise MalformedUpdateError(f"no operation: {short(op)}")
    operation = OPERATIONS.get(op[0])
    if operation is None:
        raise MalformedUpdateError(f"no operation has the code {op[0]}")
    name, kinds, length, read_arguments, run = operation
    if length is not None and len(op) != length:
        raise MalformedUpdateError(f"{name} has {len(op)} parts instead of {length}")
    target = ROOT_ID if op[0] == codes.DECLARE else node_id(op)
    if target[0] and not target[1]:
        raise MalformedUpdateError(f"{name}: {target} is no node id")
    reader.depth = 0
    try:
        arguments = read_arguments(reader, op)
    except MalformedUpdateError as error:
        raise MalformedUpdateError(f"{name}: {error}") from error
    ids: tuple[NodeId, ...] = ()
    if reader.ids:
        ids = tuple(reader.ids)
        reader.ids = None
        if len(set(ids)) != len(ids) or not all(p and n for p, n in ids):
            raise MalformedUpdateError(f"{name}: a node id occurs twice or is none")
    return (run, kinds, target, arguments, ids, reader.depth)
