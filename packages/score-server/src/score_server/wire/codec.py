"""Plain values to bytes and back: the part of CBOR (RFC 8949) that has no semantics.

Plain values are null, booleans, integers of 64 bits with sign, floats, text, byte strings and
arrays of plain values.  Everything else that CBOR can say (maps, tags, undefined and other simple
values, indefinite lengths, integers beyond 64 bits) is refused.  See decision record 8.

Rules
-----
- ``decode`` raises ``DecodeError`` or nothing, whatever the bytes are, in time and memory linear in
  their number.  A declared length reserves nothing: memory grows with the bytes that are there.
- cbor2 does the decoding.  None of its semantics is reached: a table that answers every tag number
  with a function that raises stands in for its tag decoders (a tag's content has been decoded by then,
  under these same rules), ``strict_hashable_types`` refuses the keys that can be made to collide,
  and ``object_hook`` refuses the map itself.
- What cbor2 still lets through (simple values, ``undefined``, integers of 65 bits, trailing bytes)
  is caught afterwards: a mark behind it, or the position in the stream, shows trailing bytes, and a
  walk, level by level, each a few passes in C, finds the rest.  Short data without any byte that could
  begin such an item, which is nearly all there is, is spared the walk.
- cbor2 encodes no array that it was not told to be one: it asks ``isinstance(it, Mapping)`` about each,
  which is Python, and PyO3 drops what is raised there.  A Ctrl-C at that moment would be lost, and a
  blocking call would wait on for ever.  So the heads of arrays are put together here, and long arrays of
  scalars are given to ``encode_array``, which does not ask.  This is as fast for what a change is made of,
  and twice as slow for 1,000 numbers; ``encoders={list: ...}`` would be twice as slow for everything.
  About a dict it does not ask either, and writes its keys and values as an array's items would be: so that is
  what the pairs of a large change are encoded from (``encode_with_pairs``), in 7 us a hundred in place of 18.
- The mark is 16 random bytes of this process, which go nowhere.  Nobody outside can have put it into
  the bytes, so an item ends before it only where its own bytes do.  With it one call decodes, and
  decodes many items; without it an object has to be made for each, which takes as long again.  Nor can any
  bytes stand for a mark that begins in front of them and ends in them (``decode_columns``).

Rejected: a decoder of our own in Python (payloads are where a client that joins a large group spends
its time); msgpack (no standard behind it, and its extension types have the problem of tags again).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import chain
from typing import Any, Final, NoReturn, TypeAlias, cast

import cbor2

from .heads import ARRAY, ARRAYS, BYTES, INTEGERS, MAP, TEXT_STRING, TEXTS, head

Plain: TypeAlias = "bool | int | float | str | bytes | list[Plain] | None"

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
# Deeper than anything encode is asked for (ucore: 64 levels of value, each one array, and the
# update around them), and shallow enough for every decoder.
ENCODE_DEPTH_MAX = 100

_TYPES = frozenset({type(None), bool, int, float, str, bytes, list})
# The first bytes of what cbor2 decodes to something that is not plain: eight-byte integers (1b, 3b),
# simple values (e0-f3, f8), undefined (f7).  They also occur inside text, bytes and numbers.
_SUSPECT = re.compile(rb"[\x1b\x3b\xe0-\xf3\xf7\xf8]")
# From here on the walk costs less than looking for suspects (measured for small items).
_SEARCHED_BYTES_MAX = 4096
# Up to here a copy, with the mark behind it, costs less than an object that knows where it stands.
_COPIED_BYTES_MAX = 4096

# Longer arrays of nothing but scalars are left to cbor2: from here on that makes up for its setting up.
_HEADED_MAX = 16

_MARK = os.urandom(16)
_MARK_ENCODED = head(len(_MARK), BYTES) + _MARK
_ITEM_AND_MARK = head(2, ARRAY)


class DecodeError(ValueError):
    """The bytes are not the encoding of one plain value."""


class EncodeError(ValueError):
    """The value is not plain, so it has no encoding."""


def encode(plain: Plain) -> bytes:
    """The one encoding of *plain*: shortest heads, definite lengths, floats in 64 bits.

    (NaN and the infinities take 16 bits.)

    Raises:
        EncodeError: something in it is not plain, or nests deeper than 100 (as a cycle does).
    """
    # Before cbor2 sees it: deep enough nesting makes its encoder overflow the stack (6.3.0).
    if problem := _problem(plain):
        raise EncodeError(problem)
    return encode_loosely(plain)


def encode_loosely(plain: Plain) -> bytes:
    """``encode`` for callers that have looked at every item, and at the depth, themselves.

    Raises:
        EncodeError: a text has a lone surrogate.  What else is not plain is not noticed.
    """
    try:
        return _encode_array(plain) if type(plain) is list else cbor2.dumps(plain)
    except UnicodeEncodeError as error:
        raise EncodeError(f"a text has no encoding in UTF-8: {error}") from error


def encode_with_pairs(before: list[Any], pairs: dict[Any, Any]) -> bytes:
    """The encoding of the array ``[*before, key, value, key, value, ...]``, all of it natives.

    Raises:
        EncodeError: as ``encode_loosely`` does.
    """
    try:
        count = len(before) + 2 * len(pairs)
        written = cbor2.dumps(pairs)[len(head(len(pairs), MAP)) :]
        return b"".join((head(count, ARRAY), *map(encode_loosely, before), written))
    except UnicodeEncodeError as error:
        raise EncodeError(f"a text has no encoding in UTF-8: {error}") from error


def _encode_array(items: list[Any]) -> bytes:
    """The encoding of *items*, without a call in Python from inside cbor2 (see the module's header)."""
    count = len(items)
    if count > _HEADED_MAX and list not in set(map(type, items)):
        stream = BytesIO()
        cbor2.CBOREncoder(stream).encode_array(items)
        return stream.getvalue()
    parts = [ARRAYS[count] if count < 256 else head(count, ARRAY)]
    for item in items:
        kind = type(item)
        if kind is int and 0 <= item < 256:
            parts.append(INTEGERS[item])
        elif kind is str:
            data = item.encode()
            size = len(data)
            parts.append((TEXTS[size] if size < 256 else head(size, TEXT_STRING)) + data)
        else:
            parts.append(_encode_array(item) if kind is list else cbor2.dumps(item))
    return b"".join(parts)


def decode(data: bytes, *, depth_max: int) -> Plain:
    """The plain value that *data* encodes.

    *depth_max*: how many arrays may stand around one item (0: no array but an empty one).
    Heads longer than necessary and floats of 16 or 32 bits are accepted.

    Raises:
        DecodeError: *data* is anything else; no other exception leaves this function.
    """
    value = decode_loosely(data, depth_max=depth_max)
    suspect = len(data) > _SEARCHED_BYTES_MAX or _SUSPECT.search(data)
    if suspect and (problem := _problem(value)):
        raise DecodeError(problem)
    return cast("Plain", value)


def decode_loosely(data: bytes, *, depth_max: int) -> object:
    """``decode`` for callers that check the exact type and range of every item themselves.

    Simple values, ``undefined`` and integers of 65 bits are still in the result.

    Raises:
        DecodeError: as ``decode`` does, for everything else.
    """
    if len(data) <= _COPIED_BYTES_MAX:
        try:
            value, mark = _loads(_ITEM_AND_MARK + data + _MARK_ENCODED, depth_max + 1)
            if mark == _MARK:
                return value
        except cbor2.CBORDecodeError as error:
            _let_interrupts_go_on(error)  # below, it says what is wrong in terms of the data alone
    stream = BytesIO(data)
    try:
        value = cbor2.CBORDecoder(stream, max_depth=depth_max, **_REFUSALS).decode()
    except cbor2.CBORDecodeError as error:
        _let_interrupts_go_on(error)
        raise DecodeError(str(error.__cause__ or error)) from error
    if stream.tell() != len(data):
        raise DecodeError(f"{len(data) - stream.tell()} bytes follow the value")
    return value


def decode_each_loosely(encoded: Sequence[bytes], *, depth_max: int) -> list[object] | None:
    """``decode_loosely`` of each, in one go; None when one of them is not the encoding of one item."""
    marked = head(2 * len(encoded), ARRAY) + _MARK_ENCODED.join([*encoded, b""])
    try:
        items: list[object] = _loads(marked, depth_max + 1)
    except cbor2.CBORDecodeError as error:
        _let_interrupts_go_on(error)
        return None
    return items[::2] if items[1::2] == [_MARK] * len(encoded) else None


def decode_columns(encoded: Sequence[bytes], begin: bytes, width: int) -> list[list[Any]] | None:
    """What follows *begin* in each, by columns: *width* items, no array but an empty one, and then nothing.

    As loosely as ``decode_loosely``; None when one of them is made otherwise.
    """
    # A byte string that goes on into what is to be read, as far as begin does: so that is compared, and passed
    # over, in the one call that reads the rest.
    mark = _MARK + begin
    between = head(len(mark), BYTES) + _MARK
    marked = b"".join(
        (head((width + 1) * len(encoded) + 1, ARRAY), between, between.join(encoded), _MARK_ENCODED)
    )
    try:
        items: list[Any] = _loads(marked, 1)
    except cbor2.CBORDecodeError as error:
        _let_interrupts_go_on(error)
        return None
    if items[:: width + 1] != [*[mark] * len(encoded), _MARK]:
        return None
    return [items[at :: width + 1] for at in range(1, width + 1)]


def utf8_length(text: str) -> int:
    """Bytes of *text* in UTF-8; -1 for a lone surrogate, which has no encoding."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return -1


def _problem(value: object) -> str | None:
    """What is not plain about *value*, or None.  A cycle is infinitely deep."""
    level: list[object] = [value]
    for _ in range(ENCODE_DEPTH_MAX + 1):
        kinds = set(map(type, level))
        if not kinds <= _TYPES:
            names = ", ".join(sorted(kind.__name__ for kind in kinds - _TYPES))
            return f"only null, bool, int, float, text, bytes and arrays are allowed, not: {names}"
        if int in kinds:
            for item in level:
                if type(item) is int and not INT_MIN <= item <= INT_MAX:
                    return "an integer does not fit in 64 bits with sign"
        if list not in kinds:
            return None
        # An array that stands in two places is looked at once: a cycle cannot multiply.
        arrays = {id(item): item for item in level if type(item) is list and item}
        level = list(chain.from_iterable(arrays.values()))
        if not level:
            return None
    return f"arrays are nested deeper than {ENCODE_DEPTH_MAX}"


def _let_interrupts_go_on(error: cbor2.CBORDecodeError) -> None:
    """cbor2 turns all that its callbacks raise into its own error, a Ctrl-C in one of those below as well."""
    if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
        raise error.__cause__


def _refuse_tag(*_: object) -> NoReturn:
    raise ValueError("tags are not allowed")


def _refuse_map(*_: object) -> NoReturn:
    raise ValueError("maps are not allowed")


class _EveryTagRefused(dict[int, Callable[..., object]]):
    """A table of tag decoders in which every number leads to an exception."""

    def __missing__(self, number: int) -> Callable[..., object]:
        return _refuse_tag


_EVERY_TAG = _EveryTagRefused()
_REFUSALS: Final[dict[str, Any]] = {
    "object_hook": _refuse_map,
    "semantic_decoders": _EVERY_TAG,
    "allow_indefinite": False,
    "strict_hashable_types": True,
}


def _loads(data: bytes, depth_max: int) -> Any:
    """*data* decoded under the same rules: spelled out, as ``**_REFUSALS`` takes a quarter more."""
    return cbor2.loads(
        data, max_depth=depth_max, object_hook=_refuse_map, semantic_decoders=_EVERY_TAG,
        allow_indefinite=False, strict_hashable_types=True,
    )  # fmt: skip
