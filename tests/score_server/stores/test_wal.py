"""A torn end is what SQLite may forget; damage before it is not.  On logs that SQLite itself has written."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from score_server.stores.base import Commit, NewGroup, StoreUnusable
from score_server.stores.sqlite import SqliteStore
from score_server.stores.wal import damage

HEADER, FRAME = 32, 24 + 4096


@pytest.fixture
def log(tmp_path: Path) -> bytes:
    """A log of several commits, as a killed server leaves it, without the room behind it."""
    store = SqliteStore(str(tmp_path / "a.db"))
    for n in range(4):
        store.commit(Commit(new_groups=(NewGroup(f"g{n}", bytes(16)),)))
    found = (tmp_path / "a.db-wal").read_bytes()
    store.close()
    ends = [at for at in range(HEADER, len(found), FRAME) if any(found[at + 4 : at + 8])]
    return found[: ends[-1] + FRAME]


def frames_of_last_commit(log: bytes) -> int:
    ends = [at for at in range(HEADER, len(log), FRAME) if any(log[at + 4 : at + 8])]
    return (ends[-1] - ends[-2]) // FRAME


def flipped(log: bytes, at: int, bit: int = 0) -> bytes:
    copy = bytearray(log)
    copy[at] ^= 1 << bit
    return bytes(copy)


def test_a_whole_log_and_an_empty_one_are_fine(log: bytes) -> None:
    assert damage(log) is None
    assert damage(b"") is None
    assert damage(log[:HEADER]) is None


def test_room_behind_the_end_is_no_damage_nor_does_it_hide_any(log: bytes) -> None:
    assert damage(log + bytes(3 * FRAME + 100)) is None
    assert damage(flipped(log, HEADER + 100) + bytes(FRAME)) is not None


def test_frames_from_before_a_checkpoint_are_no_damage_nor_do_they_hide_any(
    tmp_path: Path, log: bytes
) -> None:
    store = SqliteStore(str(tmp_path / "c.db"))
    for n in range(9):
        store.commit(Commit(new_groups=(NewGroup(f"g{n}", bytes(16)),)))
    older = (tmp_path / "c.db-wal").read_bytes()
    store._checkpoint()
    for n in range(4):
        store.commit(Commit(new_groups=(NewGroup(f"h{n}", bytes(16)),)))
    both = (tmp_path / "c.db-wal").read_bytes()
    store.close()
    salts = both[HEADER - 16 : HEADER - 8]
    assert len(both) == len(older)
    frames = range(HEADER, len(both), FRAME)
    new = [at for at in frames if both[at + 8 : at + 16] == salts]
    assert new
    assert len(new) < len(frames)
    assert damage(both) is None
    for at in range(8):
        assert damage(flipped(both, at)) is not None
    assert damage(flipped(both, HEADER + 100)) is not None
    assert damage(flipped(both, new[-1] + 100)) is None  # in the last commit
    assert damage(flipped(both, new[-1] + FRAME + 100)) is None  # what is not used


def test_an_end_torn_at_any_byte_is_no_damage(log: bytes) -> None:
    for length in range(0, len(log), 97):
        assert damage(log[:length]) is None


def test_bytes_that_were_not_written_yet_in_the_last_commit_are_no_damage(log: bytes) -> None:
    begin = len(log) - frames_of_last_commit(log) * FRAME
    for at in range(begin, len(log), 61):
        assert damage(flipped(log, at)) is None
    assert damage(log[:begin] + bytes(len(log) - begin)) is None


def test_a_rest_of_a_commit_that_was_rolled_back_is_no_damage(log: bytes) -> None:
    frame = bytearray(log[-FRAME:])
    frame[4:8] = bytes(4)  # not the last one of its commit
    assert damage(log + bytes(frame) + bytes(frame)) is None


def test_a_head_that_was_torn_between_two_sectors_ends_no_commit(tmp_path: Path) -> None:
    """In front it is still an older frame's, which ended a commit; behind is the checksum that the next one continues."""
    store = SqliteStore(str(tmp_path / "e.db"))
    names = [f"{n}" * 200 for n in range(600)]
    store.commit(Commit(new_groups=tuple(NewGroup(name, bytes(16)) for name in names)))
    log = (tmp_path / "e.db-wal").read_bytes()
    store.close()
    last = max(at for at in range(HEADER, len(log), FRAME) if any(log[at + 4 : at + 8]))
    in_two = [at for at in range(HEADER, last, FRAME) if at // 512 != (at + 23) // 512]
    assert {512 - at % 512 for at in in_two} == {8, 16}
    for at in in_two:
        older = (9).to_bytes(4, "big") + (99).to_bytes(4, "big")
        assert damage(log[:at] + older + log[at + 8 :]) is None


def test_a_bit_flipped_in_the_header_or_before_the_last_commit_is_damage(log: bytes) -> None:
    begin = len(log) - frames_of_last_commit(log) * FRAME
    for at in [*range(HEADER), *range(HEADER, begin - FRAME, 331)]:
        assert damage(flipped(log, at, at % 8)) is not None, at


def test_a_store_with_a_damaged_log_is_refused_and_left_alone(tmp_path: Path, log: bytes) -> None:
    path = tmp_path / "b.db"
    SqliteStore(str(path)).close()
    bad = flipped(log, HEADER + 100)
    (tmp_path / "b.db-wal").write_bytes(bad)
    with pytest.raises(StoreUnusable, match=r"b\.db-wal is damaged \(the bytes from 32 on are not"):
        SqliteStore(str(path))
    assert (tmp_path / "b.db-wal").read_bytes() == bad


def test_a_commit_torn_over_an_older_rounds_frames_has_happened_or_not(tmp_path: Path) -> None:
    """The power goes: of each sector that the last commit wrote, the disk has the older or the newer bytes."""
    choose = random.Random(5)
    path, sector = tmp_path / "d.db", 512
    store = SqliteStore(str(path))
    for n in range(30):
        store.commit(Commit(new_groups=(NewGroup(f"g{n}", bytes(16)),)))
    store._checkpoint()
    seen = set()
    for n in range(6):
        before = Path(f"{path}-wal").read_bytes()
        was = store.list_groups("", 99)
        new = tuple(NewGroup(f"h{n}-{i}" * 60, bytes(16)) for i in range(1 + 4 * n))
        store.commit(Commit(new_groups=new))
        after, are = Path(f"{path}-wal").read_bytes(), store.list_groups("", 99)
        before = after[:HEADER] + before[HEADER:]  # SQLite syncs a new header before what follows
        older, newer = before.ljust(len(after), b"\0"), after
        differ = [
            at for at in range(0, len(after), sector) if older[at:][:sector] != newer[at:][:sector]
        ]
        for kept in [
            differ,
            [],
            *([at for at in differ if choose.random() < choose.random()] for _ in range(20)),
        ]:
            torn = bytearray(older)
            for at in kept:
                torn[at : at + sector] = newer[at : at + sector]
            assert damage(bytes(torn)) is None
            copy = tmp_path / "torn.db"
            copy.write_bytes(path.read_bytes())
            Path(f"{copy}-wal").write_bytes(torn)
            found = SqliteStore(str(copy))
            groups = found.list_groups("", 99)
            found.close()
            assert groups in (was, are)
            seen.add(groups == are)
    store.close()
    assert seen == {False, True}
