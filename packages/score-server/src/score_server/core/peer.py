"""A connection as the core sees it: what it may still be sent, and what it has to wait for."""

from __future__ import annotations

from ..wire.messages import Join, Message
from ..wire.runs import Output
from .cursor import Cursor
from .few import Few, minus, plus
from .session import Session

# Answers that one connection may leave unread before it is no longer read from; and the bytes of
# its submissions that wait for the disk.  Generous for pipelining, small against 4,096 connections.
ANSWERS_MAX = 1024
HELD_BYTES_MAX = 8 * 1024 * 1024


class Peer:
    """One connection.  ``Core`` owns it; nothing here knows of other connections."""

    __slots__ = (
        "_first", "_others", "closing", "control", "farewell", "held", "held_bytes", "label", "lined", "number",
        "paging", "ready", "session", "stalled", "waiting",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.closing = False  # whatever it still says does not count
        self.label = ""
        self.session: Session | None = None
        self.control: Few[Output] = ()  # to be sent at once, whatever the channels do
        self.paging = False  # the first of them is a ListGroups whose groups are being read
        self.farewell: Message | None = None  # after everything else that can be sent
        # Its channels.  Most have one, and a dict of one is three times a peer.
        self._first: Cursor | None = None
        self._others: dict[int, Cursor] | None = None
        self.ready: Few[Cursor] = ()  # with something to send, in turn
        # What cannot be obeyed before something is looked up or a commit is decided; and what was said
        # since: order is kept by waiting.
        self.waiting: Few[Message] = ()
        self.stalled: Few[Message] = ()
        self.held = 0  # answers that wait for a commit
        self.held_bytes = 0
        self.lined = 0  # answers in the cursors' lines

    # ------------------------------------------------------------ channels

    def cursor(self, channel: int) -> Cursor | None:
        """Where *channel* stands, if it is open."""
        first = self._first
        if first is not None and first.channel == channel:
            return first
        return self._others.get(channel) if self._others is not None else None

    def cursors(self) -> list[Cursor]:
        """All that are open."""
        first = [self._first] if self._first is not None else []
        return [*first, *self._others.values()] if self._others is not None else first

    def opened(self, cursor: Cursor) -> None:
        if self._first is None:
            self._first = cursor
        else:
            if self._others is None:
                self._others = {}
            self._others[cursor.channel] = cursor

    def closed(self, cursor: Cursor) -> None:
        if cursor is self._first:
            self._first = None
        else:
            assert self._others is not None, "it was open"
            del self._others[cursor.channel]
        if cursor.is_ready:
            self.ready = minus(self.ready, cursor)

    def channels(self) -> int:
        """Channels that it has, or will have if its joins succeed."""
        joining = sum(isinstance(message, Join) for message in self.waiting)
        return joining + (self._first is not None) + len(self._others or ())

    # ------------------------------------------------------------ what it is owed

    def has_output(self) -> bool:
        if self.ready or (self.control and not self.paging):
            return True
        return self.farewell is not None and self.farewell_is_due()

    def farewell_is_due(self) -> bool:
        """The last message is all that is left: no reply waits, not even for a slice of the log."""
        return (
            self.farewell is not None
            and not (self.control or self.ready)
            and not any(cursor.line for cursor in self.cursors())
        )

    def answers(self) -> int:
        """Answers owed, wherever they wait, and requests not looked at yet."""
        return self.held + self.lined + len(self.control) + len(self.stalled)

    # ------------------------------------------------------------ what has to wait

    def must_wait(self, message: Message) -> bool:
        """Whether *message* has to wait until what is waiting has been obeyed."""
        return bool(self.waiting) and (bool(self.stalled) or not isinstance(message, Join))

    def wait(self, message: Message) -> None:
        """*message* cannot be obeyed yet; whoever can obey it asks ``waited`` first."""
        if message not in self.waiting:
            self.waiting = plus(self.waiting, message)

    def waited(self, message: Message) -> bool:
        """*message* waits no longer; whether it did until now."""
        if message not in self.waiting:
            return False
        self.waiting = minus(self.waiting, message)
        return True

    def stall(self, message: Message) -> None:
        """*message* was said behind what waits."""
        self.stalled = plus(self.stalled, message)

    def next_stalled(self) -> Message | None:
        """What comes next of what was said behind what waited, if it need not wait any more."""
        if not self.stalled or self.closing or self.must_wait(self.stalled[0]):
            return None
        message = self.stalled.pop(0)
        self.stalled = self.stalled or ()
        return message

    def forget_waiting(self) -> None:
        """What it said and nobody obeyed has not been said."""
        self.waiting = self.stalled = ()
