"""A group read raw: checked as it comes, and nothing folded."""

from __future__ import annotations

import pytest

import score
from score import SMap
from score.errors import ConnectionFailed, DeadlineExceeded
from score.rawlog import Raw, RawLog
from score_server.wire.entry import Entry, decode_entry, encode_entry, next_chain, snapshot_digest
from score_server.wire.errors import RemoteProtocolError
from score_server.wire.messages import Joined, SnapshotInfo

INCARNATION, CHAIN, DATA = b"i" * 16, b"c" * 16, b"snapshot!"


def entry(position: int, predecessor: int) -> bytes:
    return encode_entry(Entry(position, predecessor, 0, b"s" * 16, position, "ada", b"change"))


def test_a_snapshot_is_passed_on_in_pieces_and_entries_follow_its_place() -> None:
    raw = Raw("g")
    assert raw.resume() is None
    info = SnapshotInfo(CHAIN, len(DATA), snapshot_digest(DATA))
    incoming = raw.joined(Joined(1, INCARNATION, 7, 9, info))
    assert incoming is not None
    raw.receive_chunk(incoming, 0, DATA[:4])
    assert (list(raw.pieces), raw.is_loaded) == ([DATA[:4]], False)
    raw.receive_chunk(incoming, 4, DATA[4:])
    assert (b"".join(raw.pieces), raw.is_loaded) == (DATA, True)
    raw.receive_all([entry(8, 7)])
    assert (raw.position, raw.chain) == (8, next_chain(CHAIN, entry(8, 7)))
    assert (raw.begin, raw.info, raw.incarnation) == (7, info, INCARNATION)


def test_a_log_without_a_snapshot_begins_at_the_beginning() -> None:
    raw = Raw("g")
    assert raw.joined(Joined(1, INCARNATION, 0, 9, None)) is None
    assert raw.is_loaded
    raw.receive_all([entry(1, 0), entry(2, 1)])
    assert list(raw.runs) == [[entry(1, 0), entry(2, 1)]]
    with pytest.raises(RemoteProtocolError, match="a fresh join is answered as a resumed one"):
        raw.joined(Joined(2, INCARNATION, 3, 9, None))


def test_what_does_not_follow_and_what_is_no_entry_are_the_servers_mistakes() -> None:
    raw = Raw("g")
    raw.joined(Joined(1, INCARNATION, 0, 9, None))
    with pytest.raises(RemoteProtocolError, match="entry 3 does not follow position 0"):
        raw.receive_all([entry(3, 2)])
    with pytest.raises(RemoteProtocolError, match="not an entry"):
        raw.receive_all([b"\x00"])


def test_a_reader_ends_with_its_deadline_its_connection_or_its_group() -> None:
    with score.local(timeout=5) as client:
        stock = SMap[str, int](client, "stock")
        stock["n"] = 1
        with RawLog(client, "stock") as log, client.deadline(0.05):
            assert len(next(log.entries())) == 1
            with pytest.raises(DeadlineExceeded):
                next(log.follow())
        with RawLog(client, "stock") as log:
            assert [decode_entry(one).position for run in log.entries() for one in run] == [1]
            client.delete("stock")
            with pytest.raises(score.GroupDeletedError):
                list(log.entries())
        log = RawLog(client, "other")
        with pytest.raises(score.InvalidNameError):
            RawLog(client, "")
    with pytest.raises(ConnectionFailed, match="read it again"):
        list(log.entries())
    log.close()
