"""The least that one set takes in Python: the conversions and hashes of the protocol, and nothing else.

A plain loop at the client, one task of trio at the server, one connection: every value that ``SMap``'s set and the server's answer
carry is encoded, hashed and decoded as often as score does it, by the same C functions.  Nothing is checked, nobody else can
be served, nothing is asked again after a failure, no deadline is kept: what score does beyond this is what makes it
safe, and what this does beyond a bare echo no client and no server in Python can leave out.
"""

from __future__ import annotations

import hashlib
import select
import socket
import struct
import time

import cbor2
import trio

from score_server.wire.entry import CHAIN_BYTES
from score_server.wire.messages import CODES, INTENT, Entries, Submit, Taken
from ucore.codes import PUT

SUBMIT, TAKEN, ENTRIES = CODES[Submit], CODES[Taken], CODES[Entries]
CHANNEL = 1
_LENGTH = struct.Struct(">I")


def serve(listener: socket.socket) -> None:
    """Order what one client submits, and answer with the entry."""
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    trio.run(_serve, sock)


async def _serve(sock: socket.socket) -> None:
    log: list[bytes] = []
    chain = session = bytes(CHAIN_BYTES)
    position = 0
    while True:
        await trio.lowlevel.wait_readable(sock)
        if not (data := sock.recv(65_536)):
            return
        _, channel, seq, _settled, _, payload = cbor2.loads(data[_LENGTH.size :])
        position += 1
        time_ms = time.time_ns() // 1_000_000
        entry = cbor2.dumps((position, position - 1, time_ms, session, seq, "", payload))
        chain = hashlib.blake2b(chain + entry, digest_size=CHAIN_BYTES).digest()
        log.append(entry)
        answer = cbor2.dumps(((ENTRIES, channel, (entry,)), (TAKEN, channel, seq, position)))
        sock.sendall(_LENGTH.pack(len(answer)) + answer)


class Author:
    """The client of ``serve``."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.view: dict[str, int] = {}
        self._sock = socket.create_connection(address)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll = select.poll()
        self._poll.register(self._sock, select.POLLIN)
        self._chain = bytes(CHAIN_BYTES)
        self._seq = 0

    def set(self, key: str, value: int) -> None:
        self._seq += 1
        payload = cbor2.dumps(((PUT, 0, 0, key, value),))
        message = cbor2.dumps((SUBMIT, CHANNEL, self._seq, self._seq - 1, INTENT, payload))
        self._sock.sendall(_LENGTH.pack(len(message)) + message)
        self._poll.poll(30_000)
        data = self._sock.recv(65_536)
        (_, _, (entry,)), _ = cbor2.loads(data[_LENGTH.size :])
        cbor2.loads(entry)
        self._chain = hashlib.blake2b(self._chain + entry, digest_size=CHAIN_BYTES).digest()
        self.view[key] = value

    def close(self) -> None:
        self._sock.close()
