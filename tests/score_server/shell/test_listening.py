"""Listening sockets and their options, on the real loopback."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
import trio
import trio.testing

from score_server.config import Address
from score_server.shell import listening
from score_server.shell.listening import StartError, accept, open_listeners, tune, url_of

LOOPBACK = Address("127.0.0.1", 0)


def close(listeners: list[trio.SocketListener]) -> None:
    for listener in listeners:
        listener.socket.close()


async def test_port_0_becomes_a_real_port_in_the_url() -> None:
    listeners = await open_listeners([LOOPBACK, Address("::1", 0)])
    four, six = map(url_of, listeners)
    assert four.startswith("score://127.0.0.1:")
    assert six.startswith("score://[::1]:")
    assert int(four.rpartition(":")[2]) > 0
    close(listeners)


async def test_a_port_in_use_is_said_and_nothing_stays_open() -> None:
    listeners = await open_listeners([LOOPBACK])
    port = listeners[0].socket.getsockname()[1]
    with pytest.raises(
        StartError, match=rf"cannot listen on 127\.0\.0\.1:{port}: the port is in use"
    ):
        await open_listeners([LOOPBACK, Address("127.0.0.1", port)])
    close(listeners)


async def test_a_name_that_nobody_knows_is_said() -> None:
    with pytest.raises(StartError, match=r"cannot listen on no\.such\.host\.invalid:1: "):
        await open_listeners([Address("no.such.host.invalid", 1)])


async def test_a_foreign_address_is_said() -> None:
    with pytest.raises(StartError, match=r"192\.0\.2\.1:1: .*assign"):
        await open_listeners([Address("192.0.2.1", 1)])


async def test_a_port_whose_last_connections_linger_can_be_taken_again() -> None:
    (listener,) = await open_listeners([LOOPBACK])
    port = listener.socket.getsockname()[1]
    client = await trio.open_tcp_stream("127.0.0.1", port)
    served = await listener.accept()
    await served.aclose()  # the server's side closes first, so it is the one in TIME_WAIT
    await client.aclose()
    close([listener])
    close(await open_listeners([Address("127.0.0.1", port)]))


async def test_connections_send_at_once_and_notice_dead_peers(nursery: trio.Nursery) -> None:
    (listener,) = await open_listeners([LOOPBACK])
    accepted: list[trio.SocketStream] = []
    there = trio.Event()

    async def begin(stream: trio.SocketStream) -> None:
        accepted.append(stream)
        there.set()

    nursery.start_soon(accept, listener, begin)
    client = await trio.open_tcp_stream(*listener.socket.getsockname())
    await there.wait()
    sock = accepted[0].socket
    host, port = client.socket.getsockname()
    assert tune(sock) == f"{host}:{port}"
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    await client.aclose()
    await accepted[0].aclose()
    nursery.cancel_scope.cancel()
    close([listener])


class Scripted:
    """A listener whose ``accept`` raises or returns what the script says, then waits for ever."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)

    async def accept(self) -> Any:
        await trio.lowlevel.checkpoint()
        if not self.script:
            await trio.sleep_forever()
        step = self.script.pop(0)
        if isinstance(step, OSError):
            raise step
        return step


async def test_without_descriptors_it_waits_says_so_once_and_goes_on(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    full = OSError(errno.EMFILE, "Too many open files")
    listener = Scripted("first", full, full, full, "second", "third")
    accepted: list[tuple[Any, float]] = []
    begun = trio.current_time()

    async def begin(stream: Any) -> None:
        accepted.append((stream, round(trio.current_time() - begun, 3)))

    with trio.move_on_after(60), caplog.at_level("INFO", "score_server"):
        await accept(listener, begin)  # type: ignore[arg-type]
    assert accepted == [("first", 0), ("second", 0.3), ("third", 0.3)]
    assert [record.getMessage() for record in caplog.records] == [
        "cannot accept connections for now: Too many open files",
        "accepting connections again",
    ]


async def test_any_other_failure_to_accept_is_an_error() -> None:
    with pytest.raises(OSError, match="Bad file"):
        await accept(Scripted(OSError(errno.EBADF, "Bad file descriptor")), trio.sleep)  # type: ignore[arg-type]


async def test_a_system_without_an_option_goes_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "KEEPALIVE", {"TCP_NO_SUCH_OPTION": 1})
    left, right = trio.socket.socketpair(socket.AF_UNIX)
    with left, right, pytest.raises(ValueError):
        tune(left)  # AF_UNIX has no host and port, but the options were passed over
