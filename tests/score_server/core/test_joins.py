"""Where a joining replica goes on."""

from __future__ import annotations

import pytest

from score_server.core.group import Group
from score_server.core.joins import AFRESH, NEVER, stand
from score_server.stores.base import GroupState, SnapshotState
from score_server.wire.limits import Limits
from score_server.wire.messages import (
    GROUP_DAMAGED,
    GROUP_REPLACED,
    TOO_MANY,
    DeleteGroup,
    Error,
    Join,
    Joined,
    Message,
    Resume,
    SnapshotInfo,
)

from .playbook import Playbook

INC, CHAIN = b"i" * 16, b"c" * 16
SNAPSHOT = SnapshotState(5, b"s" * 16, 3, b"d" * 32, 0)


def group() -> Group:
    return Group(GroupState("g", INC, 9, CHAIN, floor=4, snapshot=SNAPSHOT), stored=True)


@pytest.mark.parametrize(
    ("resume", "chain"),
    [
        (None, AFRESH),
        (Resume(b"?" * 16, 0, CHAIN), AFRESH),
        (Resume(INC, 0, INC), AFRESH),
        (Resume(b"?" * 16, 9, CHAIN), NEVER),
        (Resume(INC, 10, CHAIN), NEVER),
        (Resume(INC, 3, CHAIN), AFRESH),
        (Resume(INC, 4, CHAIN), None),
        (Resume(INC, 5, CHAIN), b"s" * 16),
        (Resume(INC, 9, CHAIN), CHAIN),
    ],
)
def test_a_stand_is_good_if_the_history_is_the_groups(
    resume: Resume | None, chain: bytes | None
) -> None:
    assert stand(group(), resume) == chain


def test_whoever_names_the_beginning_of_a_whole_log_gets_all_of_it() -> None:
    whole = Group(GroupState("g", INC, 9, CHAIN, floor=0, snapshot=SNAPSHOT), stored=True)
    assert stand(whole, Resume(INC, 0, INC)) == INC
    assert stand(whole, Resume(b"?" * 16, 0, INC)) == AFRESH
    assert stand(whole, None) == AFRESH


@pytest.fixture
def book() -> Playbook:
    """Three entries in a group that nobody is on."""
    book = Playbook(Limits(channels_max=1))
    book.author(1)
    book.fill(1, 3)
    book.disconnect(1)
    book.connect(2)
    return book


def joined(book: Playbook, resume: Resume | None, group: str = "g") -> Message:
    book.say(2, Join(1, group, resume))
    assert len(book.reads) == 1
    book.answer_lookups()
    (answer,) = book.out(2)
    return answer


def at(book: Playbook, position: int) -> Resume:
    state, chain = book.store.look_up("g", position)
    assert state is not None
    assert chain is not None
    return Resume(state.incarnation, position, chain)


def test_a_group_comes_in_from_the_store_where_the_replica_stands(book: Playbook) -> None:
    stand = at(book, 2)
    assert joined(book, stand) == Joined(1, stand.incarnation, 2, 3, None)
    book.say(2, Join(2, "g", None))
    (error,) = book.out(2)
    assert isinstance(error, Error)
    assert error.code == TOO_MANY


def test_a_place_that_memory_does_not_know_is_looked_up_in_a_group_that_it_has(
    book: Playbook,
) -> None:
    stand = at(book, 1)
    assert isinstance(joined(book, None), Joined)
    book.connect(2 + 1)
    book.say(3, Join(1, "g", stand._replace(chain=b"?" * 16)))
    book.answer_lookups()
    (error,) = book.out(3)
    assert isinstance(error, Error)
    assert error.code == GROUP_REPLACED


def test_a_group_that_is_made_by_a_join_begins_empty(book: Playbook) -> None:
    answer = joined(book, None, "new")
    assert isinstance(answer, Joined)
    assert (answer.position, answer.head, answer.snapshot) == (0, 0, None)


def test_a_damaged_group_is_refused(book: Playbook) -> None:
    book.core._residents.admit_unreadable("g").damage = "rotten"
    book.say(2, Join(1, "g", None))
    assert book.out(2) == [Error(GROUP_DAMAGED, 1, "rotten")]


def test_who_joins_while_the_group_is_deleted_waits_for_that(book: Playbook) -> None:
    book.open(3)
    book.join(3)
    book.say(3, DeleteGroup(1, "g"))
    book.say(2, Join(1, "g", None))
    assert book.out(2) == []
    book.settle_all()
    (answer,) = book.out(2)
    assert isinstance(answer, Joined)
    assert answer.head == 0


def test_a_snapshot_is_announced_with_what_it_is() -> None:
    book = Playbook()
    book.core._residents.groups["g"] = group()
    book.connect(1)
    book.say(1, Join(1, "g", None))
    assert book.out(1) == [Joined(1, INC, 5, 9, SnapshotInfo(b"s" * 16, 3, b"d" * 32))]
