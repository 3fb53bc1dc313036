"""A cursor: where one channel stands in its group's log, and how far it may go.

A subscriber is a place in the log, not a queue: catching up and following are the same, and a slow
reader costs no memory.  Entries are sent while ``position <= grant`` (a reply waits there) or while
there is credit; a reply goes out as soon as the cursor stands at or behind what the reply *needs*.
So a reply is always behind the entries it depends on, and never behind another group's.

A channel that begins with a snapshot is *loading* until all of it has been sent; entries and replies come
behind it.  It needs no credit: whoever joins wants it.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from ..stores.base import SnapshotState
from ..wire.fields import ENTRIES_MAX
from ..wire.runs import Output
from .few import Few

if TYPE_CHECKING:
    from .group import Group
    from .peer import Peer


class Due(NamedTuple):
    """A reply in line, or as many *replies* in one message: it goes out when everything up to position
    *needs* has gone."""

    message: Output
    needs: int
    replies: int


class Loading:
    """A snapshot on its way: *offset* bytes of it have been sent, *chunk* is what was read behind them."""

    __slots__ = ("chunk", "offset", "snapshot")

    def __init__(self, snapshot: SnapshotState) -> None:
        self.snapshot = snapshot
        self.offset = 0
        self.chunk: bytes | None = None


class Cursor:
    """One open channel.  *position*: the last entry that was handed out, or the snapshot's."""

    __slots__ = (
        "channel", "credit", "grant", "group", "is_ready", "line", "loading", "log_bytes", "peer", "position",
        "reading", "slice",
    )  # fmt: skip

    def __init__(self, peer: Peer, channel: int, group: Group, position: int) -> None:
        self.peer = peer
        self.channel = channel
        self.group = group
        self.position = position
        self.grant = position
        self.credit = 0
        self.line: Few[Due] = ()
        self.is_ready = False  # it is in its peer's ``ready``
        self.loading: Loading | None = None
        self.reading = False  # a slice, or a part of the snapshot, has been asked for
        self.slice: tuple[list[int], list[bytes]] | None = None  # what was read for it
        # Its group's, when it asked for its latest slice; 0 as soon as it has been fed from memory since.
        self.log_bytes = 0

    def wants(self) -> bool:
        """There is something durable that may be sent."""
        if self.loading is not None:
            return True
        limit = self.group.durable_head if self.credit > 0 else self.grant
        return limit > self.position

    def reply_is_due(self) -> bool:
        if not self.line:
            return False
        return self.line[0].needs <= self.position and self.loading is None

    def is_cut_off(self) -> bool:
        """Its next entry, or the rest of its snapshot, is gone."""
        if self.loading is not None and self.loading.snapshot != self.group.snapshot:
            return True
        return self.position < self.group.floor

    def take_chunk(self) -> tuple[int, bytes] | None:
        """Move over what has been read of the snapshot: its offset and bytes; None if it is to be read."""
        loading = self.loading
        assert loading is not None
        if loading.chunk is None:
            return None
        offset, chunk = loading.offset, loading.chunk
        loading.offset, loading.chunk = offset + len(chunk), None
        if loading.offset >= loading.snapshot.size:
            self.loading = None
        return offset, chunk

    def take(
        self, positions: list[int], encoded: list[bytes], start: int, bytes_max: int
    ) -> list[bytes]:
        """Move over the entries from index *start* on: as many as are allowed and fit into one
        message, and at least one if one is allowed."""
        stop = min(len(positions), start + ENTRIES_MAX)
        granted = bisect_right(positions, self.grant, start, stop)
        taken = encoded[start:granted]
        if taken and (granted == stop or self.credit <= 0) and sum(map(len, taken)) <= bytes_max:
            self.position = positions[granted - 1]
            return taken
        taken = []
        for index in range(start, stop):
            size = len(encoded[index])
            if taken and size > bytes_max:
                break
            if positions[index] > self.grant:
                if self.credit <= 0:
                    break
                self.credit -= size
            taken.append(encoded[index])
            bytes_max -= size
            self.position = positions[index]
        return taken
