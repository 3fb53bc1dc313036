"""Which types are values, under which number, and how a value becomes plain and comes back.

Rules
- A plain form is ``None``, ``bool``, a 64-bit ``int``, ``float``, ``str``, ``bytes``, or a list that
  begins with a type number (docs/protocol.md).  Nothing else ever reaches a codec.
- Types are exact: ``type(v) is int``.  A subclass would come back as its base, so it is registered
  or refused, never flattened.
- Numbers are explicit and stable.  A number or a class that is taken is refused, so that two
  modules cannot silently mean different things (cattrs' ``dispatch.py`` is the model).
- A registry is an object; the one behind ``ucore.primitive`` is ``primitives.PRIMITIVES``, and a
  test can make its own.
- Decoding raises ``MalformedUpdateError`` or ``UnknownTypeError`` and nothing else, whatever the
  list holds: it is what strangers sent.
- Elements of a frozenset are keys: a set finds its elements by hash and ``==``, as a dict does.

Trade-off: natives are recognised by ``type(v)`` before anything is called, and places inside
containers are put into words only after a refusal, because 100,000 keys are encoded far more often
than one is refused.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias, TypeVar

from ucore.errors import MalformedUpdateError, UnknownTypeError, UnstorableError

T = TypeVar("T")

Plain: TypeAlias = "bool | int | float | str | bytes | list[Plain] | None"

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
NATIVE_TYPES: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes})
# Plain as they are, without a look at the value.
_AS_IS: frozenset[type] = frozenset({type(None), bool, float, bytes})

# Deeper nesting is refused, which also ends a structure that contains itself.  Python's own stack
# would bear about three times as much at three frames a level.
DEPTH_MAX = 64

# The numbers below are ucore's; the first of the users'.
USER_TYPE_MIN = 100
MAP, VEC, STACK = 32, 33, 34
CONTAINER_NUMBERS = range(32, 38)
_LITERALS = {"map": MAP, "vec": VEC, "stack": STACK}


class Refusal(Exception):
    """A value cannot be taken; each container on the way out adds where it stands in it.

    Internal: what leaves the package is an ``UnstorableError`` or a ``WrongTypeError``.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.steps: list[str] = []

    def path(self, start: str) -> str:
        """Where the culprit stands, outermost first."""
        return start + "".join(reversed(self.steps))


@dataclass(frozen=True, slots=True)
class Row:
    """One registered type: its number and how its values are taken apart and put together."""

    number: int
    cls: type
    # value -> its parts; raises Refusal for a value that cannot be stored.
    take_apart: Callable[[Any], Iterable[Any]]
    # parts -> value.  Any TypeError, ValueError, ArithmeticError or LookupError means "malformed".
    put_together: Callable[[list[Any]], object]
    # True: parts are values of their own; False: parts are plain already.
    nested: bool = False
    # Parts without an order, found by hash: they are written sorted and each must be a key.
    unordered: bool = False
    # Names of the parts, for messages; () names them by index.
    names: tuple[str, ...] = ()
    # Tells the values that are not equal to themselves.
    is_nan: Callable[[Any], bool] | None = None


def short(value: object) -> str:
    """A ``repr`` of bounded length that never fails: for messages only."""
    try:
        return reprlib.repr(value)
    except Exception:  # a user's own __repr__ must not hide the refusal it is quoted in
        return object.__repr__(value)


def is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: a lone surrogate cannot."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def container_kind(cls: type) -> str | None:
    """``"map"``, ``"vec"``, ``"stack"``, or None; of exact builtins and of ucore's own classes."""
    if cls in NATIVE_TYPES:  # most are, and an attribute that is not there takes long to miss
        return None
    if cls is dict:
        return "map"
    if cls is list:
        return "vec"
    kind = getattr(cls, "_kind_", None)
    return kind if isinstance(kind, str) and kind in _LITERALS else None


