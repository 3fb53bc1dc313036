"""A column comes back as it was, is the same bytes for equal columns, and nothing else gets through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucore.columns import pack, unpack
from ucore.errors import MalformedUpdateError
from ucore.primitives import INT_MAX, INT_MIN


@pytest.mark.parametrize(
    ("column", "plain"),
    [
        (["a", "", "ä", "c"], "a\0\0ä\0c"),
        ([""], ""),
        (["a", "\0"], ["a", "\0"]),
        ([1, -2], b"\x01\x01\xfe"),
        ([127, -128], b"\x01\x7f\x80"),
        ([128, 0], b"\x02\x80\x00\x00\x00"),
        ([-129], b"\x02\x7f\xff"),
        ([2**15], b"\x04\x00\x80\x00\x00"),
        ([2**31], b"\x08\x00\x00\x00\x80\x00\x00\x00\x00"),
        ([INT_MAX, INT_MIN], b"\x08" + b"\xff" * 7 + b"\x7f" + b"\x00" * 7 + b"\x80"),
        ([1.5], b"\x09\x00\x00\x00\x00\x00\x00\xf8\x3f"),
        ([1.0, 2], [1.0, 2]),
        ([True, False], [True, False]),
        ([None, "a", 1, 1.5, b"b", True], [None, "a", 1, 1.5, b"b", True]),
        ((b"a",), [b"a"]),
    ],
)
def test_a_column_of_one_type_is_packed_and_comes_back(column: Any, plain: Any) -> None:
    assert pack(column) == plain
    assert type(pack(column)) is type(plain)
    assert list(unpack(plain)) == list(column)


def test_nan_and_the_sign_of_zero_are_kept() -> None:
    assert repr(pack([1.0, float("nan")])) == "[1.0, nan]"
    packed = pack([0.0, -0.0, float("inf")])
    assert type(packed) is bytes
    assert repr(list(unpack(packed))) == "[0.0, -0.0, inf]"


@pytest.mark.parametrize("column", [[(1, 2)], ["a", 2**63], [-(2**63) - 1], [1, object()]])
def test_what_is_not_native_is_no_column(column: Any) -> None:
    assert pack(column) is None


@pytest.mark.parametrize(
    "plain",
    [
        None, 7, True, 1.5, b"", b"\x00", b"\x03abc", b"\x02abc", b"\x08" + bytes(7), b"\x0a" + bytes(8),
        b"\x09" + b"\xff" * 8, "\ud800", ["\ud800"], [2**63], [[]], [[33]], [object()], ("a",),
    ],
)  # fmt: skip
def test_what_is_no_column_is_refused(plain: Any) -> None:
    with pytest.raises(MalformedUpdateError, match="not a column"):
        unpack(plain)


natives = (
    st.none() | st.booleans() | st.integers(INT_MIN, INT_MAX) | st.floats() | st.text(max_size=3)
    | st.binary(max_size=3)
)  # fmt: skip
columns = (
    st.lists(natives, min_size=1)
    | st.lists(st.text(max_size=3), min_size=1)
    | st.lists(st.integers(INT_MIN, INT_MAX), min_size=1)
    | st.lists(st.integers(-300, 300), min_size=1)
    | st.lists(st.floats(), min_size=1)
)


@given(columns)
@settings(max_examples=300, deadline=None)
def test_whatever_is_packed_comes_back_with_its_types(column: list[Any]) -> None:
    packed = pack(column)
    assert packed is not None
    again = list(unpack(packed))
    assert repr(again) == repr(column)
    assert repr(pack(again)) == repr(packed)


@given(st.binary(max_size=40) | st.text(max_size=20) | st.lists(natives, max_size=5))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_a_column_of_natives_or_refused(plain: Any) -> None:
    try:
        found = unpack(plain)
    except MalformedUpdateError:
        return
    assert len(found) <= len(plain) + 1
    assert not found or pack(found) is not None
