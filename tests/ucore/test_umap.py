"""UMap answers, raises and looks as dict does, whatever the keys, and every change is an update."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucore import (
    StaleHandleError,
    UMap,
    UnstorableError,
    Update,
    UVec,
    WrongTypeError,
    recording,
)
from ucore.base import Applied, OpFailure

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
# Equal in groups, unequal in type or zone; -1 and -2 have one hash.
KEYS = [
    1, 1.0, True, Decimal(1), 0, -0.0, 0.0, False, -1, -2, "a", b"a", "", None, (1,), (True,), (1.0, ()),
    frozenset({1}), frozenset({True}), NOON, NOON.astimezone(timezone(timedelta(hours=2))),
]  # fmt: skip
LEAVES = [None, 0, -0.0, True, 1.5, "x", b"x", (1, "a"), 2**70]
keys = st.sampled_from(KEYS)
values = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=4,
)
contents = st.lists(st.tuples(keys, values), max_size=4)


def _set(d: Any, k: Any, v: Any) -> None:
    d[k] = v


def _delete(d: Any, k: Any) -> None:
    del d[k]


def _merge(d: Any, other: Any) -> Any:
    d |= other
    return d


def _append(d: Any, k: Any, v: Any) -> None:
    if isinstance(d.get(k), list):
        d[k].append(v)


def _augment(d: Any, k: Any, v: Any) -> None:
    if isinstance(d.get(k), list):
        d[k] += [v]


CALLS = st.one_of(
    st.tuples(st.just(_set), keys, values),
    st.tuples(st.just(_delete), keys),
    st.tuples(st.just(lambda d, k: d.pop(k)), keys),
    st.tuples(st.just(lambda d, k, v: d.pop(k, v)), keys, values),
    st.tuples(st.just(lambda d: d.popitem())),
    st.tuples(st.just(lambda d, k, v: d.setdefault(k, v)), keys, values),
    st.tuples(st.just(lambda d, k: d.setdefault(k)), keys),
    st.tuples(st.just(lambda d, c: d.update(c)), contents),
    st.tuples(st.just(lambda d, c: d.update(dict(c), z=1)), contents),
    st.tuples(st.just(_merge), contents),
    st.tuples(st.just(lambda d: d.update(d))),
    st.tuples(st.just(lambda d: d.clear())),
    st.tuples(st.just(_append), keys, values),
    st.tuples(st.just(_augment), keys, values),
)


def outcome(call: Any, target: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    try:
        return "gave", repr(call(target, *arguments))
    except (KeyError, TypeError) as error:
        return "raised", type(error), repr(error.args)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(contents, st.lists(CALLS, max_size=12))
def test_a_map_does_what_a_dict_does_and_its_updates_tell_all_of_it(
    start: list[Any], calls: list[Any]
) -> None:
    model = dict(start)
    m: Any = UMap(start)
    twin: Any = UMap.load(m.dump())
    history = []
    for call, *arguments in calls:
        with recording(m) as updates:
            expected = outcome(call, model, tuple(arguments))
            assert outcome(call, m, tuple(arguments)) == expected
        # repr: 1 is not True, -0.0 is not 0.0, and the order counts.
        assert repr(m) == repr(model)
        assert m == model
        history.append((twin.dump(), [twin.apply(u) for u in map(again, updates)]))
        assert twin.dump() == m.dump()
        m._tree.audit()
        twin._tree.audit()
    for before, inverses in reversed(history):
        for inverse in reversed(inverses):
            twin.apply(again(inverse))
        assert twin == UMap.load(before)
        assert sorted(twin._tree.nodes) == sorted(UMap.load(before)._tree.nodes)
        assert {repr(k) for k in twin} == {repr(k) for k in UMap.load(before)}


def again(update: Update) -> Update:
    return Update.from_plain(update.to_plain())


def test_it_is_a_dict_to_everybody_else() -> None:
    m = UMap[str, Any]({"a": 1}, b=[2])
    assert isinstance(m, dict)
    assert json.dumps(m) == '{"a": 1, "b": [2]}'
    assert {**m} == m == {"a": 1, "b": [2]}
    assert type(m | {"c": 3}) is dict
    match m:
        case {"a": one}:
            assert one == 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(m)


def test_unknown_attributes_are_refused() -> None:
    with pytest.raises(AttributeError):
        UMap().apples = 3  # type: ignore[attr-defined]


def test_every_spelling_of_the_first_content() -> None:
    assert UMap() == {}
    assert UMap([("a", 1)], b=2) == UMap({"a": 1}, b=2) == UMap(a=1, b=2)
    assert UMap.fromkeys("ab") == {"a": None, "b": None}
    shared = UMap[str, list[int]].fromkeys("ab", [])
    shared["a"].append(1)
    assert shared == {"a": [1], "b": []}
    with pytest.raises(TypeError, match="not iterable"):
        UMap(5)


def test_a_second_init_is_refused() -> None:
    m = UMap(a=1)
    with pytest.raises(TypeError, match="second time"):
        m.__init__(b=2)  # type: ignore[misc]
    assert m == {"a": 1}


def test_what_is_stored_is_a_copy() -> None:
    inner: dict[str, Any] = {"list": [1]}
    m = UMap[str, Any](inner=inner)
    inner["list"].append(2)
    m["again"] = m["inner"]
    m["inner"]["list"].append(3)
    assert m == {"inner": {"list": [1, 3]}, "again": {"list": [1]}}
    assert type(m["inner"]) is UMap
    assert type(m["inner"]["list"]) is UVec


def test_storing_what_the_slot_holds_sends_nothing() -> None:
    m = UMap[str, Any](a=[1])
    with recording(m) as updates:
        m["a"] = m["a"]
        m["a"] += [2]
    assert [u.ops for u in updates] == [[[16, 1, 1, 2]]]
    with recording(m) as updates:
        m["b"] = m["a"]
    assert len(updates) == 1


def test_an_empty_change_sends_nothing() -> None:
    m = UMap()
    with recording(m) as updates:
        m.update({})
        m |= []
        assert not m.discard(object())
    assert updates == []


def test_removed_containers_come_back_as_plain_builtins() -> None:
    m = UMap[str, Any](a={"x": [1]}, b=[2], c=[3])
    handle = m["a"]["x"]
    popped = m.pop("a")
    assert popped == {"x": [1]}
    assert type(popped) is dict
    assert type(popped["x"]) is list
    assert type(m.popitem()[1]) is list
    assert type(m.pop("b", None)) is list
    assert handle == [1]
    with pytest.raises(StaleHandleError, match="can be read, not changed"):
        handle.append(2)


def test_setdefault_gives_the_live_container() -> None:
    m = UMap[str, list[int]]()
    m.setdefault("a", []).append(1)
    m.setdefault("a", []).append(2)
    assert m == {"a": [1, 2]}


def test_discard_says_whether_it_was_there() -> None:
    m = UMap(a=1)
    assert m.discard("a") is True
    assert m.discard("a") is False


class Shade(StrEnum):
    A = "a"


class Hue(Enum):
    RED = 1


def test_looking_for_a_key_that_cannot_be_stored_is_looking_for_an_absent_one() -> None:
    m = UMap[Any, int](a=1, b=2)
    assert m.pop(Hue.RED, 5) == 5
    assert m.pop(math.nan, 5) == 5
    assert not m.discard(Hue.RED)
    with pytest.raises(KeyError):
        del m[Hue.RED]
    assert m.pop(Shade.A) == 1  # equal to the stored "a", as in a dict
    with pytest.raises(TypeError):
        m.pop([], 5)
    assert m == {"b": 2}


def test_increment_counts_from_nothing_and_only_numbers() -> None:
    m = UMap[str, Any](flag=True, text="x", big=10**400)
    assert m.increment("n") == 1
    assert m.increment("n", 2.5) == 3.5
    with pytest.raises(TypeError, match="'flag' holds True"):
        m.increment("flag")
    with pytest.raises(TypeError, match="'text' holds 'x'"):
        m.increment("text")
    with pytest.raises(OverflowError):
        m.increment("big", 1.0)
    with pytest.raises(TypeError, match="not by True"):
        m.increment("n", True)
    assert m == {"flag": True, "text": "x", "big": 10**400, "n": 3.5}


def test_what_cannot_be_stored_is_refused_before_anything_changes() -> None:
    m = UMap[Any, Any](a=1)
    for change in (
        lambda: m.update(b=2, c={3}),
        lambda: m.__setitem__("b", [{"x": bytearray()}]),
        lambda: m.__setitem__(math.nan, 1),
        lambda: m.setdefault((1, math.nan), 1),
        lambda: m.__setitem__("b", object()),
    ):
        with pytest.raises(UnstorableError):
            change()
    with pytest.raises(UnstorableError, match=r"^\['b'\]\[0\]\['x'\]: .*bytes"):
        m["b"] = [{"x": bytearray()}]
    assert m == {"a": 1}
    assert m._tree.position == 1


def test_declared_types_are_checked_where_values_enter() -> None:
    m = UMap[str, list[float]](a=[1])
    m["b"] = [True, 2.5]
    for change in (
        lambda: m.__setitem__(1, []),
        lambda: m.__setitem__("c", ["x"]),
        lambda: m["a"].append("x"),
        lambda: m.setdefault("c", [[]]),
        lambda: m.update(c=[2], d=["x"]),
        lambda: m.update({"c": [2], 1: []}),
    ):
        with pytest.raises(WrongTypeError):
            change()
    with pytest.raises(WrongTypeError, match=r"^\['c'\]\[0\]"):
        m["c"] = ["x"]  # type: ignore[list-item]
    with pytest.raises(WrongTypeError):
        UMap[str, int](a="x")
    with pytest.raises(WrongTypeError):
        UMap[str, int]().increment("a", 0.5)
    assert repr(m) == "{'a': [1], 'b': [True, 2.5]}"


def test_a_subclass_keeps_its_parameters_and_may_have_attributes() -> None:
    class Todo(UMap[int, list[str]]):
        def open_items(self) -> int:
            return sum(map(len, self.values()))

    todo = Todo({1: ["a", "b"]})
    todo.note = "mine"  # type: ignore[attr-defined]
    assert todo.open_items() == 2
    with pytest.raises(WrongTypeError):
        todo[1].append(2)  # type: ignore[arg-type]
    assert type(Todo.load(todo.dump())) is Todo


def test_a_batch_of_a_map_records_a_map() -> None:
    m = UMap[str, int](a=1)
    with m.batch() as batch:
        batch["b"] = 2
        del batch["a"]
    assert m == {"b": 2}


def test_a_transaction_hands_out_an_overlay_of_its_own_kind() -> None:
    m = UMap(a=1)
    with m.transaction() as t:
        assert type(t).__name__ == "MapOverlay"
        t.increment("a")
    assert m == {"a": 2}
    assert m.run_transaction(lambda t: t.pop("a")) == 2
    assert len(m) == 0


class Refusing:
    """An owner in whose order each update fails."""

    def enter(self) -> None:
        pass

    def submit(self, _update: Update, _strict: object) -> Applied:
        return Applied([], OpFailure(0, StaleHandleError("removed by others")), None)


def test_a_failure_in_the_order_is_raised() -> None:
    m = UMap[str, int](a=1)
    m._tree.owner = Refusing()  # type: ignore[assignment, union-attr]
    for content in ({"b": 2}, {"b": 2, "c": 3}):
        with pytest.raises(StaleHandleError, match="by others"):
            m.update(content)
    assert m == {"a": 1}
