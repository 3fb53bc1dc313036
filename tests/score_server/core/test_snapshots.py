"""Snapshots are believed when two folds agree; then, and only then, does anything go."""

from __future__ import annotations

from itertools import pairwise

import pytest

from score_server.core import feed
from score_server.core import group as group_module
from score_server.core.events import (
    Connected,
    Disconnected,
    LookUp,
    ReadFailed,
    SnapshotRead,
    Stopping,
    Ticked,
)
from score_server.core.snapshots import IMPORT_POSITION_MAX, row
from score_server.stores.base import GroupState, SnapshotState
from score_server.wire.entry import next_chain, snapshot_digest
from score_server.wire.messages import (
    BEHIND_TRIM,
    BROKEN,
    CHANNEL_CLOSED,
    GROUP_DAMAGED,
    GROUP_DELETED,
    KEPT,
    KEPT_FULL,
    OUTCOME_TAKEN,
    OVERLOADED,
    STRICT,
    SUPERSEDED,
    TRIM_DIFFERS,
    TRIM_DONE,
    TRIM_FULL,
    TRIM_UNKNOWN,
    UNKNOWN_PLACE,
    AskOutcome,
    AskTurn,
    DeleteGroup,
    Error,
    GroupDeleted,
    Hello,
    Join,
    Joined,
    Leave,
    OfferSnapshot,
    Outcome,
    PutSnapshot,
    Refused,
    Resume,
    SnapshotChunk,
    SnapshotInfo,
    SnapshotKept,
    Sync,
    Synced,
    Taken,
    Trim,
    Trimmed,
    WantSnapshot,
)

from .playbook import Playbook, submit

DATA = b"state"
DIGEST = snapshot_digest(DATA)


@pytest.fixture
def book() -> Playbook:
    """Connection 1 has written five settled entries in "g"; 2 is a compactor."""
    book = Playbook()
    book.author(1)
    book.fill(1, 5)
    book.say(1, submit(6, settled=5, seen=5))
    book.settle_all()
    book.out(1)
    book.connect(2)
    book.join(2)
    return book


def state(book: Playbook, name: str = "g") -> GroupState:
    found, _ = book.store.look_up(name, 0)
    assert found is not None
    return found


def offer(
    book: Playbook, position: int = 4, *, data: bytes = DATA, channel: int = 1, request: int = 10
) -> OfferSnapshot:
    _, chain = book.store.look_up("g", position)
    assert chain is not None
    return OfferSnapshot(channel, request, position, chain, len(data), snapshot_digest(data))


def upload(book: Playbook, connection: int = 2, position: int = 4, data: bytes = DATA) -> None:
    """A whole candidate, durably."""
    book.say(connection, offer(book, position, data=data), PutSnapshot(1, 11, 0, data))
    book.settle_all()
    assert book.out(connection) == [
        SnapshotKept(10, KEPT, 0), SnapshotKept(11, KEPT, len(data)),
    ]  # fmt: skip


def trimmed(book: Playbook, connection: int = 2, position: int = 4, data: bytes = DATA) -> Trimmed:
    book.say(connection, Trim(1, 12, position, snapshot_digest(data)))
    book.settle_all()
    (answer,) = [said for said in book.out(connection) if isinstance(said, Trimmed)]
    return answer


def compact(book: Playbook, position: int = 4) -> None:
    upload(book, position=position)
    assert trimmed(book, position=position).verdict == TRIM_DONE


# ---------------------------------------------------------------- two folds


def test_when_two_folds_agree_the_candidate_is_the_snapshot_and_entries_go(book: Playbook) -> None:
    upload(book)
    assert state(book).snapshot is None
    book.say(2, Trim(1, 12, 4, DIGEST))
    assert book.out(2) == []
    book.commit()
    error, answer = book.out(2)
    assert answer == Trimmed(12, TRIM_DONE, 4)
    assert isinstance(error, Error)
    assert (error.code, error.channel) == (BEHIND_TRIM, 1)  # it stood at the beginning
    assert (state(book).floor, state(book).head) == (4, 6)
    assert [position for position, _, _ in book.store.read("g", 4, 999)] == [5, 6]


def test_a_join_gets_the_snapshot_and_what_came_behind_it(book: Playbook) -> None:
    compact(book)
    snapshot = state(book).snapshot
    assert snapshot is not None
    book.connect(3)
    book.say(3, Join(1, "g", None), Sync(1, 1))
    book.settle_all()
    assert book.told(3) == [
        Joined(1, state(book).incarnation, 4, 6, SnapshotInfo(snapshot.chain, 5, DIGEST)),
        SnapshotChunk(1, 0, DATA),
        (5, b"5"),
        (6, b"x"),
        Synced(1, 6),
    ]


