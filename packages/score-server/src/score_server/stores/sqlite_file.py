"""The file of the SQLite store: who may open it, what it must be, and the one connection to it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from . import wal
from .base import StoreUnusable
from .sqlite_rows import SCHEMA, seal

APPLICATION_ID = 0x53434F52  # "SCOR": `file shared.db` shows it
SCHEMA_VERSION = 3  # 1: an outcome to a row; 2: entries in the order of groups
_HEADER_BYTES = 100  # of an SQLite file; it writes whole pages
_MAGIC = b"SQLite format 3\0"
MADE = b"a store was made\n"  # in the lock file, behind the process's number
# All 0 in an empty file.
_MARKS = (
    "PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_schema",
)  # fmt: skip


def code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; -1 when the error is Python's own."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF


def take_lock(path: str) -> tuple[int, bool]:
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
        was_made = os.pread(lock, 64, 0).endswith(MADE)
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode("ascii") + (MADE if was_made else b""))
    except OSError as error:
        os.close(lock)
        raise StoreUnusable(
            f"the lock file {path}.lock cannot be written: {error.strerror}"
        ) from error
    return lock, was_made


def check_size(path: str, was_made: bool) -> None:
    """See that SQLite will not take the rest of a store for a new, empty file, or not miss its last pages."""
    with suppress(FileNotFoundError, IsADirectoryError), open(path, "rb") as file:
        header, size = file.read(_HEADER_BYTES), os.fstat(file.fileno()).st_size
        wanted = _HEADER_BYTES if size or was_made else 0
        if header.startswith(_MAGIC) and size >= _HEADER_BYTES and not _has_log(path):
            page_bytes, pages = struct.unpack_from(">H10xI", header, 16)
            wanted = (page_bytes if page_bytes > 1 else 65536) * pages
        if size < wanted:
            raise StoreUnusable(
                f"{path} was cut off to {size} bytes; restore it from a backup, or remove it to "
                "start anew, with nothing in it"
            )


def _has_log(path: str) -> bool:
    """Whether pages may still be in a log and not in the file (of its making, in a rollback journal)."""
    return any(
        os.path.exists(log) and os.stat(log).st_size > 0
        for log in (f"{path}-wal", f"{path}-journal")
    )


@contextmanager
def as_unusable(path: str) -> Iterator[None]:
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
        }.get(code(error), "its path has to be that of a writable file in a writable folder")
        raise StoreUnusable(f"{path} cannot be opened: {error}; {advice}") from error
    except OSError as error:
        raise StoreUnusable(
            f"{path} cannot be opened: its folder or its lock file cannot be written: {error.strerror}"
        ) from error


def connect(path: str) -> sqlite3.Connection:
    """The one connection, with the schema in place and everything about it durable."""
    check_log(f"{path}-wal")
    # check_same_thread: the store may be opened in one thread and then used in another (law 6).
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = OFF")  # else what is erased is written once more
        # A statement keeps what it may have to take back: in a file elsewhere, whose disk may be full or read-only.
        db.execute("PRAGMA temp_store = MEMORY")
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
        return db
    except BaseException:
        db.close()
        raise


def check_log(path: str) -> None:
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
    if any(db.execute(sql).fetchone() != (0,) for sql in _MARKS):
        check_schema(db, path)
        return
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only an empty file takes it
    db.execute("BEGIN IMMEDIATE")
    for statement in filter(str.strip, SCHEMA.split(";")):
        db.execute(statement)
    db.execute("INSERT INTO extent VALUES (0, 0, ?)", (seal(0, 0),))
    db.execute("INSERT INTO made VALUES (?)", (_schema_seal(db),))
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")


def check_schema(db: sqlite3.Connection, path: str) -> None:
    """See that the file is ours and of this schema.

    Raises:
        StoreUnusable: it is not.
    """
    application, version, _ = (db.execute(sql).fetchone()[0] for sql in _MARKS)
    if application != APPLICATION_ID:
        raise StoreUnusable(
            f"{path} is an SQLite file, but not a score-server's; give another path"
        )
    if version < SCHEMA_VERSION:
        raise StoreUnusable(
            f"{path} was made by an older score-server (schema {version}; this one reads only "
            f"{SCHEMA_VERSION}); use that one, or another path"
        )
    if version != SCHEMA_VERSION:
        raise StoreUnusable(
            f"{path} was made by a newer score-server (schema {version}; this one knows "
            f"{SCHEMA_VERSION}); use that one, or another path"
        )
    # A flipped bit in here can have one table read from the pages of another, which may be empty.
    if db.execute("SELECT seal FROM made").fetchall() != [(_schema_seal(db),)]:
        raise StoreUnusable(
            f"{path} is damaged (its list of tables is not as it was made); "
            "restore it from a backup, and check its disk"
        )


def _schema_seal(db: sqlite3.Connection) -> int:
    """What shows that SQLite's list of tables, and where each begins, is as it was made."""
    tables = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema ORDER BY name"
    return seal(*db.execute(tables).fetchall())
