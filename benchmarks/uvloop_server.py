"""The same core and the same wire under asyncio and uvloop: the yardstick for what trio costs.

    python -m benchmarks.uvloop_server PORT STORE

Not a server to use: it has no deadlines for goodbyes, no bound on unfinished frames, no orderly stop.
What it does for each submission is what the product's shell does: the reader hands messages to the core,
the committer (the product's own) makes them durable, and output is pulled and written once.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import sys
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import uvloop

from score_server.core import Core
from score_server.core.events import (
    CloseAfterOutput,
    Connected,
    Disconnected,
    Effect,
    Event,
    Faulted,
    Received,
    Wake,
)
from score_server.shell.committer import Committer, open_committer
from score_server.shell.endpoint import RUN_MAX
from score_server.stores import open_store
from score_server.wire.connection import Connection, Role, Signal
from score_server.wire.errors import RemoteProtocolError
from score_server.wire.limits import Limits
from score_server.wire.runs import Output

from .machine import allow_open_files

LIMITS = Limits(connections_max=20_000)
OUTPUT_BYTES = 256 * 1024
EVENTS_MAX = 64


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Hub:
    """Owns the core; the asyncio twin of ``score_server.shell.hub``."""

    def __init__(self, committer: Committer, loop: asyncio.AbstractEventLoop) -> None:
        self.core = Core(committer.state, LIMITS, lambda: os.urandom(16), "uvloop", now_ms())
        self.peers: dict[int, Peer] = {}
        self.numbers = itertools.count(1)
        self._committer = committer
        self._loop = loop
        self._woken: dict[int, Peer] = {}
        self._flush_is_due = False
        committer.attach(loop.call_soon_threadsafe, self._deliver, self._fail)

    def step(self, events: Iterable[Event]) -> None:
        self._do(self.core.handle_all(events, now_ms()))

    def output(self, peer: Peer) -> list[Output]:
        """What *peer* is to be sent now, and whatever that leads to done."""
        messages = self.core.output(peer.number, OUTPUT_BYTES)
        if effects := self.core.take_effects():
            self._do(effects)
            self._stir()
        return messages

    def _do(self, effects: list[Effect]) -> None:
        answers: deque[Event] = deque()
        while True:
            for effect in effects:
                if isinstance(effect, Wake | CloseAfterOutput):
                    peer = self.peers[effect.connection]
                    peer.ends = peer.ends or isinstance(effect, CloseAfterOutput)
                    self._woken[effect.connection] = peer
                elif (answer := self._committer.submit(effect)) is not None:
                    answers.append(answer)
            if not answers:
                break
            effects = self.core.handle(answers.popleft(), now_ms())

    def receive(self, peer: Peer, events: Iterable[Event]) -> None:
        self.step(events)
        if self._woken.pop(peer.number, None) is not None:
            peer.flush()
        self._stir()

    def _stir(self) -> None:
        if self._woken and not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        while self._woken:
            self._woken.popitem()[1].flush()

    def _deliver(self, event: Event) -> None:
        self.step([event])
        self._flush()

    def _fail(self, error: Exception) -> None:
        raise SystemExit(f"the store is broken: {error}")


class Peer(asyncio.Protocol):
    """A connection."""

    def __init__(self, hub: Hub) -> None:
        self.number = next(hub.numbers)
        self.ends = False
        self._hub = hub
        self._wire = Connection(Role.SERVER, LIMITS)
        self._paused = False

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport
        transport.set_write_buffer_limits(OUTPUT_BYTES)
        self._hub.peers[self.number] = self
        self._hub.step([Connected(self.number)])

    def data_received(self, data: bytes) -> None:
        self._wire.receive_data(data)
        while events := self._received():
            self._hub.receive(self, events)

    def _received(self) -> list[Event]:
        events: list[Event] = []
        try:
            while len(events) < EVENTS_MAX:
                message = self._wire.next_message_or_run(RUN_MAX)
                if isinstance(message, Signal):
                    break
                events.append(Received(self.number, message))
        except RemoteProtocolError as error:
            events.append(Faulted(self.number, error.code, error.text))
        return events

    def flush(self) -> None:
        hub = self._hub
        while not self._paused and hub.core.has_output(self.number):
            if not (messages := hub.output(self)):
                break
            self._transport.write(self._wire.send(*messages))
        if self.ends:
            self._transport.close()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._hub.step([Disconnected(self.number)])
        self._hub._woken.pop(self.number, None)
        del self._hub.peers[self.number]


async def serve(port: int, committer: Committer) -> None:
    loop = asyncio.get_running_loop()
    hub = Hub(committer, loop)
    server = await loop.create_server(lambda: Peer(hub), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    port, store = sys.argv[1:]
    allow_open_files(LIMITS.connections_max + 100)
    opened = open_committer(open_store, store)
    gc.freeze()  # as the product's own start does
    uvloop.run(serve(int(port), opened))
