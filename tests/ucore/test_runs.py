"""A run is what one by one would come to; whatever might not be is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucore import UMap, Update, UStack, UVec, codes
from ucore.base import ABSENT, Effect
from ucore.runs import Run, effects_of, read_run

PUT, APPEND, INCREMENT = codes.PUT, codes.APPEND, codes.INCREMENT
LAST = 2**63 - 1


@pytest.mark.parametrize(
    ("ops", "run"),
    [
        ([[PUT, 0, 0, "a", 1]], Run(PUT, (0, 0), ("a",), (1,))),
        (
            [[PUT, 3, 1, "ä", 1.5], [PUT, 3, 1, 2, None], [PUT, 3, 1, "b", "ö"]],
            Run(PUT, (3, 1), ("ä", 2, "b"), (1.5, None, "ö")),
        ),
        ([[APPEND, 0, 0, LAST], [APPEND, 0, 0, -LAST - 1]], Run(APPEND, (0, 0), (), (LAST, -LAST - 1))),
        ([[INCREMENT, 0, 0, "a", 5], [INCREMENT, 0, 0, 1, LAST]], Run(INCREMENT, (0, 0), ("a", 1), (5, LAST))),
        ([[APPEND, 0, 0, b"x"], [APPEND, 0, 0, True]], Run(APPEND, (0, 0), (), (b"x", True))),
    ],
)  # fmt: skip
def test_changes_of_one_kind_on_one_node_with_natives_alone_are_a_run(
    ops: list[Any], run: Run
) -> None:
    assert read_run([[1, op] for op in ops]) == run


@pytest.mark.parametrize(
    "plains",
    [
        [None],
        [[]],
        [[1]],
        [[1, [PUT, 0, 0, "a", 1], [PUT, 0, 0, "b", 1]]],
        [[2, [PUT, 0, 0, "a", 1]]],
        [[True, [PUT, 0, 0, "a", 1]]],
        [[1, (PUT, 0, 0, "a", 1)]],
        [[1, [PUT, 0, 0, "a", 1]], [1, [APPEND, 0, 0, 1]]],
        [[1, [PUT, 0, 0, "a", 1]], [1, [INCREMENT, 0, 0, "a", 1]]],
        [[1, [INCREMENT, 0, 0, "a", 1]], [1, [INCREMENT, 0, 0, "a", 1.0]]],
        [[1, [INCREMENT, 0, 0, "a", True]]],
        [[1, [INCREMENT, 0, 0, "a", 2**63]]],
        [[1, [INCREMENT, 0, 0, True, 1]]],
        [[1, [PUT, 0, 0, "a", 1]], [1, [PUT, 1, 1, "a", 1]]],
        [[1, [PUT, 0, 0, "a", 1]], [1, [PUT, 0, 1, "a", 1]]],
        [[1, [PUT, False, 0, "a", 1]]],
        [[1, [True, 0, 0, "a", 1]]],
        [[1, [PUT, 0, 0, 1]]],
        [[1, [APPEND, 0, 0, 1, 2]]],
        [[1, [codes.CLEAR, 0, 0]]],
        [[1, [codes.DELETE, 0, 0, "a"]]],
        [[1, [PUT, 0, 0, 1.5, 1]]],
        [[1, [PUT, 0, 0, [2, 1], 1]]],
        [[1, [PUT, 0, 0, "a", [32]]]],
        [[1, [PUT, 0, 0, "a", 2**63]]],
        [[1, [PUT, 0, 0, -(2**63) - 1, 1]]],
        [[1, [PUT, 0, 0, "a", "\ud800"]]],
        [[1, [PUT, 0, 0, "\ud800", 1]]],
    ],
    ids=repr,
)
def test_anything_else_is_no_run(plains: list[Any]) -> None:
    assert read_run(plains) is None


KEYS = st.sampled_from(["a", "b", "ä", "\ud800", 0, 1, True, 1.0, None, 2**63])
VALUES = st.sampled_from([0, 1, "x", "\ud800", None, 1.5, b"", 2**64, [2, 1], [32, "k", 1]])
OPS = st.one_of(
    st.tuples(
        st.just(INCREMENT), st.just(0), st.just(0), KEYS, st.sampled_from([1, -7, 2**62, 1.0])
    ),
    st.tuples(st.just(PUT), st.just(0), st.just(0), KEYS, VALUES),
    st.tuples(st.just(APPEND), st.just(0), st.just(0), VALUES),
)


STARTS: list[Any] = [UMap, UVec, UStack, lambda: UMap({True: 2**70, "a": 1, "b": False, 0: 1.5})]


@given(st.sampled_from(STARTS), st.lists(OPS, min_size=1, max_size=4))
def test_what_is_taken_as_a_run_comes_to_the_same_as_one_by_one(cls: Any, ops: list[Any]) -> None:
    together, each = cls(), cls()
    before = together._tree.position
    plains = [[1, list(op)] for op in ops]
    told: list[Effect] = []
    if not together._tree.apply_run(plains, before + len(plains), effects=told):
        assert told == []
        return
    expected: list[Effect] = []
    for position, plain in enumerate(plains, before + 1):
        applied = each._tree.apply(Update.from_plain(plain), position, effects=expected)
        assert applied.failure is None
    assert repr(together.dump()) == repr(each.dump())
    assert repr([effect[1:] for effect in told]) == repr([effect[1:] for effect in expected])
    assert all(effect.node is together for effect in told)
    together._tree.audit()


def test_a_run_tells_what_each_of_its_changes_does() -> None:
    m = UMap[str, int](a=1)
    run = Run(PUT, (0, 0), ("a", "b", "a"), (2, 3, 4))
    assert [effect[1:] for effect in effects_of(run, m, m)] == [
        ("put", "a", 1, 2), ("put", "b", ABSENT, 3), ("put", "a", 2, 4),
    ]  # fmt: skip
    run = Run(INCREMENT, (0, 0), ("a", "b", "a"), (2, 3, 4))
    assert [effect[1:] for effect in effects_of(run, m, m)] == [
        ("put", "a", 1, 3), ("put", "b", ABSENT, 3), ("put", "a", 3, 7),
    ]  # fmt: skip
    v = UVec[int]([1])
    run = Run(APPEND, (0, 0), (), (2, 3))
    assert [effect[1:] for effect in effects_of(run, v, v)] == [
        ("insert", 1, ABSENT, 2), ("insert", 2, ABSENT, 3),
    ]  # fmt: skip
