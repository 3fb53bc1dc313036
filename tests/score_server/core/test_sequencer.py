"""Order and durability, as scripts: what is said, how the disk answers, what comes out."""

from __future__ import annotations

import pytest

from score_server.core.cursor import Cursor
from score_server.core.events import Received
from score_server.core.group import Group
from score_server.core.peer import Peer
from score_server.core.sequencer import Batch, GroupGone, Sequencer
from score_server.core.session import Record, Session
from score_server.core.snapshots import Candidate
from score_server.stores.base import GroupState, NewChunk, NewGroup, NewTrim, StoredOutcome
from score_server.wire.entry import snapshot_digest
from score_server.wire.limits import Limits
from score_server.wire.messages import (
    CHANNEL_CLOSED,
    NOT_FOLLOWING,
    NOT_HEAD,
    OUT_OF_ORDER,
    OUTCOME_EXPIRED,
    OUTCOME_NO,
    OUTCOME_TAKEN,
    OVERLOADED,
    STORE_FULL,
    STRICT,
    TOO_MANY,
    VOIDED,
    AskOutcome,
    AskTurn,
    Bye,
    Error,
    Join,
    Joined,
    Leave,
    OfferSnapshot,
    OpenSession,
    Outcome,
    Refused,
    SessionOpened,
    Sync,
    Synced,
    Taken,
    TurnGranted,
)
from score_server.wire.runs import TakenRun

from .playbook import Playbook, run, submit


@pytest.fixture
def book() -> Playbook:
    return Playbook()


def fatal(book: Playbook, connection: int, code: int) -> str:
    """The connection ends with *code*; returns the text."""
    (error,) = book.out(connection)
    assert isinstance(error, Error)
    assert (error.code, error.channel) == (code, 0)
    assert connection in book.closing
    return error.text


# ---------------------------------------------------------------- runs


def test_a_run_is_taken_as_its_messages_would_be(book: Playbook) -> None:
    one = Playbook()
    for each in (book, one):
        each.author()
    book.say(1, run(1, b"a", b"bc", seen=0), submit(3, b"d"))
    one.say(1, submit(1, b"a"), submit(2, b"bc"), submit(3, b"d"))
    assert book.batch == one.batch
    assert book.batch is not None
    assert [outcome.position for outcome in book.batch.sessions[0].outcomes] == [1, 2, 3]
    book.commit()
    assert book.told(1) == [(1, b"a"), (2, b"bc"), (3, b"d"), TakenRun(1, 1, 2), Taken(3, 3)]
    assert book.store.look_up("g", 3)[0] is not None


def test_a_run_whose_batch_fails_is_refused_one_by_one(book: Playbook) -> None:
    session = book.author()
    book.say(1, run(1, b"a", b"b"))
    book.fail()
    assert book.told(1) == [Refused(1, STORE_FULL, 0), Refused(2, STORE_FULL, 0)]
    peer, author = book.core._peers[1], book.core._sessions[session]
    assert (peer.held, peer.held_bytes, author.outcomes()) == (0, 0, {})
    book.say(1, run(1, b"a", b"b"))
    book.commit()
    assert book.told(1) == [(3, b"a"), (4, b"b"), TakenRun(1, 3, 2)]


def test_a_name_in_a_run_that_is_known_has_its_first_answer_again(book: Playbook) -> None:
    book.author()
    book.say(1, submit(2, b"b"))
    book.commit()
    book.out(1)
    book.say(1, run(1, b"a", b"b", b"c"))
    book.commit()
    assert book.told(1) == [Taken(2, 1), (2, b"a"), (3, b"c"), Taken(1, 2), Taken(3, 3)]


def test_a_run_that_was_settled_is_a_violation(book: Playbook) -> None:
    book.author()
    book.say(1, submit(5, settled=4), run(4, b"a", b"b"))
    assert "seq 4 was declared settled" in fatal(book, 1, OUT_OF_ORDER)


def test_a_run_goes_as_far_as_the_limit_of_unsettled_submissions() -> None:
    book = Playbook(Limits(unsettled_max=3))
    book.author()
    book.say(1, run(1, b"a", b"b", b"c"))
    book.commit()
    assert book.told(1)[-1] == TakenRun(1, 1, 3)
    book.say(1, run(4, b"d", b"e", settled=2))
    assert book.batch is not None
    book.say(1, run(6, b"f", b"g", settled=2))
    assert "3 submissions are not settled" in fatal(book, 1, TOO_MANY)


