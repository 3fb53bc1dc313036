"""A tree is changed by updates alone: whole or not at all, with inverses, effects and ids."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

import ucore.tree
from ucore import (
    ABSENT,
    InterruptedUpdateError,
    LocalDivergenceError,
    MalformedUpdateError,
    SkeletonError,
    StaleHandleError,
    UMap,
    UnknownTypeError,
    UnstorableError,
    Update,
    UpgradeNeededError,
    UStack,
    UVec,
    codes,
    recording,
)
from ucore.base import Applied, Effect, Strict
from ucore.runs import Run, Told, run_of
from ucore.tree import Tree


def grown() -> UMap[str, Any]:
    """A map with a vec, a stack and a map in a map; position 1."""
    return UMap(n=1, list=[1, [2], 3], stack=UStack([1]), deep={"inner": {"x": [0]}})


def ids(m: Any) -> list[tuple[int, int]]:
    return sorted(m._tree.nodes)


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("op", "error"),
    [
        ([codes.DELETE, 0, 0, "nope"], KeyError),
        ([codes.POP, 1, 9], StaleHandleError),
        ([codes.APPEND, 0, 0, 1], StaleHandleError),
        ([codes.INCREMENT, 0, 0, "list", 1], TypeError),
        ([codes.SPLICE, 1, 1, 2, 9], IndexError),
        ([codes.DECLARE, ["vec", None]], SkeletonError),
        ([codes.PUT, 0, 0, "x", [33, [36, 1, 1]]], MalformedUpdateError),
        ([codes.PUT, 0, 0, "x", [36, 99, 1]], MalformedUpdateError),
        ([codes.PUT, 0, 0, "x", [36, 3, 9]], MalformedUpdateError),
    ],
)
def test_an_operation_that_fails_undoes_all_before_it_and_is_told(
    op: list[Any], error: type[Exception]
) -> None:
    m = grown()
    tree = m._tree
    tree.apply(Update([[codes.DECLARE, ["map", None]]]), 2)
    handle = m["deep"]["inner"]["x"]
    before, before_ids = UMap.load(m.dump()), ids(m)
    effects: list[Effect] = [Effect(m, "put", "earlier", ABSENT, 1)]
    update = Update(
        [
            [codes.DECLARE, ["map", None]],
            [codes.DELETE, 0, 0, "deep"],
            [codes.PUT, 0, 0, "new", [33, [32]]],
            [codes.APPEND, 0, 1, 5],
            [codes.DELETE, 0, 0, "new"],  # to be brought back, in order to be taken back
            [codes.CLEAR, 1, 1],
            op,
            [codes.PUT, 0, 0, "never", 1],
        ]
    )
    applied = tree.apply(update, 3, effects=effects, inverse=True)
    assert applied.results == []
    assert applied.inverse is None
    assert applied.failure is not None
    assert applied.failure.index == 6
    assert type(applied.failure.error) is error
    assert m == before
    assert ids(m) == before_ids
    assert m["deep"]["inner"]["x"] is handle
    assert len(effects) == 1
    assert tree.skeleton == ["map", None]
    tree.audit()
    assert tree.position == 3
    handle.append(1)


def test_a_failing_single_operation_changes_nothing_but_the_position() -> None:
    tree = UMap(a=1)._tree
    applied = tree.apply(Update([[codes.DELETE, 0, 0, "b"]]), 7)
    assert applied.failure is not None
    assert applied.failure.index == 0
    assert applied.failure.error.args == ("b",)
    assert (tree.position, tree.interrupted, tree.root) == (7, False, {"a": 1})


def test_alone_a_failure_does_not_even_use_a_position() -> None:
    m = UMap(a=1)
    with recording(m) as updates, pytest.raises(KeyError):
        del m["b"]
    assert (m._tree.position, updates) == (1, [])


def test_positions_only_grow() -> None:
    tree = UMap(a=1)._tree
    with pytest.raises(AssertionError):
        tree.apply(Update([]), 1)


def test_declarations_merge_and_a_refused_one_leaves_the_old() -> None:
    m = UMap()
    tree = m._tree
    tree.apply(Update([[codes.DECLARE, ["map", None]]]), 1)
    tree.apply(Update([[codes.DECLARE, ["map", ["vec", "leaf"]]]]), 2)
    refused = tree.apply(Update([[codes.DECLARE, ["map", ["stack", None]]]]), 3)
    assert refused.failure is not None
    assert isinstance(refused.failure.error, SkeletonError)
    assert tree.skeleton == ["map", ["vec", "leaf"]]
    assert UMap.load(m.dump())._tree.skeleton == tree.skeleton


def test_a_declaration_stands_even_if_an_operation_behind_it_fails() -> None:
    tree = UMap()._tree
    applied = tree.apply(Update([[codes.DECLARE, ["map", "leaf"]], [codes.DELETE, 0, 0, "no"]]), 1)
    assert applied.failure is not None
    assert tree.skeleton == ["map", "leaf"]


def test_nesting_is_bounded_however_it_is_reached() -> None:
    root = UVec[Any]()
    node: Any = root
    for _ in range(63):
        node.append([])
        node = node[0]
    with pytest.raises(UnstorableError, match="64 deep"):
        node.append([])
    node.append(1)
    with pytest.raises(UnstorableError):
        root[0].append(root.copy())
    assert UVec.load(root.dump()) == root


# ---------------------------------------------------------------- ids, handles, inverses


def test_new_nodes_are_numbered_in_the_order_of_the_text_used_or_not() -> None:
    m = UMap(a=1)
    update = Update(
        [
            [codes.SET_DEFAULT, 0, 0, "a", [33, [33]]],
            [codes.PUT, 0, 0, "b", [32, "x", [33], "y", [34]]],
        ]
    )
    m.apply(update)
    assert ids(m) == [(0, 0), (2, 3), (2, 4), (2, 5)]
    assert m["b"]._id == (2, 3)
    assert m["b"]["y"]._id == (2, 5)


def test_an_inverse_brings_back_nodes_and_their_handles() -> None:
    m = grown()
    inner, stack, before = m["deep"]["inner"], m["stack"], m.dump()
    x = inner["x"]
    with recording(m) as updates:
        del m["deep"]
    del m["stack"]
    for gone in (inner, stack, x):
        with pytest.raises(StaleHandleError):
            gone.clear()
    assert inner == {"x": [0]}
    twin = UMap.load(before)
    twin_x = twin["deep"]["inner"]["x"]
    inverse = twin.apply(updates[0])
    redo = twin.apply(inverse)
    assert twin["deep"]["inner"]["x"] is twin_x
    twin_x.append(1)
    twin.apply(redo)
    with pytest.raises(StaleHandleError):
        twin_x.append(2)
    assert twin_x == [0, 1]


def test_a_handle_of_another_kind_is_not_reused() -> None:
    m = UMap[str, Any](a=[1])
    handle = m["a"]
    tree = m._tree
    tree.reset()
    tree.apply(Update([[codes.PUT, 0, 0, "a", [32, "x", 1]]]), 1)
    assert m == {"a": {"x": 1}}
    assert handle == [1]
    with pytest.raises(StaleHandleError):
        handle.append(1)


def test_reset_and_replay_revive_the_same_handles() -> None:
    m = UMap[str, Any]()
    with recording(m) as updates:
        m["a"] = {"x": [1]}
        m["b"] = UStack([2])
        m["a"]["x"].append(3)
    a, x, b = m["a"], m["a"]["x"], m["b"]
    tree = m._tree
    tree.reset()
    assert (m, tree.position, tree.skeleton) == ({}, 0, None)
    with pytest.raises(StaleHandleError):
        x.append(0)
    for position, update in enumerate(updates, 1):
        tree.apply(update, position)
    assert m["a"] is a
    assert m["a"]["x"] is x
    assert m["b"] is b
    x.append(4)
    assert m["a"] == {"x": [1, 3, 4]}
    assert b == UStack([2])


def test_handles_that_nobody_holds_are_forgotten() -> None:
    m = UMap[str, Any]()
    for i in range(5):
        m["a"] = [i]
    assert len(m._tree._ghosts) == 0


# ---------------------------------------------------------------- effects


def test_effects_tell_each_elementary_change_with_plain_values() -> None:
    m = grown()
    tree = m._tree
    effects: list[Effect] = []
    list_id = m["list"]._id
    update = Update(
        [
            [codes.PUT, 0, 0, "n", [33, 1]],
            [codes.SPLICE, *list_id, 0, 2, "x"],
        ]
    )
    tree.apply(update, 2, effects=effects)
    assert [e[1:] for e in effects] == [
        ("put", "n", 1, [1]),
        ("set", 0, 1, "x"),
        ("remove", 1, [2], ABSENT),
    ]
    assert effects[0].node is m
    assert effects[1].node is m["list"]
    assert type(effects[0].new) is list


# ---------------------------------------------------------------- interruptions


def interrupted_at(line: int, call: Any) -> bool:
    """Run *call* with a KeyboardInterrupt at its *line*-th line in ucore; False if it ended first."""
    left = line

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if "/ucore/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(previous)
    return False


LOG = [
    [[codes.PUT, 0, 0, "a", [32, "x", [33, 1]]], [codes.PUT, 0, 0, "s", [34, [33]]]],
    [[codes.APPEND, 1, 2, 2], [codes.DELETE, 0, 0, "s"], [codes.INCREMENT, 0, 0, "n", 1]],
    [[codes.PUT_MANY, 0, 0, "p", 1, "q", [33, [33]]], [codes.CLEAR, 1, 1], [codes.DELETE, 0, 0, "no"]],
    [[codes.PUT, 0, 0, "a", [33]], [codes.EXTEND, 0, 1, 1, [32]], [codes.POP, 0, 1]],
]  # fmt: skip


def replay(tree: Tree, log: list[list[Any]]) -> None:
    for position, ops in enumerate(log, 1):
        tree.apply(Update(ops), position, inverse=position % 2 == 0, effects=[])


def test_an_interruption_at_any_line_leaves_a_whole_tree_or_a_marked_one() -> None:
    states = []
    for length in range(len(LOG) + 1):
        m = UMap[str, Any]()
        replay(m._tree, LOG[:length])
        states.append(m.dump())
    line = 0
    seen = set()
    while True:
        line += 1
        m = UMap[str, Any]()
        tree = m._tree
        tree.apply(Update(LOG[0]), 1)
        a, x, s = m["a"], m["a"]["x"], m["s"]
        tree.reset()
        if not interrupted_at(line, lambda tree=tree: replay(tree, LOG)):
            break
        seen.add(tree.interrupted)
        if not tree.interrupted:
            assert m.dump() == states[tree.position]
        else:
            with pytest.raises(InterruptedUpdateError):
                m["z"] = 1
        # What an owner does about it; a second interruption must not lose anything either.
        interrupted_at(line % 40 + 1, tree.reset)
        tree.reset()
        replay(tree, LOG[:1])
        assert m.dump() == states[1]
        assert (m["a"] is a, m["a"]["x"] is x, m["s"] is s) == (True, True, True)
        tree.audit()
        replay_rest(tree)
        tree.audit()
        assert m.dump() == states[-1]
    assert line > 100
    assert seen == {True, False}


def replay_rest(tree: Tree) -> None:
    for position, ops in enumerate(LOG[1:], 2):
        tree.apply(Update(ops), position)


def test_an_interruption_at_any_line_of_loading_leaves_a_whole_tree_or_a_marked_one() -> None:
    plain = grown().dump()
    line = 0
    while True:
        line += 1
        m = UMap[str, Any](old=1)
        tree = m._tree
        old = m.dump()
        if not interrupted_at(line, lambda tree=tree: tree.load(plain)):
            break
        assert tree.interrupted or m.dump() in (old, plain)
    assert line > 20


# ---------------------------------------------------------------- divergence


def test_a_write_past_ucore_is_noticed_at_the_next_mutator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ucore.tree, "DEBUG", False)  # which would notice it earlier
    m = grown()
    list.append(m["list"], "stolen in")
    m["n"] = 2  # another node
    with pytest.raises(LocalDivergenceError, match="4 elements instead of 3"):
        m["list"].append(1)
    with pytest.raises(LocalDivergenceError):
        m._tree.verify(m["list"])
    with pytest.raises(LocalDivergenceError):
        m._tree.verify_all()
    m._tree.verify(m)


def test_applying_to_a_diverged_node_stops_the_tree() -> None:
    m = grown()
    tree = m._tree
    list.append(m["list"], "stolen in")
    with pytest.raises(LocalDivergenceError):
        tree.apply(Update([[codes.PUT, 0, 0, "n", 2], [codes.APPEND, *m["list"]._id, 1]]), 2)
    assert tree.interrupted


def test_the_debug_switch_compares_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ucore.tree, "DEBUG", True)
    m = grown()
    m["n"] = 2
    with pytest.raises(KeyError):
        del m["nothing"]
    m["deep"]["inner"]["x"].append(1)
    twin = UMap.load(m.dump())
    twin["n"] = 3
    twin._tree.reset()
    twin["n"] = 1
    list.__setitem__(m["list"], 0, True)  # equal, and yet not the same
    with pytest.raises(LocalDivergenceError, match="not what the updates made"):
        m["n"] = 3
    assert m["n"] == 2


# ---------------------------------------------------------------- owners


class Recorder:
    """An owner that applies at positions with gaps and keeps what it was asked."""

    def __init__(self) -> None:
        self.entered = 0
        self.submitted: list[tuple[Update, Strict | None]] = []
        self.tree: Tree | None = None

    def enter(self) -> None:
        self.entered += 1

    def submit(self, update: Update, strict: Strict | None) -> Applied:
        self.submitted.append((update, strict))
        assert self.tree is not None
        return self.tree.apply(update, self.tree.position + 10)


class Shared(UVec[Any]):
    def __init__(self, owner: Recorder) -> None:
        owner.tree = self._attach(owner)


def test_an_owner_is_left_a_mark_to_rebuild_what_has_diverged() -> None:
    v = Shared(Recorder())
    v.append(1)
    list.append(v, 2)
    with pytest.raises(LocalDivergenceError):
        v.append(3)
    assert v._tree.interrupted
    alone = UVec[int]([1])
    list.append(alone, 2)
    with pytest.raises(LocalDivergenceError):
        alone.append(3)
    assert not alone._tree.interrupted


def test_an_owner_is_entered_first_and_orders_everything() -> None:
    owner = Recorder()
    v = Shared(owner)
    v.append([1])
    v[0].append(2)
    assert v[0]._id == (10, 1)
    assert owner.entered == 2
    with pytest.raises(IndexError):
        v[5] = 1
    assert owner.entered == 3
    assert len(owner.submitted) == 2


@pytest.mark.parametrize(
    ("change", "strict"),
    [
        (lambda v: v.append(1), None),
        (lambda v: v.extend([1, 2]), None),
        (lambda v: v.pop(), None),
        (lambda v: v.pop(-1), None),
        (lambda v: v.insert(0, 1), None),
        (lambda v: v.clear(), None),
        (lambda v: v.insert(2, 1), 2),
        (lambda v: v.insert(99, 1), 4),
        (lambda v: v.__setitem__(-1, 1), 3),
        (lambda v: v.__delitem__(1), 1),
        (lambda v: v.pop(1), 1),
        (lambda v: v.remove(3), 2),
        (lambda v: v.__setitem__(slice(1, 3), [0]), 2),
        (lambda v: v.__setitem__(slice(2, 2), [0]), 2),
        (lambda v: v.__setitem__(slice(None, None, -2), [0, 0]), 3),
        (lambda v: v.__delitem__(slice(0, 2)), 1),
        (lambda v: v.__delitem__(slice(3, None, -3)), 3),
        (lambda v: v.sort(), "all"),
        (lambda v: v.reverse(), "all"),
        (lambda v: v.__imul__(2), "all"),
        (lambda v: v.__imul__(0), "all"),
    ],
)
def test_operations_that_name_a_position_are_strict_up_to_it(change: Any, strict: Any) -> None:
    owner = Recorder()
    v = Shared(owner)
    v.extend([1, 2, 3, 4])
    change(v)
    last = None if strict == "all" else strict
    assert owner.submitted[-1][1] == (None if strict is None else Strict((0, 0), last))


def test_a_transaction_is_open_until_it_is_over_or_nobody_holds_it() -> None:
    m = UMap(a=1)
    tree = m._tree
    assert tree is not None
    assert not tree.in_transaction()
    held = m.transaction()
    held.begin()
    assert tree.in_transaction()
    del held
    assert not tree.in_transaction()


# ---------------------------------------------------------------- dump and load


def test_a_dump_holds_ids_position_and_skeleton() -> None:
    m = UMap[str, Any](a=[1])
    assert m.dump() == [1, 1, None, [35, 0, 0, "a", [36, 1, 1, 1]]]


def test_loading_keeps_the_handles_of_what_is_loaded_again() -> None:
    m = grown()
    x, plain = m["deep"]["inner"]["x"], m.dump()
    m["deep"] = 1
    m._tree.load(plain)
    assert m["deep"]["inner"]["x"] is x
    assert m.dump() == plain
    x.append(5)
    assert m["deep"] == {"inner": {"x": [0, 5]}}


@pytest.mark.parametrize(
    ("plain", "error"),
    [
        (None, MalformedUpdateError),
        ([], MalformedUpdateError),
        (["1"], MalformedUpdateError),
        ([2, 0, None, [35, 0, 0]], UpgradeNeededError),
        ([1, 0, None], MalformedUpdateError),
        ([1, -1, None, [35, 0, 0]], MalformedUpdateError),
        ([1, True, None, [35, 0, 0]], MalformedUpdateError),
        ([1, 0, "what", [35, 0, 0]], MalformedUpdateError),
        ([1, 0, None, [36, 0, 0]], MalformedUpdateError),
        ([1, 0, None, [32]], MalformedUpdateError),
        ([1, 0, None, "a"], MalformedUpdateError),
        ([1, 0, None, [35, 0, 1]], MalformedUpdateError),
        ([1, 1, None, [35, 0, 0, "a", [33]]], MalformedUpdateError),
        ([1, 1, None, [35, 0, 0, "a", [36, 1, 0]]], MalformedUpdateError),
        ([1, 1, None, [35, 0, 0, "a", [36, 2, 1]]], MalformedUpdateError),
        ([1, 1, None, [35, 0, 0, "a", [36, 0, 0]]], MalformedUpdateError),
        ([1, 1, None, [35, 0, 0, "a", [36, 1, 1], "b", [36, 1, 1]]], MalformedUpdateError),
        ([1, 1, None, [35, 0, 0, "a"]], MalformedUpdateError),
        ([1, 1, None, [35, 0, 0, "a", [99, 1]]], UnknownTypeError),
        ([1, 1, None, [35, 0, 0, "a", 2**64]], MalformedUpdateError),
    ],
)
def test_what_is_no_dump_is_refused_and_changes_nothing(plain: Any, error: type[Exception]) -> None:
    m = grown()
    before = m.dump()
    with pytest.raises(error):
        m._tree.load(plain)
    assert m.dump() == before


# ---------------------------------------------------------------- runs


def puts(*values: Any, target: tuple[int, int] = (0, 0)) -> list[Any]:
    return [[1, [codes.PUT, *target, f"k{i % 2}", value]] for i, value in enumerate(values)]


def increments(*amounts: Any, target: tuple[int, int] = (0, 0)) -> list[Any]:
    return [[1, [codes.INCREMENT, *target, f"k{i % 2}", by]] for i, by in enumerate(amounts)]


def appends(*values: Any, target: tuple[int, int] = (0, 0)) -> list[Any]:
    return [[1, [codes.APPEND, *target, value]] for value in values]


def run(plains: list[Any]) -> Run:
    ops = [op for _, op in plains]
    found = run_of(ops[0][0], tuple(ops[0][1:3]), list(zip(*(op[3:] for op in ops), strict=True)))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("make", "plains"),
    [
        (UMap, puts(1, 2, 3)),
        (UVec, appends(1, 2, 3)),
        (UStack, appends("a", None)),
        (grown, puts(1, 2, target=(1, 4))),
        (UMap, increments(1, 2, 3)),
        (grown, increments(1, -2, 2**62, 2**62, target=(1, 4))),
        (lambda: UMap(k0=2**70, k1=-1), increments(1, 1, 5)),
        (grown, appends(1, 2, target=(1, 1))),
    ],
)
def test_a_run_is_applied_as_if_one_by_one(make: Any, plains: list[Any]) -> None:
    each, told = make(), []
    for plain in plains:
        each._tree.apply(Update.from_plain(plain), each._tree.position + 1, effects=told)
    expected = [effect[1:] for effect in told]
    told_together: list[Told] = []
    for noted in (None, told_together):
        together = make()
        assert together._tree.apply_run(run(plains), each._tree.position, told=noted)
        assert together.dump() == each.dump()
        together._tree.audit()
    [of_run] = told_together
    assert [effect[1:] for effect in of_run.effects()] == expected


@pytest.mark.parametrize(
    "plains",
    [
        appends(1),
        puts(1, target=(7, 7)),
        [[1, [codes.PUT, 0, 0, "list", 1]]],
        [[1, [codes.INCREMENT, 0, 0, "list", 1]]],
    ],
)
def test_what_is_no_run_for_this_tree_changes_nothing(plains: list[Any]) -> None:
    m = grown()
    before = m.dump()
    assert not m._tree.apply_run(run(plains), m._tree.position + 1)
    assert m.dump() == before
    m._tree.audit()


def test_a_run_that_somebody_wants_to_hear_of_or_that_meets_a_changed_node_is_none() -> None:
    m = UMap[str, Any]()
    with recording(m):
        assert not m._tree.apply_run(run(puts(1)), 1)
    m._tree.debug = True
    assert not m._tree.apply_run(run(puts(1)), 1)
    m._tree.debug = False
    dict.update(m, x=1)
    assert not m._tree.apply_run(run(puts(1)), 1)
    assert m._tree.position == 0
