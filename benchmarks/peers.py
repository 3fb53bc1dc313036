"""The contenders of rows 1, 2 and 4: who sets a key, and how durably.

Each of them sets one of a thousand keys to an integer, and returns when the server has said that it has it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.managers
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import score

from . import least as least_set
from . import servers
from .rounds import Contender, Missing, Opened, timed

KEYS = [f"key {i}" for i in range(1000)]


class Setter:
    """Somebody who sets keys, by a call for each."""

    def __init__(self, pids: Sequence[int], operate: Callable[[int], object]) -> None:
        self.pids = pids
        self._operate = operate

    def round(self, count: int) -> list[float]:
        return timed(self._operate, count)


@contextmanager
def score_map(durable: bool, *, uvloop: bool = False) -> Iterator[tuple[int, score.SMap[str, int]]]:
    with servers.score_server(durable=durable, uvloop=uvloop) as running:
        with score.connect(running.url, timeout=120, wait=30) as client:
            yield running.pid, score.SMap[str, int](client, "figures")


def score_set(durable: bool, *, uvloop: bool = False) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Opened]:
        with score_map(durable, uvloop=uvloop) as (pid, shared):

            def operate(i: int) -> None:
                shared[KEYS[i % 1000]] = i

            yield Setter([pid], operate)

    return opened


def redis_client(running: servers.Running) -> Any:
    import redis

    return redis.Redis(port=running.port, protocol=2)


def redis_set(durable: bool) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Opened]:
        with servers.redis_server(durable=durable) as running:
            client = redis_client(running)
            yield Setter([running.pid], lambda i: client.hset("figures", KEYS[i % 1000], i))

    return opened


@contextmanager
def manager_set() -> Iterator[Opened]:
    with multiprocessing.Manager() as manager:
        assert isinstance(manager, multiprocessing.managers.SyncManager)
        shared = manager.dict()
        pid = manager._process.pid  # type: ignore[attr-defined]

        def operate(i: int) -> None:
            shared[KEYS[i % 1000]] = i

        yield Setter([pid], operate)


class NatsSetter:
    """A key-value bucket of JetStream; its client is asyncio's, so a round is one run of the loop."""

    def __init__(self, running: servers.Running) -> None:
        import nats

        self.pids = [running.pid]
        self._loop = asyncio.new_event_loop()
        self._nats = self._loop.run_until_complete(nats.connect(f"nats://127.0.0.1:{running.port}"))
        js = self._nats.jetstream()
        self._bucket = self._loop.run_until_complete(js.create_key_value(bucket="figures"))

    def round(self, count: int) -> list[float]:
        return self._loop.run_until_complete(self._round(count))

    async def _round(self, count: int) -> list[float]:
        clock = self._loop.time
        found = []
        for i in range(count):
            begun = clock()
            await self._bucket.put(f"key.{i % 1000}", b"%d" % i)
            found.append(clock() - begun)
        return found

    def close(self) -> None:
        self._loop.run_until_complete(self._nats.close())
        self._loop.close()


@contextmanager
def nats_set() -> Iterator[Opened]:
    with servers.nats_server() as running:
        setter = NatsSetter(running)
        try:
            yield setter
        finally:
            setter.close()


@contextmanager
def pysyncobj_set() -> Iterator[Opened]:
    """A cluster of one, in this process: what a replicated dict costs without any network."""
    try:
        from pysyncobj import SyncObj, SyncObjConf
        from pysyncobj.batteries import ReplDict
    except ImportError:
        raise Missing("pysyncobj is not installed") from None
    shared = ReplDict()
    address = f"127.0.0.1:{servers.free_port()}"
    node = SyncObj(address, [], conf=SyncObjConf(dynamicMembershipChange=False), consumers=[shared])
    try:
        node.waitReady()
        yield Setter([], lambda i: shared.set(KEYS[i % 1000], i, sync=True))
    finally:
        node.destroy()


def bare_echo() -> Contender:
    """The limit of the machine: a 25-byte question and a 69-byte answer between two plain C-level loops."""
    question = b"q" * 25

    def connected(address: tuple[str, int], stack: ExitStack) -> Callable[[int], object]:
        sock = stack.enter_context(socket.create_connection(address))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def operate(i: int) -> None:
            sock.sendall(question)
            sock.recv(1024)

        return operate

    return Contender("bare echo in Python (the limit)", _forked(_echo, connected))


def least() -> Contender:
    """The limit of Python and trio: what no client and no server of this protocol can leave out."""

    def connected(address: tuple[str, int], stack: ExitStack) -> Callable[[int], object]:
        author = least_set.Author(address)
        stack.callback(author.close)
        return lambda i: author.set(KEYS[i % 1000], i)

    return Contender(
        "the least in Python and trio, nothing checked (the limit)",
        _forked(least_set.serve, connected),
    )


def _forked(
    serve: Callable[[socket.socket], None],
    connected: Callable[[tuple[str, int], ExitStack], Callable[[int], object]],
) -> Callable[[], AbstractContextManager[Opened]]:
    """A contender of which *serve* is the server, in a process of its own."""

    @contextmanager
    def opened() -> Iterator[Opened]:
        listener = socket.create_server(("127.0.0.1", 0))
        context = multiprocessing.get_context("fork")
        process = context.Process(target=serve, args=(listener,), daemon=True)
        process.start()
        with ExitStack() as stack:
            assert process.pid is not None
            yield Setter([process.pid], connected(listener.getsockname(), stack))
        process.kill()
        process.join()
        listener.close()

    return opened


def _echo(listener: socket.socket) -> None:
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answer = b"a" * 69
    while sock.recv(1024):
        sock.sendall(answer)


DURABLE = (
    Contender("score, SQLite", score_set(True)),
    Contender("redis, appendfsync always", redis_set(True)),
    Contender("NATS JetStream, sync always", nats_set),
)
IN_MEMORY = (
    Contender("score, memory", score_set(False)),
    Contender("score's core, asyncio + uvloop", score_set(False, uvloop=True)),
    Contender("redis, no persistence", redis_set(False)),
    Contender("multiprocessing.Manager", manager_set),
    Contender("PySyncObj, one node, no journal", pysyncobj_set),
)
