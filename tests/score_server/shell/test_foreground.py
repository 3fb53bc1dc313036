"""What a process does around the server; the process itself: ``tests/integration/test_server_process.py``."""

from __future__ import annotations

import os
import resource
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from score_server.config import Address, Config
from score_server.shell import foreground
from score_server.shell.committer import open_committer
from score_server.shell.foreground import StartError, run
from score_server.shell.listening import close_all
from score_server.shell.server import Server
from score_server.stores import open_store
from score_server.stores.base import StoreUnusable

from ..peer import Peer

LOOPBACK = (Address("127.0.0.1", 0),)


class Operator(threading.Thread):
    """Waits for the line that says where the server listens, then does *work* with the url."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, work: Any) -> None:
        super().__init__()
        self._listening = threading.Event()
        self._url = ""
        self._work = work
        info = foreground.logger.info

        def watch(text: str, *arguments: object) -> None:
            info(text, *arguments)
            if "listening" in text:
                self._url = str(arguments[1])
                self._listening.set()

        monkeypatch.setattr(foreground.logger, "info", watch)

    def run(self) -> None:
        self._listening.wait()
        self._work(self._url)


def serve(monkeypatch: pytest.MonkeyPatch, work: Any, store: str = "memory:") -> int:
    operator = Operator(monkeypatch, work)
    operator.start()
    try:
        return run(Config(LOOPBACK, store))
    finally:
        operator.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def work(url: str) -> None:
        peer = Peer(url).greet()
        os.kill(os.getpid(), number)
        peer.told()
        peer.close()

    assert serve(monkeypatch, work) == 0


async def test_the_first_signal_asks_for_the_end_and_the_second_forces_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    send, receive = trio.open_memory_channel[int](2)
    server = Server(open_committer(open_store, "memory:"))
    monkeypatch.setattr(server, "serve", trio.sleep_forever)  # a goodbye that never ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(foreground._serve_until_told, server, receive)
        await send.send(signal.SIGTERM)
        await server.stop.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        await send.send(signal.SIGINT)
    assert "stopping without goodbyes" in caplog.text


def test_what_makes_going_on_unsafe_is_status_3(monkeypatch: pytest.MonkeyPatch) -> None:
    from score_server.core import Core

    def bug(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Core, "handle_all", bug)
    assert serve(monkeypatch, lambda url: None) == 3


def test_a_bug_outside_the_core_is_status_3_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def bug(self: Server) -> None:
        close_all(self._listeners)
        raise ZeroDivisionError

    monkeypatch.setattr(Server, "serve", bug)
    assert run(Config(LOOPBACK, "memory:")) == 3
    assert "internal error" in caplog.text


@pytest.mark.parametrize("error", [StoreUnusable("locked"), OSError("no such folder")])
def test_a_store_that_is_not_usable_is_a_start_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def unusable(url: str) -> None:
        raise error

    monkeypatch.setattr(foreground, "open_store", unusable)
    with pytest.raises(StartError, match=str(error)):
        run(Config(LOOPBACK, "memory:"))


def test_an_address_that_is_not_usable_is_a_start_error_and_lets_the_store_go(
    tmp_path: Path,
) -> None:
    store = f"sqlite:///{tmp_path}/a.db"
    for _ in range(2):  # a store that was not let go would be locked
        with pytest.raises(StartError, match=r"192\.0\.2\.1"):
            run(Config((Address("192.0.2.1", 1),), store))


@pytest.mark.parametrize(
    ("before", "count", "after"),
    [
        ((100, 1000), 500, (500, 1000)),
        ((100, 300), 500, (300, 300)),
        ((100, resource.RLIM_INFINITY), 500, (500, resource.RLIM_INFINITY)),
        ((800, 1000), 500, (800, 1000)),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 500, None),
    ],
)
def test_open_files_are_allowed_as_far_as_needed_and_possible(
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[int, int],
    count: int,
    after: tuple[int, int] | None,
) -> None:
    limits = [before]
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: limits.append(new))
    foreground._allow_open_files(count)
    assert limits[-1] == (after or before)