def test_when_they_differ_nothing_goes_and_the_candidate_is_dropped(book: Playbook) -> None:
    upload(book)
    assert trimmed(book, data=b"other") == Trimmed(12, TRIM_DIFFERS, 0)
    assert trimmed(book) == Trimmed(12, TRIM_UNKNOWN, 0)
    assert state(book).snapshot is None
    upload(book)
    assert trimmed(book) == Trimmed(12, TRIM_DONE, 4)


def test_a_trim_of_what_is_not_there_is_unknown(book: Playbook) -> None:
    assert trimmed(book) == Trimmed(12, TRIM_UNKNOWN, 0)
    book.say(2, offer(book))
    assert book.out(2) == [SnapshotKept(10, KEPT, 0)]
    assert trimmed(book) == Trimmed(12, TRIM_UNKNOWN, 0)  # it is not whole


def test_entries_that_an_author_may_still_be_told_stay(book: Playbook) -> None:
    book.say(1, submit(7, settled=6, seen=2))
    book.settle_all()
    upload(book)
    assert trimmed(book) == Trimmed(12, TRIM_DONE, 2)
    book.join(2, channel=2)
    book.say(2, Trim(2, 13, 4, DIGEST))
    book.settle_all()
    assert Trimmed(13, TRIM_DONE, 2) in book.told(2)
    book.say(2, Trim(2, 14, 4, b"?" * 32))
    assert book.told(2) == [Trimmed(14, TRIM_DIFFERS, 2)]
    book.say(1, submit(8, settled=7, seen=6))
    book.settle_all()
    book.say(2, Trim(2, 15, 4, DIGEST))
    book.settle_all()
    assert book.told(2) == [Trimmed(15, TRIM_DONE, 4)]
    assert state(book).floor == 4


def test_a_hold_survives_a_restart(book: Playbook) -> None:
    book.say(1, submit(7, settled=6, seen=2))
    book.settle_all()
    book.restart()
    book.connect(2)
    book.join(2)
    upload(book)
    assert trimmed(book) == Trimmed(12, TRIM_DONE, 2)


def test_a_group_that_keeps_everything_has_a_snapshot_and_all_its_entries() -> None:
    book = Playbook()
    book.open(1)
    book.say(1, Join(1, "g", None, True))
    book.answer_lookups()
    book.out(1)
    book.fill(1, 3)
    book.connect(2)
    book.join(2)
    upload(book, position=2)
    assert trimmed(book, position=2) == Trimmed(12, TRIM_DONE, 0)
    assert state(book).keep
    assert len(book.store.read("g", 0, 999)) == 3
    assert book.join(2, channel=2).position == 2


# ---------------------------------------------------------------- candidates


def test_a_place_that_is_not_in_the_history_takes_no_snapshot(book: Playbook) -> None:
    right = offer(book)
    for wrong in (right._replace(chain=b"?" * 16), right._replace(position=7)):
        book.say(2, wrong)
        assert book.out(2) == [SnapshotKept(10, UNKNOWN_PLACE, 0)]


def test_a_place_that_memory_does_not_know_is_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_module, "RECENT_BYTES_MAX", 1)
    book = Playbook()
    book.author(1)
    book.fill(1, 3)
    for found in (True, False):
        right = offer(book, 1)
        wrong = right._replace(chain=b"?" * 16)
        book.say(1, right if found else wrong, PutSnapshot(1, 11, 0, DATA))
        assert book.reads == [LookUp("g", 1)]
        book.settle_all()
        kept, put = book.out(1)
        assert kept == SnapshotKept(10, KEPT if found else UNKNOWN_PLACE, 0)
        # An offer that is refused leaves the candidate before it alone: this is a chunk too many.
        assert put == SnapshotKept(11, KEPT if found else BROKEN, len(DATA) if found else 0)


def test_a_snapshot_that_is_not_later_is_superseded(book: Playbook) -> None:
    compact(book)
    book.join(2, channel=2)
    book.say(2, offer(book, channel=2))
    assert SnapshotKept(10, SUPERSEDED, 0) in book.out(2)


