"""Connections, channels and groups, as scripts.  Order and durability: ``test_sequencer.py``."""

from __future__ import annotations

import pytest

from score_server.core import core as core_module
from score_server.core import feed, group, outgoing
from score_server.core.events import (
    CloseAfterOutput,
    Committed,
    Connected,
    Disconnected,
    Faulted,
    LookedUp,
    LookUp,
    ReadFailed,
    ReadSlice,
    Received,
    SliceRead,
    SnapshotRead,
    StartCommit,
    Stopping,
    Ticked,
    Wake,
)
from score_server.wire.entry import snapshot_digest
from score_server.wire.limits import Limits
from score_server.wire.messages import (
    BEHIND_TRIM,
    CHANNEL_CLOSED,
    GROUP_DAMAGED,
    GROUP_DELETED,
    GROUP_REPLACED,
    KEPT,
    MALFORMED,
    NOT_HEAD,
    OUT_OF_ORDER,
    OUTCOME_EXPIRED,
    OVERLOADED,
    SESSION_EXPIRED,
    SESSION_FENCED,
    SHUTTING_DOWN,
    STRICT,
    TIMED_OUT,
    TOO_MANY,
    VERSION_UNSUPPORTED,
    AskOutcome,
    AskTurn,
    Bye,
    Credit,
    DeleteGroup,
    EndTurn,
    Entries,
    Error,
    GroupDeleted,
    GroupPage,
    Hello,
    Join,
    Joined,
    Leave,
    ListGroups,
    Message,
    OfferSnapshot,
    OpenSession,
    Outcome,
    Ping,
    Pong,
    PutSnapshot,
    Refused,
    Resume,
    SessionOpened,
    SnapshotChunk,
    SnapshotKept,
    Sync,
    Synced,
    Taken,
    Trim,
    Trimmed,
    TurnGranted,
    WantSnapshot,
    Welcome,
)
from score_server.wire.runs import TakenRun

from .playbook import START_MS, Playbook, run, submit


@pytest.fixture
def book() -> Playbook:
    return Playbook()


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Playbook:
    """A server that keeps next to nothing in memory: catching up goes through the store."""
    monkeypatch.setattr(group, "RECENT_BYTES_MAX", 1)
    monkeypatch.setattr(feed, "SLICE_BYTES_MAX", 100)
    monkeypatch.setattr(feed, "AWAITED_BYTES_MAX", 100)
    return Playbook()


def fatal(book: Playbook, connection: int, code: int) -> str:
    (error,) = book.out(connection)
    assert isinstance(error, Error)
    assert (error.code, error.channel) == (code, 0)
    assert connection in book.closing
    return error.text


def resume(book: Playbook, position: int, name: str = "g") -> Resume:
    """What a replica at *position* holds."""
    state, chain = book.store.look_up(name, position)
    assert state is not None
    assert chain is not None
    return Resume(state.incarnation, position, chain)


# ---------------------------------------------------------------- hello


def test_hello_is_welcomed_with_the_limits_and_the_time(book: Playbook) -> None:
    book.handle(Connected(1))
    book.say(1, Hello(1, "me", [], None))
    assert book.out(1) == [Welcome(1, "playbook", START_MS, [], book.limits)]


def test_another_version_is_told_which_one_is_spoken(book: Playbook) -> None:
    book.handle(Connected(1))
    book.say(1, Hello(2, "me", [], None))
    assert (
        fatal(book, 1, VERSION_UNSUPPORTED) == "version 2 is not spoken here; this server speaks 1"
    )


def test_who_says_nothing_in_time_is_let_go() -> None:
    book = Playbook(Limits(hello_timeout_s=10))
    book.handle(Connected(1))
    book.now_ms += 4000
    book.handle(Connected(2))
    book.handle(Ticked())
    assert book.core.next_deadline_ms() == START_MS + 10_000
    book.now_ms = START_MS + 10_000
    book.handle(Ticked())
    assert fatal(book, 1, TIMED_OUT) == "no Hello in 10 seconds"
    book.say(2, Hello(1, "", [], None))
    book.now_ms += 60_000
    book.handle(Ticked())
    assert 2 not in book.closing


def test_one_connection_too_many_is_told_so() -> None:
    book = Playbook(Limits(connections_max=1))
    book.connect(1)
    book.handle(Connected(2))
    assert "takes 1 connections" in fatal(book, 2, TOO_MANY)
    book.disconnect(2)
    book.disconnect(1)
    book.connect(3)


def test_ping_is_answered_in_line(book: Playbook) -> None:
    book.connect(1)
    book.say(1, Ping(1), Ping(2))
    assert book.out(1) == [Pong(1), Pong(2)]


# ---------------------------------------------------------------- faults


def test_a_fault_of_the_peer_is_its_last_message(book: Playbook) -> None:
    book.author()
    book.say(1, Ping(1))
    book.handle(Faulted(1, MALFORMED, "no frame"))
    book.handle(Faulted(1, MALFORMED, "told already"))
    book.say(1, Ping(2))
    assert fatal(book, 1, MALFORMED) == "no frame"


def test_what_happens_to_a_connection_that_is_not_there_is_ignored(book: Playbook) -> None:
    book.handle(Disconnected(9))
    book.handle(Faulted(9, MALFORMED, ""))
    book.say(9, Ping(1))
    assert book.last_effects == []
    assert not book.core.has_output(9)
    assert not book.core.congested(9)
    assert book.core.output(9, 100) == []


def test_a_faulty_client_costs_nobody_else_anything(book: Playbook) -> None:
    book.author(1)
    book.author(2)
    book.say(2, OpenSession(None))
    assert fatal(book, 2, OUT_OF_ORDER) == "a connection has one session"
    book.say(1, submit(1, b"a"))
    book.commit()
    assert book.told(1) == [(1, b"a"), Taken(1, 1)]


# ---------------------------------------------------------------- sessions


def test_a_session_is_durable_before_it_is_opened(book: Playbook) -> None:
    book.connect(1)
    book.say(1, OpenSession(None))
    assert book.out(1) == []
    book.commit()
    (opened,) = book.out(1)
    assert isinstance(opened, SessionOpened)
    assert [state.session for state in book.store.load().sessions] == [opened.session]


