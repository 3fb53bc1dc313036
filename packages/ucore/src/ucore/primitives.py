"""The values whose update is the new value: builtin ones, and one line for a user's own.

Rules
- Every row below has a number that never changes and is never used again.
- A value comes back with its exact type; two forms of one value are never both accepted, so
  that equal dumps are equal bytes.
- Decoding runs no user code: an Enum comes by its name, a Flag by its bits, a NamedTuple from
  ``tuple.__new__`` and a frozen dataclass from ``object.__new__``; no ``__init__``, ``__new__``,
  ``__post_init__`` or ``_missing_`` of the user's is called.
- No context is consulted: decimals are read and written under a context of our own.

Rejected: pickling what is not listed (it runs code on every replica), and going by ``isinstance``
(a pandas Timestamp would come back as a datetime).

What is not kept: ``UUID.is_safe``, which takes no part in ``==``.
"""

from __future__ import annotations

import dataclasses
import decimal
import struct
from collections.abc import Callable, Collection, Iterable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag
from typing import Any, Final, TypeVar
from uuid import UUID

from ucore.registry import (
    CONTAINER_NUMBERS,
    DEPTH_MAX,
    INT_MAX,
    INT_MIN,
    NATIVE_TYPES,
    USER_TYPE_MIN,
    Plain,
    Refusal,
    Registry,
    Row,
    is_text,
    short,
)

__all__ = [
    "CONTAINER_NUMBERS", "DEPTH_MAX", "INT_MAX", "INT_MIN", "NATIVE_TYPES", "PRIMITIVES",
    "QUICK_KEYS", "Plain", "Replace", "are_natives", "decode", "decode_key", "decode_leaf", "encode", "encode_key",
    "primitive", "user_row",
]  # fmt: skip

T = TypeVar("T")

_MICROSECOND = timedelta(microseconds=1)

# Exact whatever the thread's own context says; only what is not a number at all is an error.
_DECIMALS = decimal.Context(
    prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, capitals=1,
    clamp=0, rounding=decimal.ROUND_HALF_EVEN, traps=[decimal.InvalidOperation],
)  # fmt: skip


# ---------------------------------------------------------------- builtin types, taken apart


def _expect(parts: list[Any], *types: type) -> list[Any]:
    """*parts*, whose number and exact types are these; TypeError otherwise."""
    if [type(part) for part in parts] != list(types):
        raise TypeError(f"expected {', '.join(t.__name__ for t in types)}")
    return parts


def _shortest(value: int) -> int:
    """How many bytes two's complement needs."""
    return (value if value >= 0 else ~value).bit_length() // 8 + 1


def _big_int_parts(value: int) -> list[bytes]:
    return [value.to_bytes(_shortest(value), "big", signed=True)]


def _big_int(parts: list[Any]) -> int:
    [data] = _expect(parts, bytes)
    value = int.from_bytes(data, "big", signed=True)
    if INT_MIN <= value <= INT_MAX or len(data) != _shortest(value):
        raise ValueError("not the shortest form")
    return value


def _complex_parts(value: complex) -> tuple[float, float]:
    return value.real, value.imag


