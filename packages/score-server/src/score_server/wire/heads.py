"""The heads of CBOR items, for bytes that are put together by hand.

cbor2 takes half a microsecond for every array that it encodes (its encoder asks an abstract class about each), and
what a server sends and stores most are short arrays of a form that never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from struct import Struct

# CBOR's major types, as the bits they set in an item's first byte.
INTEGER, BYTES, TEXT_STRING, ARRAY, MAP = 0x00, 0x40, 0x60, 0x80, 0xA0

_HEADS = [bytes([first]) for first in range(256)]
_ONE, _TWO, _FOUR, _EIGHT = (Struct(form).pack for form in (">BB", ">BH", ">BI", ">BQ"))
_FORMS = ((24, 0x100, 24, _ONE), (0x100, 0x10000, 25, _TWO), (0x10000, 0x100000000, 26, _FOUR))


def head(number: int, major: int = INTEGER) -> bytes:
    """The head of an item of *major* type with *number* (of 0 to 2^64-1), in the shortest form.

    It is the whole of an integer; bytes and texts follow theirs, and so do the items of an array.
    """
    if number < 24:
        return _HEADS[major + number]
    if number < 0x100:
        return _ONE(major + 24, number)
    if number < 0x10000:
        return _TWO(major + 25, number)
    if number < 0x100000000:
        return _FOUR(major + 26, number)
    return _EIGHT(major + 27, number)


# Looked up, the heads of small numbers cost no call: of integers, byte strings, texts and arrays.
INTEGERS, LENGTHS, TEXTS, ARRAYS = (
    [head(number, major) for number in range(256)] for major in (INTEGER, BYTES, TEXT_STRING, ARRAY)
)


def heads(numbers: range) -> Iterator[bytes]:
    """``head`` of each, made when it is taken; mostly without a call in Python for each."""
    for low, high, first, form in _FORMS:
        if low <= numbers.start and numbers.stop <= high:
            return map(form, repeat(first), numbers)
    return map(head, numbers)


def length_heads(items: Iterable[bytes]) -> list[bytes]:
    """The head that goes before each of *items*."""
    return [LENGTHS[size] if size < 256 else head(size, BYTES) for size in map(len, items)]