def test_a_commit_that_is_held_begins_with_whatever_is_handled_next(book: Playbook) -> None:
    for connection in (1, 2, 3):
        book.connect(connection)
    said = [Received(connection, OpenSession(None)) for connection in (1, 2, 3)]
    for event in said[:2]:
        assert book.core.handle_all([event], book.now_ms, hold=True) == []
        assert book.core.holds_commit()
    book.handle(said[2])
    assert not book.core.holds_commit()
    book.commit()
    assert len(book.store.load().sessions) == 3
    assert len(book.batches) == 1


def test_a_server_that_stops_holds_no_commit(book: Playbook) -> None:
    for connection in (1, 2):
        book.connect(connection)
        book.say(connection, OpenSession(None))
    book.handle(Stopping())
    assert book.batch is not None
    book.store.commit(book.batch)
    book.batch = None
    book._do(book.core.handle_all([Committed()], book.now_ms, hold=True))
    assert not book.core.stopped
    book.commit()
    assert book.core.stopped
    assert len(book.store.load().sessions) == 2


def test_a_session_that_cannot_be_stored_is_none(book: Playbook) -> None:
    for connection in (1, 2):
        book.connect(connection)
        book.say(connection, OpenSession(None))
    book.disconnect(2)
    book.fail()
    assert "no session can be opened" in fatal(book, 1, OVERLOADED)
    book.disconnect(1)
    book.open(3)
    assert len(book.store.load().sessions) == 1


def test_an_unknown_session_is_expired_never_accepted(book: Playbook) -> None:
    book.connect(1)
    book.say(1, OpenSession(b"?" * 16))
    assert "expired, or another store's" in fatal(book, 1, SESSION_EXPIRED)


def test_a_newer_connection_fences_the_older_before_it_is_answered(book: Playbook) -> None:
    session = book.author(1)
    book.say(1, Ping(1))
    book.connect(2)
    book.say(2, OpenSession(session))
    book.say(1, submit(1))  # was on its way
    assert fatal(book, 1, SESSION_FENCED) == "a newer connection has this session now"
    assert book.out(2) == [SessionOpened(session)]
    assert book.batch is None
    book.disconnect(1)  # and the end of the older is no end of the session
    book.join(2)
    book.say(2, submit(1, b"a"))
    book.commit()
    assert book.told(2) == [(1, b"a"), Taken(1, 1)]


def test_a_session_can_be_taken_over_from_a_connection_that_is_closing(book: Playbook) -> None:
    session = book.author(1)
    book.handle(Faulted(1, MALFORMED, "no frame"))
    assert book.open(2, session) == session
    fatal(book, 1, MALFORMED)


def test_a_submission_needs_a_session(book: Playbook) -> None:
    book.connect(1)
    book.join(1)
    book.say(1, submit(1))
    assert "needs a session" in fatal(book, 1, OUT_OF_ORDER)


def test_sessions_are_bounded() -> None:
    book = Playbook(Limits(sessions_max=1))
    book.open(1)
    book.connect(2)
    book.say(2, OpenSession(None))
    assert "keeps 1 sessions" in fatal(book, 2, TOO_MANY)


def test_bye_ends_a_session_with_nothing_to_ask_for(book: Playbook) -> None:
    session = book.author(1)
    book.say(1, submit(1))
    book.commit()
    book.out(1)
    book.say(1, Bye(1))
    assert 1 in book.closing
    book.disconnect(1)
    book.connect(2)
    book.say(2, AskOutcome(1, session, 1))
    assert book.out(2) == [Outcome(1, OUTCOME_EXPIRED, 0)]
    book.open(3)
    assert session not in [state.session for state in book.store.load().sessions]


def test_bye_keeps_a_session_with_unsettled_outcomes(book: Playbook) -> None:
    session = book.author(1)
    book.say(1, submit(1))
    book.commit()
    book.out(1)
    book.say(1, Bye(0))
    book.disconnect(1)
    assert book.open(2, session) == session


def test_bye_keeps_a_session_whose_outcome_is_not_decided(book: Playbook) -> None:
    session = book.author(1)
    book.say(1, submit(1), Bye(1))
    book.commit()
    assert [state.session for state in book.store.load().sessions] == [session]


def test_bye_without_a_session_only_closes(book: Playbook) -> None:
    book.connect(1)
    book.say(1, Bye(0))
    assert book.last_effects == [CloseAfterOutput(1), Wake(1)]
    assert book.out(1) == []


def test_what_was_answered_before_bye_is_still_sent(book: Playbook) -> None:
    book.author(1)
    book.say(1, submit(1))
    book.commit()
    book.say(1, Bye(0))
    assert book.out(1) == [Taken(1, 1)]


def test_an_unused_session_goes_after_its_retention() -> None:
    book = Playbook(Limits(retention_s=160))
    session = book.author(1)
    book.say(1, submit(1))
    book.commit()
    book.disconnect(1)
    for _ in range(18):
        book.now_ms = book.core.next_deadline_ms()
        book.handle(Ticked())
        book.settle_all()
    assert START_MS + 160_000 <= book.now_ms <= START_MS + 180_000
    assert book.store.load().sessions == ()
    book.connect(2)
    book.say(2, OpenSession(session))
    fatal(book, 2, SESSION_EXPIRED)


def test_a_connected_session_stays_and_a_restart_knows_that_it_was_used() -> None:
    book = Playbook(Limits(retention_s=160))
    session = book.open(1)
    for _ in range(40):
        book.now_ms = book.core.next_deadline_ms()
        book.handle(Ticked())
        book.settle_all()
    assert book.now_ms > START_MS + 320_000
    book.restart()
    book.handle(Ticked())
    assert book.open(2, session) == session


def test_a_session_with_an_undecided_outcome_does_not_expire() -> None:
    book = Playbook(Limits(retention_s=0))
    session = book.author(1)
    book.say(1, submit(1))
    book.disconnect(1)
    book.handle(Ticked())
    book.commit()
    assert [state.session for state in book.store.load().sessions] == [session]
    book.settle_all()
    book.now_ms += 1000
    book.handle(Ticked())
    book.settle_all()
    assert book.store.load().sessions == ()


