"""What the SQLite store promises beyond the laws (``tests/conformance/test_stores.py``): who may open
the file, and what happens when the disk fails it.  Real files throughout."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from score_server.stores import sqlite, sqlite_file
from score_server.stores.base import (
    AppendRefused,
    Commit,
    GroupDamaged,
    NewEntry,
    SessionChange,
    StoreBroken,
    StoredOutcome,
    StoreFull,
    StoreState,
    StoreUnusable,
)
from score_server.stores.sqlite import SqliteStore
from score_server.stores.sqlite_rows import entry_seal
from score_server.wire.entry import next_chain

INCARNATION = b"i" * 16


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "store.db")


@pytest.fixture
def store(path: str) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


def chained(group: str, *payloads: bytes) -> Commit:
    chain, entries = INCARNATION, []
    for position, payload in enumerate(payloads, 1):
        chain = next_chain(chain, payload)
        entries.append(NewEntry(group, position, position - 1, payload, chain))
    return Commit(((group, INCARNATION),), tuple(entries))


def payloads(store: SqliteStore, group: str = "g", after: int = 0) -> list[bytes]:
    return [encoded for _, encoded, _ in store.read(group, after, 1 << 20)]


def edit(path: str, sql: str, *values: object) -> None:
    """Change the file behind the store's back; the store must be closed."""
    db = sqlite3.connect(path, isolation_level=None)
    assert db.execute(sql, values).rowcount
    db.close()


# ---------------------------------------------------------------- the file


def test_the_settings_are_those_that_durability_needs(store: SqliteStore) -> None:
    def pragma(name: str) -> object:
        return store._db.execute(f"PRAGMA {name}").fetchone()[0]

    assert pragma("journal_mode") == "wal"
    assert pragma("synchronous") == 2  # FULL
    assert pragma("wal_autocheckpoint") == 0
    assert pragma("locking_mode") == "exclusive"
    assert pragma("application_id") == sqlite_file.APPLICATION_ID
    assert pragma("user_version") == sqlite_file.SCHEMA_VERSION


