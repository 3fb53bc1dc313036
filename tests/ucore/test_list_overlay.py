"""A transaction's list and stack answer as the list, or the list as a stack, that they would be."""

from __future__ import annotations

import random
from bisect import insort
from heapq import heappush
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucore import UMap, UStack, UVec


def opened(content: list[Any]) -> tuple[UVec[Any], Any, Any]:
    v = UVec(content)
    transaction = v.transaction()
    return v, transaction, transaction.begin()


def opened_stack(content: list[Any]) -> tuple[UStack[Any], Any, Any]:
    s = UStack(content)
    transaction = s.transaction()
    return s, transaction, transaction.begin()


# ---------------------------------------------------------------- lists


def test_reading_is_a_lists() -> None:
    nan = float("nan")
    _, _, t = opened([3, [1], nan, 3])
    assert t[0] == t[-1] == 3
    assert t[1:3] == [[1], nan]
    assert t[1:2][0] is t[1]
    assert t[::-2] == [3, [1]]
    assert len(t) == 4
    assert list(t) == [3, [1], nan, 3]
    assert list(reversed(t)) == [3, nan, [1], 3]
    assert nan in t
    assert [1] in t
    assert 7 not in t
    assert t.count(3) == 2
    assert t.count(nan) == 1
    assert t.index(3) == 0
    assert t.index(3, 1) == 3
    assert t.index(nan, -3, -1) == 2
    for missing in ((7,), (3, 1, 3), (3, 1, -1)):
        with pytest.raises(ValueError, match="is not in list"):
            t.index(*missing)
    with pytest.raises(IndexError, match="list index out of range"):
        t[4]
    with pytest.raises(TypeError, match="list indices"):
        t["a"]
    match t:
        case [3, [one], *_]:
            assert one == 1


def test_comparing_and_adding_are_a_lists() -> None:
    v, _, t = opened([1, [2]])
    other = opened([1, [2]])[2]
    assert t == v == t == [1, [2]] == t
    assert t == other
    other[1].append(3)
    assert t != other
    assert t != (1, [2])
    assert t < other
    assert other > t
    assert t <= [1, [2]]
    assert t >= [1, [2]]
    assert t < [2]
    assert [2] > t
    assert v <= t
    with pytest.raises(TypeError):
        t < (1,)  # noqa: B015
    empty: list[Any] = []
    assert t + empty == empty + t == [1, [2]]
    assert t + other == [1, [2], 1, [2, 3]]
    assert t * 2 == 2 * t == [1, [2], 1, [2]]
    assert type(t + empty) is type(empty + t) is type(t * 1) is list
    pair = (1, 2)
    for wrong in (lambda: t + pair, lambda: pair + t, lambda: t * "x"):
        with pytest.raises(TypeError):
            wrong()
    assert repr(t) == "[1, [2]]"
    with pytest.raises(TypeError):
        hash(t)


def test_a_loop_sees_what_is_done_to_the_list_as_a_lists_loop_does() -> None:
    def seen(model: Any) -> list[int]:
        found = []
        for x in model:
            found.append(x)
            if x == 2:
                del model[0]
            if x == 4:
                model.append(5)
        for x in reversed(model):
            found.append(x)
            if x != 4:
                del model[-1:]
        late = reversed(model)
        model.clear()
        return [*found, *late]

    expected = seen([1, 2, 3, 4])
    assert seen(opened([1, 2, 3, 4])[2]) == expected
    assert len(expected) > 5


def test_every_mutator_changes_what_is_shown_and_then_the_structure() -> None:
    v, transaction, t = opened([1, 2])
    t.append(3)
    t.extend([4, 5])
    t.extend([])
    t += (6,)
    t.insert(0, 0)
    t.insert(99, 7)
    assert t == [0, 1, 2, 3, 4, 5, 6, 7]
    assert t.pop() == 7
    assert t.pop(0) == 0
    t.remove(4)
    t[0] = 10
    t[1:3] = [20]
    assert t == [10, 20, 5, 6]
    t[::-1] = [4, 3, 2, 1]
    t[::2] = [8, 9]
    assert t == [8, 2, 9, 4]
    t *= 2
    t *= 1
    t.reverse()
    t.sort(reverse=True)
    del t[0]
    del t[0:0]
    t[3:3] = []
    del t[::2]
    assert t == [8, 4, 2]
    shown = list(t)
    transaction.commit()
    assert v == shown


def test_mistakes_are_a_lists_and_change_nothing() -> None:
    _, transaction, t = opened([1])
    for call, error, text in (
        (lambda: opened([])[2].pop(), IndexError, "pop from empty list"),
        (lambda: t.pop(5), IndexError, "pop index out of range"),
        (lambda: t.remove(9), ValueError, "not in list"),
        (lambda: t.__setitem__(3, 1), IndexError, "assignment index out of range"),
        (lambda: t.__setitem__(slice(0, 1), 3), TypeError, "can only assign an iterable"),
        (lambda: t.__setitem__(slice(0, 1, 2), [1, 2]), ValueError, "extended slice of size 1"),
        (lambda: t.__setitem__("a", 1), TypeError, "list indices"),
        (lambda: t.__delitem__(3), IndexError, "assignment index out of range"),
        (lambda: t.__imul__("x"), TypeError, "can't multiply"),
        (lambda: t.append({1}), TypeError, "frozenset"),
        (lambda: t.extend([1, {1}]), TypeError, "frozenset"),
        (lambda: t.extend(3), TypeError, "not iterable"),
        (lambda: t.sort(key=lambda x: x.nope), AttributeError, "nope"),
    ):
        with pytest.raises(error, match=text):
            call()
    assert t == [1]
    assert transaction.changes == 0