def _zone_parts(zone: tzinfo | None) -> list[Any] | None:
    if zone is None:
        return None
    if type(zone) is not timezone:
        raise Refusal(
            f"the time zone {short(zone)} is a table of rules that every program would have to share; "
            "use .astimezone(timezone.utc) and keep the zone's name beside it"
        )
    # The arguments that make it again: (offset,) or (offset, name).
    offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
    if name and not is_text(name[0]):
        raise Refusal(f"the time zone's name {short(name[0])} has a lone surrogate")
    return [offset // _MICROSECOND, *name]


def _zone(plain: Any) -> timezone | None:
    if plain is None:
        return None
    if type(plain) is not list:
        raise TypeError("a time zone is None or a list")
    if len(plain) == 2:
        offset, name = _expect(plain, int, str)
        if not is_text(name):
            raise ValueError("a lone surrogate")
        return timezone(timedelta(microseconds=offset), name)
    [offset] = _expect(plain, int)
    return timezone(timedelta(microseconds=offset))


def _datetime_parts(v: datetime) -> list[Any]:
    zone = _zone_parts(v.tzinfo)
    return [v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, v.fold, zone]


def _datetime(parts: list[Any]) -> datetime:
    *numbers, fold, zone = parts
    year, month, day, hour, minute, second, us = _expect(numbers, *[int] * 7)
    _expect([fold], int)
    return datetime(year, month, day, hour, minute, second, us, fold=fold, tzinfo=_zone(zone))


def _date_parts(value: date) -> tuple[int, int, int]:
    return value.year, value.month, value.day


def _time_parts(v: time) -> list[Any]:
    return [v.hour, v.minute, v.second, v.microsecond, v.fold, _zone_parts(v.tzinfo)]


def _time(parts: list[Any]) -> time:
    *numbers, zone = parts
    hour, minute, second, microsecond, fold = _expect(numbers, *[int] * 5)
    return time(hour, minute, second, microsecond, fold=fold, tzinfo=_zone(zone))


def _timedelta_parts(value: timedelta) -> tuple[int, int, int]:
    return value.days, value.seconds, value.microseconds


def _timedelta(parts: list[Any]) -> timedelta:
    value = timedelta(*_expect(parts, int, int, int))
    if list(_timedelta_parts(value)) != parts:
        raise ValueError("not normalised")
    return value


def _decimal_parts(value: Decimal) -> list[str]:
    return [_DECIMALS.to_sci_string(value)]


def _decimal(parts: list[Any]) -> Decimal:
    [text] = _expect(parts, str)
    value = Decimal(text, _DECIMALS)
    if _DECIMALS.to_sci_string(value) != text:
        raise ValueError("not the canonical text")
    return value


def _frozenset(parts: list[Any]) -> frozenset[Any]:
    value = frozenset(parts)
    if len(value) != len(parts):
        raise ValueError("an element stands twice")
    return value


_BUILTINS = (
    Row(1, int, _big_int_parts, _big_int),
    Row(2, tuple, tuple.__iter__, tuple, nested=True),
    Row(3, frozenset, frozenset.__iter__, _frozenset, nested=True, unordered=True),
    Row(4, complex, _complex_parts, lambda parts: complex(*_expect(parts, float, float)),
        is_nan=lambda value: value != value),
    Row(5, datetime, _datetime_parts, _datetime),
    Row(6, date, _date_parts, lambda parts: date(*_expect(parts, int, int, int))),
    Row(7, time, _time_parts, _time),
    Row(8, timedelta, _timedelta_parts, _timedelta),
    Row(9, Decimal, _decimal_parts, _decimal, is_nan=Decimal.is_nan),
    Row(10, UUID, lambda value: [value.bytes], lambda parts: UUID(bytes=_expect(parts, bytes)[0])),
)  # fmt: skip

PRIMITIVES = Registry()


@PRIMITIVES.primitives(_BUILTINS, natives=NATIVE_TYPES)
class Replace:
    """The law of all primitives: the update is the new value, and its inverse the old one."""

    __slots__ = ()

    @staticmethod
    def apply(old: T, update: T) -> tuple[T, T]:
        """(the new value, the update that undoes it)"""
        return update, old


# ---------------------------------------------------------------- a user's own types


def _enum_row(number: int, cls: type[Enum]) -> Row:
    if not cls._member_map_:
        raise TypeError(f"{cls.__qualname__} has no members; register the Enum that has them")
    members = cls._member_map_

    def by_name(parts: list[Any]) -> Enum:
        [name] = _expect(parts, str)
        return members[name]

    return Row(number, cls, lambda member: (member._name_,), by_name, nested=True)


def _flag_row(number: int, cls: type[Flag]) -> Row:
    if cls._member_type_ not in (object, int):  # type: ignore[attr-defined]
        raise TypeError(
            f"{cls.__qualname__} mixes a type of its own into Flag; use Flag or IntFlag"
        )
    if not cls._member_map_:
        raise TypeError(f"{cls.__qualname__} has no members; register the Flag that has them")
    known = cls._value2member_map_
    # Flag's own way of composing members, past a _missing_ of the user's.
    compose = Flag._missing_.__func__  # type: ignore[attr-defined]

    def by_bits(parts: list[Any]) -> object:
        [bits] = _expect(parts, int)
        flag = known.get(bits)
        if flag is None:
            flag = compose(cls, bits)
        if type(flag) is not cls or flag._value_ != bits:
            raise ValueError("bits that no member has")
        return flag

    return Row(number, cls, lambda flag: (flag._value_,), by_bits, nested=True)


def _named_tuple_row(number: int, cls: type) -> Row:
    names: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]
    if cls.__dictoffset__:
        raise TypeError(
            f"instances of {cls.__qualname__} can carry attributes besides their fields, which would "
            "be lost; give the class __slots__ = ()"
        )
    size = len(names)

    def put_together(parts: list[Any]) -> object:
        if len(parts) != size:
            raise ValueError(f"it has {size} fields: {', '.join(names)}")
        return tuple.__new__(cls, parts)

    return Row(number, cls, tuple.__iter__, put_together, nested=True, names=names)


