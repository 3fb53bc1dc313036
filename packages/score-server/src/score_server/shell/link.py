"""One connection: a task that reads and a task that writes, and nothing that outlives them.

Rules
-----
- Only the writer sends; only the reader receives.  They share the wire's ``Connection``, which is
  synchronous.
- Whatever goes wrong here ends this connection and no other: protocol errors are answered with one
  typed ``Error``, a vanished peer is reported to the core, anything unexpected is logged with its traceback.
- Output is pulled, not pushed: the writer asks the core for as much as one send should
  hold, so a slow reader costs no memory, and what piled up while a send ran goes out as one.
- Reading stops while the core holds too many answers that this peer does not take.
- A goodbye is bounded: once the core has said that this connection ends, it has ``CLOSING_S_MAX``
  for all that is left to send, and what the peer still says is thrown away.

The end of a connection needs care: closing a socket with unread input makes the kernel send a reset, which can
destroy the ``Error`` on its way.  So after the last send only our direction is closed, and
input is read and dropped until the peer closes too, or ``LINGER_S_MAX`` is up.  A server that stops waits
less: a client outside a call closes only at its next one, and a reset tells it as much.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from ..core.events import Event, Faulted, Received
from ..wire.connection import Connection, Signal
from ..wire.errors import RemoteProtocolError
from ..wire.messages import SHUTTING_DOWN, Error, Hello
from .hub import Hub
from .log import logger

RECEIVE_BYTES = 64 * 1024
# Messages given to the core in one step, so in one commit; then it is asked about congestion.
EVENTS_MAX = 64
CLOSING_S_MAX = 5.0
LINGER_S_MAX = 2.0
LINGER_WHEN_STOPPING_S_MAX = 0.2


class Flag:
    """A flag that one task waits for and that resets itself; setting it twice is setting it once."""

    __slots__ = ("_is_set", "_lot")

    def __init__(self) -> None:
        self._is_set = False
        self._lot = trio.lowlevel.ParkingLot()

    def set(self) -> None:
        self._is_set = True
        self._lot.unpark()

    async def wait(self) -> None:
        while not self._is_set:
            await self._lot.park()
        self._is_set = False


class Link:
    """A connection of the server.  Exists for the hub from its construction to the end of ``run``.

    *number* is never used twice; *name* says in the log who it is.
    """

    def __init__(
        self,
        hub: Hub,
        number: int,
        stream: trio.abc.HalfCloseableStream,
        name: str,
        connection: Connection,
    ) -> None:
        self.number = number
        self.name = name
        self._hub = hub
        self._stream = stream
        self._connection = connection
        self._scope = trio.CancelScope()
        self._output = Flag()
        self._room = Flag()
        self._goodbye = trio.Event()  # set: this connection is to end
        hub.connected(self)

    # ------------------------------------------------------------ called by the hub

    def wake(self) -> None:
        self._output.set()

    def close_after_output(self) -> None:
        self._goodbye.set()
        self._scope.deadline = trio.current_time() + CLOSING_S_MAX
        self._hub.hold_unfinished(self.number, 0)
        self._output.set()
        self._room.set()

    # ------------------------------------------------------------ the two tasks

    async def run(self) -> None:
        """Serve the connection until it ends, and close its stream."""
        logger.debug("%s: connected", self.name)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._guard, self._write)
                    await self._guard(self._read)
        finally:
            self._hub.disconnected(self.number)
            logger.debug("%s: disconnected", self.name)
            await trio.aclose_forcefully(self._stream)

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run one of the two tasks; an exception ends this connection and is nobody else's."""
        try:
            await work()
        except trio.BrokenResourceError as error:
            logger.debug("%s: connection lost: %s", self.name, error.__cause__ or error)
            self._scope.cancel()
        except Exception as error:
            logger.error("%s: internal error, connection dropped", self.name, exc_info=error)
            self._scope.cancel()

    async def _write(self) -> None:
        linger_s = LINGER_S_MAX
        while True:
            await self._output.wait()
            while messages := self._hub.output(self.number):
                await self._stream.send_all(self._connection.send(*messages))
                self._room.set()
                last = messages[-1]
                if type(last) is not Error or last.channel:
                    continue
                if last.code == SHUTTING_DOWN:
                    linger_s = LINGER_WHEN_STOPPING_S_MAX
                else:
                    logger.warning("%s: told: %s (error %d)", self.name, last.text, last.code)
            if self._goodbye.is_set():
                break
        self._hub.disconnected(self.number)
        await self._stream.send_eof()
        self._scope.deadline = trio.current_time() + linger_s

    async def _read(self) -> None:
        await self._feed()
        while await self._stream.receive_some(RECEIVE_BYTES):
            pass  # see the module's docstring: what comes after the end is dropped

    async def _feed(self) -> None:
        """Hand messages to the core until this connection is to end."""
        while not self._goodbye.is_set():
            data = await self._stream.receive_some(RECEIVE_BYTES)
            if self._goodbye.is_set():
                return
            self._connection.receive_data(bytes(data))
            while events := self._received():
                self._hub.handle(*events)
                while self._hub.congested(self.number) and not self._goodbye.is_set():
                    await self._room.wait()
                if self._goodbye.is_set():
                    return
            if not data:
                self._scope.cancel()
                return
            self._hub.hold_unfinished(self.number, self._connection.buffered)

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
