"""One connection between its bytes and the core: all that its two movers do alike, and no I/O.

``sweeper.py`` moves the bytes of many sockets in one task, ``link.py`` those of one stream in tasks of its
own.  What the bytes mean, which mistakes end the connection, and what its log lines say is here.

Rules
-----
- Output is pulled, not pushed: the core is asked for as much as one send should hold, so a
  slow reader costs no memory, and what piled up while it could not be sent goes out as one.
- Before more is read the core is asked whether this peer is owed too much (``Hub.congested``).
- Once the core has said that this connection ends, what the peer still says is thrown away, and all that
  is left to send has ``CLOSING_S_MAX``.
- Closing a socket with unread input makes the kernel send a reset, which can destroy the ``Error``
  on its way.  So after the last send only our direction is closed, and input is read and dropped
  until the peer closes too, or its time to linger is up.  A server that stops waits less: a client
  outside a call closes only at its next one, and a reset tells it as much.
"""

from __future__ import annotations

import logging

import trio

from ..core.events import Event, Faulted, Received
from ..wire.connection import CONNECTION_CLOSED, NEED_DATA, Connection
from ..wire.errors import RemoteProtocolError
from ..wire.messages import SESSION_EXPIRED, SESSION_FENCED, SHUTTING_DOWN, Entries, Error, Hello
from ..wire.runs import SubmitRun
from .hub import Hub
from .log import logger

# Messages of one connection given to the core in one step; then it is asked about congestion.
EVENTS_MAX = 64
# Submissions read as one; and so many of them take the time of one other message.
RUN_MAX = 512
RUN_PER_EVENT = 8
CLOSING_S_MAX = 5.0
LINGER_S_MAX = 2.0
LINGER_WHEN_STOPPING_S_MAX = 0.2
# Ends that are nobody's mistake are no warnings.
LEVELS = {
    SHUTTING_DOWN: logging.DEBUG,
    SESSION_FENCED: logging.INFO,
    SESSION_EXPIRED: logging.INFO,
}


class Endpoint:
    """A connection of the server.  Exists for the hub from its construction to its end.

    *number* is never used twice; *name* says in the log who it is.
    """

    __slots__ = (
        "_connection", "_hub", "_is_ending", "is_asking", "name", "number",
    )  # fmt: skip

    def __init__(self, hub: Hub, number: int, name: str, connection: Connection) -> None:
        self.number = number
        self.name = name
        self.is_asking = False
        self._hub = hub
        self._connection = connection
        self._is_ending = False

    def _hear(self, events: list[Event]) -> bool:
        """Add the next messages to *events*; a mistake of the peer's is the last of them.

        Returns whether there may be more: then ask again, before more bytes are read.
        """
        number, next_message = self.number, self._connection.next_message_or_run
        self.is_asking = True
        left = EVENTS_MAX
        try:
            while left > 0:
                message = next_message(RUN_MAX)
                if message is NEED_DATA or message is CONNECTION_CLOSED:
                    return False
                if type(message) is Hello:
                    self.name += f" ({message.label!r})"
                events.append(Received(number, message))
                left -= 1
                if type(message) is SubmitRun:
                    left -= len(message.payloads) // RUN_PER_EVENT
        except RemoteProtocolError as error:
            events.append(Faulted(number, error.code, error.text))
            return False
        return True

    def _pull(self) -> bytes:
        """What is to be sent next, encoded; b"" if there is nothing."""
        messages = self._hub.output(self.number)
        if not messages:
            return b""
        last = messages[-1]
        if type(last) is Error and last.channel == 0:
            level = LEVELS.get(last.code, logging.WARNING)
            logger.log(level, "%s: told: %s (error %d)", self.name, last.text, last.code)
        elif type(last) is Entries and len(messages) == 1:
            return self._hub.followed.send(self._connection, last)
        return self._connection.send(*messages)

    def _linger_s(self) -> float:
        return LINGER_WHEN_STOPPING_S_MAX if self._hub.stopping else LINGER_S_MAX

    def _ends(self) -> bool:
        # A method, because type checkers take an attribute for unchanged after a call or an await.
        return self._is_ending

    def _note_lost(self, error: Exception) -> None:
        """Say in the log why this connection is over; it is nobody else's."""
        if isinstance(error, trio.BrokenResourceError):
            logger.debug("%s: connection lost: %s", self.name, error)
        else:
            logger.error("%s: internal error, connection dropped", self.name, exc_info=error)
