"""The registry: explicit numbers, exact types, places in refusals, and nothing but its own errors."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucore.errors import MalformedUpdateError, UnknownTypeError, UnstorableError
from ucore.registry import (
    DEPTH_MAX,
    INT_MAX,
    INT_MIN,
    NATIVE_TYPES,
    Plain,
    Registry,
    Row,
    container_kind,
    is_text,
    short,
)

FEW = settings(max_examples=200, deadline=None, derandomize=True)


class Pair(NamedTuple):
    x: object
    y: object


class Unhashable(NamedTuple):
    x: object
    __hash__ = None  # type: ignore[assignment]


def pair(parts: list[Any]) -> Pair:
    x, y = parts
    return Pair(x, y)


def unique(parts: list[Any]) -> frozenset[Any]:
    found = frozenset(parts)
    if len(found) < len(parts):
        raise ValueError("twice")
    return found


ROWS = (
    Row(1, int, lambda v: [v.to_bytes(20, "big", signed=True)],
        lambda parts: int.from_bytes(parts[0], "big", signed=True)),
    Row(2, tuple, tuple.__iter__, tuple, nested=True),
    Row(3, frozenset, frozenset.__iter__, unique, nested=True, unordered=True),
    Row(4, complex, lambda v: (v.real, v.imag), lambda p: complex(*p), is_nan=lambda v: v != v),
    Row(100, Pair, tuple.__iter__, pair, nested=True, names=("x", "y")),
    Row(101, Unhashable, tuple.__iter__, lambda p: Unhashable(*p), nested=True),
)  # fmt: skip
REGISTRY = Registry()


@REGISTRY.primitives(ROWS, natives=NATIVE_TYPES)
class Law:
    """Decorated with all rows at once."""


class UMap(dict[Any, Any]):
    _kind_ = "map"


class UStack:
    """Like ucore's: not a list, its items bottom first."""

    _kind_ = "stack"

    def __init__(self, items: list[Any]) -> None:
        self._items = items


# ---------------------------------------------------------------- registration


def test_one_decorated_class_is_the_law_of_all_its_types() -> None:
    assert {REGISTRY.law_of(cls) for cls in (*NATIVE_TYPES, tuple, Pair)} == {Law}
    assert REGISTRY.law_of(set) is None


def test_numbers_are_the_written_ones() -> None:
    assert REGISTRY.classes() == {
        int: 1, tuple: 2, frozenset: 3, complex: 4, Pair: 100, Unhashable: 101,
    }  # fmt: skip


def test_a_taken_number_names_who_has_it() -> None:
    class Other(NamedTuple):
        x: int

    with pytest.raises(ValueError, match=r"100 is taken by Pair.*give .*Other another"):
        Registry(REGISTRY).add(Row(100, Other, tuple.__iter__, tuple))


def test_a_class_is_registered_once() -> None:
    with pytest.raises(ValueError, match="Pair is registered already, as 100"):
        Registry(REGISTRY).add(Row(102, Pair, tuple.__iter__, tuple))


def test_a_copy_of_a_registry_is_its_own() -> None:
    copy = Registry(REGISTRY)
    copy.add(Row(200, bytearray, list, bytearray))
    assert bytearray in copy.classes()
    assert bytearray not in REGISTRY.classes()
    assert copy.law_of(int) is Law
    assert repr(copy) == "<Registry of 7 types>"


# ---------------------------------------------------------------- encoding


@pytest.mark.parametrize(
    "value",
    [None, True, 0, INT_MIN, INT_MAX, -0.0, math.inf, "", "a", "ä", b"", "\U0001f600"],
)
def test_a_native_is_its_own_plain_form(value: object) -> None:
    for encode in (REGISTRY.encode, REGISTRY.encode_key):
        assert encode(value) is value
    for decode in (REGISTRY.decode, REGISTRY.decode_key):
        assert decode(value) is value


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({}, [32]),
        ({"a": 1, 2: [None, 2**63]}, [32, "a", 1, 2, [33, None, [1, (2**63).to_bytes(20, "big")]]]),
        ([[], "ä", 1.5, -1], [33, [33], "ä", 1.5, -1]),
        (UMap(a="ä"), [32, "a", "ä"]),
        (UStack([1, UMap()]), [34, 1, [32]]),
        ({(1, "ä"): ()}, [32, [2, 1, "ä"], [2]]),
        ({2**63: 0}, [32, [1, (2**63).to_bytes(20, "big")], 0]),
        (Pair(1, (2.0,)), [100, 1, [2, 2.0]]),
        (frozenset({"b", "ä", 1, b""}), [3, "b", "ä", 1, b""]),
    ],
)  # fmt: skip
def test_plain_forms(value: object, plain: list[Any]) -> None:
    if plain[0] == 3:
        plain = [3, *sorted(plain[1:], key=ascii)]
    assert REGISTRY.encode(value) == plain


