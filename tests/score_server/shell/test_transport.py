"""The socket under a link, on the real loopback."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from score_server.shell.transport import SocketTransport


@pytest.fixture
async def pair() -> AsyncIterator[tuple[SocketTransport, trio.SocketStream]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = await trio.open_tcp_stream(*listener.getsockname())
        sock, _ = listener.accept()
    sock.setblocking(False)
    transport = SocketTransport(sock)
    yield transport, other
    transport.close()
    await other.aclose()


Pair = tuple[SocketTransport, trio.SocketStream]


async def test_bytes_go_both_ways_until_each_side_ends(pair: Pair) -> None:
    transport, other = pair
    await other.send_all(b"ping")
    assert await transport.receive() == b"ping"
    assert transport.send_now(b"pong") == 4
    assert await other.receive_some() == b"pong"
    transport.send_eof()
    assert await other.receive_some() == b""
    await other.send_all(b"still")
    assert await transport.receive() == b"still"
    await other.send_eof()
    assert await transport.receive() == b""


async def test_what_does_not_fit_is_sent_as_the_peer_takes_it(pair: Pair) -> None:
    transport, other = pair
    data = bytes(range(256)) * 64 * 1024  # 16 MiB: more than any socket holds
    sent = transport.send_now(data)
    while more := transport.send_now(data[sent:]):
        sent += more
    assert 0 < sent < len(data)
    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.send_all, data[sent:])
        while len(received) < len(data):
            received += await other.receive_some()
    assert received == data


async def test_waiting_to_receive_can_be_cancelled_and_waits_again_for_nothing(pair: Pair) -> None:
    transport, other = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.receive)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await other.send_all(b"later")
    assert await transport.receive() == b"later"


async def test_a_wakeup_without_data_is_waited_out(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, other = pair
    wait_readable = trio.lowlevel.wait_readable
    spurious = [True, False]

    async def wait(sock: object) -> None:
        if not spurious.pop(0):
            await other.send_all(b"data")
            await wait_readable(sock)  # type: ignore[arg-type]

    monkeypatch.setattr(trio.lowlevel, "wait_readable", wait)
    assert await transport.receive() == b"data"


async def test_a_peer_that_is_gone_is_one_kind_of_error(pair: Pair) -> None:
    transport, other = pair
    transport.send_now(b"unread")
    await trio.testing.wait_all_tasks_blocked()
    await other.aclose()  # with unread input: the kernel sends a reset
    with pytest.raises(trio.BrokenResourceError):
        await transport.receive()
    with pytest.raises(trio.BrokenResourceError):
        transport.send_now(b"more")
    transport.send_eof()


async def test_closing_wakes_who_waits_and_may_be_repeated(pair: Pair) -> None:
    transport, _ = pair
    with pytest.raises((trio.ClosedResourceError, ExceptionGroup)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.receive)
            await trio.testing.wait_all_tasks_blocked()
            transport.close()
    transport.close()
