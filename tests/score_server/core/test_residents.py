"""Which groups are in memory, and who waits for one."""

from __future__ import annotations

from score_server.core.events import LookUp
from score_server.core.peer import Peer
from score_server.core.residents import Residents, still
from score_server.stores.base import GroupState
from score_server.wire.messages import Join

from .playbook import Playbook, submit

STATE = GroupState("g", b"i" * 16, 3, b"c" * 16)


def residents() -> tuple[Residents, list[LookUp]]:
    asked: list[LookUp] = []
    return Residents(lambda: b"n" * 16, asked.append), asked


def test_the_same_place_is_looked_up_once_for_all_who_want_to_know() -> None:
    made, asked = residents()
    one, two = Peer(1), Peer(2)
    first, second, other = (Join(channel, "g", None) for channel in (1, 2, 3))
    made.look_up("g", 0, one, first)
    made.look_up("g", 0, two, second)
    made.look_up("g", 5, two, other)
    assert asked == [LookUp("g", 0), LookUp("g", 5)]
    assert list(still(made.looked_up("g", 0))) == [(one, first), (two, second)]
    assert (one.waiting, two.waiting) == ((), [other])
    assert made.looked_up("g", 0) == []


def test_who_has_come_to_its_end_waits_no_more() -> None:
    made, _ = residents()
    peer = Peer(1)
    made.look_up("g", 0, peer, Join(1, "g", None))
    peer.forget_waiting()
    assert list(still(made.looked_up("g", 0))) == []


def test_all_who_wait_for_a_group_learn_that_it_cannot_be_read() -> None:
    made, _ = residents()
    peer = Peer(1)
    for position, name in ((0, "g"), (5, "g"), (0, "h")):
        made.look_up(name, position, peer, Join(position + 1, name, None))
    assert [message.channel for _, message in made.cannot_be_read("g")] == [1, 6]  # type: ignore[union-attr]
    assert len(made.looked_up("h", 0)) == 1


def test_a_group_is_as_it_is_stored_or_new_or_unreadable() -> None:
    made, _ = residents()
    new = made.make("n", keep=True)
    assert (new.incarnation, new.keep, new.stored, made.groups) == (b"n" * 16, True, False, {})
    assert made.admit(STATE) is made.groups["g"]
    assert made.groups["g"].durable_head == 3
    assert made.admit_unreadable("bad").stored


def test_groups_that_nobody_uses_are_not_in_memory() -> None:
    book = Playbook()
    book.author(1)
    for channel in range(2, 50):
        book.join(1, f"group {channel}", channel)
        book.say(1, submit(channel, channel=channel, settled=channel - 1))
    book.settle_all()
    assert len(book.core._residents.groups) == 49
    book.disconnect(1)
    assert book.core._residents.groups == {}
    assert len(book.store.list_groups("", 99)) == 48
    book.connect(2)
    assert book.join(2, "group 7").head == 1


def test_a_group_stays_until_what_is_under_way_is_decided() -> None:
    book = Playbook()
    book.author(1)
    book.say(1, submit(1))
    book.disconnect(1)
    assert set(book.core._residents.groups) == {"g"}
    book.commit()
    assert not book.core._residents.groups
