"""Every builtin primitive and every kind of user's type comes back with its exact type and value."""

from __future__ import annotations

import dataclasses
import decimal
import math
import struct
from collections import namedtuple
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import CONFORM, EJECT, KEEP, STRICT, Enum, Flag, IntEnum, IntFlag, StrEnum
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar
from uuid import UUID, SafeUUID, uuid1
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucore.errors import MalformedUpdateError, UnknownTypeError, UnstorableError
from ucore.primitives import (
    INT_MAX,
    INT_MIN,
    NATIVE_TYPES,
    PRIMITIVES,
    QUICK_KEYS,
    Replace,
    are_natives,
    decode,
    decode_key,
    decode_leaf,
    encode,
    encode_key,
    flat,
    primitive,
)
from ucore.registry import Registry, short

FEW = settings(max_examples=150, deadline=None, derandomize=True)
T = TypeVar("T")

# The users' types of this file have a registry of their own, beside the builtins.
MINE = Registry(PRIMITIVES)


def mine(number: int) -> Callable[[type[T]], type[T]]:
    return primitive(number, registry=MINE)


@mine(100)
class Colour(Enum):
    RED = "red"
    BLUE = ["unhashable", "value"]
    CRIMSON = "red"  # noqa: PIE796

    @classmethod
    def _missing_(cls, value: object) -> Any:
        raise AssertionError("user code ran")


@mine(101)
class Size(IntEnum):
    S = 1
    L = 2


@mine(102)
class Fruit(StrEnum):
    APPLE = "apple"


@mine(103)
class Access(Flag):
    R = 1
    W = 4
    RW = 5


@mine(104)
class Bits(IntFlag):
    A = 1
    BIG = 2**70


@mine(105)
class Point(NamedTuple):
    x: object
    y: object = 0

    def __len__(self) -> int:
        return 2


@mine(106)
@dataclasses.dataclass(frozen=True)
class Money:
    amount: object
    currency: object = "EUR"
    kind: ClassVar[str] = "money"
    extra: object = dataclasses.field(default=None, init=False)

    def __post_init__(self) -> None:
        assert self.amount != "no user code may run"


@mine(107)
@dataclasses.dataclass(frozen=True, slots=True)
class Slotted(Generic[T]):
    value: T


@mine(108)
class Empty(NamedTuple):
    pass


# ---------------------------------------------------------------- sameness, stricter than ==


def same(a: Any, b: Any) -> bool:
    """Same type and value: NaN is itself, -0.0 is not 0.0, True is not 1, folds and zones count."""
    if type(a) is not type(b):
        return False
    match a:
        case float():
            return struct.pack("d", a) == struct.pack("d", b) or (a != a and b != b)
        case complex():
            return same(a.real, b.real) and same(a.imag, b.imag)
        case Decimal():
            return bool(a.as_tuple() == b.as_tuple())
        case datetime() | time():
            zones = [z and z.__getinitargs__() for z in (a.tzinfo, b.tzinfo)]
            naive = [v.replace(tzinfo=None) for v in (a, b)]
            return zones[0] == zones[1] and naive[0] == naive[1] and a.fold == b.fold
        case tuple():
            return len(a) == len(b) and all(map(same, tuple.__iter__(a), tuple.__iter__(b)))
        case frozenset():
            return len(a) == len(b) and all(any(same(x, y) for y in b) for x in a)
        case Money() | Slotted():
            names = [f.name for f in dataclasses.fields(a)]
            return all(same(getattr(a, n), getattr(b, n)) for n in names)
        case Enum():
            return a is b
    return bool(a == b)


