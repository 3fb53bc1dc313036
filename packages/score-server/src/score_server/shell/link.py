"""A connection over a transport: a task that reads, at times a task that writes, and nothing that outlives them.

For whatever is not a plain socket that can be swept (``sweeper.py``), and for systems without epoll.

Rules
-----
- Sending has one owner at a time.  As a rule it is ``flush``, which sends without waiting; when the
  transport takes no more, or the end has come, a writer's task takes over until all is sent.
- Whatever goes wrong here ends this connection and no other: protocol errors are answered with one
  typed ``Error``, a vanished peer is reported to the core, anything unexpected is logged with its traceback.
- What the end of a connection needs is told in ``endpoint.py``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from ..core.events import Event
from ..wire.connection import Connection
from .endpoint import CLOSING_S_MAX, Endpoint
from .flag import Flag
from .hub import Hub
from .log import logger
from .transport import Transport


class Link(Endpoint):
    """A connection whose bytes *transport* moves; ``run`` is its life."""

    __slots__ = ("_is_writing", "_nursery", "_room", "_scope", "_transport")

    def __init__(
        self, hub: Hub, number: int, transport: Transport, name: str, connection: Connection
    ) -> None:
        super().__init__(hub, number, name, connection)
        self._transport = transport
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._is_writing = False  # the writer's task owns sending, ``flush`` keeps off
        self._room = Flag()
        hub.connected(self)

    # ------------------------------------------------------------ called by the hub

    def flush(self) -> None:
        """One pull of output, sent at once; the writer is started for whatever is left."""
        self.is_asking = False
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
        self._note_lost(error)
        self._scope.cancel()

    async def _write(self, data: bytes) -> None:
        while data or (data := self._pull()):
            await self._transport.send_all(data)
            self._room.set()
            data = b""
        if self._is_ending:
            self._hub.disconnected(self.number)
            self._transport.send_eof()
            self._scope.deadline = trio.current_time() + self._linger_s()
        else:
            self._is_writing = False

    async def _read(self) -> None:
        await self._feed()
        while await self._transport.receive():
            pass  # what comes after the end is dropped

    async def _feed(self) -> None:
        """Hand messages to the core until this connection is to end."""
        while not self._ends():
            data = await self._transport.receive()
            if self._ends():
                return
            self._connection.receive_data(data)
            more = True
            while more:
                events: list[Event] = []
                more = self._hear(events)
                self._hub.handle(*events)
                while self._hub.congested(self.number) and not self._ends():
                    await self._room.wait()
                if self._ends():
                    return
            if not data:
                self._scope.cancel()
                return
            self._hub.hold_unfinished(self.number, self._connection.buffered)
