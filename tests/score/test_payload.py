"""A change's bytes: what goes out comes back, and anything else is one typed error."""

from __future__ import annotations

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


def test_newer_operations_and_unknown_types_say_what_to_do() -> None:
    with pytest.raises(UpgradeNeededError, match="update ucore"):
        decode_update(codec.encode([2, [1, 0, 0, "k", 1]]))
    with pytest.raises(CannotApplyError, match="4711"):
        decode_update(codec.encode([1, [1, 0, 0, "k", [4711, 1]]]))
