"""What the SQLite store promises beyond the laws (``tests/conformance/test_stores.py``): who may open
the file, and what happens when the disk fails it.  Real files throughout."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from score_server.stores import sqlite, sqlite_file, sqlite_recent
from score_server.stores.base import (
    AppendRefused,
    Commit,
    GroupDamaged,
    NewChunk,
    NewEntry,
    NewGroup,
    NewTrim,
    SessionChange,
    SnapshotState,
    StoreBroken,
    StoredOutcome,
    StoreFull,
    StoreState,
    StoreUnusable,
)
from score_server.stores.fsck import fsck
from score_server.stores.sqlite import SqliteStore
from score_server.stores.sqlite_rows import entry_seal
from score_server.wire.entry import next_chain

INCARNATION = b"i" * 16


def chained(group: str, *payloads: bytes) -> Commit:
    chain, entries = INCARNATION, []
    for position, payload in enumerate(payloads, 1):
        chain = next_chain(chain, payload)
        entries.append(NewEntry(group, position, position - 1, payload, chain))
    return Commit((NewGroup(group, INCARNATION),), tuple(entries))


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
        "from score_server.stores.base import Commit, NewGroup\n"
        "from score_server.stores.sqlite import SqliteStore\n"
        "store = SqliteStore(sys.argv[1])\n"
        "store.commit(Commit((NewGroup('g', b'i' * 16),)))\n"
        "os._exit(1)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, path], check=False).returncode == 1
    store = SqliteStore(path)  # the lock of the dead does not bind
    assert [group.name for group in store.list_groups("", 9)] == ["g"]
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
    with pytest.raises(StoreUnusable, match=r"newer score-server .schema 7; this one knows 3"):
        SqliteStore(path)


def test_an_older_servers_file_is_refused_and_left_alone(path: str) -> None:
    SqliteStore(path).close()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA user_version = 2")
    db.close()
    before = Path(path).read_bytes()
    with pytest.raises(StoreUnusable, match=r"older score-server .schema 2; this one reads only 3"):
        SqliteStore(path)
    assert Path(path).read_bytes() == before


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
    before = store.list_groups("", 9)
    big = chained("big", b"x" * 100_000)
    outcome = SessionChange(b"s" * 16, "", 1, 0, (StoredOutcome(1, 1, "big", False),))
    for _ in range(3):
        with pytest.raises(StoreFull, match=r"nothing was changed.*make room"):
            store.commit(big._replace(sessions=(outcome,)))
        assert store.list_groups("", 9) == before
        assert payloads(store) == [b"one"]
        assert store.read("big", 0, 1) == []
    store.close()
    again = SqliteStore(path)
    assert again.list_groups("", 9) == before
    again.commit(big)  # there is room again, and the name is still free
    assert payloads(again, "big") == [b"x" * 100_000]
    again.close()


_WITH_MANY_SESSIONS = """
import sys
from score_server.stores.base import Commit, SessionChange
from score_server.stores.sqlite import SqliteStore

store = SqliteStore(sys.argv[1])
for time in range(2):  # rows all over many pages, so that SQLite has much to take back
    names = ((n * 40503 % 65536).to_bytes(2, "big") * 8 for n in range(3000))
    store.commit(Commit(sessions=tuple(SessionChange(name, "label" * 20, time, 0) for name in names)))
store.close()
"""


def test_nothing_is_written_anywhere_else(path: str, tmp_path: Path) -> None:
    """Where else there is a disk that may be full or read-only: a commit would fail, or end the store, for nothing."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    before = elsewhere.stat().st_mtime_ns
    env = os.environ | {"SQLITE_TMPDIR": str(elsewhere)}
    subprocess.run([sys.executable, "-c", _WITH_MANY_SESSIONS, path], env=env, check=True)
    assert elsewhere.stat().st_mtime_ns == before


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
    before = store.list_groups("", 9)
    with monkeypatch.context() as planted:
        failing(store, planted, "COMMIT", sqlite3.SQLITE_FULL)
        with pytest.raises(StoreFull):
            store.commit(chained("g", b"one"))
    assert store.list_groups("", 9) == before
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
        store.commit(Commit((NewGroup("g", "no bytes"),)))  # type: ignore[arg-type]
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
        store.commit(Commit((NewGroup("g", "no bytes"),)))  # type: ignore[arg-type]
    store.close()
    store.close()
    again = SqliteStore(path)
    assert again.load() == StoreState(())
    again.close()


