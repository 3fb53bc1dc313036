"""A transaction's map answers as the dict that it would be."""

from __future__ import annotations

from typing import Any

import pytest

from ucore import UMap, UStack, UVec
from ucore.map_overlay import MapOverlay


class Text(str):
    """Equal to a str, and cannot be stored."""

    __slots__ = ()


def opened(content: dict[Any, Any]) -> tuple[UMap[Any, Any], Any, Any]:
    m = UMap(content)
    transaction = m.transaction()
    return m, transaction, transaction.begin()


def test_reading_is_a_dicts() -> None:
    _, _, t = opened({"a": 1, "b": [2]})
    assert t["a"] == 1
    assert t.get("x") is None
    assert t.get("x", 3) == 3
    assert t.get("b") == [2]
    assert "a" in t
    assert "x" not in t
    assert list(t) == ["a", "b"]
    assert list(t.items()) == [("a", 1), ("b", [2])]
    assert t.keys() & {"a", "x"} == {"a"}
    assert t.keys() == {"a", "b"}
    assert ("a", 1) in t.items()
    assert [2] in t.values()
    assert sorted(t) == ["a", "b"]
    assert "{a}".format_map(t) == "1"
    assert "{a}".format(**t) == "1"
    with pytest.raises(KeyError, match="'x'"):
        t["x"]
    with pytest.raises(TypeError, match="unhashable"):
        t[[]]
    match t:
        case {"a": one, **rest}:
            assert one == 1
            assert rest == {"b": [2]}


def test_equality_is_a_dicts() -> None:
    m, _, t = opened({"a": 1, "b": {"c": [UStack([1])]}})
    assert t == m
    assert m == t
    assert t == t
    assert t == {"b": {"c": [UStack([1])]}, "a": 1}
    assert t != {"a": 1}
    assert t != {"a": 1, "b": 2}
    assert t != [("a", 1)]
    assert UMap({"a": 1, "b": {"c": [UStack([1])]}}) == t
    other = opened({"a": 1, "b": {"c": [UStack([1])]}})[2]
    assert t == other
    other["b"]["c"][0].push(2)
    assert t != other


def test_a_union_is_a_new_dict() -> None:
    _, _, t = opened({"a": 1})
    other = opened({"a": 2, "b": 3})[2]
    t["c"] = 4
    assert t | {"a": 2} == {"a": 2, "c": 4}
    assert {"a": 2, "x": 1} | t == {"a": 1, "x": 1, "c": 4}
    assert t | other == {"a": 2, "b": 3, "c": 4}
    assert list({"c": 0} | t) == ["c", "a"]
    assert type(t | {}) is type({} | t) is dict
    with pytest.raises(TypeError):
        t | [("a", 1)]
    with pytest.raises(TypeError):
        [("a", 1)] | t


def test_the_order_is_a_dicts() -> None:
    m, transaction, t = opened({"a": 1, "b": 2, "c": 3})
    t["d"] = 4
    t["b"] = 5
    t["a"] = t.pop("a")
    assert list(t) == ["b", "c", "d", "a"]
    assert list(reversed(t)) == ["a", "d", "c", "b"]
    assert list(reversed(t.items())) == [("a", 1), ("d", 4), ("c", 3), ("b", 5)]
    assert list(reversed(t.values())) == [1, 4, 3, 5]
    assert list(reversed(t.keys())) == ["a", "d", "c", "b"]
    transaction.commit()
    assert list(m) == ["b", "c", "d", "a"]


def test_changing_the_keys_while_iterating_is_noticed() -> None:
    _, _, t = opened({"a": 1, "b": 2})
    for change in (lambda: t.update(c=3), lambda: t.pop("a"), t.clear):
        with pytest.raises(RuntimeError, match="changed size during iteration"):
            for _ in t:
                change()
        t.update(a=1, b=2)
    for key in t:
        t[key] = 0  # the values may change
    assert set(t.values()) == {0}
    early = iter(t)
    t["x"] = 1
    with pytest.raises(RuntimeError):
        list(early)


def test_removing_returns_plain_builtins_as_they_are_in_the_transaction() -> None:
    m, transaction, t = opened({"a": [1], "b": {"c": [2]}, "d": [3], "e": 4})
    t["a"].append(2)
    t["new"] = [[5]]
    t["new"][0].append(6)
    for key, expected in (("a", [1, 2]), ("b", {"c": [2]}), ("new", [[5, 6]]), ("e", 4)):
        found = t.pop(key)
        assert found == expected
        assert type(found) is type(expected)
        assert key not in t
    with pytest.raises(KeyError, match="'a'"):
        t.pop("a")
    with pytest.raises(KeyError, match="'a'"):
        del t["a"]
    assert t.pop("a", None) is None
    assert t.discard("d") is True
    assert t.discard("d") is False
    with pytest.raises(KeyError, match="empty"):
        t.popitem()
    transaction.commit()
    assert m == {}