# ---------------------------------------------------------------- joining


def test_a_group_comes_into_being_by_being_joined_and_goes_when_nobody_is_left(
    book: Playbook,
) -> None:
    book.connect(1)
    book.connect(2)
    first = book.join(1)
    assert (first.position, first.head) == (0, 0)
    assert book.join(2).incarnation == first.incarnation
    book.say(1, Leave(1))
    assert book.join(1, channel=2).incarnation == first.incarnation
    book.disconnect(1)
    book.disconnect(2)
    book.connect(3)
    assert book.join(3).incarnation != first.incarnation


def test_a_group_that_lost_its_only_entry_to_a_full_disk_goes_too(book: Playbook) -> None:
    book.open(1)
    first = book.join(1)
    book.say(1, submit(1), Leave(1))
    book.fail()
    book.out(1)
    assert book.join(1, channel=2).incarnation != first.incarnation


def test_a_replica_resumes_where_it_stands(book: Playbook) -> None:
    book.author(1)
    book.fill(1, 3)
    book.connect(2)
    joined = book.join(2, resume=resume(book, 2))
    assert (joined.position, joined.head) == (2, 3)
    book.say(2, Sync(1, 1))
    assert book.told(2) == [(3, b"3"), Synced(1, 3)]


def test_resuming_at_the_beginning_fits_any_history(book: Playbook) -> None:
    book.author(1)
    book.fill(1, 1)
    book.connect(2)
    assert book.join(2, resume=Resume(b"?" * 16, 0, b"?" * 16)).position == 0


@pytest.mark.parametrize(
    "what", ["incarnation", "chain", "chain at the head", "beyond the head", "gone"]
)
def test_a_replica_of_another_history_is_told_so(what: str, book: Playbook) -> None:
    book.author(1)
    book.fill(1, 3)
    stand = {
        "incarnation": resume(book, 2)._replace(incarnation=b"?" * 16),
        "chain": resume(book, 2)._replace(chain=b"?" * 16),
        "chain at the head": resume(book, 3)._replace(chain=b"?" * 16),
        "beyond the head": resume(book, 3)._replace(position=4),
        "gone": Resume(b"?" * 16, 1, b"?" * 16),
    }[what]
    book.connect(2)
    book.say(2, Join(1, "other" if what == "gone" else "g", stand), Ping(1))
    book.answer_lookups()
    error, pong = book.out(2)
    assert isinstance(error, Error)
    assert (error.code, error.channel) == (GROUP_REPLACED, 1)
    assert "join it afresh" in error.text
    assert pong == Pong(1)  # the channel alone has ended


def test_a_refused_join_makes_no_group(book: Playbook) -> None:
    book.connect(1)
    book.say(1, Join(1, "g", Resume(b"?" * 16, 1, b"?" * 16)))
    book.answer_lookups()
    (error,) = book.out(1)
    assert isinstance(error, Error)
    book.say(1, Join(2, "g", None))
    assert book.reads == [LookUp("g", 0)]


def test_what_is_not_durable_yet_is_no_history(book: Playbook) -> None:
    book.author(1)
    book.fill(1, 1)
    book.say(1, submit(2))
    assert book.batch is not None
    (entry,) = book.batch.entries
    book.connect(2)
    stand = resume(book, 1)._replace(position=entry.position, chain=entry.chain)
    book.say(2, Join(1, "g", stand))
    (error,) = book.out(2)
    assert isinstance(error, Error)
    assert error.code == GROUP_REPLACED


def test_an_old_stand_is_looked_up_and_what_is_said_meanwhile_waits(forgetful: Playbook) -> None:
    book = forgetful
    book.author(1)
    book.fill(1, 3)
    book.connect(2)
    stand = resume(book, 1)
    book.say(2, Join(1, "g", stand), Join(2, "g", stand), Sync(1, 7), Join(3, "g", None), Ping(1))
    assert book.out(2) == []
    assert book.reads == [LookUp("g", 1)]  # once for both
    book.answer_read()
    assert [type(m) for m in book.out(2)] == [Joined, Joined, Joined, Pong]
    book.settle_all()
    assert book.told(2) == [(2, b"2"), (3, b"3"), Synced(7, 3)]


def test_a_wrong_old_stand_is_found_by_looking_it_up(forgetful: Playbook) -> None:
    book = forgetful
    book.open(1)
    book.join(1)
    book.fill(1, 3)
    session = book.open(2)
    assert session
    book.say(
        2,
        Join(1, "g", resume(book, 1)._replace(chain=b"?" * 16)),
        submit(1),
        Sync(1, 1),
        Credit(1, 9),
        Leave(1),
    )
    book.answer_read()
    error, refused = book.out(2)
    assert isinstance(error, Error)
    assert error.code == GROUP_REPLACED
    assert refused == Refused(1, CHANNEL_CLOSED, 0)  # nothing of another history is taken


def test_a_place_where_no_entry_stands_is_no_stand(forgetful: Playbook) -> None:
    book = forgetful
    book.author(1)
    book.fill(1, 3)
    book.connect(2)
    book.say(2, Join(1, "g", resume(book, 1)))
    book.handle(LookedUp("g", 1, book.store.look_up("g", 0)[0], None))
    (error,) = book.out(2)
    assert isinstance(error, Error)
    assert error.code == GROUP_REPLACED


def test_who_leaves_during_the_lookup_is_not_missed(forgetful: Playbook) -> None:
    book = forgetful
    book.author(1)
    book.fill(1, 3)
    for connection in (2, 3):
        book.connect(connection)
        book.say(connection, Join(1, "g", resume(book, 1)))
    book.disconnect(2)
    book.answer_read()
    (joined,) = book.out(3)
    assert isinstance(joined, Joined)


def test_a_connection_that_ends_in_what_it_said_meanwhile_says_no_more(
    forgetful: Playbook,
) -> None:
    book = forgetful
    book.author(1)
    book.fill(1, 3)
    book.connect(2)
    book.say(2, Join(1, "g", resume(book, 1)), submit(1), Ping(1))
    book.answer_read()
    fatal(book, 2, OUT_OF_ORDER)


