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
