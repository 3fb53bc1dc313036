"""Who makes snapshots when asked to, and when they are asked.

A group whose log has grown long against its snapshot is *overdue* (``group.py``).  Every compactor is told,
once, and again when the log has doubled: one of them may be gone, or busy with another.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..wire.messages import WantSnapshot
from .group import Group
from .outgoing import Outgoing
from .peer import Peer

COMPACT = "compact"  # the feature by which a client says that it is one


class Compactors:
    """Those who are connected."""

    def __init__(self, out: Outgoing) -> None:
        self._out = out
        self._peers: dict[int, Peer] = {}

    def add(self, peer: Peer, groups: Iterable[Group]) -> None:
        """*peer* is one, and told of those *groups* that are overdue."""
        self._peers[peer.number] = peer
        for group in groups:
            if group.is_overdue():
                self._out.say(peer, WantSnapshot(group.name))
                group.ask_later()

    def remove(self, peer: Peer) -> None:
        """*peer* has come to its end, whatever it was."""
        self._peers.pop(peer.number, None)

    def ask(self, group: Group) -> None:
        """Ask for a snapshot of *group*, if there is anybody to ask."""
        for peer in self._peers.values():
            self._out.say(peer, WantSnapshot(group.name))
            group.ask_later()