ZONES = st.builds(
    lambda us, name: timezone(timedelta(microseconds=us), *name),
    st.integers(-86_399_999_999, 86_399_999_999),
    st.lists(st.text(max_size=4), max_size=1),
) | st.sampled_from([None, UTC, timezone(timedelta(0), "UTC")])
FOLDS = st.sampled_from([0, 1])
DECIMALS = st.decimals() | st.sampled_from(
    [Decimal(t) for t in ("sNaN", "-sNaN123", "NaN7", "-NaN", "-0", "0E+9", "1E-7", "-Infinity")]
    + [Decimal("1E+999999999999999999"), Decimal("1." + "7" * 80)]
)
ATOMS: dict[type, st.SearchStrategy[Any]] = {
    type(None): st.none(),
    bool: st.booleans(),
    int: st.integers() | st.integers(-(2**200), 2**200)
    | st.sampled_from([INT_MIN - 1, INT_MIN, INT_MAX, INT_MAX + 1]),
    float: st.floats() | st.sampled_from([-0.0, math.nan]),
    str: st.text(),
    bytes: st.binary(),
    complex: st.complex_numbers() | st.builds(complex, st.just(math.nan), st.just(-0.0)),
    datetime: st.builds(
        lambda d, fold, zone: d.replace(fold=fold, tzinfo=zone), st.datetimes(), FOLDS, ZONES),
    date: st.dates(),
    time: st.builds(lambda t, fold, zone: t.replace(fold=fold, tzinfo=zone), st.times(), FOLDS, ZONES),
    timedelta: st.timedeltas(),
    Decimal: DECIMALS,
    UUID: st.uuids(),
    Colour: st.sampled_from(Colour),
    Size: st.sampled_from(Size),
    Fruit: st.sampled_from(Fruit),
    Access: st.sampled_from([0, 1, 4, 5]).map(Access),
    Bits: st.integers(0, 2**80).map(Bits),
}  # fmt: skip
ANY_ATOM = st.one_of(*ATOMS.values())
LEAVES: st.SearchStrategy[Any] = st.recursive(
    ANY_ATOM,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.builds(Point, inner, inner)
        | st.builds(Money, inner, inner)
        | st.builds(Slotted, inner)
        | st.lists(inner.filter(lambda v: is_key(v)), max_size=3).map(frozenset)
    ),
    max_leaves=5,
)


def is_key(value: object) -> bool:
    try:
        MINE.encode_key(value)
    except UnstorableError:
        return False
    return True


# ---------------------------------------------------------------- the round trip


@pytest.mark.parametrize("cls", [*ATOMS], ids=lambda cls: cls.__name__)
def test_each_type_comes_back_exactly(cls: type) -> None:
    @FEW
    @given(ATOMS[cls])
    def check(value: object) -> None:
        assert type(value) is cls
        assert same(MINE.decode(MINE.encode(value)), value)

    check()


@FEW
@given(LEAVES)
def test_nested_values_come_back_exactly(value: object) -> None:
    plain = MINE.encode(value)
    back = MINE.decode(plain)
    assert same(back, value)
    assert ascii(MINE.encode(back)) == ascii(plain)


@FEW
@given(LEAVES.filter(is_key))
def test_a_key_comes_back_as_the_same_key(key: Any) -> None:
    plain = MINE.encode_key(key)
    assert ascii(plain) == ascii(MINE.encode(key))
    back = MINE.decode_key(plain)
    assert same(back, key)
    assert {key: 1}[back] == 1


@FEW
@given(LEAVES)
def test_a_plain_form_is_made_of_natives_and_lists(value: object) -> None:
    def check(plain: object) -> None:
        if type(plain) is list:
            assert type(plain[0]) is int
            for part in plain[1:]:
                if not (plain[0] in (5, 7) and part is plain[-1] and type(part) is list):
                    check(part)
        else:
            assert type(plain) in NATIVE_TYPES
            assert type(plain) is not int or INT_MIN <= plain <= INT_MAX

    check(MINE.encode(value))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (2**63, [1, b"\0\x80" + b"\0" * 7]),
        (-(2**63) - 1, [1, b"\xff\x7f" + b"\xff" * 7]),
        (-(2**71), [1, b"\x80" + b"\0" * 8]),
        ((), [2]),
        ((1, True, -0.0), [2, 1, True, -0.0]),
        (frozenset(), [3]),
        (frozenset({"a", 1}), [3, "a", 1]),
        (1 - 2j, [4, 1.0, -2.0]),
        (datetime(2024, 2, 29, 1, 2, 3, 4), [5, 2024, 2, 29, 1, 2, 3, 4, 0, None]),
        (datetime(2024, 1, 1, fold=1, tzinfo=UTC), [5, 2024, 1, 1, 0, 0, 0, 0, 1, [0]]),
        (date(2024, 2, 29), [6, 2024, 2, 29]),
        (time(1, tzinfo=timezone(timedelta(hours=-1), "X")), [7, 1, 0, 0, 0, 0, [-3_600_000_000, "X"]]),
        (timedelta(-1, 2, 3), [8, -1, 2, 3]),
        (Decimal("1.50"), [9, "1.50"]),
        (UUID(int=1), [10, b"\0" * 15 + b"\x01"]),
        (Colour.RED, [100, "RED"]),
        (Access.R | Access.W, [103, 5]),
        (Bits.BIG, [104, [1, b"\x40" + b"\0" * 8]]),
        (Point(1, (2,)), [105, 1, [2, 2]]),
        (Money(1), [106, 1, "EUR", None]),
        (Empty(), [108]),
    ],
    ids=short,
)  # fmt: skip
def test_plain_forms_never_change(value: object, plain: list[Any]) -> None:
    assert ascii(MINE.encode(value)) == ascii(plain)
    assert same(MINE.decode_leaf(plain), value)