def _dataclass_row(number: int, cls: type) -> Row:
    params = cls.__dict__["__dataclass_params__"]
    if not params.frozen:
        raise TypeError(f"{cls.__qualname__} is mutable; make it @dataclass(frozen=True)")
    if not params.eq:
        raise TypeError(
            f"{cls.__qualname__} compares by identity, so no copy would equal it; leave eq=True"
        )
    try:
        object.__new__(cls)
    except TypeError as error:
        raise TypeError(
            f"{cls.__qualname__} cannot be made without its own __new__ ({error}); "
            "register a concrete dataclass that inherits from no builtin"
        ) from None
    names = tuple(field.name for field in dataclasses.fields(cls))
    size = len(names)

    def take_apart(value: object) -> Iterable[object]:
        return [getattr(value, name) for name in names]

    def put_together(parts: list[Any]) -> object:
        if len(parts) != size:
            raise ValueError(f"it has {size} fields: {', '.join(names)}")
        value: object = object.__new__(cls)
        for name, part in zip(names, parts, strict=True):
            object.__setattr__(value, name, part)
        return value

    return Row(number, cls, take_apart, put_together, nested=True, names=names)


def user_row(number: int, cls: type) -> Row:
    """The row of a user's class; TypeError says what is wrong with the class."""
    if not isinstance(cls, type):
        raise TypeError(f"@primitive({number}) belongs above a class, not above {short(cls)}")
    if issubclass(cls, Flag):
        return _flag_row(number, cls)
    if issubclass(cls, Enum):
        return _enum_row(number, cls)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _named_tuple_row(number, cls)
    if "__dataclass_params__" in cls.__dict__:
        return _dataclass_row(number, cls)
    raise TypeError(
        f"{cls.__qualname__} cannot be registered: it must be an Enum, a Flag, a NamedTuple or a frozen "
        "dataclass (put @primitive above @dataclass, and a @dataclass above each subclass too)"
    )


def primitive(type_id: int, *, registry: Registry = PRIMITIVES) -> Callable[[type[T]], type[T]]:
    """Class decorator that makes an immutable class of yours storable, as a value and as a key.

    *type_id*: 100 or more; written into every value, so it must never change or be used again.

    The class is an Enum or Flag (stored by member name, by bits), a NamedTuple or a frozen dataclass
    (stored field by field, in order; fields hold storable values that are not containers).
    Its ``==`` and ``hash`` must be the generated ones, or at least depend on the fields alone, because
    every replica compares for itself.  Reading a value back calls none of its methods.

    Raises ValueError for a number that is too small or taken, TypeError for a class that is
    mutable or of another sort.
    """
    if type(type_id) is not int or not USER_TYPE_MIN <= type_id <= INT_MAX:
        raise ValueError(
            f"a type number of your own is a whole number from {USER_TYPE_MIN}, not {short(type_id)}"
        )

    def register(cls: type[T]) -> type[T]:
        registry.primitives([user_row(type_id, cls)])(Replace)
        return cls

    return register


QUICK_KEYS: Final = frozenset({str, int})
"""Keys that nearly all maps have, and whose plain form is the key itself."""


def are_natives(column: Collection[Any], kinds: frozenset[type] = NATIVE_TYPES) -> bool:
    """Whether all of *column* is of these *kinds* of natives, and ``decode`` would give each as it is.

    A few passes in C, where decoding them takes a call for each.
    """
    found = set(map(type, column))
    if not found <= kinds:
        return False
    if int in found:
        ints = column if len(found) == 1 else [item for item in column if type(item) is int]
        try:
            struct.pack(f"{len(ints)}q", *ints)  # in half the time that min and max take
        except struct.error:
            return False
    if str in found:
        texts = column if len(found) == 1 else [item for item in column if type(item) is str]
        return is_text("".join(texts))
    return True


def flat(content: dict[Any, Any]) -> list[Any]:
    """``k, v, k, v``: keys and values in turn."""
    found = list(content) * 2
    found[::2], found[1::2] = content, content.values()
    return found


# The interface that the rest of ucore uses: the registry of this process.
encode = PRIMITIVES.encode
encode_key = PRIMITIVES.encode_key
decode = PRIMITIVES.decode
decode_key = PRIMITIVES.decode_key
decode_leaf = PRIMITIVES.decode_leaf
