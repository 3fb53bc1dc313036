"""A run is what one by one would come to; whatever might not be is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucore import UMap, Update, UStack, UVec, codes
from ucore.base import ABSENT, Effect
from ucore.ops import OPERATIONS
from ucore.runs import RUN_FORMS, Run, Told, run_of, told_of

PUT, APPEND, INCREMENT = codes.PUT, codes.APPEND, codes.INCREMENT
LAST = 2**63 - 1


def test_the_forms_are_those_of_the_operations() -> None:
    assert RUN_FORMS == {code: OPERATIONS[code].length for code in (PUT, APPEND, INCREMENT)}


@pytest.mark.parametrize(
    ("code", "columns", "run"),
    [
        (PUT, [["a"], [1]], Run(PUT, (3, 1), ["a"], [1])),
        (PUT, [["ä", 2], [1.5, None]], Run(PUT, (3, 1), ["ä", 2], [1.5, None])),
        (APPEND, [[LAST, -LAST - 1, b"x", True]], Run(APPEND, (3, 1), (), [LAST, -LAST - 1, b"x", True])),
        (INCREMENT, [["a", 1], [5, LAST]], Run(INCREMENT, (3, 1), ["a", 1], [5, LAST])),
    ],
)  # fmt: skip
def test_changes_of_one_kind_on_one_node_with_natives_alone_are_a_run(
    code: int, columns: Any, run: Run
) -> None:
    assert run_of(code, (3, 1), columns) == run


@pytest.mark.parametrize(
    ("code", "columns"),
    [
        (INCREMENT, [["a", "a"], [1, 1.0]]),
        (INCREMENT, [["a"], [True]]),
        (INCREMENT, [["a"], [2**63]]),
        (INCREMENT, [[True], [1]]),
        (PUT, [[1.5], [1]]),
        (PUT, [[None], [1]]),
        (PUT, [[(2, 1)], [1]]),
        (PUT, [["a"], [[32]]]),
        (PUT, [["a"], [object()]]),
        (PUT, [["a"], [2**63]]),
        (PUT, [["a"], [-(2**63) - 1]]),
        (PUT, [["a"], ["\ud800"]]),
        (PUT, [["\ud800"], [1]]),
        (APPEND, [[2**63]]),
    ],
    ids=repr,
)
def test_anything_else_is_no_run(code: int, columns: Any) -> None:
    assert run_of(code, (0, 0), columns) is None


KEYS = st.sampled_from(["a", "b", "ä", "\ud800", 0, 1, True, 1.0, None, 2**63])
VALUES = st.sampled_from([0, 1, "x", "\ud800", None, 1.5, b"", 2**64, [2, 1], [32, "k", 1]])
AMOUNTS = st.sampled_from([1, -7, 2**62, 1.0])
ROWS = st.one_of(
    st.tuples(st.just(INCREMENT), st.lists(st.tuples(KEYS, AMOUNTS), min_size=1, max_size=5)),
    st.tuples(st.just(PUT), st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=5)),
    st.tuples(st.just(APPEND), st.lists(st.tuples(VALUES), min_size=1, max_size=5)),
)


STARTS: list[Any] = [UMap, UVec, UStack, lambda: UMap({True: 2**70, "a": 1, "b": False, 0: 1.5})]


@given(st.sampled_from(STARTS), ROWS)
def test_what_is_taken_as_a_run_comes_to_the_same_as_one_by_one(
    cls: Any, changes: tuple[int, Any]
) -> None:
    code, rows = changes
    run = run_of(code, (0, 0), list(zip(*rows, strict=True)))
    if run is None:
        return
    together, each = cls(), cls()
    before = together._tree.position
    told: list[Told] = []
    if not together._tree.apply_run(run, before + len(rows), told=told):
        assert told == []
        return
    expected: list[Effect] = []
    for position, row in enumerate(rows, before + 1):
        update = Update.from_plain([1, [code, 0, 0, *row]])
        applied = each._tree.apply(update, position, effects=expected)
        assert applied.failure is None
    assert repr(together.dump()) == repr(each.dump())
    effects = told[0].effects()
    assert repr([effect[1:] for effect in effects]) == repr([effect[1:] for effect in expected])
    assert all(type(effect) is Effect and effect.node is together for effect in effects)
    together._tree.audit()


def test_a_run_tells_what_each_of_its_changes_does() -> None:
    m = UMap[str, int](a=1)
    run = Run(PUT, (0, 0), ("a", "b", "a"), (2, 3, 4))
    assert [effect[1:] for effect in told_of(run, m, m).effects()] == [
        ("put", "a", 1, 2), ("put", "b", ABSENT, 3), ("put", "a", 2, 4),
    ]  # fmt: skip
    run = Run(INCREMENT, (0, 0), ("a", "b", "a"), (2, 3, 4))
    assert [effect[1:] for effect in told_of(run, m, m).effects()] == [
        ("put", "a", 1, 3), ("put", "b", ABSENT, 3), ("put", "a", 3, 7),
    ]  # fmt: skip
    v = UVec[int]([1])
    run = Run(APPEND, (0, 0), (), (2, 3))
    assert [effect[1:] for effect in told_of(run, v, v).effects()] == [
        ("insert", 1, ABSENT, 2), ("insert", 2, ABSENT, 3),
    ]  # fmt: skip
