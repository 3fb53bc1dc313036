"""What all containers share: one root, handles, copies, pickles, dumps, recordings."""

from __future__ import annotations

import copy
import pickle
import types
from collections.abc import Callable
from typing import Any

import pytest

import ucore.tree
from ucore import (
    InterruptedUpdateError,
    LocalDivergenceError,
    StaleHandleError,
    TransactionError,
    UMap,
    UnknownTypeError,
    Update,
    UStack,
    UVec,
    codes,
    recording,
)
from ucore.base import Applied, Strict
from ucore.runs import Run


class Owner:
    """The least owner: asks for nothing and applies at the next position."""

    def __init__(self) -> None:
        self.node: Any = None
        self.on_enter: Any = lambda: None

    def enter(self) -> None:
        self.on_enter()

    def submit(self, update: Update, strict: Strict | None) -> Applied:
        return self.node._tree.apply(update, self.node._tree.position + 1)


class Shared(UMap[Any, Any]):
    __slots__ = ()

    def __init__(self, owner: Owner) -> None:
        owner.node = self
        self._attach(owner)


def test_a_container_without_its_init_says_so() -> None:
    for cls in (UMap, UVec, UStack):
        with pytest.raises(TypeError, match="__init__ was not called"):
            cls.__new__(cls).clear()
        with pytest.raises(TypeError, match="cannot dump"):
            cls.__new__(cls).dump()


def test_a_second_init_says_what_to_do_instead() -> None:
    m = UMap(a=1)
    with pytest.raises(TypeError, match="change this one with its own methods"):
        m.__init__()  # type: ignore[misc]
    assert m == {"a": 1}


def test_clear_empties_and_can_be_undone() -> None:
    for full in (UMap({"a": [1]}), UVec([1, {}]), UStack([[2]])):
        twin: Any = type(full).load(full.dump())
        with recording(full) as updates:
            full.clear()
        assert len(full) == 0
        inverse = twin.apply(updates[0])
        assert twin == full
        twin.apply(inverse)
        assert len(twin) > 0


def test_copies_are_plain_builtins_all_the_way_down() -> None:
    m = UMap[str, Any](a=[{"b": (1,)}], s=UStack([1, [2]]))
    for made in (m.copy(), copy.copy(m), copy.deepcopy(m)):
        assert made == {"a": [{"b": (1,)}], "s": [1, [2]]}
        assert type(made) is dict
        assert type(made["a"]) is type(made["s"]) is type(made["s"][1]) is list
        assert type(made["a"][0]) is dict


def test_apply_gives_the_inverse_and_raises_what_failed() -> None:
    m = UMap[str, int](a=1)
    inverse = m.apply(Update([[codes.PUT, 0, 0, "b", 2]]))
    assert m == {"a": 1, "b": 2}
    m.apply(inverse)
    assert m == {"a": 1}
    position = m.dump()[1]
    with pytest.raises(KeyError):
        m.apply(Update([[codes.PUT, 0, 0, "c", 2], [codes.DELETE, 0, 0, "b"]]))
    with pytest.raises(UnknownTypeError):
        m.apply(Update([[codes.PUT, 0, 0, "c", [98, 1]]]))
    assert m == {"a": 1}
    assert m.dump()[1] == position


def test_only_the_root_of_a_structure_of_its_own_takes_updates_and_dumps() -> None:
    m = UMap[str, Any](a=[1])
    with pytest.raises(TypeError, match="a container inside another"):
        m["a"].apply(Update([]))
    with pytest.raises(TypeError, match="cannot dump a container inside another"):
        m["a"].dump()
    shared = Shared(Owner())
    shared["a"] = 1
    with pytest.raises(TypeError, match="a shared structure"):
        shared.apply(Update([]))
    assert shared.dump() == [1, 1, None, [35, 0, 0, "a", 1]]


