"""What nothing refers to any more in the SQLite store, and how it goes, a little at a time.

A row of ``garbage`` names a group's entries (snapshot_id 0) or the chunks of one snapshot.  It is written in the
commit that makes them garbage; a candidate's in the one that begins it, and taken back by the one that
makes it the group's snapshot, so what a crash leaves of it is found.  Before anything is erased, its group is
asked again: what is in use is never erased, whatever a damaged row says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from .sqlite_rows import GROUPS, StoredGroup, seal, unpack

ROWS_PER_CHUNK = 64  # a chunk of 256 KiB takes as many pages
_PAGES_PER_SLICE = 256
_FREE_PAGES_KEPT = 64  # and an eighth of the file: growing groups fill them again soon
_POSITION_MAX = 2**63 - 1


def add(db: sqlite3.Connection, group_id: int, snapshot_id: int) -> None:
    """Note that entries of *group_id* (*snapshot_id* 0), or those chunks, are not needed any more."""
    db.execute(
        "REPLACE INTO garbage (group_id, snapshot_id, seal) VALUES (?, ?, ?)",
        (group_id, snapshot_id, seal(group_id, snapshot_id)),
    )


def take_back(db: sqlite3.Connection, group_id: int, snapshot_id: int) -> None:
    """Note that they are needed."""
    db.execute(
        "DELETE FROM garbage WHERE group_id = ? AND snapshot_id = ?", (group_id, snapshot_id)
    )


def erase(db: sqlite3.Connection, rows_max: int, living: Collection[int]) -> bool:
    """Erase about *rows_max* rows of garbage, none of the candidates *living*; may more be left?"""
    left, limit = rows_max, len(living) + rows_max
    found = db.execute("SELECT group_id, snapshot_id FROM garbage LIMIT ?", (limit,)).fetchall()
    more = len(found) == limit
    for group_id, snapshot_id in found:
        if snapshot_id in living:
            continue
        if left <= 0:
            return True
        if snapshot_id:
            wanted = max(1, left // ROWS_PER_CHUNK)
            erased = _erase_chunks(db, group_id, snapshot_id, wanted)
            left -= max(1, erased * ROWS_PER_CHUNK)
        else:
            wanted = left
            erased = _erase_entries(db, group_id, wanted)
            left -= max(1, erased)
        if 0 <= erased < wanted:
            take_back(db, group_id, snapshot_id)
        more |= erased >= wanted
    return more


def give_back(db: sqlite3.Connection) -> bool:
    """Make the file a little smaller, if much of it is free; returns whether it did."""
    free, pages = _pragma(db, "freelist_count"), _pragma(db, "page_count")
    surplus = free - _FREE_PAGES_KEPT - pages // 8
    if surplus <= 0:
        return False
    for _ in range(min(surplus, _PAGES_PER_SLICE)):
        # One page, whatever is asked for: a row comes back for each, and Python does not wait for a second.
        db.execute("PRAGMA incremental_vacuum(1)")
    return _pragma(db, "freelist_count") < free


def _pragma(db: sqlite3.Connection, name: str) -> int:
    (value,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _group(db: sqlite3.Connection, group_id: int) -> StoredGroup | bool | None:
    """The group, None if it was deleted, False if its row is damaged: then nothing is known of it."""
    columns = db.execute(f"{GROUPS} WHERE id = ?", (group_id,)).fetchone()
    return columns and (unpack(columns) or False)


def _erase_entries(db: sqlite3.Connection, group_id: int, count: int) -> int:
    """How many were erased; -1 if it is not known which may be."""
    group = _group(db, group_id)
    if group is False:
        return -1
    floor = group.row.state.floor if isinstance(group, StoredGroup) else _POSITION_MAX
    place = (group_id, floor, count)
    # Whatever a damaged place says, only what is superfluous itself.
    db.execute(
        "DELETE FROM entries WHERE id IN (SELECT entry_id FROM places WHERE group_id = ? "
        "AND position <= ? ORDER BY position LIMIT ?) AND group_id = ? AND position <= ?",
        (*place, group_id, floor),
    )
    done = db.execute(
        "DELETE FROM places WHERE group_id = ? AND position IN (SELECT position FROM places "
        "WHERE group_id = ? AND position <= ? ORDER BY position LIMIT ?)",
        (group_id, *place),
    )
    return done.rowcount


def _erase_chunks(db: sqlite3.Connection, group_id: int, snapshot_id: int, count: int) -> int:
    """How many were erased; -1 if it is not known whether they may be."""
    group = _group(db, group_id)
    if group is False:
        return -1
    if isinstance(group, StoredGroup) and group.snapshot_id == snapshot_id:
        return 0
    done = db.execute(
        "DELETE FROM chunks WHERE id IN (SELECT id FROM chunks WHERE snapshot_id = ? "
        "ORDER BY offset LIMIT ?)",
        (snapshot_id, count),
    )
    return done.rowcount