def test_groups_on_one_connection_are_bounded() -> None:
    book = Playbook(Limits(channels_max=1))
    book.connect(1)
    book.join(1)
    book.say(1, Join(2, "h", None))
    (error,) = book.out(1)
    assert isinstance(error, Error)
    assert (error.code, error.channel) == (TOO_MANY, 2)
    book.say(1, Leave(1))
    book.join(1, "h", channel=3)


# ---------------------------------------------------------------- following


def test_sync_brings_everything_durable_and_no_more(book: Playbook) -> None:
    book.author(1)
    book.fill(1, 2)
    book.connect(2)
    book.join(2)
    assert book.out(2) == []
    book.say(1, submit(3))
    book.say(2, Sync(1, 5))
    assert book.told(2) == [(1, b"1"), (2, b"2"), Synced(5, 2)]
    book.commit()
    assert book.out(2) == []


def test_credit_brings_every_entry_as_it_becomes_durable(book: Playbook) -> None:
    book.author(1)
    book.connect(2)
    book.join(2)
    book.say(2, Credit(1, 1000))
    book.say(1, submit(1, b"a"))
    assert book.out(2) == []
    book.commit()
    assert book.told(2) == [(1, b"a")]
    assert 2 not in book.woken


def test_credit_that_is_used_up_stops_the_stream_until_there_is_more(book: Playbook) -> None:
    book.author(1)
    book.connect(2)
    book.join(2)
    book.say(2, Credit(1, 1))
    book.fill(1, 1)
    assert book.told(2) == [(1, b"1")]
    book.fill(1, 2, first_seq=2)
    assert book.out(2) == []
    book.say(2, Credit(1, 1))  # still overdrawn
    assert book.out(2) == []
    book.say(2, Credit(1, 1000))
    assert book.told(2) == [(2, b"2"), (3, b"3")]


def test_outstanding_credit_is_bounded() -> None:
    book = Playbook(Limits(credit_bytes_max=100))
    book.connect(1)
    book.join(1)
    book.say(1, Credit(1, 60))
    book.say(1, Credit(1, 60), Ping(1))
    error, pong = book.out(1)
    assert isinstance(error, Error)
    assert (error.code, error.channel, pong) == (TOO_MANY, 1, Pong(1))


def test_what_asks_for_no_answer_is_dropped_on_a_channel_that_is_gone(book: Playbook) -> None:
    book.connect(1)
    book.join(1)
    book.say(1, Leave(1), Leave(1), Sync(1, 1), Credit(1, 5))
    assert book.out(1) == []


def test_leaving_stops_the_stream(book: Playbook) -> None:
    book.author(1)
    book.connect(2)
    book.join(2)
    book.say(2, Credit(1, 1000))
    book.say(1, submit(1))
    book.commit()
    book.say(2, Leave(1))
    assert book.out(2) == []


def test_answers_wait_behind_their_own_groups_entries_only(forgetful: Playbook) -> None:
    book = forgetful
    book.author(1)
    book.fill(1, 3)
    book.connect(2)
    book.join(2)
    book.join(2, "h", channel=2)
    book.say(2, Sync(1, 1), Sync(2, 2))
    assert book.out(2) == [Synced(2, 0)]
    book.settle_all()
    assert book.told(2)[-1] == Synced(1, 3)


def test_catching_up_asks_for_slice_after_slice_as_output_is_taken(forgetful: Playbook) -> None:
    book = forgetful
    book.author(1)
    book.fill(1, 20, size=10)
    book.connect(2)
    book.join(2)
    book.say(2, Sync(1, 1))
    assert book.reads == [ReadSlice("g", 0, 100)]
    assert book.core.output(2, 1000) == []
    seen: list[Message] = []
    while book.reads:
        assert len(book.reads) == 1
        book.answer_read()
        seen += book.out(2)
    assert sum(len(m.entries) for m in seen if isinstance(m, Entries)) == 20
    assert seen[-1] == Synced(1, 20)


def test_a_caller_that_does_not_take_the_effects_gets_them_at_the_next_event(
    forgetful: Playbook,
) -> None:
    book = forgetful
    book.handle(Ticked())
    book.author(1)
    book.fill(1, 20, size=10)
    book.connect(2)
    book.join(2)
    book.say(2, Sync(1, 1))
    book.answer_read()
    assert book.core.next_deadline_ms() > START_MS
    book.core.output(2, 1000)
    assert book.core.next_deadline_ms() == START_MS
    book.handle(Ticked())
    assert [type(read) for read in book.reads] == [ReadSlice]


def test_output_keeps_to_its_budget_and_channels_take_turns(book: Playbook) -> None:
    book.author(1)
    book.say(1, *(submit(n, b"%d" % n * 40) for n in range(1, 5)))
    book.commit()
    book.out(1)
    book.connect(2)
    book.join(2)
    book.join(2, channel=2)
    book.say(2, Credit(1, 1000), Credit(2, 1000), Ping(1), Ping(2))
    assert book.pull(2, 1) == [Pong(1)]
    assert book.pull(2, 33) == [Pong(2), Entries(1, [book.store.read("g", 0, 1)[0][1]])]
    first, second = book.pull(2, 100), book.pull(2, 100)
    assert {m.channel for m in first if isinstance(m, Entries)} == {2}
    assert {m.channel for m in second if isinstance(m, Entries)} == {1}
    assert len(book.told(2)) == 8 - 1 - len(first) - len(second)


# ---------------------------------------------------------------- lists


def pages(book: Playbook, connection: int) -> list[GroupPage]:
    found: list[Message] = []
    while book.core.has_output(connection):
        found += book.out(connection)
        book.settle_all()
    assert all(isinstance(page, GroupPage) for page in found)
    return found  # type: ignore[return-value]