def test_the_order_of_a_set_does_not_depend_on_how_it_was_made() -> None:
    items = [(i, str(i)) for i in range(50)]
    assert REGISTRY.encode(frozenset(items)) == REGISTRY.encode(frozenset(reversed(items)))


def nested(value: Any, times: int, wrap: Callable[[Any], Any]) -> Any:
    for _ in range(times):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {1: v}, lambda v: (v,)])
def test_nesting_has_a_limit(wrap: Callable[[Any], Any]) -> None:
    REGISTRY.encode(nested(1, DEPTH_MAX, wrap))
    with pytest.raises(UnstorableError, match=f"deeper than {DEPTH_MAX}"):
        REGISTRY.encode(nested(1, DEPTH_MAX + 1, wrap))


def test_a_structure_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UnstorableError, match="contains itself"):
        REGISTRY.encode(loop)


class Size(IntEnum):
    S = 1


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        ({1, 2}, "m", "a set cannot be stored; use a frozenset, or a map to None"),
        (bytearray(), "m", "use bytes"),
        (memoryview(b""), "m", "use bytes"),
        (defaultdict(int), "m", "a defaultdict cannot be stored; use dict"),
        (OrderedDict(), "m", "use dict"),
        (type("L", (list,), {})(), "m", "use list"),
        (Size.S, "m", r"Size is not registered; put @ucore.primitive\(NUMBER\)"),
        (NamedTuple("Q", [("x", int)])(1), "m", "Q is not registered"),
        (Name("x"), "m", "a Name would come back as a str"),
        (type("I", (int,), {})(1), "m", "convert it to int"),
        (object(), "m", "of type object cannot be stored"),
        (len, "m", "cannot be stored"),
        ("\ud800", "m", "lone surrogate"),
        ([1, {"k": {1}}], "m[1]['k']", "a set"),
        ({"k": [object()]}, "m['k'][0]", "object"),
        ({(1, math.nan): 3}, "m<key (1, nan)>[1]", "NaN"),
        ({"a": 1, math.nan: 2}, "m<key nan>", "NaN"),
        (UStack([1, set()]), "m[1]", "a set"),
        ((1, [2]), "m[1]", "a list cannot stand inside an immutable value; use a tuple"),
        ((1, {}), "m[1]", "use a frozenset"),
        (Pair(1, (UStack([]),)), "m.y[0]", "a UStack cannot stand inside"),
        (frozenset({math.nan}), "m<element nan>", "NaN"),
        (frozenset({(1, math.nan)}), "m<element (1, nan)>[1]", "NaN"),
    ],
)
def test_a_refusal_names_place_type_and_way_out(value: object, path: str, words: str) -> None:
    with pytest.raises(UnstorableError, match=words) as caught:
        REGISTRY.encode(value, "m")
    assert caught.value.path == path
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ([], "a list cannot be a key or an element of one; use a tuple"),
        ((1, [2]), "a list cannot be a key or an element of one"),
        ({}, "a dict cannot be a key or an element of one; use a frozenset"),
        (math.nan, "NaN"),
        ((1, (math.nan,)), "NaN"),
        (complex(0, math.nan), "NaN"),
        (Pair(math.nan, 1), "NaN"),
        (Unhashable(1), "not hashable"),
        ({1}, "use a frozenset"),
    ],
)
def test_what_cannot_be_a_key(key: object, words: str) -> None:
    with pytest.raises(UnstorableError, match=words) as caught:
        REGISTRY.encode_key(key, "m")
    assert caught.value.path.startswith("m")


@pytest.mark.parametrize("value", [math.nan, (math.nan,), complex(0, math.nan), Unhashable(1)])
def test_what_cannot_be_a_key_may_be_a_value(value: object) -> None:
    assert repr(REGISTRY.decode(REGISTRY.encode(value))) == repr(value)


# ---------------------------------------------------------------- decoding


@pytest.mark.parametrize(
    "plain",
    [
        [], [None], ["a"], [True, b"\1" * 20], [1.0], [-1], [[2]],
        [32], [35, 0, 0], [2, [33]],
        [2, "\ud800"], [2, 2**63], [2, INT_MIN - 1], [2, (1,)], [2, {}], [2, set()], [2, Size.S],
        [3, 1, 1], [3, 1, True], [3, 0.0, -0.0], [3, math.nan], [3, [2, math.nan]], [3, [101, 1]],
        [1], [1, 5], [100, 1], [100, 1, 2, 3],
        nested(1, DEPTH_MAX + 1, lambda v: [2, v]), nested(1, 100_000, lambda v: [2, v]),
    ],
    ids=lambda plain: short(plain),
)  # fmt: skip
def test_a_malformed_form_is_one_typed_error(plain: list[Any]) -> None:
    for decode in (REGISTRY.decode, REGISTRY.decode_key, REGISTRY.decode_leaf):
        with pytest.raises(MalformedUpdateError):
            decode(plain)


