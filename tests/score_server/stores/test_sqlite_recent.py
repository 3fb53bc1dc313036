"""Entries whose place is not in the file's index yet: found again after a crash, and never lost without a word."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

import pytest

from score_server.stores import sqlite_recent
from score_server.stores.base import (
    Commit,
    GroupDamaged,
    LogStore,
    NewChunk,
    NewEntry,
    NewGroup,
    NewTrim,
    SnapshotState,
    StoreUnusable,
)
from score_server.stores.fsck import fsck
from score_server.stores.memory import MemoryStore
from score_server.stores.sqlite import SqliteStore
from score_server.wire.entry import Entry, encode_entry, next_chain


class Writer:
    """Makes commits of entries that fit one another."""

    def __init__(self) -> None:
        self.heads: dict[str, tuple[int, bytes]] = {}

    def new(self, *names: str) -> Commit:
        self.heads |= {name: (0, name.encode().ljust(16)) for name in names}
        return Commit(tuple(NewGroup(name, name.encode().ljust(16)) for name in names))

    def entries(self, *names: str, size: int = 20) -> Commit:
        made = []
        for name in names:
            head, chain = self.heads[name]
            entry = Entry(head + 1, head, head + 5, b"s" * 16, head + 1, name, b"x" * size)
            encoded = encode_entry(entry)
            chain = next_chain(chain, encoded)
            made.append(NewEntry(name, head + 1, head, encoded, chain, head + 5))
            self.heads[name] = head + 1, chain
        return Commit((), tuple(made))


def crashed(store: SqliteStore, path: str, folder: Path) -> str:
    """The files as a kill would leave them now, at another path."""
    copy = str(folder / f"copy-{len(os.listdir(folder))}.db")
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", f"{copy}{end}")
    return copy


def told(store: LogStore) -> object:
    """All that a store says of its groups."""
    groups = store.list_groups("", 99)
    return [
        (group, store.read(group.name, group.floor, 1 << 20),
         [store.look_up(group.name, position) for position in range(group.head + 2)])
        for group in groups
    ]  # fmt: skip


def count(path: str, table: str) -> int:
    with closing(sqlite3.connect(path)) as db:
        (found,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found)


@pytest.fixture
def killed(path: str, tmp_path: Path) -> str:
    """What a kill leaves of two groups: "old" with entries in the index and recent ones, "new" with recent ones."""
    writer = Writer()
    store = SqliteStore(path)
    store.commit(writer.new("new", "old"))
    store.commit(writer.entries("old", "old"))
    store.close()
    store = SqliteStore(path)
    for name in ("old", "new", "new", "old"):
        store.commit(writer.entries(name))
    copy = crashed(store, path, tmp_path)
    expected = told(store)
    store.close()
    again = SqliteStore(copy)
    assert told(again) == expected
    again._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(copy, f"{copy}.killed")
    again.close()
    os.replace(f"{copy}.killed", copy)
    assert count(copy, "entries") == 6
    assert count(copy, "places") == 2
    return copy


def edit(path: str, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute(sql, values).rowcount


def test_a_closed_store_has_no_recent_entries(path: str) -> None:
    writer = Writer()
    store = SqliteStore(path)
    store.commit(writer.new("g"))
    for _ in range(9):
        store.commit(writer.entries("g"))
    expected = told(store)
    store.close()
    assert count(path, "places") == 9
    again = SqliteStore(path)
    assert told(again) == expected
    assert not again._recent.moved
    again.close()


def test_a_commit_of_many_groups_writes_few_pages(store: SqliteStore, path: str) -> None:
    writer = Writer()
    names = [f"g{number}" for number in range(25)]
    store.commit(writer.new(*names))
    for _ in range(10):
        store.commit(writer.entries(*names, size=90))
    store._checkpoint()
    store.commit(writer.entries(*names, size=90))
    busy, _, _ = store._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    (frames,) = store._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    assert not busy
    assert frames[1] <= 6


def test_the_index_is_written_in_time(store: SqliteStore) -> None:
    writer = Writer()
    store.commit(writer.new("g", "h"))
    most = 0
    for number in range(3 * sqlite_recent.ENTRIES_MAX):
        store.commit(writer.entries("gh"[number % 3 == 0]))
        (recent,) = store._db.execute("SELECT last - indexed FROM extent").fetchone()
        most = max(most, recent)
    assert sqlite_recent.ENTRIES_MAX // 2 < most <= sqlite_recent.ENTRIES_MAX


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE entries SET chain = x'00' WHERE id = 5", "an entry at the end of the log"),
        ("UPDATE entries SET group_id = 1 WHERE id = 3", "an entry at the end of the log"),
        ("UPDATE entries SET position = 9 WHERE id = 6", "an entry at the end of the log"),
        ("UPDATE entries SET time_ms = 1 WHERE id = 6", "an entry at the end of the log"),
        ("UPDATE entries SET log_bytes = 1 WHERE id = 6", "an entry at the end of the log"),
        ("UPDATE entries SET id = 9 WHERE id = 6", "an entry at the end of the log"),
        ("DELETE FROM entries WHERE id = 4", "an entry at the end of the log"),
        ("DELETE FROM entries WHERE id = 6", "the end of the log"),
        ("DELETE FROM entries WHERE id > 2", "the end of the log"),
        ("UPDATE extent SET last = 5", "how far the log goes"),
        ("UPDATE extent SET indexed = 6", "how far the log goes"),
        ("DELETE FROM extent", "how far the log goes"),
        ("DELETE FROM groups WHERE name = 'new'", "a group with entries at the end of the log"),
    ],
)  # fmt: skip
def test_a_damaged_end_of_the_log_refuses_the_store(killed: str, change: str, said: str) -> None:
    edit(killed, change)
    with pytest.raises(StoreUnusable, match=rf"is damaged \({said}\); restore it"):
        SqliteStore(killed)
    lines: list[str] = []
    assert not fsck(killed, lines.append)
    assert f"{said} was changed" in lines


def test_a_recent_entrys_bytes_are_their_groups_matter(killed: str) -> None:
    edit(killed, "UPDATE entries SET encoded = x'00' WHERE id = 5")
    store = SqliteStore(killed)
    (first,) = store.read("new", 0, 1 << 20)
    with pytest.raises(GroupDamaged, match="entry 2 does not fit"):
        store.read("new", first[0], 1 << 20)
    assert len(store.read("old", 0, 1 << 20)) == 4
    store.close()


def test_a_damaged_group_stays_refused_whatever_is_recent(killed: str) -> None:
    edit(killed, "UPDATE groups SET log_bytes = 1 WHERE name = 'old'")
    for _ in range(2):  # closing writes the index
        store = SqliteStore(killed)
        with pytest.raises(GroupDamaged, match="its row was changed"):
            store.look_up("old", 1)
        assert len(store.read("new", 0, 1 << 20)) == 2
        store.close()


def test_a_place_that_leads_elsewhere_is_found(killed: str) -> None:
    SqliteStore(killed).close()
    edit(killed, "UPDATE places SET entry_id = 3 WHERE group_id = 2 AND position = 2")
    store = SqliteStore(killed)
    assert len(store.read("old", 0, 1 << 20)) == 1
    with pytest.raises(GroupDamaged, match="the place of an entry was changed"):
        store.look_up("old", 2)
    assert len(store.read("new", 0, 1 << 20)) == 2
    store.close()


@pytest.mark.parametrize("seed", range(12))
def test_it_says_what_a_store_in_memory_says(
    path: str, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = random.Random(seed)
    monkeypatch.setattr(sqlite_recent, "ENTRIES_MAX", choose.choice((0, 5, 40)))
    store: LogStore = SqliteStore(path)
    memory, writer, at = MemoryStore(), Writer(), path
    serial = 0
    for _ in range(80):
        living = sorted(writer.heads)
        kind = choose.random()
        if kind < 0.1 or not living:
            serial += 1
            batch = writer.new(f"g{serial}")
        elif kind < 0.15:
            batch = Commit(deleted_groups=(choose.choice(living),))
            del writer.heads[batch.deleted_groups[0]]
        elif kind < 0.25:
            batch = trimmed(writer, choose.choice(living))
        else:
            chosen = choose.choices(living, k=choose.randrange(1, 9))
            batch = writer.entries(*chosen)
        for each in (store, memory):
            each.commit(batch)
        if choose.random() < 0.1:
            assert isinstance(store, SqliteStore)
            left = crashed(store, at, tmp_path) if choose.random() < 0.5 else at
            store.close()
            at = left
            store = SqliteStore(at)
        if choose.random() < 0.2:
            assert store.collect(30) in (True, False)
        assert told(store) == told(memory)
    store.close()
    assert fsck(at, print)


def trimmed(writer: Writer, name: str) -> Commit:
    """An entry, and a snapshot at it in the place of all before."""
    batch = writer.entries(name)
    head, chain = writer.heads[name]
    snapshot = SnapshotState(head, chain, 3, blake2b(b"abc", digest_size=32).digest(), 0)
    trim = NewTrim(name, snapshot, head - head % 2)
    return batch._replace(chunks=(NewChunk(name, 0, b"abc"),), trims=(trim,))
