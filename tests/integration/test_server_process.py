"""``score-server`` as an operator meets it: real processes, sockets, signals, and an SQLite file."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import sqlite3
import stat
from pathlib import Path

import pytest

from score_server.wire.limits import MIB
from score_server.wire.messages import SHUTTING_DOWN, Credit, Error, Hello, Join, Submit, Taken

from ..score_server.peer import Peer, address_of, peers
from .processes import ServerProcess, serving

ANY_PORT = ("--listen", "127.0.0.1:0")
IN_MEMORY = (*ANY_PORT, "--store", "memory:")


@pytest.fixture
def file(tmp_path: Path) -> tuple[str, ...]:
    return (*ANY_PORT, "--store", f"sqlite:///{tmp_path}/a.db")


def refused(*arguments: str) -> tuple[int, str]:
    """Exit status and the one line of a server that does not start."""
    server = ServerProcess(*arguments)
    status = server.finish()
    (line,) = server.log
    assert line.startswith("score-server: ")
    return status, line


# ---------------------------------------------------------------- starting


def test_the_first_line_says_where_it_listens_and_where_the_data_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with serving(*ANY_PORT, "--listen", "[::1]:0", "--store", url) as server:
        four, six = server.urls
        assert re.search(
            rf"INFO +score-server 0\.1\.0 listening on {four}, {re.escape(six)}, store {url}\n",
            server.log[0],
        )
        for where in (four, six):
            with peers(where) as (peer,):
                assert peer.greet().is_served()


def test_variables_configure_it_too() -> None:
    env = {"SCORE_LISTEN": "127.0.0.1:0", "SCORE_STORE": "memory:", "SCORE_LOG_LEVEL": "debug"}
    with serving(env=env) as server, peers(server.url) as (peer,):
        peer.greet()
        server.wait_for(r"DEBUG +127\.0\.0\.1:\d+: connected")


def test_listening_to_all_without_authentication_is_said_aloud() -> None:
    with serving("--listen", "0.0.0.0:0", "--no-auth", "--store", "memory:") as server:
        server.wait_for("WARNING  no authentication")
        assert server.stop() == 0


# ---------------------------------------------------------------- what keeps it from starting


def test_a_port_in_use_is_one_line() -> None:
    with serving(*IN_MEMORY) as server:
        where = "{}:{}".format(*address_of(server.url))
        status, line = refused("--listen", where, "--store", "memory:")
        assert status == 1
        assert f"cannot listen on {where}: the port is in use" in line


def test_a_second_server_on_one_file_is_one_line_and_the_first_goes_on(
    file: tuple[str, ...],
) -> None:
    with serving(*file) as server, peers(server.url) as (peer,):
        peer.greet().open().join()
        status, line = refused(*file)
        assert status == 1
        assert file[-1].removeprefix("sqlite:///") in line
        assert peer.submit(1) > 0


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    status, line = refused(*ANY_PORT, "--store", f"sqlite:///{tmp_path}/missing/a.db")
    assert status == 1
    assert f"{tmp_path}/missing" in line


def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        folder = Path("/proc")  # root may write everywhere else
    else:
        folder = tmp_path
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    status, line = refused(*ANY_PORT, "--store", f"sqlite:///{folder}/a.db")
    assert status == 1
    assert f"{folder}/a.db" in line


@pytest.mark.parametrize("kind", ["text", "another database", "a folder"])
def test_a_file_that_is_not_ours_is_one_line_and_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.db"
    if kind == "text":
        path.write_bytes(b"my diary, " * 1000)
    elif kind == "a folder":
        path.mkdir()
    else:
        connection = sqlite3.connect(path)
        connection.execute("create table diary (text)")
        connection.close()
    before = path.read_bytes() if path.is_file() else b""
    status, line = refused(*ANY_PORT, "--store", f"sqlite:///{path}")
    assert status == 1
    assert str(path) in line
    assert (path.read_bytes() if path.is_file() else b"") == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "say where to keep the data"),
        (("--store", "redis://x"), "give sqlite:///"),
        ((*IN_MEMORY, "--listen", "0.0.0.0:0"), "--no-auth"),
        ((*IN_MEMORY, "--nonsense"), "--help"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    arguments: tuple[str, ...], text: str
) -> None:
    status, line = refused(*arguments)
    assert status == 2
    assert text in line


# ---------------------------------------------------------------- stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(file: tuple[str, ...], number: signal.Signals) -> None:
    with serving(*file) as server, peers(server.url, 2) as (one, two):
        one.greet().open().join()
        two.greet()
        position = one.submit(1, b"kept")
        server.signal(number)
        assert one.told() == SHUTTING_DOWN
        assert two.told() == SHUTTING_DOWN
        assert server.finish() == 0
        assert [line.split("  ", 1)[1].strip() for line in server.log[1:]] == [
            f"received {number.name}", "stopping: 2 connections", "stopped",
        ]  # fmt: skip
    with serving(*file) as server, peers(server.url) as (peer,):
        assert peer.greet().join().head == position
        assert peer.sync() == [b"kept"]


def test_nothing_acknowledged_before_sigterm_is_lost(file: tuple[str, ...]) -> None:
    with serving(*file) as server, peers(server.url) as (peer,):
        peer.greet().open().join()
        for seq in range(1, 501):  # more than can be decided before the signal
            peer.send(Submit(1, seq, 0, 0, 0, 0, b"%d" % seq))
        server.signal(signal.SIGTERM)
        taken = []
        while (message := peer.receive()) is not None and type(message) is not Error:
            if type(message) is Taken:
                taken.append(message.seq)
        assert server.finish() == 0
    with serving(*file) as server, peers(server.url) as (other,):
        other.greet().join()
        kept = other.sync()
        assert kept[: len(taken)] == [b"%d" % seq for seq in taken]
        assert kept == [b"%d" % seq for seq in range(1, len(kept) + 1)]


def stuff(server: ServerProcess, stuck: Peer, other: Peer) -> None:
    """Have *stuck* owed more than its socket holds, so that it can be sent nothing more."""
    stuck.greet().join()
    stuck.send(Credit(1, 16 * MIB))
    assert stuck.is_served()
    other.greet().open().join()
    for seq in range(1, 6):
        other.submit(seq, bytes(4 * MIB - 100))


def test_a_client_outside_a_call_does_not_hold_the_end_up() -> None:
    with serving(*IN_MEMORY) as server, peers(server.url) as (idle,):
        idle.greet().open().join()
        server.signal(signal.SIGTERM)
        assert server.finish() == 0  # idle has neither read nor closed


def test_a_second_signal_cuts_goodbyes_short() -> None:
    with serving(*IN_MEMORY) as server, peers(server.url, 2) as (stuck, other):
        stuff(server, stuck, other)
        server.signal(signal.SIGTERM)
        server.wait_for("stopping")
        server.signal(signal.SIGTERM)
        server.wait_for("without goodbyes")
        assert server.finish() == 0


# ---------------------------------------------------------------- being killed


def test_a_killed_server_can_be_started_on_its_port_at_once_with_everything_acknowledged(
    file: tuple[str, ...],
) -> None:
    acknowledged: list[bytes] = []
    where: tuple[str, ...] = file
    for round_ in range(3):
        with serving(*where) as server, peers(server.url) as (peer,):
            where = ("--listen", "{}:{}".format(*address_of(server.url)), *file[2:])
            peer.greet().open().join()
            for seq in range(1, 21):
                payload = b"%d.%d" % (round_, seq)
                peer.submit(seq, payload)
                acknowledged.append(payload)
            server.kill()
            assert peer.receive() is None
    with serving(*where) as server, peers(server.url) as (peer,):
        peer.greet().join()
        assert peer.sync() == acknowledged


def test_an_unacknowledged_submission_is_decided_once_by_its_name(file: tuple[str, ...]) -> None:
    with serving(*file) as server, peers(server.url) as (peer,):
        session = peer.greet().open().session
        peer.join()
        peer.send(Submit(1, 1, 0, 0, 0, 0, b"once"))
        server.kill()
    with serving(*file) as server, peers(server.url) as (peer,):
        peer.greet().open(session)  # SessionOpened was said, so it is durable
        peer.join()
        peer.submit(1, b"once")
        assert peer.sync() == [b"once"]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
def test_a_disk_that_fails_stops_it_with_status_3_and_nothing_acknowledged_is_lost(
    file: tuple[str, ...],
) -> None:
    with serving(*file) as server, peers(server.url) as (peer,):
        peer.greet().open().join()
        peer.submit(1, b"kept")
        # From here on no file may grow beyond that: not a full disk, which is reported otherwise.
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (MIB, MIB))
        peer.send(Submit(1, 2, 0, 0, 0, 0, bytes(2 * MIB)))
        assert peer.receive() is None  # no answer at all
        assert server.finish() == 3
        assert re.search("CRITICAL stopping at once, the store is not usable", server.log[-1])
    with serving(*file) as server, peers(server.url) as (other,):
        other.greet().join()
        assert other.sync() == [b"kept"]


# ---------------------------------------------------------------- the log


def test_a_name_from_a_client_cannot_forge_a_log_line() -> None:
    hostile = "x\n2026-01-01 00:00:00.000Z INFO     stopped"
    with serving(*IN_MEMORY) as server:
        peer = Peer(server.url).greet(hostile)
        peer.send(Join(1, hostile, None))
        peer.raw(b"\xff" * 4)
        server.wait_for("told: ")
        peer.close()
        server.stop()
        assert sum(line.endswith("INFO     stopped\n") for line in server.log) == 1
        assert all(re.match(r"\d{4}-\d\d-\d\d [\d:.]+Z [A-Z]+ +\S", line) for line in server.log)


# ---------------------------------------------------------------- running out


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
def test_without_file_descriptors_it_goes_on_with_those_it_has() -> None:
    with serving(*IN_MEMORY) as server, peers(server.url) as (first,):
        first.greet()
        used = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (used + 2, used + 2))
        with peers(server.url, 5) as crowd:
            server.wait_for("cannot accept connections for now")
            assert first.is_served()
            for peer in crowd[:2]:
                assert peer.greet().is_served()
        server.wait_for("accepting connections again")
        with peers(server.url) as (late,):
            assert late.greet().is_served()


def test_a_connection_that_only_connects_costs_nobody_anything() -> None:
    with serving(*IN_MEMORY) as server, peers(server.url) as (peer,):
        for _ in range(50):
            socket.create_connection(address_of(server.url)).close()
        peer.send(Hello(1, "late", [], None))
        assert peer.receive() is not None