def test_a_file_whose_tables_cannot_be_read_is_refused_and_let_go(path: str) -> None:
    SqliteStore(path).close()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("DROP TABLE groups")
    db.close()
    for _ in range(2):
        with pytest.raises(StoreUnusable, match="its list of tables"):
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
    assert max(sizes) < 100_000  # of 300,000 that were written to it
    assert len(set(sizes[10:])) <= 3  # and the same bytes are used again
    assert all(payloads(store, f"g{number}") == [b"x" * 5000] for number in range(30))


def test_a_log_that_one_large_commit_has_stretched_becomes_small_again(
    store: SqliteStore, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAL_BYTES_MAX", 50_000)
    store.commit(chained("large", b"x" * 500_000))
    assert os.stat(f"{path}-wal").st_size > 500_000
    for number in range(10):
        store.commit(chained(f"g{number}", b"x" * 5000))
    assert os.stat(f"{path}-wal").st_size < 100_000
    assert payloads(store, "large") == [b"x" * 500_000]


def test_a_log_that_is_used_again_brings_back_nothing_older(path: str, tmp_path: Path) -> None:
    """What a killed server leaves: its last commits, and behind them frames from before a checkpoint."""
    store = SqliteStore(path)
    store.commit(chained("g", *(b"%d" % n for n in range(100))))
    for number in range(20):
        store.commit(chained(f"g{number}", b"x" * 5000))
    store._checkpoint()
    for number in range(3):
        store.commit(chained(f"h{number}", b"y"))
        copy = str(tmp_path / f"copy-{number}.db")
        shutil.copy(path, copy)
        shutil.copy(f"{path}-wal", f"{copy}-wal")
        killed = SqliteStore(copy)
        assert killed.list_groups("", 99) == store.list_groups("", 99)
        assert payloads(killed) == payloads(store)
        killed.close()
    store.close()


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
    row = (other.encoded, other.chain, entry_seal(1, 4, other.chain, 0, 0))
    columns = "(encoded, chain, time_ms, log_bytes, seal) = (?, ?, 0, 0, ?)"
    edit(path, f"UPDATE entries SET {columns} WHERE position = 4", *row)
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
    assert [group.head for group in store.list_groups("", 9)] == [300]
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
        store.look_up("g", 3)
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


def test_an_id_that_a_flipped_bit_made_no_number_refuses_the_store(path: str) -> None:
    store = SqliteStore(path)
    store.commit(chained("g", b"one"))
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        # What the file says of its tables keeps SQLite from writing this, and not from reading it.
        (sql,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'groups'").fetchone()
        rewrite = "UPDATE sqlite_schema SET sql = ? WHERE name = 'groups'"
        db.execute("PRAGMA writable_schema = ON")
        db.execute(rewrite, (sql.replace("STRICT", ""),))
        db.execute("PRAGMA writable_schema = RESET")
        db.execute("UPDATE groups SET snapshot_id = x'00'")
        db.execute("PRAGMA writable_schema = ON")
        db.execute(rewrite, (sql,))
    with pytest.raises(StoreUnusable, match="an id is no number"):
        SqliteStore(path)


def test_a_table_that_a_flipped_bit_has_begin_elsewhere_refuses_the_store(path: str) -> None:
    """All sessions would be gone, and a change could take effect twice."""
    store = SqliteStore(path)
    store.commit(Commit(sessions=(SessionChange(b"s" * 16, "ada", 1, 0),)))
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute(
            "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema "
            "WHERE name = 'outcomes') WHERE name = 'sessions'"
        )
    with pytest.raises(StoreUnusable, match="its list of tables is not as it was made"):
        SqliteStore(path)
    said: list[str] = []
    with pytest.raises(StoreUnusable, match="its list of tables"):
        fsck(path, said.append)


@pytest.mark.parametrize("size", [0, 50, 4096, 40_000])
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


# ---------------------------------------------------------------- what nothing refers to


def snapshotted(store: SqliteStore, count: int, chunks: int, group: str = "g") -> Commit:
    """A group of *count* entries and a candidate of *chunks* chunks; returns the commit that trims all of it."""
    made = chained(group, *(b"%04d" % n * 50 for n in range(count)))
    store.commit(made)
    for number in range(chunks):
        store.commit(Commit(chunks=(NewChunk(group, number * 20_000, b"s" * 20_000),)))
    snapshot = SnapshotState(count, made.entries[-1].chain, chunks * 20_000, b"d" * 32, 0)
    return Commit(trims=(NewTrim(group, snapshot, count),))


def rows(store: SqliteStore, table: str) -> int:
    (count,) = store._db.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)


def collected(store: SqliteStore, rows_max: int = 100) -> int:
    calls = 1
    while store.collect(rows_max):
        calls += 1
    return calls


def test_what_was_trimmed_goes_in_slices_and_the_file_becomes_smaller(path: str) -> None:
    store = SqliteStore(path)
    trim = snapshotted(store, 8000, 0)
    store.close()
    size = os.stat(path).st_size
    store = SqliteStore(path)
    assert trim.trims[0].snapshot is not None
    snapshot = trim.trims[0].snapshot._replace(size=3)
    store.commit(Commit(chunks=(NewChunk("g", 0, b"all"),), trims=(NewTrim("g", snapshot, 8000),)))
    assert rows(store, "entries") > 7900  # a commit erases but a few
    assert collected(store) > 80
    assert [rows(store, table) for table in ("entries", "chunks", "garbage")] == [0, 1, 0]
    assert os.stat(path).st_size < size / 3
    assert store.read_snapshot("g", 8000, 1, 9) == b"ll"
    store.close()


def test_chunks_of_older_snapshots_and_of_unfinished_candidates_go(
    store: SqliteStore, path: str
) -> None:
    store.commit(snapshotted(store, 3, 3))
    store.commit(Commit(chunks=(NewChunk("g", 0, b"given up"),)))
    store.commit(Commit(chunks=(NewChunk("g", 0, b"begun anew"),)))
    assert rows(store, "chunks") == 4  # the commit has erased what was given up
    state, chain = store.look_up("g", 3)
    assert state is not None
    assert chain is not None
    store.commit(Commit(trims=(NewTrim("g", SnapshotState(3, chain, 10, b"d" * 32, 0), 3),)))
    store.commit(Commit(chunks=(NewChunk("g", 0, b"unfinished"),)))
    collected(store)
    assert rows(store, "chunks") == 2  # the snapshot's, and that of the candidate
    store.close()
    again = SqliteStore(path)
    collected(again)
    assert rows(again, "chunks") == 1
    assert again.read_snapshot("g", 3, 0, 99) == b"begun anew"
    again.close()


def test_a_deleted_group_gives_its_space_back_and_leaves_others_alone(
    store: SqliteStore, path: str
) -> None:
    store.commit(chained("other", b"fine"))
    store.commit(snapshotted(store, 200, 300))
    size = os.stat(f"{path}-wal").st_size
    store.commit(Commit(deleted_groups=("g",)))
    assert collected(store) > 5
    assert [rows(store, table) for table in ("groups", "entries", "chunks", "garbage")] == [
        1,
        1,
        0,
        0,
    ]
    assert os.stat(path).st_size < size / 4
    assert payloads(store, "other") == [b"fine"]


def test_commits_erase_what_is_superfluous_faster_than_it_comes(store: SqliteStore) -> None:
    trim = snapshotted(store, 1000, 1)
    store.commit(trim)
    commits = 0
    while rows(store, "garbage"):
        store.commit(chained(f"new{commits}", b"x"))
        commits += 1
    assert commits < 20
    assert rows(store, "entries") == commits


def test_the_ids_of_what_is_being_erased_are_not_used_again(store: SqliteStore, path: str) -> None:
    store.commit(chained("old", *[b"x"] * 500))
    store.commit(Commit(chunks=(NewChunk("old", 0, b"old"),)))
    store.commit(Commit(deleted_groups=("old",)))
    store.close()
    again = SqliteStore(path)
    again.commit(chained("new", b"mine"))
    again.commit(Commit(chunks=(NewChunk("new", 0, b"new"),)))
    assert payloads(again, "new") == [b"mine"]
    collected(again)
    assert payloads(again, "new") == [b"mine"]
    assert rows(again, "chunks") == 1
    again.close()


def test_a_note_of_garbage_is_not_believed_about_what_is_in_use(
    store: SqliteStore, path: str
) -> None:
    store.commit(snapshotted(store, 3, 1))
    collected(store)
    store.commit(chained("h", b"kept"))
    store.close()
    for group_id, snapshot_id in ((1, 1), (2, 0)):
        edit(path, "INSERT INTO garbage VALUES (?, ?, 0)", group_id, snapshot_id)
    again = SqliteStore(path)
    collected(again)
    assert again.read_snapshot("g", 3, 0, 2) == b"ss"
    assert payloads(again, "h") == [b"kept"]
    assert rows(again, "garbage") == 0
    again.close()


def test_nothing_of_a_group_is_erased_whose_row_was_damaged(store: SqliteStore, path: str) -> None:
    store.commit(snapshotted(store, 300, 1))
    store.commit(Commit(chunks=(NewChunk("g", 0, b"c"),)))
    store.close()
    edit(path, "UPDATE groups SET floor = 2")
    again = SqliteStore(path)
    before = rows(again, "entries"), rows(again, "chunks")
    collected(again)
    assert (rows(again, "entries"), rows(again, "chunks")) == before
    for call in (
        lambda: again.look_up("g", 1),
        lambda: again.read("g", 300, 9),
        lambda: again.read_snapshot("g", 300, 0, 9),
    ):
        with pytest.raises(GroupDamaged, match="its row was changed"):
            call()
    with pytest.raises(GroupDamaged):
        again.commit(Commit((), (NewEntry("g", 301, 300, b"x", b"c" * 16, 1),)))
    assert [group.head for group in again.list_groups("", 9)] == [0]
    again.commit(chained("h", b"goes on"))
    again.close()


def test_damage_in_what_is_superfluous_refuses_nothing(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(snapshotted(store, 300, 1))
    before = rows(store, "entries")
    with monkeypatch.context() as planted:
        failing(store, planted, "DELETE FROM entries", sqlite3.SQLITE_CORRUPT)
        store.commit(chained("h", b"goes on"))
        assert collected(store) <= 2
    assert payloads(store, "h") == [b"goes on"]
    assert rows(store, "entries") == before + 1


def test_a_full_disk_is_not_the_time_to_erase(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(snapshotted(store, 300, 1))
    with monkeypatch.context() as planted:
        failing(store, planted, "COMMIT", sqlite3.SQLITE_FULL)
        assert store.collect(1000) is False
    collected(store)
    assert rows(store, "entries") == 0


def test_a_disk_that_fails_while_erasing_ends_the_store(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(snapshotted(store, 300, 1))
    failing(store, monkeypatch, "DELETE FROM entries", sqlite3.SQLITE_IOERR)
    with pytest.raises(StoreBroken, match="erasing failed: planted"):
        store.collect(10)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE chunks SET data = ? WHERE offset = 20000",
        "UPDATE chunks SET offset = 1 WHERE offset = 20000 AND ? != 0",
        "DELETE FROM chunks WHERE offset = 20000 AND ? != 0",
    ],
)
def test_a_snapshot_that_was_damaged_is_refused_where_it_was(path: str, change: str) -> None:
    store = SqliteStore(path)
    store.commit(snapshotted(store, 2, 3))
    store.close()
    edit(path, change, b"t" * 20_000)
    again = SqliteStore(path)
    with pytest.raises(
        GroupDamaged, match=r"'g' is damaged.*its snapshot is not as it was written"
    ):
        again.read_snapshot("g", 2, 0, 60_000)
    again.close()


def test_few_groups_are_kept_in_memory(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_GROUPS_KEPT", 3)
    for number in range(9):
        store.commit(chained(f"g{number}", b"x"))
    assert list(store._groups) == ["g6", "g7", "g8"]
    assert payloads(store, "g0") == [b"x"]
    assert list(store._groups) == ["g7", "g8", "g0"]
    many = tuple(NewEntry(f"g{n}", 2, 1, b"y", b"c" * 16, 1) for n in range(9))
    store.commit(Commit((), many))  # one commit may move more than are kept
    assert [store.look_up(f"g{n}", 2)[1] for n in range(9)] == [b"c" * 16] * 9


def test_a_row_behind_the_stores_back_is_noticed(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_recent, "ENTRIES_MAX", 0)
    store.commit(chained("g", b"x"))
    store._db.execute("UPDATE groups SET head = 7")
    with pytest.raises(AppendRefused, match="does somebody else write to this store"):
        store.commit(Commit((), (NewEntry("g", 2, 1, b"y", b"c" * 16, 1),)))