def test_groups_are_listed_by_name_once_they_are_durable(
    book: Playbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "GROUPS_PER_PAGE", 2)
    book.open(1)
    for channel, name in enumerate(["pear", "apple", "fig"], 1):
        book.join(1, name, channel)
        book.say(1, submit(channel, channel=channel))
        book.say(1, ListGroups(0, ""))
        book.out(1)
        book.answer_read()
        assert name not in str(book.out(1))
        book.commit()
        book.out(1)
    book.join(1, "empty", 9)
    book.say(1, ListGroups(1, ""), ListGroups(2, "fig"), ListGroups(3, "zebra"))
    found = pages(book, 1)
    names = [(page.request, [row[0] for row in page.groups], page.more) for page in found]
    assert names == [(1, ["apple", "fig"], True), (2, ["pear"], False), (3, [], False)]
    state, _ = book.store.look_up("apple", 0)
    assert state is not None
    assert found[0].groups[0] == [
        "apple", state.incarnation, 1, 0, 0, state.log_bytes, 0, False,
    ]  # fmt: skip
    book.restart()
    book.connect(2)
    book.say(2, ListGroups(1, "apple"))
    (page,) = pages(book, 2)
    assert [row[0] for row in page.groups] == ["fig", "pear"]


def test_what_is_said_behind_a_list_comes_behind_it_and_channels_go_on(book: Playbook) -> None:
    book.author(1)
    book.say(1, ListGroups(1, ""), Ping(1), Sync(1, 2))
    assert book.out(1) == [Synced(2, 0)]
    assert not book.core.has_output(1)
    book.answer_read()
    assert book.out(1) == [GroupPage(1, [], False), Pong(1)]


def test_a_list_that_comes_too_late_is_told_nobody(book: Playbook) -> None:
    for connection in (1, 2):
        book.connect(connection)
        book.say(connection, ListGroups(1, ""))
        book.out(connection)
    book.disconnect(1)
    book.handle(Faulted(2, MALFORMED, "no frame"))
    fatal(book, 2, MALFORMED)
    book.settle_all()
    assert book.out(2) == []


# ---------------------------------------------------------------- damage


def test_a_damaged_group_ends_its_channels_and_no_others(forgetful: Playbook) -> None:
    book = forgetful
    book.author(1)
    book.fill(1, 3)
    book.open(2)
    book.join(2)
    book.join(2, "h", channel=2)
    book.connect(3)
    book.say(3, Join(1, "g", resume(book, 1)))
    book.say(2, submit(1, b"x"))
    book.commit()
    book.say(2, submit(2, condition=STRICT, seen=1), Sync(1, 5))
    book.handle(ReadFailed("g", "group 'g' is damaged after position 2"))
    error, *answers = book.out(2)
    assert error == Error(GROUP_DAMAGED, 1, "group 'g' is damaged after position 2")
    # Answers are given, without the entries; the barrier is answered by the error.
    assert answers == [Taken(1, 4), Refused(2, NOT_HEAD, 4)]
    assert book.out(3) == [error]
    book.say(2, submit(3), submit(4, channel=2))
    assert book.out(2) == [Refused(3, CHANNEL_CLOSED, 0)]
    book.say(2, Join(3, "g", None))
    assert book.out(2) == [error._replace(channel=3)]
    book.settle_all()  # late answers about the damaged group are of no interest
    assert book.told(2) == [(1, b"x"), Taken(4, 1)]


def test_who_is_ended_by_what_damage_lets_be_judged_is_told_no_more(book: Playbook) -> None:
    book.author(1)
    book.author(2)
    book.say(2, submit(2, settled=1))
    book.commit()
    book.out(2)
    book.say(1, AskTurn(1, 7))
    book.say(2, submit(1))  # parked until 1's turn ends with its channel; it was declared settled
    book.handle(ReadFailed("g", "damaged"))
    (error,) = book.out(2)
    assert isinstance(error, Error)
    assert (error.code, error.channel) == (OUT_OF_ORDER, 0)


def test_a_log_that_ends_too_early_is_damage(forgetful: Playbook) -> None:
    book = forgetful
    book.author(1)
    book.fill(1, 3)
    book.connect(2)
    book.join(2)
    book.say(2, Sync(1, 1))
    book.handle(SliceRead("g", 0, []))
    assert book.out(2) == [Error(GROUP_DAMAGED, 1, "group 'g' ends after position 0")]


# ---------------------------------------------------------------- bounds


def test_who_does_not_read_answers_is_not_read_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_module, "ANSWERS_MAX", 3)
    book = Playbook()
    book.author(1)
    book.say(1, submit(1), Ping(1))
    assert not book.core.congested(1)
    book.say(1, Sync(1, 1))
    assert book.core.congested(1)
    book.commit()
    book.out(1)
    assert not book.core.congested(1)


def test_submissions_waiting_for_the_disk_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_module, "HELD_BYTES_MAX", 100)
    monkeypatch.setattr(core_module, "BATCH_BYTES_MAX", 200)
    book = Playbook()
    for connection in (1, 2, 3):
        book.author(connection)
    book.say(1, submit(1, b"x" * 101))
    assert book.core.congested(1)
    book.say(1, submit(2, b"x" * 101))
    book.say(2, submit(1, b"x" * 60))
    assert book.core.congested(2)  # all of them together
    assert not book.core.congested(3)  # who waits for nothing would not be told to go on
    book.settle_all()
    assert not book.core.congested(1)
    assert not book.core.congested(2)


# ---------------------------------------------------------------- the end


def test_stopping_answers_what_is_committed_and_says_goodbye(book: Playbook) -> None:
    book.author(1)
    book.connect(2)
    book.join(2)
    book.say(2, Credit(1, 1000))
    book.say(1, submit(1, b"a"))
    book.say(1, submit(2, b"b"))
    book.handle(Stopping())
    book.handle(Stopping())
    book.say(1, submit(3, b"too late"))
    assert not book.core.stopped
    book.commit()
    assert not book.core.stopped  # what was assigned is still written
    assert book.told(2) == [(1, b"a")]
    book.commit()
    assert book.core.stopped
    goodbye = Error(SHUTTING_DOWN, 0, "this server is stopping; connect again later")
    assert book.told(1) == [(1, b"a"), (2, b"b"), Taken(1, 1), Taken(2, 2), goodbye]
    assert book.told(2)[-1] == goodbye
    assert book.closing == {1, 2}


