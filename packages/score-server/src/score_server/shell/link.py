"""One connection: a task that reads, at times a task that writes, and nothing that outlives them.

Rules
-----
- Sending has one owner at a time.  As a rule it is ``flush``, which sends without waiting in the
  very step that made the output; when the socket takes no more, or the end has come, a
  writer's task takes over until all is sent.
- Whatever goes wrong here ends this connection and no other: protocol errors are answered with one
  typed ``Error``, a vanished peer is reported to the core, anything unexpected is logged with its traceback.
- Output is pulled, not pushed: the core is asked for as much as one send should hold, so a
  slow reader costs no memory, and what piled up while a send ran goes out as one.
- Reading stops while the core holds too many answers that this peer does not take.
- A goodbye is bounded: once the core has said that this connection ends, it has ``CLOSING_S_MAX``
  for all that is left to send, and what the peer still says is thrown away.

The end of a connection needs care: closing a socket with unread input makes the kernel send a reset, which can
destroy the ``Error`` on its way.  So after the last send only our direction is closed, and
input is read and dropped until the peer closes too, or ``LINGER_S_MAX`` is up.  A server that stops waits
less: a client outside a call closes only at its next one, and a reset tells it as much.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from ..core.events import Event, Faulted, Received
from ..wire.connection import Connection, Signal
from ..wire.errors import RemoteProtocolError
from ..wire.messages import SESSION_EXPIRED, SESSION_FENCED, SHUTTING_DOWN, Error, Hello
from .flag import Flag
from .hub import Hub
from .log import logger
from .transport import Transport

# Messages given to the core in one step, so in one commit; then it is asked about congestion.
EVENTS_MAX = 64
CLOSING_S_MAX = 5.0
LINGER_S_MAX = 2.0
LINGER_WHEN_STOPPING_S_MAX = 0.2
# Ends that are nobody's mistake are no warnings.
LEVELS = {
    SHUTTING_DOWN: logging.DEBUG,
    SESSION_FENCED: logging.INFO,
    SESSION_EXPIRED: logging.INFO,
}


class Link:
    """A connection of the server.  Exists for the hub from its construction to the end of ``run``.

    *number* is never used twice; *name* says in the log who it is.
    """

    __slots__ = (
        "_connection", "_hub", "_is_ending", "_is_writing", "_linger_s", "_nursery", "_room",
        "_scope", "_transport", "name", "number",
    )  # fmt: skip

    def __init__(
        self, hub: Hub, number: int, transport: Transport, name: str, connection: Connection
    ) -> None:
        self.number = number
        self.name = name
        self._hub = hub
        self._transport = transport
        self._connection = connection
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._is_writing = False  # the writer's task owns sending, ``flush`` keeps off
        self._room = Flag()
        self._is_ending = False
        self._linger_s = LINGER_S_MAX
        hub.connected(self)

    # ------------------------------------------------------------ called by the hub

    def flush(self) -> None:
        """One pull of output, sent at once; the writer is started for whatever is left."""
        if self._is_writing or self._nursery is None:
            return
        try:
            data = self._pull()
            rest = data[self._transport.send_now(data) :] if data else b""
            if rest or self._is_ending or self._hub.has_output(self.number):
                self._is_writing = True
                self._nursery.start_soon(self._guard, self._write, rest)
        except Exception as error:  # the caller serves others
            self._drop(error)
        self._room.set()

    def close_after_output(self) -> None:
        self._is_ending = True
        self._scope.deadline = trio.current_time() + CLOSING_S_MAX
        self._hub.hold_unfinished(self.number, 0)
        self._room.set()

    # ------------------------------------------------------------ the two tasks

    async def run(self) -> None:
        """Serve the connection until it ends, and close its transport."""
        logger.debug("%s: connected", self.name)
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    try:
                        self.flush()  # it may have been woken before it ran
                        await self._guard(self._read)
                        self.flush()  # there may be an Error that nobody has sent yet
                    finally:
                        self._nursery = None  # it takes no more tasks
        finally:
            self._hub.disconnected(self.number)
            logger.debug("%s: disconnected", self.name)
            self._transport.close()

    async def _guard(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Run one of the two tasks; an exception ends this connection and is nobody else's."""
        try:
            await work(*arguments)
        except Exception as error:
            self._drop(error)

    def _drop(self, error: Exception) -> None:
        if isinstance(error, trio.BrokenResourceError):
            logger.debug("%s: connection lost: %s", self.name, error)
        else:
            logger.error("%s: internal error, connection dropped", self.name, exc_info=error)
        self._scope.cancel()

    def _pull(self) -> bytes:
        """What is to be sent next, encoded; b"" if there is nothing."""
        messages = self._hub.output(self.number)
        if not messages:
            return b""
        last = messages[-1]
        if type(last) is Error and last.channel == 0:
            level = LEVELS.get(last.code, logging.WARNING)
            logger.log(level, "%s: told: %s (error %d)", self.name, last.text, last.code)
            if last.code == SHUTTING_DOWN:
                self._linger_s = LINGER_WHEN_STOPPING_S_MAX
        return self._connection.send(*messages)

    async def _write(self, data: bytes) -> None:
        while data or (data := self._pull()):
            await self._transport.send_all(data)
            self._room.set()
            data = b""
        if self._is_ending:
            self._hub.disconnected(self.number)
            self._transport.send_eof()
            self._scope.deadline = trio.current_time() + self._linger_s
        else:
            self._is_writing = False

    async def _read(self) -> None:
        await self._feed()
        while await self._transport.receive():
            pass  # see the module's docstring: what comes after the end is dropped

    async def _feed(self) -> None:
        """Hand messages to the core until this connection is to end."""
        while not self._ends():
            data = await self._transport.receive()
            if self._ends():
                return
            self._connection.receive_data(data)
            while events := self._received():
                self._hub.receive(self, events)
                while self._hub.congested(self.number) and not self._ends():
                    await self._room.wait()
                if self._ends():
                    return
            if not data:
                self._scope.cancel()
                return
            self._hub.hold_unfinished(self.number, self._connection.buffered)

    def _ends(self) -> bool:
        # A method, because type checkers take an attribute for unchanged after a call or an await.
        return self._is_ending

    def _received(self) -> list[Event]:
        """The next messages; a mistake of the peer's is the last of them."""
        events: list[Event] = []
        try:
            while len(events) < EVENTS_MAX:
                message = self._connection.next_message()
                if isinstance(message, Signal):
                    break
                if type(message) is Hello:
                    self.name += f" ({message.label!r})"
                events.append(Received(self.number, message))
        except RemoteProtocolError as error:
            events.append(Faulted(self.number, error.code, error.text))
        return events
