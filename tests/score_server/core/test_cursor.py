"""How far a cursor may go."""

from __future__ import annotations

from score_server.core.cursor import Cursor, Due, Loading
from score_server.core.group import Group
from score_server.core.peer import Peer
from score_server.stores.base import GroupState, SnapshotState
from score_server.wire.fields import ENTRIES_MAX
from score_server.wire.messages import Synced

POSITIONS = [1, 2, 5, 6]
ENCODED = [b"a" * 10, b"b" * 10, b"c" * 10, b"d" * 10]


def cursor(position: int = 0, head: int = 6) -> Cursor:
    group = Group(GroupState("g", b"i" * 16, head, b"c" * 16), stored=True)
    return Cursor(Peer(1), 1, group, position)


def test_without_grant_or_credit_nothing_is_sent() -> None:
    made = cursor()
    assert not made.wants()
    assert made.take(POSITIONS, ENCODED, 0, 1000) == []


def test_a_grant_reaches_as_far_as_its_reply() -> None:
    made = cursor()
    made.grant = 5
    assert made.wants()
    assert made.take(POSITIONS, ENCODED, 0, 1000) == ENCODED[:3]
    assert made.position == 5
    assert not made.wants()


def test_what_is_granted_costs_no_credit() -> None:
    made = cursor()
    made.grant, made.credit = 2, 15
    assert made.take(POSITIONS, ENCODED, 0, 1000) == ENCODED
    assert made.credit == -5


def test_credit_is_overdrawn_by_one_entry_at_most() -> None:
    made = cursor()
    made.credit = 11
    assert made.wants()
    assert made.take(POSITIONS, ENCODED, 0, 1000) == ENCODED[:2]
    assert made.credit == -9
    assert not made.wants()


def test_a_budget_is_kept_except_for_one_entry() -> None:
    made = cursor()
    made.grant = 6
    assert made.take(POSITIONS, ENCODED, 0, 1) == ENCODED[:1]
    assert made.take(POSITIONS, ENCODED, 1, 20) == ENCODED[1:3]
    assert made.take(POSITIONS, ENCODED, 3, 20) == ENCODED[3:]


def test_no_more_is_taken_at_a_time_than_one_message_holds() -> None:
    many = list(range(1, ENTRIES_MAX + 2))
    made = cursor(head=len(many))
    made.grant = len(many)
    assert len(made.take(many, [b"e"] * len(many), 0, 10**9)) == ENTRIES_MAX
    assert made.position == ENTRIES_MAX


def test_a_reply_is_due_when_its_entries_have_gone() -> None:
    made = cursor(position=2)
    assert not made.reply_is_due()
    made.line = [Due(Synced(1, 5), 5, 1)]
    assert not made.reply_is_due()
    made.position = 5
    assert made.reply_is_due()


SNAPSHOT = SnapshotState(6, b"c" * 16, 3, b"d" * 32, 0)


def test_while_a_snapshot_loads_nothing_else_is_due_and_no_credit_is_needed() -> None:
    made = cursor(position=6)
    made.line = [Due(Synced(1, 6), 6, 1)]
    made.loading = Loading(SNAPSHOT)
    assert made.wants()
    assert not made.reply_is_due()
    assert made.take_chunk() is None
    made.loading.chunk = b"ab"
    assert made.take_chunk() == (0, b"ab")
    made.loading.chunk = b"c"
    assert made.take_chunk() == (2, b"c")
    assert made.loading is None
    assert made.reply_is_due()


def test_a_cursor_is_cut_off_from_what_is_gone() -> None:
    made = cursor(position=6)
    made.loading = Loading(SNAPSHOT)
    made.group.snapshot = SNAPSHOT
    assert not made.is_cut_off()
    made.group.snapshot = SNAPSHOT._replace(position=7)
    assert made.is_cut_off()
    made.loading = None
    assert not made.is_cut_off()
    made.group.floor = 7
    assert made.is_cut_off()
