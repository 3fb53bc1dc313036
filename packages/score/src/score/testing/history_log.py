"""The final log of a group, read over the wire: what a history is checked against.

It shares nothing with the client that is being tested but the wire's ``Connection`` and ucore's ``Tree``: no
reconnecting, no resuming, no session.
"""

from __future__ import annotations

import socket

from score_server.wire.connection import Connection, Role, Signal
from score_server.wire.entry import decode_entry, next_chain
from score_server.wire.messages import (
    PROTOCOL_VERSION,
    Entries,
    Error,
    Hello,
    Join,
    Joined,
    Sync,
    Synced,
    Welcome,
)
from ucore import UMap, UStack, UVec
from ucore.change import builtin
from ucore.node import Container
from ucore.tree import Tree

from ..blocking import Address
from ..payload import decode_update
from .history import LogEntry
from .history_recorder import digest

RECEIVE_BYTES = 256 * 1024
# A server that says nothing for so long is stuck.
SILENCE_S_MAX = 30.0

KINDS: dict[str, type[Container]] = {"map": UMap, "vec": UVec, "stack": UStack}


def read_log(url: str, group: str, kind: str | None = None) -> list[LogEntry]:
    """All durable entries of *group*.

    Args:
        kind: "map", "vec" or "stack": fold them, too, and say of each whether it failed, whether it
            changed anything, and the digest.  Costs the structure's size for each entry.

    Raises:
        OSError: no server, or a silent one.
        RuntimeError: it answers with an error.
    """
    incarnation, encoded = fetch(url, group)
    fold = None if kind is None else _Fold(KINDS[kind])
    found = []
    chain = incarnation
    for data in encoded:
        entry = decode_entry(data)
        chain = next_chain(chain, data)
        told = fold.step(entry.payload, entry.position) if fold is not None else (None, None, None)
        name = (entry.session.hex(), entry.seq)
        found.append(LogEntry(group, entry.position, entry.predecessor, *name, chain.hex(), *told))
    return found


def fetch(url: str, group: str) -> tuple[bytes, list[bytes]]:
    """*group*'s incarnation and its encoded entries; raises as ``read_log`` does."""
    address = Address(url)
    wire = Connection(Role.CLIENT)
    incarnation, entries = b"", []
    where = (address.host, address.port)
    with socket.create_connection(where, timeout=SILENCE_S_MAX) as connected:
        connected.sendall(wire.send(Hello(PROTOCOL_VERSION, "log reader", [], None)))
        while True:
            match wire.next_message():
                case Signal.NEED_DATA:
                    wire.receive_data(connected.recv(RECEIVE_BYTES))
                case Welcome():
                    connected.sendall(wire.send(Join(1, group, None), Sync(1, 1)))
                case Joined() as joined:
                    incarnation = joined.incarnation
                case Entries() as some:
                    entries += some.entries
                case Synced():
                    return incarnation, entries
                case Error() as error:
                    raise RuntimeError(f"reading group {group!r}: the server says: {error.text}")
                case Signal.CONNECTION_CLOSED:
                    raise ConnectionResetError(f"reading group {group!r}: the server hung up")


class _Fold:
    """A structure of its own that takes the entries in."""

    def __init__(self, cls: type[Container]) -> None:
        self._root = cls.__new__(cls)
        self._tree: Tree = self._root._attach(None)

    def step(self, payload: bytes, position: int) -> tuple[str, bool, bool]:
        """(digest afterwards, whether an operation failed, whether the content is another)"""
        before = repr(_unordered(builtin(self._root)))
        applied = self._tree.apply(decode_update(payload), position)
        after = repr(_unordered(builtin(self._root)))
        return digest(self._tree), applied.failure is not None, before != after


def _unordered(value: object) -> object:
    """*value* so that what only differs in the order of keys has the same text: undoing a failed
    update puts keys back, but not where they were."""
    if isinstance(value, dict):
        return sorted((repr(key), repr(_unordered(item))) for key, item in value.items())
    if isinstance(value, list):
        return [_unordered(item) for item in value]
    return value