def test_of_two_uploads_the_later_place_wins(book: Playbook) -> None:
    book.connect(3)
    book.join(3)
    book.say(2, offer(book, 4), PutSnapshot(1, 11, 0, b"st"))
    book.say(3, offer(book, 3))
    book.settle_all()
    assert book.out(3) == [SnapshotKept(10, SUPERSEDED, 0)]
    upload(book, 3, 5)
    book.out(2)
    book.say(2, PutSnapshot(1, 13, 2, b"ate"))
    assert book.out(2) == [SnapshotKept(13, SUPERSEDED, 0)]
    assert trimmed(book, 3, 5).verdict == TRIM_DONE


@pytest.mark.parametrize("wrong", [(1, b"x"), (0, b"too much"), (0, b"other")])
def test_what_is_not_as_it_was_offered_is_broken(wrong: tuple[int, bytes], book: Playbook) -> None:
    book.say(2, offer(book), PutSnapshot(1, 11, *wrong))
    book.settle_all()
    assert book.out(2) == [SnapshotKept(10, KEPT, 0), SnapshotKept(11, BROKEN, 0)]
    upload(book)


def test_nobody_is_answered_for_the_candidate_of_another_channel(book: Playbook) -> None:
    upload(book, data=b"wrong")
    book.connect(3)
    book.join(3)
    assert trimmed(book, 3) == Trimmed(12, TRIM_UNKNOWN, 0)
    assert trimmed(book, 3, data=b"wrong") == Trimmed(12, TRIM_UNKNOWN, 0)
    assert trimmed(book, 2, data=b"state").verdict == TRIM_DIFFERS


def test_a_candidate_goes_with_its_channel(book: Playbook) -> None:
    book.say(2, offer(book), PutSnapshot(1, 11, 0, b"st"))
    book.commit()
    book.say(2, PutSnapshot(1, 12, 2, b"a"), PutSnapshot(1, 13, 3, b"t"), Leave(1))
    book.settle_all()
    book.join(1, channel=2)
    book.say(1, PutSnapshot(2, 14, 4, b"e"))
    assert SnapshotKept(14, BROKEN, 0) in book.out(1)
    assert [batch.dropped_candidates for batch in book.batches[-2:]] == [(), ("g",)]
    assert book.batches[-1].chunks == ()
    book.connect(3)
    book.join(3)
    upload(book, 3)


def test_what_is_said_on_a_channel_that_is_gone_is_not_answered(book: Playbook) -> None:
    right = offer(book)
    book.say(2, Leave(1), right, PutSnapshot(1, 11, 0, DATA), Trim(1, 12, 4, DIGEST))
    assert book.out(2) == []


# ---------------------------------------------------------------- the full disk


def test_a_candidate_that_lost_a_chunk_is_lost(book: Playbook) -> None:
    book.say(2, offer(book), PutSnapshot(1, 11, 0, b"st"))
    book.say(2, PutSnapshot(1, 12, 2, b"at"))
    book.fail()
    assert book.out(2) == [
        SnapshotKept(10, KEPT, 0), SnapshotKept(11, KEPT_FULL, 0), SnapshotKept(12, KEPT_FULL, 0),
    ]  # fmt: skip
    book.say(2, PutSnapshot(1, 13, 4, b"e"))
    assert book.out(2) == [SnapshotKept(13, BROKEN, 0)]
    compact(book)


def test_a_trim_that_failed_has_changed_nothing(book: Playbook) -> None:
    upload(book)
    book.say(2, Trim(1, 12, 4, DIGEST))
    book.fail()
    assert book.out(2) == [Trimmed(12, TRIM_FULL, 0)]
    assert trimmed(book) == Trimmed(12, TRIM_DONE, 4)


def test_a_candidate_whose_trim_failed_goes_if_nobody_is_there_to_say_it_again(
    book: Playbook,
) -> None:
    upload(book)
    book.say(2, Trim(1, 12, 4, DIGEST))
    book.disconnect(2)
    book.fail()
    book.connect(3)
    book.join(3)
    assert trimmed(book, 3) == Trimmed(12, TRIM_UNKNOWN, 0)
    book.say(1, submit(7, settled=6))
    assert book.batches[-1].dropped_candidates == ("g",)


def test_a_trim_with_its_last_chunk_fails_with_it(book: Playbook) -> None:
    book.say(2, offer(book), PutSnapshot(1, 11, 0, DATA), Trim(1, 12, 4, DIGEST))
    book.fail()
    assert book.out(2)[1:] == [SnapshotKept(11, KEPT_FULL, 0), Trimmed(12, TRIM_FULL, 0)]
    compact(book)


