"""The blocking driver: a socket, a conversation, the calling thread.  It only moves bytes and waits.

Everything that decides what is sent and what an answer means is in ``conversation``, ``session`` and ``replica``.
"""

from __future__ import annotations

import errno
import os
import random
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit

from score_server.wire.messages import Message

from .conversation import ConnectionLost, Conversation, Key
from .errors import DeadlineExceeded, InvalidUrlError

DEFAULT_URL = "score://127.0.0.1:7737"
DEFAULT_PORT = 7737
# A buffer of this size comes from the heap; from 128 KiB on glibc maps and unmaps memory for each.
RECEIVE_BYTES = 64 * 1024

# One wait of the kernel's.  A signal that comes between Python's last look for signals and the wait
# does not end it, so a Ctrl-C would go unseen for as long as the server says nothing.
POLL_S_MAX = 0.5

# A timeout from here on, infinity too, is none: locks and sockets take no more than about 290 years.
FOR_EVER_S = 100 * 365 * 86_400

# Reconnecting: full jitter below a doubling bound (AWS Architecture Blog, "Exponential Backoff And Jitter"),
# so that clients of one server do not come back in step.
BACKOFF_S_FIRST = 0.02
BACKOFF_S_MAX = 2.0

# An idle client answers no pings; the kernel notices a dead peer in about 30 + 3 * 10 s.
KEEPALIVE_IDLE_S, KEEPALIVE_EVERY_S, KEEPALIVE_COUNT = 30, 10, 3


class Stream(Protocol):
    """A connected byte stream; *timeout* in seconds, None waits for ever.

    Both calls raise ``TimeoutError`` when nothing could be moved in time, and ``OSError`` when the
    connection is gone.
    """

    def send_all(self, data: bytes, timeout: float | None) -> None: ...

    def receive(self, timeout: float | None) -> bytes:
        """Some bytes; none at the peer's orderly end.  ``BlockingIOError``: nothing yet after all."""
        ...

    def close(self) -> None: ...


class Surroundings(Protocol):
    """All that a client needs of the world outside; a simulation brings another one."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...

    def random(self) -> random.Random: ...

    def connect(self, host: str, port: int, timeout: float | None) -> Stream: ...


class Deadline:
    """A moment by which a call has to be done; never, when None."""

    __slots__ = ("__weakref__", "_clock", "at")

    def __init__(self, at: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.at = at
        self._clock = clock

    @classmethod
    def after(cls, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> Deadline:
        if seconds is None:
            return cls(None, clock)
        if not isinstance(seconds, int | float) or seconds != seconds:
            raise TypeError(f"a timeout is a number of seconds, or None, not {seconds!r}")
        return cls(clock() + seconds if seconds < FOR_EVER_S else None, clock)

    def remaining(self) -> float | None:
        """Seconds left, at least 0.

        Raises:
            DeadlineExceeded: none are.
        """
        if self.at is None:
            return None
        left = self.at - self._clock()
        if left <= 0:
            raise DeadlineExceeded("the deadline passed; nothing was changed")
        return left


class Address:
    """Where a server listens: the parts of ``score://host:port``."""

    __slots__ = ("host", "port", "url")

    def __init__(self, url: str | None) -> None:
        """*url*, else ``$SCORE_URL``, else ``score://127.0.0.1:7737``.

        Raises:
            InvalidUrlError: it is not such a url.
        """
        if url is not None and not isinstance(url, str):
            raise InvalidUrlError(f"a url is text, score://host:port, not {url!r}")
        self.url = url or os.environ.get("SCORE_URL") or DEFAULT_URL
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise self._invalid(str(error)) from error
        if parts.scheme != "score" or not host:
            raise self._invalid("it does not begin with score:// and a host")
        if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
            raise self._invalid("there is something behind the port or before the host")
        self.host: str = host
        self.port: int = DEFAULT_PORT if port is None else port

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def _invalid(self, why: str) -> InvalidUrlError:
        return InvalidUrlError(
            f"{self.url!r} is not the url of a server ({why}); write score://host:port"
        )


