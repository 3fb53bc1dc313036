"""A column: many natives of a dump, in a form that a few calls in C read and write.

One by one, a decoder takes 30 to 60 ns for each, and checking what it gave takes as long again: most
of what joining a group of 100,000 keys by snapshot takes.  So where all of them are of one type, they
are one plain value:

- texts: one text, in which U+0000 stands between them; so only if none of them contains it;
- integers of 64 bits: a byte string.  Its first byte says how many bytes each of them takes: 1, 2, 4
  or 8, the least that is enough for all.  Then they follow, little-endian, in two's complement;
- floats, none of them NaN (of which there are many): a byte string.  Its first byte is 9, then they
  follow as 64-bit IEEE 754 numbers, little-endian.

All others are an array of what they are.  What is read is read strictly, but is not asked for the
shortest form: equal states give equal bytes because they are written in one way.

Rejected: lengths in place of a mark between texts (a slice for each of them, in Python).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from struct import pack as struct_pack
from struct import unpack_from
from typing import Any, Final

from .errors import MalformedUpdateError
from .primitives import INT_MAX, INT_MIN, NATIVE_TYPES, Plain, are_natives
from .registry import is_text, short

_BETWEEN: Final = "\0"
# The first byte of a packed column, the bytes of each item, what struct calls it.
_INTS: Final = ((1, 1, "b"), (2, 2, "h"), (4, 4, "i"), (8, 8, "q"))
_FLOATS: Final = (9, 8, "d")
_PACKED: Final = {bytes([row[0]]): row[1:] for row in (*_INTS, _FLOATS)}


def pack(column: Sequence[Any]) -> Plain | None:
    """The plain form of *column*, which is not empty and can be stored; None if it has other than natives."""
    kinds = set(map(type, column))
    if not kinds <= NATIVE_TYPES:
        return None
    if kinds == {str}:
        texts = _BETWEEN.join(column)
        if texts.count(_BETWEEN) == len(column) - 1:
            return texts
    elif kinds == {float}:
        if not any(map(isnan, column)):
            return _packed(_FLOATS, column)
    elif int in kinds:
        ints = column if len(kinds) == 1 else [item for item in column if type(item) is int]
        low, high = min(ints), max(ints)
        if low < INT_MIN or high > INT_MAX:
            return None
        if len(kinds) == 1:
            return _packed(next(row for row in _INTS if _fits(low, high, row[1])), column)
    return list(column)


def _fits(low: int, high: int, size: int) -> bool:
    bound = 1 << (8 * size - 1)
    return -bound <= low and high < bound


def _packed(row: tuple[int, int, str], column: Sequence[Any]) -> bytes:
    first, _, code = row
    return struct_pack(f"<B{len(column)}{code}", first, *column)


def unpack(plain: object) -> Sequence[Any]:
    """The natives that *plain* is the column of.

    Raises:
        MalformedUpdateError: it is none.
    """
    if type(plain) is str and is_text(plain):
        return plain.split(_BETWEEN)
    if type(plain) is bytes and plain[:1] in _PACKED:
        size, code = _PACKED[plain[:1]]
        count, rest = divmod(len(plain) - 1, size)
        items: tuple[Any, ...] = unpack_from(f"<{count}{code}", plain, 1)
        if not rest and not (code == _FLOATS[2] and any(map(isnan, items))):
            return items
    elif type(plain) is list and are_natives(plain):
        return plain
    raise MalformedUpdateError(f"not a column: {short(plain)}")
