"""An overlay reads as the builtin would, and its operations give what it shows."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucore import (
    StaleHandleError,
    TransactionError,
    UMap,
    UnstorableError,
    Update,
    UStack,
    UVec,
    WrongTypeError,
    recording,
)
from ucore.overlay import Overlay, stored

# ---------------------------------------------------------------- any program, as a dict or a list


KEYS: list[Any] = [
    1, 1.0, True, 0, -0.0, False, -1, -2, 2**61 - 1, "a", "b", (1,), (1.0, "x"), b"a", None, Decimal(1),
    datetime(2024, 1, 1, 12, tzinfo=UTC), datetime(2024, 1, 1, 13, tzinfo=timezone(timedelta(hours=1))),
]  # fmt: skip
KEY = st.sampled_from(KEYS)
LEAF = st.sampled_from([0, 1, 2, 1.5, "x", None, (1, 2), float("nan"), -0.0])
VALUE = st.recursive(
    LEAF, lambda v: st.lists(v, max_size=3) | st.dictionaries(KEY, v, max_size=3), max_leaves=6
)
INDEX = st.integers(-4, 4)
SLICE = st.builds(
    slice, INDEX | st.none(), INDEX | st.none(), st.sampled_from([None, 1, 2, -1, -2])
)

Program = list[tuple[list[int], str, tuple[Any, ...]]]


def _ior(c: Any, other: Any) -> None:
    c |= other


def _iadd(c: Any, other: Any) -> None:
    c += other


def _imul(c: Any, times: int) -> None:
    items = copy.deepcopy(list(c))
    c *= times
    if isinstance(c, list) and times > 0:  # values, not aliases
        c[len(items) :] = [copy.deepcopy(v) for _ in range(times - 1) for v in items]


def _increment(c: Any, key: Any, by: float) -> Any:
    if not isinstance(c, dict):
        return c.increment(key, by)
    if type(c.get(key, 0)) not in (int, float):
        raise TypeError
    c[key] = c.get(key, 0) + by
    return c[key]


def _same_again(c: Any, key: Any) -> None:
    c[key] = c[key]


def _copied(c: Any, key: Any, other: Any) -> None:
    """Store a copy of what is in there: the model has to make it itself."""
    value = c[key]
    c[other] = copy.deepcopy(value) if isinstance(c, dict | list) else {"nested": [value]}
    if isinstance(c, dict | list):
        c[other] = {"nested": [c[other]]}


MAP_OPS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "set": (lambda c, k, v: c.__setitem__(k, v), (KEY, VALUE)),
    "del": (lambda c, k: c.__delitem__(k), (KEY,)),
    "pop": (lambda c, k: c.pop(k), (KEY,)),
    "pop or": (lambda c, k: c.pop(k, "none"), (KEY,)),
    "popitem": (lambda c: c.popitem(), ()),
    "clear": (lambda c: c.clear(), ()),
    "setdefault": (lambda c, k, v: c.setdefault(k, v), (KEY, VALUE)),
    "update": (lambda c, d: c.update(d), (st.dictionaries(KEY, VALUE, max_size=3),)),
    "update pairs": (lambda c, d: c.update(d, a=1), (st.lists(st.tuples(KEY, VALUE), max_size=3),)),
    "|=": (_ior, (st.dictionaries(KEY, VALUE, max_size=2),)),
    "increment": (_increment, (KEY, st.sampled_from([1, 2.5]))),
    "same": (_same_again, (KEY,)),
    "copied": (_copied, (KEY, KEY)),
}
VEC_OPS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "append": (lambda c, v: c.append(v), (VALUE,)),
    "extend": (lambda c, v: c.extend(v), (st.lists(VALUE, max_size=3),)),
    "+=": (_iadd, (st.lists(VALUE, max_size=2),)),
    "insert": (lambda c, i, v: c.insert(i, v), (INDEX, VALUE)),
    "pop": (lambda c: c.pop(), ()),
    "pop at": (lambda c, i: c.pop(i), (INDEX,)),
    "remove": (lambda c, v: c.remove(v), (VALUE,)),
    "set": (lambda c, i, v: c.__setitem__(i, v), (INDEX, VALUE)),
    "set slice": (lambda c, i, v: c.__setitem__(i, v), (SLICE, st.lists(VALUE, max_size=3))),
    "del": (lambda c, i: c.__delitem__(i), (INDEX | SLICE,)),
    "*=": (_imul, (st.integers(-1, 3),)),
    "reverse": (lambda c: c.reverse(), ()),
    "sort": (lambda c, r: c.sort(key=repr, reverse=r), (st.booleans(),)),
    "sort as it is": (lambda c: c.sort(), ()),
    "clear": (lambda c: c.clear(), ()),
    "same": (_same_again, (INDEX,)),
}


def step(ops: dict[str, Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(sorted(ops)).flatmap(
        lambda name: st.tuples(st.just(name), *ops[name][1])
    )


STEP = st.tuples(st.lists(st.integers(0, 3), max_size=2), step(MAP_OPS), step(VEC_OPS))


def inner(container: Any, path: list[int]) -> Any:
    """The container that is reached by always taking the n-th of those that are inside."""
    for n in path:
        values = list(container.values()) if hasattr(container, "values") else list(container)
        below = [v for v in values if isinstance(v, dict | list | Overlay)]
        if below:
            container = below[n % len(below)]
    return container


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        result = call(*arguments)
    except Exception as error:
        return type(error)
    return shape(result)


def shape(value: Any) -> Any:
    """Everything about a value: types, order of keys, -0.0, which of two equal keys."""
    if isinstance(value, Overlay):
        value = value.copy()
    if isinstance(value, dict):
        return "{}", [(shape(k), shape(v)) for k, v in value.items()]
    if isinstance(value, list):
        return "[]", [shape(v) for v in value]
    return repr(value)


def agree(t: Any, model: Any) -> None:
    """Every way of reading gives the same."""
    assert shape(t) == shape(model)
    assert type(t.copy()) is type(model)
    assert len(t) == len(model)
    assert bool(t) == bool(model)
    assert repr(t) == repr(model)
    if isinstance(model, dict):
        assert shape({**t}) == shape(dict(t)) == shape(model)
        assert [*map(repr, t)] == [*map(repr, model)]
        assert [*map(repr, reversed(t))] == [*map(repr, reversed(model))]
        assert [*map(shape, t.values())] == [*map(shape, model.values())]
        assert [*map(shape, reversed(t.values()))] == [*map(shape, reversed(model.values()))]
        assert [shape(v) for _, v in reversed(t.items())] == [
            shape(v) for _, v in reversed(model.items())
        ]
        assert [*map(repr, reversed(t.keys()))] == [*map(repr, reversed(model.keys()))]
        for key in KEYS:
            assert (key in t) == (key in model)
            assert shape(t.get(key)) == shape(model.get(key))
    else:
        assert shape(list(t)) == shape([*t]) == shape(model)
        assert shape(list(reversed(t))) == shape(model[::-1])
        for where in (slice(None), slice(1, 3), slice(None, None, -2)):
            assert shape(t[where]) == shape(model[where])
    if "nan" not in repr(model):
        assert t == model
        assert model == t
        assert not t != model


@settings(max_examples=250, derandomize=True, deadline=None)
@given(
    st.dictionaries(KEY, VALUE, max_size=4) | st.lists(VALUE, max_size=4),
    st.lists(STEP, max_size=8),
)
def test_a_program_on_an_overlay_is_the_program_on_a_dict_or_list(content: Any, steps: Any) -> None:
    value: Any = UMap(content) if isinstance(content, dict) else UVec(content)
    twin = type(value).load(value.dump())
    before = shape(value)
    model = copy.deepcopy(content)
    with recording(value) as updates, value.transaction() as t:
        for path, map_step, vec_step in steps:
            there, here = inner(t, path), inner(model, path)
            ops, (name, *arguments) = (
                (MAP_OPS, map_step) if isinstance(here, dict) else (VEC_OPS, vec_step)
            )
            expected = outcome(ops[name][0], here, *copy.deepcopy(arguments))
            assert outcome(ops[name][0], there, *arguments) == expected
            agree(there, here)
            agree(t, model)
        assert shape(value) == before
    assert shape(value) == shape(model)
    assert len(updates) <= 1
    for update in updates:
        twin.apply(Update.from_plain(update.to_plain()))
    assert repr(twin.dump()) == repr(value.dump())


# ---------------------------------------------------------------- values and copies


def test_what_is_stored_is_a_copy_also_of_what_the_transaction_shows() -> None:
    m: UMap[str, Any] = UMap(a=[1, [2]], s=UStack([1]), k={"x": UStack([3])})
    with m.transaction() as t:
        t["a"][1].append(3)
        t["b"] = t["a"]
        t["a"][1].append(4)
        t["c"] = {"deep": [t["a"], t["s"]]}
        t["d"] = [m["a"], m["s"]]  # the structure itself: as it was
        t["e"] = t["k"]
        t["c"]["deep"][1].push(2)
        t["e"]["x"].push(4)
        t["made"] = [UStack([5])]
        t["again"] = t["made"]
        assert t["b"] == [1, [2, 3]]
        assert t["d"][0] == [1, [2]]
    assert m["b"] == [1, [2, 3]]
    assert m["c"]["deep"][0] == [1, [2, 3, 4]]
    assert m["c"]["deep"][1] == UStack([1, 2])
    assert m["s"] == UStack([1])
    assert m["k"]["x"] == UStack([3])
    assert m["e"]["x"] == UStack([3, 4])
    assert m["d"] == [[1, [2]], UStack([1])]
    assert m["made"] == m["again"] == [UStack([5])]


def test_a_value_that_contains_itself_is_refused_and_nothing_is_shown() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with UMap[str, Any]().transaction() as t:
        for wrong in (loop, {"x": {1}}, object()):
            with pytest.raises(UnstorableError):
                t["a"] = wrong
            with pytest.raises(UnstorableError):
                t.update(x=1, a=wrong)
        assert not t
    assert stored(3) == 3


def test_type_parameters_are_checked_as_in_the_structure() -> None:
    m = UMap[str, list[int]](a=[1])
    with m.transaction() as t:
        t["b"] = [2]
        for wrong in (
            lambda: t.__setitem__("a", ["x"]),  # type: ignore[list-item]
            lambda: t.__setitem__(1, []),  # type: ignore[index]
            lambda: t["a"].append("x"),  # type: ignore[arg-type]
            lambda: t["b"].append("x"),  # type: ignore[arg-type]
            lambda: t["b"].extend(["x"]),  # type: ignore[list-item]
            lambda: t.setdefault("a", ["x"]),  # type: ignore[list-item]
        ):
            with pytest.raises(WrongTypeError):
                wrong()
        assert t == {"a": [1], "b": [2]}
    either = UMap[str, list[int] | None](a=None)
    with either.transaction() as t2:
        t2["a"] = made = [1]
        assert t2["a"] == made
        with pytest.raises(WrongTypeError):
            t2["a"].append("x")  # type: ignore[union-attr, arg-type]


def test_copies_are_builtins_all_the_way_down() -> None:
    m: UMap[str, Any] = UMap(a=[1, {"b": UStack([1, 2])}], c=[3])
    with m.transaction() as t:
        t["a"][1]["b"].push(3)
        for plain in (t.copy(), copy.copy(t), copy.deepcopy(t)):
            assert plain == {"a": [1, {"b": [1, 2, 3]}], "c": [3]}
            assert type(plain) is dict
            assert type(plain["a"][1]["b"]) is list
            plain["a"].append(1)
        assert json.dumps(t.copy()) == '{"a": [1, {"b": [1, 2, 3]}], "c": [3]}'
        assert json.loads(json.dumps(t, default=copy.copy)) == t.copy()
        assert len(t["a"]) == 2


def test_what_would_be_wrong_without_a_word_is_refused() -> None:
    with UMap[str, Any](a=[1]).transaction() as t:
        assert not isinstance(t, dict)
        with pytest.raises(TypeError, match="not JSON serializable"):
            json.dumps(t)
        with pytest.raises(TypeError, match="not JSON serializable"):
            json.dumps(dict(t))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match=r"\.copy\(\)"):
                pickle.dumps(t, protocol)
        with pytest.raises(TypeError):
            hash(t)
        with pytest.raises(AttributeError):
            t.apples = 3  # type: ignore[attr-defined]


# ---------------------------------------------------------------- handles and the end


def test_one_container_has_one_overlay() -> None:
    m: UMap[str, Any] = UMap(a=[[1]])
    with m.transaction() as t:
        assert t["a"] is t["a"] is t.get("a") is next(iter(t.values())) is t.setdefault("a", [])
        assert t["a"][0] is next(iter(t["a"]))
        t["b"] = {"x": []}
        assert t["b"]["x"] is t["b"]["x"]


@pytest.mark.parametrize(
    "remove",
    [
        lambda t: t.pop("a"),
        lambda t: t.clear(),
        lambda t: t.__setitem__("a", []),
        lambda t: t.update(a=1, b=2),
    ],
)
def test_a_removed_container_can_be_read_and_not_changed(remove: Callable[[Any], object]) -> None:
    m: UMap[str, Any] = UMap(a=[[1]])
    with m.transaction() as t:
        outer = t["a"]
        below = outer[0]
        below.append(2)
        remove(t)
        for stale in (outer, below):
            with pytest.raises(StaleHandleError, match="list was removed"):
                stale.append(3)
        assert outer == [[1, 2]]
        assert outer[0] is below
        made = t["new"] = {"x": [1]}
        made = t["new"]
        inside = made["x"]
        t["new"] = None
        with pytest.raises(StaleHandleError, match="map was removed"):
            made["y"] = 1
        with pytest.raises(StaleHandleError):
            inside.clear()


def test_after_its_end_a_transactions_value_refuses_everything() -> None:
    m: UMap[str, Any] = UMap(a=[1], b=2)
    with m.transaction() as t:
        a, keys = t["a"], iter(t)
        next(keys)
        t["c"] = 3
    late: list[Callable[[], object]] = [
        lambda: t["b"],
        lambda: len(t),
        lambda: list(t),
        lambda: next(keys),
        lambda: "a" in t,
        lambda: dict(t),
        lambda: t == {},
        t.copy,
        lambda: t.__setitem__("x", 1),
        lambda: a[0],
        lambda: a.append(1),
        lambda: list(a),
        lambda: m.__setitem__("d", a),
        lambda: reversed(t),
        lambda: a == [1],
    ]
    for call in late:
        with pytest.raises((TransactionError, UnstorableError)):
            call()
    assert repr(t) == "<map of a transaction that is over>"
    with m.transaction() as new, pytest.raises(TransactionError, match=r"over; take .* \.copy"):
        new["d"] = a


def test_a_structure_that_moved_in_spite_of_the_guard_is_noticed() -> None:
    m: UMap[str, Any] = UMap(a=1)
    assert m._tree is not None
    with pytest.raises(TransactionError, match="past its open transaction"), m.transaction() as t:
        m._tree.apply(Update([[1, 0, 0, "a", 2]]), m._tree.position + 1)
        assert "over" in repr(t)
        with pytest.raises(TransactionError, match="past its open transaction"):
            t["a"]
    assert m == {"a": 2}


def test_a_change_that_was_interrupted_half_way_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    m: UMap[str, Any] = UMap(a=1)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(TransactionError, match="interrupted"):
        with m.transaction() as t:
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(type(t), "_set", interrupted)
                t["b"] = 2
            with pytest.raises(TransactionError, match="interrupted"):
                t["b"]
    assert m == {"a": 1}
    m["c"] = 1


def test_what_is_not_touched_costs_nothing() -> None:
    import tracemalloc

    m: UMap[int, Any] = UMap({i: [i] for i in range(20_000)})
    with m.transaction() as t:
        tracemalloc.start()
        try:
            t[5].append(1)
            t[20_001] = 2
            del t[7]
            t.increment(20_001)
            assert t[19_999] == [19_999]
            assert len(t) == 20_000
            assert t.popitem() == (20_001, 3)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 20_000
    assert len(m) == 19_999