# ---------------------------------------------------------------- imports


def imported(book: Playbook) -> OfferSnapshot:
    joined = book.join(2, "new", channel=2)
    return OfferSnapshot(2, 20, 40, joined.incarnation, len(DATA), DIGEST)


def test_an_empty_group_begins_with_a_snapshot_of_another(book: Playbook) -> None:
    made = imported(book)
    book.say(2, made, PutSnapshot(2, 21, 0, DATA), Trim(2, 22, 40, DIGEST))
    book.settle_all()
    kept = [SnapshotKept(20, KEPT, 0), SnapshotKept(21, KEPT, 5), Trimmed(22, TRIM_DONE, 40)]
    assert [said for said in book.out(2) if not isinstance(said, Error)] == kept
    new = state(book, "new")
    assert (new.head, new.floor, new.chain) == (40, 40, next_chain(made.chain, DIGEST))
    book.join(1, "new", channel=2)
    book.say(1, submit(7, b"next", channel=2, settled=6, seen=40))
    book.settle_all()
    assert book.told(1)[-2:] == [(41, b"next"), Taken(7, 41)]


@pytest.mark.parametrize("position", [IMPORT_POSITION_MAX, IMPORT_POSITION_MAX + 1, 2**63 - 1])
def test_no_group_begins_so_late_that_its_positions_could_be_used_up(
    position: int, book: Playbook
) -> None:
    began = imported(book)._replace(position=position)
    book.say(2, began)
    book.settle_all()
    verdict = KEPT if position <= IMPORT_POSITION_MAX else UNKNOWN_PLACE
    assert book.out(2) == [SnapshotKept(began.request, verdict, 0)]


def test_who_appends_first_makes_it_no_empty_group(book: Playbook) -> None:
    book.say(2, imported(book), PutSnapshot(2, 21, 0, DATA))
    book.settle_all()
    book.out(2)
    book.join(1, "new", channel=2)
    book.say(1, submit(7, channel=2, settled=6))
    book.say(2, Trim(2, 22, 40, DIGEST))
    assert book.out(2) == []
    book.settle_all()
    assert book.told(2) == [Trimmed(22, TRIM_UNKNOWN, 0)]
    assert state(book, "new").head == 1


@pytest.mark.parametrize("full", [False, True])
def test_who_appends_while_an_empty_group_begins_waits_for_that(full: bool, book: Playbook) -> None:
    book.say(2, imported(book), PutSnapshot(2, 21, 0, DATA))
    book.settle_all()
    book.out(2)
    book.join(1, "new", channel=2)
    book.say(2, Trim(2, 22, 40, DIGEST))
    book.say(1, submit(7, channel=2, settled=6), Sync(2, 1))
    book.say(2, Trim(2, 23, 40, DIGEST), PutSnapshot(2, 24, 0, DATA))
    if full:
        book.fail()
        book.settle_all()
        assert book.told(1) == [Synced(1, 0), (41, b"x"), Taken(7, 41)]
        assert book.told(2)[0] == Trimmed(22, TRIM_FULL, 0)
    else:
        book.settle_all()
        told = book.told(1)
        assert isinstance(told[0], Error)
        assert told[0].code == BEHIND_TRIM
        assert len(told) == 2  # and what it wrote is refused: it has not joined what there is now
        assert state(book, "new").head == 40


# ---------------------------------------------------------------- reading a snapshot


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch, book: Playbook) -> Playbook:
    """Connection 3 is being sent a snapshot, in parts of two bytes; it has been sent the first."""
    monkeypatch.setattr(feed, "PART_BYTES_MAX", 2)
    compact(book)
    book.connect(3)
    book.say(3, Join(1, "g", None), Sync(1, 7))
    assert len(book.out(3)) == 1
    book.answer_read()
    assert book.out(3) == [SnapshotChunk(1, 0, b"st")]
    return book


def ended(book: Playbook, connection: int, code: int) -> None:
    (error,) = book.out(connection)
    assert isinstance(error, Error)
    assert (error.code, error.channel) == (code, 1)


def test_a_snapshot_comes_in_parts_and_what_waits_comes_behind_it(reading: Playbook) -> None:
    reading.settle_all()
    told = reading.told(3)
    while reading.reads:
        reading.settle_all()
        told += reading.told(3)
    assert told[:2] == [SnapshotChunk(1, 2, b"at"), SnapshotChunk(1, 4, b"e")]
    assert told[-1] == Synced(7, 6)