def test_promised_noes_do_not_count_against_a_run() -> None:
    book = Playbook(Limits(unsettled_max=3))
    session = book.author()
    book.say(1, AskOutcome(1, session, 9), AskOutcome(2, session, 8))
    book.commit()
    book.say(1, run(1, b"a", b"b", b"c"))
    book.commit()
    assert book.told(1)[-1] == TakenRun(1, 1, 3)


# ---------------------------------------------------------------- the commit


def test_nothing_is_told_before_the_commit(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1, b"a"))
    assert book.told(1) == []
    book.commit()
    assert book.told(1) == [(1, b"a"), Taken(1, 1)]


def test_what_arrives_during_a_commit_is_the_next_commit(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1, b"a"))
    first = book.batch
    book.say(1, submit(2, b"b"))
    book.say(1, submit(3, b"c"))
    assert book.batch is first
    book.commit()
    assert book.batch is not None
    assert [entry.position for entry in book.batch.entries] == [2, 3]
    assert book.told(1) == [(1, b"a"), Taken(1, 1)]
    book.commit()
    assert book.told(1) == [(2, b"b"), (3, b"c"), Taken(2, 2), Taken(3, 3)]


def test_one_chunk_is_one_commit(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1), submit(2))
    assert book.batch is not None
    assert len(book.batch.entries) == 2


def test_a_new_group_is_stored_with_its_first_entry(book: Playbook) -> None:
    book.author()
    joined = book.join(1, "h", channel=2)
    book.say(1, submit(1, channel=2))
    assert book.batch is not None
    assert book.batch.new_groups == (NewGroup("h", joined.incarnation),)
    book.commit()
    book.say(1, submit(2, channel=2))
    assert book.batch is not None
    assert book.batch.new_groups == ()


def test_an_entry_carries_the_label_its_author_gave(book: Playbook) -> None:
    book.open(1, label="worker-3")
    book.join(1)
    book.say(1, submit(1))
    book.commit()
    assert b"worker-3" in book.store.read("g", 0, 100)[0][1]


def test_the_disk_must_not_answer_what_it_was_not_asked() -> None:
    sequencer = Sequencer({}, Limits())
    with pytest.raises(AssertionError, match="without an outstanding commit"):
        sequencer.committed()
    with pytest.raises(AssertionError, match="without an outstanding commit"):
        sequencer.failed()
    assert isinstance(sequencer.open, Batch)


# ---------------------------------------------------------------- names


def test_a_name_that_is_sent_again_gets_its_first_answer_again(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1, b"a"))
    book.commit()
    book.out(1)
    book.say(1, submit(1, b"a"))
    assert book.batch is None
    assert book.told(1) == [Taken(1, 1)]


def test_a_name_is_looked_up_before_its_condition_is_judged(book: Playbook) -> None:
    book.author()
    strict = submit(1, b"a", condition=STRICT, seen=0)
    book.say(1, strict, submit(2, b"b"))
    book.commit()
    book.out(1)
    book.say(1, strict)
    assert book.told(1) == [Taken(1, 1)]


def test_a_repeat_is_held_until_the_first_is_durable(book: Playbook) -> None:
    session = book.author()
    book.say(1, submit(1, b"a"))
    book.disconnect(1)
    book.connect(2)
    book.say(2, OpenSession(session), Join(1, "g", None), submit(1, b"a"))
    assert [type(m) for m in book.out(2)] == [SessionOpened, Joined]
    book.commit()
    assert book.told(2) == [(1, b"a"), Taken(1, 1)]
    book.settle_all()
    assert len(book.store.read("g", 0, 100)) == 1


def test_names_survive_a_restart(book: Playbook) -> None:
    session = book.author()
    book.say(1, submit(1, b"a"))
    book.commit()
    book.restart()
    book.open(1, session)
    book.join(1)
    book.say(1, submit(1, b"a"))
    book.settle_all()
    assert book.told(1) == [(1, b"a"), Taken(1, 1)]