def test_the_folder_is_synced_so_that_the_new_file_survives(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    SqliteStore(path).close()
    assert synced == [os.path.dirname(path)]


def test_what_was_committed_survives_the_death_of_the_process(path: str) -> None:
    script = (
        "import os, sys\n"
        "from score_server.stores.base import Commit\n"
        "from score_server.stores.sqlite import SqliteStore\n"
        "store = SqliteStore(sys.argv[1])\n"
        "store.commit(Commit((('g', b'i' * 16),)))\n"
        "os._exit(1)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, path], check=False).returncode == 1
    store = SqliteStore(path)  # the lock of the dead does not bind
    assert [group.name for group in store.load().groups] == ["g"]
    store.close()


def test_a_second_server_is_refused_and_told_whose_the_file_is(
    store: SqliteStore, path: str
) -> None:
    with pytest.raises(StoreUnusable, match=rf"in use by another server \(process {os.getpid()}\)"):
        SqliteStore(path)
    script = (
        "import sys; from score_server.stores.sqlite import SqliteStore; SqliteStore(sys.argv[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"StoreUnusable: {path} is in use by another server" in done.stderr
    store.commit(chained("g", b"x"))  # the first one goes on


def test_another_program_that_has_the_file_open_is_noticed(path: str) -> None:
    SqliteStore(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnusable, match="another program has it open"):
        SqliteStore(path)
    other.close()
    SqliteStore(path).close()  # and nothing is left locked


def test_another_program_is_kept_out_while_the_server_runs(store: SqliteStore, path: str) -> None:
    other = sqlite3.connect(path, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT * FROM groups").fetchall()
    other.close()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match=r"absent/store.db.lock cannot be opened: No such file"):
        SqliteStore(str(tmp_path / "absent" / "store.db"))


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusable, match="Not a directory"):
        SqliteStore(str(tmp_path / "file" / "store.db"))


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "store.db").mkdir()
    with pytest.raises(StoreUnusable, match="unable to open database file"):
        SqliteStore(str(tmp_path / "store.db"))


def test_a_file_that_may_only_be_read_is_refused_at_once(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions do not bind root, so SQLite itself is told to refuse writing."""
    SqliteStore(path).close()
    connect = sqlite3.connect

    def read_only(name: str, **rest: Any) -> sqlite3.Connection:
        db = connect(name, **rest)
        db.execute("PRAGMA query_only = ON")
        return db

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(StoreUnusable, match="this server has to be allowed to write it"):
        SqliteStore(path)


def test_a_place_without_a_write_ahead_log_is_refused(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda _, **rest: connect(":memory:", **rest))
    with pytest.raises(StoreUnusable, match="cannot have a write-ahead log here"):
        SqliteStore(path)


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: str) -> None:
    Path(path).write_bytes(b"a letter to grandmother, " * 100)
    with pytest.raises(StoreUnusable, match="not an SQLite file; give another path"):
        SqliteStore(path)
    assert Path(path).read_bytes().startswith(b"a letter")


def test_another_programs_database_is_refused_and_left_alone(path: str) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE recipes (name TEXT)")
    db.close()
    before = Path(path).read_bytes()
    with pytest.raises(StoreUnusable, match="not a score-server's"):
        SqliteStore(path)
    assert Path(path).read_bytes() == before


def test_a_newer_servers_file_is_refused(path: str) -> None:
    SqliteStore(path).close()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA user_version = 7")
    db.close()
    with pytest.raises(StoreUnusable, match=r"newer score-server .schema 7; this one knows 1"):
        SqliteStore(path)


def test_an_empty_file_becomes_a_store(path: str) -> None:
    Path(path).touch()
    store = SqliteStore(path)
    store.commit(chained("g", b"x"))
    store.close()


# ---------------------------------------------------------------- a full disk


def fill_up(store: SqliteStore, spare_pages: int = 0) -> None:
    """Let SQLite have no more pages than it has now: it then says SQLITE_FULL, as on ENOSPC."""
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages + spare_pages}")


def test_a_full_disk_changes_nothing_and_is_survived(store: SqliteStore, path: str) -> None:
    store.commit(chained("g", b"one"))
    fill_up(store)
    before = store.load()
    big = chained("big", b"x" * 100_000)
    outcome = SessionChange(b"s" * 16, "", 1, 0, (StoredOutcome(1, 1, "big", False),))
    for _ in range(3):
        with pytest.raises(StoreFull, match=r"nothing was changed.*make room"):
            store.commit(big._replace(sessions=(outcome,)))
        assert store.load() == before
        assert payloads(store) == [b"one"]
        assert store.read("big", 0, 1) == []
    store.close()
    again = SqliteStore(path)
    assert again.load() == before
    again.commit(big)  # there is room again, and the name is still free
    assert payloads(again, "big") == [b"x" * 100_000]
    again.close()


def test_small_commits_go_on_where_large_ones_do_not_fit(store: SqliteStore) -> None:
    store.commit(chained("g", b"one"))
    fill_up(store, 2)
    with pytest.raises(StoreFull):
        store.commit(chained("big", b"x" * 100_000))
    store.commit(chained("small", b"x"))
    assert payloads(store, "small") == [b"x"]


def failing(store: SqliteStore, monkeypatch: pytest.MonkeyPatch, begin: str, code: int) -> None:
    """From now on statements that begin so fail with SQLite's *code*."""

    class Failing:
        def __init__(self, db: sqlite3.Connection) -> None:
            self._db = db

        def __getattr__(self, name: str) -> Any:
            return getattr(self._db, name)

        def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
            if sql.startswith(begin):
                error = sqlite3.OperationalError(f"planted: {begin}")
                error.sqlite_errorcode = code
                raise error
            return self._db.execute(sql, *rest)

    monkeypatch.setattr(store, "_db", Failing(store._db))


def test_a_disk_that_fills_up_in_the_commit_itself_is_a_clean_failure(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.load()
    with monkeypatch.context() as planted:
        failing(store, planted, "COMMIT", sqlite3.SQLITE_FULL)
        with pytest.raises(StoreFull):
            store.commit(chained("g", b"one"))
    assert store.load() == before
    store.commit(chained("g", b"one"))


def test_a_disk_that_fills_up_in_a_checkpoint_is_a_clean_failure(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAL_BYTES_MAX", 0)
    store.commit(chained("g", b"one"))
    with monkeypatch.context() as planted:
        failing(store, planted, "PRAGMA wal_checkpoint", sqlite3.SQLITE_FULL)
        with pytest.raises(StoreFull):
            store.commit(chained("h", b"one"))
    store.commit(chained("h", b"one"))


# ---------------------------------------------------------------- a broken disk

IOERR_FSYNC = sqlite3.SQLITE_IOERR_FSYNC


@pytest.mark.parametrize("begin", ["BEGIN", "INSERT", "COMMIT", "PRAGMA wal_checkpoint"])
def test_any_other_failure_ends_the_store(
    begin: str, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAL_BYTES_MAX", 0)
    store.commit(chained("g", b"one"))
    with monkeypatch.context() as planted:
        failing(store, planted, begin, IOERR_FSYNC)
        with pytest.raises(StoreBroken, match=r"unknown state.*planted"):
            store.commit(chained("h", b"one"))
    # fsyncgate: the next try might succeed, and must not be made.
    for call in (lambda: store.commit(Commit()), store.load, lambda: store.read("g", 0, 1)):
        with pytest.raises(StoreBroken, match="not to be used any more: committing failed"):
            call()


def test_a_failed_rollback_ends_the_store(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(chained("g", b"one"))
    failing(store, monkeypatch, "ROLLBACK", sqlite3.SQLITE_IOERR)
    with pytest.raises(StoreBroken, match="rolling back failed"):
        store.commit(Commit((), (NewEntry("g", 9, 8, b"x", INCARNATION),)))


def test_a_mistake_of_the_caller_ends_the_store_too(store: SqliteStore) -> None:
    with pytest.raises(StoreBroken, match="committing failed"):
        store.commit(Commit((("g", "no bytes"),)))  # type: ignore[arg-type]
    with pytest.raises(StoreBroken):
        store.load()


def test_a_rollback_that_sqlite_did_itself_is_not_repeated(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(store, monkeypatch, "BEGIN", sqlite3.SQLITE_FULL)
    with pytest.raises(StoreFull):
        store.commit(Commit())


def test_a_broken_store_lets_go_of_its_file_when_it_is_closed(path: str) -> None:
    store = SqliteStore(path)
    with pytest.raises(StoreBroken):
        store.commit(Commit((("g", "no bytes"),)))  # type: ignore[arg-type]
    store.close()
    store.close()
    again = SqliteStore(path)
    assert again.load() == StoreState((), ())
    again.close()


def test_a_file_whose_tables_cannot_be_read_is_refused_and_let_go(path: str) -> None:
    SqliteStore(path).close()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("DROP TABLE groups")
    db.close()
    for _ in range(2):
        with pytest.raises(StoreUnusable, match="no such table"):
            SqliteStore(path)


def test_a_failing_close_still_lets_go_of_the_lock(path: str) -> None:
    store = SqliteStore(path)
    db, store._db = store._db, None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        store.close()
    db.close()
    SqliteStore(path).close()


# ---------------------------------------------------------------- the log's size


def test_the_write_ahead_log_stays_bounded(
    store: SqliteStore, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAL_BYTES_MAX", 50_000)
    sizes = []
    for number in range(30):
        store.commit(chained(f"g{number}", b"x" * 5000))
        sizes.append(os.stat(f"{path}-wal").st_size)
    assert max(sizes) < 150_000
    assert min(sizes[5:]) < 50_000
    assert all(payloads(store, f"g{number}") == [b"x" * 5000] for number in range(30))


def test_a_checkpoint_that_another_program_prevents_ends_the_store(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAL_BYTES_MAX", -1)
    monkeypatch.setattr(sqlite, "_CHECKPOINT", "SELECT 1, 0, 0")
    with pytest.raises(StoreBroken, match="another program has it open"):
        store.commit(Commit())


# ---------------------------------------------------------------- damage

PAYLOADS = [b"one", b"two", b"x" * 9000, b"four"]


def test_a_flipped_bit_in_any_entry_is_found_and_those_before_are_still_read(path: str) -> None:
    store = SqliteStore(path)
    store.commit(chained("g", *PAYLOADS))
    store.commit(chained("other", b"fine"))
    store.close()
    for column in ("encoded", "chain"):
        for position, payload in enumerate(PAYLOADS, 1):
            where = f"entries SET {column} = ? WHERE group_id = 1 AND position = {position}"
            good = (
                payload
                if column == "encoded"
                else chained("g", *PAYLOADS).entries[position - 1].chain
            )
            for at in (0, len(good) // 2, len(good) - 1):
                bad = bytearray(good)
                bad[at] ^= 1 << (position % 8)
                edit(path, f"UPDATE {where}", bytes(bad))
                store = SqliteStore(path)
                good_ones = payloads(store) if position > 1 else []
                assert good_ones == PAYLOADS[: position - 1]
                with pytest.raises(GroupDamaged, match=f"entry {position} does not fit") as caught:
                    store.read("g", position - 1, 1 << 20)
                assert (caught.value.group, caught.value.position) == ("g", position - 1)
                assert payloads(store, "other") == [b"fine"]
                store.close()
                edit(path, f"UPDATE {where}", good)


def test_a_lost_entry_is_found(path: str) -> None:
    store = SqliteStore(path)
    store.commit(chained("g", *PAYLOADS))
    store.close()
    edit(path, "DELETE FROM entries WHERE position = 2")
    store = SqliteStore(path)
    assert payloads(store) == [b"one"]
    with pytest.raises(GroupDamaged, match="entry 3 does not fit"):
        store.read("g", 1, 100)
    store.close()


def test_a_lost_end_is_found(path: str) -> None:
    store = SqliteStore(path)
    store.commit(chained("g", *PAYLOADS))
    store.close()
    edit(path, "DELETE FROM entries WHERE position > 2")
    store = SqliteStore(path)
    assert payloads(store) == [b"one", b"two"]
    with pytest.raises(GroupDamaged, match="ends there and its head is 4"):
        store.read("g", 2, 100)
    store.close()


def test_another_history_under_the_same_head_is_found(path: str) -> None:
    store = SqliteStore(path)
    store.commit(chained("g", *PAYLOADS))
    store.close()
    other = chained("g", *PAYLOADS[:3], b"five").entries[3]
    row = (other.encoded, other.chain, entry_seal(4, other.chain))
    edit(path, "UPDATE entries SET (encoded, chain, seal) = (?, ?, ?) WHERE position = 4", *row)
    store = SqliteStore(path)
    with pytest.raises(GroupDamaged, match="its head's chain is not the log's"):
        store.read("g", 4, 100)
    store.close()


def test_a_page_that_sqlite_cannot_read_is_damage_of_that_group(path: str) -> None:
    store = SqliteStore(path)
    store.commit(chained("g", *(b"%d" % n * 500 for n in range(300))))
    store.close()
    db = sqlite3.connect(path, isolation_level=None)
    (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries'").fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    with open(path, "r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * 100)
    store = SqliteStore(path)
    assert [group.head for group in store.load().groups] == [300]
    with pytest.raises(GroupDamaged, match="SQLite says"):
        store.read("g", 0, 100)
    with pytest.raises(GroupDamaged, match="SQLite says"):
        store.look_up("g", 7)
    store.close()


def test_a_refusal_names_who_is_suspected(store: SqliteStore) -> None:
    with pytest.raises(AppendRefused, match="does somebody else write to this store"):
        store.commit(Commit((), (NewEntry("g", 2, 1, b"x", INCARNATION),)))


def test_a_place_that_was_changed_is_found(path: str) -> None:
    store = SqliteStore(path)
    store.commit(chained("g", *PAYLOADS))
    store.close()
    edit(path, "UPDATE entries SET position = 5 WHERE position = 3")
    store = SqliteStore(path)
    assert payloads(store) == [b"one", b"two"]
    with pytest.raises(GroupDamaged, match="entry 4 does not fit"):
        store.read("g", 2, 100)
    with pytest.raises(GroupDamaged, match="the place of an entry was changed"):
        store.look_up("g", 5)
    store.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("groups SET name = 'h'", "group 'h'"),
        ("sessions SET settled = 7", "a session"),
        ("outcomes SET position = 2", "an outcome"),
    ],
)
def test_a_row_that_is_not_as_it_was_written_refuses_the_store(
    path: str, change: str, said: str
) -> None:
    store = SqliteStore(path)
    outcome = StoredOutcome(1, 1, "g", True)
    session = SessionChange(b"s" * 16, "ada", 1, 0, (outcome,))
    store.commit(chained("g", b"one")._replace(sessions=(session,)))
    store.close()
    edit(path, f"UPDATE {change}")
    store = SqliteStore(path)
    with pytest.raises(StoreUnusable, match=rf"is damaged \({said}\); restore it"):
        store.load()
    store.close()


@pytest.mark.parametrize("size", [0, 50])
def test_a_store_that_was_cut_off_is_not_taken_for_a_new_one(path: str, size: int) -> None:
    SqliteStore(path).close()
    with open(path, "r+b") as file:
        file.truncate(size)
    with pytest.raises(StoreUnusable, match=f"was cut off to {size} bytes"):
        SqliteStore(path)


def test_a_folder_that_cannot_be_synced_is_said(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(StoreUnusable, match=r"its folder .* cannot be written: Input/output error"):
        SqliteStore(path)


def test_a_lock_file_that_cannot_be_written_is_said(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.ftruncate", fail)
    with pytest.raises(StoreUnusable, match=r"lock cannot be written: No space left"):
        SqliteStore(path)