class Link:
    """One connection.  After any exception from it: ``close``, and make a new one."""

    def __init__(
        self,
        around: Surroundings,
        address: Address,
        label: str,
        deadline: Deadline,
        features: Sequence[str] = (),
    ) -> None:
        """Connect and greet; *features* are names of extensions (``docs/protocol.md``).

        Raises:
            ConnectionLost: nobody answers there (now).
            DeadlineExceeded, ServerError: as named.
        """
        self.conversation = Conversation(label, features)
        try:
            self._stream = around.connect(address.host, address.port, deadline.remaining())
        except TimeoutError as error:
            deadline.remaining()
            raise ConnectionLost(f"no answer from {address.url}") from error
        except OSError as error:
            raise ConnectionLost(
                f"cannot connect to {address.url}: {error.strerror or error}"
            ) from error
        try:
            self.ask(("welcome", 0), deadline)
        except BaseException:
            self.close()
            raise

    def ask(self, key: Key, deadline: Deadline, channel: int = 0) -> Message:
        """Send what is in line, and read until the answer *key* is there."""
        self.flush(deadline)
        while (answer := self.conversation.poll(key, channel)) is None:
            self.receive(deadline)
        return answer

    def flush(self, deadline: Deadline) -> None:
        """Send what is in line."""
        data = self.conversation.data_to_send()
        if not data:
            return
        try:
            self._stream.send_all(data, deadline.remaining())
        except OSError as error:
            if isinstance(error, TimeoutError) and error.errno != errno.ETIMEDOUT:
                raise DeadlineExceeded("the deadline passed while sending") from error
            raise ConnectionLost(f"sending failed: {error.strerror or error}") from error

    def receive(self, deadline: Deadline) -> None:
        """Wait for bytes, or for nothing now and then, and take them in."""
        try:
            data = self._stream.receive(deadline.remaining())
        except BlockingIOError:
            return
        except OSError as error:
            # ETIMEDOUT is the kernel's word that the peer is dead, and a TimeoutError as well.
            if isinstance(error, TimeoutError) and error.errno != errno.ETIMEDOUT:
                raise DeadlineExceeded(
                    "the deadline passed while waiting for the server"
                ) from error
            raise ConnectionLost(f"receiving failed: {error.strerror or error}") from error
        self.conversation.receive(data)

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class SocketStream:
    """A connection that never blocks but in ``poll``.

    That makes three system calls of a question and its answer: send, poll, recv.  A socket with a
    timeout makes six: Python has it polled before each send as well, and ``settimeout`` tells the kernel
    each time.  Two would do with a blocking socket and ``SO_RCVTIMEO``; but then each signal begins that
    time anew, and a program with a timer would wait past its deadline.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._readable = select.poll()
        self._readable.register(connected, select.POLLIN)

    def send_all(self, data: bytes, timeout: float | None) -> None:
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return
        # The kernel's buffer is full: the peer is slow, and so may this be.
        self._socket.settimeout(timeout)
        try:
            self._socket.sendall(memoryview(data)[sent:])
        finally:
            self._socket.setblocking(False)

    def receive(self, timeout: float | None) -> bytes:
        """What has come.

        Raises:
            BlockingIOError: nothing yet, after a while; Python has looked for signals in between.
            TimeoutError: nothing within *timeout* seconds.
        """
        wait = POLL_S_MAX if timeout is None else min(timeout, POLL_S_MAX)
        if not self._readable.poll(wait * 1000):
            if wait == timeout:
                raise TimeoutError
            raise BlockingIOError
        return self._socket.recv(RECEIVE_BYTES)

    def close(self) -> None:
        self._socket.close()


class OperatingSystem:
    """The real surroundings."""

    # The functions themselves: each call asks for the time at least four times.
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)

    def random(self) -> random.Random:
        return random.Random()

    def connect(self, host: str, port: int, timeout: float | None) -> SocketStream:
        until = None if timeout is None else time.monotonic() + timeout
        failed: OSError = OSError(f"{host} has no address")
        # create_connection would give each address of a name the whole of *timeout*.
        for family, kind, proto, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        ):
            connected = socket.socket(family, kind, proto)
            try:
                left = None if until is None else max(until - time.monotonic(), 0.001)
                connected.settimeout(left)
                connected.connect(address)
                _tune(connected)
                return SocketStream(connected)
            except OSError as error:
                connected.close()
                failed = error
            except BaseException:
                connected.close()
                raise
        raise failed


def _tune(connected: socket.socket) -> None:
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_EVERY_S),
        ("TCP_KEEPCNT", KEEPALIVE_COUNT),
        # A peer that vanished without a word is noticed while we wait for it, too.
        ("TCP_USER_TIMEOUT", 1000 * (KEEPALIVE_IDLE_S + KEEPALIVE_COUNT * KEEPALIVE_EVERY_S)),
    ):
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def backoff_delays(choose: random.Random) -> Iterator[float]:
    """Seconds to wait before each further attempt to connect."""
    bound = BACKOFF_S_FIRST
    while True:
        yield choose.uniform(0, bound)
        bound = min(2 * bound, BACKOFF_S_MAX)