def test_what_equals_a_key_finds_it_even_if_it_cannot_be_stored() -> None:
    m, transaction, t = opened({"a": 1, "b": 2, "c": 3})
    t["b"] = 4
    t["d"] = 5
    for name in "abcd":
        assert t[Text(name)] == {"a": 1, "b": 4, "c": 3, "d": 5}[name]
        assert Text(name) in t
        with pytest.raises(TypeError, match="convert it to str"):
            t[Text(name)] = 1
        del t[Text(name)]
    assert t.pop(Text("a"), 9) == 9
    assert t.discard(object()) is False
    transaction.commit()
    assert m == {}


def test_an_equal_key_keeps_its_place_and_its_type() -> None:
    m, transaction, t = opened({1: "a", 0.0: "b"})
    t[True] = "c"
    t[-0.0] = "d"
    assert repr(t) == "{1: 'c', 0.0: 'd'}"
    del t[1.0]
    t[True] = "e"
    assert repr(t) == "{0.0: 'd', True: 'e'}"
    transaction.commit()
    assert repr(m) == "{0.0: 'd', True: 'e'}"


def test_popitem_empties_from_the_end() -> None:
    content = {i: [i] for i in range(50)}
    m, transaction, t = opened(content)
    t["new"] = 1
    t[3] = "three"
    assert t.popitem() == ("new", 1)
    for i in reversed(range(50)):
        assert t.popitem() == (i, "three" if i == 3 else [i])
    assert not t
    t["x"] = 1
    transaction.commit()
    assert m == {"x": 1}


def test_clear_and_begin_again() -> None:
    m, transaction, t = opened({"a": [1], "b": 2})
    handle = t["a"]
    t["c"] = 3
    t.clear()
    assert t == {}
    assert handle == [1]
    t["a"] = [4]
    assert t == {"a": [4]}
    transaction.commit()
    assert m == {"a": [4]}
    _, transaction, t = opened({})
    t.clear()
    assert transaction.changes == 0


def test_setdefault_and_update() -> None:
    m, transaction, t = opened({"a": 1})
    assert t.setdefault("a", 2) == 1
    assert t.setdefault("l", []) == []
    t.setdefault("l", [9]).append(1)
    assert t.setdefault("n") is None
    t.update()
    t.update({})
    t |= []
    t |= {"b": 2}
    t.update([("c", 3)], d=4)
    t.update(UMap(e=[5]))
    t.update(opened({"f": [6]})[2])
    with pytest.raises(TypeError):
        t.update(3)
    with pytest.raises(TypeError):
        t.update(x=1, y={1})
    expected = {"a": 1, "l": [1], "n": None, "b": 2, "c": 3, "d": 4, "e": [5], "f": [6]}
    assert t == expected
    assert transaction.changes == 7
    transaction.commit()
    assert m == expected


def test_increment_counts_as_the_structure_does() -> None:
    m, transaction, t = opened({"a": 1, "s": "x", "l": [1], "big": 2**1023})
    assert t.increment("a") == 2
    assert t.increment("a", 0.5) == 2.5
    assert t.increment("new", -1) == -1
    for key in ("s", "l"):
        with pytest.raises(TypeError, match="increment needs"):
            t.increment(key)
    t["l"].append(2)
    with pytest.raises(TypeError, match=r"holds \[1, 2\]"):
        t.increment("l")
    with pytest.raises(TypeError):
        t.increment("a", True)
    t["big"] = 10**400
    with pytest.raises(OverflowError):
        t.increment("big", 1.5)
    transaction.commit()
    assert (m["a"], m["new"]) == (2.5, -1)


def test_putting_back_what_is_there_is_no_change() -> None:
    m, transaction, t = opened({"a": [1], "b": [2]})
    handle = m["a"]
    t["a"] = t["a"]
    assert transaction.changes == 0
    t["a"] += [2]
    t["b"] = t["a"]  # a copy
    assert transaction.changes == 2
    t["a"] += [3]
    transaction.commit()
    assert m == {"a": [1, 2, 3], "b": [1, 2]}
    assert m["a"] is handle


def test_it_shows_the_structures_own_content_whatever_a_subclass_says() -> None:
    class Loud(UMap[str, int]):
        def get(self, *_: Any) -> Any:
            raise AssertionError

        def __iter__(self) -> Any:
            raise AssertionError

    with Loud(a=1).transaction() as t:
        assert t["a"] == 1
        assert list(t) == ["a"]
        assert t.get("a") == 1
        assert isinstance(t, MapOverlay)


def test_a_value_with_maps_in_it_is_shown_at_once() -> None:
    m, transaction, t = opened({})
    t["a"] = {"b": {"c": 1}, "l": []}
    t["a"]["b"]["d"] = 2
    t["copy"] = t["a"]
    t["a"]["b"].clear()
    expected = {"a": {"b": {}, "l": []}, "copy": {"b": {"c": 1, "d": 2}, "l": []}}
    assert t == t.copy() == expected
    transaction.commit()
    assert m == expected


def test_nested_maps_and_lists_are_reached() -> None:
    m: UMap[str, Any] = UMap(a={"b": {"c": [UVec([1])]}})
    with m.transaction() as t:
        t["a"]["b"]["c"][0].append(2)
        t["a"]["b"]["d"] = t["a"]["b"]["c"][0]
        del t["a"]["b"]["c"]
        assert t == {"a": {"b": {"d": [1, 2]}}}
    assert m == {"a": {"b": {"d": [1, 2]}}}