def test_who_is_sent_a_snapshot_that_is_replaced_must_join_again(reading: Playbook) -> None:
    reading.join(2, channel=2)
    reading.reads.clear()
    reading.say(2, offer(reading, 5, channel=2), PutSnapshot(2, 11, 0, DATA))
    reading.say(2, Trim(2, 12, 5, DIGEST))
    reading.settle_all()
    assert Trimmed(12, TRIM_DONE, 5) in reading.told(2)
    ended(reading, 3, BEHIND_TRIM)
    # What had been asked for it comes when nobody waits any more.
    reading.handle(SnapshotRead("g", 4, 2, b""))
    assert reading.out(3) == []


def test_a_snapshot_that_ends_too_early_is_damage(reading: Playbook) -> None:
    reading.handle(SnapshotRead("g", 4, 2, b""))
    ended(reading, 3, GROUP_DAMAGED)


def test_a_snapshot_that_is_damaged_ends_the_groups_channels(reading: Playbook) -> None:
    reading.handle(ReadFailed("g", "rotten"))
    ended(reading, 3, GROUP_DAMAGED)
    reading.settle_all()
    assert reading.out(3) == []


def test_a_replica_behind_the_floor_gets_the_snapshot(book: Playbook) -> None:
    _, chain = book.store.look_up("g", 2)
    assert chain is not None
    stand = Resume(state(book).incarnation, 2, chain)
    compact(book)
    book.connect(3)
    joined = book.join(3, resume=stand)
    assert joined.position == 4
    assert joined.snapshot is not None


# ---------------------------------------------------------------- deletion


def test_a_deleted_group_is_gone_and_its_channels_end(book: Playbook) -> None:
    compact(book)
    first = state(book).incarnation
    book.out(1)
    book.say(2, DeleteGroup(9, "g"))
    assert book.out(2) == []
    book.commit()
    assert book.out(2) == [GroupDeleted(9, True)]
    ended(book, 1, GROUP_DELETED)
    assert book.store.look_up("g", 0) == (None, None)
    assert book.join(2, channel=3).incarnation != first


def test_a_group_that_is_not_there_is_not_deleted(book: Playbook) -> None:
    book.say(2, DeleteGroup(9, "other"))
    book.answer_lookups()
    assert book.out(2) == [GroupDeleted(9, False)]
    book.join(2, "other", channel=2)
    book.say(2, DeleteGroup(10, "other"))  # it is only joined
    assert book.out(2) == [GroupDeleted(10, False)]


def test_a_group_that_nobody_is_on_is_deleted_too(book: Playbook) -> None:
    for connection in (1, 2):
        book.disconnect(connection)
    book.connect(3)
    book.say(3, DeleteGroup(9, "g"), DeleteGroup(10, "g"))
    book.answer_lookups()
    book.settle_all()
    assert book.out(3) == [GroupDeleted(9, True), GroupDeleted(10, False)]


@pytest.mark.parametrize("full", [False, True])
def test_what_is_said_about_a_group_while_it_is_deleted_waits(full: bool, book: Playbook) -> None:
    _, chain = book.store.look_up("g", 6)
    assert chain is not None
    book.connect(3)
    book.connect(4)
    book.say(2, DeleteGroup(9, "g"))
    book.say(1, submit(7, b"late", settled=6), Sync(1, 1))
    book.say(3, Join(1, "g", None))
    book.say(4, DeleteGroup(10, "g"))
    book.say(2, OfferSnapshot(1, 11, 6, chain, 5, DIGEST))
    if full:
        book.fail()
        book.out(1)
        (error,) = book.out(2)
        assert isinstance(error, Error)
        assert error.code == OVERLOADED
        (joined,) = book.out(3)
        assert isinstance(joined, Joined)
        assert joined.head == 6
        book.settle_all()
        assert book.out(4) == [GroupDeleted(10, True)]
        assert any(entry.group == "g" for batch in book.batches for entry in batch.entries)
    else:
        book.settle_all()
        gone, refused = book.out(1)
        assert isinstance(gone, Error)
        assert gone.code == GROUP_DELETED
        assert refused == Refused(7, CHANNEL_CLOSED, 0)
        (joined,) = book.out(3)
        assert isinstance(joined, Joined)
        assert joined.head == 0
        assert book.out(4) == [GroupDeleted(10, False)]
        assert GroupDeleted(9, True) in book.out(2)


