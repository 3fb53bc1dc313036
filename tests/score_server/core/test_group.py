"""The order of one group: assigned, durable, rolled back; and what memory keeps of it."""

from __future__ import annotations

import pytest

from score_server.core import group as group_module
from score_server.core.cursor import Cursor
from score_server.core.group import Group, Recent
from score_server.core.peer import Peer
from score_server.stores.base import GroupState, NewEntry, NewTrim, SnapshotState
from score_server.wire.entry import decode_entry, next_chain
from score_server.wire.messages import Ping

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


def test_a_run_is_appended_as_its_entries_would_be() -> None:
    group, one = made(), made()
    for each in (group, one):
        append(each, 1, 500)
        each.next_position = 4  # others were rolled back
    entries = group.append_run(S, 2, "me", [b"a", b"b"], 1000)
    assert entries == [one.append(S, 2, "me", b"a", 1000), one.append(S, 3, "me", b"b", 1000)]
    assert type(entries[1]) is NewEntry
    assert group.append_run(S, 4, "me", [b"c"], 700) == [one.append(S, 4, "me", b"c", 700)]
    assert (group.assigned_head, group.assigned_chain) == (one.assigned_head, one.assigned_chain)


def test_assigned_and_durable_heads_part_and_meet() -> None:
    group = made()
    entries = [append(group, 1), append(group, 2)]
    assert (group.assigned_head, group.durable_head, group.log_bytes) == (2, 0, 0)
    group.publish(entries)
    assert (group.assigned_head, group.durable_head) == (2, 2)
    assert group.log_bytes == sum(len(entry.encoded) for entry in entries)
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


def test_a_group_is_idle_when_the_store_knows_all_of_it() -> None:
    group = made()
    assert group.is_idle()
    cursor = Cursor(Peer(1), 1, group, 0)
    group.cursors[cursor] = None
    assert not group.is_idle()
    group.cursors.clear()
    group.begun = True
    entry = append(group, 1)
    assert not group.is_idle()
    group.roll_back()
    assert group.is_idle()  # nobody was told of it
    group.begun = group.stored = True
    assert not group.is_idle()  # position 1 must not be used again
    group.publish([append(group, 2)])
    assert group.is_idle()
    assert entry.position == 1
    append(group, 3)
    assert not group.is_idle()
    group.roll_back()
    group.next_position = 3
    group.damage = "rotten"
    assert not group.is_idle()


SNAPSHOT = SnapshotState(5, b"s" * 16, 100, b"d" * 32, 700)


def test_a_trim_is_assigned_then_durable_or_taken_back() -> None:
    group = made(7, b"c" * 16, stored=True)
    group.assign_trim(NewTrim("g", SNAPSHOT, 5))
    assert not group.is_idle()
    assert (group.assigned_floor, group.floor, group.snapshot) == (5, 0, None)
    group.roll_back()
    assert (group.assigned_floor, group.assigned_snapshot) == (0, None)
    assert group.is_idle()
    group.assign_trim(NewTrim("g", SNAPSHOT, 4))
    group.publish_trim(NewTrim("g", SNAPSHOT, 4))
    group.assign_trim(NewTrim("g", None, 5))
    group.publish_trim(NewTrim("g", None, 5))
    assert (group.floor, group.snapshot, group.durable_head) == (5, SNAPSHOT, 7)
    assert group.known_chain(5) == b"s" * 16
    assert group.is_idle()


def test_an_empty_group_begins_with_its_snapshot() -> None:
    group = made()
    group.assign_trim(NewTrim("g", SNAPSHOT, 5))
    entry = append(group, 1)
    assert (entry.position, entry.predecessor) == (6, 5)
    group.publish_trim(NewTrim("g", SNAPSHOT, 5))
    assert (group.durable_head, group.durable_chain, group.recent.after) == (5, b"s" * 16, 5)


def test_a_snapshot_is_wanted_when_the_tail_is_long_and_again_when_it_has_doubled() -> None:
    group = Group(GroupState("g", INCARNATION, 7, b"c" * 16), stored=True)
    least = group_module.TAIL_BYTES_MIN
    group.log_bytes = least
    assert not group.wants_snapshot()
    group.log_bytes += 1
    assert group.wants_snapshot()
    assert group.is_overdue()
    group.ask_later()
    group.log_bytes = 2 * least + 2
    assert not group.wants_snapshot()
    assert group.is_overdue()
    group.log_bytes += 1
    assert group.wants_snapshot()
    group.publish_trim(NewTrim("g", SNAPSHOT._replace(size=least, log_bytes=least), 0))
    assert not group.is_overdue()
    group.log_bytes = 3 * least + 1
    assert group.wants_snapshot()


def test_what_waits_for_a_decision_keeps_the_group() -> None:
    group, peer = made(), Peer(1)
    group.defer(peer, Ping(1))
    assert peer.waiting == [Ping(1)]
    assert not group.is_idle()