def test_stopping_writes_down_who_was_there_and_tries_once_only(book: Playbook) -> None:
    session = book.open(1)
    book.now_ms += 5000
    book.handle(Stopping())
    assert book.batch is not None
    assert [(row.session, row.last_used_ms) for row in book.batch.sessions] == [
        (session, START_MS + 5000)
    ]
    book.fail()
    assert book.core.stopped
    assert isinstance(book.out(1)[-1], Error)


def test_stopping_an_idle_server_is_done_at_once(book: Playbook) -> None:
    book.handle(Stopping())
    assert book.core.stopped
    book.handle(Connected(1))
    fatal(book, 1, SHUTTING_DOWN)


def test_stopping_lets_who_is_closing_close(book: Playbook) -> None:
    book.connect(1)
    book.handle(Faulted(1, MALFORMED, "no frame"))
    book.handle(Stopping())
    fatal(book, 1, MALFORMED)


def test_a_stand_that_is_looked_up_when_the_server_stops_is_not_answered_behind_the_goodbye(
    forgetful: Playbook,
) -> None:
    book = forgetful
    book.author(1)
    book.fill(1, 3)
    book.connect(2)
    book.say(2, Join(1, "g", resume(book, 1)))
    book.handle(Stopping())
    book.settle_all()
    (goodbye,) = book.out(2)
    assert isinstance(goodbye, Error)
    assert goodbye.code == SHUTTING_DOWN


def test_who_is_fenced_while_its_stand_is_looked_up_is_told_nothing_more(
    forgetful: Playbook,
) -> None:
    book = forgetful
    book.author(1)
    book.fill(1, 3)
    session = book.open(3)
    book.connect(2)
    book.say(2, Join(1, "g", resume(book, 1)), OpenSession(session))
    book.say(3, Join(1, "g", resume(book, 1)))
    book.settle_all()
    assert [type(message) for message in book.out(2)] == [Joined, SessionOpened]
    (fenced,) = book.out(3)
    assert isinstance(fenced, Error)
    assert fenced.code == SESSION_FENCED


def test_the_goodbye_comes_behind_a_reply_that_waits_for_the_log(forgetful: Playbook) -> None:
    book = forgetful
    book.author(1)
    book.fill(1, 3)
    book.connect(2)
    book.join(2)
    book.say(2, Sync(1, 7))
    assert book.out(2) == []
    book.handle(Stopping())
    book.settle_all()
    told = book.told(2)
    assert told[-2] == Synced(7, 3)
    assert isinstance(told[-1], Error)


def test_what_the_log_brings_behind_the_goodbye_is_not_told(forgetful: Playbook) -> None:
    book = forgetful
    book.author(1)
    book.fill(1, 3)
    book.connect(2)
    book.join(2)
    book.say(2, Credit(1, 1000))
    assert book.out(2) == []
    assert len(book.reads) == 1
    book.handle(Stopping())
    book.commit()
    (goodbye,) = book.out(2)
    assert isinstance(goodbye, Error)
    book.handle(ReadFailed("g", "rotten"))
    assert book.out(2) == []


def test_the_commit_is_started_before_anybody_is_woken(book: Playbook) -> None:
    book.author(1)
    book.say(1, submit(1))
    book.say(1, submit(2))
    book.commit()
    assert [type(effect) for effect in book.last_effects] == [StartCommit, Wake]


# ---------------------------------------------------------------- runs


def test_a_run_of_submissions_is_answered_by_a_run(book: Playbook) -> None:
    book.author()
    book.say(1, run(1, b"a", b"bc"))
    peer = book.core._peers[1]
    assert (peer.held, peer.held_bytes) == (2, 3)
    book.commit()
    assert (peer.held, peer.held_bytes, peer.lined) == (0, 0, 2)
    assert book.told(1) == [(1, b"a"), (2, b"bc"), TakenRun(1, 1, 2)]
    assert (peer.lined, peer.answers()) == (0, 0)


def test_a_run_with_a_name_that_is_known_is_submitted_one_by_one(book: Playbook) -> None:
    book.author()
    book.fill(1, 1)
    book.say(1, run(1, b"1", b"b"))
    book.commit()
    assert book.told(1) == [Taken(1, 1), (2, b"b"), Taken(2, 2)]


def test_a_run_without_a_session_is_one_violation(book: Playbook) -> None:
    book.connect(1)
    book.join(1)
    book.say(1, run(1, b"a", b"b"))
    assert [type(said) for said in book.out(1)] == [Error]


def test_each_of_a_run_on_a_channel_that_is_gone_is_refused(book: Playbook) -> None:
    book.author()
    book.say(1, Leave(1), run(1, b"a", b"b"))
    assert book.out(1) == [Refused(1, CHANNEL_CLOSED, 0), Refused(2, CHANNEL_CLOSED, 0)]


def test_the_answer_to_a_run_is_given_also_when_its_channel_goes(book: Playbook) -> None:
    book.author()
    book.say(1, run(1, b"a", b"b"))
    book.commit()
    book.say(1, Leave(1))
    assert book.out(1) == [TakenRun(1, 1, 2)]
    assert book.core._peers[1].answers() == 0


def test_a_run_waits_for_what_its_author_waits_for(forgetful: Playbook) -> None:
    book = forgetful
    book.author(1)
    book.fill(1, 3)
    book.say(1, Join(2, "g", resume(book, 1)), run(4, b"a", b"b", settled=3), Ping(1))
    assert book.batch is None
    book.settle_all()
    assert book.told(1)[1:] == [Pong(1), (4, b"a"), (5, b"b"), Taken(4, 4), Taken(5, 5)]


def test_a_run_waits_for_what_decides_its_group(book: Playbook) -> None:
    book.author(1)
    book.fill(1, 1)
    book.connect(2)
    book.say(2, DeleteGroup(1, "g"))
    book.say(1, run(2, b"a", b"b", settled=1))
    book.settle_all()
    assert [type(said) for said in book.out(1)] == [Error, Refused, Refused]