@pytest.mark.parametrize("error", [TypeError, ValueError, OverflowError, KeyError])
def test_what_a_type_refuses_is_malformed(error: type[Exception]) -> None:
    def refuse(parts: list[Any]) -> object:
        raise error("no")

    registry = Registry()
    registry.add(Row(1, int, list, refuse))
    with pytest.raises(MalformedUpdateError, match=r"is not a int: .*no") as caught:
        registry.decode([1])
    assert type(caught.value.__cause__) is error


@pytest.mark.parametrize("plain", [(2, 1), "\ud800", 2**64, {}, object()])
def test_what_is_not_plain_is_malformed(plain: Any) -> None:
    for decode in (REGISTRY.decode, REGISTRY.decode_key, REGISTRY.decode_leaf):
        with pytest.raises(MalformedUpdateError):
            decode(plain)


def test_a_leaf_is_a_list_form() -> None:
    assert REGISTRY.decode_leaf([2, 1]) == (1,)
    for native in (None, 1, "a"):
        with pytest.raises(MalformedUpdateError, match="not a list form"):
            REGISTRY.decode_leaf(native)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "plain", [math.nan, [2, math.nan], [4, 0.0, math.nan], [101, 1], [100, 1, [101, 1]]]
)
def test_a_key_that_nobody_could_find_is_malformed(plain: object) -> None:
    REGISTRY.decode(plain)
    with pytest.raises(MalformedUpdateError, match="as a key"):
        REGISTRY.decode_key(plain)


@pytest.mark.parametrize("number", [0, 11, 31, 38, 99, 102, INT_MAX])
def test_an_unknown_number_is_told_from_a_malformed_form(number: int) -> None:
    with pytest.raises(UnknownTypeError) as caught:
        REGISTRY.decode([2, [number, object()]])
    assert caught.value.type_id == number


def test_nesting_has_the_same_limit_on_the_way_back() -> None:
    deep = nested(1, DEPTH_MAX, lambda v: (v,))
    assert REGISTRY.decode(REGISTRY.encode(deep)) == deep


def test_decoding_does_not_change_the_form() -> None:
    plain: list[Any] = [2, [2, 1], [1, (2**63).to_bytes(20, "big")]]
    before = repr(plain)
    REGISTRY.decode(plain)
    assert repr(plain) == before


NATIVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=9)
)
NUMBERS = st.sampled_from([1, 2, 3, 4, 32, 35, 50, 100, 101, -1, True, None, 2.0, "2"])
FORMS: st.SearchStrategy[Any] = st.recursive(
    NATIVES | st.characters(categories=["Cs"]),
    lambda inner: st.tuples(NUMBERS, st.lists(inner, max_size=3)).map(lambda p: [p[0], *p[1]])
    | st.dictionaries(st.text(max_size=1), inner, max_size=1)
    | st.tuples(inner),
    max_leaves=6,
)  # fmt: skip


@FEW
@given(FORMS)
def test_whatever_arrives_is_a_value_or_one_of_two_errors(plain: Any) -> None:
    for decode in (REGISTRY.decode, REGISTRY.decode_key, REGISTRY.decode_leaf):
        try:
            value = decode(plain)
        except (MalformedUpdateError, UnknownTypeError):
            pass
        else:
            assert type(value) in (*NATIVE_TYPES, *REGISTRY.classes())
            if decode == REGISTRY.decode_key:
                assert {value: 1}[decode(plain)] == 1


# ---------------------------------------------------------------- the small functions


def test_short_is_short_and_never_fails() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError

    assert len(short("x" * 1000)) < 100
    assert "int object" in short(10**5000)  # repr() of it raises ValueError
    assert "Rude" in short(Rude())


def test_text_is_what_utf8_can_hold() -> None:
    assert is_text("")
    assert is_text("ä\U0001f600")
    assert not is_text("a\udfff")


def test_kinds_of_containers() -> None:
    class Odd:
        _kind_ = 1

    found = [container_kind(c) for c in (dict, list, UMap, UStack, OrderedDict, int, Odd)]
    assert found == ["map", "vec", "map", "stack", None, None, None]


def test_the_plain_type_is_a_type() -> None:
    assert "list[Plain]" in str(Plain)
