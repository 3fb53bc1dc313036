"""A disk that may lose, tear, fill up, fail to sync and rot; and a store that keeps the laws on it.

The disk holds one log of records.  What was written and not synced may survive a crash whole, in part or
not at all.  A record is ``length of meta, length of data, crc of meta, meta, data, crc of all``, so that a torn
tail is told from a whole record; the data are entries, then chunks of snapshots.  Rotten entries fail their own
chain.  Snapshots are read from the disk each time: a rotten chunk fails its seal, as in the store on SQLite,
or, where the disk is not *sealed*, goes out as it is, as if it were spoilt behind the store.

A commit is two steps, ``write`` and ``sync``, so that a crash can come between them.
"""

from __future__ import annotations

import math
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import cbor2

from score_server.stores.base import (
    Commit,
    GroupDamaged,
    GroupState,
    LogStore,
    NewChunk,
    NewEntry,
    StoreBroken,
    StoreFull,
    StoreState,
)
from score_server.stores.memory import MemoryStore
from score_server.stores.sqlite_rows import chunk_seal

_HEAD = struct.Struct(">III")
_CRC = struct.Struct(">I")


class Place(NamedTuple):
    """Where an entry is."""

    group: str
    position: int
    start: int
    end: int


class Chunk(NamedTuple):
    """Where a part of a snapshot is, and what it was sealed with."""

    start: int
    end: int
    seal: int


class Rot(NamedTuple):
    """What has rotted: an entry of *group*, or its snapshot."""

    group: str
    is_snapshot: bool


class Disk:
    """What survives a server's process.  *sealed*: see the module."""

    def __init__(self, *, sealed: bool = True) -> None:
        self.sealed = sealed
        self.data = bytearray()
        self.synced = 0  # bytes that a crash cannot take
        self.full = False
        self.fails_to_sync = False
        self.entry_bytes: list[Place] = []  # of synced entries that still count
        self.snapshots: dict[str, list[Chunk]] = {}  # of each group, in their order; synced ones
        self.candidates: dict[str, list[Chunk]] = {}
        self.last_record = 0  # where the last synced record begins
        self.rotten: set[str] = set()
        self.rotten_logs: set[str] = set()  # of those, not only their snapshots
        self.has_rotted: set[str] = set()  # also those that a backup has made whole again

    def crash(self, choose: random.Random) -> None:
        """Power is gone: of what was not synced a part stays, perhaps with rubbish in it."""
        tail = len(self.data) - self.synced
        if not tail:
            return
        keep = choose.choice((0, tail, choose.randrange(tail + 1)))
        del self.data[self.synced + keep :]
        if 0 < keep < tail and choose.random() < 0.5:
            self.data[self.synced + choose.randrange(keep)] ^= 1 << choose.randrange(8)

    def rot(self, choose: random.Random, *, only_snapshots: bool = False) -> Rot | None:
        """Flip a bit of an entry or of a snapshot at rest; None if there is none."""
        # In the last record it could not be told from a torn write.
        entries = [place for place in self.entry_bytes if place.end <= self.last_record]
        chunks = [
            (group, chunk)
            for group, parts in self.snapshots.items()
            for chunk in parts
            if chunk.start < chunk.end <= self.last_record
        ]
        if only_snapshots:
            entries.clear()
        if chunks and (not entries or choose.random() < 0.6):
            group, (start, end, _) = choose.choice(chunks)
            rot = Rot(group, is_snapshot=True)
        elif entries:
            group, _, start, end = choose.choice(entries)
            rot = Rot(group, is_snapshot=False)
            self.rotten_logs.add(group)
        else:
            return None
        self.data[choose.randrange(start, end)] ^= 1 << choose.randrange(8)
        self.rotten.add(group)
        self.has_rotted.add(group)
        return rot

    def read_snapshot(self, group: str, offset: int, size: int) -> bytes:
        """These bytes of the snapshot of *group*, as they are by now."""
        found, at = b"", 0
        for start, end, seal in self.snapshots[group]:
            data = bytes(self.data[start:end])
            if at < offset + size and offset < at + len(data):
                if self.sealed and chunk_seal(0, at, data) != seal:
                    raise GroupDamaged(group, 0, f"its snapshot is not as it was written at {at}")
                found += data[max(0, offset - at) : offset + size - at]
            at += len(data)
        return found

    def let_go(self, group: str, floor: float) -> None:
        """Entries of *group* up to *floor* count no more, whatever becomes of them."""
        gone = [p for p in self.entry_bytes if p.group == group and p.position <= floor]
        self.entry_bytes = [place for place in self.entry_bytes if place not in gone]
        if floor == math.inf:
            self.rotten.discard(group)
            self.rotten_logs.discard(group)
            self.snapshots.pop(group, None)
            self.candidates.pop(group, None)

    def backup(self) -> bytes | None:
        """What is synced, if it is whole, also what of it does not count any more."""
        return None if self.has_rotted else bytes(self.data[: self.synced])

    def restore(self, backup: bytes) -> None:
        """Somebody puts an older state in the place of this one; the server is down."""
        self.data = bytearray(backup)
        self.synced = self.last_record = 0  # recovering it tells what is in it
        self.entry_bytes.clear()
        self.snapshots.clear()
        self.candidates.clear()
        self.rotten.clear()
        self.rotten_logs.clear()