class Registry:
    """The types that are values, each under its number.

    *base*: begin with a copy of its rows; later additions do not reach it.
    """

    __slots__ = ("_by_class", "_by_number", "_laws")

    def __init__(self, base: Registry | None = None) -> None:
        self._by_class: dict[type, Row] = dict(base._by_class) if base else {}
        self._by_number: dict[int, Row] = dict(base._by_number) if base else {}
        self._laws: dict[type, type] = dict(base._laws) if base else {}

    def __repr__(self) -> str:
        return f"<Registry of {len(self._by_number)} types>"

    # ------------------------------------------------------------ registration

    def add(self, row: Row) -> None:
        """Register one row; ValueError when its number or its class is taken."""
        if other := self._by_number.get(row.number):
            raise ValueError(
                f"type number {row.number} is taken by {other.cls.__qualname__}; "
                f"give {row.cls.__qualname__} another one and never change it"
            )
        if other := self._by_class.get(row.cls):
            raise ValueError(f"{row.cls.__qualname__} is registered already, as {other.number}")
        self._by_number[row.number] = row
        self._by_class[row.cls] = row

    def primitives(
        self, rows: Iterable[Row], natives: Iterable[type] = ()
    ) -> Callable[[type[T]], type[T]]:
        """Class decorator: the decorated class is the law by which all these types change.

        *natives* are plain as they are and need no row.
        """
        rows, natives = tuple(rows), tuple(natives)

        def register(law: type[T]) -> type[T]:
            for row in rows:
                self.add(row)
            for cls in (*natives, *(row.cls for row in rows)):
                self._laws[cls] = law
            return law

        return register

    def law_of(self, cls: type) -> type | None:
        """The class that was decorated with this type, or None when it is not registered."""
        return self._laws.get(cls)

    def classes(self) -> Mapping[type, int]:
        """The registered classes and their numbers."""
        return {cls: row.number for cls, row in self._by_class.items()}

    # ------------------------------------------------------------ encoding

    def encode(self, value: Any, path: str = "") -> Plain:
        """The plain form of a value; dict, list and ucore's containers become literals, deeply.

        Raises UnstorableError, whose path begins with *path*.
        """
        kind = type(value)
        if (
            (kind is str and value.isascii())
            or (kind is int and INT_MIN <= value <= INT_MAX)
            or kind in _AS_IS
        ):
            return value  # type: ignore[no-any-return]
        try:
            return self._value(value, 0)
        except Refusal as refusal:
            raise UnstorableError(refusal.message, refusal.path(path)) from None

    def encode_key(self, key: object, path: str = "") -> Plain:
        """The plain form of a map's key: no container and no NaN in it, however deep.

        Raises UnstorableError, whose path begins with *path*.
        """
        if type(key) is str and key.isascii():
            return key
        try:
            return self._leaf(key, 0, True)
        except Refusal as refusal:
            raise UnstorableError(refusal.message, refusal.path(path)) from None

    def _value(self, value: Any, depth: int) -> Plain:
        kind = type(value)
        plain_or_leaf = kind in NATIVE_TYPES or kind in self._by_class
        if not plain_or_leaf and (shape := container_kind(kind)):
            if depth >= DEPTH_MAX:
                raise Refusal(_too_deep())
            if shape == "map":
                return self._map(dict.items(value), depth + 1)
            # A stack keeps its items in a list, bottom first: it is not a list itself.
            items = value._items if shape == "stack" else list.__iter__(value)
            return self._vec(_LITERALS[shape], items, depth + 1)
        return self._leaf(value, depth, False)

    def _map(self, items: Iterable[tuple[Any, Any]], depth: int) -> Plain:
        plain: list[Plain] = [MAP]
        key: Any = None
        in_key = True
        try:
            for key, value in items:
                in_key = True
                # The same condition stands in each loop: a call costs more than it does.
                kind = type(key)
                if (kind is str and key.isascii()) or (kind is int and INT_MIN <= key <= INT_MAX):
                    plain.append(key)
                else:
                    plain.append(self._leaf(key, depth, True))
                in_key = False
                kind = type(value)
                if (
                    (kind is str and value.isascii())
                    or (kind is int and INT_MIN <= value <= INT_MAX)
                    or kind in _AS_IS
                ):
                    plain.append(value)
                else:
                    plain.append(self._value(value, depth))
        except Refusal as refusal:
            refusal.steps.append(f"<key {short(key)}>" if in_key else f"[{short(key)}]")
            raise
        return plain

    def _vec(self, number: int, items: Iterable[Any], depth: int) -> Plain:
        plain: list[Plain] = [number]
        try:
            for item in items:
                kind = type(item)
                if (
                    (kind is str and item.isascii())
                    or (kind is int and INT_MIN <= item <= INT_MAX)
                    or kind in _AS_IS
                ):
                    plain.append(item)
                else:
                    plain.append(self._value(item, depth))
        except Refusal as refusal:
            refusal.steps.append(f"[{len(plain) - 1}]")
            raise
        return plain

    def _leaf(self, value: Any, depth: int, key: bool) -> Plain:
        kind = type(value)
        if kind is str:
            if not is_text(value):
                raise Refusal(
                    f"{short(value)} has a lone surrogate and is not text; encode it to bytes"
                )
            return value  # type: ignore[no-any-return]
        if kind in NATIVE_TYPES and (kind is not int or INT_MIN <= value <= INT_MAX):
            if key and value != value:
                raise Refusal(_NAN_KEY)
            return value  # type: ignore[no-any-return]
        row = self._by_class.get(kind)
        if row is None:
            raise Refusal(self._why_not(value, key))
        if depth >= DEPTH_MAX:
            raise Refusal(_too_deep())
        if key:
            if kind.__hash__ is None:
                raise Refusal(f"a {kind.__qualname__} is not hashable and cannot be a key")
            if row.is_nan and row.is_nan(value):
                raise Refusal(_NAN_KEY)
        if not row.nested:
            return [row.number, *row.take_apart(value)]
        return self._parts(row, value, depth + 1, key or row.unordered)

    def _parts(self, row: Row, value: object, depth: int, key: bool) -> Plain:
        plain: list[Plain] = []
        part: Any = None
        try:
            for part in row.take_apart(value):
                kind = type(part)
                if (kind is str and part.isascii()) or (kind is int and INT_MIN <= part <= INT_MAX):
                    plain.append(part)
                else:
                    plain.append(self._leaf(part, depth, key))
        except Refusal as refusal:
            if row.unordered:
                refusal.steps.append(f"<element {short(part)}>")
            else:
                index = len(plain)
                refusal.steps.append(f".{row.names[index]}" if row.names else f"[{index}]")
            raise
        if row.unordered:
            # ascii() and not repr(): which characters repr() escapes depends on Python's version.
            plain.sort(key=ascii)
        return [row.number, *plain]

    def _why_not(self, value: object, key: bool) -> str:
        """What is wrong with a value of a type that is not registered, and what to do."""
        cls = type(value)
        name = cls.__qualname__
        if shape := container_kind(cls):
            where = "be a key or an element of one" if key else "stand inside an immutable value"
            return f"a {name} cannot {where}; use a {'frozenset' if shape == 'map' else 'tuple'}"
        for base, advice in _ADVICE:
            if isinstance(value, base):
                return f"a {name} cannot be stored; {advice}"
        if isinstance(value, Enum) or (isinstance(value, tuple) and hasattr(cls, "_fields")):
            return f"{name} is not registered; put @ucore.primitive(NUMBER) above the class"
        for base in (*NATIVE_TYPES, *self._by_class):
            if isinstance(value, base):
                return (
                    f"a {name} would come back as a {base.__qualname__}, which it only inherits from; "
                    f"convert it to {base.__qualname__}, or register it: "
                    f"@ucore.primitive(NUMBER) for an Enum, a NamedTuple or a frozen dataclass"
                )
        return (
            f"{short(value)} of type {name} cannot be stored; what can are builtin immutable values, "
            f"dict, list, and an Enum, NamedTuple or frozen dataclass with @ucore.primitive(NUMBER)"
        )

    # ------------------------------------------------------------ decoding

    def decode(self, plain: object) -> object:
        """A native, or the value of a list form that is not a container.

        Raises UnknownTypeError or MalformedUpdateError.
        """
        if type(plain) is str and plain.isascii():
            return plain
        return self._decode(plain, 0, False)

    def decode_key(self, plain: object) -> Any:
        """As :meth:`decode`; what cannot be a key (unhashable, NaN in it) is malformed."""
        if type(plain) is str and plain.isascii():
            return plain
        return self._decode(plain, 0, True)

    def decode_leaf(self, plain: Sequence[object]) -> object:
        """The value of a list form; natives and containers (32 to 37) are malformed here.

        Raises UnknownTypeError or MalformedUpdateError.
        """
        if type(plain) is not list:
            raise MalformedUpdateError(f"{short(plain)} is not a list form")
        return self._decode(plain, 0, False)

    def _decode(self, plain: Any, depth: int, key: bool) -> object:
        kind = type(plain)
        if kind is list:
            return self._decode_form(plain, depth, key)
        if kind is str:
            if is_text(plain):
                return plain
            raise MalformedUpdateError(f"{short(plain)} has a lone surrogate")
        if kind is int:
            if INT_MIN <= plain <= INT_MAX:
                return plain
            raise MalformedUpdateError(f"{short(plain)} has more than 64 bits")
        if kind not in _AS_IS:
            raise MalformedUpdateError(f"{short(plain)} of type {kind.__qualname__} is not plain")
        if key and plain != plain:
            raise MalformedUpdateError("NaN as a key")
        return plain

    def _decode_form(self, plain: list[Any], depth: int, key: bool) -> object:
        number = plain[0] if plain else None
        if type(number) is not int or number < 0:
            raise MalformedUpdateError(f"{short(plain)} does not begin with a type number")
        row = self._by_number.get(number)
        if row is None:
            if number in CONTAINER_NUMBERS:
                raise MalformedUpdateError(f"{short(plain)}: a container where a leaf belongs")
            raise UnknownTypeError(number)
        if depth >= DEPTH_MAX:
            raise MalformedUpdateError(f"nested deeper than {DEPTH_MAX}")
        parts = plain[1:]
        if row.nested:
            as_keys = key or row.unordered
            for index, part in enumerate(parts):
                kind = type(part)
                if not (
                    (kind is str and part.isascii()) or (kind is int and INT_MIN <= part <= INT_MAX)
                ):
                    parts[index] = self._decode(part, depth + 1, as_keys)
        try:
            value = row.put_together(parts)
        except (TypeError, ValueError, ArithmeticError, LookupError) as error:
            name = row.cls.__qualname__
            raise MalformedUpdateError(f"{short(plain)} is not a {name}: {error}") from error
        if key:
            if row.cls.__hash__ is None:
                raise MalformedUpdateError(f"a {row.cls.__qualname__} as a key: it is not hashable")
            if row.is_nan and row.is_nan(value):
                raise MalformedUpdateError("NaN as a key")
        return value


_NAN_KEY = "NaN is not equal to itself, so it cannot be a key or an element of a frozenset"


def _too_deep() -> str:
    return f"nested deeper than {DEPTH_MAX}, or a container that contains itself"


# Looked through in this order; a set is the commonest mistake.
_ADVICE: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (set, "use a frozenset, or a map to None"),
    ((bytearray, memoryview), "use bytes(x)"),
    (dict, "use dict(x)"),
    (list, "use list(x)"),
)
