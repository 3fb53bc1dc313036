"""A store that is killed before any of its writes while it trims, replaces snapshots, deletes and tidies.

Whatever it was doing, it is in one of the states that were committed, and in none that is older than what it said
was done; nothing of what is in use has been erased, and what is not goes afterwards.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from score_server.stores.base import GroupDamaged
from score_server.stores.fsck import fsck
from score_server.stores.memory import MemoryStore
from score_server.stores.sqlite import SqliteStore

from .machine import Inject, Scale, in_parallel, need, strace_works
from .test_damage import Contents, contents, contents_of
from .trimmer import ENTRIES, commits

PROGRAM = str(Path(__file__).with_name("trimmer.py"))
WRITING = "pwrite64,fsync,fdatasync,ftruncate,unlink"


def states() -> list[Contents]:
    """What has to be there after each number of commits, as the store in memory has it."""
    store = MemoryStore()
    found = [contents_of(store)]
    for batch in commits():
        store.commit(batch)
        found.append(contents_of(store))
    return found


def killed(fault: Inject, path: Path, trace: Path | None = None) -> int:
    """Run the program until *fault* kills it; returns how many commits it said were done."""
    done = path.with_suffix(".done")
    done.touch()
    command = [*fault.command(trace), sys.executable, PROGRAM, str(path), str(done)]
    subprocess.run(command, check=False, capture_output=True)
    return done.stat().st_size


def left_over(path: Path) -> list[int]:
    """Tidy up; then how many rows of entries, of chunks, and notes of garbage there are."""
    store = SqliteStore(str(path))
    while store.collect(100):
        pass
    tables = ("entries", "chunks", "garbage")
    found = [store._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    store.close()
    return found


def test_a_store_killed_before_any_write_is_in_a_state_that_was_committed(
    tmp_path: Path, scale: Scale, figures: dict[str, object]
) -> None:
    need(strace_works(), "strace")
    expected = states()
    trace = tmp_path / "trace"
    assert (
        killed(Inject(WRITING, "error=EIO", "60000"), tmp_path / "dry.db", trace)
        == len(expected) - 1
    )
    assert contents(tmp_path / "dry.db") == expected[-1]
    assert left_over(tmp_path / "dry.db") == [ENTRIES + 2 + 7, 3, 0]
    calls = Counter(re.findall(r"(\w+)\(", trace.read_text()))
    points = [(call, n) for call in sorted(calls) for n in range(1, calls[call] + 1)]

    points = scale.spread(points, 60)

    def kill_at(point: tuple[str, int]) -> int:
        call, n = point
        return killed(Inject(call, "signal=KILL", str(n)), tmp_path / f"{call}{n}.db")

    # Looked at afterwards: a child that another thread is just forking has the locks of this process as well.
    done = in_parallel(kill_at, points)
    for (call, n), count in zip(points, done, strict=True):
        path = tmp_path / f"{call}{n}.db"
        if not path.exists() or not path.stat().st_size:  # it was not made yet
            assert not count
            continue
        found = contents(path)
        assert found in expected[count : count + 2], (call, n, count)
        said: list[str] = []
        assert fsck(str(path), said.append), said
        left_over(path)
        assert contents(path) == found, (call, n, count)
    figures |= {"points": len(points), "commits": len(expected) - 1, "states": len(set(done))}
    assert len(set(done)) > len(expected) / 2


def test_the_checker_sees_a_snapshot_that_is_neither_the_old_nor_the_new(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(str(path))
    for batch in commits():
        store.commit(batch)
    whole = contents_of(store)
    assert whole == states()[-1]
    store._db.execute("UPDATE chunks SET data = zeroblob(6000)")
    with pytest.raises(GroupDamaged):
        contents_of(store)
    store.close()
