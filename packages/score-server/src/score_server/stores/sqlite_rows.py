"""The tables of the SQLite store, and how a row becomes a record and shows that it is as it was written."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence
from functools import cache
from itertools import chain, repeat
from typing import Any, NamedTuple
from zlib import crc32

from ..wire.entry import chains_behind, next_chain
from .advance import GroupRow
from .base import GroupState, SnapshotState

Row = tuple[Any, ...]

# Ids of groups and snapshots are not used again while anything in the file bears them.
SCHEMA = """
CREATE TABLE groups (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    incarnation BLOB NOT NULL,
    keep INTEGER NOT NULL,
    seal INTEGER NOT NULL,
    head INTEGER NOT NULL,
    chain BLOB NOT NULL,
    time_ms INTEGER NOT NULL,
    log_bytes INTEGER NOT NULL,
    head_seal INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    floor_chain BLOB NOT NULL,
    snapshot_id INTEGER NOT NULL,
    snapshot_position INTEGER NOT NULL,
    snapshot_chain BLOB NOT NULL,
    snapshot_size INTEGER NOT NULL,
    snapshot_digest BLOB NOT NULL,
    snapshot_log_bytes INTEGER NOT NULL,
    floor_seal INTEGER NOT NULL
) STRICT;
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    group_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    encoded BLOB NOT NULL,
    chain BLOB NOT NULL,
    time_ms INTEGER NOT NULL,
    log_bytes INTEGER NOT NULL,
    seal INTEGER NOT NULL
) STRICT;
CREATE TABLE places (
    group_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    entry_id INTEGER NOT NULL,
    PRIMARY KEY (group_id, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE extent (
    indexed INTEGER NOT NULL,
    last INTEGER NOT NULL,
    seal INTEGER NOT NULL
) STRICT;
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY,
    snapshot_id INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    data BLOB NOT NULL,
    seal INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX chunks_in_order ON chunks (snapshot_id, offset);
CREATE TABLE sessions (
    session BLOB PRIMARY KEY,
    label TEXT NOT NULL,
    last_used_ms INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    seal INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE outcomes (
    session BLOB NOT NULL,
    seq INTEGER NOT NULL,
    length INTEGER NOT NULL,
    position INTEGER NOT NULL,
    group_name TEXT NOT NULL,
    pinned INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    last_used_ms INTEGER NOT NULL,
    seal INTEGER NOT NULL,
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE new_outcomes (
    session BLOB NOT NULL,
    seq INTEGER NOT NULL,
    length INTEGER NOT NULL,
    position INTEGER NOT NULL,
    group_name TEXT NOT NULL,
    pinned INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    last_used_ms INTEGER NOT NULL,
    seal INTEGER NOT NULL
) STRICT;
CREATE TABLE made (seal INTEGER NOT NULL) STRICT;
CREATE TABLE garbage (
    group_id INTEGER NOT NULL,
    snapshot_id INTEGER NOT NULL,
    seal INTEGER NOT NULL,
    PRIMARY KEY (group_id, snapshot_id)
) STRICT, WITHOUT ROWID;
"""

SESSIONS = "session, label, last_used_ms, settled"
OUTCOMES = "session, seq, length, position, group_name, pinned, seen, settled, last_used_ms"
GROUPS = """
SELECT id, name, incarnation, keep, seal, head, chain, time_ms, log_bytes, head_seal, floor, floor_chain,
    snapshot_id, snapshot_position, snapshot_chain, snapshot_size, snapshot_digest, snapshot_log_bytes, floor_seal
FROM groups
"""
ADD_GROUP = f"INSERT INTO groups VALUES ({', '.join('?' * 19)})"
SET_HEADS = (
    "UPDATE groups SET head = r.column1, chain = r.column2, time_ms = r.column3, log_bytes = r.column4, "
    "head_seal = r.column5 FROM (VALUES ROWS) AS r WHERE id = r.column6 AND head = r.column7"
)
SET_FLOOR = (
    "UPDATE groups SET floor = ?, floor_chain = ?, snapshot_id = ?, snapshot_position = ?, "
    "snapshot_chain = ?, snapshot_size = ?, snapshot_digest = ?, snapshot_log_bytes = ?, "
    "floor_seal = ? WHERE id = ?"
)
ADD_CHUNKS = "INSERT INTO chunks (snapshot_id, offset, data, seal) VALUES ROWS"
ADD_ENTRIES = "INSERT INTO entries VALUES ROWS"
SET_SESSIONS = (
    f"INSERT INTO sessions ({SESSIONS}, seal) VALUES ROWS "
    "ON CONFLICT (session) DO UPDATE SET label = excluded.label, "
    "last_used_ms = excluded.last_used_ms, settled = excluded.settled, seal = excluded.seal"
)
ADD_NEW_RUNS = f"INSERT INTO new_outcomes ({OUTCOMES}, seal) VALUES ROWS"
ADD_RUNS = f"INSERT INTO outcomes ({OUTCOMES}, seal) VALUES ROWS"
# CROSS JOIN keeps SQLite from looking through all outcomes for each row.
SETTLE = (
    "DELETE FROM outcomes WHERE (session, seq) IN (SELECT o.session, o.seq "
    "FROM (VALUES ROWS) AS r CROSS JOIN outcomes AS o "
    "WHERE o.session = r.column1 AND o.seq <= r.column2 AND o.seq + (o.length - 1) <= r.column2 "
    "AND NOT o.pinned)"
)
DROP = "DELETE FROM outcomes WHERE (session, seq) IN (VALUES ROWS)"
END_NEW_OUTCOMES = "DELETE FROM new_outcomes WHERE session IN (VALUES ROWS)"
END_OUTCOMES = "DELETE FROM outcomes WHERE session IN (VALUES ROWS)"
END_SESSIONS = "DELETE FROM sessions WHERE session IN (VALUES ROWS)"

_ROWS_PER_STATEMENT = (64, 8, 1)  # few shapes, so that all stay in the cache of statements
PLACE = struct.Struct(">4q")
_RUN = struct.Struct(">9q")
_NO_SNAPSHOT = SnapshotState(0, b"", 0, b"", 0)


def run(db: sqlite3.Connection, sql: str, rows: Sequence[Row]) -> None:
    """Run *sql* with *rows* in the place of ``ROWS``, many of them to a statement.

    Each statement gives the GIL away and has to get it back from a busy event loop.
    """
    if not rows:
        return
    if len(rows) == 1:  # so are most commits of a blocking client
        db.execute(_with_rows(sql, len(rows[0]), 1), rows[0])
        return
    at = 0
    for size in _ROWS_PER_STATEMENT:
        while len(rows) - at >= size:
            part = rows[at : at + size]
            db.execute(_with_rows(sql, len(part[0]), size), list(chain.from_iterable(part)))
            at += size


@cache
def _with_rows(sql: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return sql.replace("ROWS", ", ".join([row] * rows))


# ---------------------------------------------------------------- seals


def seal(*fields: object) -> int:
    """What shows that a row is as it was written."""
    return crc32(repr(fields).encode())


def run_seal(session: bytes, seq: int, length: int, position: int, group: str, *rest: int) -> int:
    """As ``seal``, of a row of outcomes, in a quarter of the time; *rest* are four numbers.

    -1, which is no seal, for what cannot have been written.
    """
    try:
        name = group.encode()
        numbers = _RUN.pack(len(session), seq, length, position, len(name), *rest)
        return crc32(name, crc32(session, crc32(numbers)))
    except (struct.error, TypeError, AttributeError):
        return -1


def entry_seal(
    group_id: object, position: object, chain: object, time_ms: object, log_bytes: object
) -> int:
    """Binds an entry's place, and what its group's row says when it is the head, to the chain.

    -1, which is no seal, for what cannot have been written (SQLite gives NULL for a type that was flipped).
    """
    try:
        place = PLACE.pack(group_id, position, time_ms, log_bytes)
        return crc32(chain, crc32(place))  # type: ignore[arg-type]
    except (struct.error, TypeError):
        return -1


def count_whole(group_id: int, chain: bytes, rows: Sequence[Row]) -> int:
    """How many of *rows*, from the first on, are entries behind *chain* as they were written.

    A row: position, bytes, chain, time, log bytes, seal.
    """
    if not rows:
        return 0
    # By columns, and one by one only to find the fault: a joiner may ask for millions.
    positions, encoded, chains, times_ms, log_bytes, seals = zip(*rows, strict=True)
    if (
        set(map(type, encoded)) == {bytes}
        and tuple(map(entry_seal, repeat(group_id), positions, chains, times_ms, log_bytes))
        == seals
        and chains_behind(chain, encoded) == list(chains)
    ):
        return len(rows)
    for count, (position, data, stored, time_ms, size, stored_seal) in enumerate(rows):
        if (
            entry_seal(group_id, position, stored, time_ms, size) != stored_seal
            or type(data) is not bytes
            or next_chain(chain, data) != stored
        ):
            return count
        chain = stored
    raise AssertionError("some row was found to be different")


def chunk_seal(snapshot_id: int, offset: object, data: object) -> int:
    """Binds a chunk to its place; -1, which is no seal, for what cannot have been written."""
    if type(offset) is not int or type(data) is not bytes:
        return -1
    return crc32(data, seal(snapshot_id, offset))


# Small tables whose rows are all looked at when a store is loaded: columns, what a row is called, its seal.
SEALED_ROWS = (
    ("sessions", SESSIONS, "a session", seal),
    ("outcomes", OUTCOMES, "an outcome", run_seal),
    ("new_outcomes", OUTCOMES, "an outcome", run_seal),
    ("garbage", "group_id, snapshot_id", "a note of garbage", seal),
)


# ---------------------------------------------------------------- groups


class StoredGroup(NamedTuple):
    """A group's row, with the ids by which other tables know it and its snapshot (0: none)."""

    id: int
    snapshot_id: int
    row: GroupRow


def pack(group: StoredGroup) -> Row:
    """The columns of *group*, in the order of ``GROUPS``."""
    state = group.row.state
    identity = (group.id, state.name, state.incarnation, int(state.keep))
    return (*identity, seal(*identity), *pack_head(group), *pack_floor(group))


def pack_head(group: StoredGroup) -> Row:
    """The columns that an append changes."""
    _, _, head, chain, time_ms, _, _, log_bytes, _ = group.row.state
    return (head, chain, time_ms, log_bytes, seal(group.id, head, chain, time_ms, log_bytes))


def pack_floor(group: StoredGroup) -> Row:
    """The columns that a trim changes."""
    id_, snapshot_id, (state, floor_chain, _) = group
    floor = (state.floor, floor_chain, snapshot_id, *(state.snapshot or _NO_SNAPSHOT))
    return (*floor, seal(id_, *floor))


def is_named_rightly(columns: Row) -> bool:
    """Whether what says which group this is is as it was written."""
    id_, name, incarnation, keep, stored, *_ = columns
    return bool(stored == seal(id_, name, incarnation, keep))


def unpack(columns: Row) -> StoredGroup | None:
    """The group of a row of ``GROUPS``; None if its state is not as it was written."""
    id_, name, incarnation, keep, _, head, chain, time_ms, log_bytes, head_seal, *rest = columns
    *floors, floor_seal = rest
    if head_seal != seal(id_, head, chain, time_ms, log_bytes) or floor_seal != seal(id_, *floors):
        return None
    floor, floor_chain, snapshot_id, *snapshot = floors
    state = GroupState(
        name, incarnation, head, chain, time_ms, floor, bool(keep), log_bytes,
        SnapshotState(*snapshot) if snapshot_id else None,
    )  # fmt: skip
    return StoredGroup(id_, snapshot_id, GroupRow(state, floor_chain))
