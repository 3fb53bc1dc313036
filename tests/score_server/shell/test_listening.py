"""Listening sockets and their options, on the real loopback."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing

from score_server.config import Address
from score_server.shell import listening
from score_server.shell.listening import StartError, accept, close_all, open_listeners, tune, url_of

LOOPBACK = Address("127.0.0.1", 0)


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    """Sockets to be closed at the end."""
    found: list[socket.socket] = []
    yield found
    for sock in found:
        sock.close()


async def test_port_0_becomes_a_real_port_in_the_url(opened: list[socket.socket]) -> None:
    opened += await open_listeners([LOOPBACK, Address("::1", 0)])
    four, six = map(url_of, opened)
    assert four.startswith("score://127.0.0.1:")
    assert six.startswith("score://[::1]:")
    assert int(four.rpartition(":")[2]) > 0


async def test_a_port_in_use_is_said_and_nothing_stays_open(opened: list[socket.socket]) -> None:
    opened += await open_listeners([LOOPBACK])
    port = opened[0].getsockname()[1]
    with pytest.raises(
        StartError, match=rf"cannot listen on 127\.0\.0\.1:{port}: the port is in use"
    ):
        # What stayed open of the first would be a ResourceWarning, which is an error here.
        await open_listeners([LOOPBACK, Address("127.0.0.1", port)])


async def test_all_addresses_of_both_families_can_be_listened_on_at_once(
    opened: list[socket.socket],
) -> None:
    opened += await open_listeners([Address("0.0.0.0", 0)])
    opened += await open_listeners([Address("::", opened[0].getsockname()[1])])
    assert opened[0].getsockname()[1] == opened[1].getsockname()[1]


async def test_a_name_that_nobody_knows_is_said() -> None:
    with pytest.raises(StartError, match=r"cannot listen on no\.such\.host\.invalid:1: "):
        await open_listeners([Address("no.such.host.invalid", 1)])


async def test_a_foreign_address_is_said() -> None:
    with pytest.raises(StartError, match=r"192\.0\.2\.1:1: .*assign"):
        await open_listeners([Address("192.0.2.1", 1)])


async def test_a_port_whose_last_connections_linger_can_be_taken_again(
    opened: list[socket.socket],
) -> None:
    (listener,) = await open_listeners([LOOPBACK])
    client = socket.create_connection(listener.getsockname())
    served, _ = listener.accept()
    served.close()  # the server's side closes first, so it is the one in TIME_WAIT
    client.close()
    where = Address("127.0.0.1", listener.getsockname()[1])
    close_all([listener])
    opened += await open_listeners([where])


async def test_connections_send_at_once_and_notice_dead_peers(
    nursery: trio.Nursery, opened: list[socket.socket]
) -> None:
    opened += await open_listeners([LOOPBACK])
    there = trio.Event()

    async def begin(sock: socket.socket) -> None:
        opened.append(sock)
        there.set()

    nursery.start_soon(accept, opened[0], begin)
    with socket.create_connection(opened[0].getsockname()) as client:
        await there.wait()
        sock = opened[1]
        host, port = client.getsockname()
        assert tune(sock) == f"{host}:{port}"
        assert not sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    nursery.cancel_scope.cancel()


class Scripted:
    """A listener whose ``accept`` raises or returns what the script says."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)

    async def wait_readable(self, _: object) -> None:
        await trio.lowlevel.checkpoint()
        if not self.script:
            await trio.sleep_forever()

    def accept(self) -> Any:
        step = self.script.pop(0)
        if isinstance(step, OSError):
            raise step
        return step, None


async def accepted(listener: Scripted, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, float]]:
    """What is accepted, each with the time at which it was."""
    monkeypatch.setattr(trio.lowlevel, "wait_readable", listener.wait_readable)
    found: list[tuple[Any, float]] = []
    begun = trio.current_time()

    async def begin(sock: Any) -> None:
        found.append((sock, round(trio.current_time() - begun, 3)))

    with trio.move_on_after(60):
        await accept(listener, begin)  # type: ignore[arg-type]
    return found


async def test_without_descriptors_it_waits_says_so_once_and_goes_on(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    full = OSError(errno.EMFILE, "Too many open files")
    listener = Scripted("first", full, full, full, "second", "third")
    with caplog.at_level("INFO", "score_server"):
        found = await accepted(listener, monkeypatch)
    assert found == [("first", 0), ("second", 0.3), ("third", 0.3)]
    assert [record.getMessage() for record in caplog.records] == [
        "cannot accept connections for now: Too many open files",
        "accepting connections again",
    ]


async def test_connections_that_went_away_before_they_were_accepted_are_passed_over(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = Scripted(BlockingIOError(), ConnectionAbortedError(), "next")
    assert await accepted(listener, monkeypatch) == [("next", 0)]
    assert caplog.text == ""


def test_a_system_without_an_option_goes_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "TCP_OPTIONS", {"TCP_NO_SUCH_OPTION": 1})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as client:
            sock, _ = listener.accept()
            with sock:
                assert tune(sock).endswith(f":{client.getsockname()[1]}")
