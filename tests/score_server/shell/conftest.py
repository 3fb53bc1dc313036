"""A stage for the shell's parts: a miniature core, a committer without a thread, a client's end.

The connections' scenarios run on both movers of bytes: links over memory streams, and a sweeper of real
sockets, whose kernel buffers are immediate, so that "all tasks wait" means the same for both.

The miniature core keeps the real one's contract (``core/events.py``) for the few messages that the
shell's own laws need: a greeting, an echo, a goodbye.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest
import trio
import trio.testing

from score_server.core.events import (
    CloseAfterOutput,
    Connected,
    Disconnected,
    Effect,
    Event,
    Faulted,
    Received,
    Stopping,
    Wake,
)
from score_server.shell.endpoint import Endpoint
from score_server.shell.hub import Hub
from score_server.shell.link import Link
from score_server.shell.sweeper import Sweeper
from score_server.wire.connection import CONNECTION_CLOSED, NEED_DATA, Connection, Role
from score_server.wire.limits import Limits
from score_server.wire.messages import SHUTTING_DOWN, Error, Hello, Message, Ping, Pong, Welcome


class MiniCore:
    """Greets, echoes pings and says goodbye; notes what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.times: list[int] = []
        self.outbox: dict[int, deque[Message]] = {}
        self.output_max = 1000  # messages given in one pull
        self.congested_by: int | None = None  # that many messages waiting
        self.deadline_ms = 1 << 60
        self.stopped = False
        self.is_waiting = False
        self.holds_commit = lambda: self.is_waiting
        self.reads: list[Effect] = []
        self.extra: Callable[[Event], list[Effect]] = lambda event: []

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        return self.handle_all([event], now_ms)

    def handle_all(
        self, events: Iterable[Event], now_ms: int, *, hold: bool = False
    ) -> list[Effect]:
        """A ping waits for a commit, so to speak; it begins when something is handled without *hold*."""
        events = list(events)
        said = any(type(event) is Received and type(event.message) is Ping for event in events)
        self.is_waiting = hold and (self.is_waiting or said)
        return [effect for event in events for effect in self._handle(event, now_ms)]

    def _handle(self, event: Event, now_ms: int) -> list[Effect]:
        self.events.append(event)
        self.times.append(now_ms)
        effects = self.extra(event)
        match event:
            case Connected(number):
                self.outbox[number] = deque()
            case Disconnected(number):
                del self.outbox[number]
            case Received(number, Hello(label="bug")):
                raise ZeroDivisionError("a bug in the core")
            case Received(number, Hello()):
                effects += self._say(number, Welcome(1, "mini", now_ms, [], Limits()))
            case Received(number, Ping(token)):
                effects += self._say(number, Pong(token))
            case Faulted(number, code, text):
                effects += self._say(number, Error(code, 0, text))
                effects.append(CloseAfterOutput(number))
            case Stopping():
                for number in self.outbox:
                    effects += self._say(number, Error(SHUTTING_DOWN, 0, "bye"))
                    effects.append(CloseAfterOutput(number))
            case _:
                pass
        return effects

    def _say(self, number: int, message: Message) -> list[Effect]:
        self.outbox[number].append(message)
        return [Wake(number)]

    def output(self, connection: int, bytes_max: int) -> list[Message]:
        box = self.outbox.get(connection, deque())
        return [box.popleft() for _ in range(min(len(box), self.output_max))]

    def has_output(self, connection: int) -> bool:
        return bool(self.outbox.get(connection))

    def take_effects(self) -> list[Effect]:
        taken, self.reads = self.reads, []
        return taken

    def congested(self, connection: int) -> bool:
        waiting = len(self.outbox.get(connection, ()))
        return self.congested_by is not None and waiting >= self.congested_by

    def next_deadline_ms(self) -> int:
        return self.deadline_ms

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if type(event) is kind]


class Jobs:
    """In the committer's place: notes what is submitted; answers at once what it is told to."""

    def __init__(self) -> None:
        self.takes_time = True
        self.jobs: list[object] = []
        self.answers: dict[object, Event] = {}

    def submit(self, job: object) -> Event | None:
        self.jobs.append(job)
        return self.answers.get(job)


class Pipe:
    """A ``Transport`` in memory.  *room*: bytes that can be sent without waiting, or no bound."""

    def __init__(self) -> None:
        self.to_server = trio.testing.MemoryReceiveStream()
        self.to_client = trio.testing.MemoryReceiveStream()
        self.room: int | None = None
        self.on_send: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint
        self.sends: list[str] = []
        self.is_closed = False

    async def receive(self) -> bytes:
        return bytes(await self.to_server.receive_some())

    def send_now(self, data: bytes) -> int:
        data = data[: self.room]
        self.sends.append("now")
        if data:
            self.to_client.put_data(data)
        return len(data)

    async def send_all(self, data: bytes) -> None:
        self.sends.append("all")
        self.to_client.put_data(data)
        await self.on_send()

    def send_eof(self) -> None:
        self.to_client.put_eof()

    def close(self) -> None:
        self.is_closed = True
        self.to_client.put_eof()


