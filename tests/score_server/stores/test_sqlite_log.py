"""Room in a write-ahead log, on files that this test writes as SQLite would."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from score_server.stores.sqlite_log import LogRoom

HEADER, PAGE = 32, 4096
FRAME = 24 + PAGE
MAX = HEADER + 200 * FRAME


class Log:
    """A log's file: ``write`` puts frames where SQLite would, each with the number of its round."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end = HEADER
        self.round = 1
        path.write_bytes(b"h" * HEADER)

    def write(self, frames: int) -> None:
        with self.path.open("r+b") as file:
            file.seek(self.end)
            file.write(bytes([self.round]) * (frames * FRAME))
        self.end += frames * FRAME

    def begin_anew(self) -> None:
        self.end = HEADER
        self.round += 1

    def size(self) -> int:
        return self.path.stat().st_size


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "a-wal")


@pytest.fixture
def room(log: Log) -> Iterator[LogRoom]:
    made = LogRoom(str(log.path), PAGE)
    yield made
    made.close()


def test_nothing_is_known_of_a_log_that_was_just_opened(room: LogRoom) -> None:
    assert not room.is_enough()


def test_a_log_grows_ahead_of_what_is_written(log: Log, room: LogRoom) -> None:
    seen = set()
    while log.end < MAX - FRAME:
        if not room.is_enough():
            room.grow(MAX)
        before = log.size()
        assert log.end + 4 * FRAME <= before or before > MAX - 5 * FRAME
        log.write(4)
        assert log.size() <= max(before, MAX)
        seen.add(log.size())
    assert len(seen) <= 6  # of 50 commits
    assert not room.is_enough()
    assert room.size() == log.size()


def test_room_is_zeros(log: Log, room: LogRoom) -> None:
    log.write(3)
    room.grow(MAX)
    assert not any(log.path.read_bytes()[log.end :])
    assert log.size() == log.end + 64 * FRAME


@pytest.mark.parametrize("frames", [1, 64, 199, 200, 300])
def test_a_log_that_another_life_left_is_not_trusted_to_be_empty(
    log: Log, room: LogRoom, frames: int
) -> None:
    log.write(frames)
    if room.size() < MAX:
        room.grow(MAX)
        while room.is_enough():
            log.write(1)
        assert log.end <= MAX


def test_a_commit_that_is_larger_than_the_room_is_noticed(log: Log, room: LogRoom) -> None:
    room.grow(MAX)
    log.write(100)
    assert not room.is_enough()
    room.grow(MAX)
    assert room.is_enough()
    assert log.size() == log.end + 64 * FRAME


def test_a_log_that_begins_anew_is_written_to_its_end_again(log: Log, room: LogRoom) -> None:
    log.write(200)
    size = log.size()
    for _ in range(3):
        log.begin_anew()
        room.begin_anew(MAX)
        while room.is_enough():
            log.write(4)
        assert log.end > MAX - 17 * FRAME
        assert log.size() == size


def test_a_small_bound_is_kept(log: Log, room: LogRoom) -> None:
    room.grow(HEADER + 5 * FRAME)
    assert log.size() <= HEADER + 5 * FRAME
    room.begin_anew(0)
    assert room.is_enough()
    log.write(1)
    assert not room.is_enough()


def test_a_disk_that_has_no_room_is_left_to_the_commit_to_notice(
    log: Log, room: LogRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    room.grow(MAX)
    assert room.is_enough()
    assert log.size() == HEADER
    log.write(1)
    assert not room.is_enough()
