"""Entries come from memory where it reaches, else from the store, a slice at a time."""

from __future__ import annotations

import pytest

from score_server.core import feed as feed_module
from score_server.core.cursor import Cursor, Due, Loading
from score_server.core.events import ReadSlice, ReadSnapshot
from score_server.core.feed import (
    AWAITED_BYTES_MAX,
    PART_BYTES_MAX,
    REPLY_BYTES,
    SLICE_BYTES_MAX,
    Feed,
)
from score_server.core.few import plus
from score_server.core.group import Group
from score_server.core.peer import Peer
from score_server.stores.base import GroupState, NewEntry, SnapshotState
from score_server.wire.messages import Entries, SnapshotChunk, Synced
from score_server.wire.runs import Output, TakenRun


def group(name: str = "g", stored: int = 0) -> Group:
    """A group whose first *stored* entries are in the store only."""
    return Group(GroupState(name, b"i" * 16, stored, b"c" * 16), stored=True)


def publish(made: Group, *positions: int) -> None:
    made.publish([NewEntry(made.name, n, n - 1, b"e%d" % n, b"c%d" % n) for n in positions])


def join(made: Group, position: int = 0, number: int = 1) -> Cursor:
    cursor = Cursor(Peer(number), number, made, position)
    made.cursors[cursor] = None
    return cursor


def ask(cursor: Cursor, needs: int) -> Synced:
    synced = Synced(needs, needs)
    cursor.line = plus(cursor.line, Due(synced, needs, 1))
    cursor.peer.lined += 1
    cursor.grant = max(cursor.grant, needs)
    return synced


def served(feed: Feed, cursor: Cursor, bytes_max: int = 1000) -> list[Output]:
    out: list[Output] = []
    feed.serve(cursor, bytes_max, out)
    return out


def slice_read(
    feed: Feed, made: Group, after: int, entries: list[tuple[int, bytes, bytes]]
) -> list[Cursor]:
    cursors = feed.answered(feed.slice_of_log(made.name, after))
    feed.hand_slice(cursors, entries)
    return cursors


def rows(*positions: int) -> list[tuple[int, bytes, bytes]]:
    return [(n, b"e%d" % n, b"c%d" % n) for n in positions]


def test_entries_go_before_the_reply_that_needs_them() -> None:
    feed, made = Feed(), group()
    publish(made, 1, 2, 3)
    cursor = join(made)
    assert not feed.stir(cursor)
    synced = ask(cursor, 2)
    assert feed.stir(cursor)
    assert served(feed, cursor) == [Entries(1, [b"e1", b"e2"]), synced]
    assert cursor.peer.lined == 0
    assert not feed.stir(cursor)
    assert feed.reads == []


def test_a_run_of_replies_goes_behind_its_entries_and_counts_as_many() -> None:
    feed, made = Feed(), group()
    publish(made, 1, 2, 3)
    cursor = join(made)
    taken = TakenRun(1, 1, 3)
    cursor.line = plus(cursor.line, Due(taken, 3, 3))
    cursor.peer.lined += 3
    cursor.grant = 3
    out: list[Output] = []
    assert feed.serve(cursor, 1000, out) == 1000 - 6 - 3 * REPLY_BYTES
    assert (out, cursor.peer.lined) == ([Entries(1, [b"e1", b"e2", b"e3"]), taken], 0)


def test_a_reply_that_needs_nothing_new_is_due_at_once() -> None:
    feed, made = Feed(), group()
    cursor = join(made)
    synced = ask(cursor, 0)
    assert feed.stir(cursor)
    assert served(feed, cursor) == [synced]


def test_a_budget_ends_output_and_the_rest_follows() -> None:
    feed, made = Feed(), group()
    publish(made, 1, 2)
    cursor = join(made)
    synced = ask(cursor, 2)
    assert served(feed, cursor, 1) == [Entries(1, [b"e1"])]
    assert feed.stir(cursor)
    assert served(feed, cursor, 1) == [Entries(1, [b"e2"])]
    assert served(feed, cursor, 1) == [synced]


def test_what_memory_does_not_have_is_read_once_for_all_at_the_same_place() -> None:
    feed, made = Feed(), group(stored=4)
    one, two, elsewhere = join(made), join(made, number=2), join(made, 2, number=3)
    for cursor in (one, two, elsewhere):
        ask(cursor, 4)
        assert not feed.stir(cursor)
        assert not feed.stir(cursor)
    assert feed.reads == [
        ReadSlice("g", 0, AWAITED_BYTES_MAX),
        ReadSlice("g", 2, AWAITED_BYTES_MAX),
    ]
    assert slice_read(feed, made, 0, rows(1, 2)) == [one, two]
    assert feed.stir(one)
    assert served(feed, one) == [Entries(1, [b"e1", b"e2"])]
    assert served(feed, two, 1) == [Entries(2, [b"e1"])]
    assert not feed.stir(one)  # its slice is used up, and the next one has been asked for
    assert len(feed.reads) == 2
    assert served(feed, two, 1) == [Entries(2, [b"e2"])]


def test_who_reads_catches_up_with_who_writes() -> None:
    """A slice is longer than what was written since the one before, for as long as nothing comes from memory."""
    feed, made = Feed(), group(stored=9)
    cursor = join(made)
    ask(cursor, 7)
    made.log_bytes = 10**9
    sizes = []
    for after, written in enumerate((3_000, 20_000, 0, 10**6, 0)):
        assert not feed.stir(cursor)
        made.log_bytes += written
        assert not feed.stir(cursor)
        slice_read(feed, made, after, rows(after + 1))
        served(feed, cursor)
        (read,) = feed.reads
        assert isinstance(read, ReadSlice)
        feed.reads.clear()
        sizes.append(read.bytes_max)
    assert sizes == [
        AWAITED_BYTES_MAX,
        AWAITED_BYTES_MAX,
        40_000,
        AWAITED_BYTES_MAX,
        PART_BYTES_MAX,
    ]
    made.recent = type(made.recent)(5)
    publish(made, 6, 7)
    assert served(feed, cursor) == [Entries(1, [b"e6", b"e7"]), Synced(7, 7)]  # from memory
    made.log_bytes += 10**6
    made.recent, made.durable_head = type(made.recent)(9), 9
    ask(cursor, 9)
    assert not feed.stir(cursor)
    assert feed.reads == [ReadSlice("g", 7, AWAITED_BYTES_MAX)]  # as at first


