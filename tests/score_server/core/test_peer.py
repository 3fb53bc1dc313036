"""What a connection is owed, and what has to wait."""

from __future__ import annotations

from score_server.core.peer import Peer
from score_server.wire.messages import Error, Join, Ping, Pong, Sync

JOIN = Join(2, "g", None)


def test_output_is_whatever_can_be_sent() -> None:
    peer = Peer(1, 0)
    assert not peer.has_output()
    peer.farewell = Error(11, 0, "bye")
    assert peer.has_output()
    peer.farewell = None
    peer.control.append(Pong(1))
    assert peer.has_output()


def test_everything_owed_is_counted_wherever_it_waits() -> None:
    peer = Peer(1, 0)
    peer.held, peer.lined = 3, 4
    peer.control.append(Pong(1))
    peer.stalled.append(Ping(2))
    assert peer.answers() == 9


def test_joins_are_looked_up_side_by_side_and_all_else_waits_its_turn() -> None:
    peer = Peer(1, 0)
    assert not peer.must_wait(Sync(1, 1))
    peer.waiting.add(JOIN)
    assert not peer.must_wait(JOIN)
    assert peer.must_wait(Sync(1, 1))
    peer.stalled.append(Sync(1, 1))
    assert peer.must_wait(JOIN)


def test_a_list_that_is_being_read_holds_back_what_was_said_before_the_channels() -> None:
    peer = Peer(1, 0)
    peer.control.append(Pong(1))
    peer.paging = True
    assert not peer.has_output()


def test_channels_to_be_are_counted_and_what_waits_can_be_forgotten() -> None:
    peer = Peer(1, 0)
    peer.waiting += [JOIN, Ping(1)]
    peer.stalled.append(Ping(2))
    assert peer.channels() == 1
    peer.forget_waiting()
    assert not peer.waiting
    assert not peer.stalled