def test_a_refusal_is_repeated_even_when_the_head_has_moved(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1), submit(2, condition=STRICT, seen=9))
    book.commit()
    book.out(1)
    book.say(1, submit(3))
    book.commit()
    book.out(1)
    book.say(1, submit(2, condition=STRICT, seen=9))
    assert book.told(1) == [Refused(2, NOT_HEAD, 1)]


def test_a_name_belongs_to_one_group(book: Playbook) -> None:
    book.author()
    book.join(1, "h", channel=2)
    book.say(1, submit(1))
    book.say(1, submit(1, channel=2))
    assert "seq 1 was submitted to group 'g', now to 'h'" in fatal(book, 1, OUT_OF_ORDER)


def test_a_refused_name_belongs_to_one_group_too(book: Playbook) -> None:
    book.author()
    book.join(1, "h", channel=2)
    book.say(1, submit(1, condition=STRICT, seen=9))
    book.say(1, submit(1, channel=2))
    assert "group 'g'" in fatal(book, 1, OUT_OF_ORDER)


def test_a_settled_name_must_not_come_again(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1), submit(2, settled=1))
    book.commit()
    book.out(1)
    book.say(1, submit(1))
    assert "seq 1 was declared settled and came again" in fatal(book, 1, OUT_OF_ORDER)


def test_a_name_cannot_settle_itself(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1, settled=1))
    fatal(book, 1, OUT_OF_ORDER)


def test_settled_names_go_from_the_store_with_the_next_commit(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1))
    book.commit()
    book.say(1, submit(2, settled=1))
    book.commit()
    (state,) = book.store.load().sessions
    assert state.settled == 1
    assert state.outcomes == (StoredOutcome(2, 2, "g", False),)


def test_too_many_unsettled_names_are_a_typed_error() -> None:
    book = Playbook(Limits(unsettled_max=2))
    session = book.author()
    book.say(1, AskOutcome(1, session, 9))  # a no that was asked for does not count
    book.commit()
    book.out(1)
    book.say(1, submit(1), submit(2))
    book.commit()
    assert len(book.out(1)) == 3
    book.say(1, submit(3))
    assert "2 submissions are not settled; this server keeps 2" in fatal(book, 1, TOO_MANY)


def test_a_submission_on_a_channel_that_has_ended_is_refused_unless_it_is_known(
    book: Playbook,
) -> None:
    book.author()
    book.say(1, submit(1))
    book.commit()
    book.out(1)
    book.say(1, Leave(1))
    book.say(1, submit(1), submit(2))
    assert book.told(1) == [Taken(1, 1), Refused(2, CHANNEL_CLOSED, 0)]


# ---------------------------------------------------------------- conditions


def test_strict_is_taken_at_the_head_only(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1, condition=STRICT, seen=0))
    book.commit()
    book.say(1, submit(2, condition=STRICT, seen=1))
    book.commit()
    book.out(1)
    book.say(1, submit(3, condition=STRICT, seen=1))
    assert book.told(1) == [Refused(3, NOT_HEAD, 2)]


def test_strict_is_judged_against_the_assigned_head_and_the_refusal_held(book: Playbook) -> None:
    book.author(1)
    book.author(2)
    book.say(1, submit(1, b"a"))
    book.say(2, submit(1, condition=STRICT, seen=0))
    assert book.told(2) == []
    book.commit()
    assert book.told(2) == [(1, b"a"), Refused(1, NOT_HEAD, 1)]


def test_of_two_strict_ones_at_one_head_one_is_taken(book: Playbook) -> None:
    book.author(1)
    book.author(2)
    for connection in (1, 2):
        book.say(connection, submit(1, condition=STRICT, seen=0))
    book.settle_all()
    assert isinstance(book.out(1)[-1], Taken)
    assert isinstance(book.out(2)[-1], Refused)


def test_a_follower_is_taken_with_its_predecessor_before_either_is_durable(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1, b"a"), submit(2, b"b", follows=1))
    book.commit()
    assert book.told(1) == [(1, b"a"), (2, b"b"), Taken(1, 1), Taken(2, 2)]