def test_who_waits_for_no_answer_reads_little_at_a_time() -> None:
    feed, made = Feed(), group(stored=9)
    cursor = join(made)
    cursor.credit = 1
    assert not feed.stir(cursor)
    assert feed.reads == [ReadSlice("g", 0, SLICE_BYTES_MAX)]


def test_catching_up_ends_in_memory() -> None:
    feed, made = Feed(), group(stored=2)
    cursor = join(made)
    publish(made, 3)
    ask(cursor, 3)
    assert not feed.stir(cursor)
    slice_read(feed, made, 0, rows(1, 2))
    out = served(feed, cursor)
    assert out == [Entries(1, [b"e1", b"e2"]), Entries(1, [b"e3"]), Synced(3, 3)]
    assert cursor.slice is None


def test_who_has_left_gets_no_slice() -> None:
    feed, made = Feed(), group(stored=2)
    cursor = join(made)
    ask(cursor, 2)
    feed.stir(cursor)
    made.cursors.clear()
    assert slice_read(feed, made, 0, rows(1, 2)) == []
    assert cursor.slice is None
    assert slice_read(feed, made, 0, rows(1, 2)) == []  # an answer that nobody waits for


def test_nobody_waits_for_a_group_that_cannot_be_read() -> None:
    feed, made, other = Feed(), group(stored=2), group("h", stored=2)
    for cursor in (join(made), join(other)):
        ask(cursor, 2)
        feed.stir(cursor)
    feed.drop(made)
    assert slice_read(feed, made, 0, rows(1, 2)) == []
    assert len(slice_read(feed, other, 0, rows(1, 2))) == 1


def test_the_slices_of_slow_readers_are_bounded_and_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "SLICES_TOTAL_MAX", 1)
    feed, made = Feed(), group(stored=2)
    one, two = join(made), join(made, number=2)
    for cursor in (one, two):
        ask(cursor, 2)
        feed.stir(cursor)
    slice_read(feed, made, 0, rows(1, 2))
    assert (one.slice, two.slice is None) == (None, False)
    feed.reads.clear()
    assert not feed.stir(one)
    assert feed.reads == [ReadSlice("g", 0, AWAITED_BYTES_MAX)]
    assert feed.stir(two)


def test_recent_entries_of_all_groups_are_bounded_and_the_longest_unchanged_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "RECENT_BYTES_TOTAL_MAX", 6)
    feed, one, two = Feed(), group("g"), group("h")
    for made, position in ((one, 1), (two, 1), (one, 2)):
        publish(made, position)
        feed.note_published(made)
    assert (one.recent.positions, two.recent.positions) == ([1, 2], [1])
    publish(one, 3)
    feed.note_published(one)
    assert (one.recent.positions, two.recent.positions) == ([1, 2, 3], [])
    cursor = join(two)
    ask(cursor, 1)
    assert not feed.stir(cursor)
    assert feed.reads == [ReadSlice("h", 0, AWAITED_BYTES_MAX)]


SNAPSHOT = SnapshotState(4, b"c" * 16, 5, b"d" * 32, 0)


def loading(made: Group, number: int = 1) -> Cursor:
    cursor = join(made, 4, number)
    cursor.loading = Loading(SNAPSHOT)
    return cursor


def chunk_read(feed: Feed, offset: int, data: bytes) -> list[Cursor]:
    cursors = feed.answered(feed.part_of_snapshot("g", 4, offset))
    feed.hand_chunk(cursors, data)
    return cursors


def test_a_snapshot_is_read_part_by_part_once_for_all_and_comes_before_all_else() -> None:
    feed, made = Feed(2), group(stored=4)
    publish(made, 5)
    one, two = loading(made), loading(made, 2)
    synced = ask(one, 4)
    for cursor in (one, two):
        assert not feed.stir(cursor)
    assert feed.reads == [ReadSnapshot("g", 4, 0, 2)]
    assert chunk_read(feed, 0, b"ab") == [one, two]
    assert feed.stir(one)
    assert served(feed, one) == [SnapshotChunk(1, 0, b"ab")]
    assert not feed.stir(one)
    assert feed.reads[1:] == [ReadSnapshot("g", 4, 2, 2)]
    assert chunk_read(feed, 2, b"cde") == [one]
    assert served(feed, one) == [SnapshotChunk(1, 2, b"cde"), synced]
    assert not one.wants()
    two.credit = 9
    two.position = 4
    assert served(feed, two, 1) == [SnapshotChunk(2, 0, b"ab")]


def test_who_leaves_while_loading_holds_nothing() -> None:
    feed, made = Feed(), group(stored=4)
    cursor = loading(made)
    feed.stir(cursor)
    chunk_read(feed, 0, b"ab")
    feed.forget(cursor)
    assert cursor.loading is not None
    assert cursor.loading.chunk is None


def test_a_group_that_leaves_memory_takes_its_recent_entries_with_it() -> None:
    feed, made = Feed(), group()
    publish(made, 1)
    feed.note_published(made)
    feed.let_go(made)
    feed.let_go(made)
    assert (feed._cached, feed._cached_bytes) == ({}, 0)