def test_a_sort_whose_key_changes_the_list_is_refused() -> None:
    _, _, t = opened([2, 1])
    with pytest.raises(ValueError, match="modified during sort"):
        t.sort(key=lambda x: t.append(3) or x)
    t.sort()
    assert t == [1, 2, 3, 3]
    one = opened([1])[2]
    one.sort()
    one.reverse()
    assert one == [1]


def test_containers_in_it_keep_their_identity_or_are_copied_as_in_a_vec() -> None:
    v, transaction, t = opened([[1], {"a": [2]}, [3]])
    last = v[2]
    t[0] += [2]
    t[0] = t[0]
    t.reverse()
    t.sort(key=lambda x: repr(x), reverse=True)
    assert t == [{"a": [2]}, [3], [1, 2]]
    t[1].append(4)
    t *= 2
    t[4].append(5)
    assert t == [{"a": [2]}, [3, 4], [1, 2], {"a": [2]}, [3, 4, 5], [1, 2]]
    t[::-2] = [[], [9], [8]]
    t[1].append(1)
    t[3].append(2)
    t[5].append(3)
    t[0]["b"] = t[3]
    assert t.pop(2) == [1, 2]
    shown = t.copy()
    assert shown == [{"a": [2], "b": [9, 2]}, [8, 1], [9, 2], [3, 4, 5], [3]]
    transaction.commit()
    assert v == shown
    assert all(x is not last for x in v)


def test_replaced_and_deleted_containers_are_stale() -> None:
    _, _, t = opened([[1], [2], [3], [4], [5]])
    handles = list(t)
    t[0] = None
    t[1:2] = []
    del t[1]
    del t[1:2]
    t.pop()
    for handle in handles:
        with pytest.raises(RuntimeError, match="removed"):
            handle.append(0)
    assert handles == [[1], [2], [3], [4], [5]]
    assert t == [None]
    t.append([6])
    made = t[-1]
    t *= 0
    with pytest.raises(RuntimeError):
        made.append(0)
    t *= 0
    t.clear()
    assert t == []


def test_pure_python_that_takes_a_sequence_works_and_c_that_wants_a_list_is_refused() -> None:
    _, _, t = opened([3, 1, 2])
    t.sort()
    insort(t, 2.5)
    assert t == [1, 2, 2.5, 3]
    random.Random(1).shuffle(t)
    assert sorted(t) == [1, 2, 2.5, 3]
    assert max(t) == 3
    with pytest.raises(TypeError):
        heappush(t, 0)


# ---------------------------------------------------------------- stacks


def test_a_stack_is_read_from_the_top() -> None:
    s, transaction, t = opened_stack([1, [2]])
    assert list(t) == [[2], 1]
    assert t.peek() is t.peek()
    assert len(t) == 2
    assert [2] in t
    assert t == s
    assert s == t
    assert t == UStack([1, [2]])
    assert t == opened_stack([1, [2]])[2]
    assert t != [1, [2]]
    assert t != UStack([1])
    assert repr(t) == "UStack([1, [2]])"
    assert t.copy() == [1, [2]]
    t.peek().append(3)
    t.push(4)
    t.extend([5, 6])
    assert t.pop() == 6
    assert t != s
    assert repr(t) == "UStack([1, [2, 3], 4, 5])"
    transaction.commit()
    assert s == UStack([1, [2, 3], 4, 5])
    with pytest.raises(TypeError):
        hash(t)


def test_an_empty_stack_has_nothing_to_pop() -> None:
    _, transaction, t = opened_stack([1])
    t.clear()
    with pytest.raises(IndexError, match="peek at empty stack"):
        t.peek()
    with pytest.raises(IndexError, match="pop from empty stack"):
        t.pop()
    t.clear()
    assert transaction.changes == 1
    assert repr(t) == "UStack([])"


def test_a_stack_within_a_map_stays_a_stack() -> None:
    m: UMap[str, Any] = UMap(s=UStack([1]))
    with m.transaction() as t:
        t["s"].push(2)
        t["copy"] = t["s"]
        t["copy"].push(3)
        assert t.pop("s") == [1, 2]
    assert m["copy"] == UStack([1, 2, 3])


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    st.lists(st.integers(), max_size=3),
    st.lists(st.none() | st.lists(st.integers(), max_size=2) | st.integers(), max_size=8),
)
def test_a_program_on_a_stack_is_the_program_on_a_list(content: Any, steps: Any) -> None:
    s, model = UStack(content), list(content)
    with s.transaction() as t:
        for step in steps:
            if step is None and model:
                assert t.pop() == model.pop()
            elif isinstance(step, list):
                t.extend(step)
                model += step
            elif step is not None:
                t.push(step)
                model.append(step)
            assert list(t) == model[::-1]
        assert s == UStack(content)
    assert s.copy() == model
