"""Deleting groups.  What becomes of what is said meanwhile: ``test_snapshots.py``."""

from __future__ import annotations

from score_server.wire.messages import OVERLOADED, DeleteGroup, Error, GroupDeleted

from .playbook import Playbook, submit


def book() -> Playbook:
    made = Playbook()
    made.author(1)
    made.connect(2)
    return made


def test_a_group_in_memory_is_deleted_durably_with_what_is_on_its_way_to_the_disk() -> None:
    made = book()
    made.say(1, submit(1))
    made.say(2, DeleteGroup(9, "g"))
    made.commit()
    assert made.out(2) == []
    made.commit()
    assert made.out(2) == [GroupDeleted(9, True)]
    assert made.store.list_groups("", 9) == []


def test_one_that_comes_into_being_in_the_same_commit_goes_in_it() -> None:
    made = book()
    made.join(1, "h", channel=2)
    made.say(1, submit(1))
    made.say(1, submit(2, channel=2))
    made.say(2, DeleteGroup(9, "h"), DeleteGroup(10, "h"))
    made.settle_all()
    assert made.out(2) == [GroupDeleted(9, True), GroupDeleted(10, False)]
    assert [group.name for group in made.store.list_groups("", 9)] == ["g"]


def test_one_that_is_merely_joined_or_unknown_is_none() -> None:
    made = book()
    made.say(2, DeleteGroup(9, "g"), DeleteGroup(10, "nothing"))
    made.answer_lookups()
    assert made.out(2) == [GroupDeleted(9, False), GroupDeleted(10, False)]


def test_one_that_cannot_be_deleted_is_there_still() -> None:
    made = book()
    made.fill(1, 1)
    made.say(2, DeleteGroup(9, "g"))
    made.fail()
    (error,) = made.out(2)
    assert isinstance(error, Error)
    assert error.code == OVERLOADED
    made.fill(1, 1, first_seq=2)
    assert len(made.store.read("g", 0, 999)) == 2


def test_one_that_cannot_be_read_can_be_deleted() -> None:
    made = book()
    made.fill(1, 1)
    made.core._residents.groups["g"].damage = "rotten"
    made.say(2, DeleteGroup(9, "g"))
    made.commit()
    assert made.out(2) == [GroupDeleted(9, True)]
