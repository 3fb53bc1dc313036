"""The network between clients and server: bytes on their way, and what can happen to them.

A connection has two pipes.  Bytes are moved out of a pipe by the scheduler, in pieces of any size and at
any time later; so a frame can be split anywhere, an old connection's bytes can arrive after a new one's, and each
side learns of the end of a connection at another moment.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .workload import Process
    from .world import World

URL = "score://simulated:1"
LATE_STEPS_MAX = 200


class Pipe:
    """One direction.  *end*: None, "eof" or "reset", once the bytes before it have been moved."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.end: str | None = None
        self.stalled_until = self.ends_at = 0.0
        self.swallows = False  # half-open: nothing arrives, and nobody is told

    def put(self, data: bytes) -> None:
        if self.end is None and not self.swallows:
            self.data += data

    def has_news(self, now: float) -> bool:
        has_ended = self.end is not None and now >= self.ends_at
        return (bool(self.data) or has_ended) and now >= self.stalled_until

    def finish(self, end: str) -> None:
        if self.end is None and not self.swallows:
            self.end = end

    def cut(self, keep: int) -> None:
        """Lose all but *keep* bytes, and end with a reset."""
        del self.data[keep:]
        self.end = "reset"


class Connection:
    """What the network knows of one connection."""

    def __init__(self, number: int, label: str, window: int) -> None:
        self.number = number
        self.label = label
        self.window = window
        self.to_server, self.to_client = Pipe(), Pipe()
        self.inbox = bytearray()  # has arrived at the client, was not received yet
        self.client_end: str | None = None
        self.client_closed = False
        self.server_closed = False
        self.heals_at: float | None = None

    @property
    def over(self) -> bool:
        return self.client_closed and self.server_closed

    @property
    def takes_more(self) -> bool:
        """Whether the client's kernel takes more than it holds for it."""
        return self.client_end is None and len(self.inbox) < self.window

    @property
    def room(self) -> int:
        """How much the server's kernel takes for the client."""
        return self.window - len(self.to_client.data)

    @property
    def is_moving(self) -> bool:
        """Whether something is on its way: bytes, or the word that it has ended."""
        there = not self.server_closed and bool(self.to_server.data or self.to_server.end)
        is_read = not self.client_closed and self.takes_more
        return there or (is_read and bool(self.to_client.data or self.to_client.end))

    def cut(self, choose: random.Random) -> None:
        for pipe in (self.to_server, self.to_client):
            pipe.cut(choose.choice((0, len(pipe.data), choose.randrange(len(pipe.data) + 1))))

    def half_open(self, choose: random.Random, heals_at: float) -> None:
        """From a byte on, nothing arrives any more; noticed only at *heals_at*."""
        self.heals_at = heals_at
        for pipe in (self.to_server, self.to_client):
            del pipe.data[choose.randrange(len(pipe.data) + 1) :]
            if pipe.end is None:
                pipe.swallows = True

    def heal(self) -> None:
        """The dead connection is noticed by both sides."""
        self.heals_at = None
        for pipe in (self.to_server, self.to_client):
            if pipe.swallows:
                pipe.swallows = False
                pipe.end = "reset"

    def arrive(self, size: int) -> None:
        """Move *size* bytes to the client, or the end when there are none."""
        pipe = self.to_client
        if pipe.data:
            self.inbox += pipe.data[:size]
            del pipe.data[:size]
        elif pipe.end is not None and self.client_end is None:
            self.client_end = pipe.end


class SimStream:
    """The client's end.  See ``score.blocking.Stream``."""

    def __init__(self, world: World, process: Process, connection: Connection) -> None:
        self._world = world
        self._process = process
        self._connection = connection

    def send_all(self, data: bytes, timeout: float | None) -> None:
        connection, task = self._connection, self._process.task
        if connection.client_end == "reset":
            raise BrokenPipeError("the simulated connection was reset")
        self._process.note_names()
        if self._world.dies_while_sending(self._process):
            connection.to_server.put(data[: self._world.choose.randrange(len(data) + 1)])
            task.killed = True
            task.pause("its death", lambda: True)
        connection.to_server.put(data)

    def receive(self, timeout: float | None) -> bytes:
        connection, world = self._connection, self._world
        if not connection.inbox and connection.client_end is None:
            until = None if timeout is None else world.now + timeout
            self._process.task.pause(
                f"bytes on connection {connection.number}",
                lambda: bool(connection.inbox) or connection.client_end is not None,
                until,
            )
        if connection.inbox:
            data = bytes(connection.inbox)
            connection.inbox.clear()
            return data
        if connection.client_end == "reset":
            raise ConnectionResetError("the simulated connection was reset")
        if connection.client_end == "eof":
            return b""
        raise TimeoutError("timed out in the simulation")

    def close(self) -> None:
        connection, world = self._connection, self._world
        pipe = connection.to_server
        connection.client_closed = True
        if pipe.data and not world.healing:
            # What was sent last may be on its way for longer than it takes to connect again.
            late_s = world.choose.choice((0, 0, 0, LATE_STEPS_MAX)) * world.step_s
            pipe.stalled_until = max(pipe.stalled_until, world.now + late_s * world.choose.random())
            pipe.ends_at = pipe.stalled_until + late_s * world.choose.random()
        pipe.finish("eof")
        connection.to_client.data.clear()


class SimSurroundings:
    """A client's clock, chance and network.  See ``score.blocking.Surroundings``."""

    def __init__(self, world: World, process: Process, seed: str) -> None:
        self._world = world
        self._process = process
        self._seed = seed
        self.slept_s = 0.0

    def monotonic(self) -> float:
        return self._world.now

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        self._process.task.pause("sleep", lambda: False, self._world.now + seconds)

    def random(self) -> random.Random:
        return random.Random(self._seed)

    def connect(self, host: str, port: int, timeout: float | None) -> SimStream:
        self._process.task.pause("a connection", lambda: True)
        connection = self._world.connect(self._process)
        if connection is None:
            raise ConnectionRefusedError("no server in the simulation listens")
        return SimStream(self._world, self._process, connection)