def test_what_depends_on_the_content_of_containers_asks_for_everything_to_be_as_seen() -> None:
    asked: list[Strict | None] = []

    class Asked(Owner):
        def submit(self, update: Update, strict: Strict | None) -> Applied:
            asked.append(strict)
            return super().submit(update, strict)

    shared = Shared(Asked())
    shared.update(leaves=[2, 1, 3], lists=[[2], [1], [3]])
    for name, last in (("leaves", 1), ("lists", [1])):
        v = shared[name]
        asked.clear()
        v.sort()
        v.remove(last)
        v *= 2
        v[0] = last
        node = Strict(v._id, None)
        assert asked[:3] == (
            [node, Strict(v._id, 0), node] if name == "leaves" else [Strict(None, None)] * 3
        )
        assert asked[3] == Strict(v._id, 0)


def test_the_owner_comes_before_every_other_check() -> None:
    owner = Owner()
    m = Shared(owner)
    m["a"] = [1]
    handle = m["a"]
    tree = m._tree
    plain = tree.dump()
    tree.interrupted = True
    owner.on_enter = lambda: tree.load(plain)  # an owner repairs what was interrupted
    handle.append(2)
    assert m == {"a": [1, 2]}
    assert m["a"] is handle


def test_an_open_transaction_keeps_every_mutator_out() -> None:
    m = UMap(a=[1])
    with m.transaction() as t:
        for change in (m.clear, m["a"].clear):
            with pytest.raises(TransactionError, match="change `t`"):
                change()
        t["a"].append(2)
    m["a"].append(3)
    assert m == {"a": [1, 2, 3]}


def test_an_interrupted_value_alone_has_to_be_loaded_again() -> None:
    m = UMap(a=1)
    m._tree.interrupted = True
    with pytest.raises(InterruptedUpdateError, match="load the value again"):
        m["a"] = 2
    assert m == {"a": 1}


def test_a_removed_container_can_be_read_and_not_changed() -> None:
    m = UMap[str, Any](a={"x": [1]}, s=UStack([1]))
    a, x, s = m["a"], m["a"]["x"], m["s"]
    m.clear()
    changes = [
        lambda: a.update(y=1),
        lambda: a.clear(),
        lambda: x.append(2),
        lambda: x.batch().__enter__(),
        lambda: s.push(2),
    ]
    for change in changes:
        with pytest.raises(StaleHandleError, match="removed from its structure"):
            change()
    assert (a, x, s) == ({"x": [1]}, [1], UStack([1]))


def test_the_debug_switch_is_asked_at_each_mutator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ucore.tree, "DEBUG", True)
    m = UMap[str, Any](a=[1], b=[2])
    list.__setitem__(m["b"], 0, 3)
    with pytest.raises(LocalDivergenceError):
        m["a"].append(1)


def test_pickling_keeps_a_value_of_its_own_and_refuses_parts() -> None:
    class_of = [UMap[str, list[int]](a=[1]), UVec[int]([1]), UStack[int]([1])]
    for value in class_of:
        again = pickle.loads(pickle.dumps(value))
        assert type(again) is type(value)
        assert again == value
        assert again.dump() == value.dump()
    m = pickle.loads(pickle.dumps(class_of[0]))
    with pytest.raises(TypeError):
        m["a"].append("not an int")
    with pytest.raises(TypeError, match=r"pass the url and the group's name, or a \.copy\(\)"):
        pickle.dumps(m["a"])
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(Shared(Owner()))
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(UMap.__new__(UMap))
    with pytest.raises(TypeError, match="protocol 2"):
        m.__reduce__()


def test_recordings_collect_what_succeeds_in_the_whole_structure() -> None:
    m = UMap[str, Any](a=[1])
    with recording(m) as outer:
        m["a"].append(2)
        with recording(m["a"]) as inner, pytest.raises(KeyError):
            m["b"] = 1
            del m["c"]
        m["d"] = 1
    m["e"] = 1
    assert [u.ops[0][0] for u in outer] == [codes.APPEND, codes.PUT, codes.PUT]
    assert inner == outer[1:2]


def test_a_recording_ends_with_its_block_even_by_an_exception() -> None:
    m = UMap[str, int]()
    with pytest.raises(ZeroDivisionError), recording(m) as updates:
        m["a"] = 1
        raise ZeroDivisionError
    m["b"] = 2
    assert len(updates) == 1


