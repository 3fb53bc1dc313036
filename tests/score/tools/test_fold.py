"""A fold finds out what kind of structure it holds, and stops where it is told to."""

from __future__ import annotations

from typing import Any

import pytest

from score.payload import encode_update
from score.snapshot import encode_dump
from score.tools.fold import Fold, kind_of_dump, kind_of_entry
from score_server.wire import codec
from score_server.wire.entry import Entry, encode_entry, snapshot_digest
from score_server.wire.messages import Joined, SnapshotInfo
from ucore import UMap, UStack, UVec
from ucore.codes import APPEND, DECLARE
from ucore.node import recording
from ucore.updatable import Update

SESSION, INCARNATION = bytes(16), b"i" * 16


def log_of(value: Any, *changes: Any, declare: list[object] | None = None) -> list[bytes]:
    """The entries of a group in which *changes* were made to *value*, which they alter."""
    with recording(value) as updates:
        for change in changes:
            change(value)
    if declare is not None:
        updates[0] = Update([[DECLARE, declare], *updates[0].ops])
    return [
        encode_entry(Entry(at, at - 1, 0, SESSION, at, "", encode_update(update)))
        for at, update in enumerate(updates, 1)
    ]


def fed(log: list[bytes], until: int | None = None) -> Fold:
    fold = Fold("group", until=until)
    fold.joined(Joined(1, INCARNATION, 0, len(log), None))
    fold.receive_all(log)
    return fold


@pytest.mark.parametrize(
    ("value", "change", "kind"),
    [
        (UMap(), lambda m: m.update(a=1), "map"),
        (UVec(), lambda v: v.extend([1, 2]), "vec"),
        (UStack(), lambda s: s.push(1), "stack"),
    ],
)
def test_a_declaration_says_what_a_group_holds(value: Any, change: Any, kind: str) -> None:
    fold = fed(log_of(value, change, change, declare=[kind, None]))
    assert type(fold.tree.root) is type(value)
    assert list(fold.tree.root) == list(value)  # type: ignore[call-overload]
    assert fold.position == 2


def test_without_one_the_first_operation_does() -> None:
    assert type(fed(log_of(UVec(), lambda v: v.append(1))).tree.root) is UVec
    assert type(fed(log_of(UMap(), lambda m: m.update(a=1))).tree.root) is UMap


def test_it_stops_where_it_is_told_to() -> None:
    log = log_of(UVec(), *[lambda v, n=n: v.append(n) for n in range(20)])
    fold = fed(log, until=12)
    assert fold.position == 12
    assert list(fold.tree.root) == list(range(12))  # type: ignore[call-overload]
    fold.receive_all(log[12:])
    assert fold.position == 12


def test_a_dump_says_it_as_well_and_a_second_one_fills_the_same_structure() -> None:
    value = UVec([1, 2])
    fold = Fold("group")
    fold.become(value.dump())
    root = fold.tree.root
    value.append(3)
    fold.become(value.dump())
    assert fold.tree.root is root
    assert list(root) == [1, 2, 3]  # type: ignore[call-overload]


def test_it_knows_the_digest_of_the_snapshot_that_it_is_and_not_when_it_has_gone_on() -> None:
    value = UVec([1, 2])
    data = encode_dump(value._tree)
    fold = Fold("group")
    assert fold.digest_here() is None
    info = SnapshotInfo(b"c" * 16, len(data), snapshot_digest(data))
    incoming = fold.joined(Joined(1, INCARNATION, 1, 2, info))
    assert incoming is not None
    assert fold.digest_here() is None
    fold.receive_chunk(incoming, 0, data)
    assert fold.digest_here() == snapshot_digest(data)
    update = encode_update(Update([[APPEND, 0, 0, 3]]))
    fold.receive(encode_entry(Entry(2, 1, 0, SESSION, 1, "", update)))
    assert fold.digest_here() is None


@pytest.mark.parametrize(
    "payload",
    [b"\xff", codec.encode([]), codec.encode([1]), codec.encode([1, [0, []]]), codec.encode([1, [99]]),
     codec.encode([1, [0, [["map"]]]]), codec.encode([1, [0, ["tree", None]]])],
)  # fmt: skip
def test_what_cannot_be_read_counts_as_a_map(payload: bytes) -> None:
    assert kind_of_entry(encode_entry(Entry(1, 0, 0, SESSION, 1, "", payload))) == "map"


@pytest.mark.parametrize(
    "dump", [None, [], [1, 2, None, []], [1, 2, None, [99]], [1, 2, None, [[]]]]
)
def test_a_dump_that_is_none_counts_as_a_map(dump: object) -> None:
    assert kind_of_dump(dump) == "map"


def test_an_entry_that_is_none_counts_as_a_map() -> None:
    assert kind_of_entry(b"\xff") == "map"