def test_a_follower_of_what_was_refused_is_refused_with_it(book: Playbook) -> None:
    book.author(1)
    book.author(2)
    book.say(1, submit(1, b"a"))
    book.say(2, submit(1, condition=STRICT, seen=0), submit(2, follows=1), submit(3, follows=2))
    assert book.out(2) == []  # as long as it is not sure what refused the first
    book.commit()
    assert book.told(2) == [
        (1, b"a"), Refused(1, NOT_HEAD, 1), Refused(2, NOT_FOLLOWING, 0), Refused(3, NOT_FOLLOWING, 0),
    ]  # fmt: skip


def test_a_follower_of_the_unknown_or_the_voided_is_refused(book: Playbook) -> None:
    session = book.author()
    book.say(1, submit(2, follows=1))
    assert book.out(1) == [Refused(2, NOT_FOLLOWING, 0)]
    book.say(1, AskOutcome(1, session, 3), submit(4, follows=3))
    assert book.out(1) == []
    book.commit()
    assert book.out(1) == [Outcome(1, OUTCOME_NO, 0), Refused(4, NOT_FOLLOWING, 0)]


def test_a_follower_of_what_was_taken_and_settled_is_taken(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1))
    book.commit()
    book.out(1)
    book.say(1, submit(2, b"b", settled=1, follows=1))
    book.say(1, submit(3, b"c", settled=1, follows=1))
    book.settle_all()
    assert book.told(1) == [(2, b"b"), (3, b"c"), Taken(2, 2), Taken(3, 3)]


# ---------------------------------------------------------------- outcomes


def test_a_taken_name_is_taken_and_pinned_durably(book: Playbook) -> None:
    session = book.author()
    book.say(1, submit(1))
    book.commit()
    book.out(1)
    book.connect(2)
    book.say(2, AskOutcome(7, session, 1))
    assert book.out(2) == []
    book.commit()
    assert book.out(2) == [Outcome(7, OUTCOME_TAKEN, 1)]
    book.say(1, submit(2, settled=1))
    book.commit()
    book.restart()
    book.connect(2)
    book.say(2, AskOutcome(8, session, 1))  # kept, and known to be kept: no commit is needed
    assert book.batch is None
    assert book.out(2) == [Outcome(8, OUTCOME_TAKEN, 1)]


def test_a_no_is_durable_before_it_is_told_and_stays_no(book: Playbook) -> None:
    session = book.author()
    book.say(1, AskOutcome(1, session, 5))
    assert book.out(1) == []
    book.commit()
    assert book.out(1) == [Outcome(1, OUTCOME_NO, 0)]
    book.restart()
    book.open(1, session)
    book.join(1)
    book.say(1, submit(5))
    assert book.out(1) == [Refused(5, VOIDED, 0)]
    book.say(1, AskOutcome(2, session, 5))
    assert book.out(1) == [Outcome(2, OUTCOME_NO, 0)]


def test_a_submission_that_comes_while_a_no_is_being_written_is_refused_with_it(
    book: Playbook,
) -> None:
    session = book.author()
    book.say(1, AskOutcome(1, session, 1), submit(1))
    assert book.out(1) == []
    book.commit()
    assert book.out(1) == [Outcome(1, OUTCOME_NO, 0), Refused(1, VOIDED, 0)]


def test_a_name_in_flight_is_decided_when_its_commit_is(book: Playbook) -> None:
    session = book.author()
    book.say(1, submit(1))
    book.connect(2)
    book.say(2, AskOutcome(1, session, 1))
    book.commit()
    assert book.out(2) == []  # the pin is in the commit after it
    book.commit()
    assert book.out(2) == [Outcome(1, OUTCOME_TAKEN, 1)]


def test_a_refused_name_is_voided_when_it_is_asked_for(book: Playbook) -> None:
    session = book.author()
    book.say(1, submit(1, condition=STRICT, seen=9), AskOutcome(1, session, 1))
    book.commit()
    assert book.out(1) == [Outcome(1, OUTCOME_NO, 0), Refused(1, NOT_HEAD, 0)]
    book.say(1, submit(1))
    assert book.out(1) == [Refused(1, VOIDED, 0)]


