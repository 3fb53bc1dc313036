"""A change's bytes: what goes out comes back, and anything else is one typed error."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score.payload import decode_update, encode_update
from score_server.wire import codec
from ucore import UMap, Update, recording
from ucore.errors import CannotApplyError, MalformedUpdateError, UpgradeNeededError

from ..score_server.wire.profile import foreign_calls


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


NATIVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.binary()
    | st.text(st.characters(codec="utf-8"))
)  # fmt: skip


@settings(derandomize=True, deadline=None)
@given(
    st.dictionaries(
        st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8")), NATIVES
    )
)
def test_what_is_put_as_a_dict_is_encoded_as_its_text(content: dict[Any, Any]) -> None:
    update = Update.putting((5, 1), content)
    payload = encode_update(update)
    assert payload == encode_update(Update(update.ops))
    assert repr(decode_update(payload).steps) == repr(update.steps)
    assert foreign_calls(lambda: encode_update(update)) == []


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())  # lone surrogates among them
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.complex_numbers()
)
KEYS = LEAVES | st.tuples(LEAVES, LEAVES) | st.frozensets(LEAVES, max_size=2)
VALUES = st.recursive(
    KEYS | st.sets(st.integers(), max_size=1) | st.builds(object) | st.builds(bytearray),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(KEYS, VALUES, st.lists(VALUES, max_size=2))
def test_what_ucore_stores_has_an_encoding_which_nobody_has_to_look_at_again(
    key: Any, value: Any, others: list[Any]
) -> None:
    """``encode_update`` trusts ucore; ``codec.encode`` trusts nobody."""
    shared = UMap[Any, Any](list=[], n=1)
    steps: list[Callable[[], object]] = [
        lambda: shared.__setitem__(key, value),
        lambda: shared.setdefault(key, value),
        lambda: shared.update({key: value, "other": value}),
        lambda: shared["list"].append(value),
        lambda: shared["list"].extend(others),
        lambda: shared["list"].__setitem__(slice(0, 1), others),
        lambda: shared.increment("n", value),
        lambda: shared.discard(key),
        lambda: shared.pop(key, None),
    ]
    with recording(shared) as updates:
        for step in steps:
            with suppress(Exception):  # it is not storable
                step()
        with suppress(Exception), shared.batch() as batch:
            batch[key] = value
            batch["list"].append(value)
        with suppress(Exception), shared.transaction() as t:
            t["new"] = value
            t["list"].insert(0, value)
    for update in updates:
        assert encode_update(update) == codec.encode(update.to_plain())


def test_no_ctrl_c_is_lost_in_a_payload() -> None:
    """Where cbor2 encodes a list it would be: see ``test_codec.py``."""
    shared = UMap[str, Any]()
    with recording(shared) as updates:
        shared["key"] = [1, "a", (2.5, None)]
        shared.update({f"key {number}": number for number in range(100)})
        shared["list"] = list(range(100))
    for update in updates:
        payload = encode_update(update)
        assert foreign_calls(lambda update=update: encode_update(update)) == []  # type: ignore[misc]
        assert foreign_calls(lambda payload=payload: decode_update(payload)) == []  # type: ignore[misc]


@pytest.mark.parametrize("levels", [62, 63, 64, 65, 80, 200])
def test_what_nests_too_deep_for_an_encoding_is_not_stored(levels: int) -> None:
    deep: Any = 1
    for _ in range(levels):
        deep = [deep]
    shared = UMap[str, Any]()
    with recording(shared) as updates, suppress(Exception):
        shared["deep"] = deep
    with recording(shared) as others, suppress(Exception):
        shared["deep"] = (deep,)
    assert bool(updates) == (levels < 64)
    for update in updates + others:
        assert encode_update(update) == codec.encode(update.to_plain())


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
