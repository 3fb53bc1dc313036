"""An offline check of everything in an SQLite store, said in words.

Nothing is written: the file is opened read-only, under the lock that keeps servers out, and what SQLite puts
beside it for that is taken away again.  A server finds the same damage when it meets it; this finds all of it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from urllib.parse import quote

from ..wire.codec import DecodeError
from ..wire.entry import decode_entry, next_chain
from .base import SnapshotState, StoreUnusable
from .sqlite_file import as_unusable, check_log, check_schema, check_size, take_lock
from .sqlite_recent import Damaged, RecentEntries
from .sqlite_rows import (
    GROUPS,
    SEALED_ROWS,
    Row,
    StoredGroup,
    chunk_seal,
    entry_seal,
    is_named_rightly,
    unpack,
)
from .sqlite_sessions import load

Say = Callable[[str], object]

_ORPHANS = """
SELECT count(*) FROM outcomes WHERE session NOT IN (SELECT session FROM sessions)
"""
_LEFT_OVER = """
SELECT (SELECT count(*) FROM entries AS e WHERE group_id NOT IN (SELECT id FROM groups)
        AND group_id NOT IN (SELECT group_id FROM garbage)
        OR id <= (SELECT indexed FROM extent) AND NOT EXISTS (SELECT 1 FROM places AS p
        WHERE p.group_id = e.group_id AND p.position = e.position AND p.entry_id = e.id))
     + (SELECT count(*) FROM chunks WHERE snapshot_id NOT IN (SELECT snapshot_id FROM groups)
        AND snapshot_id NOT IN (SELECT snapshot_id FROM garbage))
