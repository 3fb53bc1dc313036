"""The second layer: the server's real shell (``score_server.shell``), on simulated sockets, clock and disk.

What is real here and not in ``server.py``: ``Server``, ``Hub``, ``Link``, ``SocketTransport``, ``accept``, ``Flag``, both
committers and the thread of one, and trio under all of it.  The scheduler lets trio's loop make one turn, or the
committer's thread go on until it waits, as it lets everything else happen one thing at a time.

What is put into the product's place while a run lasts (``simulated_shell``): the modules' clock, chance and listening
sockets, and the threads and queues of the committer.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import trio

from score_server.config import Address
from score_server.shell import committer, endpoint, server
from score_server.shell.sweeper import Epoll
from score_server.stores.base import Commit, LogStore, StoreBroken, StoreError, StoreFull

from .baton import Task
from .disk import SimStore
from .network import Connection
from .oracle import Violation
from .sockets import Ears, SimEpoll, SimListener, SimSocket
from .trio_loop import Loop, SimClock, seeded

if TYPE_CHECKING:
    from .world import World

LISTENER, EPOLL = 1, 2  # file numbers; connections have the ones behind
STOP_S_MAX = 2 * server.STOP_S_MAX + 1.0  # for the connections, then for what was assigned
# With nothing in the way: a goodbye, and lingering for whoever does not answer it.
STOP_S_MAX_AT_THE_END = 2.0
CLOSING_S_MAX = endpoint.CLOSING_S_MAX + endpoint.LINGER_S_MAX
WINDOW_AT_THE_END = 1024 * 1024
EVENTS_AT_THE_END_MAX = 20_000


class ShellServer:
    """One run of the server process, from its start to its end; see ``server.SimServer``."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._turned_at = world.now
        self.stopping = self.has_failed = False
        self._stops_at = 0.0
        self._files: dict[int, SimSocket] = {}
        self._listener = SimListener(LISTENER)
        self._is_listening = False
        self._violation: Violation | None = None
        self._thread: SimThread | None = None
        self._server: server.Server | None = None
        world.oracle.server_starts()
        chance = random.Random(world.choose.random())
        self._epoll = SimEpoll(EPOLL, chance)
        with self._installed():
            self._committer = self._open_store()
        self._loop = Loop(self._serve, SimClock(lambda: world.now, chance))
        self._loop.poller.add(self._listener)
        self._loop.poller.add(self._epoll)

    def _open_store(self) -> committer.Committer:
        """As ``open_committer`` does for the two kinds of stores."""
        if self._world.is_inline:
            return committer.InlineCommitter(lambda: self._slow_store(lambda: None))
        return committer.ThreadCommitter(lambda: self._slow_store(self._disk_pause))

    def _slow_store(self, pause: Callable[[], None]) -> LogStore:
        return cast(LogStore, SlowStore(self, pause))  # what it passes on it has by __getattr__

    def _disk_pause(self) -> None:
        assert self._thread is not None
        self._thread.task.pause("the disk", lambda: True)

    async def _serve(self) -> Exception | None:
        """As ``foreground`` and ``background`` do."""
        with self._installed():
            simulated = cast(Epoll, self._epoll)  # but for its sockets
            epoll = (lambda: simulated) if self._world.has_epoll else None
            self._server = server.Server(self._committer, self._world.limits, epoll=epoll)
            await self._server.listen([Address("192.0.2.2", 1)])
            if self.stopping:  # since before there was anything that could be told
                self._server.stop.set()
        return await self._server.serve()

    @contextmanager
    def _installed(self) -> Iterator[None]:
        """The product's modules, with what belongs to this server in them."""

        async def open_listeners(_: object) -> list[SimListener]:
            self._is_listening = True
            return [self._listener]

        def thread(**arguments: Any) -> SimThread:
            self._thread = SimThread(**arguments)
            return self._thread

        with (
            _replaced(server, "Clock", lambda: self._world.clock_ms),
            _replaced(server, "_new_id", self._world.new_id),
            _replaced(server, "open_listeners", open_listeners),
            _replaced(committer, "threading", SimpleNamespace(Thread=thread)),
            _replaced(committer, "queue", SimpleNamespace(SimpleQueue=lambda: SimQueue(self))),
        ):
            yield

    # ------------------------------------------------------------ what the world does to it

    @property
    def listens(self) -> bool:
        return self._is_listening and not self._listener.is_closed

    @property
    def ends(self) -> bool:
        """Whether this process is about to end."""
        return self.stopping or self.has_failed

    def connected(self, connection: Connection) -> None:
        ears = Ears(self._world, connection.number, self.blame)
        sock = SimSocket(self._world, EPOLL + connection.number, connection, ears)
        self._files[connection.number] = sock
        self._loop.poller.add(sock)
        self._listener.backlog.append(sock)

    def reads_from(self, connection: Connection) -> bool:
        """Whether the kernel takes bytes of *connection* now."""
        sock = self._files.get(connection.number)
        return sock is not None and sock.takes_more

    def receive(self, connection: Connection, data: bytes) -> None:
        self._files[connection.number].arrive(data)

    def possible_events(self) -> list[tuple[str, Callable[[], None]]]:
        found: list[tuple[str, Callable[[], None]]] = []
        if self._loop.is_over:
            found.append(("server", self._exit))
        elif self._world.now >= self._due_at() or self._loop.poller.ready():
            found.append(("server", self._turn))
        if self._thread is not None and not self._thread.task.done and self._thread.task.ready():
            found.append(("disk", self._disk_works))
        return found

    def next_moment(self) -> float:
        return self._due_at()

    def stop(self) -> None:
        """As a signal does."""
        self.stopping = True
        self._stops_at = self._world.now
        with contextlib.suppress(trio.RunFinishedError):  # it is on its way out already
            self._loop.run_sync_soon(lambda: self._server and self._server.stop.set())

    def run_out_of_files(self, times: int) -> None:
        self._listener.shortage = times

    def kill(self) -> None:
        """The process is gone; what it still does to unwind cannot be seen by anybody.  Idempotent."""
        for sock in self._files.values():
            sock.is_dead = True
        if self._thread is not None and not self._thread.task.done:
            self._thread.task.kill()
        self._loop.unwind()

    # ------------------------------------------------------------ steps

    def _due_at(self) -> float:
        return self._turned_at + self._loop.due_in_s

    def _turn(self) -> None:
        self._loop.turn()
        self._turned_at = self._world.now
        self._raise()

    def _disk_works(self) -> None:
        assert self._thread is not None
        self._world.note("disk: a step")
        self._thread.task.resume()
        self._raise()

    def _exit(self) -> None:
        """The loop has ended, so the process does."""
        failure = self._loop.result()
        if failure is not None:
            if not isinstance(failure, StoreError):
                raise failure
            self._world.crash_server()
            return
        fail = self._world.oracle.fail
        if not self.stopping:
            fail("protocol", "the server ended though nobody told it to stop")
        if (took_s := self._world.now - self._stops_at) > STOP_S_MAX + self._slack_s():
            fail("protocol", f"stopping took {took_s} s")
        for sock in self._files.values():
            if not sock.is_closed:
                fail("protocol", f"connection {sock.connection.number} was left open")
        self._committer.close()
        self._raise()
        self._world.note("the server has stopped")
        self._world.server_is_gone()

    def _slack_s(self) -> float:
        """How much later than it is due something happens where nobody is in a hurry."""
        return self._world.step_s * 1_000

    # ------------------------------------------------------------ judging

    def blame(self, violation: Violation) -> None:
        """A promise was broken within the product, which must not catch it: raised after the step."""
        self._violation = self._violation or violation

    def complain(self, record: logging.LogRecord) -> None:
        """A line of the log that tells of a mistake in the shell."""
        if record.exc_info:
            error = record.exc_info[1]
            text = f"{record.getMessage()}: {type(error).__name__}: {error}"
            self.blame(Violation("protocol", f"the server's log says: {text}"))

    def _raise(self) -> None:
        if self._violation is not None:
            raise self._violation

    def last_checks(self) -> None:
        """Everybody has come to the end: what ended must have been noticed, and stopping is orderly."""
        world = self._world
        until = world.now + CLOSING_S_MAX + self._slack_s()
        ended = [s for s in self._files.values() if s.connection.client_closed and not s.is_closed]
        self._step_until(lambda: all(s.is_closed for s in ended) or world.now > until)
        for sock in ended:
            if not sock.is_closed:
                world.oracle.fail("protocol", f"connection {sock.connection.number} never ended")
        for sock in self._files.values():
            sock.connection.window = WINDOW_AT_THE_END  # whoever does not read holds up a stop
        there = [s for s in self._files.values() if not s.is_closed and s.end is None]
        self.stop()
        self._step_until(lambda: world.server is not self)
        if world.server is self:
            world.oracle.fail("protocol", "the server does not stop")
        if (took_s := world.now - self._stops_at) > STOP_S_MAX_AT_THE_END + self._slack_s():
            world.oracle.fail("protocol", f"stopping took {took_s} s although nothing fails")
        for sock in there:
            if not sock.ears.was_told_to_go and sock.end is None:
                number = sock.connection.number
                world.oracle.fail("protocol", f"connection {number} ended without a goodbye")

    def _step_until(self, is_so: Callable[[], bool]) -> None:
        for _ in range(EVENTS_AT_THE_END_MAX):
            if is_so():
                return
            self._world.step()


