"""Where a joining replica goes on, and the channel on which it does.

It goes on from its own stand if its history is the group's: the same incarnation, and the same chain at its
place.  It begins anew, with the snapshot if there is one, if it has nothing yet or what it would need next
is gone.  A stand of another history is refused, never merged.
"""

from __future__ import annotations

from ..wire.limits import Limits
from ..wire.messages import (
    GROUP_DAMAGED,
    GROUP_REPLACED,
    TOO_MANY,
    Error,
    Join,
    Joined,
    Resume,
    SnapshotInfo,
)
from .cursor import Cursor, Loading
from .group import Group
from .outgoing import Outgoing
from .peer import Peer
from .residents import Residents

AFRESH = b"afresh"
NEVER = b""  # equal to no chain


def stand(group: Group, resume: Resume | None) -> bytes | None:
    """The chain that a replica must hold to go on from *resume*; None: the store knows.

    ``NEVER`` if nothing it holds would do, ``AFRESH`` if it has to begin anew.
    """
    if resume is None:
        return AFRESH
    if resume.position == 0:  # fits every history, and asks for the whole log of this one
        whole = resume.incarnation == group.incarnation and not group.floor
        return resume.chain if whole else AFRESH
    if resume.incarnation != group.incarnation or resume.position > group.durable_head:
        return NEVER
    if resume.position < group.floor:
        return AFRESH
    return group.known_chain(resume.position)


class Joins:
    """Opens channels."""

    def __init__(self, limits: Limits, residents: Residents, out: Outgoing) -> None:
        self._limits = limits
        self._residents = residents
        self._out = out

    def join(self, peer: Peer, message: Join) -> None:
        """Open a channel of *peer*, now or when the store has said how the group stands."""
        if peer.channels() >= self._limits.channels_max:
            text = f"{self._limits.channels_max} groups on one connection are the limit"
            self._out.say(peer, Error(TOO_MANY, message.channel, text))
            return
        group = self._residents.groups.get(message.group)
        if group is None:
            position = message.resume.position if message.resume else 0
            self._residents.look_up(message.group, position, peer, message)
        else:
            self.enter(peer, message, group, None)

    def enter(self, peer: Peer, message: Join, group: Group | None, chain: bytes | None) -> None:
        """As ``join``, with what is known by now: *group* is None if there is none yet, *chain* if the
        one at the place of *message* has not been looked up."""
        if group is None:
            group = self._residents.make(message.group, keep=message.keep)
        if group.undecided:
            group.defer(peer, message)
            return
        if group.damage is not None:
            self._out.say(peer, Error(GROUP_DAMAGED, message.channel, group.damage))
            return
        resume = message.resume
        known = stand(group, resume)
        if known is None:
            known = chain
        if resume is None or known is AFRESH:
            self._residents.groups[group.name] = group
            self._open(peer, message.channel, group, None)
        elif known is None:
            self._residents.look_up(group.name, resume.position, peer, message)
        elif known == resume.chain:
            self._open(peer, message.channel, group, resume.position)
        else:
            text = (
                f"the history of group {group.name!r} is not the one that this replica holds up to "
                f"position {resume.position}; join it afresh"
            )
            self._out.say(peer, Error(GROUP_REPLACED, message.channel, text))

    def _open(self, peer: Peer, channel: int, group: Group, position: int | None) -> None:
        """*position*: where it goes on; None: at the beginning, with the snapshot if there is one."""
        snapshot = group.snapshot if position is None else None
        if position is None:
            position = snapshot.position if snapshot else 0
        cursor = Cursor(peer, channel, group, position)
        peer.opened(cursor)
        group.cursors[cursor] = None
        info = None
        if snapshot is not None:
            info = SnapshotInfo(snapshot.chain, snapshot.size, snapshot.digest)
            cursor.loading = Loading(snapshot)
        joined = Joined(channel, group.incarnation, position, group.durable_head, info)
        self._out.say(peer, joined)
        self._out.stir(cursor)
