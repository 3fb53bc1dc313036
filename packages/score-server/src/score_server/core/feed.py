"""Feeding cursors: from memory where it reaches, from the store where it does not.

Output is pulled.  ``stir`` finds out whether a cursor has something to send; if its next entry is not in
memory it asks the store for a slice, once for all cursors that stand at the same place.  ``serve``
hands out what there is.  A snapshot is read in the same way, a part at a time.

What was asked for may be of no interest any more when it comes: those who waited have gone, with the
entries or with the group.  So an answer counts only for who still waits for it (``answered``).

Bounds: each group's recent entries (``group.py``); those of all groups together, the longest unchanged
go first; and the slices that lagging cursors hold.  A slice that had to go is read again.
"""

from __future__ import annotations

from bisect import bisect_right

from ..wire.messages import Entries, SnapshotChunk
from ..wire.rows import new
from ..wire.runs import Output
from .cursor import Cursor
from .events import Read, ReadSlice, ReadSnapshot
from .group import Group

# A commit may have to wait for the reading of one.  The slowest hundredth of the sets beside the making of a
# snapshot of 100,000 entries took 2.2 ms with 32 KiB, 1.0 with 8.  But a call that waits for the end of a log is to wait
# for few of them: 580,000 entries a second come with 32 KiB, 450,000 with 8.  And who reads is to catch up with who
# writes, and may get one slice for each commit, or for each turn of all followers: a slice is also twice as long as
# what was written since the one before, up to ``PART_BYTES_MAX``.
SLICE_BYTES_MAX = 8 * 1024
AWAITED_BYTES_MAX = 32 * 1024
RECENT_BYTES_TOTAL_MAX = 64 * 1024 * 1024
# A part of a snapshot is quickly read: nothing in it has to be looked at one by one.
PART_BYTES_MAX = 256 * 1024
SLICES_TOTAL_MAX = 256  # 2 to 8 MiB of the usual slices, or 64 of the longest
# One Entries message is at most this long (or one entry), well inside a frame; see also ENTRIES_MAX.
ENTRIES_BYTES_MAX = 1024 * 1024
REPLY_BYTES = 32  # what a reply counts for in the output's budget


Feedable = ReadSlice | ReadSnapshot