def test_the_module_functions_are_the_process_registry() -> None:
    for function in (encode, encode_key, decode, decode_key, decode_leaf):
        assert function.__self__ is PRIMITIVES  # type: ignore[attr-defined]
    assert decode(encode((1,))) == decode_leaf([2, 1]) == decode_key(encode_key((1,))) == (1,)


def test_the_law_of_every_primitive_is_replacement() -> None:
    classes = {*NATIVE_TYPES, *MINE.classes()}
    assert {MINE.law_of(cls) for cls in classes} == {Replace}
    assert Replace.apply(1, 2) == (2, 1)


# ---------------------------------------------------------------- contexts and hostile inputs


def test_no_decimal_context_of_the_user_matters() -> None:
    value = Decimal("1E+5").scaleb(3) / 3
    plain = encode(Decimal("-1.23456789E+50"))
    hostile = decimal.Context(
        prec=1, capitals=0, Emax=1, Emin=-1, traps=[decimal.Inexact, decimal.Rounded]
    )
    with decimal.localcontext(hostile):
        assert encode(Decimal("-1.23456789E+50")) == plain == [9, "-1.23456789E+50"]
        back = decode(encode(value))
        with pytest.raises(MalformedUpdateError):
            decode([9, "no number"])
    assert same(back, value)
    with decimal.localcontext(decimal.Context(traps=[])) as context:
        with pytest.raises(MalformedUpdateError):
            decode([9, "no number"])
        assert not any(context.flags.values())


class Zone(tzinfo):
    pass


@pytest.mark.parametrize("zone", [ZoneInfo("UTC"), Zone()])
def test_a_zone_that_is_a_table_of_rules_is_refused(zone: tzinfo) -> None:
    for value in (datetime(2024, 1, 1, tzinfo=zone), time(1, tzinfo=zone)):
        with pytest.raises(UnstorableError, match=r"astimezone\(timezone.utc\)") as caught:
            encode([value], "m")
        assert caught.value.path == "m[0]"


def test_a_zone_name_that_is_not_text_is_refused() -> None:
    with pytest.raises(UnstorableError, match="lone surrogate"):
        encode(datetime(2024, 1, 1, tzinfo=timezone(timedelta(0), "\ud800")))


class Timestamp(datetime):
    """As pandas has one: a datetime with more to it."""


def test_a_subclass_is_refused_and_not_flattened() -> None:
    with pytest.raises(UnstorableError, match="Timestamp would come back as a datetime"):
        encode(Timestamp(2024, 1, 1))


def test_where_a_uuid_came_from_is_not_kept() -> None:
    value = uuid1()
    back = decode(encode(value))
    assert back == value
    assert back.is_safe is SafeUUID.unknown  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", [Decimal("NaN"), Decimal("-sNaN1"), complex(math.nan, 0)])
def test_nan_of_every_sort_is_no_key(key: object) -> None:
    for nest in (lambda k: k, lambda k: (1, (k,)), lambda k: Point(k), lambda k: Money(k)):
        with pytest.raises(UnstorableError, match="NaN"):
            MINE.encode_key(nest(key))
        with pytest.raises(MalformedUpdateError, match="NaN"):
            MINE.decode_key(MINE.encode(nest(key)))


