"""Snapshots: what the server believes of a group's state, which it cannot fold itself.

Clients fold.  One uploads what it got as a *candidate*, chunk by chunk; then it, or another, folds again
independently and says what *that* has as its digest (``Trim``).  Only when both agree does the candidate
become the group's *snapshot*, and entries before it go, as one commit.  So a bug in one fold costs
nothing: the snapshot that was there, and the log behind it, stand until two folds agree.

Rules
-----
- There is one candidate of a group, the latest; it belongs to the channel that offered it, and goes with it.
- Entries that an author may still have to be told stay, and those of a group that keeps everything.
- An empty group can begin with a snapshot of another group (an import).  Its chain is then that of an
  "entry" with the snapshot's digest: which entries there were before, nobody knows here.
- Verdicts, like all answers, are held until what they rest on is durable.

Rejected: comparing the candidates of two clients (both would have to be stored); trimming as soon as a
candidate is whole (one bug in a container's code would be the end of the data).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ..stores.base import GroupState, NewChunk, NewTrim, SnapshotState
from ..wire.entry import SNAPSHOT_DIGEST_BYTES, next_chain
from ..wire.messages import (
    BROKEN,
    KEPT,
    KEPT_FULL,
    SUPERSEDED,
    TRIM_DIFFERS,
    TRIM_DONE,
    TRIM_FULL,
    TRIM_UNKNOWN,
    UNKNOWN_PLACE,
    OfferSnapshot,
    PutSnapshot,
    SnapshotKept,
    Trim,
    Trimmed,
)

if TYPE_CHECKING:
    from .cursor import Cursor
    from .group import Group
    from .peer import Peer
    from .residents import Residents
    from .sequencer import Sequencer

# An empty group may begin up to here: so the positions behind it are never used up.
IMPORT_POSITION_MAX = 2**62


class Candidate:
    """A snapshot on its way in: *received* bytes of it are assigned, the last of them in commit *number*.

    *imports*: it was offered for a group without entries.
    """

    __slots__ = ("_hash", "imports", "number", "owner", "received", "snapshot")

    def __init__(self, owner: Cursor, offer: OfferSnapshot) -> None:
        self.owner = owner
        self.imports = not owner.group.assigned_head
        log_bytes = owner.group.log_bytes
        self.snapshot = SnapshotState(
            offer.position, offer.chain, offer.size, offer.digest, log_bytes
        )
        self.received = 0
        self.number = 0
        self._hash = hashlib.blake2b(digest_size=SNAPSHOT_DIGEST_BYTES)

    def take(self, offset: int, data: bytes) -> bool:
        """Take the next bytes; False if they are not the next, too many, or the whole is not what was
        offered."""
        if offset != self.received or offset + len(data) > self.snapshot.size:
            return False
        self._hash.update(data)
        self.received += len(data)
        return not self.is_whole or self._hash.digest() == self.snapshot.digest

    @property
    def is_whole(self) -> bool:
        return self.received == self.snapshot.size


class Snapshots:
    """Judges what clients say of snapshots.  On a channel that is gone nothing is judged: its Error says
    all."""

    def __init__(self, sequencer: Sequencer, residents: Residents) -> None:
        self._sequencer = sequencer
        self._residents = residents

    def offer(self, peer: Peer, message: OfferSnapshot, chain: bytes | None) -> None:
        """Begin a candidate, if it says more than what there is.  *chain* is the one at its position, if
        that has been looked up."""
        cursor = self._cursor(peer, message)
        if cursor is None:
            return
        group = cursor.group
        if not group.assigned_head and message.position <= IMPORT_POSITION_MAX:
            chain = group.incarnation
        elif not group.floor <= message.position <= group.durable_head:
            chain = b""  # equal to none
        elif chain is None:
            chain = group.known_chain(message.position)
        if chain is None:
            self._residents.look_up(group.name, message.position, peer, message)
            return
        standing, other = group.assigned_snapshot, group.candidate
        verdict = KEPT
        peer.held += 1
        if (standing is not None and standing.position >= message.position) or (
            other is not None
            and other.owner is not cursor
            and other.snapshot.position > message.position
        ):
            verdict = SUPERSEDED
        elif message.chain != chain:
            verdict = UNKNOWN_PLACE
        else:
            self._sequencer.drop_candidate(group)
            group.candidate = Candidate(cursor, message)
        self._tell(cursor, message.request, verdict, 0, group.number)

    def put(self, peer: Peer, message: PutSnapshot) -> None:
        """Take the next chunk of the channel's candidate."""
        cursor = self._cursor(peer, message)
        if cursor is None:
            return
        group, candidate, size = cursor.group, cursor.group.candidate, len(message.data)
        peer.held += 1
        peer.held_bytes += size
        if candidate is None or candidate.owner is not cursor:
            verdict = BROKEN if candidate is None else SUPERSEDED
            self._tell(cursor, message.request, verdict, 0, group.number, size)
        elif candidate.take(message.offset, message.data):
            chunk = NewChunk(group.name, message.offset, message.data)
            candidate.number = self._sequencer.put_chunk(group, chunk)
            received = candidate.received
            self._tell(cursor, message.request, KEPT, received, candidate.number, size)
        else:
            self._sequencer.drop_candidate(group)
            self._tell(cursor, message.request, BROKEN, 0, candidate.number, size)

    def _cursor(self, peer: Peer, message: OfferSnapshot | PutSnapshot | Trim) -> Cursor | None:
        """Where *message* belongs; None if nowhere, or not before it is decided what the group is."""
        cursor = peer.cursor(message.channel)
        if cursor is not None and cursor.group.undecided:
            cursor.group.defer(peer, message)
            return None
        return cursor

    def _tell(
        self, cursor: Cursor, request: int, verdict: int, kept: int, number: int, size: int = 0
    ) -> None:
        self._sequencer.answer(
            cursor.peer.number,
            SnapshotKept(request, verdict, kept),
            SnapshotKept(request, KEPT_FULL, 0),
            number,
            size,
        )

    def trim(self, peer: Peer, message: Trim) -> None:
        """Make the candidate the snapshot if a second fold has given the same, and let entries go."""
        cursor = self._cursor(peer, message)
        if cursor is None:
            return
        peer.held += 1
        group = cursor.group
        candidate, standing = group.candidate, group.assigned_snapshot
        verdict, number = TRIM_UNKNOWN, group.number
        if (
            candidate is not None
            and candidate.owner is cursor  # another's may be wrong, or not what was folded here
            and candidate.is_whole
            and candidate.snapshot.position == message.position
        ):
            verdict, number = self._trim_to_candidate(group, candidate, message)
        elif standing is not None and standing.position == message.position:
            verdict = TRIM_DIFFERS
            if standing.digest == message.digest:
                verdict, floor = TRIM_DONE, self._floor(group, standing.position)
                if floor > group.assigned_floor:
                    number = self._sequencer.trim(group, NewTrim(group.name, None, floor))
        self._sequencer.answer(
            cursor.peer.number,
            Trimmed(message.request, verdict, group.assigned_floor),
            Trimmed(message.request, TRIM_FULL, group.floor),
            number,
        )

    def _trim_to_candidate(
        self, group: Group, candidate: Candidate, message: Trim
    ) -> tuple[int, int]:
        """The verdict, and the number of the commit that it rests on."""
        snapshot = candidate.snapshot
        if (
            candidate.imports and group.assigned_head
        ):  # somebody was faster: it is not empty any more
            self._sequencer.drop_candidate(group)
            return TRIM_UNKNOWN, max(group.number, candidate.number)
        if message.digest != snapshot.digest:
            self._sequencer.drop_candidate(group)
            return TRIM_DIFFERS, candidate.number
        floor = snapshot.position
        if candidate.imports:
            chain = next_chain(group.incarnation, snapshot.digest)
            snapshot = snapshot._replace(chain=chain)
        else:
            floor = self._floor(group, floor)
        return TRIM_DONE, self._sequencer.trim(group, NewTrim(group.name, snapshot, floor))

    def _floor(self, group: Group, position: int) -> int:
        """Up to where entries may go, with a snapshot at *position*."""
        if group.keep:
            return group.assigned_floor
        hold = self._sequencer.hold(group)
        floor = position if hold is None else min(position, hold)
        return max(floor, group.assigned_floor)


def row(state: GroupState) -> list[object]:
    """A group as a page of groups shows it."""
    snapshot = state.snapshot
    tail = state.log_bytes - (snapshot.log_bytes if snapshot else 0)
    position, size = (snapshot.position, snapshot.size) if snapshot else (0, 0)
    return [
        state.name, state.incarnation, state.head, state.floor, position, tail, size, state.keep,
    ]  # fmt: skip
