"""The lifecycle of a server: listen, serve, say goodbye, in one nursery.

    serve
      tick, flush             deadlines of the core; output that nobody has sent yet
      end on stop / failure   two small tasks that wait
      connections             a nursery: nothing but connections, each contained
        sweeping              all of them in one task (``sweeper.py``); without epoll, tasks for each (``link.py``)
        accepting             a scope of its own: the first thing to end

*Stopping* in order: no more connections are accepted; the core is told, answers what is
committed and says SHUTTING_DOWN to everybody; each connection ends on its own within its deadline, and
all of them within ``STOP_S_MAX``.  What is cut off then was not acknowledged.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import trio

from .. import __version__
from ..config import Address
from ..core import Core
from ..wire.connection import Connection, Role
from ..wire.limits import Limits
from .committer import Committer
from .hub import Hub
from .link import Link
from .listening import accept, close_all, open_listeners, tune, url_of
from .log import logger
from .sweeper import EPOLL, Epoll, Sweeper
from .transport import SocketTransport

SOFTWARE = f"score-server {__version__}"
STOP_S_MAX = 10.0
# Connections beyond the limit are accepted to be told so (by the core), this many at a time.
REFUSED_AT_ONCE_MAX = 64
ID_BYTES = 16


class Clock:
    """Milliseconds since 1970, never decreasing.

    It goes on by the monotonic clock when the system's is set back: standing still, it would make a
    turn's lease, and whatever else waits for a moment, last for as long as the clock was set back.
    """

    def __init__(
        self,
        read_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._read_ns = read_ns
        self._monotonic_ns = monotonic_ns
        self._now_ns = 0
        self._at_ns = monotonic_ns()  # the monotonic clock, when it was _now_ns

    def __call__(self) -> int:
        at_ns = self._monotonic_ns()
        self._now_ns = max(self._read_ns(), self._now_ns + at_ns - self._at_ns)
        self._at_ns = at_ns
        return self._now_ns // 1_000_000


class Server:
    """One server on an open store: ``listen`` once, then ``serve`` once, in one trio loop.

    With *epoll* one task moves the bytes of all connections; without, each has tasks of its own.
    """

    def __init__(
        self,
        committer: Committer,
        limits: Limits | None = None,
        *,
        epoll: Callable[[], Epoll] | None = EPOLL,
    ) -> None:
        self.stop = trio.Event()
        """Set it, in the loop's thread, to end ``serve`` in order."""
        self._limits = limits or Limits()
        self._committer = committer
        clock = Clock()
        self._hub = Hub(
            Core(committer.state, self._limits, _new_id, SOFTWARE, clock()), committer, clock
        )
        self._sweeper = Sweeper(self._hub, epoll(), self._gone) if epoll is not None else None
        self._listeners: list[socket.socket] = []
        self._numbers = itertools.count(1)
        self._open = 0
        self._slot_free = trio.Event()

    async def listen(self, addresses: Sequence[Address]) -> list[str]:
        """Open the ports; who connects from now on is served as soon as ``serve`` runs.

        Returns the URLs, one or more for each address.

        Raises:
            StartError: one of the addresses cannot be listened on; none is then.
        """
        self._listeners = await open_listeners(addresses)
        return [url_of(listener) for listener in self._listeners]

    async def serve(self) -> Exception | None:
        """Serve until ``stop`` is set and everybody has been told.

        Returns what made going on unsafe, if that is why it ended; it is logged already.
        """
        token = trio.lowlevel.current_trio_token()

        def run_soon(call: Callable[[Any], None], argument: object) -> None:
            with contextlib.suppress(trio.RunFinishedError):  # durable, and nobody left to tell
                token.run_sync_soon(call, argument)

        self._committer.attach(run_soon, self._hub.deliver, self._hub.fail)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hub.tick)
            nursery.start_soon(self._hub.flush)
            nursery.start_soon(self._end_on_failure, nursery.cancel_scope)
            async with trio.open_nursery() as connections:
                accepting = trio.CancelScope()
                if self._sweeper is not None:
                    connections.start_soon(self._sweeper.run)
                connections.start_soon(self._accept, accepting, connections)
                nursery.start_soon(self._end_on_stop, accepting, connections.cancel_scope)
            with trio.move_on_after(STOP_S_MAX):
                await self._hub.stopped.wait()
            nursery.cancel_scope.cancel()
        return self._hub.failure

    async def _end_on_failure(self, everything: trio.CancelScope) -> None:
        await self._hub.failed.wait()
        everything.cancel()

    async def _end_on_stop(
        self, accepting: trio.CancelScope, connections: trio.CancelScope
    ) -> None:
        await self.stop.wait()
        logger.info("stopping: %d connections", self._open)
        accepting.cancel()
        connections.deadline = trio.current_time() + STOP_S_MAX
        self._hub.stop()

    async def _accept(self, accepting: trio.CancelScope, connections: trio.Nursery) -> None:
        async def begin(sock: socket.socket) -> None:
            self._begin(sock, connections)
            while self._open >= self._limits.connections_max + REFUSED_AT_ONCE_MAX:
                await self._slot_free.wait()

        try:
            with accepting:
                async with trio.open_nursery() as nursery:
                    for listener in self._listeners:
                        nursery.start_soon(accept, listener, begin)
        finally:
            close_all(self._listeners)
            if self._sweeper is not None:
                self._sweeper.finish()

    def _begin(self, sock: socket.socket, connections: trio.Nursery) -> None:
        number = next(self._numbers)
        connection = Connection(Role.SERVER, self._limits)
        try:
            name = tune(sock)
            if self._sweeper is not None:
                self._sweeper.add(sock, number, name, connection)
        except OSError:  # gone already
            sock.close()
            return
        self._open += 1
        if self._sweeper is None:
            link = Link(self._hub, number, SocketTransport(sock), name, connection)
            connections.start_soon(self._run, link)

    async def _run(self, link: Link) -> None:
        try:
            await link.run()
        finally:
            self._gone(link.number)

    def _gone(self, _number: int) -> None:
        self._open -= 1
        self._slot_free.set()  # for all listeners that wait
        self._slot_free = trio.Event()


def _new_id() -> bytes:
    return os.urandom(ID_BYTES)