def test_what_is_not_known_any_more_is_expired_never_no(book: Playbook) -> None:
    session = book.author()
    book.say(1, submit(1), submit(2, settled=1))
    book.commit()
    book.out(1)
    book.say(1, AskOutcome(1, session, 1), AskOutcome(2, b"?" * 16, 1))
    assert book.out(1) == [Outcome(1, OUTCOME_EXPIRED, 0), Outcome(2, OUTCOME_EXPIRED, 0)]


def test_noes_are_bounded() -> None:
    book = Playbook(Limits(pinned_max=2))
    session = book.author()
    book.say(1, *(AskOutcome(n, session, n) for n in (1, 2)))
    book.commit()
    assert len(book.out(1)) == 2
    book.say(1, AskOutcome(3, session, 3))
    assert "too many outcomes of this session" in fatal(book, 1, TOO_MANY)


def test_the_oldest_pins_go_from_the_store_too() -> None:
    book = Playbook(Limits(pinned_max=1))
    session = book.author()
    book.say(1, submit(1), submit(2))
    book.commit()
    book.say(1, AskOutcome(1, session, 1), AskOutcome(2, session, 2))
    book.commit()
    book.out(1)
    book.say(1, submit(3, settled=2))
    book.fail()  # and this is not forgotten when the commit fails
    book.say(1, submit(4, settled=2))
    book.commit()
    (state,) = book.store.load().sessions
    assert [outcome.seq for outcome in state.outcomes] == [2, 4]


# ---------------------------------------------------------------- the full disk


def test_a_failed_commit_is_answered_and_leaves_nothing(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1, b"a"))
    book.fail()
    assert book.out(1) == [Refused(1, STORE_FULL, 0)]
    assert book.store.list_groups("", 9) == []
    book.say(1, Sync(1, 1))
    assert book.out(1) == [Synced(1, 0)]


def test_everything_assigned_since_is_taken_back(book: Playbook) -> None:
    book.author(1)
    book.author(2)
    book.say(1, submit(1, b"durable"))
    book.commit()
    book.say(1, submit(2, b"in flight"))
    book.say(1, submit(3, b"waiting"))
    book.say(2, submit(1, condition=STRICT, seen=1))  # refused, by a head that will not be
    book.out(1)
    book.fail()
    assert book.batch is None
    assert book.out(1) == [Refused(2, STORE_FULL, 0), Refused(3, STORE_FULL, 0)]
    assert book.out(2) == [Refused(1, STORE_FULL, 0)]


def test_after_a_failure_the_durable_head_is_the_head_and_positions_go_on(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1, b"a"))
    book.commit()
    book.say(1, submit(2), submit(3))
    book.fail()
    book.out(1)
    book.say(1, submit(4, b"b", condition=STRICT, seen=1))
    book.commit()
    assert book.told(1) == [(4, b"b"), Taken(4, 4)]
    assert [position for position, _, _ in book.store.read("g", 0, 1000)] == [1, 4]


def test_a_refused_name_may_be_sent_again_after_a_failure(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1, b"a"))
    book.fail()
    book.out(1)
    book.say(1, submit(1, b"a"))
    book.commit()
    assert book.told(1) == [(2, b"a"), Taken(1, 2)]


def test_a_refusal_by_a_head_that_never_was_is_judged_anew(book: Playbook) -> None:
    book.author(1)
    book.author(2)
    book.say(1, submit(1))
    strict = submit(1, b"strict", condition=STRICT, seen=0)
    book.say(2, strict)
    book.fail()
    assert book.out(2) == [Refused(1, STORE_FULL, 0)]
    book.say(2, strict)
    book.commit()
    assert book.told(2) == [(2, b"strict"), Taken(1, 2)]


def test_a_refusal_after_a_failure_waits_for_nothing(book: Playbook) -> None:
    book.author()
    book.say(1, submit(1))
    book.fail()
    book.out(1)
    book.say(1, submit(2, condition=STRICT, seen=7))
    assert book.out(1) == [Refused(2, NOT_HEAD, 0)]


def test_a_session_that_could_not_be_stored_is_not_opened(book: Playbook) -> None:
    book.connect(1)
    book.say(1, OpenSession(None))
    book.fail()
    assert "no session can be opened; try later" in fatal(book, 1, OVERLOADED)
    assert book.store.load().sessions == ()


