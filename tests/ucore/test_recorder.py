"""A batch is one update; its recorder names what it makes as the update's reader counts it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucore import StaleHandleError, UMap, Update, UStack, UVec, WrongTypeError, codes, recording
from ucore.base import Applied, Effect, Strict
from ucore.primitives import encode_key


class Owner:
    """Remembers what it was asked to order."""

    def __init__(self, node: Any = None) -> None:
        self.node = node
        self.stricts: list[Strict | None] = []

    def enter(self) -> None:
        pass

    def submit(self, update: Update, strict: Strict | None) -> Applied:
        self.stricts.append(strict)
        return self.node._tree.apply(update, self.node._tree.position + 1)


def test_a_batch_is_one_update() -> None:
    m = UMap[str, Any](a=1, l=[1])
    with recording(m) as updates:
        with m.batch() as b:
            b["b"] = 2
            del b["a"]
            b["l"].append(2)
            assert m == {"a": 1, "l": [1]}  # the view moves at the end
    assert len(updates) == 1
    assert m == {"b": 2, "l": [1, 2]}
    assert b.results == [None, 1, None]


def test_results_wait_for_the_end() -> None:
    m = UMap[str, Any](a=1)
    with m.batch() as b:
        b.pop("a")
        with pytest.raises(RuntimeError, match="has been applied"):
            _ = b.results
    with pytest.raises(RuntimeError, match="batch is over"):
        b["b"] = 1
    assert b.results == [1]


def test_nothing_is_sent_for_nothing_or_after_an_exception() -> None:
    m = UMap[str, Any](a=1)
    with recording(m) as updates:
        with m.batch() as b:
            b.update({})
            b |= []
            b.discard(object())  # cannot be there
            b.pop(object(), 1)
        assert b.results == []
        with pytest.raises(ZeroDivisionError), m.batch() as b:
            b["a"] = 2
            raise ZeroDivisionError
    assert updates == []
    assert m == {"a": 1}


def test_a_batch_is_used_once() -> None:
    batch = UMap[str, int]().batch()
    with batch:
        pass
    with pytest.raises(RuntimeError, match="used once"), batch:
        pass


def test_a_failing_operation_undoes_all_and_says_which() -> None:
    m = UMap[str, Any](a=1)
    with pytest.raises(KeyError) as caught, m.batch() as b:
        b["b"] = [1]
        del b["nope"]
    assert caught.value.args == ("nope",)
    assert caught.value.operation == 1  # type: ignore[attr-defined]
    assert caught.value.__notes__ == ["operation 1 of the batch failed, so nothing was changed"]
    assert m == {"a": 1}
    with pytest.raises(KeyError), m.batch() as b:
        del b[object()]  # type: ignore[arg-type]


def test_what_cannot_be_stored_is_refused_where_it_is_said() -> None:
    m = UMap[str, list[int]](a=[1])
    with pytest.raises(ZeroDivisionError), m.batch() as b:
        for wrong in (lambda: b.update(x={1}), lambda: b["a"].append("x")):  # type: ignore[arg-type,dict-item]
            with pytest.raises(TypeError):
                wrong()
        b["new"] = []
        with pytest.raises(WrongTypeError):
            b["new"].append("x")  # type: ignore[arg-type]
        raise ZeroDivisionError


# ---------------------------------------------------------------- maps


class Text(str):
    """Cannot be stored, and equals what can."""

    __slots__ = ()


def test_what_the_batch_has_put_is_removed_by_any_key_that_equals_its_own() -> None:
    m = UMap[object, object]({"old": 1, 1: 2})
    with m.batch() as b:
        b["new"] = b["b"] = b["c"] = 3
        b.discard(Text("new"))
        b.pop(Text("b"), None)
        del b[Text("c")]
        b.discard(Text("old"))
        b.discard(Text("old"))
        b["old"] = 4
        b.discard(Text("old"))
        b.pop(Text("nope"), None)
        with pytest.raises(KeyError):
            del b[Text("nope")]
    assert m == {1: 2}


def test_every_mutator_of_a_map_is_recorded() -> None:
    m = UMap[str, Any](a=1, b=2, c=3, d=[4], n=5)
    with m.batch() as b:
        b.pop("a")
        b.pop("nope", "instead")
        b.pop("b", "instead")
        b.discard("c")
        b.discard("nope")
        b.increment("n", 2)
        b.increment("new")
        b.popitem()
        b.setdefault("d", 9)
        b.setdefault("e", 9)
        b.setdefault("f")
        b |= {"g": 1}
        b.update([("h", {"x": 1})], i=2)
    assert b.results == [
        1,
        "instead",
        2,
        True,
        False,
        7,
        1,
        ("new", 1),
        m["d"],
        9,
        None,
        None,
        None,
    ]
    assert m == {"d": [4], "n": 7, "e": 9, "f": None, "g": 1, "h": {"x": 1}, "i": 2}
    with m.batch() as b:
        b.clear()
        b["x"] = 1
        with pytest.raises(KeyError):
            b["d"]
    assert m == {"x": 1}


def test_the_recorder_of_a_key_is_that_of_the_latest_container_there() -> None:
    m = UMap[str, Any](a=[1], b=[2])
    with m.batch() as b:
        b["a"].append(2)
        b["a"] = {"x": [[5]], "s": UStack([1])}
        b["a"]["x"][0].append(6)
        b["a"]["s"].push(2)
        b.setdefault("b", [])
        b["b"].append(3)
        b.setdefault("c", [[7]])
        b["c"][0].append(8)
        b["d"] = 1
        del b["d"]
        b["e"] = []
        b["e"] += [9]
        b["e"] = b["e"]
        b.update(f=[], g=[])
        b["g"].append(10)
    assert m.copy() == {
        "a": {"x": [[5, 6]], "s": [1, 2]},
        "b": [2, 3],
        "c": [[7, 8]],
        "e": [9],
        "f": [],
        "g": [10],
    }


def test_a_batch_does_not_read() -> None:
    m = UMap[str, Any](a=1, l=[1])
    with m.batch() as b:
        with pytest.raises(TypeError, match="does not read"):
            b["a"]
        with pytest.raises(TypeError, match="does not read"):
            b["l"][0]
        with pytest.raises(KeyError):
            b["nope"]
        with pytest.raises(IndexError):
            b["l"][1]
        b.pop("l")
        with pytest.raises(KeyError):
            b["l"]
        b["l"] = 5
        with pytest.raises(TypeError, match="does not read"):
            b["l"]


def test_a_recorder_is_not_a_value() -> None:
    m = UMap[str, Any](a=[], b=[[], []])
    with m.batch() as b:
        with pytest.raises(TypeError, match="a recorder cannot be stored"):
            b["a"] = b["b"]
        with pytest.raises(TypeError, match="a recorder cannot be stored"):
            b["b"][0] = b["b"][1]
        b["b"][0] += [1]
    assert m == {"a": [], "b": [[1], []]}


def test_a_batch_of_a_nested_container() -> None:
    m = UMap[str, Any](a=[1])
    with m["a"].batch() as b:
        b.append(2)
        b.append([3])
        b[2].append(4)
    assert m == {"a": [1, 2, [3, 4]]}


def test_a_container_that_is_not_made_after_all_fails_the_batch() -> None:
    m = UMap[str, Any]()
    with pytest.raises(StaleHandleError), m.batch() as b:
        b.setdefault("a", [])
        m["a"] = [1]  # alone, the structure may be changed meanwhile
        b["a"].append(2)
    assert m == {"a": [1]}


# ---------------------------------------------------------------- changes that become one operation


def recorded(m: Any, *changes: Any) -> list[Any]:
    """The text of the batch of these changes."""
    with recording(m) as updates, m.batch() as b:
        for change in changes:
            change(b)
    [update] = updates
    assert len(b.results) == len(changes)
    return list(update.ops)


def test_leaves_under_several_keys_are_stored_by_one_operation() -> None:
    m = UMap[Any, Any](l=[1])
    node = m["l"]._id
    assert recorded(
        m,
        lambda b: _set(b, "a", 1),
        lambda b: _set(b, 2**70, (2,)),
        lambda b: _set(b, 1, "x"),
        lambda b: _set(b, True, None),  # 1 again
        lambda b: _set(b, "b", 1.5),
        lambda b: _set(b, "c", []),
        lambda b: _set(b, "d", 1),
        lambda b: b.pop("a"),
        lambda b: _set(b, "a", 2),
        lambda b: b["l"].append(2),
        lambda b: b["l"].append("x"),
        lambda b: b["l"].append({}),
        lambda b: b["l"].append(3),
        lambda b: _set(b, "e", 1),
    ) == [
        [codes.PUT_MANY, 0, 0, "a", 1, encode_key(2**70), [2, 2], 1, "x"],
        [codes.PUT_MANY, 0, 0, True, None, "b", 1.5],
        [codes.PUT, 0, 0, "c", [33]],
        [codes.PUT, 0, 0, "d", 1],
        [codes.DELETE, 0, 0, "a"],
        [codes.PUT, 0, 0, "a", 2],
        [codes.EXTEND, *node, 2, "x"],
        [codes.APPEND, *node, [32]],
        [codes.APPEND, *node, 3],
        [codes.PUT, 0, 0, "e", 1],
    ]
    assert list(m.items())[2:4] == [(1, None), ("b", 1.5)]


def test_a_batch_that_only_puts_natives_is_made_of_them() -> None:
    m = UMap[Any, Any](d={})
    for target in (m, m["d"]):
        with recording(m) as updates:
            with target.batch() as b:
                b["a"] = 1
                b["ä"] = "ö"
                b[2] = None
        assert updates[0].puts == (target._id, {"a": 1, "ä": "ö", 2: None})
        assert b.results == [None] * 3
    assert m == {"d": {"a": 1, "ä": "ö", 2: None}, "a": 1, "ä": "ö", 2: None}


@pytest.mark.parametrize(
    ("more", "ops"),
    [
        (lambda b: b.pop("a"), [[codes.PUT_MANY, 0, 0, "a", 1, "b", 2], [codes.DELETE, 0, 0, "a"]]),
        (lambda b: b.clear(), [[codes.PUT_MANY, 0, 0, "a", 1, "b", 2], [codes.CLEAR, 0, 0]]),
        (lambda b: b.__setitem__("a", 3), [[codes.PUT_MANY, 0, 0, "a", 1, "b", 2], [codes.PUT, 0, 0, "a", 3]]),
        (lambda b: b.__setitem__("c", (3,)), [[codes.PUT_MANY, 0, 0, "a", 1, "b", 2, "c", [2, 3]]]),
        (lambda b: b.__setitem__((3,), 3), [[codes.PUT_MANY, 0, 0, "a", 1, "b", 2, [2, 3], 3]]),
        (lambda b: b.__setitem__(2**63, 3), [[codes.PUT_MANY, 0, 0, "a", 1, "b", 2, encode_key(2**63), 3]]),
    ],
)  # fmt: skip
def test_whatever_else_it_does_is_told_by_text(more: Any, ops: list[Any]) -> None:
    m = UMap[Any, Any](a=0)
    with recording(m) as updates:
        with m.batch() as b:
            b["a"] = 1
            b["b"] = 2
            more(b)
    assert updates[0].puts is None
    assert updates[0].ops == ops


def test_what_stands_behind_another_kind_of_leaf_is_stored_by_the_same_operation() -> None:
    m = UMap[Any, Any]()
    with recording(m) as updates:
        with m.batch() as b:
            b["a"] = 1
            b["b"] = (2,)
            b["c"] = 3
            b["a"] = 4
            b["d"] = 5
    assert updates[0].ops == [
        [codes.PUT_MANY, 0, 0, "a", 1, "b", [2, 2], "c", 3], [codes.PUT_MANY, 0, 0, "a", 4, "d", 5],
    ]  # fmt: skip
    assert m == {"a": 4, "b": (2,), "c": 3, "d": 5}


def test_what_a_batch_puts_is_seen_by_what_it_records_next() -> None:
    m = UMap[Any, Any](a={}, x=[1])
    with m.batch() as b:
        b["n"] = 1
        b["a"] = 2
        for key in ("n", "a"):
            with pytest.raises(TypeError, match="does not read"):
                b[key]
        b["x"].append(2)  # another one's operation in between
        b["m"] = 3
        b.discard("n")
        with pytest.raises(KeyError):
            b["n"]
    assert m == {"a": 2, "m": 3, "x": [1, 2]}
    assert b.results == [None, None, None, None, True]


def test_a_failure_behind_them_names_the_change_that_was_recorded() -> None:
    m = UMap[str, Any]()
    with pytest.raises(KeyError) as caught, m.batch() as b:
        b["a"] = 1
        b["b"] = 2
        b["c"] = 3
        del b["nope"]
    assert caught.value.operation == 3  # type: ignore[attr-defined]
    assert m == {}
    with m.batch() as b:
        b["a"] = 1
    with pytest.raises(RuntimeError, match="batch is over"):
        b["b"] = 1
    assert m == {"a": 1}


def test_what_is_refused_on_the_way_is_not_stored_and_the_rest_is() -> None:
    m = UMap[str, int]()
    with m.batch() as b:
        b["a"] = 1
        for key, value in (("b", "x"), ("\ud800", 1), ([], 1), ("b", {1})):
            with pytest.raises(TypeError):
                _set(b, key, value)
        b["c"] = 2
    assert m == {"a": 1, "c": 2}
    assert b.results == [None, None]


def told(start: Any, updates: list[Update]) -> list[tuple[Any, ...]]:
    """The effects that these updates have on a map that begins like this."""
    effects: list[Effect] = []
    tree: Any = UMap(start)._tree
    for update in updates:
        tree.apply(update, tree.position + 1, effects=effects)
    return [effect[1:] for effect in effects]


KEYS = st.sampled_from(["a", "b", "c", 1, True, 1.0])
LEAVES = st.sampled_from([0, 2**64, "x", "ä", None, (1,)])
MAP_CALLS = st.one_of(
    st.tuples(st.just(lambda m, k, x: m.__setitem__(k, x)), KEYS, LEAVES),
    st.tuples(st.just(lambda m, k, x: m.__setitem__(k, x)), KEYS, LEAVES),
    st.tuples(st.just(lambda m, k: m.__setitem__(k, [0])), KEYS),
    st.tuples(st.just(lambda m, k: m.pop(k, None)), KEYS),
    st.tuples(st.just(lambda m, k: m.update({k: 1, "z": 2})), KEYS),
    st.tuples(st.just(lambda m, x: m["l"].append(x)), LEAVES),
    st.tuples(st.just(lambda m: m.clear())),
)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.lists(MAP_CALLS, max_size=10))
def test_a_batch_on_a_map_does_what_the_map_would_have_done(calls: list[Any]) -> None:
    start: Any = {"l": [], 1: "first"}
    direct, batched = UMap(start), UMap(start)
    expected = []
    with recording(direct) as each:
        for change, *arguments in calls:
            with suppress(KeyError):
                expected.append(change(direct, *arguments))
    with recording(batched) as together, batched.batch() as b:
        for change, *arguments in calls:
            with suppress(KeyError):
                change(b, *arguments)
    batched._tree.audit()
    assert repr(batched) == repr(direct)
    assert b.results == expected
    assert told(start, together) == told(start, each)


# ---------------------------------------------------------------- vecs and stacks

small = st.sampled_from([1, 2, "x", None])
entries = small | st.lists(small, max_size=2) | st.builds(dict, a=st.lists(small, max_size=2))
indices = st.integers(-5, 5)
ends = st.none() | indices
slices = st.builds(slice, ends, ends, st.sampled_from([None, 1, 2, -1, -2]))


def _set(v: Any, i: Any, x: Any) -> None:
    v[i] = x


def _delete(v: Any, i: Any) -> None:
    del v[i]


def _add(v: Any, x: Any) -> None:
    v += x


def _times(v: Any, n: int) -> None:
    v *= n


def _deep(v: Any, i: int, x: Any) -> None:
    v[i].append(x)


def _deeper(v: Any, i: int, x: Any) -> None:
    v[i]["a"].append(x)


def _pop(v: Any, i: int = -1) -> None:
    v.pop(i)


def _sort(v: Any) -> None:
    v.sort(key=repr)


CALLS = st.one_of(
    st.tuples(st.just(_set), indices, entries),
    st.tuples(st.just(_set), slices, st.lists(entries, max_size=3)),
    st.tuples(st.just(_delete), indices | slices),
    st.tuples(st.just(_add), st.lists(entries, max_size=3)),
    st.tuples(st.just(_times), st.integers(0, 2)),
    st.tuples(st.just(_deep), indices, small),
    st.tuples(st.just(_deeper), indices, small),
    st.tuples(st.just(lambda v, x: v.append(x)), entries),
    st.tuples(st.just(lambda v, i, x: v.insert(i, x)), indices, entries),
    st.tuples(st.just(_pop)),
    st.tuples(st.just(_pop), indices),
    st.tuples(st.just(lambda v, x: v.remove(x)), small),
    st.tuples(st.just(lambda v: v.reverse())),
    st.tuples(st.just(lambda v: v.clear())),
    st.tuples(st.just(_sort)),
)
REFUSED = (IndexError, ValueError, TypeError, AttributeError, KeyError)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.lists(entries, max_size=4), st.lists(CALLS, max_size=8))
def test_a_batch_on_a_vec_does_what_the_vec_would_have_done(
    start: list[Any], calls: list[Any]
) -> None:
    direct: Any = UVec(start)
    batched: Any = UVec(start)
    with batched.batch() as b:
        for call, *arguments in calls:
            if call is _pop and not direct:
                continue  # fails where it lands, that is, at the end of the batch
            if call in (_sort, _times) and any(isinstance(x, list | dict) for x in direct):
                with pytest.raises(TypeError, match="outside the batch"):
                    call(b, *arguments)
                continue
            try:
                call(direct, *arguments)
            except REFUSED:
                with pytest.raises(REFUSED):
                    call(b, *arguments)
            else:
                call(b, *arguments)
    batched._tree.audit()
    assert batched == direct
    assert repr(batched) == repr(direct)


def test_slices_that_run_backwards_name_their_containers_rightly() -> None:
    v = UVec[Any]([0, 1, 2, 3])
    with v.batch() as b:
        b[::-2] = [["a", ["in a"]], ["b"]]
        b[3].append("at 3")
        b[3][1].append("deep at 3")
        b[1].append("at 1")
        b[0:1] = [["c"], ["d"]]
        b[1].append("at 1")
    assert v == [["c"], ["d", "at 1"], ["b", "at 1"], 2, ["a", ["in a", "deep at 3"], "at 3"]]


def test_naming_a_position_makes_the_whole_batch_strict() -> None:
    class Shared(UVec[Any]):
        def __init__(self, owner: Owner) -> None:
            owner.node = self
            self._attach(owner)

    owner = Owner()
    v = Shared(owner)
    with v.batch() as b:
        b.append(1)
        b.extend([2, [3]])
        b.insert(0, 0)
        b[3].append(4)
    with v.batch() as b:
        b.append(1)
        b[0] = 5
        b.append(2)
    assert owner.stricts == [None, Strict(None, None)]
    assert v == [5, 1, 2, [3, 4], 1, 2]


def test_a_view_that_moved_on_is_not_what_the_positions_were_about() -> None:
    v = UVec[int]([1, 2])
    with v.batch() as b:
        b.append(3)
        v.insert(0, 0)
    assert v == [0, 1, 2, 3]
    with pytest.raises(RuntimeError, match="nothing of the batch was applied"), v.batch() as b:
        b[0] = 9
        v.insert(0, -1)
    assert v == [-1, 0, 1, 2, 3]


def test_what_a_list_of_containers_needs_to_be_read_for_is_refused() -> None:
    v = UVec[Any]([[1]])
    with v.batch() as b:
        for refused in (lambda: b.sort(), lambda: b.__imul__(2)):
            with pytest.raises(TypeError, match="outside the batch"):
                refused()


def test_every_mutator_of_a_vec_gives_its_result_afterwards() -> None:
    v = UVec[Any]([1, 2, 3, 4, 5])
    with v.batch() as b:
        b.pop()
        b.pop(0)
        b.remove(3)
        b.extend([])
        b.append(9)
        b.pop()
        del b[5:]
        del b[0:1]
        b.reverse()
        b[5:] = []
        b[0] = [7]
        b[0] = b[0]
        b.clear()
        b.reverse()
        b.sort()
        b *= 3
        b += "ab"
        b.sort(reverse=True)
        b *= 2
    assert b.results[:2] == [5, 1]
    assert v == ["b", "a", "b", "a"]


def test_a_stack_is_recorded() -> None:
    m = UMap[str, Any](s=UStack([1, 2]))
    with m.batch() as b:
        b["s"].pop()
        b["s"].push(3)
        b["s"].extend([4, 5])
        b["s"].pop()
        b["new"] = UStack([[1]])
        b["new"].push({"x": 1})
    assert m["s"].copy() == [1, 3, 4]
    assert m["new"].copy() == [[1], {"x": 1}]
    assert b.results[0] == 2
    with m["s"].batch() as s:
        s.clear()
        s.push(1)
    assert m["s"] == UStack([1])


def test_a_pop_that_finds_nothing_fails_where_it_lands() -> None:
    v = UVec[int]()
    with pytest.raises(IndexError), v.batch() as b:
        b.pop()
    with v.batch() as b:
        b.append(1)
        b.pop()
    assert v == []