class SimStore(LogStore):
    """The laws of ``LogStore`` on a ``Disk``.  *durable* is told of every batch that has become so."""

    def __init__(self, disk: Disk, durable: Callable[[Commit], None]) -> None:
        self._disk = disk
        self._durable = durable
        self._memory = MemoryStore()
        self._written: Commit | None = None
        self._recover()

    def _recover(self) -> None:
        at = 0
        data = self._disk.data
        while (record := _read(data, at)) is not None:
            batch, end = record
            self._memory.commit(batch)
            if end > self._disk.synced:
                self._note_durable(batch, at, end)
            at = end
        forgotten = tuple(state.name for state in self._memory.list_groups("", 1_000))
        self._memory.commit(Commit(dropped_candidates=forgotten))
        self._disk.candidates.clear()
        assert at >= self._disk.synced, "the simulated disk lost what was synced"
        del data[at:]
        self._disk.synced = len(data)

    def _note_durable(self, batch: Commit, start: int, end: int) -> None:
        self._disk.last_record = start
        at = start + _HEAD.size + _HEAD.unpack_from(self._disk.data, start)[0]
        for entry in batch.entries:
            place = Place(entry.group, entry.position, at, at + len(entry.encoded))
            self._disk.entry_bytes.append(place)
            at = place.end
        for name in batch.dropped_candidates:
            self._disk.candidates.pop(name, None)
        for group, offset, data in batch.chunks:
            parts = self._disk.candidates.setdefault(group, [])
            if not offset:
                parts.clear()
            parts.append(Chunk(at, at + len(data), chunk_seal(0, offset, data)))
            at += len(data)
        for trim in batch.trims:
            if trim.snapshot is not None:
                self._disk.snapshots[trim.group] = self._disk.candidates.pop(trim.group, [])
            self._disk.let_go(trim.group, trim.floor)
        for group in batch.deleted_groups:
            self._disk.let_go(group, math.inf)
        self._durable(batch)

    # ------------------------------------------------------------ the laws

    def load(self) -> StoreState:
        return self._memory.load()

    def commit(self, batch: Commit) -> None:
        self.write(batch)
        self.sync()

    def write(self, batch: Commit) -> None:
        """The first half of a commit.  Raises StoreFull, and then nothing has happened."""
        if self._disk.full:
            raise StoreFull("the simulated disk is full")
        self._memory._check(batch)
        self._disk.data += _encode(batch)
        self._written = batch

    def sync(self) -> None:
        """The second half.  Raises StoreBroken, and then nobody knows."""
        if self._disk.fails_to_sync:
            raise StoreBroken("the simulated fsync failed")
        batch, self._written = self._written, None
        assert batch is not None
        start, end = self._disk.synced, len(self._disk.data)
        self._disk.synced = end
        self._memory.commit(batch)
        self._note_durable(batch, start, end)

    def read(self, group: str, after: int, bytes_max: int) -> list[tuple[int, bytes, bytes]]:
        # Small slices, so that those who lag need several.
        return self._memory.read(group, after, min(bytes_max, 256))

    def look_up(self, group: str, position: int) -> tuple[GroupState | None, bytes | None]:
        return self._memory.look_up(group, position)

    def list_groups(self, after: str, count: int) -> list[GroupState]:
        return self._memory.list_groups(after, count)

    def read_snapshot(self, group: str, position: int, offset: int, bytes_max: int) -> bytes:
        there = self._memory.read_snapshot(group, position, offset, min(bytes_max, 24))
        return self._disk.read_snapshot(group, offset, len(there)) if there else b""

    def collect(self, rows_max: int) -> bool:
        return self._memory.collect(rows_max)

    def close(self) -> None:
        self._memory.close()


