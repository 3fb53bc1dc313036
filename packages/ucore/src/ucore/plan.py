"""From what a caller says to the text of one operation: checks, normalised indices, plain forms.

Pure functions, shared by the containers' mutators and by the recorders of batches.  They raise
what the builtin would raise, or why a value cannot be stored, before anything has changed.
"""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from . import codes
from .change import stored_key
from .errors import UnstorableError
from .primitives import QUICK_KEYS, Plain, are_natives, encode, encode_key, flat
from .registry import NATIVE_TYPES, short
from .types import ANY, Spec

INTENT: Final = -1


class Plan(NamedTuple):
    """An operation without its node id.

    *last* is the last index whose element (and those before it) must be as the caller sees it,
    None for the whole node, or ``INTENT``.
    """

    code: int
    arguments: list[Any]
    last: int | None = INTENT


# ---------------------------------------------------------------- values


def plain_key(spec: Spec, key: object) -> Plain:
    plain = key if type(key) is str and key.isascii() else encode_key(key)
    if type(key) not in spec.key.exact:
        spec.key.check(key, f"<key {short(key)}>")
    return plain


def plain_value(spec: Spec, value: object, place: object) -> Plain:
    """*place* is the key or index that an error shall name."""
    try:
        plain = encode(value)
        if type(value) not in spec.value.exact:
            spec.value.check(value)
        return plain
    except TypeError:
        pass
    # Only now is the place put into words: that costs more than the whole check.
    path = f"[{short(place)}]"
    encode(value, path)
    spec.value.check(value, path)
    raise AssertionError(f"{path} was refused once and accepted once")


def plain_values(spec: Spec, values: list[Any]) -> list[Plain]:
    """An error's place is the index in *values*, what the caller has given."""
    if _are_plain(spec.value, values):
        return list(values)
    plains = _content(values)
    expected = spec.value
    if expected is not ANY:
        exact = expected.exact
        for index, value in enumerate(values):
            if type(value) not in exact:
                expected.check(value, f"[{index}]")
    return plains


def _are_plain(spec: Spec, column: Collection[Any], kinds: frozenset[type] = NATIVE_TYPES) -> bool:
    """Whether each of them fits and is its own plain form: a few passes in C, no call for each."""
    return are_natives(column, kinds & spec.exact)


def _content(container: object) -> list[Plain]:
    """What the literal of an exact dict or list says behind its number."""
    literal = encode(container)
    assert isinstance(literal, list)
    return literal[1:]


# ---------------------------------------------------------------- maps


def put(spec: Spec, key: object, value: object) -> Plan:
    return Plan(codes.PUT, [plain_key(spec, key), plain_value(spec, value, key)])


def are_native_pairs(spec: Spec, content: dict[Any, Any]) -> bool:
    """Whether they fit, and ``Update.putting`` can take them: several, which are their own plain forms."""
    return (
        len(content) > 1
        and _are_plain(spec.key, content, QUICK_KEYS)
        and _are_plain(spec.value, content.values())
    )


def put_many(spec: Spec, content: dict[Any, Any]) -> Plan | None:
    """None when there is nothing to put."""
    if are_native_pairs(spec, content):
        return Plan(codes.PUT_MANY, flat(content))
    return put_each(spec, content)


def put_each(spec: Spec, content: dict[Any, Any]) -> Plan | None:
    """``put_many`` of what ``are_native_pairs`` says no to."""
    if len(content) == 1:
        return put(spec, *next(iter(content.items())))
    arguments = _content(content)
    spec.check(content)
    return Plan(codes.PUT_MANY, arguments) if arguments else None


def delete(raw: dict[Any, Any], key: object) -> Plan:
    planned = discard(raw, key)
    if planned is None:
        raise KeyError(key)
    return planned._replace(code=codes.DELETE)


def discard(raw: dict[Any, Any], key: object) -> Plan | None:
    """None when *key* is one that cannot be there.

    What equals a stored key is that key, as in a dict; the declared type of keys is no matter.
    """
    try:
        return Plan(codes.DISCARD, [encode_key(key)])
    except UnstorableError:
        if key not in raw:  # TypeError when it is not hashable
            return None
        return Plan(codes.DISCARD, [encode_key(stored_key(raw, key))])


def set_default(spec: Spec, key: object, value: object) -> Plan:
    return put(spec, key, value)._replace(code=codes.SET_DEFAULT)


def increment(spec: Spec, key: object, by: object) -> Plan:
    if type(by) not in (int, float):
        raise TypeError(f"increment by an int or a float, not by {short(by)}")
    return put(spec, key, by)._replace(code=codes.INCREMENT)


