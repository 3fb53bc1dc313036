"""SMap, SVec and SStack as their users meet them: an in-process server, several views."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import score
from score import Client, SMap, SStack, SVec


@pytest.fixture
def client() -> Iterator[Client]:
    with score.local() as connected:
        yield connected


# ---------------------------------------------------------------- joining


def test_a_view_has_the_state_from_the_start_and_moves_when_asked(client: Client) -> None:
    mine = SMap[str, int](client, "stock")
    mine["apples"] = 3
    theirs = SMap[str, int](client, "stock")
    assert theirs == {"apples": 3}
    assert theirs.position == mine.position == 1
    mine["pears"] = 1
    assert "pears" not in theirs
    theirs.sync()
    assert theirs == mine == {"apples": 3, "pears": 1}
    assert theirs.group == "stock"


def test_a_mutator_brings_what_came_before_it(client: Client) -> None:
    mine, theirs = SMap[str, int](client, "stock"), SMap[str, int](client, "stock")
    mine["a"] = 1
    theirs["b"] = 2
    assert list(theirs.items()) == [("a", 1), ("b", 2)]


def test_another_nesting_or_kind_is_refused_and_leaf_types_may_differ(client: Client) -> None:
    SMap[str, list[int]](client, "lists")["a"] = [1]
    with pytest.raises(score.SkeletonError, match="lists"):
        SMap[str, int](client, "lists")
    with pytest.raises(score.SkeletonError):
        SVec[int](client, "lists")
    with pytest.raises(score.SkeletonError):
        SStack(client, "lists")
    assert SMap[str, list[str | int]](client, "lists") == {"a": [1]}
    assert SMap(client, "lists") == {"a": [1]}


def test_the_first_change_decides_between_two_that_joined_an_empty_group(client: Client) -> None:
    lists, maps = SMap[str, list[int]](client, "new"), SMap[str, dict[str, int]](client, "new")
    lists["a"] = [1]
    with pytest.raises(score.SkeletonError):
        maps["b"] = {}
    assert maps == {"a": [1]}


def test_an_untyped_structure_is_refined_by_a_typed_one(client: Client) -> None:
    anything = SMap(client, "group")
    anything["a"] = [1]
    typed = SMap[str, list[int]](client, "group")
    typed["b"] = [2]
    with pytest.raises(score.SkeletonError):
        SMap[str, int](client, "group")


def test_as_a_base_class_it_has_a_name_and_methods_of_its_own(client: Client) -> None:
    class Todo(SMap[int, list[str]]):
        def open_items(self) -> int:
            return sum(map(len, self.values()))

    todo = Todo(client, "todo")
    todo[1] = ["write", "read"]
    assert todo.open_items() == 2
    with pytest.raises(score.WrongTypeError):
        todo["x"] = []  # type: ignore[index]


@pytest.mark.parametrize("name", ["", "x" * 256, "\ud800"])
def test_a_groups_name_is_text_of_1_to_255_bytes(client: Client, name: str) -> None:
    with pytest.raises(score.InvalidNameError):
        SMap(client, name)


def test_a_client_and_a_name_are_needed(client: Client) -> None:
    with pytest.raises(TypeError, match="text"):
        SMap(client, 7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"score\.connect"):
        SMap({"a": 1}, "stock")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="client and the group"):
        SMap.fromkeys("ab")
    stock = SMap(client, "stock")
    with pytest.raises(TypeError, match="ucore's UMap"):
        SMap.load(stock.dump())
    with pytest.raises(TypeError, match="once"):
        stock.__init__(client, "other")  # type: ignore[misc]


def test_a_misspelt_attribute_is_an_error(client: Client) -> None:
    with pytest.raises(AttributeError):
        SMap(client, "stock").apples = 3  # type: ignore[attr-defined]


# ---------------------------------------------------------------- maps


def test_a_map_behaves_like_a_dict(client: Client) -> None:
    stock: SMap[str, Any] = SMap(client, "stock")
    stock.update(a=1, b=2)
    stock |= {"c": 3}
    assert stock.pop("a") == 1
    assert stock.pop("a", None) is None
    assert stock.setdefault("b", 9) == 2
    assert stock.setdefault("d", 4) == 4
    assert stock.popitem() == ("d", 4)
    assert stock.increment("c", 2) == 5
    with pytest.raises(KeyError, match="nothing"):
        del stock["nothing"]
    with pytest.raises(KeyError):
        stock.pop("nothing")
    assert json.dumps(stock) == '{"b": 2, "c": 5}'
    assert {**stock} == stock == {"b": 2, "c": 5}
    plain = copy.deepcopy(stock)
    assert type(plain) is dict
    stock.clear()
    with pytest.raises(KeyError):
        stock.popitem()
    other = SMap(client, "stock")
    assert other == stock == {}


def test_what_returns_is_right_where_the_change_landed(client: Client) -> None:
    mine, theirs = SMap[str, int](client, "n"), SMap[str, int](client, "n")
    assert mine.increment("n") == 1
    assert theirs.increment("n") == 2
    assert mine.increment("n") == 3
    assert theirs.setdefault("m", 1) == 1
    assert mine.setdefault("m", 2) == 1
    assert theirs.pop("m") == 1
    with pytest.raises(KeyError):
        mine.pop("m")
    assert mine.position == theirs.position + 1  # the failed pop stands in the order
    theirs.sync()
    assert mine == theirs


def test_nested_changes_reach_the_same_element_after_others_moved_it(client: Client) -> None:
    mine, theirs = SVec[list[int]](client, "rows"), SVec[list[int]](client, "rows")
    mine.append([1])
    theirs.sync()
    row = theirs[0]
    mine.insert(0, [0])
    row.append(2)
    assert theirs == [[0], [1, 2]]
    assert theirs[1] is row


def test_a_handle_whose_container_is_gone_can_be_read_not_changed(client: Client) -> None:
    mine, theirs = SMap[str, list[int]](client, "lists"), SMap[str, list[int]](client, "lists")
    mine["a"] = [1]
    theirs.sync()
    handle = theirs["a"]
    del mine["a"]
    with pytest.raises(score.StaleHandleError):
        handle.append(2)  # failed where it landed
    with pytest.raises(score.StaleHandleError):
        handle.append(3)  # known here by now
    assert handle == [1]
    assert theirs == {}


def test_augmented_assignment_of_an_element_is_one_small_change(client: Client) -> None:
    lists = SMap[str, list[int]](client, "lists")
    lists["a"] = [1]
    before = lists.position
    lists["a"] += [2]
    assert lists.position == before + 1
    assert lists == {"a": [1, 2]}


# ---------------------------------------------------------------- lists and stacks


def test_positional_operations_go_through_if_others_left_what_is_before_them_alone(
    client: Client,
) -> None:
    mine, theirs = SVec[str](client, "v"), SVec[str](client, "v")
    mine.extend("abc")
    theirs.sync()
    mine.append("d")
    theirs[1] = "B"
    assert theirs == ["a", "B", "c", "d"]
    mine.sync()
    theirs.insert(0, "0")
    with pytest.raises(score.ConflictError, match="look again"):
        mine[1] = "x"
    assert mine == theirs == ["0", "a", "B", "c", "d"]
    mine[2] = "b"
    with pytest.raises(score.ConflictError):
        theirs.sort()
    theirs.sort(reverse=True)
    assert theirs == ["d", "c", "b", "a", "0"]
    mine.sync()
    assert mine == theirs


def test_a_change_elsewhere_is_no_conflict(client: Client) -> None:
    mine, theirs = SMap[str, list[int]](client, "m"), SMap[str, list[int]](client, "m")
    mine.update(a=[3, 1, 2], b=[])
    theirs.sync()
    mine["b"].append(1)
    theirs["a"].sort()
    assert theirs == {"a": [1, 2, 3], "b": [1]}
    mine.sync()
    del mine["a"]
    with pytest.raises(score.ConflictError):
        theirs["a"][0] = 9


@pytest.mark.parametrize(
    "decide",
    [lambda v: v.remove([1]), lambda v: v.sort(), lambda v: v.__imul__(2)],
    ids=["remove", "sort", "repeat"],
)
def test_what_was_decided_by_the_content_of_elements_conflicts_with_a_change_inside_them(
    client: Client, decide: Callable[[SVec[list[int]]], object]
) -> None:
    mine, theirs = SVec[list[int]](client, "v"), SVec[list[int]](client, "v")
    mine.extend([[1], [0]])
    theirs.sync()
    mine[0].append(9)
    with pytest.raises(score.ConflictError):
        decide(theirs)  # would have removed [1, 9], or sent copies of [1]
    assert theirs == mine == [[1, 9], [0]]
    mine[0][0] = 5
    theirs[0] = [7]  # decided by the place alone
    assert theirs == [[7], [0]]


def test_a_vec_behaves_like_a_list(client: Client) -> None:
    v: SVec[int] = SVec(client, "v")
    model: list[int] = []
    for target in (v, model):
        target.extend([5, 3, 4])
        target.insert(1, 9)
        target[0] = 7
        target[1:3] = [1, 2, 8]
        del target[-1]
        target += [6]
        target.remove(2)
        target.reverse()
        target *= 2
        assert target.pop() == 7
        assert target.pop(0) == 6
    assert v == model
    other = SVec[int](client, "v")
    assert other == v
    with pytest.raises(IndexError):
        v.pop(99)


def test_a_stack_gives_each_thing_to_one_caller(client: Client) -> None:
    mine, theirs = SStack[int](client, "s"), SStack[int](client, "s")
    mine.extend([1, 2, 3])
    assert theirs.pop() == 3
    assert mine.pop() == 2
    assert mine.peek() == 1
    assert list(mine) == [1]
    assert len(theirs) == 2  # has not looked since
    assert theirs.pop() == 1
    with pytest.raises(IndexError):
        mine.pop()


# ---------------------------------------------------------------- batches


def test_a_batch_is_one_change_and_all_or_nothing(client: Client) -> None:
    mine, theirs = SMap[str, int](client, "m"), SMap[str, int](client, "m")
    with mine.batch() as batch:
        batch["a"] = 1
        batch.increment("n", 5)
        assert mine == {}
    assert mine == {"a": 1, "n": 5}
    assert mine.position == 1
    with pytest.raises(KeyError) as caught:
        with theirs.batch() as batch:
            batch["b"] = 2
            del batch["nothing"]
    assert caught.value.operation == 1  # type: ignore[attr-defined]
    assert theirs == mine
    with pytest.raises(ZeroDivisionError):
        with mine.batch() as batch:
            batch["c"] = 1 // 0
    assert mine == {"a": 1, "n": 5}


def test_a_batch_with_positions_is_refused_after_any_change(client: Client) -> None:
    mine, theirs = SVec[int](client, "v"), SVec[int](client, "v")
    mine.extend([1, 2])
    theirs.sync()
    with pytest.raises(score.ConflictError):
        with theirs.batch() as batch:
            batch[0] = 9
            batch.append(3)
            mine.append(7)
    assert theirs == [1, 2, 7]


# ---------------------------------------------------------------- where it may be used


def test_a_structure_belongs_to_one_thread(client: Client) -> None:
    stock = SMap[str, int](client, "stock")
    caught: list[BaseException] = []

    def misuse() -> None:
        for use in (lambda: stock.update(a=1), stock.sync, stock.watch):
            try:
                use()
            except score.WrongThreadError as error:
                caught.append(error)

    thread = threading.Thread(target=misuse)
    thread.start()
    thread.join()
    assert len(caught) == 3
    assert stock == {}


def test_after_close_it_can_be_read_not_changed(client: Client) -> None:
    with SMap[str, int](client, "stock") as stock:
        stock["a"] = 1
    assert stock == {"a": 1}
    for use in (lambda: stock.update(a=2), stock.sync, stock.watch):
        with pytest.raises(score.ClosedError, match="stock"):
            use()


def test_a_shared_structure_is_not_pickled(client: Client) -> None:
    lists = SMap[str, list[int]](client, "lists")
    lists["a"] = []
    for thing in (lists, lists["a"]):
        with pytest.raises(TypeError):
            pickle.dumps(thing)
    assert pickle.loads(pickle.dumps(lists.copy())) == {"a": []}


def test_changes_behind_its_back_are_noticed_and_undone(client: Client) -> None:
    v = SVec[int](client, "v")
    v.extend([1, 2])
    list.append(v, 3)
    with pytest.raises(score.LocalDivergenceError):
        v.append(4)
    v.append(5)
    assert v == [1, 2, 5]
    list.append(v, 3)
    with pytest.raises(score.LocalDivergenceError):
        v.sync()
    v.sync()
    assert v == [1, 2, 5]


def test_a_view_that_was_interrupted_is_rebuilt_and_handles_live_on(client: Client) -> None:
    lists = SMap[str, list[int]](client, "lists")
    lists["a"] = [1]
    handle = lists["a"]
    lists._tree.interrupted = True
    lists.sync()
    assert lists == {"a": [1]}
    assert lists["a"] is handle
    lists._tree.interrupted = True
    handle.append(2)
    assert lists == {"a": [1, 2]}


def test_a_dropped_structure_leaves_its_channel(client: Client) -> None:
    for i in range(1100):  # more than a connection may have channels
        SMap[str, int](client, f"group {i % 3}")
    assert client.ping() > 0
