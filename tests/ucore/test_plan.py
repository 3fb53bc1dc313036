"""What a caller says becomes the text of an operation, or the builtin's own error."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucore import UMap, UnstorableError, UVec, WrongTypeError, codes, plan
from ucore.plan import INTENT, Plan
from ucore.primitives import flat
from ucore.types import ANY

INTS = UMap[str, int].spec  # type: ignore[attr-defined]
VEC = UVec[int].spec  # type: ignore[attr-defined]


def test_values_are_checked_and_the_error_names_the_place() -> None:
    assert plan.plain_value(INTS, 1, "k") == 1
    with pytest.raises(WrongTypeError, match=r"^\['k'\]: "):
        plan.plain_value(INTS, "x", "k")
    with pytest.raises(UnstorableError, match=r"^\['k'\]\[1\]: "):
        plan.plain_value(ANY, [0, {1}], "k")
    with pytest.raises(WrongTypeError, match=r"^\[1\]: "):
        plan.plain_values(VEC, [1, "x"])
    assert plan.plain_values(VEC, [1, True]) == [1, True]


def test_a_value_that_is_refused_once_and_not_again_is_a_bug() -> None:
    class Moody:
        refused = False
        exact: frozenset[type] = frozenset()
        value: Any

        def check(self, value: object, path: str = "") -> None:
            if not self.refused:
                self.refused = True
                raise TypeError

    moody = Moody()
    moody.value = moody
    with pytest.raises(AssertionError, match="refused once"):
        plan.plain_value(moody, 1, "k")  # type: ignore[arg-type]


def test_keys_are_checked() -> None:
    assert plan.plain_key(INTS, "a") == "a"
    with pytest.raises(WrongTypeError, match=r"^<key 1>: "):
        plan.plain_key(INTS, 1)
    with pytest.raises(UnstorableError):
        plan.plain_key(ANY, math.nan)


class Letter(StrEnum):
    A = "a"


def test_a_key_that_cannot_be_stored_is_found_only_by_what_it_equals() -> None:
    assert plan.delete({}, "a") == Plan(codes.DELETE, ["a"])
    assert plan.discard({"a": 1}, Letter.A) == Plan(codes.DISCARD, ["a"])
    assert plan.discard({"b": 1}, Letter.A) is None
    with pytest.raises(KeyError):
        plan.delete({"b": 1}, Letter.A)
    with pytest.raises(TypeError, match="unhashable"):
        plan.discard({}, [])


def test_maps() -> None:
    assert plan.put(ANY, "a", [1]) == Plan(codes.PUT, ["a", [33, 1]])
    assert plan.put_many(ANY, {}) is None
    assert plan.put_many(ANY, {"a": 1}) == Plan(codes.PUT, ["a", 1])
    assert plan.put_many(ANY, {"a": 1, "b": 2}) == Plan(codes.PUT_MANY, ["a", 1, "b", 2])
    assert plan.are_native_pairs(ANY, {"a": 1, 2: "b"})
    for few_or_other in ({}, {"a": 1}, {"a": 1, "b": [2]}, {"a": 1, True: 2}, {"a": 1, "b": 2**63}):
        assert not plan.are_native_pairs(ANY, few_or_other)
    with pytest.raises(WrongTypeError, match=r"^\['b'\]: "):
        plan.put_many(INTS, {"a": 1, "b": "x"})
    assert plan.set_default(ANY, "a", 1) == Plan(codes.SET_DEFAULT, ["a", 1])
    assert plan.increment(INTS, "a", 1) == Plan(codes.INCREMENT, ["a", 1])
    with pytest.raises(TypeError, match="not by True"):
        plan.increment(ANY, "a", True)
    with pytest.raises(WrongTypeError):
        plan.increment(INTS, "a", 1.5)


MIXED = UMap[str | tuple[int], int | list[int] | None].spec  # type: ignore[attr-defined]
ODD_KEYS = st.sampled_from(["a", "ä", "\ud800", 0, True, 2**63, None, 1.5, (1,), math.nan, b"k"])
ODD_VALUES = st.sampled_from(["x", "\ud800", 1, True, 2**63, -(2**63), 1.5, [1], ["x"], (1,), {1}])


@settings(derandomize=True, deadline=None)
@given(
    st.sampled_from([ANY, INTS, MIXED]),
    st.dictionaries(ODD_KEYS | st.text(), ODD_VALUES | st.integers(), min_size=2, max_size=4),
)
def test_columns_are_checked_as_each_of_their_values_is(spec: Any, content: dict[Any, Any]) -> None:
    refused = False
    expected = []
    for key, value in content.items():
        try:
            expected += [plan.plain_key(spec, key), plan.plain_value(spec, value, key)]
        except TypeError:
            refused = True
    if refused:
        with pytest.raises(TypeError):
            plan.put_many(spec, content)
    else:
        assert repr(plan.put_many(spec, content)) == repr(Plan(codes.PUT_MANY, expected))
    if plan.are_native_pairs(spec, content):
        assert not refused
        assert repr(flat(content)) == repr(expected)


@settings(derandomize=True, deadline=None)
@given(st.sampled_from([ANY, VEC, INTS]), st.lists(ODD_VALUES, max_size=3))
def test_a_list_is_checked_as_each_of_its_values_is(spec: Any, values: list[Any]) -> None:
    try:
        expected = [plan.plain_value(spec, value, 0) for value in values]
    except TypeError:
        with pytest.raises(TypeError):
            plan.plain_values(spec, values)
    else:
        found = plan.plain_values(spec, values)
        assert repr(found) == repr(expected)
        assert found is not values


def test_what_changes_nothing_has_no_plan() -> None:
    assert plan.extend(ANY, []) is None
    assert plan.set_item(ANY, slice(1, 1), [], 3) is None
    assert plan.set_item(ANY, slice(1, 1, 2), [], 3) is None
    assert plan.delete_item(slice(2, 1), 3) is None
    assert plan.repeat(ANY, [1], 1) is None
    assert plan.repeat(ANY, [], 5) is None
    assert plan.sort([1], None, False) is None
    assert plan.reverse(1) is None


def test_the_ends_are_intents_and_the_rest_is_strict() -> None:
    assert plan.append(ANY, 1, 3) == Plan(codes.APPEND, [1], INTENT)
    assert plan.extend(ANY, [1]) == Plan(codes.APPEND, [1], INTENT)
    assert plan.extend(ANY, [1, 2]) == Plan(codes.EXTEND, [1, 2], INTENT)
    assert plan.insert(ANY, -9, 1, 3) == Plan(codes.SPLICE, [0, 0, 1], INTENT)
    assert plan.insert(ANY, -1, 1, 3) == Plan(codes.SPLICE, [2, 0, 1], 2)
    assert plan.insert(ANY, 9, 1, 3) == Plan(codes.SPLICE, [3, 0, 1], 3)
    assert plan.pop(-1, 3) == Plan(codes.POP, [], INTENT)
    assert plan.pop(-3, 3) == Plan(codes.SPLICE, [0, 1], 0)
    assert plan.set_item(ANY, -1, "x", 3) == Plan(codes.STRIDE_SET, [2, 1, "x"], 2)
    assert plan.delete_item(-1, 3) == Plan(codes.SPLICE, [2, 1], 2)
    assert plan.remove([5, 6], 6) == Plan(codes.SPLICE, [1, 1], 1)
    assert plan.repeat(ANY, [1, 2], 2) == Plan(codes.EXTEND, [1, 2], None)
    assert plan.repeat(ANY, [1, 2], -2) == Plan(codes.SPLICE, [0, 2], None)
    assert plan.sort([3, 1, 2], None, True) == Plan(codes.PERMUTE, [0, 2, 1], None)
    assert plan.sort([3, 1], lambda x: -x, True) == Plan(codes.PERMUTE, [1, 0], None)
    assert plan.reverse(2) == Plan(codes.REVERSE, [], None)


def test_the_errors_are_the_builtins() -> None:
    for call, error in (
        (lambda: plan.pop(0, 0), "pop from empty list"),
        (lambda: plan.pop(3, 3), "pop index out of range"),
        (lambda: plan.set_item(ANY, 3, 1, 3), "list assignment index out of range"),
        (lambda: plan.delete_item(-4, 3), "list assignment index out of range"),
    ):
        with pytest.raises(IndexError, match=error):
            call()
    for call, error in (
        (lambda: plan.set_item(ANY, "x", 1, 3), "list indices must be integers or slices, not str"),
        (lambda: plan.set_item(ANY, slice(1), 1, 3), "can only assign an iterable"),
        (lambda: plan.set_item(ANY, slice(1, 3, 2), 1, 3), "must assign iterable"),
        (lambda: plan.repeat(ANY, [1], "x"), "can't multiply sequence by non-int of type 'str'"),
    ):
        with pytest.raises(TypeError, match=error):
            call()
    with pytest.raises(ValueError, match="not in list"):
        plan.remove([1], 2)
    with pytest.raises(ValueError, match="sequence of size 1 to extended slice of size 2"):
        plan.set_item(ANY, slice(None, None, 2), [1], 3)


ends = st.none() | st.integers(-9, 9)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.integers(0, 7), ends, ends, st.sampled_from([None, 1, 2, 3, -1, -2]))
def test_a_slice_names_the_elements_that_a_list_would_take(
    length: int, start: Any, stop: Any, step: Any
) -> None:
    items = list(range(length))
    expected = items[start:stop:step]
    planned = plan.delete_item(slice(start, stop, step), length)
    if planned is None:
        assert expected == []
        return
    if planned.code == codes.SPLICE:
        first, count = planned.arguments
        taken = items[first : first + count]
    else:
        first, stride, count = planned.arguments
        taken = items[first::stride][:count]
    assert sorted(expected) == taken
    assert planned.last == max(expected)
    put = plan.set_item(ANY, slice(start, stop, step), [str(i) for i in expected], length)
    assert put is not None
    assert put.arguments[2:] == [str(i) for i in sorted(expected)]
    assert put.last == planned.last