def test_what_was_taken_in_a_deleted_group_stays_taken_and_is_nothing_of_the_next(
    book: Playbook,
) -> None:
    (session,) = [found.session for found in book.store.load().sessions]
    again = submit(6, settled=5, seen=5)
    book.say(1, submit(7, settled=5, condition=STRICT, seen=1))
    book.say(2, DeleteGroup(9, "g"))
    book.settle_all()
    book.restart()
    book.open(1, session)
    book.join(1)
    book.say(1, again, submit(8, settled=5))
    error, taken, refused = book.out(1)
    assert isinstance(error, Error)
    assert (error.code, error.channel) == (GROUP_DELETED, 1)
    assert taken == Taken(6, 6)
    assert refused == Refused(8, CHANNEL_CLOSED, 0)
    book.say(1, AskOutcome(3, session, 6))
    book.settle_all()
    assert book.out(1) == [Outcome(3, OUTCOME_TAKEN, 6)]


def test_a_refusal_of_a_deleted_group_is_judged_anew_in_the_next(book: Playbook) -> None:
    strict = submit(7, b"new", settled=6, condition=STRICT, seen=0)
    book.say(1, strict)
    book.say(2, DeleteGroup(9, "g"))
    book.settle_all()
    book.out(1)
    book.join(1, channel=2)
    book.say(1, strict._replace(channel=2))
    book.settle_all()
    assert book.told(1) == [(1, b"new"), Taken(7, 1)]


def test_what_was_parked_when_a_group_is_deleted_is_refused(book: Playbook) -> None:
    book.open(3)
    book.join(3)
    book.say(2, AskTurn(1, 1))
    book.say(3, submit(1))
    book.connect(4)
    book.say(4, DeleteGroup(9, "g"))
    book.now_ms += 10_000
    book.handle(Ticked())
    book.settle_all()
    gone, refused = book.out(3)
    assert isinstance(gone, Error)
    assert refused == Refused(1, CHANNEL_CLOSED, 0)


def test_what_waits_for_a_deletion_goes_with_its_connection(book: Playbook) -> None:
    book.connect(3)
    book.say(2, DeleteGroup(9, "g"))
    book.say(3, Join(1, "g", None))
    book.disconnect(3)
    book.settle_all()
    assert book.core.output(3, 100) == []


def test_stopping_while_a_deletion_is_decided_obeys_nothing_that_waits_for_it(
    book: Playbook,
) -> None:
    book.say(2, DeleteGroup(9, "g"))
    book.say(1, submit(7, b"late", settled=6), Sync(1, 1))
    book.handle(Stopping())
    book.settle_all()
    assert book.core.stopped
    assert all(not isinstance(said, Refused | Taken) for said in book.out(1))
    assert book.store.look_up("g", 0) == (None, None)


# ---------------------------------------------------------------- asking for snapshots


def compactor(book: Playbook, connection: int) -> None:
    book.handle(Connected(connection))
    book.say(connection, Hello(1, "", ["compact"], None))


def test_a_long_tail_is_announced_to_compactors_and_again_when_it_has_doubled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_module, "TAIL_BYTES_MIN", 300)
    book = Playbook()
    book.author(1)
    book.fill(1, 3)
    compactor(book, 2)
    assert len(book.out(2)) == 1
    asked = []
    for seq in range(4, 40):
        book.fill(1, 1, first_seq=seq)
        asked += [(state(book).log_bytes, said) for said in book.out(2)]
    sizes = [size for size, _ in asked]
    assert {said for _, said in asked} == {WantSnapshot("g")}
    assert 300 < sizes[0] < 400
    assert all(2 * a < b < 2 * a + 100 for a, b in pairwise(sizes))
    compactor(book, 3)
    assert book.out(3)[1:] == [WantSnapshot("g")]
    book.handle(Disconnected(2))
    book.handle(Disconnected(3))
    book.fill(1, 100, first_seq=40)


def test_a_row_of_a_page_tells_of_snapshot_and_tail() -> None:
    plain = GroupState("g", b"i" * 16, 9, b"c" * 16, 5, 3, True, 700, None)
    assert row(plain) == ["g", b"i" * 16, 9, 3, 0, 700, 0, True]
    snapshot = SnapshotState(4, b"c" * 16, 50, b"d" * 32, 300)
    assert row(plain._replace(snapshot=snapshot)) == ["g", b"i" * 16, 9, 3, 4, 400, 50, True]
