"""Operations on vecs and stacks: what each gives, what takes it back, what it tells."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucore import ABSENT, Update, UStack, UVec, codes
from ucore.base import Applied, Effect


def run(v: Any, *ops: list[Any]) -> tuple[Applied, list[tuple[Any, ...]]]:
    effects: list[Effect] = []
    update = Update([[op[0], 0, 0, *op[1:]] for op in ops])
    applied = v._tree.apply(update, v._tree.position + 1, effects=effects, inverse=True)
    return applied, [effect[1:] for effect in effects]


NODE = [36, 1, 1, 9]  # the element at 1 of [0, [9], 2, 3], as an inverse writes it
CASES: dict[str, tuple[list[Any], Any, list[Any], list[Any], list[Any]]] = {
    # operation, content afterwards, result, inverse, effects
    "append": (
        [codes.APPEND, [33]],
        [0, [9], 2, 3, []],
        None,
        [codes.POP, 0, 0],
        [("insert", 4, ABSENT, [])],
    ),
    "extend": (
        [codes.EXTEND, 4, [33, 5]],
        [0, [9], 2, 3, 4, [5]],
        None,
        [codes.SPLICE, 0, 0, 4, 2],
        [("insert", 4, ABSENT, 4), ("insert", 5, ABSENT, [5])],
    ),
    "pop": (
        [codes.POP],
        [0, [9], 2],
        3,
        [codes.APPEND, 0, 0, 3],
        [("remove", 3, 3, ABSENT)],
    ),
    "splice, shorter": (
        [codes.SPLICE, 0, 3, "x"],
        ["x", 3],
        [0, [9], 2],
        [codes.SPLICE, 0, 0, 0, 1, 0, NODE, 2],
        [("set", 0, 0, "x"), ("remove", 1, [9], ABSENT), ("remove", 1, 2, ABSENT)],
    ),
    "splice, longer": (
        [codes.SPLICE, 1, 1, "x", [32]],
        [0, "x", {}, 2, 3],
        [[9]],
        [codes.SPLICE, 0, 0, 1, 2, NODE],
        [("set", 1, [9], "x"), ("insert", 2, ABSENT, {})],
    ),
    "stride set": (
        [codes.STRIDE_SET, 1, 2, "x", [33]],
        [0, "x", 2, []],
        None,
        [codes.STRIDE_SET, 0, 0, 1, 2, NODE, 3],
        [("set", 1, [9], "x"), ("set", 3, 3, [])],
    ),
    "stride delete": (
        [codes.STRIDE_DELETE, 0, 3, 2],
        [[9], 2],
        [0, 3],
        [codes.STRIDE_INSERT, 0, 0, 0, 3, 0, 3],
        [("remove", 0, 0, ABSENT), ("remove", 2, 3, ABSENT)],
    ),
    "stride delete, nodes": (
        [codes.STRIDE_DELETE, 1, 2, 2],
        [0, 2],
        [[9], 3],
        [codes.STRIDE_INSERT, 0, 0, 1, 2, NODE, 3],
        [("remove", 1, [9], ABSENT), ("remove", 2, 3, ABSENT)],
    ),
    "stride insert": (
        [codes.STRIDE_INSERT, 1, 2, "x", [33], "z"],
        [0, "x", [9], [], 2, "z", 3],
        None,
        [codes.STRIDE_DELETE, 0, 0, 1, 2, 3],
        [("insert", 1, ABSENT, "x"), ("insert", 3, ABSENT, []), ("insert", 5, ABSENT, "z")],
    ),
    "permute": (
        [codes.PERMUTE, 3, 0, 1, 2],
        [3, 0, [9], 2],
        None,
        [codes.PERMUTE, 0, 0, 1, 2, 3, 0],
        [("reorder", 0, None, None)],
    ),
    "reverse": (
        [codes.REVERSE],
        [3, 2, [9], 0],
        None,
        [codes.REVERSE, 0, 0],
        [("reorder", 0, None, None)],
    ),
    "clear": (
        [codes.CLEAR],
        [],
        None,
        [codes.EXTEND, 0, 0, 0, NODE, 2, 3],
        [
            ("remove", 3, 3, ABSENT),
            ("remove", 2, 2, ABSENT),
            ("remove", 1, [9], ABSENT),
            ("remove", 0, 0, ABSENT),
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_an_operation_gives_tells_and_is_taken_back_by(name: str) -> None:
    op, after, result, inverse, effects = CASES[name]
    v = UVec[Any]([0, [9], 2, 3])
    node_ids, inner = set(v._tree.nodes), v[1]
    applied, told = run(v, op)
    assert v == after
    assert applied.results == [result]
    assert applied.inverse is not None
    assert applied.inverse.ops == [inverse]
    assert told == effects
    assert played([0, [9], 2, 3], told, after) == after
    quiet = UVec[Any]([0, [9], 2, 3])
    quiet._tree.apply(Update([[op[0], 0, 0, *op[1:]]]), 2)
    assert quiet.dump() == v.dump()
    quiet._tree.audit()
    v._tree.audit()
    v.apply(applied.inverse)
    assert v == [0, [9], 2, 3]
    assert set(v._tree.nodes) == node_ids
    assert v[1] is inner


def played(model: list[Any], effects: list[tuple[Any, ...]], reordered: list[Any]) -> list[Any]:
    """*model* after *effects*, each at the index that it names."""
    for kind, key, old, new in effects:
        if kind == "insert":
            model.insert(key, new)
        elif kind == "reorder":
            model = reordered
        else:
            assert model[key] == old
            model[key : key + 1] = [new] if kind == "set" else []
    return model


@pytest.mark.parametrize(
    "op",
    [
        [codes.SPLICE, 3, 2],
        [codes.SPLICE, 5, 0, "x"],
        [codes.STRIDE_SET, 2, 2, "x", "y"],
        [codes.STRIDE_DELETE, 0, 2, 3],
        [codes.STRIDE_INSERT, 4, 2, "x", "y"],
        [codes.PERMUTE, 0, 1, 2],
    ],
)
def test_what_names_no_element_fails_and_changes_nothing(op: list[Any]) -> None:
    v = UVec[Any]([0, [9], 2, 3])
    applied, told = run(v, op)
    assert applied.failure is not None
    assert type(applied.failure.error) is IndexError
    assert (v, told) == ([0, [9], 2, 3], [])


def test_an_empty_container_has_nothing_to_pop() -> None:
    for empty, kind in ((UVec(), "list"), (UStack(), "stack")):
        applied, _ = run(empty, [codes.POP])
        assert applied.failure is not None
        assert str(applied.failure.error) == f"pop from empty {kind}"


def test_popped_containers_are_plain_and_come_back_as_nodes() -> None:
    stack = UStack[Any]([[1]])
    handle = stack.peek()
    applied, _ = run(stack, [codes.POP])
    assert type(applied.results[0]) is list
    assert applied.inverse is not None
    stack.apply(applied.inverse)
    assert stack.peek() is handle


def test_clearing_nothing_needs_no_inverse() -> None:
    applied, told = run(UVec(), [codes.CLEAR])
    assert applied.inverse is not None
    assert (applied.inverse.ops, told) == ([], [])


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 4), st.integers(1, 4))
def test_a_stride_inserts_what_it_had_deleted(
    length: int, start: int, step: int, count: int
) -> None:
    v = UVec[int](range(length))
    applied, told = run(v, [codes.STRIDE_DELETE, start, step, count])
    taken = list(range(length))[start::step][:count]
    if len(taken) < count:
        assert applied.failure is not None
        return
    assert v == [i for i in range(length) if i not in taken]
    assert applied.results == [taken]
    assert played(list(range(length)), told, []) == v
    assert applied.inverse is not None
    back, told = run(v, applied.inverse.ops[0][:1] + applied.inverse.ops[0][3:])
    assert back.failure is None
    assert v == list(range(length))
