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
  for all that is left, and what the peer still sends is thrown away.

The end of a connection needs care: closing a socket with unread input makes the kernel send a reset, which can
destroy the ``Error`` on its way.  So after the last send only our direction is closed, and
input is read and dropped until the peer closes too, or the time is up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from ..core.events import Faulted, Received
from ..wire.connection import CONNECTION_CLOSED, NEED_DATA, Connection
from ..wire.errors import RemoteProtocolError
from ..wire.messages import Hello
from .hub import Hub
from .log import logger

RECEIVE_BYTES = 64 * 1024
CLOSING_S_MAX = 5.0


class Signal:
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
        self._output = Signal()
        self._room = Signal()
        self._closing = False
        hub.connected(self)

    # ------------------------------------------------------------ called by the hub

    def wake(self) -> None:
        self._output.set()

    def close_after_output(self) -> None:
        self._closing = True
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
        while True:
            await self._output.wait()
            while messages := self._hub.output(self.number):
                await self._stream.send_all(self._connection.send(*messages))
                self._room.set()
            if self._closing:
                break
        self._hub.disconnected(self.number)
        await self._stream.send_eof()

    async def _read(self) -> None:
        try:
            await self._feed()
        except RemoteProtocolError as error:
            logger.warning("%s: refused: %s", self.name, error)
            self._hub.handle(Faulted(self.number, error.code, error.text))
        while await self._stream.receive_some(RECEIVE_BYTES):
            pass  # see the module's docstring: what comes after the end is dropped

    async def _feed(self) -> None:
        """Hand messages to the core until this connection is to end."""
        while not self._closing:
            data = await self._stream.receive_some(RECEIVE_BYTES)
            if self._closing:
                return
            self._connection.receive_data(data)
            while (message := self._connection.next_message()) is not NEED_DATA:
                if message is CONNECTION_CLOSED:
                    self._scope.cancel()
                    return
                if type(message) is Hello:
                    self.name += f" ({message.label!r})"
                self._hub.handle(Received(self.number, message))
                while self._hub.congested(self.number) and not self._closing:
                    await self._room.wait()
                if self._closing:
                    return
            self._hub.hold_unfinished(self.number, self._connection.buffered)
