"""A client's end of a real socket for tests of the server: blocking, honest or not, as the test likes.

It speaks through the wire's own ``Connection``; ``raw`` sends anything.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from score_server.wire.connection import Connection, Role, Signal
from score_server.wire.entry import decode_entry
from score_server.wire.messages import (
    INTENT,
    Entries,
    Error,
    Hello,
    Join,
    Joined,
    Message,
    OpenSession,
    Ping,
    Pong,
    SessionOpened,
    Submit,
    Sync,
    Synced,
    Taken,
    Welcome,
)

# Nothing here waits that long; it turns a hanging test into a failing one.
STUCK_S = 30.0


def address_of(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("score://").rpartition(":")
    return host.strip("[]"), int(port)


class Peer:
    """A connection; ``greet`` and ``open`` are the usual first steps, left to the test."""

    def __init__(self, url: str) -> None:
        self.sock = socket.create_connection(address_of(url), timeout=STUCK_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire = Connection(Role.CLIENT)
        self.session = b""
        self.entries: list[bytes] = []

    def raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send(self, *messages: Message) -> None:
        self.raw(self.wire.send(*messages))

    def receive(self) -> Message | None:
        """The next message; None at the end of the connection.  Entries are kept as they pass."""
        while True:
            message = self.wire.next_message()
            if message is Signal.CONNECTION_CLOSED:
                return None
            if message is not Signal.NEED_DATA:
                if type(message) is Entries:
                    self.entries += message.entries
                return message
            self.wire.receive_data(self.sock.recv(65536))

    def expect(self, kind: type[Any]) -> Any:
        """The next message that is not entries; it must be a *kind*."""
        while type(message := self.receive()) is Entries:
            pass
        assert type(message) is kind, f"{message} instead of {kind.__name__}"
        return message

    # ------------------------------------------------------------ honest steps

    def greet(self, label: str = "ada") -> Peer:
        self.send(Hello(1, label, [], None))
        self.expect(Welcome)
        return self

    def open(self, session: bytes | None = None) -> Peer:
        self.send(OpenSession(session))
        self.session = self.expect(SessionOpened).session
        return self

    def join(self, group: str = "g", channel: int = 1) -> Joined:
        self.send(Join(channel, group, None))
        joined: Joined = self.expect(Joined)
        return joined

    def submit(self, seq: int, payload: bytes = b"x", channel: int = 1) -> int:
        """The position at which it was taken."""
        self.send(Submit(channel, seq, seq - 1, 0, INTENT, 0, payload))
        taken: Taken = self.expect(Taken)
        assert taken.seq == seq
        return taken.position

    def sync(self, channel: int = 1) -> list[bytes]:
        """The payloads of all entries received so far, up to the head as it is now."""
        self.send(Sync(channel, 1))
        self.expect(Synced)
        return [decode_entry(entry).payload for entry in self.entries]

    def is_served(self) -> bool:
        self.send(Ping(7))
        return bool(self.expect(Pong).token == 7)

    # ------------------------------------------------------------ ends

    def told(self) -> int:
        """The code of the one Error that ends the connection; nothing may come after it."""
        error = self.expect(Error)
        assert error.channel == 0
        assert self.sock.recv(1) == b""
        return int(error.code)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close so that the other side sees a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@contextmanager
def peers(url: str, count: int = 1) -> Iterator[list[Peer]]:
    """That many connections, closed at the end."""
    found = [Peer(url) for _ in range(count)]
    try:
        yield found
    finally:
        for peer in found:
            peer.close()