def test_an_outcome_that_could_not_be_settled_is_not_told(book: Playbook) -> None:
    session = book.author()
    book.connect(2)
    book.say(2, AskOutcome(1, session, 1))
    book.fail()
    assert "the outcome cannot be settled; try later" in fatal(book, 2, OVERLOADED)
    book.say(1, submit(1, b"a"))  # so the name is still free
    book.commit()
    assert book.told(1) == [(1, b"a"), Taken(1, 1)]


def test_a_pin_that_failed_takes_back_the_pin_only(book: Playbook) -> None:
    session = book.author()
    book.say(1, submit(1))
    book.commit()
    book.out(1)
    book.connect(2)
    book.say(2, AskOutcome(1, session, 1))
    book.say(1, submit(1))
    assert book.out(1) == [Taken(1, 1)]  # durable long ago, whatever becomes of the pin
    book.fail()
    fatal(book, 2, OVERLOADED)
    book.say(1, submit(1))
    assert book.out(1) == [Taken(1, 1)]


def test_what_a_failed_commit_knew_of_sessions_is_in_the_next(book: Playbook) -> None:
    session = book.author()
    book.open(2)
    book.say(1, submit(1))
    book.say(2, Bye(0))  # ended, in the commit that waits
    book.say(1, submit(2, settled=1))
    book.fail()
    book.say(1, submit(3))
    book.fail()
    book.say(1, submit(4))
    book.commit()
    (state,) = book.store.load().sessions
    assert (state.session, state.settled) == (session, 1)


def test_a_connection_that_has_gone_misses_its_answers(book: Playbook) -> None:
    book.author()
    book.handle(Received(1, submit(1)))
    book.disconnect(1)
    book.commit()
    assert book.core.output(1, 1000) == []


def test_a_turn_is_told_behind_what_is_assigned_and_not_before_it_is_durable(
    book: Playbook,
) -> None:
    book.author(1)
    book.author(2)
    book.say(1, submit(1))
    book.say(2, AskTurn(1, 7))
    assert book.out(2) == []
    book.commit()
    assert book.told(2) == [(1, b"x"), TurnGranted(7, 1)]


# ---------------------------------------------------------------- whole groups


def group_of_one(sequencer: Sequencer) -> Group:
    group = Group(GroupState("g", b"i" * 16, 0, b"i" * 16), stored=False)
    sequencer.sessions[b"s" * 16] = session = Session(b"s" * 16, "", 0)
    for seq in (1, 2):
        sequencer.submit(1, session, "", group, submit(seq, seen=seq - 1), 0)
    sequencer.seal()
    sequencer.committed()
    return group


def candidate(sequencer: Sequencer, group: Group, position: int = 2) -> Candidate:
    cursor = Cursor(Peer(1), 1, group, 0)
    group.cursors[cursor] = None
    offer = OfferSnapshot(1, 1, position, group.durable_chain, 2, snapshot_digest(b"ab"))
    made = group.candidate = Candidate(cursor, offer)
    assert made.take(0, b"ab")
    sequencer.put_chunk(group, NewChunk("g", 0, b"ab"))
    return made


def test_a_commit_may_begin_when_none_is_outstanding_and_it_is_not_held() -> None:
    sequencer = Sequencer({}, Limits())
    group = group_of_one(sequencer)
    assert (sequencer.is_waiting(), sequencer.is_free()) == (False, True)
    session = sequencer.sessions[b"s" * 16]
    sequencer.submit(1, session, "", group, submit(3, seen=2), 0)
    sequencer.held = True
    assert (sequencer.is_waiting(), sequencer.is_free()) == (True, False)
    sequencer.held = False
    assert sequencer.is_free()
    sequencer.seal()
    sequencer.submit(1, session, "", group, submit(4, seen=3), 0)
    assert (sequencer.is_waiting(), sequencer.is_free()) == (False, False)


def test_a_snapshot_and_its_trim_are_one_commit_and_the_hold_is_what_authors_had_seen() -> None:
    sequencer = Sequencer({}, Limits())
    group = group_of_one(sequencer)
    made = candidate(sequencer, group)
    assert sequencer.hold(group) == 0
    trim = NewTrim("g", made.snapshot, 0)
    sequencer.trim(group, trim)
    commit = sequencer.seal()
    assert commit is not None
    assert (commit.chunks, commit.trims) == ((NewChunk("g", 0, b"ab"),), (trim,))
    batch = sequencer.committed()
    assert list(batch.groups()) == [group]
    assert group.snapshot == made.snapshot


