"""The order of one group: assigned, durable, rolled back; and what memory keeps of it."""

from __future__ import annotations

import pytest

from score_server.core import group as group_module
from score_server.core.cursor import Cursor
from score_server.core.group import Group, Recent
from score_server.core.peer import Peer
from score_server.stores.base import GroupState, NewEntry
from score_server.wire.entry import decode_entry, next_chain

INCARNATION = b"i" * 16
S = b"s" * 16


def made(head: int = 0, chain: bytes = INCARNATION, *, stored: bool = False) -> Group:
    return Group(GroupState("g", INCARNATION, head, chain), stored=stored)


def append(group: Group, seq: int, now_ms: int = 1000) -> NewEntry:
    return group.append(S, seq, "me", b"x" * 10, now_ms)


def test_an_entry_names_its_predecessor_and_chains_to_it() -> None:
    group = made()
    first, second = append(group, 1), append(group, 2)
    assert (first.position, first.predecessor) == (1, 0)
    assert (second.position, second.predecessor) == (2, 1)
    assert first.chain == next_chain(INCARNATION, first.encoded)
    assert second.chain == next_chain(first.chain, second.encoded)
    assert decode_entry(second.encoded) == (2, 1, 1000, S, 2, "me", b"x" * 10)


def test_assigned_and_durable_heads_part_and_meet() -> None:
    group = made()
    entries = [append(group, 1), append(group, 2)]
    assert (group.assigned_head, group.durable_head, group.stored) == (2, 0, False)
    group.publish(entries)
    assert (group.assigned_head, group.durable_head, group.stored) == (2, 2, True)
    assert group.durable_chain == entries[1].chain


def test_a_rolled_back_position_is_not_used_again() -> None:
    group = made()
    group.publish([append(group, 1)])
    append(group, 2)
    append(group, 3)
    group.roll_back()
    again = append(group, 4)
    assert (again.position, again.predecessor) == (4, 1)
    assert again.chain == next_chain(group.durable_chain, again.encoded)


def test_a_clock_that_goes_back_does_not_take_the_entries_times_with_it() -> None:
    group = made()
    times = [
        decode_entry(append(group, n, at).encoded).time_ms for n, at in [(1, 50), (2, 20), (3, 60)]
    ]
    assert times == [50, 50, 60]


def test_chains_are_known_as_far_as_memory_reaches() -> None:
    group = made(7, b"c" * 16, stored=True)
    assert group.known_chain(7) == b"c" * 16
    assert group.known_chain(6) is None
    entries = [append(group, 1), append(group, 2)]
    group.publish(entries)
    assert group.known_chain(8) == entries[0].chain
    assert group.known_chain(9) == entries[1].chain
    assert group.known_chain(7) is None  # the store knows
    assert group.known_chain(10) is None


def test_the_oldest_recent_entries_go_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_module, "RECENT_BYTES_MAX", 40)
    recent = Recent(0)
    recent.extend([NewEntry("g", n, n - 1, b"x" * 10, b"%d" % n) for n in range(1, 5)])
    assert (recent.after, recent.size) == (0, 40)
    recent.extend([NewEntry("g", 9, 4, b"x" * 10, b"9")])
    assert (recent.after, recent.positions, recent.size) == (3, [4, 9], 20)
    assert recent.chains == [b"4", b"9"]
    assert [recent.start(position) for position in (2, 3, 4, 8, 9)] == [None, 0, 1, 1, 2]


def test_a_group_is_forgotten_when_nobody_would_miss_it() -> None:
    group = made()
    assert group.is_forgettable()
    cursor = Cursor(Peer(1, 0), 1, group, 0)
    group.cursors.add(cursor)
    assert not group.is_forgettable()
    group.cursors.clear()
    entry = append(group, 1)
    assert not group.is_forgettable()
    group.roll_back()
    assert group.is_forgettable()
    group.publish([entry])
    assert not group.is_forgettable()
