"""A transaction is one strict update or none, and the structure stands still meanwhile."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

from ucore import (
    LocalDivergenceError,
    StaleHandleError,
    TransactionError,
    UMap,
    UnstorableError,
    Update,
    UStack,
    UVec,
    recording,
)
from ucore.base import Applied, Strict
from ucore.transaction import Transaction


class Owner:
    """Remembers what it was asked, and applies it."""

    def __init__(self) -> None:
        self.node: Any = None
        self.asked: list[object] = []
        self.stale = False

    def enter(self) -> None:
        self.asked.append("enter")

    def submit(self, update: Update, strict: Strict | None) -> Applied:
        self.asked.append(strict)
        return self.node._tree.apply(update, self.node._tree.position + 1)

    def confirm(self) -> None:
        self.asked.append("confirm")
        if self.stale:
            raise LookupError("stale")

    def run_transaction(
        self, begin: Callable[[], Transaction[Any]], function: Callable[[Any], Any]
    ) -> Any:
        self.asked.append("run")
        with begin() as t:
            return function(t)


def owned() -> tuple[UMap[str, Any], Owner]:
    class Owned(UMap[str, Any]):
        def __init__(self, owner: Owner) -> None:
            self._attach(owner)

    owner = Owner()
    node = Owned(owner)
    owner.node = node
    node["a"] = [1]
    owner.asked.clear()
    return node, owner


def test_a_transaction_is_one_update_and_nothing_shows_before() -> None:
    m: UMap[str, Any] = UMap(a=1, l=[1])
    with recording(m) as updates:
        with m.transaction() as t:
            t["b"] = 2
            t["l"].append(2)
            del t["a"]
            assert t == {"l": [1, 2], "b": 2}
            assert m == {"a": 1, "l": [1]}
    assert len(updates) == 1
    assert m == {"l": [1, 2], "b": 2}


def test_an_exception_leaves_no_trace() -> None:
    m: UMap[str, Any] = UMap(a=[1])
    before = m.dump()
    for stop in (ZeroDivisionError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(stop), m.transaction() as t:
            t["a"].append(2)
            t.clear()
            raise stop
    assert m.dump() == before
    m["b"] = 1


def test_who_only_reads_changes_nothing() -> None:
    m: UMap[str, Any] = UMap(a=[1])
    before = m.dump()
    with m.transaction() as t:
        assert t["a"] == [1]
    assert m.dump() == before


def test_under_an_owner_it_is_strict_and_reading_is_confirmed() -> None:
    m, owner = owned()
    with m.transaction() as t:
        t["a"].append(2)
    assert owner.asked == ["enter", "enter", Strict(None, None)]
    owner.asked.clear()
    with m.transaction() as t:
        assert t["a"] == [1, 2]
    assert owner.asked == ["enter", "enter", "confirm"]
    owner.stale = True
    with pytest.raises(LookupError, match="stale"), m.transaction() as t:
        pass
    owner.asked.clear()
    with pytest.raises(ZeroDivisionError), m.transaction() as t:
        t["b"] = 1 / 0
    assert owner.asked == ["enter"]


def test_run_transaction_returns_what_the_function_returned() -> None:
    m: UMap[str, list[int]] = UMap(a=[1])
    assert m.run_transaction(lambda t: t.pop("a")) == [1]
    assert m == {}
    assert UVec([1, 2]).run_transaction(lambda t: t.pop(0)) == 1
    assert UStack([1, 2]).run_transaction(lambda t: t.pop()) == 2
    with pytest.raises(ZeroDivisionError):
        m.run_transaction(lambda t: t.update(a=[1 // 0]))
    owned_map, owner = owned()
    assert owned_map.run_transaction(lambda t: t.setdefault("b", 5)) == 5
    assert owner.asked == ["enter", "run", "enter", "enter", Strict(None, None)]


def test_the_structure_stands_still_meanwhile_and_the_error_names_t() -> None:
    m: UMap[str, Any] = UMap(a=[1], s=UStack([1]))
    nested = m["a"]
    update = Update([[1, 0, 0, "x", 1]])
    with m.transaction() as t:
        late: list[Callable[[], object]] = [
            lambda: m.__setitem__("b", 1),
            lambda: nested.append(1),
            lambda: m["s"].push(1),
            m.clear,
            lambda: m.batch().__enter__(),
            lambda: m.transaction().__enter__(),
            lambda: nested.transaction().__enter__(),
            lambda: m.run_transaction(len),
            lambda: m.apply(update),
        ]
        for call in late:
            with pytest.raises(TransactionError, match="change `t`, which it handed out"):
                call()
        with pytest.raises(TransactionError):
            m["a"] += [2]
        assert m == {"a": [1], "s": UStack([1])}
        t["a"].append(2)
    assert m["a"] == [1, 2]
    nested.append(3)
    assert m["a"] == [1, 2, 3]


def test_a_batch_that_is_open_already_has_to_wait() -> None:
    m: UMap[str, Any] = UMap()
    with m.batch() as b:
        b["a"] = 1
        with m.transaction() as t:
            t["b"] = 2
    assert m == {"b": 2, "a": 1}


def test_a_nested_container_can_have_its_own_transaction() -> None:
    m: UMap[str, Any] = UMap(a=[[1]], b=1)
    with m["a"].transaction() as t:
        t[0].append(2)
        with pytest.raises(TransactionError):
            m["b"] = 2
    assert m == {"a": [[1, 2]], "b": 1}
    nested = m["a"]
    del m["a"]
    with pytest.raises(StaleHandleError), nested.transaction():
        pass


def test_a_transaction_is_used_once_and_ends_once() -> None:
    m: UMap[str, Any] = UMap()
    transaction = m.transaction()
    assert transaction.changes == 0
    transaction.abandon()
    with pytest.raises(RuntimeError, match="not begun"):
        transaction.commit()
    t = transaction.begin()
    t["a"] = 1
    assert transaction.changes == 1
    with pytest.raises(RuntimeError, match="used once"):
        transaction.begin()
    transaction.commit()
    transaction.abandon()
    with pytest.raises(TransactionError, match="over"):
        transaction.commit()
    assert m == {"a": 1}


def test_ending_an_old_transaction_again_leaves_the_open_one_alone() -> None:
    m: UMap[str, Any] = UMap()
    old = m.transaction()
    old.begin()
    old.commit()
    with m.transaction() as t:
        old.abandon()
        with pytest.raises(TransactionError):
            m["a"] = 1
        t["a"] = 2
    assert m == {"a": 2}


def test_a_transaction_that_nobody_holds_any_more_locks_nothing() -> None:
    m: UMap[str, Any] = UMap(a=[1])
    t = m.transaction().begin()
    gc.collect()
    m["a"] = [2]
    with pytest.raises(TransactionError):
        t["a"]


def test_a_container_changed_behind_ucores_back_is_noticed_at_the_end() -> None:
    m: UMap[str, Any] = UMap(a=[1], b=[1])
    with pytest.raises(LocalDivergenceError), m.transaction() as t:
        t["c"] = len(t["a"])
        list.append(m["a"], 2)
    assert "c" not in m


def test_what_moved_the_structure_between_the_last_line_and_the_end_is_noticed() -> None:
    m, owner = owned()
    tree = m._tree
    assert tree is not None

    def enter() -> None:
        if not tree.in_transaction():
            tree.apply(Update([[1, 0, 0, "moved", 1]]), tree.position + 1)

    transaction = m.transaction()
    transaction.begin()["x"] = 1
    owner.enter = enter  # type: ignore[method-assign]
    with pytest.raises(TransactionError, match="past its open transaction"):
        transaction.commit()
    assert "x" not in m


def test_an_operation_that_fails_where_it_lands_undoes_all_and_says_which() -> None:
    deep: Any = []
    for _ in range(40):
        deep = [deep]
    m: UMap[str, Any] = UMap(a=deep)
    innermost = m["a"]
    while innermost:
        [innermost] = innermost
    with pytest.raises(UnstorableError, match="deep") as caught, m.transaction() as t:
        t["b"] = 1
        below = t["a"]
        while below:
            [below] = below
        below.append(deep)  # each is allowed, the two together are too deep
    assert caught.value.operation == 1  # type: ignore[attr-defined]
    assert caught.value.__notes__ == [
        "operation 1 of the transaction failed, so nothing was changed"
    ]
    assert "b" not in m
    assert innermost == []