# ---------------------------------------------------------------- vecs


def _index(index: Any) -> int:
    try:
        return operator.index(index)
    except TypeError:
        name = type(index).__name__
        raise TypeError(f"list indices must be integers or slices, not {name}") from None


def position(index: Any, length: int, message: str) -> int:
    """*index* from the front; IndexError with *message* when there is no such element."""
    at = _index(index)
    if at < 0:
        at += length
    if not 0 <= at < length:
        raise IndexError(message)
    return at


def append(spec: Spec, value: object, length: int) -> Plan:
    return Plan(codes.APPEND, [plain_value(spec, value, length)])


def extend(spec: Spec, values: list[Any]) -> Plan | None:
    plains = plain_values(spec, values)
    if len(plains) == 1:
        return Plan(codes.APPEND, plains)
    return Plan(codes.EXTEND, plains) if plains else None


def insert(spec: Spec, index: Any, value: object, length: int) -> Plan:
    at = operator.index(index)
    at = max(0, at + length) if at < 0 else min(at, length)
    # At 0 it is at 0 wherever it lands.
    return Plan(codes.SPLICE, [at, 0, plain_value(spec, value, at)], at or INTENT)


def pop(index: Any, length: int) -> Plan:
    at = operator.index(index)
    if at == -1:
        return Plan(codes.POP, [])
    if not length:
        raise IndexError("pop from empty list")
    at = position(at, length, "pop index out of range")
    return Plan(codes.SPLICE, [at, 1], at)


def remove(items: list[Any], value: object) -> Plan:
    try:
        at = list.index(items, value)
    except ValueError:
        raise ValueError("list.remove(x): x not in list") from None
    return Plan(codes.SPLICE, [at, 1], at)


def set_item(spec: Spec, index: Any, value: Any, length: int) -> Plan | None:
    """``v[index] = value``; None when it changes nothing."""
    if isinstance(index, slice):
        return _set_slice(spec, index, value, length)
    at = position(index, length, "list assignment index out of range")
    return Plan(codes.STRIDE_SET, [at, 1, plain_value(spec, value, at)], at)


def _set_slice(spec: Spec, where: slice, values: Any, length: int) -> Plan | None:
    start, stop, step = where.indices(length)
    try:
        values = list(values)
    except TypeError:
        kind = (
            "can only assign an iterable" if step == 1 else "must assign iterable to extended slice"
        )
        raise TypeError(kind) from None
    if step == 1:
        count = max(0, stop - start)
        if not count and not values:
            return None
        arguments = [start, count, *plain_values(spec, values)]
        return Plan(codes.SPLICE, arguments, max(start, stop - 1))
    places = range(start, stop, step)
    if len(values) != len(places):
        raise ValueError(
            f"attempt to assign sequence of size {len(values)} to extended slice of size {len(places)}"
        )
    if not values:
        return None
    plains = plain_values(spec, values)
    if step < 0:
        places, plains = places[::-1], plains[::-1]
    return Plan(codes.STRIDE_SET, [places[0], places.step, *plains], places[-1])


def delete_item(index: Any, length: int) -> Plan | None:
    """``del v[index]``; None when it changes nothing."""
    if not isinstance(index, slice):
        at = position(index, length, "list assignment index out of range")
        return Plan(codes.SPLICE, [at, 1], at)
    places = range(*index.indices(length))
    if not places:
        return None
    if places.step < 0:
        places = places[::-1]
    if places.step == 1:
        return Plan(codes.SPLICE, [places[0], len(places)], places[-1])
    return Plan(codes.STRIDE_DELETE, [places[0], places.step, len(places)], places[-1])


def repeat(spec: Spec, items: list[Any], times: Any) -> Plan | None:
    """``v *= times``; None when it changes nothing."""
    try:
        times = operator.index(times)
    except TypeError:
        name = type(times).__name__
        raise TypeError(f"can't multiply sequence by non-int of type '{name}'") from None
    if times == 1 or not items:
        return None
    if times <= 0:
        return Plan(codes.SPLICE, [0, len(items)], None)
    plains = plain_values(spec, items)
    return Plan(codes.EXTEND, plains * (times - 1), None)


def sort(items: list[Any], key: Any, reverse: Any) -> Plan | None:
    """A sort ships the order that it found: comparing runs here alone."""
    keys = items if key is None else [key(item) for item in items]
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=reverse)
    return Plan(codes.PERMUTE, order, None) if len(order) > 1 else None


def reverse(length: int) -> Plan | None:
    return Plan(codes.REVERSE, [], None) if length > 1 else None