DAY = [2024, 1, 1]
MALFORMED: list[list[Any]] = [
    [1], [1, 5], [1, b""], [1, b"\x05"], [1, b"\0" * 9 + b"\x01"], [1, b"\xff" * 9], [1, b"\0\0\x80" + b"\0" * 7], [1, b"\0\x80" + b"\0" * 7, 1],
    [3, 1, 1], [3, 1, True], [3, 0.0, [9, "0"]],
    [4], [4, 1, 2], [4, 1.0], [4, 1.0, 2.0, 3.0], [4, True, 1.0],
    [5], [5, *DAY], [5, *DAY, 0, 0, 0, 0, 0], [5, *DAY, 0, 0, 0, 0, 0, None, None], [5, 0, 1, 1, 0, 0, 0, 0, 0, None],
    [5, 2023, 2, 29, 0, 0, 0, 0, 0, None], [5, *DAY, True, 0, 0, 0, 0, None], [5, *DAY, 0, 0, 0, 0, 2, None],
    [5, *DAY, 0, 0, 0, 0, True, None], [5, 2**62, 1, 1, 0, 0, 0, 0, 0, None], [5, *DAY, 24, 0, 0, 0, 0, None],
    [5, *DAY, 0, 0, 0, 0, 0, 0], [5, *DAY, 0, 0, 0, 0, 0, []], [5, *DAY, 0, 0, 0, 0, 0, [1.0]],
    [5, *DAY, 0, 0, 0, 0, 0, [0, 1]], [5, *DAY, 0, 0, 0, 0, 0, [0, "a", "b"]], [5, *DAY, 0, 0, 0, 0, 0, "UTC"],
    [5, *DAY, 0, 0, 0, 0, 0, [86_400_000_000]], [5, *DAY, 0, 0, 0, 0, 0, [2**62]], [5, *DAY, 0, 0, 0, 0, 0, [True]],
    [5, *DAY, 0, 0, 0, 0, 0, [0, "\ud800"]], [5, b"x" * 10, 1, 1, 0, 0, 0, 0, 0, None],
    [6], [6, 2024, 1], [6, 2023, 2, 29], [6, 2024, 1, 1.0], [6, 2**70, 1, 1], [6, 2024, 1, True],
    [7], [7, 24, 0, 0, 0, 0, None], [7, 1, 0, 0, 0, None], [7, 1, 0, 0, 0, 2, None], [7, 1, 0, 0, 0, False, None],
    [8], [8, 0, 86_400, 0], [8, 0, -1, 0], [8, 0, 0, 10**6], [8, 10**9, 0, 0], [8, 10**30, 0, 0], [8, 1.0, 0, 0],
    [9], [9, ""], [9, 1], [9, " 1"], [9, "1_0"], [9, "1e5"], [9, "nan"], [9, "+1"], [9, "\u0661"], [9, "1", "2"],
    [9, "1E+99999999999999999999999"], [9, "\ud800"], [9, "NaN007"],
    [10], [10, b""], [10, b"\0" * 15], [10, b"\0" * 17], [10, "0" * 16], [10, b"\0" * 16, 0],
    [100], [100, "GREEN"], [100, 1], [100, "RED", 1], [100, "_missing_"], [100, [2, "RED"]],
    [103], [103, 2], [103, 7], [103, -1], [103, True], [103, "R"], [103, 8], [103, [1, b"\x40" + b"\0" * 8]],
    [104, -1], [104, [1, b"\xbf" + b"\0" * 8]], [104, [1, b"\x01" * 9000]],
    [105], [105, 1], [105, 1, 2, 3], [105, 1, [33]],
    [106], [106, 1], [106, 1, 2, 3, 4], [107], [108, 1],
]  # fmt: skip


@pytest.mark.parametrize("plain", MALFORMED, ids=short)
def test_every_malformed_form_is_one_typed_error(plain: list[Any]) -> None:
    for form in (plain, [2, plain], [106, plain, 1, 1]):
        for read in (MINE.decode, MINE.decode_key, MINE.decode_leaf):
            with pytest.raises(MalformedUpdateError):
                read(form)