# ---------------------------------------------------------------- turns


def turn_book(*, writers: int = 3, limits: Limits | None = None) -> Playbook:
    """Connections 1.. with a session each, all on group "g" with one entry."""
    book = Playbook(limits)
    for connection in range(1, writers + 1):
        book.author(connection)
    book.fill(1, 1)
    return book


def test_a_turn_is_granted_behind_everything_assigned() -> None:
    book = turn_book()
    book.say(1, submit(2, settled=1))
    book.say(2, AskTurn(1, 7))
    assert book.out(2) == []
    book.commit()
    assert book.told(2) == [(1, b"1"), (2, b"x"), TurnGranted(7, 2)]


def test_a_run_waits_for_the_end_of_a_turn_and_ends_its_own() -> None:
    book = turn_book()
    book.say(2, AskTurn(1, 7))
    book.say(3, run(1, b"a", b"b"))
    assert book.batch is None
    book.say(2, run(1, b"mine", b"after"))
    book.commit()
    assert book.told(3)[-2:] == [Taken(1, 3), Taken(2, 4)]
    assert book.told(2)[-2:] == [Taken(1, 2), Taken(2, 5)]


def test_while_a_turn_lasts_others_wait_and_the_holders_change_goes_first() -> None:
    book = turn_book()
    book.say(2, AskTurn(1, 7))
    assert book.out(2)[-1] == TurnGranted(7, 1)
    book.say(3, submit(1, b"later"))
    assert book.batch is None
    book.say(2, submit(1, b"mine", seen=1, condition=STRICT))
    book.commit()
    assert book.out(2)[-1] == Taken(1, 2)
    assert book.out(3)[-1] == Taken(1, 3)


def test_turns_come_in_the_order_asked_for() -> None:
    book = turn_book()
    for connection in (1, 2, 3):
        book.say(connection, AskTurn(1, 7))
    seq = 2
    for position, connection in enumerate((1, 2, 3), 2):
        assert book.out(connection)[-1] == TurnGranted(7, position - 1)
        book.say(connection, submit(seq, seen=position - 1, condition=STRICT, settled=seq - 1))
        book.commit()
        assert Taken(seq, position) in book.out(connection)
        seq = 1
    book.handle(Ticked())
    assert book.core.next_deadline_ms() > book.now_ms + 1000


def test_who_is_next_in_line_is_brought_up_to_date_while_a_turn_lasts() -> None:
    book = turn_book()
    book.fill(1, outgoing.AHEAD_MIN, first_seq=2)
    for connection in (1, 2, 3):
        book.say(connection, AskTurn(1, 7))
    missed = outgoing.AHEAD_MIN + 1
    assert [m.entries for m in book.out(2) if isinstance(m, Entries)] == [
        [encoded for _, encoded, _ in book.store.read("g", 0, 9999)]
    ]
    assert book.out(3) == []
    book.say(1, EndTurn(1))
    assert book.out(2) == [TurnGranted(7, missed)]
    assert len(book.told(3)) == missed


def test_a_dead_holder_costs_the_others_its_lease() -> None:
    book = turn_book(limits=Limits(turn_lease_ms=500))
    book.handle(Ticked())
    book.say(1, AskTurn(1, 7))
    book.say(2, submit(1))
    assert book.core.next_deadline_ms() == book.now_ms + 500
    book.now_ms += 499
    book.handle(Ticked())
    assert book.batch is None
    book.now_ms += 1
    book.handle(Ticked())
    book.commit()
    assert book.out(2)[-1] == Taken(1, 2)
    book.say(1, submit(2, settled=1, seen=1, condition=STRICT))
    assert book.out(1)[-1] == Refused(2, NOT_HEAD, 2)


@pytest.mark.parametrize("how", ["end", "leave", "bye", "gone", "fault"])
def test_a_turn_ends_with_its_holder(how: str) -> None:
    book = turn_book()
    book.say(1, AskTurn(1, 7))
    book.say(1, AskTurn(1, 8))  # its next one: waits behind
    book.say(2, submit(1))
    if how == "end":
        book.say(1, EndTurn(1))
    elif how == "leave":
        book.say(1, Leave(1))
    elif how == "bye":
        book.say(1, Bye(1))
    elif how == "gone":
        book.disconnect(1)
    else:
        book.handle(Faulted(1, MALFORMED, "nonsense"))
    book.commit()
    assert book.out(2)[-1] == Taken(1, 2)


def test_what_a_connection_has_parked_goes_with_it() -> None:
    book = turn_book()
    book.say(1, AskTurn(1, 7))
    book.say(2, submit(1))
    book.say(3, submit(1, b"third"))
    book.disconnect(2)
    book.say(1, EndTurn(1))
    book.commit()
    assert book.told(3) == [(1, b"1"), (2, b"third"), Taken(1, 2)]


def test_a_parked_submission_that_breaks_a_rule_ends_its_connection_only() -> None:
    book = turn_book()
    book.say(1, AskTurn(1, 7))
    book.say(2, submit(5, settled=4))
    book.say(2, submit(3, settled=2))
    book.say(3, submit(1))
    book.say(1, EndTurn(1))
    assert "settled" in fatal(book, 2, OUT_OF_ORDER)
    book.commit()
    assert Taken(1, 3) in book.out(3)


def test_a_parked_submission_whose_channel_was_left_is_refused() -> None:
    book = turn_book()
    book.say(1, AskTurn(1, 7))
    book.say(2, submit(1))
    book.say(2, Leave(1))
    book.say(1, EndTurn(1))
    assert book.out(2)[-1] == Refused(1, CHANNEL_CLOSED, 0)


def test_a_channel_asks_for_one_turn_at_a_time() -> None:
    book = turn_book()
    book.say(1, AskTurn(1, 7))
    book.say(2, AskTurn(1, 7))
    book.say(2, AskTurn(1, 8))
    fatal(book, 2, OUT_OF_ORDER)


def test_turns_on_a_channel_that_is_gone_are_nobodys() -> None:
    book = turn_book()
    book.say(1, Leave(1))
    book.say(1, AskTurn(1, 7), EndTurn(1))
    assert book.out(1) == []
    book.say(2, EndTurn(1))
    assert book.out(2) == []


