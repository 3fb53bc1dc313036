"""All sockets of a server, moved by one task: wait for any of them, then serve every one that is ready.

Why not a task for each: with many connections trio's re-arming of epoll for each halves throughput, and
a task with its frames, scope and nursery is most of what an idle connection costs in memory.

Rules
-----
- The sockets are in an epoll object of their own, level-triggered; trio waits for that object alone.
  A socket stays registered as long as it is open, and is asked about writing only while there is
  something that it did not take.
- A *sweep* is one turn: what all ready sockets have said becomes one step of the core, so one commit,
  and then everybody whom it concerns is sent to once.  The loop's other tasks run between two sweeps.
- Before a commit begins for more than one, whoever has spoken meanwhile is heard, ``HEARD_PER_COMMIT`` at most or little more.
- Fairness: of one connection a sweep reads ``RECEIVE_BYTES`` at most, hands over ``EVENTS_MAX``
  messages at most, and sends one pull of output.  Sockets that merely take more again are sent to at the end of
  it, ``SENDS_AT_ONCE`` of them: else whoever says something waits for all followers of somebody who never rests.
- Whatever goes wrong with one connection ends that one: nothing leaves the sweep.
- What the end of a connection needs is told in ``endpoint.py``; who overstays is closed by a second
  task, which looks every ``REAP_S`` while there is an ending.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable
from itertools import islice
from typing import Protocol

import trio

from ..core.events import Event
from ..wire.connection import Connection
from .endpoint import CLOSING_S_MAX, Endpoint
from .flag import Flag
from .hub import FOLLOWERS_AT_ONCE, Hub
from .log import logger
from .transport import RECEIVE_BYTES

REAP_S = 0.05
SENDS_AT_ONCE = FOLLOWERS_AT_ONCE
# More have no use of a larger commit, and those who were heard first would wait for it.
HEARD_PER_COMMIT = 64
SWEEPS_PER_COMMIT = 3
# From Linux's <sys/epoll.h>: ``select`` has the names only where there is epoll.
EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP = 0x001, 0x004, 0x008, 0x010


class Epoll(Protocol):
    """What the sweeper needs of ``select.epoll``, level-triggered."""

    def register(self, fd: socket.socket, eventmask: int) -> None: ...

    def modify(self, fd: socket.socket, eventmask: int) -> None: ...

    def unregister(self, fd: socket.socket) -> None: ...

    def poll(self, timeout: float) -> list[tuple[int, int]]: ...

    def fileno(self) -> int: ...

    def close(self) -> None: ...


# Its constructor, where there is one.
EPOLL: Callable[[], Epoll] | None = getattr(select, "epoll", None)


class Sweeper:
    """Serves sockets from ``add`` to their ends, in the loop that ``run`` runs in.

    *gone* is called at each end, with the connection's number.
    """

    def __init__(self, hub: Hub, epoll: Epoll, gone: Callable[[int], None]) -> None:
        self.hub = hub
        self.gone = gone
        self.epoll = epoll
        self.swept: dict[int, Swept] = {}  # by file descriptor
        self.unheard: list[Swept] = []  # have more to hand over
        self.writable: dict[Swept, None] = {}  # take more again, the longest waiting first
        self.ending: dict[Swept, float] = {}  # and when it is to be over
        self.somebody_ends = Flag()
        self._left_over = Flag()
        self._scope = trio.CancelScope()
        self._takes_more = True
        hub.hear_more = self._hear_more
        hub.somebody_presses = lambda: any(ready != EPOLLOUT for _, ready in epoll.poll(0))

    def add(self, sock: socket.socket, number: int, name: str, connection: Connection) -> None:
        """Serve *sock*, connected and non-blocking, and own it.

        Raises:
            OSError: it cannot be waited for; it is still the caller's.
        """
        swept = Swept(self, sock, number, name, connection)
        self.epoll.register(sock, swept.mask)
        self.swept[sock.fileno()] = swept
        logger.debug("%s: connected", name)
        self.hub.connected(swept)

    def finish(self) -> None:
        """Nobody is added any more: ``run`` ends with the last connection."""
        self._takes_more = False
        self.end_if_done()

    def end_if_done(self) -> None:
        if not self._takes_more and not self.swept:
            self._scope.cancel()

    async def run(self) -> None:
        """Sweep until ``finish`` was called and all are gone; cancelled, it closes them."""
        fd = self.epoll.fileno()
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._reap)
                    nursery.start_soon(self._hear_left_over)
                    while True:
                        if self.unheard:
                            await trio.lowlevel.checkpoint()
                        else:
                            await trio.lowlevel.wait_readable(fd)
                        self._sweep()
        finally:
            for swept in list(self.swept.values()):
                swept.close()
            self.hub.hear_more = lambda: None
            trio.lowlevel.notify_closing(fd)
            self.epoll.close()

    def _sweep(self) -> None:
        if self._hear() > 1:
            self._hear_more()
        self.hub.begin_commit()
        for swept in list(islice(self.writable, SENDS_AT_ONCE)):
            del self.writable[swept]
            swept.move(EPOLLOUT, [])

    def _hear_more(self) -> None:
        """Hear whoever presses, for as long as a commit waits for it."""
        left = HEARD_PER_COMMIT
        for _ in range(1, SWEEPS_PER_COMMIT):
            heard = self._hear(hold=True) if left > 0 and self.hub.holds_commit() else 0
            if not heard:
                break
            left -= heard
        if self.unheard:
            self._left_over.set()  # ``run`` may be waiting for somebody to say something new

    def _hear(self, *, hold: bool = False) -> int:
        """Hear everybody who is ready; returns how many.  A commit does not begin here with *hold*, nor for more
        than one."""
        events: list[Event] = []
        heard, self.unheard = self.unheard, []
        for swept in heard:
            swept.hear(events)
        for fd, ready in self.epoll.poll(0):
            found = self.swept.get(fd)
            if found is None:
                continue
            if ready == EPOLLOUT:
                self.writable[found] = None
            elif found.move(ready, events):
                heard.append(found)
        if events:
            self.hub.receive(events, hold=hold or len(heard) > 1)
        for swept in heard:
            swept.settle()
        return len(heard)

    async def _hear_left_over(self) -> None:
        while True:
            await self._left_over.wait()
            self._sweep()

    async def _reap(self) -> None:
        while True:
            await self.somebody_ends.wait()
            while self.ending:
                await trio.sleep(REAP_S)
                now = trio.current_time()
                for swept in [swept for swept, until in self.ending.items() if until <= now]:
                    swept.close()


class Swept(Endpoint):
    """A connection on a plain socket, moved by a sweeper.

    While it has more to hand over, and while it is paused, nothing is read from its socket.
    """

    __slots__ = (
        "_has_more", "_is_paused", "_sock", "_sweeper", "_unsent", "mask",
    )  # fmt: skip

    def __init__(
        self,
        sweeper: Sweeper,
        sock: socket.socket,
        number: int,
        name: str,
        connection: Connection,
    ) -> None:
        super().__init__(sweeper.hub, number, name, connection)
        self.mask = EPOLLIN  # what its socket is registered for
        self._sweeper = sweeper
        self._sock = sock
        self._unsent: bytes | memoryview = b""
        self._has_more = False
        self._is_paused = False  # congested; or, while it is ending, the peer has ended

    # ------------------------------------------------------------ called by the sweeper

    def move(self, ready: int, events: list[Event]) -> bool:
        """Do what the socket is *ready* for; whether it was heard, so that it is to settle."""
        try:
            if ready & EPOLLOUT:
                self._send()
            if self._is_paused:
                if ready & (EPOLLHUP | EPOLLERR):
                    raise trio.BrokenResourceError("hung up while it had answers to take")
            elif ready & ~EPOLLOUT and not self._has_more:
                return self._read(events)
        except Exception as error:
            self._drop(error)
        return False

    def hear(self, events: list[Event]) -> None:
        """Add the next messages that have come to *events*."""
        try:
            self._has_more = self._has_more and self._hear(events)
        except Exception as error:
            self._drop(error)

    def settle(self) -> None:
        """The core has been given what was heard: is there more to hear, or to read?"""
        if self._is_ending:
            return
        if self._hub.congested(self.number):
            self._is_paused = True
            self._watch(self.mask & EPOLLOUT)
        elif self._has_more:
            self._sweeper.unheard.append(self)
        else:
            self._hub.hold_unfinished(self.number, self._connection.buffered)

    def close(self) -> None:
        """End at once.  Idempotent."""
        fd = self._sock.fileno()
        if fd < 0:
            return
        sweeper = self._sweeper
        self._hub.disconnected(self.number)
        del sweeper.swept[fd]
        sweeper.ending.pop(self, None)
        sweeper.writable.pop(self, None)
        sweeper.epoll.unregister(self._sock)
        self._sock.close()
        self.mask = EPOLLIN
        self._is_ending = True
        self._has_more = False
        self._unsent = b""
        logger.debug("%s: disconnected", self.name)
        sweeper.gone(self.number)
        sweeper.end_if_done()

    # ------------------------------------------------------------ called by the hub

    def flush(self) -> None:
        """One pull of output, sent at once; the sweeper goes on with whatever is left."""
        self.is_asking = False
        try:
            if self.mask & EPOLLOUT:
                self._watch(EPOLLOUT | (0 if self._is_paused else EPOLLIN))
            else:
                self._send()
        except Exception as error:  # the caller serves others
            self._drop(error)

    def close_after_output(self) -> None:
        self._is_ending = True
        self._has_more = self._is_paused = False
        self._hub.hold_unfinished(self.number, 0)
        self._end_in(CLOSING_S_MAX)

    # ------------------------------------------------------------ bytes

    def _read(self, events: list[Event]) -> bool:
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error
        if data and not self._is_ending:
            self._connection.receive_data(data)
            self._has_more = self._hear(events)
            return True
        if not data:
            self._peer_ended()
        return False  # what comes after the end is dropped

    def _peer_ended(self) -> None:
        if self._is_ending and (self._unsent or self._hub.has_output(self.number)):
            self._is_paused = True  # there is an Error that nobody has sent yet
            self._send()
        else:
            self.close()

    def _send(self) -> None:
        data = self._unsent or self._pull()
        if data:
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
            self._unsent = memoryview(data)[sent:] if sent < len(data) else b""
        more = bool(self._unsent) or self._hub.has_output(self.number)
        if self._is_paused and not self._is_ending and not self._hub.congested(self.number):
            self._is_paused = False
            if self._has_more:
                self._sweeper.unheard.append(self)
                more = True  # being asked about writing, it wakes the sweeper
        self._watch((0 if self._is_paused else EPOLLIN) | (EPOLLOUT if more else 0))
        if self._is_ending and not more:
            self._say_end()

    def _say_end(self) -> None:
        if self._sock.fileno() < 0:
            return
        self._hub.disconnected(self.number)
        if self._is_paused:
            self.close()
            return
        with contextlib.suppress(OSError):  # the peer is gone: it needs no telling
            self._sock.shutdown(socket.SHUT_WR)
        self._end_in(self._linger_s())

    def _end_in(self, seconds: float) -> None:
        self._sweeper.ending[self] = trio.current_time() + seconds
        self._sweeper.somebody_ends.set()

    def _watch(self, mask: int) -> None:
        if mask != self.mask:
            self.mask = mask
            self._sweeper.epoll.modify(self._sock, mask)

    def _drop(self, error: Exception) -> None:
        self._note_lost(error)
        self.close()
