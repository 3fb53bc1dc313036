"""What is said waits until it is pulled, and is pulled in order."""

from __future__ import annotations

from score_server.core.cursor import Cursor, Loading
from score_server.core.events import LookUp, ReadPage, ReadSlice, SliceRead, SnapshotRead
from score_server.core.feed import AWAITED_BYTES_MAX, REPLY_BYTES
from score_server.core.group import Group
from score_server.core.outgoing import AHEAD_MIN, GROUPS_PER_PAGE, Outgoing
from score_server.core.peer import Peer
from score_server.stores.base import GroupState, NewEntry, SnapshotState
from score_server.wire.limits import Limits
from score_server.wire.messages import (
    Entries,
    GroupPage,
    ListGroups,
    Pong,
    SnapshotChunk,
    Synced,
)
from score_server.wire.runs import TakenRun

STATE = GroupState("g", b"i" * 16, 2, b"c" * 16)
ROW = ["g", b"i" * 16, 2, 0, 0, 0, 0, False]


def made() -> tuple[Outgoing, Peer, Cursor]:
    """Somebody at the beginning of a group with two entries, which are not in memory."""
    group, peer = Group(STATE, stored=True), Peer(1)
    cursor = Cursor(peer, 1, group, 0)
    peer.opened(cursor)
    group.cursors[cursor] = None
    return Outgoing(Limits()), peer, cursor


def test_what_is_said_wakes_and_comes_out_in_order_within_its_budget() -> None:
    out, peer, _ = made()
    out.say(peer, Pong(1))
    out.say(peer, Pong(2))
    assert list(out.woken) == [1]
    assert out.output(peer, 1) == [Pong(1)]
    assert out.output(peer, 1) == [Pong(2)]


def test_a_run_of_replies_takes_as_much_of_the_budget() -> None:
    out, peer, cursor = made()
    run = TakenRun(1, 1, 2)
    out.say(peer, run)
    out.say(peer, Pong(2))
    assert out.output(peer, 2 * REPLY_BYTES) == [run]
    out.line_up(cursor, run, 2)
    assert peer.lined == 2


def test_a_reply_waits_for_its_entries_and_channels_take_turns() -> None:
    out, peer, cursor = made()
    out.line_up(cursor, Synced(1, 2), 2)
    out.line_up(cursor, Synced(2, 1), 1)
    assert cursor.grant == 2
    assert not out.woken
    assert out.take_effects() == [ReadSlice("g", 0, AWAITED_BYTES_MAX)]
    assert out.slice_read(SliceRead("g", 0, [(1, b"a", b""), (2, b"b", b"")])) is None
    assert list(out.woken) == [1]
    out.stir(cursor)
    assert peer.ready == [cursor]
    assert out.output(peer, 1) == [Entries(1, [b"a"])]
    assert peer.ready == [cursor]
    assert out.output(peer, 999) == [Entries(1, [b"b"]), Synced(1, 2), Synced(2, 1)]
    assert not peer.ready


def test_who_is_going_to_be_answered_is_sent_ahead_what_is_much() -> None:
    out, peer, cursor = made()
    group = cursor.group
    cursor.position = cursor.grant = group.recent.after = 2
    entries = [NewEntry("g", n, n - 1, b"%d" % n, b"c", 0) for n in range(3, 3 + AHEAD_MIN)]
    group.publish(entries[:-1])
    out.send_ahead(peer, 1)
    assert not out.woken
    group.publish(entries[-1:])
    out.send_ahead(peer, 1)
    assert list(out.woken) == [1]
    out.woken.clear()
    out.send_ahead(peer, 1)  # it is on its way
    assert not out.woken
    assert out.output(peer, 999) == [Entries(1, [entry.encoded for entry in entries])]


def test_who_has_credit_follows_until_there_is_something_and_again_when_it_is_sent() -> None:
    out, _, cursor = made()
    group, peer = cursor.group, cursor.peer
    cursor.position = cursor.grant = group.recent.after = 2
    out.stir(cursor)
    assert not group.followers
    cursor.credit = 10
    out.stir(cursor)
    assert list(group.followers) == [cursor]
    group.followers.clear()  # as a commit does, which stirs them
    group.publish([NewEntry("g", 3, 2, b"c", b"")])
    out.stir(cursor)
    assert (peer.ready, group.followers) == ([cursor], {})
    assert out.output(peer, 999) == [Entries(1, [b"c"])]
    assert list(group.followers) == [cursor]


def test_a_part_that_should_be_there_and_is_not_names_the_group() -> None:
    out, _, cursor = made()
    assert out.slice_read(SliceRead("g", 0, [])) is None  # nobody has asked for it
    out.line_up(cursor, Synced(1, 2), 2)
    assert out.slice_read(SliceRead("g", 0, [])) is cursor.group
    cursor.position = 2
    cursor.loading = Loading(SnapshotState(2, b"c" * 16, 3, b"d" * 32, 0))
    out.stir(cursor)
    assert out.chunk_read(SnapshotRead("g", 2, 0, b"")) is cursor.group
    out.stir(cursor)
    assert out.chunk_read(SnapshotRead("g", 2, 0, b"abc")) is None
    assert out.output(cursor.peer, 999) == [SnapshotChunk(1, 0, b"abc"), Synced(1, 2)]


def test_a_page_is_read_when_it_would_be_sent() -> None:
    out, peer, _ = made()
    for said in (ListGroups(1, "a"), Pong(1)):
        out.say(peer, said)
    assert out.take_effects() == []
    assert out.output(peer, 999) == []
    assert out.output(peer, 999) == []
    assert out.take_effects() == [ReadPage(1, 1, "a", GROUPS_PER_PAGE + 1)]
    out.page_read(peer, 1, [STATE] * (GROUPS_PER_PAGE + 1))
    assert out.output(peer, 33) == [GroupPage(1, [ROW] * GROUPS_PER_PAGE, True)]
    assert out.output(peer, 33) == [Pong(1)]
    out.page_read(peer, 1, [])  # it was not waited for any more
    assert out.output(peer, 33) == []


def test_effects_are_taken_once() -> None:
    out, _, _ = made()
    out.look_up(LookUp("g", 0))
    assert out.take_effects() == [LookUp("g", 0)]
    assert out.take_effects() == []
