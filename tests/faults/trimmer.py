"""A store that is filled, trimmed, emptied and tidied, step by step; each step that is done is written down.

As a program:  python trimmer.py STORE DONE
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from hashlib import blake2b

from score_server.stores import sqlite
from score_server.stores.base import (
    Commit,
    NewChunk,
    NewEntry,
    NewGroup,
    NewTrim,
    SessionChange,
    SnapshotState,
    StoredOutcome,
)
from score_server.stores.sqlite import SqliteStore
from score_server.wire.entry import Entry, encode_entry, next_chain

NAMES = ("kept", "trimmed", "deleted")
ENTRIES = 60
WAL_BYTES_MAX = 40_000  # so that there are checkpoints in between


def commits() -> Iterator[Commit]:
    """Everything that makes something superfluous, with ordinary appends in between."""
    chains: dict[str, list[bytes]] = {name: [name.encode().ljust(16)] for name in NAMES}

    def append(count: int) -> Commit:
        entries = []
        for name, chain in chains.items():
            for _ in range(count):
                at = len(chain)
                entry = Entry(at, at - 1, at, b"s" * 16, at, "ada", name.encode() * 20)
                encoded = encode_entry(entry)
                chain.append(next_chain(chain[-1], encoded))
                entries.append(NewEntry(name, at, at - 1, encoded, chain[-1], at))
        head = len(chains["kept"]) - 1
        outcomes = (StoredOutcome(head, head, "kept", False, head - 1),)
        change = SessionChange(b"s" * 16, "ada", head, head - 1, outcomes)
        return Commit((), tuple(entries), (change,))

    yield Commit(tuple(NewGroup(name, chains[name][0]) for name in NAMES))
    yield append(ENTRIES)
    for at, floor, data in ((40, 30, b"older" * 2000), (60, 55, b"newer" * 3000)):
        for offset in range(0, len(data), 6000):
            yield Commit(chunks=(NewChunk("trimmed", offset, data[offset : offset + 6000]),))
        digest = blake2b(data, digest_size=32).digest()
        snapshot = SnapshotState(at, chains["trimmed"][at], len(data), digest, 0)
        yield append(1)._replace(trims=(NewTrim("trimmed", snapshot, floor),))
    yield Commit(chunks=(NewChunk("deleted", 0, b"x" * 6000),))
    yield Commit(deleted_groups=("deleted",))
    yield Commit(chunks=(NewChunk("trimmed", 0, b"given up"),))
    yield Commit(dropped_candidates=("trimmed",))


def run(path: str, done: int) -> None:
    sqlite.WAL_BYTES_MAX = WAL_BYTES_MAX
    store = SqliteStore(path)
    for batch in commits():
        store.commit(batch)
        os.write(done, b".")
        store.collect(16)
    while store.collect(16):
        pass
    store.close()


if __name__ == "__main__":
    run(sys.argv[1], os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND))
