"""A server in a thread: the whole shell at work, over real sockets."""

from __future__ import annotations

import atexit
import errno
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from score_server.config import ConfigError
from score_server.shell import background
from score_server.shell.background import BackgroundServer
from score_server.shell.listening import StartError
from score_server.stores.base import Commit, StoreBroken, StoreUnusable
from score_server.stores.memory import MemoryStore
from score_server.wire.limits import Limits
from score_server.wire.messages import SHUTTING_DOWN, TIMED_OUT, TOO_MANY, Hello, Welcome

from ..peer import Peer, address_of, peers


def test_it_is_ready_when_it_is_constructed_and_gone_when_it_is_closed() -> None:
    with BackgroundServer() as server, peers(server.url) as (peer,):
        assert peer.greet().is_served()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address_of(server.url))


def test_changes_go_from_one_client_to_another() -> None:
    with BackgroundServer() as server, peers(server.url, 2) as (one, two):
        one.greet().open().join()
        two.greet().join()
        one.submit(1, b"first")
        one.submit(2, b"second")
        assert two.sync() == [b"first", b"second"]


def test_a_file_keeps_what_was_acknowledged_for_the_next_server(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with BackgroundServer(url) as server, peers(server.url) as (peer,):
        peer.greet().open().join()
        peer.submit(1, b"kept")
    with BackgroundServer(url) as server, peers(server.url) as (peer,):
        peer.greet().join()
        assert peer.sync() == [b"kept"]


def test_closing_says_goodbye_to_everybody() -> None:
    server = BackgroundServer()
    with peers(server.url, 3) as found:
        for peer in found[:2]:
            peer.greet()
        assert found[0].is_served()
        server.close()
        server.close()  # once is enough
        for peer in found[:2]:
            assert peer.told() == SHUTTING_DOWN


def test_limits_are_announced_and_kept() -> None:
    limits = Limits(connections_max=2)
    with BackgroundServer(limits=limits) as server, peers(server.url, 2) as (one, two):
        one.greet()
        two.greet()
        assert one.wire.limits == limits
        with peers(server.url) as (three,):
            assert three.told() == TOO_MANY
        one.close()
        while not is_accepted(server.url):  # until the server has noticed that *one* is gone
            pass
        assert two.is_served()


def is_accepted(url: str) -> bool:
    with peers(url) as (peer,):
        peer.send(Hello(1, "late", [], None))
        return type(peer.receive()) is Welcome


def test_who_says_nothing_is_told_in_time() -> None:
    with BackgroundServer(limits=Limits(hello_timeout_s=1)) as server:
        with peers(server.url, 2) as (silent, other):
            other.greet()
            assert silent.told() == TIMED_OUT
            assert other.is_served()


def test_a_peer_that_resets_is_nobody_elses_problem() -> None:
    with BackgroundServer() as server, peers(server.url) as (other,):
        other.greet()
        for _ in range(20):
            peer = Peer(server.url)
            peer.raw(b"\x00\x00")
            peer.reset()
        assert other.is_served()


# ---------------------------------------------------------------- what cannot be


def test_a_wrong_url_is_refused() -> None:
    with pytest.raises(ConfigError, match="store 'redis://'"):
        BackgroundServer("redis://")


def test_a_store_that_is_not_usable_is_the_constructors_error(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with BackgroundServer(url), pytest.raises(StoreUnusable):
        BackgroundServer(url)


def test_a_network_that_is_not_usable_is_the_constructors_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Elsewhere(background.Address):
        def __new__(cls, host: str, port: int) -> background.Address:
            return super().__new__(cls, "192.0.2.1", port)

    monkeypatch.setattr(background, "Address", Elsewhere)
    with pytest.raises(StartError, match=r"192\.0\.2\.1"):
        BackgroundServer()


class BreaksAtSecondCommit(MemoryStore):
    commits = 0

    def commit(self, batch: Commit) -> None:
        self.commits += 1
        if self.commits == 2:
            raise StoreBroken(f"fsync: {errno.errorcode[errno.EIO]}")
        super().commit(batch)


def test_a_broken_store_ends_the_server_without_an_acknowledgement(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "open_store", lambda url: BreaksAtSecondCommit())
    server = BackgroundServer()
    with peers(server.url) as (peer,):
        peer.greet().open().join()
        with pytest.raises((AssertionError, ConnectionError)):
            peer.submit(1)
    server._thread.join()
    server.close()
    assert "the store is not usable any more: fsync: EIO" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]


# ---------------------------------------------------------------- the end of a process


def test_a_process_may_end_without_closing_it() -> None:
    code = "from score_server.shell.background import BackgroundServer as B; print(B().url)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("score://127.0.0.1:")
    assert done.stderr == ""


def test_a_closed_server_leaves_nothing_to_do_at_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[object] = []
    monkeypatch.setattr(atexit, "register", left.append)
    monkeypatch.setattr(atexit, "unregister", left.remove)
    server = BackgroundServer()
    assert left
    server.close()
    assert not left


def test_the_parents_server_is_not_a_forked_childs_to_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with BackgroundServer() as server, peers(server.url) as (peer,):
        peer.greet()
        here = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: here + 1)
        server.close()
        monkeypatch.undo()
        assert peer.is_served()