PARTS: st.SearchStrategy[Any] = st.recursive(
    ANY_ATOM.map(MINE.encode)
    | st.integers(-2, 40) | st.sampled_from(["RED", "S", "NaN", "1", 1.0, b"\0" * 16, [0], []]),
    lambda inner: st.builds(
        lambda number, parts: [number, *parts],
        st.sampled_from([*MINE.classes().values()]) | st.integers(-1, 110),
        st.lists(inner, max_size=10),
    ),
    max_leaves=12,
)  # fmt: skip


@settings(FEW, max_examples=500)
@given(PARTS)
def test_fuzz_a_form_is_refused_or_is_the_one_form_of_its_value(plain: Any) -> None:
    try:
        value = MINE.decode(plain)
    except (MalformedUpdateError, UnknownTypeError):
        return
    assert canonical(MINE.encode(value)) == canonical(plain)


@settings(FEW, max_examples=250)
@given(LEAVES.map(MINE.encode), st.data())
def test_fuzz_a_damaged_form_raises_nothing_else(plain: Any, data: st.DataObject) -> None:
    at = plain
    while type(at) is list and len(at) > 1:
        index = data.draw(st.integers(0, len(at) - 1))
        if type(at[index]) is list and data.draw(st.booleans()):
            at = at[index]
            continue
        at[index : index + data.draw(st.integers(0, 2))] = data.draw(st.lists(PARTS, max_size=2))
        break
    for read in (MINE.decode, MINE.decode_key):
        try:
            read(plain)
        except (MalformedUpdateError, UnknownTypeError):
            pass


def canonical(plain: Any) -> str:
    """As text, sets sorted."""

    def ordered(form: Any) -> Any:
        if type(form) is not list:
            return form
        form = [ordered(part) for part in form]
        return [3, *sorted(form[1:], key=ascii)] if form[:1] == [3] else form

    return ascii(ordered(plain))


# ---------------------------------------------------------------- users' types


def test_an_alias_of_a_member_is_read_as_the_member() -> None:
    assert MINE.decode([100, "CRIMSON"]) is Colour.RED
    assert MINE.encode(Colour.CRIMSON) == [100, "RED"]


@pytest.mark.parametrize(("boundary", "kept"), [(STRICT, 0), (CONFORM, 0), (EJECT, 0), (KEEP, 1)])
def test_bits_that_no_member_has_follow_the_boundary(boundary: Any, kept: int) -> None:
    registry = Registry(PRIMITIVES)

    @primitive(100, registry=registry)
    class Some(Flag, boundary=boundary):
        A = 1
        B = 4

    for bits in (0, 1, 5):
        assert registry.decode([100, bits]) is Some(bits)
    if kept:
        assert registry.decode(registry.encode(Some(8))) is Some(8)
    else:
        with pytest.raises(MalformedUpdateError):
            registry.decode([100, 8])


def test_a_composite_flag_that_nobody_made_yet_is_composed() -> None:
    registry = Registry(PRIMITIVES)
    calls: list[object] = []

    @primitive(100, registry=registry)
    class Fresh(Flag):
        A = 1
        B = 2

        @classmethod
        def _missing_(cls, value: object) -> Any:
            calls.append(value)
            return Flag._missing_.__func__(cls, value)  # type: ignore[attr-defined]

    calls.clear()
    made = registry.decode([100, 3])
    assert not calls  # not even the user's _missing_
    assert made is Fresh.A | Fresh.B


def test_reading_runs_no_method_of_the_class() -> None:
    registry = Registry(PRIMITIVES)
    calls = []

    @primitive(100, registry=registry)
    @dataclasses.dataclass(frozen=True)
    class Loud:
        x: int

        def __new__(cls, *args: Any) -> Any:
            calls.append("new")
            return object.__new__(cls)

        def __post_init__(self) -> None:
            calls.append("post")

    plain = registry.encode(Loud(1))
    calls.clear()
    assert registry.decode(plain).x == 1  # type: ignore[attr-defined]
    assert not calls


def test_a_named_tuple_of_every_make_can_be_registered() -> None:
    registry = Registry(PRIMITIVES)
    old = namedtuple("old", "a b")
    primitive(100, registry=registry)(old)

    @primitive(101, registry=registry)
    class Below(Point):
        __slots__ = ()

        def __iter__(self) -> Any:
            raise AssertionError("user code ran")

    for value in (old(1, 2), Below(1, 2)):
        assert same(registry.decode(registry.encode(value)), value)


