"""Everything that a structure holds as one plain value, and back: ``docs/operations.md``, "Dumps".

A container with many natives and nothing else is written by columns (``columns``), all others as they
are in inverses.  The forms by columns are for dumps alone: an update that has one is refused, as by
replicas that know of none.
"""

from __future__ import annotations

from typing import Any, Final

from . import codes
from .base import ROOT_ID, Node
from .change import NODE_CODES, Literal
from .columns import pack, unpack
from .errors import MalformedUpdateError
from .ops import KINDS, Reader, node_id
from .primitives import DEPTH_MAX, Plain, decode_key, encode, encode_key
from .types import decode_skeleton

# For fewer there is nothing to gain.  Part of the format: equal states give equal dumps.
COLUMNS_MIN: Final = 16

COLUMN_CODES: Final = {
    "map": codes.MAP_COLUMNS,
    "vec": codes.VEC_COLUMNS,
    "stack": codes.STACK_COLUMNS,
}
_COLUMN_KINDS: Final = {code: kind for kind, code in COLUMN_CODES.items()}
_ALL_KINDS: Final = {**KINDS, **_COLUMN_KINDS}


def dumped(root: Node) -> Plain:
    """The plain form of *root* and everything in it, with the ids of all nodes."""
    return _value(root)


def kind_of(dump: Any) -> str | None:
    """Which kind of structure *dump* (see ``Tree.load``) is of; None if it is none of this version."""
    match dump:
        case [codes.OPS_VERSION, _, _, [int(number), *_]]:
            return _ALL_KINDS.get(number)
    return None


def read_dump(root: object, skeleton: object, position: int) -> Literal:
    """The content of a dump.

    Raises:
        MalformedUpdateError, UnknownTypeError: it is none, or none that this program knows.
    """
    reader = _DumpReader()
    decode_skeleton(skeleton)
    literal = reader.value(root)
    if type(literal) is not Literal or literal.ident != ROOT_ID or reader.ordinal:
        raise MalformedUpdateError(
            "a dump's root is a container with the id (0, 0), as all in it have ids"
        )
    assert reader.ids is not None, "the root has one"
    inner = reader.ids[1:]
    if len(set(inner)) != len(inner) or not all(0 < p <= position and n for p, n in inner):
        raise MalformedUpdateError("a dump's node ids must be distinct and not lie in the future")
    return literal


def _value(value: object) -> Plain:
    if not isinstance(value, Node):
        return encode(value)
    raw: Any = value._raw()
    if len(raw) >= COLUMNS_MIN and (columns := _columns(raw)) is not None:
        return [COLUMN_CODES[value._kind_], *value._id, *columns]
    found: list[Plain] = [NODE_CODES[value._kind_], *value._id]
    if isinstance(raw, dict):
        for key, item in dict.items(raw):
            found += (encode_key(key), _value(item))
    else:
        found += map(_value, list.__iter__(raw))
    return found


def _columns(raw: dict[object, object] | list[object]) -> list[Plain] | None:
    """*raw* as columns; None if it holds other than natives."""
    columns: list[Plain] = []
    if isinstance(raw, dict):
        parts = [list(dict.keys(raw)), list(dict.values(raw))]
    else:
        parts = [list.copy(raw)]
    for column in parts:
        packed = pack(column)
        if packed is None:
            return None
        columns.append(packed)
    return columns


class _DumpReader(Reader):
    """Knows the forms by columns as well."""

    def value(self, plain: Any, level: int = 1) -> object:
        if type(plain) is list and plain and type(plain[0]) is int and plain[0] in _COLUMN_KINDS:
            return self._by_columns(plain, level)
        return super().value(plain, level)

    def _by_columns(self, form: list[Any], level: int) -> Literal:
        if level > DEPTH_MAX:
            raise MalformedUpdateError(f"containers nested more than {DEPTH_MAX} deep")
        ident = node_id(form)
        literal = Literal(_COLUMN_KINDS[form[0]], ident)
        if self.ids is None:
            self.ids = []
        self.ids.append(ident)
        columns = form[3:]
        if len(columns) != (2 if literal.kind == "map" else 1):
            raise MalformedUpdateError(f"{len(columns)} columns for a {literal.kind}")
        if literal.kind == "map":
            literal.content = _content(*columns)
        else:
            literal.content = list(unpack(columns[0]))
        return literal


def _content(keys: Any, values: Any) -> dict[object, object]:
    """What columns of keys and of values say; as ``Reader.pairs`` does for one array of both."""
    left, right = unpack(keys), unpack(values)
    if len(left) != len(right):
        raise MalformedUpdateError(f"{len(left)} keys and {len(right)} values")
    if keys is left:  # an array may have keys that cannot be ones; other columns cannot
        left = list(map(decode_key, keys))
    content: dict[object, object] = dict(zip(left, right, strict=True))
    if len(content) != len(left):
        raise MalformedUpdateError("a key occurs twice")
    return content