def test_a_turn_whose_head_was_taken_back_is_granted_all_the_same() -> None:
    book = turn_book()
    book.say(1, submit(2, settled=1))
    book.say(2, AskTurn(1, 7))
    book.fail()
    assert book.out(2)[-1] == TurnGranted(7, 0)


def test_a_turn_still_to_come_goes_with_its_channel() -> None:
    book = turn_book()
    book.say(1, submit(2, settled=1))
    book.say(2, AskTurn(1, 7))
    book.commit()
    book.say(2, Leave(1))
    assert all(not isinstance(message, TurnGranted) for message in book.out(2))


def test_stopping_ends_all_turns() -> None:
    book = turn_book()
    book.say(1, AskTurn(1, 7))
    book.say(2, submit(1))
    book.handle(Stopping())
    book.commit()
    assert book.out(2)[-1] == Error(
        SHUTTING_DOWN, 0, "this server is stopping; connect again later"
    )


def test_one_end_can_bring_about_another_while_turns_are_handed_on() -> None:
    book = turn_book()
    book.join(1, "other", channel=2)
    book.say(1, AskTurn(1, 7), AskTurn(2, 8))
    book.say(2, submit(5, settled=4))
    book.say(2, submit(3, settled=2))
    book.disconnect(1)
    fatal(book, 2, OUT_OF_ORDER)
    book.say(3, submit(1))
    book.commit()
    book.commit()
    assert Taken(1, 3) in book.out(3)


# ---------------------------------------------------------------- whole groups


def compacted(book: Playbook, upto: int = 2) -> None:
    """Connection 9 has made a snapshot of three entries of connection 1, who has settled them."""
    book.author(1)
    book.fill(1, 3)
    book.say(1, submit(4, settled=3, seen=3))
    book.settle_all()
    book.out(1)
    book.handle(Connected(9))
    book.say(9, Hello(1, "", ["compact"], None))
    book.out(9)
    book.join(9)
    _, chain = book.store.look_up("g", upto)
    assert chain is not None
    digest = snapshot_digest(b"state")
    book.say(9, OfferSnapshot(1, 1, upto, chain, 5, digest), PutSnapshot(1, 2, 0, b"state"))
    book.say(9, Trim(1, 3, upto, digest))
    book.settle_all()
    assert Trimmed(3, 0, upto) in book.out(9)


def test_a_snapshot_takes_the_place_of_what_is_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "TAIL_BYTES_MIN", 10)
    book = Playbook()
    compacted(book)
    book.say(9, Ping(1))
    assert book.out(9)[-1] == Pong(1)
    book.connect(2)
    book.join(2)
    book.say(2, Sync(1, 1))
    book.settle_all()
    assert book.told(2) == [SnapshotChunk(1, 0, b"state"), (3, b"3"), (4, b"x"), Synced(1, 4)]
    book.fill(1, 3, first_seq=5)
    assert WantSnapshot("g") in book.out(9)
    book.handle(Connected(8))
    book.say(8, Hello(1, "", ["compact"], None))
    assert book.out(8)[1:] == [WantSnapshot("g")]
    book.connect(3)
    book.join(3)
    book.handle(SnapshotRead("g", 2, 0, b""))
    assert [type(said) for said in book.out(3)] == [Error]


def test_who_stands_behind_what_is_trimmed_must_join_again(book: Playbook) -> None:
    book.connect(2)
    book.join(2)
    compacted(book)
    (error,) = book.out(2)
    assert isinstance(error, Error)
    assert (error.code, error.channel) == (BEHIND_TRIM, 1)


def test_a_deleted_group_ends_its_channels_and_what_waits_for_that_goes_on(
    book: Playbook,
) -> None:
    session = book.author(1)
    book.fill(1, 1)
    book.author(2)
    for connection in (3, 4):
        book.connect(connection)
    book.say(1, AskTurn(1, 1))
    book.say(2, submit(1))  # parked
    book.say(3, DeleteGroup(1, "g"))
    book.say(3, Join(1, "g", None), DeleteGroup(2, "other"))
    book.now_ms += 10_000
    book.handle(Ticked())
    book.say(1, submit(2, settled=0), Ping(5))
    book.settle_all()
    assert [type(said) for said in book.out(1)] == [Error, Pong, Refused]
    assert [type(said) for said in book.out(2)] == [Error, Refused]
    book.settle_all()
    assert [type(said) for said in book.out(3)] == [GroupDeleted, Joined, GroupDeleted]
    book.join(1, channel=2)
    book.say(1, submit(1, channel=2))
    error, taken = book.out(1)
    assert isinstance(error, Error)
    assert (error.code, error.channel) == (GROUP_DELETED, 2)
    assert taken == Taken(1, 1)
    assert session


def test_what_is_looked_up_comes_into_memory_for_whoever_asked(forgetful: Playbook) -> None:
    book = forgetful
    book.author(1)
    book.fill(1, 3)
    _, chain = book.store.look_up("g", 1)
    assert chain is not None
    book.say(1, OfferSnapshot(1, 1, 1, chain, 5, snapshot_digest(b"state")))
    book.say(1, PutSnapshot(1, 2, 0, b"st"))
    book.settle_all()
    assert book.out(1) == [SnapshotKept(1, KEPT, 0), SnapshotKept(2, KEPT, 2)]
    book.disconnect(1)  # and its candidate goes with it
    book.connect(2)
    assert book.join(2).head == 3
    book.disconnect(2)
    book.connect(3)
    book.say(3, DeleteGroup(1, "g"))
    book.settle_all()
    assert book.out(3) == [GroupDeleted(1, True)]


def test_a_deletion_does_not_decide_what_was_assigned_before_it(book: Playbook) -> None:
    book.author(1)
    book.connect(2)
    book.say(1, submit(1))
    book.say(2, DeleteGroup(1, "g"))
    book.commit()
    book.say(1, submit(2))
    assert book.batch is not None
    assert book.batch.entries == ()
    book.commit()
    assert book.out(2) == [GroupDeleted(1, True)]
