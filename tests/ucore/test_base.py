"""The shared records: readable, comparable, and one ABSENT only."""

from __future__ import annotations

import copy
import pickle

import pytest

from ucore import UMap, UStack, UVec
from ucore.base import ABSENT, CONTAINERS, ROOT_ID, SLOTS, Effect, Node, OpFailure, Strict, note


def test_absent_is_one_object_and_says_what_it_is() -> None:
    assert repr(ABSENT) == "ABSENT"
    assert pickle.loads(pickle.dumps(ABSENT)) is ABSENT
    assert copy.deepcopy(ABSENT) is ABSENT


def test_each_kind_has_one_class_which_makes_room_for_a_node() -> None:
    assert CONTAINERS == {"map": UMap, "vec": UVec, "stack": UStack}
    for kind, cls in CONTAINERS.items():
        assert cls._kind_ == kind
        assert set(SLOTS) <= set(cls.__slots__)  # type: ignore[attr-defined]
        assert not hasattr(cls(), "__dict__")


def test_a_bare_node_has_no_content() -> None:
    assert not hasattr(Node(), "__dict__")
    with pytest.raises(NotImplementedError):
        Node()._raw()
    with pytest.raises(NotImplementedError):
        Node()._elements()


def test_the_records_are_plain_tuples() -> None:
    node = UMap()
    assert Effect(node, "put", "a", ABSENT, 1)[1:] == ("put", "a", ABSENT, 1)
    assert Strict(None, None) != Strict(ROOT_ID, None)
    error = KeyError("a")
    assert OpFailure(3, error) == (3, error)


def test_a_noted_effect_is_one_as_its_constructor_makes_it() -> None:
    effects: list[Effect] = []
    node = UMap[str, int]()
    note(effects, node, "put", "a", ABSENT, 1)
    assert effects == [Effect(node, "put", "a", ABSENT, 1)]
    assert type(effects[0]) is Effect
