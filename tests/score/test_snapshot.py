"""A snapshot on its way: taken in order, whole and right, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from score.snapshot import Incoming, announced, decode_dump, empty, encode_dump
from score_server.wire import codec
from score_server.wire.entry import snapshot_digest
from score_server.wire.errors import RemoteProtocolError
from score_server.wire.messages import MALFORMED, OUT_OF_ORDER, Joined, SnapshotInfo
from ucore import UMap, UStack, UVec
from ucore.errors import MalformedUpdateError, UnstorableError
from ucore.primitives import DEPTH_MAX

INCARNATION, CHAIN, DATA = b"i" * 16, b"c" * 16, b"snapshot!"
INFO = SnapshotInfo(CHAIN, len(DATA), snapshot_digest(DATA))


def test_a_snapshot_is_what_its_chunks_are_together() -> None:
    incoming = announced(Joined(1, INCARNATION, 7, 9, INFO))
    assert incoming is not None
    assert (incoming.incarnation, incoming.position, incoming.chain) == (INCARNATION, 7, CHAIN)
    assert not incoming.add(0, DATA[:4])
    assert not incoming.is_complete
    assert incoming.add(4, DATA[4:])
    assert incoming.take() == DATA


def test_a_join_that_is_answered_from_the_log_announces_none() -> None:
    assert announced(Joined(1, INCARNATION, 7, 9, None)) is None


@pytest.mark.parametrize(
    ("offset", "data"),
    [(0, DATA[:4]), (5, DATA[5:]), (4, DATA[4:] + b"x"), (2**62, b"x"), (4, bytes(10**6))],
)
def test_a_chunk_that_is_not_the_next_one_is_refused_and_not_held(offset: int, data: bytes) -> None:
    incoming = Incoming(INCARNATION, 7, INFO)
    incoming.add(0, DATA[:4])
    with pytest.raises(RemoteProtocolError, match="of which 4 have come") as caught:
        incoming.add(offset, data)
    assert caught.value.code == OUT_OF_ORDER
    assert incoming.received == 4


def test_a_whole_that_was_not_announced_is_refused() -> None:
    incoming = Incoming(INCARNATION, 7, INFO)
    with pytest.raises(RemoteProtocolError, match="not the one that was announced") as caught:
        incoming.add(0, b"Snapshot!")
    assert caught.value.code == MALFORMED


def test_what_is_announced_reserves_nothing() -> None:
    incoming = Incoming(INCARNATION, 7, SnapshotInfo(CHAIN, 2**63 - 1, bytes(32)))
    assert not incoming.add(0, b"x")
    assert incoming.received == 1


@pytest.mark.parametrize("kind", [UMap, UVec, UStack])
def test_an_empty_tree_is_of_the_same_kind_and_takes_the_dump(kind: type) -> None:
    tree = kind()._tree  # type: ignore[attr-defined]
    other = empty(tree)
    assert type(other.root) is kind
    other.load(decode_dump(encode_dump(tree), 0))
    assert encode_dump(other) == encode_dump(tree)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"\x81" * 140 + b"\x00", "cannot be read"),
        (codec.encode([1, 8, None, [35, 0, 0]]), "snapshot of change 7 says it is of 8"),
    ],
)
def test_bytes_that_are_no_dump_of_that_change_are_malformed(data: bytes, text: str) -> None:
    with pytest.raises(MalformedUpdateError, match=text):
        decode_dump(data, 7)


def test_the_deepest_leaf_in_the_deepest_container_comes_back() -> None:
    """Each was put there by a change of its own, which is not so deep."""
    root: Any = UVec()
    innermost = root
    for _ in range(DEPTH_MAX - 1):
        innermost.append([])
        innermost = innermost[0]
    leaf: tuple[object, ...] = ()
    for _ in range(DEPTH_MAX - 1):
        leaf = (leaf,)
    innermost.append(leaf)
    with pytest.raises(UnstorableError):
        innermost.append((leaf,))
    tree = root._tree
    again = empty(tree)
    again.load(decode_dump(encode_dump(tree), tree.position))
    assert again.root == root
    assert encode_dump(again) == encode_dump(tree)


@pytest.mark.parametrize("plain", [None, 7, [], [1]])
def test_what_a_dump_holds_is_looked_at_by_the_tree(plain: codec.Plain) -> None:
    assert decode_dump(codec.encode(plain), 7) == plain


_DUMPS = """
from ucore import UMap
from score.snapshot import encode_dump, decode_dump, empty

m = UMap()
for number in range(20):
    m[f"key {number % 7}"] = frozenset(f"word {number + i}" for i in range(5))
    m[frozenset({number, "x"})] = {"inner": [number, (1, frozenset({"a", "b", number}))]}
del m["key 3"]
m["key 3"] = None
again = empty(m._tree)
again.load(decode_dump(encode_dump(m._tree), m._tree.position))
assert encode_dump(again) == encode_dump(m._tree)
print(encode_dump(m._tree).hex())
"""


def test_equal_states_give_equal_bytes_in_every_process() -> None:
    """Sets have an order of their own in each process, and a dump must not show it."""
    dumps = set()
    for hash_seed in ("0", "1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", _DUMPS]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        dumps.add(done.stdout)
    assert len(dumps) == 1
