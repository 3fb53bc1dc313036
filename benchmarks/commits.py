"""What a commit costs on this disk: the SQLite store beside a bare append and fdatasync.

    python benchmarks/commits.py [FOLDER]

Numbers for docs/decisions/0004-sqlite.md.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable

from score_server.stores.base import Commit, NewEntry, NewGroup, SessionChange, StoredOutcome
from score_server.stores.sqlite import SqliteStore
from score_server.wire.entry import next_chain

INCARNATION = b"i" * 16


def report(what: str, run: Callable[[], Iterable[float]]) -> None:
    times = sorted(run())
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    print(f"{what:<28} p50 {p50 * 1e6:6.0f} us   p99 {p99 * 1e6:6.0f} us")


def bare(folder: str, count: int = 500) -> Iterable[float]:
    """Seconds of *count* appends of a page, each followed by a sync."""
    file = os.open(f"{folder}/bare", os.O_WRONLY | os.O_CREAT)
    for _ in range(count):
        begin = time.perf_counter()
        os.write(file, b"x" * 4096)
        os.fdatasync(file)
        yield time.perf_counter() - begin
    os.close(file)


def commits(folder: str, size: int, count: int) -> Iterable[float]:
    """Commits of *size* entries, each by another author who settles the one before."""
    store = SqliteStore(f"{folder}/store-{size}.db")
    store.commit(Commit((NewGroup("g", INCARNATION),)))
    position, chain = 0, INCARNATION
    for _ in range(count):
        entries, sessions = [], []
        for author in range(size):
            position += 1
            chain = next_chain(chain, b"x" * 90)
            entries.append(NewEntry("g", position, position - 1, b"x" * 90, chain))
            outcome = StoredOutcome(position, position, "g", False)
            session = author.to_bytes(16, "big")
            sessions.append(SessionChange(session, "me", 1, position - size, (outcome,)))
        batch = Commit((), tuple(entries), tuple(sessions))
        begin = time.perf_counter()
        store.commit(batch)
        yield time.perf_counter() - begin
    store.close()


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else ".") as folder:
        report("append 4 KiB, fdatasync", lambda: bare(folder))
        for size, count in ((1, 1000), (10, 300), (50, 150)):
            report(f"commit of {size} entries", lambda s=size, c=count: commits(folder, s, c))


if __name__ == "__main__":
    main()