class SlowStore:
    """A ``SimStore`` whose calls take time: *pause* waits, in the thread that calls."""

    def __init__(self, owner: ShellServer, pause: Callable[[], None]) -> None:
        self._owner = owner
        self._pause = pause
        self._oracle = owner._world.oracle
        self._store = SimStore(owner._world.disk, self._is_durable)

    def _is_durable(self, batch: Commit) -> None:
        try:
            self._oracle.durable(batch)
        except Violation as violation:
            self._owner.blame(violation)

    def commit(self, batch: Commit) -> None:
        """As ``SimStore`` does it, with a pause around each step."""
        self._pause()
        try:
            self._store.write(batch)
        except StoreFull:
            self._oracle.write_failed(batch)
            raise
        self._pause()
        try:
            self._store.sync()
        except StoreBroken:
            self._owner.has_failed = True
            raise
        self._pause()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """All other calls of a ``LogStore``."""
        call = getattr(self._store, name)

        def slow(*arguments: Any) -> Any:
            self._pause()
            return call(*arguments)

        return slow


# ---------------------------------------------------------------- threads


class SimThread:
    """In the place of ``threading.Thread``: runs when the scheduler lets it."""

    def __init__(
        self, target: Callable[..., None], args: tuple[Any, ...], name: str, daemon: bool
    ) -> None:
        self._name = name
        self._program = lambda: target(*args)

    def start(self) -> None:
        self.task = Task(self._name, self._program)

    def join(self) -> None:
        while not self.task.done:
            assert self.task.ready(), f"{self._name} waits for ever for {self.task.waits_for}"
            self.task.resume()
        if self.task.error is not None:
            raise self.task.error


