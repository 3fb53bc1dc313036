"""The lifecycle in one loop: what ends what, and what happens at the limits."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from score_server.config import Address
from score_server.shell import server as server_module
from score_server.shell.committer import InlineCommitter
from score_server.shell.listening import StartError
from score_server.shell.server import REFUSED_AT_ONCE_MAX, Clock, Server
from score_server.shell.sweeper import EPOLL, Epoll
from score_server.stores.base import Commit, StoreBroken
from score_server.stores.memory import MemoryStore
from score_server.wire.connection import Connection, Role, Signal
from score_server.wire.limits import Limits
from score_server.wire.messages import (
    SHUTTING_DOWN,
    TOO_MANY,
    Error,
    Hello,
    Message,
    OpenSession,
    Welcome,
)

Running = Callable[..., AbstractAsyncContextManager["Bench"]]
LOOPBACK = Address("127.0.0.1", 0)


class Client:
    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.wire = Connection(Role.CLIENT)

    async def send(self, message: Message) -> None:
        await self.stream.send_all(self.wire.send(message))

    async def receive(self) -> Message | None:
        while (message := self.wire.next_message()) is Signal.NEED_DATA:
            self.wire.receive_data(bytes(await self.stream.receive_some()))
        return None if isinstance(message, Signal) else message


class Bench:
    """A server that runs, its address, and what ``serve`` returned."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.address: tuple[str, int] = ("", 0)
        self.addresses: list[tuple[str, int]] = []
        self.ended = trio.Event()
        self.outcome: Exception | None = None
        self.clients: list[Client] = []

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        for url in await self.server.listen([LOOPBACK, LOOPBACK]):
            host, _, port = url.removeprefix("score://").partition(":")
            self.addresses.append((host, int(port)))
        self.address = self.addresses[0]
        task_status.started()
        self.outcome = await self.server.serve()
        self.ended.set()

    async def connect(self, which: int = 0) -> Client:
        self.clients.append(Client(await trio.open_tcp_stream(*self.addresses[which])))
        return self.clients[-1]


@pytest.fixture(params=["sweeping", "a task for each"])
def running(request: pytest.FixtureRequest) -> Running:
    """A server whose connections' bytes one task moves, or tasks of their own."""
    return partial(_running, EPOLL if request.param == "sweeping" else None)


@asynccontextmanager
async def _running(
    epoll: Callable[[], Epoll] | None,
    store: MemoryStore | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Bench]:
    committer = InlineCommitter(lambda: store or MemoryStore())
    bench = Bench(Server(committer, limits, epoll=epoll))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(bench.run)
            yield bench
            bench.server.stop.set()
            for client in bench.clients:
                await client.stream.aclose()
    committer.close()


# ---------------------------------------------------------------- the clock


def test_a_clock_that_is_set_back_goes_on_from_where_it_was() -> None:
    readings = iter([5_000_000, 7_999_999, 2_000_000, 3_000_000, 20_000_000])
    passing = iter([0, 100, 200, 1_000_200, 2_000_200, 3_000_200])
    clock = Clock(lambda: next(readings), lambda: next(passing))
    assert [clock() for _ in range(5)] == [5, 7, 8, 9, 20]


# ---------------------------------------------------------------- ends


async def test_an_address_that_is_in_use_is_an_error_and_nothing_listens(running: Running) -> None:
    async with running() as bench:
        other = Server(InlineCommitter(MemoryStore))
        with pytest.raises(StartError, match="in use"):
            await other.listen([LOOPBACK, Address(*bench.address)])


async def test_setting_stop_tells_everybody_and_ends_it(running: Running) -> None:
    async with running() as bench:
        clients = [await bench.connect() for _ in range(3)]
        for client in clients:
            await client.send(Hello(1, "ada", [], None))
            assert isinstance(await client.receive(), Welcome)
        bench.server.stop.set()
        for client in clients:
            error = await client.receive()
            assert isinstance(error, Error)
            assert error.code == SHUTTING_DOWN
            await client.stream.aclose()
        await bench.ended.wait()
        assert bench.outcome is None
        with pytest.raises(OSError):
            await bench.connect()


async def test_who_connects_while_it_stops_is_turned_away(running: Running) -> None:
    async with running() as bench:
        stuck = await bench.connect()
        await stuck.send(Hello(1, "ada", [], None))
        await stuck.receive()
        bench.server.stop.set()
        late: list[Client] = []
        with pytest.raises(OSError):
            while True:
                late.append(await bench.connect())
        for client in late:  # accepted by the kernel, or just before the end
            with pytest.raises((trio.BrokenResourceError, AssertionError)):
                assert not isinstance(await client.receive(), Error | None)
        await bench.ended.wait()


class BreaksAtFirstCommit(MemoryStore):
    def commit(self, batch: Commit) -> None:
        raise StoreBroken(errno.errorcode[errno.EIO])


async def test_a_broken_store_ends_it_without_an_answer_and_is_returned(running: Running) -> None:
    async with running(BreaksAtFirstCommit()) as bench:
        client, idle = await bench.connect(), await bench.connect()
        await client.send(Hello(1, "ada", [], None))
        await client.receive()
        await client.send(OpenSession(None))
        assert await client.receive() is None
        assert await idle.receive() is None
        await bench.ended.wait()
        assert isinstance(bench.outcome, StoreBroken)


async def test_an_end_that_the_core_never_reaches_has_a_deadline(
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "STOP_S_MAX", 0.01)
    async with running() as bench:
        monkeypatch.setattr(type(bench.server._hub._core), "stopped", False)
        bench.server.stop.set()
        await bench.ended.wait()


# ---------------------------------------------------------------- limits


async def test_connections_beyond_the_limit_are_told_a_bounded_number_at_a_time(
    running: Running,
) -> None:
    async with running(limits=Limits(connections_max=2)) as bench:
        welcome = [await bench.connect() for _ in range(2)]
        for client in welcome:
            await client.send(Hello(1, "ada", [], None))
            assert isinstance(await client.receive(), Welcome)
        crowd = [await bench.connect() for _ in range(REFUSED_AT_ONCE_MAX)]
        crowd += [await bench.connect(which) for which in (0, 1) * 10]
        for client in crowd[:REFUSED_AT_ONCE_MAX]:
            error = await client.receive()
            assert isinstance(error, Error)
            assert error.code == TOO_MANY
        await trio.testing.wait_all_tasks_blocked(0.01)
        # The others are not accepted yet, but for one at the second listener's door.
        assert bench.server._open <= 2 + REFUSED_AT_ONCE_MAX + 1
        for client in crowd[:REFUSED_AT_ONCE_MAX]:
            await client.stream.aclose()
        for client in crowd[REFUSED_AT_ONCE_MAX:]:
            error = await client.receive()
            assert isinstance(error, Error)
            assert error.code == TOO_MANY


async def test_a_peer_that_is_gone_before_it_is_served_is_passed_over(
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tune = server_module.tune
    gone: list[Any] = []

    def first_is_gone(sock: socket.socket) -> str:
        if not gone:
            gone.append(sock)
            raise OSError(errno.ENOTCONN, "not connected")
        return tune(sock)

    monkeypatch.setattr(server_module, "tune", first_is_gone)
    async with running() as bench:
        first, second = await bench.connect(), await bench.connect()
        assert await first.stream.receive_some() == b""
        await second.send(Hello(1, "ada", [], None))
        assert isinstance(await second.receive(), Welcome)
