"""UStack does what a list used as a stack does, and every change is an update."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucore import StaleHandleError, UMap, Update, UStack, UVec, WrongTypeError, recording

values = st.sampled_from([None, 0, True, -0.0, "x", (1,), [1], {"a": [2]}])
CALLS = st.one_of(
    st.tuples(st.just("push"), values),
    st.tuples(st.just("extend"), st.lists(values, max_size=3)),
    st.tuples(st.just("pop")),
    st.tuples(st.just("clear")),
)


def outcome(method: Any, arguments: list[Any]) -> tuple[Any, ...]:
    try:
        return "gave", repr(method(*arguments))
    except IndexError:
        return ("raised",)


def again(update: Update) -> Update:
    return Update.from_plain(update.to_plain())


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(values, max_size=3), st.lists(CALLS, max_size=12))
def test_a_stack_does_what_a_list_as_a_stack_does(start: list[Any], calls: list[Any]) -> None:
    model = list(start)
    stack: Any = UStack(start)
    twin: Any = UStack.load(stack.dump())
    history = []
    for name, *arguments in calls:
        with recording(stack) as updates:
            expected = outcome(getattr(model, {"push": "append"}.get(name, name)), arguments)
            assert outcome(getattr(stack, name), arguments) == expected
        assert repr(stack.copy()) == repr(model)
        assert repr(list(stack)) == repr(model[::-1])
        assert (len(stack), bool(stack)) == (len(model), bool(model))
        history.append((twin.dump(), [twin.apply(u) for u in map(again, updates)]))
        assert twin.dump() == stack.dump()
        stack._tree.audit()
        twin._tree.audit()
    for before, inverses in reversed(history):
        for inverse in reversed(inverses):
            twin.apply(again(inverse))
        old = UStack.load(before)
        assert twin == old
        assert sorted(twin._tree.nodes) == sorted(old._tree.nodes)


def test_reading_goes_from_the_top() -> None:
    stack = UStack[int]([1, 2, 3])
    assert list(stack) == [3, 2, 1]
    assert stack.peek() == 3
    assert 2 in stack
    assert 5 not in stack
    assert repr(stack) == "UStack([1, 2, 3])"
    assert isinstance(stack, Collection)


def test_an_empty_stack_has_no_top() -> None:
    stack = UStack[int]()
    with pytest.raises(IndexError, match="peek at empty stack"):
        stack.peek()
    with pytest.raises(IndexError, match="pop from empty stack"):
        stack.pop()


def test_it_equals_stacks_only() -> None:
    assert UStack([1, 2]) == UStack([1, 2])
    assert UStack([1, 2]) != UStack([2, 1])
    assert UStack([1]) != [1]
    with pytest.raises(TypeError, match="unhashable"):
        hash(UStack())


def test_a_second_init_and_attributes_are_refused() -> None:
    stack = UStack([1])
    with pytest.raises(TypeError, match="second time"):
        stack.__init__()  # type: ignore[misc]
    with pytest.raises(AttributeError):
        stack.note = 1  # type: ignore[attr-defined]
    assert stack == UStack([1])


def test_it_stands_in_other_containers_and_they_in_it() -> None:
    m = UMap[str, UStack[list[int]]](a=UStack([[1]]))
    m["a"].push([2])
    m["a"].peek().append(3)
    assert m["a"].copy() == [[1], [2, 3]]
    assert type(m["a"]) is UStack
    assert type(m["a"].peek()) is UVec
    with pytest.raises(WrongTypeError):
        m["a"].push(["x"])  # type: ignore[list-item]
    top = m["a"].peek()
    popped = m["a"].pop()
    assert type(popped) is list
    with pytest.raises(StaleHandleError):
        top.append(4)
    assert type(UMap.load(m.dump())["a"]) is UStack
    stack, bottom = m["a"], m["a"].peek()
    m.clear()
    for gone in (stack, bottom):
        with pytest.raises(StaleHandleError):
            gone.clear()
    assert stack.copy() == [[1]]


def test_a_batch_of_a_stack_records_a_stack() -> None:
    stack = UStack([1, 2])
    with stack.batch() as batch:
        batch.pop()
        batch.push(3)
    assert stack == UStack([1, 3])
    assert batch.results == [2, None]


def test_a_transaction_hands_out_an_overlay_of_its_own_kind() -> None:
    s = UStack([1])
    with s.transaction() as t:
        assert type(t).__name__ == "StackOverlay"
        t.push(2)
    assert s == UStack([1, 2])
    assert s.run_transaction(lambda t: t.pop()) == 2
    assert len(s) == 1