def test_all_sessions_are_looked_through_only_if_the_floor_may_rise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sequencer = Sequencer({}, Limits())
    group = group_of_one(sequencer)
    (author,) = sequencer.sessions.values()
    other = sequencer.sessions[b"t" * 16] = Session(b"t" * 16, "", 0)
    other.put(1, Record(2, "g", 0, 2))
    looked, hold = [], Session.hold

    def watched(session: Session, group: str) -> int | None:
        looked.append(session)
        return hold(session, group)

    monkeypatch.setattr(Session, "hold", watched)
    assert (sequencer.hold(group), looked) == (0, [author, other])
    looked.clear()
    assert (sequencer.hold(group), looked) == (0, [author])  # it still holds the floor where it is
    author.settle(1, 8)
    assert sequencer.hold(group) == 1
    sequencer.end(author)
    assert sequencer.hold(group) == 2
    other.settle(1, 8)
    assert sequencer.hold(group) is None


def test_a_dropped_candidate_is_told_to_the_store_though_nobody_waits_for_it() -> None:
    sequencer = Sequencer({}, Limits())
    group = group_of_one(sequencer)
    candidate(sequencer, group)
    for _ in range(2):  # its chunks, and what is only noted
        if sequencer.seal(force=True) is not None:
            sequencer.committed()
    assert sequencer.seal(force=True) is None
    sequencer.drop_candidate(group)
    assert sequencer.seal() is None
    commit = sequencer.seal(force=True)
    assert commit is not None
    assert commit.dropped_candidates == ("g",)


@pytest.mark.parametrize("there", [True, False])
def test_a_whole_candidate_whose_trim_failed_is_one_again_if_its_owner_is_there(
    there: bool,
) -> None:
    sequencer = Sequencer({}, Limits())
    group = group_of_one(sequencer)
    made = candidate(sequencer, group)
    sequencer.seal()
    sequencer.committed()
    sequencer.trim(group, NewTrim("g", made.snapshot, 0))
    sequencer.trim(group, NewTrim("g", None, 1))
    sequencer.seal()
    if not there:
        group.cursors.clear()
    sequencer.failed()
    assert group.candidate is (made if there else None)
    sequencer.put_chunk(group, NewChunk("g", 0, b"ab"))
    commit = sequencer.seal()
    assert commit is not None
    assert commit.dropped_candidates == (() if there else ("g",))


def test_a_candidate_that_lost_a_chunk_goes_and_so_does_one_that_is_dropped() -> None:
    sequencer = Sequencer({}, Limits())
    group = group_of_one(sequencer)
    made = candidate(sequencer, group)
    sequencer.trim(group, NewTrim("g", made.snapshot, 0))
    sequencer.seal()
    sequencer.failed()
    assert group.candidate is None
    sequencer.drop_candidate(group)
    candidate(sequencer, group)
    sequencer.drop_candidate(group)
    commit = sequencer.seal()
    assert commit is not None
    assert (commit.chunks, commit.dropped_candidates) == ((), ("g",))


def test_an_empty_group_that_begins_with_a_snapshot_is_undecided() -> None:
    sequencer = Sequencer({}, Limits())
    group = Group(GroupState("g", b"i" * 16, 0, b"i" * 16), stored=False)
    made = candidate(sequencer, group, 7)
    sequencer.trim(group, NewTrim("g", made.snapshot, 7))
    assert group.undecided == sequencer.open.number


def test_what_was_taken_in_a_deleted_group_is_not_taken_in_the_next() -> None:
    sequencer = Sequencer({}, Limits())
    group = group_of_one(sequencer)
    (session,) = sequencer.sessions.values()
    sequencer.delete(group)
    commit = sequencer.seal()
    assert commit is not None
    assert commit.deleted_groups == ("g",)
    assert [outcome.group for outcome in commit.sessions[0].outcomes] == ["", ""]
    sequencer.committed()
    with pytest.raises(GroupGone):
        sequencer.submit(1, session, "", group, submit(1), 0)
