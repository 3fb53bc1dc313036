"""A group in a file: what ``score export`` writes and ``score import`` reads.  Sans-IO but for a file.

The format is in ``docs/archive.md``: records of a length and one plain value, so that both sides
hold one record at a time, whatever the size of the group.

Rules
-----
- A file without its last record is no archive: an export that was cut off is noticed, not used.
- Everything in it is checked as it is read: the snapshot by its digest, the entries by their chain,
  the file by the digest in its last record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, NoReturn, cast

from score_server.wire import codec
from score_server.wire.entry import (
    CHAIN_BYTES,
    INCARNATION_BYTES,
    SNAPSHOT_DIGEST_BYTES,
    decode_entry,
    next_chain,
)

from .errors import ArchiveError

NAME, VERSION = "score-archive", 1
# The longest record that is written: an entry of the largest change that servers take, and its heads.
RECORD_BYTES_MAX = 8 * 1024 * 1024
# Entries are collected to about this much: small ones share a record.
ENTRIES_BYTES = 64 * 1024

_BEGIN, _SNAPSHOT, _ENTRIES, _END = range(4)
_WORDS = ("the beginning", "a piece of the snapshot", "entries", "the end")


class Beginning(NamedTuple):
    """What an archive holds.

    Attributes:
        group: the group's name where it was exported.
        incarnation: which group of that name it was.
        keep: whether it kept its whole history.
        position: the place that the snapshot holds; 0 without one.
        chain: the chain there.
        snapshot_bytes: the snapshot's size; 0 without one.
        snapshot_digest: BLAKE2b-256 of the snapshot; empty without one.
    """

    group: str
    incarnation: bytes
    keep: bool
    position: int
    chain: bytes
    snapshot_bytes: int
    snapshot_digest: bytes


class ArchiveWriter:
    """Writes one archive, in the order *beginning*, ``snapshot`` ..., ``entry`` ..., ``end``."""

    def __init__(self, write: Callable[[bytes], object], beginning: Beginning) -> None:
        self._write = write
        self._hash = hashlib.blake2b(digest_size=SNAPSHOT_DIGEST_BYTES)
        self._entries: list[codec.Plain] = []
        self._entries_bytes = 0
        self._position, self._chain = beginning.position, beginning.chain
        self._record([_BEGIN, NAME, VERSION, *beginning])

    def snapshot(self, data: bytes) -> None:
        """The next piece of the snapshot."""
        self._record([_SNAPSHOT, data])

    def entry(self, encoded: bytes) -> None:
        """The next entry, as it is in the log."""
        self._position = decode_entry(encoded).position
        self._chain = next_chain(self._chain, encoded)
        self._entries.append(encoded)
        self._entries_bytes += len(encoded)
        if self._entries_bytes >= ENTRIES_BYTES:
            self._flush()

    def end(self) -> int:
        """Write the last record; the position that the archive reaches."""
        self._flush()
        self._record([_END, self._position, self._chain, self._hash.digest()])
        return self._position

    def _flush(self) -> None:
        if self._entries:
            entries, self._entries, self._entries_bytes = self._entries, [], 0
            self._record([_ENTRIES, *entries])

    def _record(self, plain: list[codec.Plain]) -> None:
        body = codec.encode(plain)
        data = len(body).to_bytes(4, "big") + body
        self._hash.update(data)
        self._write(data)


class ArchiveReader:
    """Reads one archive: ``beginning`` is there at once; then ``snapshot()``, then ``entries()``, each to
    its end.

    Raises (here and while reading on):
        ArchiveError: *file* is no archive, is cut off or damaged, or of a later version.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.blake2b(digest_size=SNAPSHOT_DIGEST_BYTES)
        self._before = b""  # the digest of everything before the record read last
        self._next: list[codec.Plain] = self._read()
        self.beginning = self._beginning()
        self._chain = self.beginning.chain
        self.position = self.beginning.position

    def _beginning(self) -> Beginning:
        record = self._next
        if record[:2] != [_BEGIN, NAME]:
            self._wrong("it does not begin as an archive of score does")
        if record[2:3] != [VERSION]:
            self._wrong(
                f"it is of version {record[2:3]}, and this program knows {VERSION}; update score"
            )
        kinds = (str, bytes, bool, int, bytes, int, bytes)
        if tuple(map(type, record[3:])) != kinds:
            self._wrong("its first record is not as it should be")
        beginning = Beginning(*record[3:])  # type: ignore[arg-type]
        if (
            len(beginning.incarnation) != INCARNATION_BYTES
            or len(beginning.chain) != CHAIN_BYTES
            or beginning.position < 0
            or len(beginning.snapshot_digest)
            != (SNAPSHOT_DIGEST_BYTES if beginning.snapshot_bytes else 0)
        ):
            self._wrong("its first record is not as it should be")
        self._next = self._read()
        return beginning

    def snapshot(self) -> Iterator[bytes]:
        """The pieces of the snapshot; the last one only after all of them proved right."""
        checked = hashlib.blake2b(digest_size=SNAPSHOT_DIGEST_BYTES)
        left = self.beginning.snapshot_bytes
        while self._next[0] == _SNAPSHOT:
            pieces = self._next[1:]
            if len(pieces) != 1 or type(pieces[0]) is not bytes or not 0 < len(pieces[0]) <= left:
                self._wrong("a piece of its snapshot is not as it should be")
            piece = pieces[0]
            checked.update(piece)
            left -= len(piece)
            self._next = self._read()
            if not left and checked.digest() != self.beginning.snapshot_digest:
                self._wrong("its snapshot is not the one that was exported")
            yield piece
        if left:
            self._wrong("its snapshot is cut off")

    def entries(self) -> Iterator[bytes]:
        """The entries behind the snapshot, as they were in the log; ``position`` moves with them."""
        while self._next[0] == _ENTRIES:
            for encoded in self._next[1:]:
                try:
                    entry = decode_entry(encoded) if type(encoded) is bytes else None
                except codec.DecodeError:
                    entry = None
                if (
                    type(encoded) is not bytes
                    or entry is None
                    or entry.predecessor != self.position
                ):
                    self._wrong(f"what follows change {self.position} is not the next one")
                self.position = entry.position
                self._chain = next_chain(self._chain, encoded)
                yield encoded
            self._next = self._read()
        if self._next[0] != _END:
            self._wrong(f"{_WORDS[cast(int, self._next[0])]} where its end should be")
        if self._next[1:] != [self.position, self._chain, self._before]:
            self._wrong("it was changed after it had been exported")
        if self._file.read(1):
            self._wrong("something follows its end")

    def _read(self) -> list[codec.Plain]:
        """The next record."""
        head = self._file.read(4)
        size = int.from_bytes(head, "big")
        if len(head) == 4 and size > RECORD_BYTES_MAX:
            self._wrong(f"a record of {size} bytes in it is longer than any can be")
        body = self._file.read(size) if len(head) == 4 else b""
        if len(head) < 4 or len(body) < size:
            self._wrong("it is cut off")
        try:
            plain = codec.decode(body, depth_max=1)
        except codec.DecodeError as error:
            self._wrong(f"a record cannot be read: {error}")
        if (
            type(plain) is not list
            or not plain
            or type(plain[0]) is not int
            or plain[0] not in range(4)
        ):
            self._wrong("a record is none that this program knows")
        self._before = self._hash.digest()
        self._hash.update(head + body)
        return plain

    def _wrong(self, what: str) -> NoReturn:
        name = getattr(self._file, "name", "the file")
        raise ArchiveError(f"{name} is not an archive to go by: {what}")
