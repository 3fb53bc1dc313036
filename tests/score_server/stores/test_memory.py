"""What only the memory store can be asked; its laws are in ``tests/conformance/test_stores.py``."""

from __future__ import annotations

import pytest

from score_server.stores.base import Commit, GroupDamaged, NewEntry, NewGroup
from score_server.stores.memory import MemoryStore
from score_server.wire.entry import next_chain

INCARNATION = b"i" * 16


def test_a_byte_that_memory_lost_is_found_as_on_a_disk() -> None:
    store = MemoryStore()
    first = next_chain(INCARNATION, b"one")
    second = next_chain(first, b"two")
    entries = (NewEntry("g", 3, 0, b"one", first), NewEntry("g", 5, 3, b"two", second))
    store.commit(Commit((NewGroup("g", INCARNATION),), entries))
    store._logs["g"].encoded[1] = b"twO"
    assert store.read("g", 0, 100) == [(3, b"one", first)]
    with pytest.raises(GroupDamaged, match="group 'g' is damaged after position 3"):
        store.read("g", 3, 100)
    store._logs["g"].encoded[0] = b"onE"
    with pytest.raises(GroupDamaged, match="after position 0"):
        store.read("g", 0, 100)
