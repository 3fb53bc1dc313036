"""UVec answers, raises and looks as list does, and every change is an update."""

from __future__ import annotations

import json
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

values = st.recursive(
    st.sampled_from([None, 0, 1, 1.0, True, -0.0, "x", b"x", (1, "a"), 2**70]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)
lists = st.lists(values, max_size=7)
indices = st.integers(-8, 8)
ends = st.none() | indices
slices = st.builds(slice, ends, ends, st.sampled_from([None, 1, 2, 3, -1, -2, -3]))


def _set(v: Any, i: Any, x: Any) -> None:
    v[i] = x


def _delete(v: Any, i: Any) -> None:
    del v[i]


def _add(v: Any, x: Any) -> Any:
    v += x
    return v


def _times(v: Any, n: Any) -> Any:
    v *= n
    return v


def _deep(v: Any, i: int, x: Any) -> None:
    if -len(v) <= i < len(v) and isinstance(v[i], list):
        v[i] += [x]


CALLS = st.one_of(
    st.tuples(st.just(_set), indices, values),
    st.tuples(st.just(_set), slices, lists),
    st.tuples(st.just(lambda v, s: _set(v, s, range(len(v[s])))), slices),
    st.tuples(st.just(lambda v, s: _set(v, s, [[i] for i in v[s]])), slices),
    st.tuples(st.just(lambda v, s: _set(v, s, v)), slices),
    st.tuples(st.just(_delete), indices | slices),
    st.tuples(st.just(_add), lists),
    st.tuples(st.just(lambda v: _add(v, "ab"))),
    st.tuples(st.just(_times), st.integers(-1, 3)),
    st.tuples(st.just(_deep), indices, values),
    st.tuples(st.just(lambda v, x: v.append(x)), values),
    st.tuples(st.just(lambda v, x: v.extend(x)), lists),
    st.tuples(st.just(lambda v, i, x: v.insert(i, x)), indices, values),
    st.tuples(st.just(lambda v: v.pop())),
    st.tuples(st.just(lambda v, i: v.pop(i)), indices),
    st.tuples(st.just(lambda v, x: v.remove(x)), values),
    st.tuples(st.just(lambda v: v.reverse())),
    st.tuples(st.just(lambda v: v.clear())),
    st.tuples(st.just(lambda v: v.sort())),
    st.tuples(st.just(lambda v, r: v.sort(key=repr, reverse=r)), st.booleans()),
    st.tuples(st.just(lambda v: v.sort(key=lambda x: isinstance(x, list), reverse=True))),
)


def outcome(call: Any, target: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    try:
        return "gave", repr(call(target, *arguments))
    except (IndexError, ValueError) as error:
        return "raised", type(error), str(error)
    except TypeError as error:
        return "raised", type(error)


def again(update: Update) -> Update:
    return Update.from_plain(update.to_plain())


@settings(derandomize=True, max_examples=100, deadline=None)
@given(lists, st.lists(CALLS, max_size=10))
def test_a_vec_does_what_a_list_does_and_its_updates_tell_all_of_it(
    start: list[Any], calls: list[Any]
) -> None:
    model = UVec(start).copy()
    v: Any = UVec(start)
    twin: Any = UVec.load(v.dump())
    history = []
    for call, *arguments in calls:
        if len(model) > 60:
            break
        with recording(v) as updates:
            # A list sorted by a failing comparison is left half sorted; a vec is not touched.
            before = list(model)
            expected = outcome(call, model, tuple(arguments))
            if expected == ("raised", TypeError):
                model[:] = before
            assert outcome(call, v, tuple(arguments)) == expected
        model = json_like(model)
        assert repr(v) == repr(model)
        assert v == model
        history.append((twin.dump(), [twin.apply(u) for u in map(again, updates)]))
        assert twin.dump() == v.dump()
        v._tree.audit()
        twin._tree.audit()
    for before_plain, inverses in reversed(history):
        for inverse in reversed(inverses):
            twin.apply(again(inverse))
        old = UVec.load(before_plain)
        assert repr(list(twin)) == repr(list(old)) or twin == old
        assert sorted(twin._tree.nodes) == sorted(old._tree.nodes)


def json_like(value: Any) -> Any:
    """A deep copy: a list that stores one list twice has it once, a vec has it twice."""
    if isinstance(value, list):
        return [json_like(item) for item in value]
    if isinstance(value, dict):
        return {key: json_like(item) for key, item in value.items()}
    return value


def test_it_is_a_list_to_everybody_else() -> None:
    v = UVec[Any]([1, [2]])
    assert isinstance(v, list)
    assert json.dumps(v) == "[1, [2]]"
    assert [*v] == v == [1, [2]]
    assert type(v[:]) is type(v.__add__([3])) is type(v * 2) is list
    match v:
        case [one, _]:
            assert one == 1
    with pytest.raises(AttributeError):
        v.note = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "change",
    [
        lambda v: _set(v, "a", 1),
        lambda v: _set(v, slice(0, 1), 5),
        lambda v: _set(v, slice(0, 2, 2), 5),
        lambda v: _delete(v, None),
        lambda v: v.insert("a", 1),
        lambda v: v.pop("a"),
        lambda v: v.extend(5),
        lambda v: _times(v, 1.5),
        lambda v: v.sort(key=5),
    ],
)
def test_what_a_list_calls_a_type_error_is_one(change: Any) -> None:
    v = UVec([1, 2, 3])
    for target in ([1, 2, 3], v):
        with pytest.raises(TypeError):
            change(target)
    assert v == [1, 2, 3]


def test_every_spelling_of_the_first_content() -> None:
    assert UVec() == []
    assert UVec("ab") == ["a", "b"]
    assert UVec[int](range(2)) == [0, 1]
    with pytest.raises(TypeError, match="not iterable"):
        UVec(5)  # type: ignore[arg-type]
    v = UVec([1])
    with pytest.raises(TypeError, match="second time"):
        v.__init__([2])  # type: ignore[misc]
    assert v == [1]


def test_storing_what_the_slot_holds_sends_nothing() -> None:
    v = UVec[Any]([[1], [2]])
    with recording(v) as updates:
        v[0] = v[0]
        v[-1] += [3]
    assert [u.ops for u in updates] == [[[16, 1, 2, 3]]]
    v[0] = v[1]
    v[1].append(4)
    assert v == [[2, 3], [2, 3, 4]]
    with pytest.raises(IndexError, match="assignment index out of range"):
        v[5] = v[0]


def test_an_empty_change_sends_nothing() -> None:
    v = UVec[int]([1])
    with recording(v) as updates:
        v.extend([])
        v += ()
        v *= 1
        v[5:] = []
        v[1:0:-1] = []
        del v[3:]
        v.sort()
        v.reverse()
    assert updates == []


def test_a_handle_follows_its_element() -> None:
    v = UVec[list[int]]([[0], [1], [2]])
    last = v[2]
    v.insert(0, [9])
    v.reverse()
    v.sort()
    last.append(5)
    assert v == [[0], [1], [2, 5], [9]]
    assert v.pop(2) == [2, 5]
    with pytest.raises(StaleHandleError):
        last.append(6)
    assert last == [2, 5]


def test_the_size_of_a_change_does_not_depend_on_the_list() -> None:
    v = UVec[Any](range(1000))
    with recording(v) as updates:
        v[500] = "x"
        v.insert(500, "y")
        del v[500]
        v.append("z")
        del v[::500]
    assert max(len(repr(u.ops)) for u in updates) < 40


def test_what_cannot_be_stored_is_refused_before_anything_changes() -> None:
    v = UVec[Any]([1])
    with pytest.raises(UnstorableError, match=r"^\[1\]: .*frozenset"):
        v.extend([2, {3}])
    with pytest.raises(UnstorableError):
        v[0:0] = [set()]
    ints = UVec[int]([1])
    with pytest.raises(WrongTypeError, match=r"^\[1\]"):
        ints.append("x")  # type: ignore[arg-type]
    assert v == ints == [1]


def test_a_key_function_that_changes_the_list_is_told_so() -> None:
    v = UVec([3, 1, 2])

    def key(item: int) -> int:
        if len(v) == 3:
            v.append(0)
        return item

    with pytest.raises(ValueError, match="modified during sort"):
        v.sort(key=key)
    assert v == [3, 1, 2, 0]


def test_removed_containers_come_back_as_plain_builtins() -> None:
    v = UVec[Any]([{"a": [1]}, [2]])
    popped = v.pop(0)
    assert type(popped) is dict
    assert type(popped["a"]) is list
    assert type(v.pop()) is list


def test_a_vec_of_maps_of_vecs_changes_in_depth() -> None:
    v = UVec[dict[str, list[int]]]([{"a": []}])
    v[0]["a"].append(1)
    assert isinstance(v[0], UMap)
    with pytest.raises(WrongTypeError):
        v[0]["a"].append("x")  # type: ignore[arg-type]
    assert v == [{"a": [1]}]


def test_a_batch_of_a_vec_records_a_vec() -> None:
    v = UVec([1, 2])
    with v.batch() as batch:
        batch.append(3)
        del batch[0]
    assert v == [2, 3]


def test_a_transaction_hands_out_an_overlay_of_its_own_kind() -> None:
    v = UVec([1])
    with v.transaction() as t:
        assert type(t).__name__ == "VecOverlay"
        t.append(2)
    assert v == [1, 2]
    assert v.run_transaction(lambda t: t.pop()) == 2
    assert len(v) == 1
