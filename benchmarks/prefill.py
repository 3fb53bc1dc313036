"""SQLite stores that hold a long log already, written past the server (which would take its time)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from score_server.stores.base import Commit, NewEntry, NewGroup
from score_server.stores.sqlite import SqliteStore
from score_server.wire.entry import Entry, encode_entry, next_chain

INCARNATION, SESSION = b"i" * 16, b"s" * 16
TIME_MS = 1_800_000_000_000
ENTRIES_A_COMMIT = 20_000


def log(path: str, group: str, payloads: Iterable[bytes]) -> None:
    """A new group in the store at *path*, with an entry for each of *payloads*."""
    store = SqliteStore(path)
    try:
        store.commit(Commit(new_groups=(NewGroup(group, INCARNATION),)))
        position, chain = 0, INCARNATION
        left = iter(payloads)
        while batch := list(islice(left, ENTRIES_A_COMMIT)):
            entries = []
            for payload in batch:
                position += 1
                encoded = encode_entry(
                    Entry(position, position - 1, TIME_MS, SESSION, position, "prefill", payload)
                )
                chain = next_chain(chain, encoded)
                entries.append(NewEntry(group, position, position - 1, encoded, chain))
            store.commit(Commit(entries=tuple(entries)))
    finally:
        store.close()


def groups(path: str, count: int, payload: bytes) -> None:
    """*count* groups with one entry each."""
    store = SqliteStore(path)
    try:
        for start in range(0, count, ENTRIES_A_COMMIT):
            names = [f"group {i}" for i in range(start, min(count, start + ENTRIES_A_COMMIT))]
            encoded = encode_entry(Entry(1, 0, TIME_MS, SESSION, 1, "prefill", payload))
            chain = next_chain(INCARNATION, encoded)
            store.commit(
                Commit(
                    new_groups=tuple(NewGroup(name, INCARNATION) for name in names),
                    entries=tuple(NewEntry(name, 1, 0, encoded, chain) for name in names),
                )
            )
    finally:
        store.close()
