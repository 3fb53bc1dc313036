"""What is to be told to whom: the one way out of the core.

Nothing is pushed.  What is said waits with its connection (``peer.py``) or with its place in the log
(``cursor.py``) until the shell pulls it, and the connection is *woken* once.
"""

from __future__ import annotations

from ..stores.base import GroupState
from ..wire.limits import Limits
from ..wire.messages import GroupPage, ListGroups
from ..wire.rows import new
from ..wire.runs import Output, TakenRun
from . import snapshots
from .cursor import Cursor, Due
from .events import Effect, LookUp, ReadPage, SliceRead, SnapshotRead
from .feed import REPLY_BYTES, Feed
from .few import plus
from .group import Group
from .peer import Peer

GROUPS_PER_PAGE = 128
# So many positions further on it pays to wake somebody twice.
AHEAD_MIN = 8


class Outgoing:
    """All that waits to be sent, and the effects that it has."""

    def __init__(self, limits: Limits) -> None:
        self.feed = Feed(limits.snapshot_chunk_bytes_max)
        self.effects: list[Effect] = []
        self.woken: dict[int, None] = {}

    def wake(self, peer: Peer) -> None:
        self.woken[peer.number] = None

    def say(self, peer: Peer, message: Output) -> None:
        """Tell *peer* at once, whatever its channels do."""
        peer.control = plus(peer.control, message)
        self.wake(peer)

    def line_up(self, cursor: Cursor, message: Output, needs: int) -> None:
        """Put a reply behind the entries it needs, and allow the cursor as far as that."""
        replies = message.length if type(message) is TakenRun else 1
        cursor.line = plus(cursor.line, new(Due, (message, needs, replies)))
        cursor.peer.lined += replies
        if needs > cursor.grant:
            cursor.grant = needs
        self.stir(cursor)

    def send_ahead(self, peer: Peer, channel: int) -> None:
        """*peer* is going to be answered on *channel*: send what the answer needs by now, if that is much."""
        cursor = peer.cursor(channel)
        assert cursor is not None, "who closes a channel waits for no answer on it"
        head = cursor.group.durable_head
        if head > cursor.grant and head - cursor.position >= AHEAD_MIN:
            cursor.grant = head
            self.stir(cursor)

    def stir(self, cursor: Cursor) -> None:
        """See whether *cursor* has something to send now."""
        if self.feed.stir(cursor):
            peer = cursor.peer
            if not cursor.is_ready:
                cursor.is_ready = True
                peer.ready = plus(peer.ready, cursor)
            self.woken[peer.number] = None
        elif cursor.credit > 0:
            # Who has something to send is told nothing more until it is sent: however many commits it
            # misses meanwhile, it costs them nothing.
            cursor.group.followers[cursor] = None

    def slice_read(self, event: SliceRead) -> Group | None:
        """Hand on a part of the log; the group, if it should have had one and has not."""
        cursors = self.feed.answered(self.feed.slice_of_log(event.group, event.after))
        if cursors and not event.entries:
            return cursors[0].group
        self.feed.hand_slice(cursors, event.entries)
        for cursor in cursors:
            self.stir(cursor)
        return None

    def chunk_read(self, event: SnapshotRead) -> Group | None:
        """Hand on a part of a snapshot; the group, if it should have had one and has not."""
        read = self.feed.part_of_snapshot(event.group, event.position, event.offset)
        cursors = self.feed.answered(read)
        if cursors and not event.data:
            return cursors[0].group
        self.feed.hand_chunk(cursors, event.data)
        for cursor in cursors:
            self.stir(cursor)
        return None

    def look_up(self, lookup: LookUp) -> None:
        """Have the store asked how things stand somewhere."""
        self.effects.append(lookup)

    def take_effects(self) -> list[Effect]:
        if self.feed.reads:
            self.effects += self.feed.reads
            self.feed.reads.clear()
        effects, self.effects = self.effects, []
        return effects

    def output(self, peer: Peer, bytes_max: int) -> list[Output]:
        """What *peer* may be sent now; see ``Core.output``."""
        out: list[Output] = []
        if peer.control:
            bytes_max = self._say_control(peer, bytes_max, out)
        ready = peer.ready
        while ready and bytes_max > 0:
            cursor = ready.pop(0)
            bytes_max = self.feed.serve(cursor, bytes_max, out)
            if (cursor.line or cursor.wants()) and self.feed.stir(cursor):
                ready.append(cursor)
                continue
            cursor.is_ready = False
            if cursor.credit > 0:
                cursor.group.followers[cursor] = None
        peer.ready = ready or ()
        return out

    def _say_control(self, peer: Peer, bytes_max: int, out: list[Output]) -> int:
        """Move what *peer* is to be told at once to *out*; returns what is left of *bytes_max*."""
        control = peer.control
        while control and not peer.paging and bytes_max > 0:
            message = control[0]
            if type(message) is ListGroups:
                # Read only now: a request costs no memory, and a page of groups only while it is sent.
                peer.paging = True
                read = ReadPage(peer.number, message.request, message.after, GROUPS_PER_PAGE + 1)
                self.feed.reads.append(read)
                break
            del control[0]
            out.append(message)
            bytes_max -= REPLY_BYTES
            if type(message) is GroupPage:
                bytes_max -= REPLY_BYTES * len(message.groups)
            elif type(message) is TakenRun:
                bytes_max -= REPLY_BYTES * message.length
        peer.control = control or ()
        return bytes_max

    def page_read(self, peer: Peer, request: int, groups: list[GroupState]) -> None:
        """*peer*'s turn to be told of *groups*, unless it has come to its end meanwhile."""
        if peer.paging:
            assert peer.control, "it is paging for the first of them"
            peer.paging = False
            rows = [snapshots.row(state) for state in groups[:GROUPS_PER_PAGE]]
            peer.control[0] = GroupPage(request, rows, len(groups) > GROUPS_PER_PAGE)
            self.wake(peer)