class Client:
    """A client's end, speaking the wire protocol or whatever bytes it likes."""

    def __init__(self) -> None:
        self.wire = Connection(Role.CLIENT)

    def raw(self, data: bytes) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Say that nothing more will be sent."""
        raise NotImplementedError

    async def read(self) -> bytes:
        """Some bytes; b"" at the end."""
        raise NotImplementedError

    def stop_taking(self) -> None:
        """From now on the server's end takes no bytes, until ``take_again``."""
        raise NotImplementedError

    def take_again(self) -> None:
        raise NotImplementedError

    def send(self, *messages: Message) -> None:
        self.raw(self.wire.send(*messages))

    async def receive(self) -> Message | None:
        """The next message; None at the end of the stream."""
        while True:
            message = self.wire.next_message()
            if message is CONNECTION_CLOSED:
                return None
            if message is not NEED_DATA:
                return message
            self.wire.receive_data(await self.read())

    async def greet(self, label: str = "ada") -> None:
        self.send(Hello(1, label, [], None))
        assert isinstance(await self.receive(), Welcome)


class PipeClient(Client):
    """The other end of a pipe."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__()
        self.pipe = pipe
        self._gate = trio.Event()

    def raw(self, data: bytes) -> None:
        self.pipe.to_server.put_data(data)

    def close(self) -> None:
        self.pipe.to_server.put_eof()

    async def read(self) -> bytes:
        return bytes(await self.pipe.to_client.receive_some())

    def stop_taking(self) -> None:
        self.pipe.room, self.pipe.on_send = 0, self._gate.wait

    def take_again(self) -> None:
        self._gate.set()


class SocketClient(Client):
    """The other end of a pair of sockets; *theirs* is the server's."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        super().__init__()
        self.sock = ours
        self._theirs = theirs
        self._junk = 0

    def raw(self, data: bytes) -> None:
        assert self.sock.send(data) == len(data)

    def close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    async def read(self) -> bytes:
        await trio.lowlevel.wait_readable(self.sock)
        try:
            return self.sock.recv(1 << 20)
        except ConnectionResetError:
            return b""

    def stop_taking(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._junk += self._theirs.send(b"junk")

    def take_again(self) -> None:
        while self._junk:
            self._junk -= len(self.sock.recv(self._junk))


class Stage:
    """A hub on a miniature core, and connections to clients."""

    def __init__(self, nursery: trio.Nursery, unfinished_bytes_max: int) -> None:
        self.core = MiniCore()
        self.jobs = Jobs()
        self.nursery = nursery
        self.hub = Hub(
            self.core,  # type: ignore[arg-type]
            self.jobs,  # type: ignore[arg-type]
            lambda: int(trio.current_time() * 1000),
            unfinished_bytes_max=unfinished_bytes_max,
        )
        nursery.start_soon(self.hub.flush)
        self.connections: list[Endpoint] = []
        self.ended: set[int] = set()
        self.end_seen = trio.Event()  # the first of them

    def connect(self) -> Any:
        """A ``Client`` of a new connection, which is ``connections[-1]``."""
        raise NotImplementedError

    def note_end(self, number: int) -> None:
        self.ended.add(number)
        self.end_seen.set()

    async def settled(self) -> None:
        """Until no task has anything to do: nothing here waits for the outside."""
        await trio.testing.wait_all_tasks_blocked()


class LinkStage(Stage):
    """With links over memory streams."""

    def connect(self) -> PipeClient:
        pipe = Pipe()
        number = len(self.connections) + 1
        link = Link(self.hub, number, pipe, f"peer-{number}", Connection(Role.SERVER))
        self.connections.append(link)
        self.nursery.start_soon(self._run, link)
        return PipeClient(pipe)

    async def _run(self, link: Link) -> None:
        await link.run()
        self.note_end(link.number)


class SweeperStage(Stage):
    """With a sweeper of sockets."""

    def __init__(self, nursery: trio.Nursery, unfinished_bytes_max: int) -> None:
        super().__init__(nursery, unfinished_bytes_max)
        self.sweeper = Sweeper(self.hub, select.epoll(), self.note_end)
        self.clients: list[SocketClient] = []
        nursery.start_soon(self.sweeper.run)

    def connect(self) -> SocketClient:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        number = len(self.connections) + 1
        self.sweeper.add(theirs, number, f"peer-{number}", Connection(Role.SERVER))
        self.connections.append(self.sweeper.swept[theirs.fileno()])
        self.clients.append(SocketClient(ours, theirs))
        return self.clients[-1]

    def close(self) -> None:
        for client in self.clients:
            client.sock.close()


@pytest.fixture
async def link_stage(nursery: trio.Nursery) -> LinkStage:
    """Ask for ``autojump_clock`` beside it: time then jumps as soon as all tasks wait."""
    return LinkStage(nursery, 10_000)


@pytest.fixture
async def sweeper_stage(nursery: trio.Nursery) -> AsyncIterator[SweeperStage]:
    """As ``link_stage``."""
    stage = SweeperStage(nursery, 10_000)
    yield stage
    stage.close()


@pytest.fixture(params=["link", "sweeper"])
async def stage(request: pytest.FixtureRequest, nursery: trio.Nursery) -> AsyncIterator[Stage]:
    """Both of them, in turn."""
    if request.param == "link":
        yield LinkStage(nursery, 10_000)
    else:
        swept = SweeperStage(nursery, 10_000)
        yield swept
        swept.close()
