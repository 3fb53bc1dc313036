"""What a connection is owed, which channels it has, and what has to wait."""

from __future__ import annotations

from score_server.core.cursor import Cursor
from score_server.core.group import Group
from score_server.core.peer import Peer
from score_server.stores.base import GroupState
from score_server.wire.messages import Error, Join, Ping, Pong, Sync

JOIN = Join(2, "g", None)


def opened(peer: Peer, channel: int) -> Cursor:
    group = Group(GroupState("g", b"i" * 16, 0, b"i" * 16), stored=True)
    cursor = Cursor(peer, channel, group, 0)
    peer.opened(cursor)
    return cursor


def test_output_is_whatever_can_be_sent() -> None:
    peer = Peer(1)
    assert not peer.has_output()
    peer.farewell = Error(11, 0, "bye")
    assert peer.has_output()
    peer.farewell = None
    peer.control = [Pong(1)]
    assert peer.has_output()


def test_everything_owed_is_counted_wherever_it_waits() -> None:
    peer = Peer(1)
    peer.held, peer.lined = 3, 4
    peer.control = [Pong(1)]
    peer.stall(Ping(2))
    assert peer.answers() == 9


def test_joins_are_looked_up_side_by_side_and_all_else_waits_its_turn() -> None:
    peer = Peer(1)
    assert not peer.must_wait(Sync(1, 1))
    peer.wait(JOIN)
    assert not peer.must_wait(JOIN)
    assert peer.must_wait(Sync(1, 1))
    peer.stall(Sync(1, 1))
    assert peer.must_wait(JOIN)


def test_what_waits_waits_once_until_it_is_obeyed() -> None:
    peer = Peer(1)
    for message in (JOIN, Ping(1), JOIN):
        peer.wait(message)
    assert peer.waiting == [JOIN, Ping(1)]
    assert peer.waited(JOIN)
    assert not peer.waited(JOIN)
    assert peer.waited(Ping(1))
    assert peer.waiting == ()


def test_what_was_said_behind_what_waits_goes_on_when_it_may() -> None:
    peer = Peer(1)
    assert peer.next_stalled() is None
    peer.wait(Ping(1))
    peer.stall(Sync(1, 2))
    peer.stall(Sync(1, 3))
    assert peer.next_stalled() is None
    assert peer.waited(Ping(1))
    assert peer.next_stalled() == Sync(1, 2)
    peer.closing = True
    assert peer.next_stalled() is None
    peer.closing = False
    assert peer.next_stalled() == Sync(1, 3)
    assert peer.stalled == ()


def test_a_list_that_is_being_read_holds_back_what_was_said_before_the_channels() -> None:
    peer = Peer(1)
    peer.control = [Pong(1)]
    peer.paging = True
    assert not peer.has_output()


def test_channels_to_be_are_counted_and_what_waits_can_be_forgotten() -> None:
    peer = Peer(1)
    peer.wait(JOIN)
    peer.wait(Ping(1))
    peer.stall(Ping(2))
    assert peer.channels() == 1
    opened(peer, 3)
    assert peer.channels() == 2
    opened(peer, 4)
    assert peer.channels() == 3
    peer.forget_waiting()
    assert not peer.waiting
    assert not peer.stalled


def test_a_channel_is_found_whichever_were_opened_and_closed_before() -> None:
    peer = Peer(1)
    assert (peer.cursor(1), peer.cursors()) == (None, [])
    one = opened(peer, 1)
    assert (peer.cursor(1), peer.cursor(2), peer.cursors()) == (one, None, [one])
    two, three = opened(peer, 2), opened(peer, 3)
    assert [peer.cursor(channel) for channel in (1, 2, 3, 4)] == [one, two, three, None]
    assert peer.cursors() == [one, two, three]
    peer.closed(one)
    peer.closed(two)
    assert (peer.cursor(1), peer.cursor(2), peer.cursors()) == (None, None, [three])
    four = opened(peer, 4)
    assert {peer.cursor(3), peer.cursor(4)} == set(peer.cursors()) == {three, four}


def test_a_channel_that_is_closed_has_nothing_to_send() -> None:
    peer = Peer(1)
    one, two = opened(peer, 1), opened(peer, 2)
    one.is_ready = two.is_ready = True
    peer.ready = [one, two]
    peer.closed(two)
    assert peer.ready == [one]
    peer.closed(one)
    assert peer.ready == ()
    assert not peer.has_output()
