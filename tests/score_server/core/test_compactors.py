"""Whoever makes snapshots is asked for those that are overdue."""

from __future__ import annotations

from score_server.core.compactors import Compactors
from score_server.core.group import TAIL_BYTES_MIN, Group
from score_server.core.outgoing import Outgoing
from score_server.core.peer import Peer
from score_server.stores.base import GroupState
from score_server.wire.limits import Limits
from score_server.wire.messages import WantSnapshot


def group(name: str, log_bytes: int) -> Group:
    return Group(GroupState(name, b"i" * 16, 1, b"c" * 16, log_bytes=log_bytes), stored=True)


def test_who_comes_is_asked_for_what_is_overdue() -> None:
    compactors, peer = Compactors(Outgoing(Limits())), Peer(1)
    overdue = group("long", TAIL_BYTES_MIN + 1)
    compactors.add(peer, [overdue, group("short", TAIL_BYTES_MIN)])
    assert peer.control == [WantSnapshot("long")]
    assert not overdue.wants_snapshot()


def test_all_are_asked_and_those_who_have_gone_are_not() -> None:
    compactors, peers = Compactors(Outgoing(Limits())), [Peer(n) for n in (1, 2, 3)]
    for peer in peers:
        compactors.add(peer, [])
    compactors.remove(peers[0])
    compactors.remove(peers[0])
    compactors.ask(group("g", 1))
    assert [list(peer.control) for peer in peers] == [
        [], [WantSnapshot("g")], [WantSnapshot("g")],
    ]  # fmt: skip


def test_what_nobody_was_asked_for_is_still_wanted() -> None:
    compactors, overdue = Compactors(Outgoing(Limits())), group("g", TAIL_BYTES_MIN + 1)
    compactors.ask(overdue)
    assert overdue.wants_snapshot()