class Feed:
    """The entries that cursors are fed with.  ``reads``: what is to be asked of the store."""

    def __init__(self, chunk_bytes_max: int = SLICE_BYTES_MAX) -> None:
        self._chunk_bytes_max = chunk_bytes_max
        self.reads: list[Read] = []
        self._waiting: dict[Feedable, list[Cursor]] = {}
        self._holders: dict[Cursor, None] = {}  # cursors with a slice, the oldest first
        self._cached: dict[
            Group, int
        ] = {}  # groups with recent entries, the longest unchanged first
        self._cached_bytes = 0

    # ------------------------------------------------------------ memory

    def note_published(self, group: Group) -> None:
        """*group* has new recent entries: keep the sum of all groups' bounded."""
        self._cached_bytes += group.recent.size - self._cached.pop(group, 0)
        self._cached[group] = group.recent.size
        while self._cached_bytes > RECENT_BYTES_TOTAL_MAX:
            oldest, size = next(iter(self._cached.items()))
            del self._cached[oldest]
            self._cached_bytes -= size
            oldest.recent = type(oldest.recent)(oldest.durable_head)

    def let_go(self, group: Group) -> None:
        """*group* leaves memory."""
        self._cached_bytes -= self._cached.pop(group, 0)

    def forget(self, cursor: Cursor) -> None:
        """*cursor* is closed."""
        cursor.slice = None
        if cursor.loading is not None:
            cursor.loading.chunk = None
        self._holders.pop(cursor, None)

    def slice_of_log(self, group: str, after: int) -> ReadSlice:
        """What is asked of the store for a cursor that stands at *after*, or more of it."""
        return ReadSlice(group, after, SLICE_BYTES_MAX)

    def part_of_snapshot(self, group: str, position: int, offset: int) -> ReadSnapshot:
        """What is asked for one that has *offset* bytes of the snapshot at *position*."""
        return ReadSnapshot(group, position, offset, min(self._chunk_bytes_max, PART_BYTES_MAX))

    def answered(self, read: Feedable) -> list[Cursor]:
        """The store has answered *read*: those who wait for it and are still there."""
        waiting = self._waiting.pop(read, [])
        waiting = [cursor for cursor in waiting if cursor in cursor.group.cursors]
        for cursor in waiting:
            cursor.reading = False
        return waiting

    def hand_slice(self, cursors: list[Cursor], entries: list[tuple[int, bytes, bytes]]) -> None:
        """Give *cursors* the entries that they wait for."""
        part = ([position for position, _, _ in entries], [encoded for _, encoded, _ in entries])
        for cursor in cursors:
            cursor.slice = part
            self._hold(cursor)

    def hand_chunk(self, cursors: list[Cursor], data: bytes) -> None:
        """Give *cursors* the part of their snapshot that they wait for."""
        for cursor in cursors:
            assert cursor.loading is not None, "who waits for a part of a snapshot loads one"
            cursor.loading.chunk = data
            self._hold(cursor)

    def _hold(self, cursor: Cursor) -> None:
        self._holders[cursor] = None
        if len(self._holders) > SLICES_TOTAL_MAX:
            self.forget(next(iter(self._holders)))

    def drop(self, group: Group) -> None:
        """*group* cannot be read: nobody waits for it any more."""
        for read in [read for read in self._waiting if read.group == group.name]:
            del self._waiting[read]

    # ------------------------------------------------------------ output

    def stir(self, cursor: Cursor) -> bool:
        """Whether *cursor* has something to send now; if not, see to it that it will."""
        if cursor.line and cursor.reply_is_due():
            return True
        if not cursor.wants():
            return False
        read: Feedable
        if (loading := cursor.loading) is not None:
            if loading.chunk is not None:
                return True
            read = self.part_of_snapshot(cursor.group.name, cursor.position, loading.offset)
        elif cursor.position >= cursor.group.recent.after or self._source(cursor) is not None:
            return True
        else:
            read = self.slice_of_log(cursor.group.name, cursor.position)
        if not cursor.reading:
            cursor.reading = True
            enough = self._enough(cursor, read)
            waiting = self._waiting.setdefault(read, [])
            if not waiting:
                self.reads.append(enough)
            waiting.append(cursor)
        return False

    def _enough(self, cursor: Cursor, read: Feedable) -> Feedable:
        """*read*, of a length with which *cursor* comes nearer to the head."""
        if isinstance(read, ReadSnapshot):
            return read
        now, before = cursor.group.log_bytes, cursor.log_bytes
        cursor.log_bytes = now
        written = now - before if before else 0
        least = AWAITED_BYTES_MAX if cursor.line else SLICE_BYTES_MAX
        return read._replace(bytes_max=min(max(least, 2 * written), PART_BYTES_MAX))

    def serve(self, cursor: Cursor, bytes_max: int, out: list[Output]) -> int:
        """Move what *cursor* has, entries before the replies that need them, to *out* until
        *bytes_max* are used up; returns the rest."""
        line = cursor.line
        while bytes_max > 0:
            if line and cursor.reply_is_due():
                message, _, replies = line.pop(0)
                out.append(message)
                cursor.peer.lined -= replies
                bytes_max -= REPLY_BYTES * replies
                continue
            if cursor.loading is not None:
                part = cursor.take_chunk()
                if part is None:
                    break
                self._holders.pop(cursor, None)
                out.append(SnapshotChunk(cursor.channel, *part))
                bytes_max -= len(part[1])
                continue
            source = self._source(cursor) if cursor.wants() else None
            if source is None:
                break
            taken = cursor.take(*source, min(bytes_max, ENTRIES_BYTES_MAX))
            assert taken, "a cursor was let go beyond what is durable"
            out.append(new(Entries, (cursor.channel, taken)))
            bytes_max -= sum(map(len, taken))
        cursor.line = line or ()
        return bytes_max

    def _source(self, cursor: Cursor) -> tuple[list[int], list[bytes], int] | None:
        """Lists of positions and entries, and where in them *cursor* goes on; None: read first."""
        recent = cursor.group.recent
        start = recent.start(cursor.position)
        if start is not None:
            if cursor.slice is not None:
                self.forget(cursor)
            cursor.log_bytes = 0
            return recent.positions, recent.encoded, start
        if cursor.slice is not None:
            positions, encoded = cursor.slice
            start = bisect_right(positions, cursor.position)
            if start < len(positions):
                return positions, encoded, start
            self.forget(cursor)
        return None
