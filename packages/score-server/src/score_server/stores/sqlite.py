"""The durable store: one SQLite file.

Rules
-----
- One connection, used by one thread, and no second one anywhere: an OS lock on ``<path>.lock`` is taken
  before the file is opened, and SQLite's own exclusive locking mode keeps other programs out.  It
  also rules out the WAL-reset bug (SQLite 3.7.0 to 3.51.2), which needs two connections.
- WAL, ``synchronous=FULL``: each commit is one append to the log and one fdatasync.
- ``wal_autocheckpoint=0``: SQLite's own checkpoint, after a commit, swallows I/O errors.  We
  checkpoint before a commit when the log has grown to ``WAL_BYTES_MAX``, and look at the result.  The log's file
  keeps its size and is written from its front again: see ``sqlite_log.py``.
- ``SQLITE_FULL`` before the commit record is written is the one clean failure: it is rolled back and is
  ``StoreFull``.  SQLite writes the commit record last and (with powersafe overwrite, the default)
  nothing after it, so a log that ran full holds no commit that a restart could bring back.  Anything
  else, a failed sync above all, is ``StoreBroken`` (see "fsyncgate": the kernel may have dropped what
  it could not write, and the next sync may succeed).
- The entries of all groups are one log, and its index by group and position, with the groups' heads, follows some hundred
  entries later: see ``sqlite_recent.py``.
- Damage is found by the chain, entry by entry, when a group is read; a group's row says where its log
  must end.  Only that group is refused.  Damage in what says which groups and sessions there are is found
  at the start, by SQLite's check of those (small) tables and by a seal in each row; then the store is
  refused: a missing outcome could let a change take effect twice.  So it is if the entries that the index has not yet are
  not all there.  Damage in the write-ahead log: see ``wal.py``.

- What is trimmed, replaced or deleted is only noted in the commit that does it, and erased later, a little at
  a time: see ``sqlite_garbage.py``.  A commit costs the same whatever it makes superfluous.

The file and who may open it: ``sqlite_file.py``; its tables: ``sqlite_rows.py``, for sessions
``sqlite_sessions.py``.  Measurements and other ways: ``docs/decisions/0004-sqlite.md``.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from ..wire.rows import new as make
from . import sqlite_garbage as garbage
from .advance import GroupRow, advance
from .base import (
    AppendRefused,
    Commit,
    GroupDamaged,
    GroupState,
    LogStore,
    StoreBroken,
    StoreError,
    StoreFull,
    StoreState,
    StoreUnusable,
)
from .sqlite_file import MADE, as_unusable, check_size, code, connect, take_lock
from .sqlite_log import LogRoom
from .sqlite_recent import Damaged, Moved, RecentEntries
from .sqlite_rows import (
    ADD_CHUNKS,
    ADD_GROUP,
    GROUPS,
    SEALED_ROWS,
    SET_FLOOR,
    Row,
    StoredGroup,
    chunk_seal,
    count_whole,
    entry_seal,
    is_named_rightly,
    pack,
    pack_floor,
    run,
    unpack,
)
from .sqlite_sessions import Sessions
from .sqlite_sessions import load as load_sessions

WAL_BYTES_MAX = 8 * 1024 * 1024
_GROUPS_KEPT = 1024  # rows in memory, so that a commit need not look up the groups that it moves
_ERASED_AT_LEAST = 64  # rows, by a commit when there is garbage
_CHECKPOINT = "PRAGMA wal_checkpoint(RESTART)"
_SHORTEN = "PRAGMA wal_checkpoint(TRUNCATE)"  # after a commit that was larger than the log may be
_SEALED = ("groups", "sessions", "outcomes", "new_outcomes", "extent", "garbage")

_Candidate = tuple[int, int]  # its id, and the bytes of it that are there


class _Guard:
    """A block in which a failure becomes what *failed* makes of it.

    Not a generator's: that would be five calls more for each commit.
    """

    __slots__ = ("_doing", "_failed")

    def __init__(self, failed: Callable[[str, Exception], Exception], doing: str) -> None:
        self._failed = failed
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            told = self._failed(self._doing, error)
            if told is not error:
                raise told from error


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
        self._groups: dict[str, StoredGroup] = {}  # as committed; those used last at the end
        self._candidates: dict[str, _Candidate] = {}  # by group; what a crash leaves is garbage
        self._sessions = Sessions()
        self._has_garbage = True  # perhaps, from an earlier life
        self._has_shrunk = False  # which the file does only at the next checkpoint
        self._lock, was_made = take_lock(self._path)
        try:
            with as_unusable(self._path), self._refusing():
                check_size(self._path, was_made)
                self._db = connect(self._path)
                try:
                    self._next_group, self._next_snapshot = self._free_ids()
                    self._recent = RecentEntries(self._db)
                    if not was_made:
                        os.write(self._lock, MADE)
                    self._log = LogRoom(f"{self._path}-wal", self._page_bytes())
                except BaseException:
                    self._db.close()
                    raise
        except BaseException:
            os.close(self._lock)
            raise

    def _free_ids(self) -> tuple[int, int]:
        """The first ids of groups and of snapshots that nothing in the file bears."""
        highest = self._db.execute(
            "SELECT max(id), max(snapshot_id) FROM groups "
            "UNION ALL SELECT max(group_id), max(snapshot_id) FROM garbage"
        ).fetchall()
        if {type(id_) for row in highest for id_ in row} - {int, type(None)}:
            # A flipped bit can make a number something else, whatever the table's columns are for.
            raise self._unusable("an id is no number")
        groups, snapshots = zip(*highest, strict=True)
        return max(filter(None, groups), default=0) + 1, max(filter(None, snapshots), default=0) + 1

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except Damaged as error:
            raise self._unusable(str(error)) from error

    def _page_bytes(self) -> int:
        (size,) = self._db.execute("PRAGMA page_size").fetchone()
        return int(size)

    # ------------------------------------------------------------ reading

    def load(self) -> StoreState:
        self._check_usable()
        try:
            wrong = self._damage()
            if wrong is None:
                return StoreState(load_sessions(self._db))
        except sqlite3.Error as error:
            wrong = str(error)
        raise self._unusable(wrong)

    def _unusable(self, wrong: str) -> StoreUnusable:
        return StoreUnusable(
            f"{self._path} is damaged ({' '.join(wrong.split())}); "
            "restore it from a backup, and check its disk"
        )

    def _damage(self) -> str | None:
        """What is wrong with the tables that say what there is."""
        select = self._db.execute
        for table in _SEALED:
            for (said,) in select(f"PRAGMA integrity_check({table})"):
                if said != "ok":
                    return str(said)
        for columns in select(GROUPS):
            if not is_named_rightly(columns):
                return f"group {columns[1]!r}"
        for table, columns, what, sealed in SEALED_ROWS:
            for *row, stored in select(f"SELECT {columns}, seal FROM {table}"):
                if stored != sealed(*row):
                    return what
        return None

    def _group(self, name: str) -> StoredGroup | None:
        """The committed row of a group.

        Raises:
            GroupDamaged: it is not as it was written.
        """
        moved = self._recent.moved.get(name)
        if moved is not None:
            return moved.group
        found = self._groups.get(name)
        if found is None:
            columns = self._db.execute(f"{GROUPS} WHERE name = ?", (name,)).fetchone()
            if columns is None:
                return None
            found = unpack(columns)
            if found is None:
                raise GroupDamaged(name, 0, f"its row was changed ({self._path})")
            self._keep(name, found)
        return found

    def _keep(self, name: str, group: StoredGroup) -> None:
        self._groups.pop(name, None)
        self._groups[name] = group
        if len(self._groups) > _GROUPS_KEPT:
            del self._groups[next(iter(self._groups))]

    def _state(self, columns: Row) -> GroupState:
        """For a list: of a group whose state was damaged it says what is known."""
        found = unpack(columns)
        if found is not None:
            moved = self._recent.moved.get(found.row.state.name)
            return (moved.group if moved else found).row.state
        _, name, incarnation, keep, *_ = columns
        return GroupState(name, incarnation, 0, incarnation, 0, 0, bool(keep), 0, None)

    def look_up(self, group: str, position: int) -> tuple[GroupState | None, bytes | None]:
        self._check_usable()
        try:
            found = self._group(group)
            if found is None:
                return None, None
            state = found.row.state
            if position < state.floor:
                return state, None
            at, chain = self._before(found, position)
        except sqlite3.DatabaseError as error:
            raise GroupDamaged(group, position, f"SQLite says: {error} ({self._path})") from error
        return state, chain if at == position else None

    def list_groups(self, after: str, count: int) -> list[GroupState]:
        with self._guard("listing groups"):
            rows = self._db.execute(
                f"{GROUPS} WHERE name > ? ORDER BY name LIMIT ?", (after, count)
            )
            return [self._state(columns) for columns in rows]

    def read(self, group: str, after: int, bytes_max: int) -> list[tuple[int, bytes, bytes]]:
        self._check_usable()
        before = after
        try:
            found = self._group(group)
            if found is None or after < found.row.state.floor:
                return []
            before, chain = self._before(found, after)
            taken, damage, is_cut = self._take(found.id, after, bytes_max)
        except sqlite3.DatabaseError as error:
            raise GroupDamaged(group, before, f"SQLite says: {error} ({self._path})") from error
        good = count_whole(found.id, chain, taken)
        if good:
            before, _, chain = taken[good - 1][:3]
        head = found.row.state.head
        if good < len(taken):
            damage = f"entry {taken[good][0]} does not fit its chain"
        elif damage is None and not is_cut and before != head:
            damage = f"its log ends there and its head is {head}"
        elif damage is None and not is_cut and chain != found.row.state.chain:
            damage = "its head's chain is not the log's"
        if damage is not None and not good:
            raise GroupDamaged(group, before, f"{damage} ({self._path})")
        return [row[:3] for row in taken[:good]]

    def _take(
        self, group_id: int, after: int, bytes_max: int
    ) -> tuple[list[Row], str | None, bool]:
        """Entries of about *bytes_max* as they stand there, what SQLite says against more, and whether there are more."""
        taken: list[Row] = []
        rows = self._recent.after(self._db, group_id, after)
        try:
            for row in rows:
                bytes_max -= len(row[1]) if type(row[1]) is bytes else 0
                if taken and bytes_max < 0:
                    return taken, None, True
                taken.append(row)
        except sqlite3.DatabaseError as error:
            return taken, f"SQLite says: {error}", False
        finally:
            rows.close()  # before the next statement: it would go on from there
        return taken, None, False

    def _before(self, group: StoredGroup, upto: int) -> tuple[int, bytes]:
        """The last entry's position up to *upto*, with its chain; those of the floor if none stands above it.

        Raises:
            GroupDamaged: it is not as it was written.
        """
        state = group.row.state
        found = self._recent.last(self._db, group.id, upto, state.floor)
        if found is None:
            return state.floor, group.row.floor_chain
        position, row = found
        if row is None or row[-1] != entry_seal(group.id, position, *row[:-1]):
            what = f"the place of an entry was changed ({self._path})"
            raise GroupDamaged(state.name, upto, what)
        return position, row[0]

    def read_snapshot(self, group: str, position: int, offset: int, bytes_max: int) -> bytes:
        self._check_usable()
        try:
            found = self._group(group)
            snapshot = found.row.state.snapshot if found else None
            if found is None or snapshot is None or snapshot.position != position:
                return b""
            wanted = min(bytes_max, snapshot.size - offset)
            parts: list[bytes] = []
            while wanted > 0:
                part = self._chunk_at(found, offset)[:wanted]
                parts.append(part)
                offset += len(part)
                wanted -= len(part)
        except sqlite3.DatabaseError as error:
            raise GroupDamaged(group, position, f"SQLite says: {error} ({self._path})") from error
        return b"".join(parts)

    def _chunk_at(self, group: StoredGroup, offset: int) -> bytes:
        """The rest from *offset* on of the chunk of the group's snapshot that *offset* is in."""
        start, data, stored_seal = self._db.execute(
            "SELECT offset, data, seal FROM chunks WHERE snapshot_id = ? AND offset <= ? "
            "ORDER BY offset DESC LIMIT 1",
            (group.snapshot_id, offset),
        ).fetchone() or (0, b"", -1)
        if chunk_seal(group.snapshot_id, start, data) != stored_seal or start + len(data) <= offset:
            what = f"its snapshot is not as it was written at {offset} ({self._path})"
            raise GroupDamaged(group.row.state.name, group.row.state.floor, what)
        return bytes(data[offset - start :])

    # ------------------------------------------------------------ writing

    def commit(self, batch: Commit) -> None:
        with self._guard("committing"):
            self._bound_wal()
            db = self._db
            db.execute("BEGIN IMMEDIATE")
            rows = advance(batch, self._row, self._last_entry)
            before = {name: self._group(name) for name in rows}
            ids = {name: old.id if old else self._new_id() for name, old in before.items()}
            candidates = self._write_chunks(batch, ids)
            adopted = [trim.group for trim in batch.trims if trim.snapshot is not None]
            groups = {
                name: self._write_group(
                    name, ids[name], before[name], row, candidates, adopted=name in adopted
                )
                for name, row in rows.items()
            }
            self._recent.write(db, batch.entries, before, ids)
            moved = self._recent.find_moved(before, groups)
            has_indexed = self._write_index(batch, moved)
            self._sessions.write(db, batch.sessions, batch.ended_sessions)
            if self._has_garbage:
                self._erase(max(_ERASED_AT_LEAST, 2 * len(batch.entries)), candidates)
            db.execute("COMMIT")
            self._candidates = candidates
            if batch.dropped_candidates or batch.chunks or batch.trims or batch.deleted_groups:
                self._has_garbage = True
            self._recent.committed(batch.entries, ids, moved, indexed=has_indexed)
            for name, group in groups.items():
                if group is None:
                    self._groups.pop(name, None)
                else:
                    self._keep(name, group)

    def _write_index(self, batch: Commit, moved: dict[str, Moved]) -> bool:
        """Write the log's index if it is time for it; returns whether it was."""
        recent, added = self._recent, len(batch.entries)
        if batch.trims or batch.deleted_groups or recent.is_full(added):
            gone = set(batch.deleted_groups)
            rest = {n: m for n, m in recent.moved.items() if n not in gone}
            recent.index(self._db, added, rest | moved)
            return True
        if added:
            recent.extend(self._db, added)
        return False

    def _row(self, name: str) -> GroupRow | None:
        found = self._group(name)
        candidate = self._candidates.get(name)
        if found is None or candidate is None:
            return found and found.row
        return found.row._replace(candidate=candidate[1])

    def _last_entry(self, name: str, upto: int) -> tuple[int, bytes] | None:
        found = self._group(name)
        return found and self._before(found, upto)

    def _new_id(self) -> int:
        self._next_group += 1
        return self._next_group - 1

    def _write_chunks(self, batch: Commit, ids: dict[str, int]) -> dict[str, _Candidate]:
        """Write the chunks of *batch*; returns the candidates that there are then."""
        candidates = dict(self._candidates)
        for name in batch.dropped_candidates:
            candidates.pop(name, None)
        rows: list[Row] = []
        for name, offset, data in batch.chunks:
            if not offset:
                candidates[name] = (self._next_snapshot, 0)
                garbage.add(self._db, ids[name], self._next_snapshot)
                self._next_snapshot += 1
            snapshot_id, _ = candidates[name]
            candidates[name] = (snapshot_id, offset + len(data))
            rows.append((snapshot_id, offset, data, chunk_seal(snapshot_id, offset, data)))
        run(self._db, ADD_CHUNKS, rows)
        return candidates

    def _write_group(
        self, name: str, id_: int, old: StoredGroup | None, row: GroupRow | None,
        candidates: dict[str, _Candidate], *, adopted: bool,
    ) -> StoredGroup | None:  # fmt: skip
        """Write *row* but for its head, and note what it makes superfluous.  *old* is what stands there;
        *adopted*: its snapshot was its candidate.
        """
        if old is not None and row is not None and not adopted:
            new = make(StoredGroup, (id_, old.snapshot_id, row))
            if row.state.floor != old.row.state.floor:
                self._write_floor(new)
            return new
        db = self._db
        snapshot_id = old.snapshot_id if old else 0
        if row is None:
            candidates.pop(name, None)
            garbage.add(db, id_, 0)
            if snapshot_id:
                garbage.add(db, id_, snapshot_id)
            db.execute("DELETE FROM groups WHERE id = ?", (id_,))
            return None
        if adopted:
            if snapshot_id:
                garbage.add(db, id_, snapshot_id)
            snapshot_id, _ = candidates.pop(name)
            garbage.take_back(db, id_, snapshot_id)
        new = StoredGroup(id_, snapshot_id, row)
        if old is None:
            db.execute(ADD_GROUP, pack(new))
            return new
        self._write_floor(new)
        return new

    def _write_floor(self, group: StoredGroup) -> None:
        garbage.add(self._db, group.id, 0)
        self._db.execute(SET_FLOOR, (*pack_floor(group), group.id))

    def _bound_wal(self) -> None:
        """Have room in the write-ahead log, or move it into the database when it has grown; it starts anew then."""
        if self._log.is_enough():
            return
        if self._log.size() < WAL_BYTES_MAX:
            self._log.grow(WAL_BYTES_MAX)
        else:
            self._checkpoint()

    def _checkpoint(self) -> None:
        sql = _SHORTEN if self._log.size() > 2 * WAL_BYTES_MAX > 0 else _CHECKPOINT
        busy, _, _ = self._db.execute(sql).fetchone()
        if busy:
            raise StoreBroken(f"{self._path} cannot be checkpointed: another program has it open")
        self._log.begin_anew(WAL_BYTES_MAX)

    # ------------------------------------------------------------ erasing

    def collect(self, rows_max: int) -> bool:
        try:
            with self._guard("erasing"):
                self._bound_wal()
                self._db.execute("BEGIN IMMEDIATE")
                more = self._has_garbage
                if more:
                    self._erase(rows_max, self._candidates)
                else:
                    more = self._tidy(lambda: garbage.give_back(self._db))
                    self._has_shrunk |= more
                self._db.execute("COMMIT")
                if self._has_shrunk and not more:
                    self._checkpoint()
                    self._has_shrunk = False
                return more
        except StoreFull:
            return False

    def _erase(self, rows_max: int, candidates: dict[str, _Candidate]) -> None:
        """Erase a part of the garbage, in the transaction that is under way."""
        living = {snapshot_id for snapshot_id, _ in candidates.values()}
        self._has_garbage = self._tidy(lambda: garbage.erase(self._db, rows_max, living))

    def _tidy(self, step: Callable[[], bool]) -> bool:
        """Do *step*, or nothing if it meets damage: that is no reason to refuse what is whole."""
        self._db.execute("SAVEPOINT tidying")
        try:
            more = step()
        except sqlite3.DatabaseError as error:
            if code(error) != sqlite3.SQLITE_CORRUPT:
                raise
            self._db.execute("ROLLBACK TO tidying")
            more = False
        self._db.execute("RELEASE tidying")
        return more

    # ------------------------------------------------------------ ending

    def close(self) -> None:
        """As the law says.  SQLite checkpoints here; also in a broken store that only moves what
        was durable before, and writes all of it again."""
        if not self._closed:
            self._closed = True
            if self._broken is None:
                self._tidy_up()
            self._broken = self._broken or "it was closed"
            try:
                self._db.close()
            finally:
                self._log.close()
                os.close(self._lock)

    def _tidy_up(self) -> None:
        """Leave a file whose index is complete, if that can be done: nothing depends on it."""
        with suppress(StoreError, AppendRefused), self._guard("closing"):
            self._db.execute("BEGIN IMMEDIATE")
            self._recent.index(self._db, 0, self._recent.moved)
            self._db.execute("COMMIT")
            self._recent.committed((), {}, {}, indexed=True)

    def _guard(self, doing: str) -> _Guard:
        """Whatever goes wrong inside is a clean failure, rolled back, or the end of this store."""
        self._check_usable()
        return _Guard(self._failed, doing)

    def _failed(self, doing: str, error: Exception) -> Exception:
        """*doing* failed; what is to be raised, which is *error* itself if it says all."""
        if isinstance(error, (AppendRefused, GroupDamaged)):
            self._roll_back()
            return error
        if not isinstance(error, sqlite3.Error) or code(error) != sqlite3.SQLITE_FULL:
            return self._break(doing, error)
        self._roll_back()
        return StoreFull(
            f"{self._path} cannot grow, nothing was changed: {error}; make room on its disk"
        )

    def _roll_back(self) -> None:
        self._has_garbage = True  # again, perhaps
        self._sessions.forget()
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