def test_registering_gives_the_class_back() -> None:
    class Unit(Enum):
        M = 1

    assert mine(900)(Unit) is Unit


class NoMembers(Enum):
    pass


class NoFlags(Flag):
    pass


class Mixed(int):
    pass


class MixedFlag(Mixed, Flag):
    A = 1


class WithDict(Point):
    pass


@dataclasses.dataclass
class Mutable:
    x: int


@dataclasses.dataclass(frozen=True, eq=False)
class ByIdentity:
    x: int


@dataclasses.dataclass(frozen=True)
class Number(int):
    x: int = 0


class Undecorated(Money):
    pass


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (NoMembers, "has no members"),
        (NoFlags, "has no members"),
        (MixedFlag, "use Flag or IntFlag"),
        (WithDict, r"__slots__ = \(\)"),
        (Mutable, "Mutable is mutable; make it @dataclass\\(frozen=True\\)"),
        (ByIdentity, "leave eq=True"),
        (Number, "inherits from no builtin"),
        (Undecorated, "a @dataclass above each subclass"),
        (dict, "must be an Enum"),
        (object, "must be an Enum"),
        (Point(1, 2), "belongs above a class"),
        (lambda: None, "belongs above a class"),
    ],
)
def test_what_is_mutable_or_unfit_cannot_be_registered(cls: Any, words: str) -> None:
    before = MINE.classes()
    with pytest.raises(TypeError, match=words):
        mine(901)(cls)
    assert MINE.classes() == before


@pytest.mark.parametrize("number", [99, 0, -1, 2**63, True, "100", None, 100.0])
def test_a_number_of_your_own_begins_at_100(number: Any) -> None:
    with pytest.raises(ValueError, match="whole number from 100"):
        primitive(number)


def test_a_number_or_class_that_is_taken_is_refused() -> None:
    class Late(Enum):
        X = 1

    with pytest.raises(ValueError, match="100 is taken by Colour"):
        mine(100)(Late)
    with pytest.raises(ValueError, match="Colour is registered already, as 100"):
        mine(902)(Colour)


def test_without_a_registry_the_process_registry_is_meant() -> None:
    class Marker(Enum):
        X = 1

    primitive(2**62 + 4711)(Marker)
    assert PRIMITIVES.classes()[Marker] == 2**62 + 4711
    assert decode_key(encode_key(Marker.X)) is Marker.X


def test_a_field_that_cannot_be_stored_is_named() -> None:
    with pytest.raises(UnstorableError, match="a set") as caught:
        MINE.encode({"k": Money(Point(1, {2}))}, "m")
    assert caught.value.path == "m['k'].amount.y"


# ---------------------------------------------------------------- columns


@pytest.mark.parametrize(
    "column",
    [
        [], ["a", "é", ""], [1, -(2**63), 2**63 - 1], [None, True, 1.5, math.nan, b"x", "a", 7], ("a", "b"),
        ["\ud800"], ["a", "\udc00"], ["\ud800", "\udc00"], [1, "\ud800"], [2**63], [-(2**63) - 1], ["a", 2**63],
        [[2, 1]], ["a", []], [1, object()],
    ],
    ids=repr,
)  # fmt: skip
def test_a_column_is_native_exactly_if_decoding_gives_each_as_it_is(column: Any) -> None:
    def is_as_it_is(item: Any) -> bool:
        try:
            return decode(item) is item
        except (MalformedUpdateError, UnknownTypeError):
            return False

    assert are_natives(column) is all(map(is_as_it_is, column))


def test_a_dict_as_keys_and_values_in_turn() -> None:
    assert flat({}) == []
    assert flat({"a": 1, 2: "b"}) == ["a", 1, 2, "b"]


@pytest.mark.parametrize("key", [None, True, 1.5, math.nan, b"x", [2, 1]])
def test_a_quick_key_is_text_or_a_whole_number(key: object) -> None:
    assert are_natives(["a", 1], QUICK_KEYS)
    assert not are_natives(["a", key, 1], QUICK_KEYS)