class SimQueue:
    """In the place of ``queue.SimpleQueue``, between the loop's thread and the committer's."""

    def __init__(self, owner: ShellServer) -> None:
        self._owner = owner
        self._items: deque[Any] = deque()

    def put(self, item: object) -> None:
        self._items.append(item)

    def get(self, timeout: float | None = None) -> Any:
        """As the real one; a *timeout* may have passed whenever the thread goes on."""
        thread = self._owner._thread
        assert thread is not None
        if threading.current_thread().name == thread.task.name:
            if not self._items:
                is_bounded = timeout is not None
                thread.task.pause("a job", lambda: is_bounded or bool(self._items))
            if not self._items:
                raise queue.Empty
        while not self._items:  # the loop's thread is blocked, so that the other one goes on
            thread.task.resume()
        return self._items.popleft()


# ---------------------------------------------------------------- the product's modules


@contextmanager
def _replaced(module: Any, name: str, value: object) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


class _Log(logging.Handler):
    """Gives what the server logs to the one that runs."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(self._world.server, ShellServer):
            self._world.server.complain(record)


@contextmanager
def simulated_shell(world: World) -> Iterator[None]:
    """Trio's chance and the server's log are those of *world*."""
    logger = logging.getLogger("score_server")
    before = logger.handlers[:], logger.level, logger.propagate
    logger.handlers[:], logger.propagate = [_Log(world)], False
    logger.setLevel(logging.ERROR)
    try:
        with seeded(f"{world.seed}/trio"):
            yield
    finally:
        logger.handlers[:], _, logger.propagate = before
        logger.setLevel(before[1])
