"""A client at the level of the wire, for rows where the client's own work must not be what is measured.

``Lean`` greets, opens a session and joins like any client (with the product's codec); after that it
sends submissions that were encoded beforehand, and reads answers with one ``cbor2.loads`` a frame.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence

import cbor2

from score.payload import encode_update
from score_server.wire.connection import Connection, Role, Signal
from score_server.wire.messages import (
    CODES,
    INTENT,
    PROTOCOL_VERSION,
    Credit,
    Entries,
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
from ucore.codes import INCREMENT, PUT, PUT_MANY
from ucore.updatable import Update

CHANNEL = 1
SUBMIT, TAKEN = CODES[Submit], CODES[Taken]
# Outstanding submissions: the server's limit for unsettled ones is 1,024.
WINDOW = 768
_LENGTH = struct.Struct(">I")


def put(key: object, value: object) -> bytes:
    """The payload of ``m[key] = value``."""
    return encode_update(Update([[PUT, 0, 0, key, value]]))


def put_many(items: dict[str, int]) -> bytes:
    """The payload of ``m.update(items)``."""
    flat = [part for item in items.items() for part in item]
    return encode_update(Update([[PUT_MANY, 0, 0, *flat]]))


def increment(key: object) -> bytes:
    """The payload of ``m.increment(key)``."""
    return encode_update(Update([[INCREMENT, 0, 0, key, 1]]))


class Lean:
    """One connection."""

    def __init__(self, port: int, *, label: str = "lean") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire = Connection(Role.CLIENT)
        self.seq = 0
        self._buffer = bytearray()
        self.ask(Hello(PROTOCOL_VERSION, label, [], None), Welcome)

    # ------------------------------------------------------------ as any client

    def ask(self, message: Message, answer: type[Message]) -> Message:
        """Send *message*, and pass over everything until an *answer* is there."""
        self.sock.sendall(self.wire.send(message))
        while True:
            found = self.wire.next_message()
            if isinstance(found, Signal):
                self.wire.receive_data(self.sock.recv(1 << 18))
            elif type(found) is answer:
                return found
            else:
                assert type(found) is Entries, found

    def join(self, group: str) -> Lean:
        self.ask(Join(CHANNEL, group, None), Joined)
        return self

    def open_session(self) -> Lean:
        self.ask(OpenSession(None), SessionOpened)
        return self

    def sync(self, request: int = 1) -> None:
        self.ask(Sync(CHANNEL, request), Synced)

    def ping(self) -> None:
        """Everything sent before has been looked at by the server."""
        self.ask(Ping(7), Pong)

    def credit(self, size: int) -> None:
        self.sock.sendall(self.wire.send(Credit(CHANNEL, size)))

    # ------------------------------------------------------------ past the codec

    def frame(self, payloads: Sequence[bytes], settled: int) -> bytes:
        """A frame that submits *payloads*, each an intent; *settled* as the protocol has it."""
        messages = []
        for payload in payloads:
            self.seq += 1
            messages.append([SUBMIT, CHANNEL, self.seq, settled, 0, INTENT, 0, payload])
        body = cbor2.dumps(messages)
        return _LENGTH.pack(len(body)) + body

    def take(self) -> list[list[object]]:
        """Messages of the frames that are complete after one ``recv``."""
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionError("the server has closed the connection")
        buffer = self._buffer
        buffer += data
        found: list[list[object]] = []
        while len(buffer) >= 4:
            end = 4 + _LENGTH.unpack_from(buffer)[0]
            if len(buffer) < end:
                break
            found += cbor2.loads(bytes(buffer[4:end]))
            del buffer[:end]
        return found

    def close(self) -> None:
        self.sock.close()


def pipeline(lean: Lean, payloads: Sequence[bytes], frame_changes: int = 128) -> float:
    """Submit *payloads* without waiting for each answer; seconds until all are answered.

    Frames are encoded beforehand, so what is measured is the server.
    """
    first = lean.seq
    frames = []
    for start in range(0, len(payloads), frame_changes):
        frames.append(
            lean.frame(payloads[start : start + frame_changes], max(0, lean.seq - WINDOW))
        )
    outstanding = taken = 0
    begun = time.perf_counter()
    for frame in frames:
        lean.sock.sendall(frame)
        outstanding += frame_changes
        while outstanding > WINDOW - frame_changes:
            got = sum(message[0] == TAKEN for message in lean.take())
            outstanding, taken = outstanding - got, taken + got
    while taken < lean.seq - first:
        taken += sum(message[0] == TAKEN for message in lean.take())
    return time.perf_counter() - begun


def writers(leans: Sequence[Lean], payload: bytes, seconds: float) -> int:
    """Each of *leans* writes, waits for its answer, and writes again; changes in *seconds*."""
    poll = select.epoll()
    by_number = {lean.sock.fileno(): lean for lean in leans}
    done = 0
    for lean in leans:
        poll.register(lean.sock.fileno(), select.EPOLLIN)
        lean.sock.sendall(lean.frame([payload], lean.seq))
    until = time.monotonic() + seconds
    left = len(leans)
    while left:
        for number, _ in poll.poll():
            lean = by_number[number]
            if any(message[0] == TAKEN for message in lean.take()):
                if time.monotonic() < until:
                    done += 1
                    lean.sock.sendall(lean.frame([payload], lean.seq))
                else:
                    left -= 1
    poll.close()
    return done
