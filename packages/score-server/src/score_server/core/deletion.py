"""Deleting a group: everything of it goes, as one commit, and then its channels.

Until that commit is decided the group is *undecided* (``group.py``).  Nothing else is assigned to it
meanwhile, and who joins it waits to learn whether it is this one, or a new one of the same name.
"""

from __future__ import annotations

from ..wire.messages import OVERLOADED, DeleteGroup, Error, GroupDeleted
from .group import Group
from .outgoing import Outgoing
from .peer import Peer
from .residents import Residents
from .sequencer import Sequencer


class Deletions:
    """Obeys ``DeleteGroup``."""

    def __init__(self, sequencer: Sequencer, residents: Residents, out: Outgoing) -> None:
        self._sequencer = sequencer
        self._residents = residents
        self._out = out

    def delete(self, peer: Peer, message: DeleteGroup) -> None:
        """Delete a group, now or when the store has said whether it is there."""
        group = self._residents.groups.get(message.group)
        if group is None:
            self._residents.look_up(message.group, 0, peer, message)
        else:
            self.delete_known(peer, message, group)

    def delete_known(self, peer: Peer, message: DeleteGroup, group: Group | None) -> None:
        """As ``delete``; *group* is None if there is none.  One that is merely joined is none yet."""
        if group is None or not group.begun:
            self._out.say(peer, GroupDeleted(message.request, existed=False))
        elif group.undecided:
            group.defer(peer, message)
        else:
            text = f"the store is full: group {group.name!r} cannot be deleted; try later"
            deleted = GroupDeleted(message.request, existed=True)
            peer.held += 1
            number = self._sequencer.delete(group)
            self._sequencer.answer(peer.number, deleted, Error(OVERLOADED, 0, text), number)
