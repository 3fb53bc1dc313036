"""A dump holds everything, in one way; what is none is refused before anything is built."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucore import MalformedUpdateError, UMap, UnknownTypeError, Update, UStack, UVec
from ucore.change import snapshot
from ucore.dumps import COLUMNS_MIN, dumped, kind_of, read_dump
from ucore.node import Container
from ucore.ops import Reader

MANY = range(COLUMNS_MIN)
TEXTS = "\0".join(map(str, MANY))
NUMBERS = b"\x01" + bytes(MANY)


def loaded(root: Any, position: int = 9) -> Container:
    """What a dump with this root is of."""
    cls: Any = {"map": UMap, "vec": UVec, "stack": UStack}[kind_of([1, position, None, root]) or ""]
    value: Container = cls.load([1, position, None, root])
    value._tree.audit()  # type: ignore[union-attr]
    return value


def test_few_items_are_written_one_by_one_and_many_by_columns() -> None:
    m = UMap[str, int]((str(i), i) for i in MANY[:-1])
    assert dumped(m)[:5] == [35, 0, 0, "0", 0]  # type: ignore[index]
    m[str(MANY[-1])] = MANY[-1]
    assert dumped(m) == [38, 0, 0, TEXTS, NUMBERS]
    assert dumped(UVec[int](MANY)) == [39, 0, 0, NUMBERS]
    assert dumped(UStack[str](map(str, MANY))) == [40, 0, 0, TEXTS]


@pytest.mark.parametrize(
    "value",
    [
        UMap[Any, Any]({i: (i,) for i in MANY}),
        UMap[Any, Any]({(i,): i for i in MANY}),
        UMap[Any, Any](dict.fromkeys(MANY, 2**70)),
        UVec[Any]([[], *MANY]),
    ],
)
def test_what_holds_more_than_natives_is_written_one_by_one(value: Container) -> None:
    assert dumped(value) == snapshot(value)


def test_containers_inside_are_written_by_columns_as_well_and_keep_their_ids() -> None:
    value = UMap[str, Any](few=[1], many=list(MANY), inner={"map": dict.fromkeys(MANY)})
    root = dumped(value)
    nothing = [None] * COLUMNS_MIN
    assert root == [
        35, 0, 0, "few", [36, 1, 1, 1], "many", [39, 1, 2, NUMBERS],
        "inner", [35, 1, 3, "map", [38, 1, 4, NUMBERS, nothing]],
    ]  # fmt: skip
    again = loaded(root)
    assert again == value
    assert dumped(again) == root


def test_a_dump_of_before_there_were_columns_is_read_and_is_written_by_columns() -> None:
    value = UMap[str, int]((str(i), i) for i in MANY)
    again = loaded(snapshot(value))
    assert again == value
    assert dumped(again) == dumped(value)


def test_a_dump_has_ids_everywhere_and_the_root_its_own() -> None:
    literal = read_dump([35, 0, 0, "a", [36, 2, 1], "b", [39, 2, 2, b"\x01"]], None, 2)
    assert literal.kind == "map"
    for root, position in (
        ([35, 0, 0, "a", [33]], 2),
        ([35, 0, 0, "a", [36, 3, 1]], 2),
        ([35, 0, 0, "a", [39, 3, 1, []]], 2),
        ([35, 0, 0, "a", [36, 2, 1], "b", [36, 2, 1]], 2),
        ([35, 0, 0, "a", [36, 2, 1], "b", [39, 2, 1, []]], 2),
        ([35, 0, 1], 2),
        ([39, 0, 1, []], 2),
        ([39], 2),
        ([32], 2),
        (None, 2),
    ):
        with pytest.raises(MalformedUpdateError):
            read_dump(root, None, position)
    with pytest.raises(MalformedUpdateError):
        read_dump([35, 0, 0], "no skeleton", 1)


@pytest.mark.parametrize(
    "root",
    [
        [38, 0, 0],
        [38, 0, 0, "a"],
        [38, 0, 0, "a", b"\x01\x01", []],
        [38, 0, 0, "a\0b", b"\x01\x01"],
        [38, 0, 0, "a\0a", b"\x01\x01\x02"],
        [38, 0, 0, [1, True], b"\x01\x01\x02"],
        [38, 0, 0, [float("nan")], b"\x01\x01"],
        [38, 0, 0, b"\x09" + b"\xff" * 8, b"\x01\x01"],
        [38, 0, 0, [[2, 1]], b"\x01\x01"],
        [38, 0, 0, "a", [[36, 1, 1]]],
        [38, 0, 0, "a", None],
        [39, 0, 0],
        [39, 0, 0, 1, 2],
        [39, 0, 0, b"\x02\x01", b""],
        [39, 0, 0, b"\x02\x01"],
        [40, 0, 0, [2**63]],
    ],
)
def test_columns_that_do_not_make_a_container_are_malformed(root: Any) -> None:
    with pytest.raises(MalformedUpdateError):
        read_dump(root, None, 9)


def test_columns_that_could_be_written_shorter_are_read() -> None:
    assert loaded([38, 0, 0, ["a", None], b"\x02\x01\x00\x02\x00"]) == {"a": 1, None: 2}
    assert loaded([39, 0, 0, []]) == []
    assert list(loaded([40, 0, 0, ["a", "b"]])) == ["b", "a"]  # type: ignore[call-overload]


def test_nesting_is_bounded_by_columns_too() -> None:
    root: Any = [39, 1, 99, b"\x01"]
    for ordinal in range(1, 63):
        root = [36, 1, ordinal, root]
    read_dump([36, 0, 0, root], None, 1)
    with pytest.raises(MalformedUpdateError, match="64 deep"):
        read_dump([36, 0, 0, [36, 1, 63, root]], None, 1)


@pytest.mark.parametrize(
    "form", [[38, 1, 1, "a", b"\x01\x01"], [39, 1, 1, b"\x01"], [40, 1, 1, "a"]]
)
def test_an_update_has_no_columns(form: list[Any]) -> None:
    with pytest.raises(UnknownTypeError):
        Reader().value(form)
    with pytest.raises(UnknownTypeError):
        Update.from_plain([1, [1, 0, 0, "k", form]])


@pytest.mark.parametrize(
    ("dump", "kind"),
    [
        ([1, 2, None, [35, 0, 0]], "map"),
        ([1, 2, None, [36, 0, 0, 1]], "vec"),
        ([1, 2, None, [40, 0, 0, "a"]], "stack"),
        ([2, 2, None, [35, 0, 0]], None),
        ([1, 2, None, [99]], None),
        ([1, 2, None, []], None),
        ([1, 2, None, [[]]], None),
        ([1, 2, None, [True]], None),
        ([1, 2], None),
        (None, None),
    ],
)
def test_the_kind_of_a_dump_is_its_roots(dump: object, kind: str | None) -> None:
    assert kind_of(dump) == kind


plains = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=5)
    | st.tuples(st.integers(32, 41), st.integers(0, 3), st.integers(0, 3), inner).map(list)
    | st.tuples(st.just(38), st.integers(0, 3), st.integers(0, 3), inner, inner).map(list),
    max_leaves=12,
)  # fmt: skip


@given(plains)
@settings(max_examples=500, deadline=None)
def test_whatever_comes_is_loaded_or_refused(root: Any) -> None:
    for cls in (UMap, UVec, UStack):
        value = cls[Any, Any](a=1) if cls is UMap else cls[Any]([1])  # type: ignore[index,call-arg]
        before = value.dump()
        try:
            value._tree.load([1, 3, None, root])
        except (MalformedUpdateError, UnknownTypeError):
            assert value.dump() == before
        else:
            value._tree.audit()
            assert repr(cls.load(value.dump()).dump()) == repr(value.dump())