def test_loading_through_an_alias_checks_what_comes_later() -> None:
    m = UMap[str, list[int]].load(UMap(a=[1]).dump())
    with pytest.raises(TypeError):
        m["a"].append("x")  # type: ignore[arg-type]
    assert m == {"a": [1]}


# ---------------------------------------------------------------- subclasses


def _own(self: Any, *_: Any) -> Any:
    raise AssertionError("a method of the user's own was asked")


READERS: dict[str, Any] = dict.fromkeys(
    "__contains__ __getitem__ __iter__ __reversed__ __bool__ __eq__ get items keys values".split(),
    _own,
)
OwnMap: type[UMap[Any, Any]] = type("OwnMap", (UMap,), READERS)
OwnVec: type[UVec[Any]] = type("OwnVec", (UVec,), READERS)


def same_as_plain(own: Any, plain: Any, steps: list[Callable[[Any], object]]) -> None:
    for step in steps:
        got = []
        for value in (own, plain):
            try:
                got.append(step(value))
            except (KeyError, IndexError, ValueError) as error:
                got.append(repr(error))
        assert got[0] == got[1] or got == [own, plain]
        assert repr(own.dump()) == repr(plain.dump())
        own._tree.audit()


def batched(*steps: Callable[[Any], object]) -> Callable[[Any], object]:
    def step(value: Any) -> None:
        with value.batch() as b:
            for one in steps:
                one(b)

    return step


def test_what_a_subclass_of_a_map_reads_in_its_own_way_is_no_matter_to_its_changes() -> None:
    content: dict[Any, Any] = {**{f"k{i}": i for i in range(20)}, "l": [1], "m": {"x": 1}}
    steps: list[Callable[[Any], object]] = [
        lambda m: m.pop("k3"),
        lambda m: m.pop("nope"),
        lambda m: m.pop("nope", 5),
        lambda m: m.discard("k4"),
        lambda m: m.popitem(),
        lambda m: m.setdefault("k5", 7),
        lambda m: m.increment("k6"),
        lambda m: m.update(k7=[2], l=3),
        lambda m: m.update({f"k{i}": -i for i in range(8)}),
        batched(lambda b: b.pop("k8"), lambda b: b.update(k9=2, n=[1]), lambda b: b.pop("nope")),
        batched(lambda b: b.clear(), lambda b: b.pop("nope")),
        lambda m: m.copy(),
        lambda m: m._tree.apply_run(Run(codes.PUT, (0, 0), ["a"] * 9, range(9)), 100),
        lambda m: m.clear(),
        lambda m: m.popitem(),
    ]
    same_as_plain(OwnMap(content), UMap(content), steps)


def test_what_a_subclass_of_a_list_reads_in_its_own_way_is_no_matter_to_its_changes() -> None:
    content: list[Any] = [*range(20), [1], {"x": 2}]
    steps: list[Callable[[Any], object]] = [
        lambda v: v.pop(),
        lambda v: v.pop(3),
        lambda v: v.__setitem__(2, [5]),
        lambda v: v.__setitem__(slice(2, 5), [7, [8]]),
        lambda v: v.__setitem__(slice(0, 6, 2), "abc"),
        lambda v: v.__delitem__(slice(None, None, 3)),
        lambda v: v.insert(1, "i"),
        lambda v: v.reverse(),
        lambda v: v.extend([1, 2]),
        lambda v: v.copy(),
        batched(lambda b: b.reverse(), lambda b: b.clear(), lambda b: b.pop()),
        batched(
            lambda b: b.__delitem__(slice(None, None, 2)), lambda b: b.clear(), lambda b: b.pop()
        ),
        lambda v: v.clear(),
        lambda v: v.pop(),
    ]
    same_as_plain(OwnVec(content), UVec(content), steps)


@pytest.mark.parametrize("base", [UMap, UVec, UMap[str, int]])
def test_a_length_of_its_own_is_refused(base: Any) -> None:
    with pytest.raises(TypeError, match="another name"):
        types.new_class("Open", (base,), {}, lambda body: body.update(__len__=lambda _: 0))
    types.new_class("Stack", (UStack,), {}, lambda body: body.update(__len__=lambda _: 0))
