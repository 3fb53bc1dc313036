"""Which groups are in memory, and who waits for one to come in.

A group is *resident* while somebody is on it or something of it is under way; otherwise the store
knows all about it, and it is looked up when it is named again.  So memory is bounded by what is in use,
not by what is stored.

What is looked up is a group together with a place in it, once for all who want to know the same.  An answer
says how things stood when the store gave it.  That is how they stand, if the group is not resident: it
becomes so before anything of it can be changed, and stays until all of that is decided, and what the
store says comes in the order in which the store did it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..stores.base import GroupState
from ..wire.messages import Message
from .events import LookUp
from .group import Group
from .peer import Peer

Waiting = list[tuple[Peer, Message]]


class Residents:
    """The groups in memory.  *new_id* gives 16 fresh random bytes; *ask* has the store asked."""

    def __init__(self, new_id: Callable[[], bytes], ask: Callable[[LookUp], None]) -> None:
        self._ask = ask
        self.groups: dict[str, Group] = {}
        self._new_id = new_id
        self._lookups: dict[tuple[str, int], Waiting] = {}

    def make(self, name: str, *, keep: bool) -> Group:
        """A new group, not resident yet: it is one when somebody joins it."""
        incarnation = self._new_id()
        return Group(GroupState(name, incarnation, 0, incarnation, keep=keep), stored=False)

    def admit(self, state: GroupState) -> Group:
        """The group as it is stored, which becomes resident."""
        group = self.groups[state.name] = Group(state, stored=True)
        return group

    def admit_unreadable(self, name: str) -> Group:
        """A group of which no more can be said than that it is there."""
        return self.admit(GroupState(name, bytes(16), 0, bytes(16)))

    # ------------------------------------------------------------ looking up

    def look_up(self, name: str, position: int, peer: Peer, message: Message) -> None:
        """Have *message* of *peer* wait until the store has said how things stand at *position* in
        group *name*."""
        peer.wait(message)
        waiting = self._lookups.setdefault((name, position), [])
        waiting.append((peer, message))
        if len(waiting) == 1:
            self._ask(LookUp(name, position))

    def looked_up(self, name: str, position: int) -> Waiting:
        """Those who waited for this."""
        return self._lookups.pop((name, position), [])

    def cannot_be_read(self, name: str) -> Waiting:
        """Those who wait for anything of group *name*."""
        keys = [key for key in self._lookups if key[0] == name]
        return [entry for key in keys for entry in self.looked_up(*key)]


def still(waiting: Iterable[tuple[Peer, Message]]) -> Iterator[tuple[Peer, Message]]:
    """Of *waiting*, one by one, what is to be obeyed now: those who said it have not come to their end."""
    for peer, message in waiting:
        if peer.waited(message):
            yield peer, message
