"""The laws of ``ucore.Updatable``, run on every container: alone and nested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ucore import UMap, UStack, UVec
from ucore.conformance import check_updatable

Change = Callable[[Any], object]


def _set(target: Any, key: Any, value: Any) -> None:
    target[key] = value


def _delete(target: Any, key: Any) -> None:
    del target[key]


def _batch(target: Any, *changes: Change) -> None:
    with target.batch() as batch:
        for change in changes:
            change(batch)


MAP: list[Change] = [
    lambda m: _set(m, "a", 1),
    lambda m: _set(m, "l", [1, {"x": []}]),
    lambda m: m["l"].append([2]),
    lambda m: m["l"][1]["x"].insert(0, "deep"),
    lambda m: m["l"].pop(0),
    lambda m: m.setdefault("l", [7]),
    lambda m: m.update(a=[], b={"y": (1, 2)}, s=UStack([1])),
    lambda m: m["s"].push({"z": 1}),
    lambda m: m["s"].pop(),
    lambda m: m.increment("n", 2),
    lambda m: m.increment("a"),
    lambda m: _delete(m, "b"),
    lambda m: m.pop("l", None),
    lambda m: m.popitem(),
    lambda m: m.discard("a"),
    lambda m: m.clear(),
    lambda m: _set(m, "bad", {1}),
    lambda m: _batch(m, lambda b: _set(b, "t", [1]), lambda b: b["t"].append(2)),
    lambda m: _batch(m, lambda b: b.pop("t"), lambda b: b.increment("n"), lambda b: b.pop("a")),
    lambda m: _batch(m, lambda b: b.clear(), lambda b: b.pop("nothing")),
]

VEC: list[Change] = [
    lambda v: v.append([1]),
    lambda v: v.extend(["x", {"k": [2]}, 3]),
    lambda v: v[0].append(9),
    lambda v: _set(v, 0, [[]]),
    lambda v: v.insert(1, 5),
    lambda v: v.pop(),
    lambda v: v.pop(0),
    lambda v: _set(v, slice(1, 3), [[4], [5], [6]]),
    lambda v: _set(v, slice(None, None, -2), [[i] for i in range(len(v[::2]))]),
    lambda v: _delete(v, slice(None, None, 2)),
    lambda v: v.reverse(),
    lambda v: v.sort(key=repr),
    lambda v: v.remove(3),
    lambda v: v.__imul__(2) if len(v) < 8 else v.clear(),
    lambda v: _batch(v, lambda b: b.append([0]), lambda b: b[-1].append(1), lambda b: b.pop(0)),
    lambda v: _batch(v, lambda b: b.clear(), lambda b: b.pop()),
]

STACK: list[Change] = [
    lambda s: s.push([1]),
    lambda s: s.extend([2, {"a": UStack([3])}]),
    lambda s: s.peek()["a"].push(4),
    lambda s: s.pop(),
    lambda s: s.clear(),
    lambda s: s.push(object()),
    lambda s: _batch(s, lambda b: b.push([5]), lambda b: b.pop(), lambda b: b.pop()),
]

GROWTH = 2000


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (UMap[str, Any], MAP),
        (lambda: UMap({"l": [1, {"x": []}], "n": 1}), MAP),
        (UVec[Any], VEC),
        (lambda: UVec([[3], 3, [1]]), VEC),
        (UStack[Any], STACK),
        (lambda: UMap(inner=UStack([0])), [lambda m, c=c: c(m["inner"]) for c in STACK]),
        (lambda: UVec([{"n": 1}]), [lambda v, c=c: c(v[0]) for c in MAP]),
    ],
    ids=[
        "map",
        "map with content",
        "vec",
        "vec with content",
        "stack",
        "nested stack",
        "nested map",
    ],
)
def test_containers_keep_the_laws(make: Callable[[], Any], changes: list[Change]) -> None:
    check_updatable(make, changes, scripts=6, steps=25)


@pytest.mark.parametrize(
    ("make", "change", "grow"),
    [
        (lambda: UMap(k=1), lambda m: _set(m, "k", 2), lambda m: m.update(filled(m))),
        (lambda: UMap(k=1), lambda m: m.pop("k"), lambda m: m.update(filled(m))),
        (lambda: UMap(k=1), lambda m: m.increment("k"), lambda m: m.update(filled(m))),
        (lambda: UMap(k=[1]), lambda m: m["k"].append(1), lambda m: m.update(filled(m))),
        (lambda: UMap(k=1), lambda m: m.update(a=1, b=2), lambda m: m.update(filled(m))),
        (lambda: UVec([1]), lambda v: v.append(1), lambda v: v.extend(range(GROWTH))),
        (lambda: UVec([1]), lambda v: v.insert(0, 1), lambda v: v.extend(range(GROWTH))),
        (lambda: UVec([1]), lambda v: v.pop(), lambda v: v.extend(range(GROWTH))),
        (lambda: UVec([1]), lambda v: _set(v, -1, 5), lambda v: v.extend(range(GROWTH))),
        (lambda: UVec([1, 2]), lambda v: _delete(v, slice(-2, None)), lambda v: v.extend(range(GROWTH))),
        (lambda: UVec([1]), lambda v: v.extend("ab"), lambda v: v.extend(range(GROWTH))),
        (lambda: UStack([1]), lambda s: s.pop(), lambda s: s.extend(range(GROWTH))),
        (lambda: UStack([1]), lambda s: s.push(1), lambda s: s.extend(range(GROWTH))),
    ],
)  # fmt: skip
def test_a_change_is_as_small_in_a_large_container(
    make: Callable[[], Any], change: Change, grow: Change
) -> None:
    check_updatable(make, [change], grow=grow, scripts=1, steps=1)


def filled(_: Any) -> dict[str, Any]:
    return {f"other {i}": [i] for i in range(GROWTH)}


def test_a_deep_change_is_as_small_as_a_shallow_one() -> None:
    def deep(depth: int) -> UMap[str, Any]:
        content: dict[str, Any] = {}
        for _ in range(depth):
            content = {"inner": content}
        return UMap(content)

    def change(m: Any) -> None:
        while m:
            m = m["inner"]
        m["k"] = 1

    check_updatable(
        lambda: deep(1),
        [change],
        grow=lambda m: m["inner"].update(inner=deep(40).copy()),
        scripts=1,
        steps=1,
    )
