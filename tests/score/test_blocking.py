"""Addresses, deadlines and delays; the driver's socket work is tested through ``test_client.py``."""

from __future__ import annotations

import itertools
import random
import signal
import socket
import threading

import pytest

from score.blocking import (
    BACKOFF_S_MAX,
    Address,
    Deadline,
    Link,
    OperatingSystem,
    SocketStream,
    backoff_delays,
)
from score.conversation import ConnectionLost
from score.errors import DeadlineExceeded, InvalidUrlError

AROUND = OperatingSystem()


def test_without_a_url_the_environment_and_then_the_default_decide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCORE_URL", "score://[::1]:99")
    address = Address(None)
    assert (address.host, address.port) == ("::1", 99)
    assert Address("score://there").port == 7737
    monkeypatch.delenv("SCORE_URL")
    assert Address(None).url == "score://127.0.0.1:7737"


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:7737",
        "http://x:1",
        "score://",
        "score://h:x",
        "score://h:1/db",
        "score://h:99999",
    ],
)
def test_what_is_no_url_is_named(url: str) -> None:
    with pytest.raises(InvalidUrlError, match="score://host:port"):
        Address(url)


def test_a_deadline_counts_down_and_none_is_never() -> None:
    assert Deadline.after(None).remaining() is None
    left = Deadline.after(100).remaining()
    assert left is not None
    assert 0 < left <= 100
    with pytest.raises(DeadlineExceeded):
        Deadline.after(0).remaining()


def test_delays_are_random_below_a_doubling_bound() -> None:
    delays = list(itertools.islice(backoff_delays(random.Random(1)), 50))
    assert max(delays) <= BACKOFF_S_MAX
    assert max(delays[:3]) <= 0.08
    assert max(delays) > 1


def test_a_server_that_does_not_answer_is_a_deadline_and_leaves_no_socket_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = Address(f"score://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(DeadlineExceeded, match="waiting"):
            Link(AROUND, address, "me", Deadline.after(0.05))


def test_sending_and_receiving_on_a_dead_socket_is_a_lost_connection() -> None:
    from score.testing import server

    with server() as url:
        with Link(AROUND, Address(url), "me", Deadline.after(10)) as link:
            link.close()
            with pytest.raises(ConnectionLost, match="receiving"):
                link.receive(Deadline.after(1))
            link.conversation.bye(0)
            with pytest.raises(ConnectionLost, match="sending"):
                link.flush(Deadline.after(1))


def test_a_send_that_the_peer_does_not_take_is_a_deadline() -> None:
    from score.testing import server
    from score_server.wire.messages import OpenSession

    with server() as url:
        with Link(AROUND, Address(url), "me", Deadline.after(10)) as link:
            ours, theirs = socket.socketpair()
            link.close()
            link._stream = SocketStream(ours)
            try:
                while ours.send(bytes(65536)):
                    pass
            except BlockingIOError:
                pass
            link.conversation.send(OpenSession(None))
            with pytest.raises(DeadlineExceeded, match="sending"):
                link.flush(Deadline.after(0.05))
            theirs.close()


def test_what_the_kernel_takes_in_parts_arrives_whole_and_in_order() -> None:
    ours, theirs = socket.socketpair()
    data = bytes(range(256)) * 16_384
    got = bytearray()

    def read() -> None:
        while len(got) < len(data):
            got.extend(theirs.recv(1 << 20))

    reader = threading.Thread(target=read)
    stream = SocketStream(ours)
    reader.start()
    stream.send_all(data, 30)
    reader.join(30)
    assert got == data
    theirs.sendall(b"answer")
    assert stream.receive(10**9) == b"answer"  # longer than poll can wait
    assert ours.gettimeout() == 0
    theirs.close()
    assert stream.receive(None) == b""
    stream.close()


def test_a_poll_that_promised_too_much_is_no_end_and_no_loss() -> None:
    ours, theirs = socket.socketpair()
    stream = SocketStream(ours)

    class Ready:
        def poll(self, _: float | None) -> bool:
            return True

    from score.testing import server

    with server() as url, Link(AROUND, Address(url), "me", Deadline.after(10)) as link:
        link.close()
        stream._readable = Ready()  # type: ignore[assignment]
        link._stream = stream
        link.receive(Deadline.after(10))
        assert link.conversation.poll(("ping", 1)) is None
    theirs.close()


def test_a_signal_does_not_put_a_deadline_off() -> None:
    ours, theirs = socket.socketpair()
    stream = SocketStream(ours)
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        with pytest.raises(TimeoutError):
            stream.receive(0.2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    stream.close()
    theirs.close()


def test_what_is_no_url_or_timeout_at_all_is_named() -> None:
    with pytest.raises(InvalidUrlError, match="not 5"):
        Address(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not '5'"):
        Deadline.after("5")  # type: ignore[arg-type]
    assert str(Address("score://[::1]:9")) == "[::1]:9"