"""


def fsck(path: str, say: Say) -> bool:
    """Check the store at *path*, saying what is found; returns whether all of it is whole.

    Raises:
        StoreUnusable: it cannot be looked into: it is not a store, or a server uses it.
    """
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise StoreUnusable(f"{path} is not a file")
    lock, was_made = take_lock(path)
    try:
        with as_unusable(path):
            check_size(path, was_made)
            check_log(f"{path}-wal")
            with _read_only(path) as db:
                check_schema(db, path)
                return _Check(db, say).all()
    finally:
        os.close(lock)


@contextmanager
def _read_only(path: str) -> Iterator[sqlite3.Connection]:
    beside = [f"{path}-shm", f"{path}-wal"]
    extra = [name for name in beside if not os.path.exists(name)]
    db = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=0, isolation_level=None)
    try:
        yield db
    finally:
        db.close()
        for name in extra:
            with suppress(FileNotFoundError):
                os.unlink(name)


class _Check:
    def __init__(self, db: sqlite3.Connection, say: Say) -> None:
        self._db = db
        self._say = say
        self._is_whole = True
        self._recent: RecentEntries | None = None
        self._groups = self._entries = self._snapshots = self._snapshot_bytes = self._outcomes = 0

    def _bad(self, text: str) -> None:
        self._is_whole = False
        self._say(text)

    def all(self) -> bool:
        self._guarded("the file", self._structure)
        self._guarded("the end of the log", self._end_of_log)
        self._guarded("the list of groups", self._every_group)
        self._guarded("the sessions", self._sessions)
        if self._is_whole:
            self._say(
                f"all is whole: groups: {self._groups}, entries: {self._entries}, "
                f"snapshots: {self._snapshots} ({self._snapshot_bytes} bytes), "
                f"sessions: {self._count('sessions')}, outcomes: {self._outcomes}"
            )
        else:
            self._say("restore the store from a backup, and check its disk")
        return self._is_whole

    def _guarded(self, what: str, step: Callable[[], None]) -> None:
        try:
            step()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            self._bad(f"{what}: cannot be read: {error}")

    def _count(self, table: str) -> int:
        (count,) = self._db.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(count)

    def _structure(self) -> None:
        for (said,) in self._db.execute("PRAGMA integrity_check"):
            if said != "ok":
                self._bad(f"the file: {' '.join(str(said).split())}")

    # ------------------------------------------------------------ groups

    def _end_of_log(self) -> None:
        try:
            self._recent = RecentEntries(self._db)
        except Damaged as error:
            self._bad(f"{error} was changed")

    def _every_group(self) -> None:
        for columns in self._db.execute(f"{GROUPS} ORDER BY name"):
            self._groups += 1
            self._guarded(f"group {columns[1]!r}", lambda row=columns: self._group(row))  # type: ignore[misc]
        (left_over,) = self._db.execute(_LEFT_OVER).fetchone()
        if left_over:
            self._say(f"{left_over} rows belong to nothing and only take room")

    def _group(self, columns: Row) -> None:
        name = columns[1]
        group = unpack(columns)
        if not is_named_rightly(columns):
            self._bad(f"group {name!r}: its name, or what goes with it, was changed")
        if group is None:
            self._bad(f"group {name!r}: what is known of its head, floor or snapshot was changed")
            return
        if self._recent is None:
            return
        moved = self._recent.moved.get(name)
        group = moved.group if moved else group
        snapshot = group.row.state.snapshot
        for what in filter(
            None, (self._log(self._recent, group), snapshot and self._snapshot(group, snapshot))
        ):
            self._bad(f"group {name!r}: {what}")

    def _log(self, recent: RecentEntries, group: StoredGroup) -> str | None:
        """The first thing that is wrong with the entries of *group*."""
        state, snapshot = group.row.state, group.row.state.snapshot
        position, chain = state.floor, group.row.floor_chain
        found = chain if snapshot and snapshot.position == position else None
        rows = recent.after(self._db, group.id, state.floor)
        for at, encoded, stored, time_ms, log_bytes, stored_seal in rows:
            if (
                entry_seal(group.id, at, stored, time_ms, log_bytes) != stored_seal
                or type(encoded) is not bytes
            ):
                return f"entry {at} was changed"
            if next_chain(chain, encoded) != stored:
                return f"entry {at} does not fit its chain; the last good one is {position}"
            try:
                entry = decode_entry(encoded)
            except DecodeError as error:
                return f"entry {at} is none: {error}"
            if entry.position != at:
                return f"entry {at} says that it is entry {entry.position}"
            self._entries += 1
            position, chain = at, stored
            if snapshot and snapshot.position == at:
                found = stored
        if position != state.head:
            return f"its log ends at {position}, and its head is {state.head}"
        if chain != state.chain:
            return "its head's chain is not the log's"
        if snapshot and snapshot.chain != found:
            return f"its snapshot at {snapshot.position} is not of this log"
        return None

    def _snapshot(self, group: StoredGroup, snapshot: SnapshotState) -> str | None:
        """The first thing that is wrong with the bytes of *snapshot*."""
        size, digest = 0, blake2b(digest_size=32)
        rows = self._db.execute(
            "SELECT offset, data, seal FROM chunks WHERE snapshot_id = ? ORDER BY offset",
            (group.snapshot_id,),
        )
        for offset, data, stored_seal in rows:
            if offset != size or chunk_seal(group.snapshot_id, offset, data) != stored_seal:
                return f"its snapshot at {snapshot.position} is not whole at byte {size}"
            size += len(data)
            digest.update(data)
        if size != snapshot.size:
            return f"its snapshot at {snapshot.position} has {size} bytes of {snapshot.size}"
        if digest.digest() != snapshot.digest:
            return f"its snapshot at {snapshot.position} does not have the digest that was verified"
        self._snapshots += 1
        self._snapshot_bytes += size
        return None

    # ------------------------------------------------------------ sessions

    def _sessions(self) -> None:
        was_whole, self._is_whole = self._is_whole, True
        for table, columns, what, sealed in SEALED_ROWS:
            for *row, stored in self._db.execute(f"SELECT {columns}, seal FROM {table}"):
                if stored != sealed(*row):
                    self._bad(f"{what} was changed: {row!r}")
        (orphans,) = self._db.execute(_ORPHANS).fetchone()
        if orphans:
            self._bad(f"{orphans} outcomes belong to no session")
        if self._is_whole:
            self._promises()
        self._is_whole &= was_whole

    def _promises(self) -> None:
        """What sessions were told is in the logs: of a group that is there; of one that was deleted nothing is known."""
        heads = dict(self._db.execute("SELECT name, head FROM groups"))
        if self._recent is not None:
            heads |= {name: group.row.state.head for name, (_, group) in self._recent.moved.items()}
        for session in load(self._db):
            self._outcomes += len(session.outcomes)
            for seq, position, group, _, _ in session.outcomes:
                head = heads.get(group, position)
                if position > head:
                    self._bad(
                        f"a session was told that its submission {seq} is entry {position} of group {group!r}, "
                        f"whose head is {head}"
                    )
