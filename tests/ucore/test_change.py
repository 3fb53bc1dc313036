"""Literals become nodes, nodes become plain, and a dict's own key is found."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest

from ucore import UMap, UStack, UVec
from ucore.change import Change, Failed, Literal, builtin, snapshot, stored_key
from ucore.ops import Reader
from ucore.types import ANY


def change_of(node: Any, position: int = 5) -> Change:
    return Change(node._tree, position, None, None)


def literal(plain: list[Any]) -> Literal:
    found = Reader().value(plain)
    assert type(found) is Literal
    return found


def test_a_literal_becomes_nodes_with_the_ids_of_its_change() -> None:
    m = UMap[Any, Any]()
    node: Any = change_of(m).build(literal([32, "a", [33, 1, [34, 2]], "b", 3]), m)
    assert node == {"a": [1, UStack([2])], "b": 3}
    assert (node._id, node["a"]._id, node["a"][1]._id) == ((5, 1), (5, 2), (5, 3))
    assert (node._depth, node["a"]._depth) == (2, 3)
    assert (node._count, node["a"]._count) == (2, 2)
    assert set(m._tree.nodes) == {(0, 0), (5, 1), (5, 2), (5, 3)}


def test_a_literal_with_ids_keeps_them_and_can_be_used_again() -> None:
    plain = literal([36, 3, 4, [35, 3, 5], 1])
    for position in (5, 6):
        v = UVec[Any]()
        node: Any = change_of(v, position).build(plain, v)
        assert (node._id, node[0]._id) == ((3, 4), (3, 5))


def test_a_living_handle_gets_its_content_again() -> None:
    v = UVec[Any]([[1, {"a": 1}]])
    outer, inner = v[0], v[0][1]
    change = change_of(v)
    change.detach(outer)
    assert set(v._tree.nodes) == {(0, 0)}
    built = change.build(literal([36, 1, 1, 9, [35, 1, 2, "b", 2]]), v)
    assert built is outer
    assert outer == [9, {"b": 2}]
    assert outer[1] is inner
    assert len(v._tree._ghosts) == 0


def test_nested_containers_get_the_spec_of_their_place() -> None:
    m = UMap[str, list[int]](a=[])
    assert m["a"]._spec.value.kind == "leaf"
    assert UMap[str, Any](a=[])["a"]._spec is ANY


def test_builtin_is_plain_all_the_way_down_and_leaves_leaves_alone() -> None:
    assert builtin(5) == 5
    m = UMap(a=[UStack([1, {}])], b=2)
    made: Any = builtin(m)
    assert made == {"a": [[1, {}]], "b": 2}
    assert [type(made), type(made["a"]), type(made["a"][0]), type(made["a"][0][1])] == [
        dict, list, list, dict,
    ]  # fmt: skip


def test_a_snapshot_carries_ids() -> None:
    m = UMap[Any, Any]({(1,): [UStack([2**70]), {}]})
    big = [1, (2**70).to_bytes(9, "big")]
    assert snapshot(m) == [35, 0, 0, [2, 1], [36, 1, 1, [37, 1, 2, big], [35, 1, 3]]]
    assert snapshot("x") == "x"


class Shade(StrEnum):
    A = "a"


NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        (1, True),
        (1.0, 1),
        (-0.0, 0),
        (Decimal(2), 2),
        ("a", "a"),
        (b"a", b"a"),
        (None, None),
        ((1, 2), (True, 2.0)),
        (frozenset({0}), frozenset({False})),
        (NOON, NOON.astimezone(timezone(timedelta(hours=1)))),
        (-1, -1),
        (Shade.A, "a"),
    ],
)
def test_the_key_that_a_dict_has_stored_is_found(stored: Any, asked: Any) -> None:
    raw = {-2: "the hash of -1", stored: "value"}
    found = stored_key(raw, asked)
    assert repr(found) == repr(stored)


@dataclass(frozen=True)
class Same:
    n: int

    def __hash__(self) -> int:
        return 7


def test_one_hash_for_all_does_not_confuse_it() -> None:
    raw: dict[Any, Any] = {Same(i): i for i in range(5)}
    for key in raw:
        assert stored_key(raw, Same(key.n)) is key
    with pytest.raises(FrozenInstanceError):
        key.n = 1


def test_failed_holds_what_its_author_gets() -> None:
    error = KeyError("a")
    assert Failed(error).error is error
