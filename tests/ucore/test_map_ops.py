"""Operations on maps: what each gives, what takes it back, what it tells."""

from __future__ import annotations

from typing import Any

import pytest

from ucore import ABSENT, UMap, Update, codes
from ucore.base import Applied, Effect
from ucore.change import Change, Failed
from ucore.map_ops import increment, incremented_by_all


def run(m: Any, *ops: list[Any]) -> tuple[Applied, list[tuple[Any, ...]]]:
    effects: list[Effect] = []
    update = Update([[op[0], 0, 0, *op[1:]] for op in ops])
    applied = m._tree.apply(update, m._tree.position + 1, effects=effects, inverse=True)
    return applied, [effect[1:] for effect in effects]


CASES: dict[str, tuple[list[Any], Any, list[Any], list[Any]]] = {
    # operation, result, inverse, effects; on {"a": 1, "l": [2]}
    "put new": (
        [codes.PUT, "b", [33, 5]],
        None,
        [[codes.DISCARD, 0, 0, "b"]],
        [("put", "b", ABSENT, [5])],
    ),
    "put a leaf": (
        [codes.PUT, "b", 5],
        None,
        [[codes.DISCARD, 0, 0, "b"]],
        [("put", "b", ABSENT, 5)],
    ),
    "put old": (
        [codes.PUT, "l", 3],
        None,
        [[codes.PUT, 0, 0, "l", [36, 1, 1, 2]]],
        [("put", "l", [2], 3)],
    ),
    "delete": (
        [codes.DELETE, "l"],
        [2],
        [[codes.PUT, 0, 0, "l", [36, 1, 1, 2]]],
        [("delete", "l", [2], ABSENT)],
    ),
    "discard": (
        [codes.DISCARD, "a"],
        (True, 1),
        [[codes.PUT, 0, 0, "a", 1]],
        [("delete", "a", 1, ABSENT)],
    ),
    "discard nothing": ([codes.DISCARD, "b"], (False, None), [], []),
    "discard many": (
        [codes.DISCARD_MANY, "a", "b", "l"],
        None,
        [[codes.PUT, 0, 0, "l", [36, 1, 1, 2]], [codes.PUT, 0, 0, "a", 1]],
        [("delete", "a", 1, ABSENT), ("delete", "l", [2], ABSENT)],
    ),
    "pop item": (
        [codes.POP_ITEM],
        ("l", [2]),
        [[codes.PUT, 0, 0, "l", [36, 1, 1, 2]]],
        [("delete", "l", [2], ABSENT)],
    ),
    "set default new": (
        [codes.SET_DEFAULT, "b", 5],
        5,
        [[codes.DISCARD, 0, 0, "b"]],
        [("put", "b", ABSENT, 5)],
    ),
    "set default old": ([codes.SET_DEFAULT, "a", 5], 1, [], []),
    "put many": (
        [codes.PUT_MANY, "b", 1, "l", 2, "c", [32]],
        None,
        [[codes.PUT_MANY, 0, 0, "l", [36, 1, 1, 2]], [codes.DISCARD_MANY, 0, 0, "b", "c"]],
        [("put", "b", ABSENT, 1), ("put", "l", [2], 2), ("put", "c", ABSENT, {})],
    ),
    "put many new": (
        [codes.PUT_MANY, "b", 1],
        None,
        [[codes.DISCARD_MANY, 0, 0, "b"]],
        [("put", "b", ABSENT, 1)],
    ),
    "put many old": (
        [codes.PUT_MANY, "a", 2],
        None,
        [[codes.PUT_MANY, 0, 0, "a", 1]],
        [("put", "a", 1, 2)],
    ),
    "clear": (
        [codes.CLEAR],
        None,
        [[codes.PUT_MANY, 0, 0, "a", 1, "l", [36, 1, 1, 2]]],
        [("delete", "a", 1, ABSENT), ("delete", "l", [2], ABSENT)],
    ),
    "increment": (
        [codes.INCREMENT, "a", 2],
        3,
        [[codes.PUT, 0, 0, "a", 1]],
        [("put", "a", 1, 3)],
    ),
    "increment nothing": (
        [codes.INCREMENT, "b", 0.5],
        0.5,
        [[codes.DISCARD, 0, 0, "b"]],
        [("put", "b", ABSENT, 0.5)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_an_operation_gives_tells_and_is_taken_back_by(name: str) -> None:
    op, result, inverse, effects = CASES[name]
    m = UMap[str, Any](a=1, l=[2])
    before, node_ids, inner = m.copy(), set(m._tree.nodes), m["l"]
    applied, told = run(m, op)
    assert applied.results == [result]
    assert applied.inverse is not None
    assert applied.inverse.ops == inverse
    assert told == effects
    for told_only in (None, list[Effect]()):  # asking for less changes nothing
        quiet = UMap[str, Any](a=1, l=[2])
        quiet._tree.apply(Update([[op[0], 0, 0, *op[1:]]]), 2, effects=told_only)
        assert list(quiet.items()) == list(m.items())
        assert quiet.dump() == m.dump()
        assert told_only is None or [effect[1:] for effect in told_only] == effects
        quiet._tree.audit()
    m._tree.audit()
    m.apply(applied.inverse)
    assert m == before
    assert set(m._tree.nodes) == node_ids
    assert m["l"] is inner


@pytest.mark.parametrize(
    ("op", "error"),
    [
        ([codes.DELETE, "nope"], KeyError("nope")),
        ([codes.POP_ITEM], KeyError("popitem(): dictionary is empty")),
        ([codes.INCREMENT, "text", 1], TypeError),
        ([codes.INCREMENT, "flag", 1], TypeError),
        ([codes.INCREMENT, "big", 1.0], OverflowError),
    ],
)
def test_what_cannot_take_effect_fails_and_changes_nothing(op: list[Any], error: Any) -> None:
    m = UMap[str, Any]()
    if op[0] == codes.INCREMENT:
        m.update(text="x", flag=True, big=10**400)
    before = m.copy()
    applied, told = run(m, op)
    assert applied.failure is not None
    if isinstance(error, KeyError):
        assert repr(applied.failure.error) == repr(error)
    else:
        assert type(applied.failure.error) is error
    assert (m, told) == (before, [])


def test_clearing_nothing_needs_no_inverse() -> None:
    applied, told = run(UMap(), [codes.CLEAR])
    assert applied.inverse is not None
    assert (applied.inverse.ops, told) == ([], [])


def test_an_inverse_restores_the_very_key_that_was_stored() -> None:
    m = UMap[Any, Any]({1: "one", 0.0: "zero"})
    applied, _ = run(m, [codes.DELETE, True], [codes.DISCARD, False])
    assert m == {}
    assert applied.inverse is not None
    m.apply(applied.inverse)
    assert {repr(key) for key in m} == {"1", "0.0"}


def test_increments_of_ints_come_to_the_same_together() -> None:
    raw: dict[object, object] = {"a": 1, "flag": True, "half": 0.5, 1: 2**70}
    assert incremented_by_all(raw, ("a",) * 3, (1, 2, 3)) == {"a": 7}
    found = incremented_by_all(raw, ("b", "a", "b", 1), (1, 2, 3, 4))
    assert found == {"b": 4, "a": 3, 1: 2**70 + 4}
    assert list(found) == ["b", "a", 1]
    for key in ("flag", "half"):
        assert incremented_by_all(raw, ("a", key), (1, 1)) is None
    assert raw == {"a": 1, "flag": True, "half": 0.5, 1: 2**70}


def test_many_at_once_leave_what_they_replace_whole() -> None:
    m = UMap[Any, Any]({1: "one", "l": [1], "n": 2})
    tree, inner = m._tree, m["l"]
    tree.apply(Update([[codes.PUT_MANY, 0, 0, True, "uno", "a", [33], "n", 3]]), 2)
    assert list(m.items()) == [(1, "uno"), ("l", [1]), ("n", 3), ("a", [])]
    tree.audit()
    tree.apply(Update([[codes.PUT_MANY, 0, 0, "l", 5, "b", 6]]), 3)
    assert list(m.items())[1:] == [("l", 5), ("n", 3), ("a", []), ("b", 6)]
    assert inner._id not in tree.nodes
    tree.audit()


def test_a_bulk_load_into_an_empty_map_builds_its_containers() -> None:
    m = UMap[str, Any]()
    m._tree.apply(Update([[codes.PUT_MANY, 0, 0, "a", 1, "b", [33, [32]], "c", [33]]]), 1)
    assert list(m.items()) == [("a", 1), ("b", [{}]), ("c", [])]
    assert set(m._tree.nodes) == {(0, 0), (1, 1), (1, 2), (1, 3)}


class Mute:
    """Of a type of a user's own, whose ``repr`` has a fault."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("key", "value"),
    [(10**5000, "x"), ("k", (10**5000,)), ("k", Mute())],
    ids=["key", "value", "own type"],
)
def test_an_increment_of_what_has_no_repr_fails_as_any_other(key: Any, value: Any) -> None:
    # What is raised while a change is applied ends every replica of it, for good.
    raw: Any = UMap()
    change = Change(raw._tree, 1, None, None)
    with pytest.raises(Failed) as failed:
        increment(change, raw, {key: value}, (key, 1))
    assert type(failed.value.error) is TypeError
