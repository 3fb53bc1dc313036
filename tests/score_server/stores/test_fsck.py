"""What ``score-server fsck`` finds, and that it leaves no trace."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

import pytest

from score_server import cli
from score_server.stores.base import (
    Commit,
    NewChunk,
    NewEntry,
    NewGroup,
    NewTrim,
    SessionChange,
    SnapshotState,
    StoredOutcome,
    StoreUnusable,
)
from score_server.stores.fsck import fsck
from score_server.stores.sqlite import SqliteStore
from score_server.stores.sqlite_rows import chunk_seal, entry_seal, run_seal, seal
from score_server.wire.entry import Entry, encode_entry, next_chain

SESSION = b"s" * 16
PARTS = (b"snap" * 50, b"shot" * 50)


def fill(store: SqliteStore) -> None:
    """Group "log" of four entries; "trimmed" with a snapshot, a tail and a candidate; one that was deleted."""
    store.commit(Commit(tuple(NewGroup(name, b"i" * 16) for name in ("log", "trimmed", "deleted"))))
    chains = {}
    for name in ("log", "trimmed", "deleted"):
        chain, entries = b"i" * 16, []
        for position in range(1, 5):
            entry = Entry(position, position - 1, 7, SESSION, position, "me", b"x" * 50)
            encoded = encode_entry(entry)
            chain = next_chain(chain, encoded)
            chains[name, position] = chain
            entries.append(NewEntry(name, position, position - 1, encoded, chain, 7))
        outcome = StoredOutcome(4, 4, name, True)
        session = SessionChange(SESSION, "me", 1, 0, (outcome,))
        store.commit(Commit((), tuple(entries), (session,)))
    chunks = (NewChunk("trimmed", 0, PARTS[0]), NewChunk("trimmed", 200, PARTS[1]))
    digest = blake2b(b"".join(PARTS), digest_size=32).digest()
    snapshot = SnapshotState(3, chains["trimmed", 3], 400, digest, 0)
    store.commit(Commit(chunks=chunks))
    store.commit(Commit(trims=(NewTrim("trimmed", snapshot, 2),), deleted_groups=("deleted",)))
    store.commit(Commit(chunks=(NewChunk("trimmed", 0, b"candidate"),)))


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "store.db")
    store = SqliteStore(path)
    fill(store)
    store.close()
    return path


def found(path: str) -> tuple[bool, list[str]]:
    said: list[str] = []
    return fsck(path, said.append), said


def edit(path: str, *statements: tuple[str, tuple[object, ...]]) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    for sql, values in statements:
        assert db.execute(sql, values).rowcount
    db.close()


SUMMARY = "all is whole: groups: 2, entries: 6, snapshots: 1 (400 bytes), sessions: 1, outcomes: 1"


def contents(folder: str) -> dict[str, bytes]:
    return {
        name: Path(folder, name).read_bytes()
        for name in os.listdir(folder)
        if not name.endswith(".lock")
    }


def test_a_whole_store_is_summed_up_and_left_as_it_was(path: str) -> None:
    before = contents(os.path.dirname(path))
    assert found(path) == (True, [SUMMARY])
    assert contents(os.path.dirname(path)) == before
    SqliteStore(path).close()


def test_a_store_that_a_killed_server_left_is_checked_with_its_log(tmp_path: Path) -> None:
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "from test_fsck import SqliteStore, fill\n"
        "fill(SqliteStore(sys.argv[1])); os._exit(1)\n"
    )
    path = str(tmp_path / "store.db")
    here = os.path.dirname(__file__)
    done = subprocess.run([sys.executable, "-c", script, path, here], check=False)
    assert done.returncode == 1
    before = contents(str(tmp_path))
    assert len(before[f"{os.path.basename(path)}-wal"]) > 0
    assert found(path) == (True, [SUMMARY])
    assert contents(str(tmp_path)) == before


def replaced(position: int, payload: bytes) -> tuple[str, tuple[object, ...]]:
    """An entry of "log" in the place of that at 4, which fits the chain."""
    chain = b"i" * 16
    for at in range(1, 4):
        chain = next_chain(chain, encode_entry(Entry(at, at - 1, 7, SESSION, at, "me", b"x" * 50)))
    encoded = (
        encode_entry(Entry(position, 3, 7, SESSION, 4, "me", payload)) if payload else b"no entry"
    )
    chain = next_chain(chain, encoded)
    sql = (
        "UPDATE entries SET (encoded, chain, time_ms, log_bytes, seal) = (?, ?, 0, 0, ?) "
        "WHERE group_id = 1 AND position = 4"
    )
    return sql, (encoded, chain, entry_seal(1, 4, chain, 0, 0))


OTHER = b"tohs" * 50
FLOOR = (2, b"c" * 16, 1, 3, b"c" * 16, 400, b"d" * 32, 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("UPDATE entries SET encoded = ? WHERE group_id = 1 AND position = 2", (b"x",)),
         "group 'log': entry 2 does not fit its chain; the last good one is 1"),
        (("UPDATE entries SET chain = ? WHERE group_id = 1 AND position = 2", (b"x",)),
         "group 'log': entry 2 was changed"),
        (("DELETE FROM entries WHERE group_id = 1 AND position = 4", ()),
         "group 'log': its log ends at 3, and its head is 4"),
        (replaced(4, b"y"), "group 'log': its head's chain is not the log's"),
        (replaced(9, b"y"), "group 'log': entry 4 says that it is entry 9"),
        (replaced(4, b""), "group 'log': entry 4 is none: "),
        (("DELETE FROM entries WHERE group_id = 2 AND position = 3", ()),
         "group 'trimmed': entry 4 does not fit its chain; the last good one is 2"),
        (("UPDATE groups SET name = ? WHERE id = 1", ("lag",)),
         "group 'lag': its name, or what goes with it, was changed"),
        (("UPDATE groups SET floor = ? WHERE id = 2", (1,)),
         "group 'trimmed': what is known of its head, floor or snapshot was changed"),
        (("UPDATE groups SET head = ? WHERE id = 2", (3,)),
         "group 'trimmed': what is known of its head, floor or snapshot was changed"),
        (("UPDATE chunks SET data = ? WHERE offset = 200", (OTHER,)),
         "group 'trimmed': its snapshot at 3 is not whole at byte 200"),
        (("UPDATE chunks SET (data, seal) = (?, ?) WHERE offset = 200", (OTHER, chunk_seal(1, 200, OTHER))),
         "group 'trimmed': its snapshot at 3 does not have the digest that was verified"),
        (("DELETE FROM chunks WHERE offset = 200", ()),
         "group 'trimmed': its snapshot at 3 has 200 bytes of 400"),
        (("UPDATE sessions SET settled = ?", (9,)), "a session was changed: ["),
        (("UPDATE outcomes SET position = ?", (1,)), "an outcome was changed: ["),
        (("UPDATE garbage SET group_id = ? WHERE snapshot_id = 2", (1,)),
         "a note of garbage was changed: [1, 2]"),
        (("DELETE FROM sessions", ()), "1 outcomes belong to no session"),
        (("UPDATE outcomes SET (group_name, position, seal) = ('log', 5, ?)",
          (run_seal(SESSION, 4, 1, 5, "log", 1, 0, 0, 1),)),
         "a session was told that its submission 4 is entry 5 of group 'log', whose head is 4"),
    ],
)  # fmt: skip
def test_damage_is_said_in_words(
    path: str, change: tuple[str, tuple[object, ...]], said: str
) -> None:
    edit(path, change)
    is_whole, lines = found(path)
    assert not is_whole
    assert any(line.startswith(said) for line in lines), lines
    assert lines[-1] == "restore the store from a backup, and check its disk"


def test_a_snapshot_of_another_log_is_found(path: str) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    columns = "floor, floor_chain, snapshot_id, snapshot_position, snapshot_chain, snapshot_size, " \
        "snapshot_digest, snapshot_log_bytes"  # fmt: skip
    row = list(db.execute(f"SELECT {columns} FROM groups WHERE id = 2").fetchone())
    row[4] = b"c" * 16
    db.execute(
        f"UPDATE groups SET ({columns}, floor_seal) = ({', '.join('?' * 9)}) WHERE id = 2",
        (*row, seal(2, *row)),
    )
    db.close()
    assert "group 'trimmed': its snapshot at 3 is not of this log" in found(path)[1]


def test_rows_that_belong_to_nothing_are_counted_and_are_no_damage(path: str) -> None:
    edit(path, ("DELETE FROM garbage", ()))
    # The chunk of the candidate; the entries of the deleted group went with the commit after that.
    assert found(path) == (True, ["1 rows belong to nothing and only take room", SUMMARY])


def test_a_page_that_sqlite_cannot_read_is_named_with_its_group(path: str) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries'").fetchone()
    db.close()
    with open(path, "r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 100)
    is_whole, lines = found(path)
    assert not is_whole
    assert lines[0].startswith("the file: ")
    assert "group 'log': cannot be read: database disk image is malformed" in lines


def test_what_cannot_be_looked_into_is_said(path: str, tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="absent is not a file"):
        found(str(tmp_path / "absent"))
    (tmp_path / "letter").write_bytes(b"a letter to grandmother, " * 100)
    with pytest.raises(StoreUnusable, match="not an SQLite file"):
        found(str(tmp_path / "letter"))
    store = SqliteStore(path)
    with pytest.raises(StoreUnusable, match="in use by another server"):
        found(path)
    store.close()


def test_the_command_says_it_all_and_its_status_is_the_verdict(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fsck", path]) == cli.main(["fsck", f"sqlite:///{path}"]) == 0
    assert capsys.readouterr().out == f"{SUMMARY}\n" * 2
    edit(path, ("UPDATE groups SET name = ? WHERE id = 1", ("l\ng",)))
    assert cli.main(["fsck", path]) == 1
    assert "group 'l\\ng': its name" in capsys.readouterr().out
    assert cli.main(["fsck", f"{path}.absent"]) == 1
    assert cli.main(["fsck"]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert printed[0].endswith(".absent is not a file")
    assert printed[1].startswith("score-server: the following arguments are required: FILE")
