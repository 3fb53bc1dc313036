"""A change's bytes: what goes out comes back, and anything else is one typed error."""

from __future__ import annotations

from typing import Any

import pytest

from score.payload import decode_update, encode_update
from score_server.wire import codec
from ucore import UMap, recording
from ucore.errors import CannotApplyError, MalformedUpdateError, UpgradeNeededError


def test_an_update_survives_the_wire() -> None:
    deep: object = 1
    for _ in range(60):
        deep = [deep]
    source, twin = UMap[str, object](), UMap[str, object]()
    with recording(source) as updates:
        source["deep"] = deep
        source["t"] = (1, (2.5, b"x"), frozenset({"a"}), None, -(2**70))
    for update in updates:
        twin.apply(decode_update(encode_update(update)))
    assert twin == source


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        codec.encode(None),
        codec.encode([]),
        codec.encode([1, [99, 0, 0]]),
        codec.encode([1, [1, 0, 0, "k", [5]]]),
        codec.encode([1]) + b"\x00",
        b"\x81" * 200 + b"\x01",
    ],
    ids=repr,
)
def test_what_says_nothing_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedUpdateError):
        decode_update(payload)


HERE = "<here>"
PLACES: list[Any] = [
    HERE, [HERE], [1, HERE], [1, [HERE, 0, 0, "k", 1]], [1, [1, HERE, 0, "k", 1]], [1, [1, 0, HERE, "k", 1]],
    [1, [1, 0, 0, HERE, 1]], [1, [1, 0, 0, "k", HERE]], [1, [1, 0, 0, "k", [HERE, 1]]], [1, [0, HERE]],
    [1, [0, [HERE, "leaf"]]], [1, [0, ["map", HERE]]], [1, [6, 0, 0, "k", HERE]], [1, [8, 0, 0, "k", HERE]],
    [1, [22, 0, 0, "k", HERE]], [1, [17, 0, 0, HERE]], [1, [19, 0, 0, HERE, 1, 1]], [1, [19, 0, 0, 1, HERE, 1]],
    [1, [19, 0, 0, 1, 1, HERE]], [1, [20, 0, 0, 1, HERE, 1]], [1, [21, 0, 0, 1, 1, HERE]],
    [1, [31, 0, 0, 0, HERE]], [1, [35, 1, HERE]], [1, [1, 0, 0, "k", [32, "a", HERE]]],
    [1, [1, 0, 0, "k", [32, HERE, 1]]], [1, [1, 0, 0, "k", [33, HERE]]], [1, [1, 0, 0, "k", [36, 1, HERE]]],
    *([1, [1, 0, 0, "k", [number, *[1] * before, HERE]]] for number in range(1, 11) for before in range(8)),
]  # fmt: skip


@pytest.mark.parametrize("item", ["f7", "e0", "f8ff", "1bffffffffffffffff", "3bffffffffffffffff"])
def test_what_is_not_plain_cannot_be_applied_wherever_it_stands(item: str) -> None:
    for place in PLACES:
        payload = codec.encode(place).replace(codec.encode(HERE), bytes.fromhex(item))
        with pytest.raises(CannotApplyError):
            decode_update(payload)


def test_newer_operations_and_unknown_types_say_what_to_do() -> None:
    with pytest.raises(UpgradeNeededError, match="update ucore"):
        decode_update(codec.encode([2, [1, 0, 0, "k", 1]]))
    with pytest.raises(CannotApplyError, match="4711"):
        decode_update(codec.encode([1, [1, 0, 0, "k", [4711, 1]]]))
