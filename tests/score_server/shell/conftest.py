"""A stage for the shell's parts: a miniature core, a committer without a thread, a client's end.

The miniature core keeps the real one's contract (``core/events.py``) for the few messages that the
shell's own laws need: a greeting, an echo, a goodbye.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable

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
from score_server.shell.hub import Hub
from score_server.shell.link import Link
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
        self.reads: list[Effect] = []
        self.extra: Callable[[Event], list[Effect]] = lambda event: []

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        return self.handle_all([event], now_ms)

    def handle_all(self, events: Iterable[Event], now_ms: int) -> list[Effect]:
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
        box = self.outbox[connection]
        return [box.popleft() for _ in range(min(len(box), self.output_max))]

    def has_output(self, connection: int) -> bool:
        return bool(self.outbox.get(connection))

    def take_effects(self) -> list[Effect]:
        taken, self.reads = self.reads, []
        return taken

    def congested(self, connection: int) -> bool:
        return self.congested_by is not None and len(self.outbox[connection]) >= self.congested_by

    def next_deadline_ms(self) -> int:
        return self.deadline_ms

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if type(event) is kind]


class Jobs:
    """In the committer's place: notes what is submitted; answers at once what it is told to."""

    def __init__(self) -> None:
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
    """The other end of a pipe, speaking the wire protocol or whatever bytes it likes."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self.wire = Connection(Role.CLIENT)

    def raw(self, data: bytes) -> None:
        self.pipe.to_server.put_data(data)

    def send(self, *messages: Message) -> None:
        self.raw(self.wire.send(*messages))

    def close(self) -> None:
        self.pipe.to_server.put_eof()

    async def read(self) -> bytes:
        return bytes(await self.pipe.to_client.receive_some())

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


class Stage:
    """A hub on a miniature core, and links to clients over memory streams."""

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
        self.links: list[Link] = []
        self.pipes: list[Pipe] = []
        self.ended: set[int] = set()
        self.end_seen = trio.Event()  # the first of them

    def connect(self) -> Client:
        pipe = Pipe()
        number = len(self.links) + 1
        link = Link(self.hub, number, pipe, f"peer-{number}", Connection(Role.SERVER))
        self.links.append(link)
        self.pipes.append(pipe)
        self.nursery.start_soon(self._run, link)
        return Client(pipe)

    async def _run(self, link: Link) -> None:
        await link.run()
        self.ended.add(link.number)
        self.end_seen.set()

    def on_send(self, number: int, hook: Callable[[], Awaitable[object]]) -> None:
        """Let nothing be sent to *number* at once, and *hook* be awaited after each other send."""
        pipe = self.pipes[number - 1]
        pipe.room, pipe.on_send = 0, hook

    async def settled(self) -> None:
        """Until no task has anything to do: nothing here waits for the outside."""
        await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
async def stage(nursery: trio.Nursery) -> Stage:
    """Ask for ``autojump_clock`` beside it: time then jumps as soon as all tasks wait."""
    return Stage(nursery, 10_000)
