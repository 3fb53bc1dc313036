"""A snapshot on its way to a client: collected, checked, and only then looked into.  Sans-IO.

It belongs to the channel that it comes on.  Memory grows with what has come, never with what was
announced; the bytes are held once, and let go before the structure is built.
"""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import NamedTuple

from score_server.wire import codec
from score_server.wire.entry import SNAPSHOT_DIGEST_BYTES
from score_server.wire.errors import RemoteProtocolError
from score_server.wire.messages import MALFORMED, OUT_OF_ORDER, Joined, SnapshotInfo
from ucore import UMap, UStack, UVec
from ucore.errors import MalformedUpdateError
from ucore.node import Container
from ucore.tree import Tree

# The deepest leaf that ucore stores (64 levels), in the deepest container (64), in a dump: what a series of
# changes has built is deeper than any of them.
SNAPSHOT_DEPTH_MAX = 64 + 64 + 8

_ROOTS: dict[str, type[Container]] = {"map": UMap, "vec": UVec, "stack": UStack}


class Progress(NamedTuple):
    """How far the first loading of a structure is.

    Attributes:
        phase: "snapshot", then "changes".
        done: bytes of the snapshot, or the position that the view has reached.
        total: its size, or the position that it had to reach when it began.
    """

    phase: str
    done: int
    total: int


class Incoming:
    """What ``Joined`` announced, as far as it has come.

    Attributes:
        incarnation, position: what it is of: which group, and how far.
        chain: the chain there.
        size: its bytes.
        received: those that are here.
    """

    __slots__ = (
        "_data", "_digest", "_hash", "chain", "incarnation", "position", "received", "size",
    )  # fmt: skip

    def __init__(self, incarnation: bytes, position: int, info: SnapshotInfo) -> None:
        self.incarnation = incarnation
        self.position = position
        self.chain, self.size, self._digest = info
        self.received = 0
        self._data = BytesIO()
        self._hash = hashlib.blake2b(digest_size=SNAPSHOT_DIGEST_BYTES)

    @property
    def is_complete(self) -> bool:
        return self.received == self.size

    def check(self, offset: int, data: bytes) -> bool:
        """Count the next chunk as received; True with the last one, when all of them have proved right.

        Raises:
            RemoteProtocolError: it is not the next one, or too much, or the whole is not what was announced.
        """
        if offset != self.received or offset + len(data) > self.size:
            raise RemoteProtocolError(
                OUT_OF_ORDER,
                f"bytes {offset} to {offset + len(data)} of a snapshot of {self.size}, of which "
                f"{self.received} have come",
            )
        self._hash.update(data)
        self.received += len(data)
        if self.is_complete and self._hash.digest() != self._digest:
            raise RemoteProtocolError(MALFORMED, "the snapshot is not the one that was announced")
        return self.is_complete

    def add(self, offset: int, data: bytes) -> bool:
        """``check`` the next chunk, and hold it for ``take``."""
        done = self.check(offset, data)
        self._data.write(data)
        return done

    def take(self) -> bytes:
        """The whole; it is not held here any more."""
        assert self.is_complete, "ask is_complete first"
        data, self._data = self._data.getvalue(), BytesIO()  # shared with the stream, not copied
        return data


def announced(message: Joined) -> Incoming | None:
    """The snapshot that a join is answered with, if it is answered with one."""
    if message.snapshot is None:
        return None
    return Incoming(message.incarnation, message.position, message.snapshot)


def empty(tree: Tree) -> Tree:
    """A tree of *tree*'s kind that holds nothing and belongs to nobody."""
    return empty_of(tree.root._kind_)


def empty_of(kind: str) -> Tree:
    """The same, of the *kind* "map", "vec" or "stack"."""
    cls = _ROOTS[kind]
    return cls.__new__(cls)._attach(None)


def encode_dump(tree: Tree) -> bytes:
    """The snapshot of what *tree* holds: equal states give equal bytes."""
    # Loosely: what is in a tree was checked when it came in, its depth as well.
    return codec.encode_loosely(tree.dump())


def decode_dump(data: bytes, position: int) -> object:
    """The dump (see ``ucore.tree.Tree.load``) that a snapshot of *position* is.

    Raises:
        MalformedUpdateError: it is none.
    """
    try:
        # Loosely: ucore looks at every value anyway, and refuses what is not plain.
        plain = codec.decode_loosely(data, depth_max=SNAPSHOT_DEPTH_MAX)
    except codec.DecodeError as error:
        raise MalformedUpdateError(f"a snapshot cannot be read: {error}") from error
    if type(plain) is list and len(plain) > 1 and plain[1] != position:
        raise MalformedUpdateError(f"the snapshot of change {position} says it is of {plain[1]!r}")
    return plain
