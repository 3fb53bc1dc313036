"""The log of the SQLite store: one table for the entries of all groups, and an index that follows.

- Entries are appended to one table in the order in which they come, whoever's they are, and never moved: a commit of 25 changes
  of 25 groups fills a page or two.
- A group's head, and where its entries are, would be a page or two for each group.  They are written late, for
  ``ENTRIES_MAX`` entries in one go; until then they are remembered here, and found again at the start, as each
  entry carries what its group's row would say.  An entry whose place is not in the file's index yet is *recent*.
- How far the log goes stands in a row of its own, in another page: a lost end is noticed.
- Reads and erasing go by the index.  So whatever makes entries superfluous (trims, deletions) has it written in the same commit.

What is remembered is what was committed; a commit says what it adds when it has succeeded.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Generator, Mapping, Sequence
from math import inf
from typing import NamedTuple
from zlib import crc32

from ..wire.rows import new as make
from .base import AppendRefused, NewEntry
from .sqlite_rows import (
    ADD_ENTRIES,
    GROUPS,
    PLACE,
    SET_HEADS,
    Row,
    StoredGroup,
    entry_seal,
    pack_head,
    run,
    seal,
    unpack,
)

ENTRIES_MAX = 512  # recent ones; a commit that goes beyond it writes the index

_ENTRY = "position, encoded, chain, time_ms, log_bytes, seal"
_OF_GROUP = "FROM entries WHERE id = ? AND group_id = ? AND position = ?"
# CROSS JOIN: SQLite is to go along the index, not to sort.
_INDEXED = """
SELECT e.position, e.encoded, e.chain, e.time_ms, e.log_bytes, e.seal FROM places AS p CROSS JOIN entries AS e
WHERE p.group_id = ? AND p.position > ? AND e.id = p.entry_id AND e.group_id = p.group_id AND e.position = p.position
ORDER BY p.position
"""
_LAST_INDEXED = """
SELECT position, entry_id FROM places WHERE group_id = ? AND position <= ? AND position > ?
ORDER BY position DESC LIMIT 1
"""
_RECENT = "SELECT id, group_id, position, chain, time_ms, log_bytes, seal FROM entries WHERE id > ? ORDER BY id"
_INDEX = (
    "INSERT INTO places SELECT group_id, position, id FROM entries WHERE id > ? "
    "ORDER BY group_id, position"
)
_SET_EXTENT = "UPDATE extent SET indexed = ?, last = ?, seal = ?"


class Moved(NamedTuple):
    """A group whose row in the file is not up to date: there its head is *stored_head*."""

    stored_head: int
    group: StoredGroup


class Damaged(Exception):
    """The recent entries are not those that were written."""


class RecentEntries:
    """The recent entries of the store *db*.

    Raises:
        Damaged: they, or what says how far the log goes, are not as they were written.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self.moved: dict[str, Moved] = {}
        self._places: dict[int, list[tuple[int, int]]] = {}  # position and id, by group
        extent = db.execute("SELECT indexed, last, seal FROM extent").fetchall()
        if len(extent) != 1 or extent[0][2] != seal(*extent[0][:2]):
            raise Damaged("how far the log goes")
        self._indexed: int
        self._last: int
        self._indexed, self._last, _ = extent[0]
        heads: dict[int, Row] = {}
        wanted = self._indexed
        # At rest there are none; then damage in the entries is that of the groups whose they are.
        rows: list[Row] = []
        if self._indexed != self._last:
            # All at once: a statement that is left in its middle keeps the file locked behind its connection's end.
            rows = db.execute(_RECENT, (self._indexed,)).fetchall()
        for id_, group_id, *head, stored in rows:
            wanted += 1
            if id_ != wanted or entry_seal(group_id, *head) != stored:
                raise Damaged("an entry at the end of the log")
            heads[group_id] = tuple(head)
            self._places.setdefault(group_id, []).append((head[0], id_))
        if wanted != self._last:
            raise Damaged("the end of the log")
        for group_id, row in heads.items():
            self._move(db, group_id, row)

    def _move(self, db: sqlite3.Connection, group_id: int, row: Row) -> None:
        """Note that the last entry of a group is recent.  A damaged group is refused as it stands in the file."""
        columns = db.execute(f"{GROUPS} WHERE id = ?", (group_id,)).fetchone()
        if columns is None:
            raise Damaged("a group with entries at the end of the log")
        group = unpack(columns)
        if group is not None:
            state = group.row.state
            position, chain, time_ms, log_bytes = row
            new = state._replace(head=position, chain=chain, time_ms=time_ms, log_bytes=log_bytes)
            moved = group._replace(row=group.row._replace(state=new))
            self.moved[state.name] = Moved(state.head, moved)

    # ------------------------------------------------------------ reading

    def after(
        self, db: sqlite3.Connection, group_id: int, position: int
    ) -> Generator[Row, None, None]:
        """The entries of a group behind *position*, in order: position, bytes, chain, time, log bytes, seal.

        Where one is lost there is none.
        """
        rows = db.execute(_INDEXED, (group_id, position))
        try:
            yield from rows
        finally:
            rows.close()
        places = self._places.get(group_id, ())
        for at, id_ in places[bisect_right(places, (position, inf)) :]:
            yield from db.execute(f"SELECT {_ENTRY} {_OF_GROUP}", (id_, group_id, at)).fetchall()

    def last(
        self, db: sqlite3.Connection, group_id: int, upto: int, floor: int
    ) -> tuple[int, Row | None] | None:
        """The last place in a group's log up to *upto* and above *floor*, and what stands there but for its
        bytes, None if that is lost: chain, time, log bytes, seal.
        """
        places = self._places.get(group_id, ())
        index = bisect_right(places, (upto, inf))
        if index and places[index - 1][0] > floor:
            at, id_ = places[index - 1]
        else:
            found = db.execute(_LAST_INDEXED, (group_id, upto, floor)).fetchone()
            if found is None:
                return None
            at, id_ = found
        row: Row | None = db.execute(
            f"SELECT chain, time_ms, log_bytes, seal {_OF_GROUP}", (id_, group_id, at)
        ).fetchone()
        return at, row

    # ------------------------------------------------------------ writing

    def write(
        self, db: sqlite3.Connection, entries: Sequence[NewEntry],
        before: Mapping[str, StoredGroup | None], ids: Mapping[str, int],
    ) -> None:  # fmt: skip
        """Append *entries*.  *before*: their groups as they are; *ids*: theirs."""
        log_bytes = {name: old.row.state.log_bytes if old else 0 for name, old in before.items()}
        id_, pack, crc = self._last, PLACE.pack, crc32  # the body of ``entry_seal``: a run is long
        rows: list[Row] = []
        for name, position, _, encoded, chain, time_ms in entries:
            id_ += 1
            group_id = ids[name]
            total = log_bytes[name] = log_bytes[name] + len(encoded)
            sealed = crc(chain, crc(pack(group_id, position, time_ms, total)))
            rows.append((id_, group_id, position, encoded, chain, time_ms, total, sealed))
        run(db, ADD_ENTRIES, rows)

    def find_moved(
        self, before: Mapping[str, StoredGroup | None], after: Mapping[str, StoredGroup | None]
    ) -> dict[str, Moved]:
        """The groups of a commit whose rows in the file will not be up to date, from what they were to what they are."""
        moved = {}
        for name, new in after.items():
            old = before[name]
            if old is None or new is None:
                continue  # its row has just been made, or is gone
            known = self.moved.get(name)
            if known is not None:
                moved[name] = make(Moved, (known.stored_head, new))
            elif new.row.state.head != old.row.state.head:
                moved[name] = make(Moved, (old.row.state.head, new))
        return moved

    def is_full(self, added: int) -> bool:
        """Whether the index is to be written by a commit that adds so many entries."""
        return self._last + added - self._indexed > ENTRIES_MAX

    def extend(self, db: sqlite3.Connection, added: int) -> None:
        """Say in the file that the log goes on by so many entries, all of them recent."""
        last = self._last + added
        db.execute(_SET_EXTENT, (self._indexed, last, seal(self._indexed, last)))

    def index(self, db: sqlite3.Connection, added: int, moved: Mapping[str, Moved]) -> None:
        """Write the index, with the *added* entries, and the rows of the groups *moved*, which are all.

        Raises:
            AppendRefused: a row is not as it was left.
        """
        db.execute(_INDEX, (self._indexed,))
        heads = [(*pack_head(group), group.id, stored) for stored, group in moved.values()]
        before = db.total_changes
        run(db, SET_HEADS, heads)
        if db.total_changes - before != len(heads):
            raise AppendRefused(
                "the stored heads are not where this server left them: "
                "does somebody else write to this store?"
            )
        last = self._last + added
        db.execute(_SET_EXTENT, (last, last, seal(last, last)))

    def committed(
        self, entries: Sequence[NewEntry], ids: Mapping[str, int], moved: dict[str, Moved],
        *, indexed: bool,
    ) -> None:  # fmt: skip
        """What was written is durable.  *moved*: by this commit; with *indexed*, the index was written."""
        first = self._last + 1
        self._last += len(entries)
        if indexed:
            self._indexed = self._last
            self._places.clear()
            self.moved.clear()
            return
        for id_, entry in enumerate(entries, first):
            self._places.setdefault(ids[entry.group], []).append((entry.position, id_))
        self.moved |= moved