def _encode(batch: Commit) -> bytes:
    rows = [(entry._replace(encoded=b""), len(entry.encoded)) for entry in batch.entries]
    parts = [(chunk._replace(data=b""), len(chunk.data)) for chunk in batch.chunks]
    meta = cbor2.dumps([batch._replace(entries=(), chunks=()), rows, parts])
    data = b"".join(entry.encoded for entry in batch.entries)
    data += b"".join(chunk.data for chunk in batch.chunks)
    body = _HEAD.pack(len(meta), len(data), zlib.crc32(meta)) + meta + data
    return body + _CRC.pack(zlib.crc32(body))


def _read(data: bytearray, at: int) -> tuple[Commit, int] | None:
    """The record at *at* and where it ends; None when there is no whole one."""
    if at + _HEAD.size > len(data):
        return None
    meta_size, data_size, meta_crc = _HEAD.unpack_from(data, at)
    start = at + _HEAD.size
    end = start + meta_size + data_size + _CRC.size
    if end > len(data) or zlib.crc32(data[start : start + meta_size]) != meta_crc:
        return None
    is_last = end == len(data)
    (crc,) = _CRC.unpack_from(data, end - _CRC.size)
    if is_last and crc != zlib.crc32(data[at : end - _CRC.size]):
        return None  # torn; a rotten one is never the last (``Disk.rot``)
    batch, rows, parts = cbor2.loads(bytes(data[start : start + meta_size]))
    entries, chunks, where = [], [], start + meta_size
    for row, size in rows:
        encoded = bytes(data[where : where + size])
        entries.append(_typed(NewEntry, row)._replace(encoded=encoded))
        where += size
    for row, size in parts:
        chunk = bytes(data[where : where + size])
        chunks.append(_typed(NewChunk, row)._replace(data=chunk))
        where += size
    return _typed(Commit, batch)._replace(entries=tuple(entries), chunks=tuple(chunks)), end


def _typed(kind: Any, plain: Any) -> Any:
    """*plain*, arrays of arrays, as the named tuples that *kind* is made of."""
    if hasattr(kind, "_fields"):
        kinds = _field_types(kind)
        return kind(*map(_typed, kinds, plain))
    parts = get_args(kind)
    if get_origin(kind) is tuple:
        return tuple(_typed(parts[0], part) for part in plain)
    if parts:  # a union: of a named tuple and what can stand for it
        return None if plain is None else _typed(parts[0], plain)
    return plain


@cache
def _field_types(kind: Any) -> tuple[Any, ...]:
    return tuple(get_type_hints(kind).values())
