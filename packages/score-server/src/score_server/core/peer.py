"""A connection as the core sees it: what it may still be sent, and what it has to wait for."""

from __future__ import annotations

from ..wire.messages import Join, Message
from ..wire.runs import Output
from .cursor import Cursor
from .few import Few
from .session import Session

# Answers that one connection may leave unread before it is no longer read from; and the bytes of
# its submissions that wait for the disk.  Generous for pipelining, small against 4,096 connections.
ANSWERS_MAX = 1024
HELD_BYTES_MAX = 8 * 1024 * 1024


class Peer:
    """One connection.  ``Core`` owns it; nothing here knows of other connections."""

    __slots__ = (
        "closing", "control", "cursors", "farewell", "held", "held_bytes", "label", "lined", "number",
        "paging", "ready", "session", "since_ms", "stalled", "waiting",
    )  # fmt: skip

    def __init__(self, number: int, now_ms: int) -> None:
        self.number = number
        self.since_ms = now_ms
        self.closing = False  # whatever it still says does not count
        self.label = ""
        self.session: Session | None = None
        self.control: Few[Output] = Few()  # to be sent at once, whatever the channels do
        self.paging = False  # the first of them is a ListGroups whose groups are being read
        self.farewell: Message | None = None  # after everything else that can be sent
        self.cursors: dict[int, Cursor] = {}
        self.ready: dict[int, Cursor] = {}  # channels with something to send, in turn
        # What cannot be obeyed before something is looked up or a commit is decided; and what was said
        # since: order is kept by waiting.
        self.waiting: Few[Message] = Few()
        self.stalled: Few[Message] = Few()
        self.held = 0  # answers that wait for a commit
        self.held_bytes = 0
        self.lined = 0  # answers in the cursors' lines

    def has_output(self) -> bool:
        if self.ready or (self.control and not self.paging):
            return True
        return self.farewell is not None and self.farewell_is_due()

    def farewell_is_due(self) -> bool:
        """The last message is all that is left: no reply waits, not even for a slice of the log."""
        return (
            self.farewell is not None
            and not (self.control or self.ready)
            and not any(cursor.line for cursor in self.cursors.values())
        )

    def answers(self) -> int:
        """Answers owed, wherever they wait, and requests not looked at yet."""
        return self.held + self.lined + len(self.control) + len(self.stalled)

    def must_wait(self, message: Message) -> bool:
        """Whether *message* has to wait until what is waiting has been obeyed."""
        return bool(self.waiting) and (bool(self.stalled) or not isinstance(message, Join))

    def channels(self) -> int:
        """Channels that it has, or will have if its joins succeed."""
        return len(self.cursors) + sum(isinstance(message, Join) for message in self.waiting)

    def forget_waiting(self) -> None:
        """What it said and nobody obeyed has not been said."""
        self.waiting.clear()
        self.stalled.clear()
