"""The durable store: one SQLite file.

Rules
-----
- One connection, used by one thread, and no second one anywhere: an OS lock on ``<path>.lock`` is taken
  before the file is opened, and SQLite's own exclusive locking mode keeps other programs out.  It
  also rules out the WAL-reset bug (SQLite 3.7.0 to 3.51.2), which needs two connections.
- WAL, ``synchronous=FULL``: each commit is one append to the log and one fdatasync.
- ``wal_autocheckpoint=0``: SQLite's own checkpoint, after a commit, swallows I/O errors.  We
  checkpoint before a commit when the log has grown to ``WAL_BYTES_MAX``, and look at the result.
- ``SQLITE_FULL`` before the commit record is written is the one clean failure: it is rolled back and is
  ``StoreFull``.  SQLite writes the commit record last and (with powersafe overwrite, the default)
  nothing after it, so a log that ran full holds no commit that a restart could bring back.  Anything
  else, a failed sync above all, is ``StoreBroken`` (see "fsyncgate": the kernel may have dropped what
  it could not write, and the next sync may succeed).
- Damage is found by the chain, entry by entry, when a group is read; a group's row says where its log
  must end.  Only that group is refused.  Damage in what says which groups and sessions there are is found
  at the start, by SQLite's check of those (small) tables and by a seal in each row; then the store is
  refused: a missing outcome could let a change take effect twice.  Damage in the log: see ``wal.py``.

Measurements and other ways: ``docs/decisions/0004-sqlite.md``.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain
from typing import Any
from zlib import crc32

from ..wire.entry import next_chain
from . import wal
from .base import (
    AppendRefused,
    Commit,
    GroupDamaged,
    GroupState,
    LogStore,
    NewEntry,
    SessionChange,
    SessionState,
    StoreBroken,
    StoredOutcome,
    StoreFull,
    StoreState,
    StoreUnusable,
)

APPLICATION_ID = 0x53434F52  # "SCOR": `file shared.db` shows it
SCHEMA_VERSION = 1
WAL_BYTES_MAX = 8 * 1024 * 1024
_Row = tuple[Any, ...]
_SEALED = ("groups", "sessions", "outcomes")
_HEADER_BYTES = 100  # of an SQLite file; it writes whole pages
_MADE = b"a store was made\n"  # in the lock file, behind the process's number
_CHECKPOINT = "PRAGMA wal_checkpoint(TRUNCATE)"

_SCHEMA = """
CREATE TABLE groups (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    incarnation BLOB NOT NULL,
    head INTEGER NOT NULL,
    chain BLOB NOT NULL,
    seal INTEGER NOT NULL
) STRICT;
CREATE TABLE entries (
    group_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    encoded BLOB NOT NULL,
    chain BLOB NOT NULL,
    seal INTEGER NOT NULL,
    PRIMARY KEY (group_id, position)
) STRICT, WITHOUT ROWID;
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
    position INTEGER NOT NULL,
    group_name TEXT NOT NULL,
    pinned INTEGER NOT NULL,
    seal INTEGER NOT NULL,
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;
"""


_ADD_ENTRIES = "INSERT INTO entries (group_id, position, encoded, chain, seal) VALUES ROWS"
_SET_SESSIONS = (
    "INSERT INTO sessions (session, label, last_used_ms, settled, seal) VALUES ROWS "
    "ON CONFLICT (session) DO UPDATE SET label = excluded.label, "
    "last_used_ms = excluded.last_used_ms, settled = excluded.settled, seal = excluded.seal"
)
_SET_OUTCOMES = (
    "REPLACE INTO outcomes (session, seq, position, group_name, pinned, seal) VALUES ROWS"
)
# CROSS JOIN keeps SQLite from looking through all outcomes for each row.
_SETTLE = (
    "DELETE FROM outcomes WHERE (session, seq) IN (SELECT o.session, o.seq "
    "FROM (VALUES ROWS) AS r CROSS JOIN outcomes AS o "
    "WHERE o.session = r.column1 AND o.seq <= r.column2 AND NOT o.pinned)"
)
_DROP = "DELETE FROM outcomes WHERE (session, seq) IN (VALUES ROWS)"
_END_OUTCOMES = "DELETE FROM outcomes WHERE session IN (VALUES ROWS)"
_END_SESSIONS = "DELETE FROM sessions WHERE session IN (VALUES ROWS)"

_ROWS_PER_STATEMENT = (64, 8, 1)  # few shapes, so that all stay in the cache of statements


@cache
def _with_rows(sql: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return sql.replace("ROWS", ", ".join([row] * rows))


class SqliteStore(LogStore):
    """A store in the file *path*, which is created if it is not there (its folder is not).

    Raises:
        StoreUnusable: another server has it, it cannot be written, it is not a store, or a newer
            score-server made it.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._broken: str | None = None
        self._closed = False
        self._lock, was_made = _take_lock(self._path)
        try:
            with _as_unusable(self._path):
                _check_size(self._path, was_made)
                self._db, self._ids = _open(self._path)
                if not was_made:
                    os.write(self._lock, _MADE)
        except BaseException:
            os.close(self._lock)
            raise

    # ------------------------------------------------------------ reading

    def load(self) -> StoreState:
        self._check_usable()
        try:
            wrong, groups, sessions, outcomes = self._sealed_rows()
        except sqlite3.Error as error:
            wrong, groups, sessions, outcomes = [str(error)], [], [], []
        wrong += [f"group {row[0]!r}" for row in groups if row[4] != _seal(*row[:2])]
        wrong += ["a session" for row in sessions if row[-1] != _seal(*row[:-1])]
        wrong += ["an outcome" for row in outcomes if row[-1] != _seal(*row[:-1])]
        if wrong:
            raise StoreUnusable(
                f"{self._path} is damaged ({' '.join(wrong[0].split())}); "
                "restore it from a backup, and check its disk"
            )
        kept: dict[bytes, list[StoredOutcome]] = {}
        for session, seq, position, group, pinned, _ in outcomes:
            outcome = StoredOutcome(seq, position, group, bool(pinned))
            kept.setdefault(session, []).append(outcome)
        return StoreState(
            tuple(GroupState(*row[:4]) for row in groups),
            tuple(
                SessionState(id_, label, used_ms, settled, tuple(kept.get(id_, ())))
                for id_, label, used_ms, settled, _ in sessions
            ),
        )

    def _sealed_rows(self) -> tuple[list[str], list[_Row], list[_Row], list[_Row]]:
        """What SQLite finds wrong with the tables that say what there is, and their rows."""
        select = self._db.execute
        return (
            [
                said
                for table in _SEALED
                for (said,) in select(f"PRAGMA integrity_check({table})")
                if said != "ok"
            ],
            select("SELECT name, incarnation, head, chain, seal FROM groups").fetchall(),
            select("SELECT session, label, last_used_ms, settled, seal FROM sessions").fetchall(),
            select(
                "SELECT session, seq, position, group_name, pinned, seal FROM outcomes "
                "ORDER BY session, seq"
            ).fetchall(),
        )

    def read(self, group: str, after: int, bytes_max: int) -> list[tuple[int, bytes, bytes]]:
        self._check_usable()
        group_id = self._ids.get(group)
        if group_id is None:
            return []
        out: list[tuple[int, bytes, bytes]] = []
        before, damage = after, None
        try:
            before, chain = self._before(group, group_id, after)
            rows = self._db.execute(
                "SELECT position, encoded, chain, seal FROM entries "
                "WHERE group_id = ? AND position > ? ORDER BY position",
                (group_id, after),
            )
            for position, encoded, stored, seal in rows:
                if (
                    _entry_seal(position, stored) != seal
                    or type(encoded) is not bytes
                    or next_chain(chain, encoded) != stored
                ):
                    damage = f"entry {position} does not fit its chain"
                    break
                bytes_max -= len(encoded)
                if out and bytes_max < 0:
                    rows.close()
                    return out
                before, chain = position, stored
                out.append((position, encoded, stored))
            rows.close()
            if damage is None:
                damage = self._end_is_wrong(group_id, before, chain)
        except sqlite3.DatabaseError as error:
            damage = f"SQLite says: {error}"
        if damage is not None and not out:
            raise GroupDamaged(group, before, f"{damage} ({self._path})")
        return out

    def _before(self, group: str, group_id: int, after: int) -> tuple[int, bytes]:
        """The last entry's position up to *after* with its chain; 0 and the incarnation if none.

        Raises:
            GroupDamaged: it is not as it was written.
        """
        row = self._db.execute(
            "SELECT position, chain, seal FROM entries WHERE group_id = ? AND position <= ? "
            "ORDER BY position DESC LIMIT 1",
            (group_id, after),
        ).fetchone()
        if row is None:
            sql = "SELECT 0, incarnation FROM groups WHERE id = ?"
            row = self._db.execute(sql, (group_id,)).fetchone()
            return 0, row[1]
        position, chain, seal = row
        if _entry_seal(position, chain) != seal:
            raise GroupDamaged(group, after, f"the place of an entry was changed ({self._path})")
        return position, chain

    def _end_is_wrong(self, group_id: int, position: int, chain: bytes) -> str | None:
        """Whether the log that ends at *position* is not the one whose head was committed."""
        head, stored = self._db.execute(
            "SELECT head, chain FROM groups WHERE id = ?", (group_id,)
        ).fetchone()
        if position != head:
            return f"its log ends there and its head is {head}"
        return None if chain == stored else "its head's chain is not the log's"

    def chain_at(self, group: str, position: int) -> bytes | None:
        self._check_usable()
        group_id = self._ids.get(group)
        if group_id is None:
            return None
        try:
            at, chain = self._before(group, group_id, position)
        except sqlite3.DatabaseError as error:
            raise GroupDamaged(group, position, f"SQLite says: {error} ({self._path})") from error
        return chain if at == position else None

    # ------------------------------------------------------------ writing

    def commit(self, batch: Commit) -> None:
        with self._guarded("committing"):
            self._bound_wal()
            self._db.execute("BEGIN IMMEDIATE")
            new_ids = self._add_groups(batch.new_groups)
            self._append(batch.entries, self._ids | new_ids if new_ids else self._ids)
            self._change_sessions(batch.sessions)
            ended = [(session,) for session in batch.ended_sessions]
            self._run(_END_OUTCOMES, ended)
            self._run(_END_SESSIONS, ended)
            self._db.execute("COMMIT")
            self._ids |= new_ids

    def _add_groups(self, new_groups: tuple[tuple[str, bytes], ...]) -> dict[str, int]:
        ids: dict[str, int] = {}
        for name, incarnation, *_ in new_groups:
            if name in self._ids or name in ids:
                raise AppendRefused(f"group {name!r} is in the store already")
            done = self._db.execute(
                "INSERT INTO groups (name, incarnation, head, chain, seal) VALUES (?, ?, 0, ?, ?)",
                (name, incarnation, incarnation, _seal(name, incarnation)),
            )
            assert done.lastrowid is not None
            ids[name] = done.lastrowid
        return ids

    def _append(self, entries: tuple[NewEntry, ...], ids: dict[str, int]) -> None:
        """Append, each group's first entry to its stored head and the others to one another."""
        first: dict[str, int] = {}
        last: dict[str, NewEntry] = {}
        for entry in entries:
            before = last.get(entry.group)
            follows = (
                before.position if before else first.setdefault(entry.group, entry.predecessor)
            )
            if entry.predecessor != follows or entry.position <= follows:
                raise AppendRefused(_refusal(entry, f"the one before it is {follows}"))
            last[entry.group] = entry
        for name, entry in last.items():
            moved = self._db.execute(
                "UPDATE groups SET head = ?, chain = ? WHERE id = ? AND head = ?",
                (entry.position, entry.chain, ids.get(name), first[name]),
            )
            if moved.rowcount != 1:
                raise AppendRefused(_refusal(entry, f"the stored head is not {first[name]}"))
        rows = [
            (ids[name], position, encoded, chain, _entry_seal(position, chain))
            for name, position, _, encoded, chain, _ in entries
        ]
        self._run(_ADD_ENTRIES, rows)

    def _change_sessions(self, changes: tuple[SessionChange, ...]) -> None:
        self._run(_SET_SESSIONS, [(*change[:4], _seal(*change[:4])) for change in changes])
        outcomes = [
            (change.session, seq, position, group, int(pinned))
            for change in changes
            for seq, position, group, pinned, _ in change.outcomes
        ]
        self._run(_SET_OUTCOMES, [(*row, _seal(*row)) for row in outcomes])
        self._run(_SETTLE, [(change.session, change.settled) for change in changes])
        self._run(_DROP, [(change.session, seq) for change in changes for seq in change.dropped])

    def _run(self, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Run *sql* with *rows* in the place of ``ROWS``, many of them to a statement.

        Each statement gives the GIL away and has to get it back from a busy event loop.
        """
        at = 0
        for size in _ROWS_PER_STATEMENT:
            while len(rows) - at >= size:
                part = rows[at : at + size]
                self._db.execute(
                    _with_rows(sql, len(part[0]), size), list(chain.from_iterable(part))
                )
                at += size

    def _bound_wal(self) -> None:
        """Move the write-ahead log into the database when it has grown; it starts anew then."""
        if os.stat(f"{self._path}-wal").st_size <= WAL_BYTES_MAX:
            return
        busy, _, _ = self._db.execute(_CHECKPOINT).fetchone()
        if busy:
            raise StoreBroken(f"{self._path} cannot be checkpointed: another program has it open")

    # ------------------------------------------------------------ ending

    def close(self) -> None:
        """As the law says.  SQLite checkpoints here; also in a broken store that only moves what
        was durable before, and writes all of it again."""
        if not self._closed:
            self._closed = True
            self._broken = self._broken or "it was closed"
            try:
                self._db.close()
            finally:
                os.close(self._lock)

    @contextmanager
    def _guarded(self, doing: str) -> Iterator[None]:
        """Whatever goes wrong inside is a clean failure, rolled back, or the end of this store."""
        self._check_usable()
        try:
            yield
        except AppendRefused:
            self._roll_back()
            raise
        except sqlite3.Error as error:
            if _code(error) != sqlite3.SQLITE_FULL:
                raise self._break(doing, error) from error
            self._roll_back()
            raise StoreFull(
                f"{self._path} cannot grow, nothing was changed: {error}; make room on its disk"
            ) from error
        except Exception as error:
            raise self._break(doing, error) from error

    def _roll_back(self) -> None:
        # SQLite rolls back by itself after some errors, and says so only in this flag.
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise self._break("rolling back", error) from error

    def _break(self, doing: str, error: Exception) -> StoreBroken:
        self._broken = f"{doing} failed: {error}"
        return StoreBroken(
            f"{self._path} is in an unknown state ({self._broken}); check its disk, then start again"
        )

    def _check_usable(self) -> None:
        if self._broken is not None:
            raise StoreBroken(f"{self._path} is not to be used any more: {self._broken}")


def _refusal(entry: NewEntry, why: str) -> str:
    return (
        f"entry {entry.position} of group {entry.group!r} was to follow {entry.predecessor}, "
        f"but {why}: does somebody else write to this store?"
    )


def _seal(*fields: object) -> int:
    """What shows that a row is as it was written."""
    return crc32(repr(fields).encode())


def _entry_seal(position: object, chain: object) -> int:
    """Binds an entry's place to it: the chain, of what the entry says, does not know it.

    -1, which is no seal, for what cannot have been written (SQLite gives NULL for a type that was flipped).
    """
    if type(position) is not int or type(chain) is not bytes:
        return -1
    return crc32(chain, position & 0xFFFFFFFF)


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; -1 when the error is Python's own."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF


# ---------------------------------------------------------------- opening


def _take_lock(path: str) -> tuple[int, bool]:
    """Lock ``<path>.lock`` for as long as the returned descriptor is open; and whether there was a store
    at *path* before.

    The file stays: removing it would let two servers lock two different files of one name.
    """
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreUnusable(
            f"the lock file {path}.lock cannot be opened: {error.strerror}; "
            "its folder has to exist and be writable"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(lock, 32).decode("ascii", "replace").partition("\n")[0] or "unknown"
        os.close(lock)
        raise StoreUnusable(
            f"{path} is in use by another server (process {owner}); one server uses a file at a time"
        ) from error
    try:
        was_made = os.pread(lock, 64, 0).endswith(_MADE)
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode("ascii") + (_MADE if was_made else b""))
    except OSError as error:
        os.close(lock)
        raise StoreUnusable(
            f"the lock file {path}.lock cannot be written: {error.strerror}"
        ) from error
    return lock, was_made


def _check_size(path: str, was_made: bool) -> None:
    """See that SQLite will not take the rest of a store for a new, empty file."""
    with suppress(FileNotFoundError):
        size = os.stat(path).st_size
        if size < _HEADER_BYTES and (size or was_made):
            raise StoreUnusable(
                f"{path} was cut off to {size} bytes; restore it from a backup, or remove it to "
                "start anew, with nothing in it"
            )


@contextmanager
def _as_unusable(path: str) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:  # in its schema
        raise StoreUnusable(f"{path} is damaged; restore it from a backup") from error
    except sqlite3.Error as error:
        advice = {
            sqlite3.SQLITE_CORRUPT: "restore it from a backup, and check its disk",
            sqlite3.SQLITE_NOTADB: "it is not an SQLite file; give another path",
            sqlite3.SQLITE_BUSY: "another program has it open; close that one",
            sqlite3.SQLITE_READONLY: "this server has to be allowed to write it",
            sqlite3.SQLITE_FULL: "make room on its disk",
        }.get(_code(error), "its path has to be that of a writable file in a writable folder")
        raise StoreUnusable(f"{path} cannot be opened: {error}; {advice}") from error
    except OSError as error:
        raise StoreUnusable(
            f"{path} cannot be opened: its folder or its lock file cannot be written: {error.strerror}"
        ) from error


def _open(path: str) -> tuple[sqlite3.Connection, dict[str, int]]:
    """The one connection, with the schema in place and everything about it durable; and the ids
    of the groups by name."""
    _check_log(f"{path}-wal")
    # check_same_thread: the store may be opened in one thread and then used in another (law 6).
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA synchronous = FULL")
        _check_or_create(db, path)
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreUnusable(f"{path} cannot have a write-ahead log here (mode {mode!r})")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        # Take the lock for writing and find out now whether writing is possible at all.
        db.execute("BEGIN IMMEDIATE")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # the names of the file and its log
        finally:
            os.close(folder)
        return db, dict(db.execute("SELECT name, id FROM groups"))
    except BaseException:
        db.close()
        raise


def _check_log(path: str) -> None:
    """See that SQLite will not take damage for the end of its log."""
    with suppress(FileNotFoundError), open(path, "rb") as file:
        found = wal.damage(file.read())
        if found is not None:
            raise StoreUnusable(
                f"{path} is damaged ({found}); restore the store from a backup, or remove this one "
                "file to go on without the commits in it"
            )


def _check_or_create(db: sqlite3.Connection, path: str) -> None:
    """See that the file is ours and of this schema; make the schema in an empty one."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not application and not version and not tables:
        db.execute("BEGIN IMMEDIATE")
        for statement in filter(str.strip, _SCHEMA.split(";")):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    elif application != APPLICATION_ID:
        raise StoreUnusable(
            f"{path} is an SQLite file, but not a score-server's; give another path"
        )
    elif version != SCHEMA_VERSION:
        raise StoreUnusable(
            f"{path} was made by a newer score-server (schema {version}; this one knows "
            f"{SCHEMA_VERSION}); use that one, or another path"
        )
