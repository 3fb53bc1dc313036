"""Archives: what is written is what is read, and whatever was changed or cut off is refused."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import pytest

from score import ArchiveError
from score.archive import (
    ENTRIES_BYTES,
    RECORD_BYTES_MAX,
    ArchiveReader,
    ArchiveWriter,
    Beginning,
)
from score_server.wire import codec
from score_server.wire.entry import Entry, encode_entry

SESSION, INCARNATION, CHAIN = bytes(16), b"i" * 16, b"c" * 16
SNAPSHOT = [b"first piece", b"second"]


def entries(after: int, count: int, payload: bytes = b"payload") -> list[bytes]:
    return [
        encode_entry(Entry(p, p - 1 if p > 1 else 0, 5, SESSION, p, "ada", payload))
        for p in range(after + 1, after + count + 1)
    ]


def beginning(snapshot: list[bytes], position: int = 7) -> Beginning:
    whole = b"".join(snapshot)
    digest = hashlib.blake2b(whole, digest_size=32).digest() if whole else b""
    return Beginning(
        "stock", INCARNATION, False, position, CHAIN if whole else INCARNATION, len(whole), digest
    )


def written(snapshot: list[bytes], log: list[bytes], position: int = 7) -> bytes:
    file = io.BytesIO()
    writer = ArchiveWriter(file.write, beginning(snapshot, position))
    for piece in snapshot:
        writer.snapshot(piece)
    for encoded in log:
        writer.entry(encoded)
    writer.end()
    return file.getvalue()


def read(data: bytes) -> tuple[Beginning, list[bytes], list[bytes], int]:
    reader = ArchiveReader(io.BytesIO(data))
    return reader.beginning, list(reader.snapshot()), list(reader.entries()), reader.position


def refusal(data: bytes) -> str:
    with pytest.raises(ArchiveError) as caught:
        read(data)
    return str(caught.value)


def records(data: bytes) -> list[list[codec.Plain]]:
    out = []
    while data:
        size = int.from_bytes(data[:4], "big")
        out.append(codec.decode(data[4 : 4 + size], depth_max=1))
        data = data[4 + size :]
    return out  # type: ignore[return-value]


def rewritten(data: bytes, change: Callable[[list[list[codec.Plain]]], None]) -> bytes:
    """*data* with *change* made to its records, and the end's digest made to fit again."""
    plain = records(data)
    change(plain)
    out = b""
    for record in plain:
        if record[:1] == [3] and len(record) == 4:
            record[3] = hashlib.blake2b(out, digest_size=32).digest()
        body = codec.encode(record)
        out += len(body).to_bytes(4, "big") + body
    return out


def test_what_is_written_is_what_is_read() -> None:
    log = entries(7, 3)
    assert read(written(SNAPSHOT, log)) == (beginning(SNAPSHOT), SNAPSHOT, log, 10)
    log = entries(0, 2)
    assert read(written([], log, 0)) == (beginning([], 0), [], log, 2)
    assert read(written(SNAPSHOT, [])) == (beginning(SNAPSHOT), SNAPSHOT, [], 7)


def test_small_entries_share_a_record_and_large_ones_do_not() -> None:
    kinds = [record[0] for record in records(written([], entries(0, 100), 0))]
    assert kinds == [0, 2, 3]
    log = entries(0, 3, bytes(ENTRIES_BYTES))
    assert [record[0] for record in records(written([], log, 0))] == [0, 2, 2, 2, 3]


def test_an_archive_cut_off_anywhere_is_refused() -> None:
    data = written(SNAPSHOT, entries(7, 2))
    for size in range(len(data)):
        assert "is not an archive to go by" in refusal(data[:size])


def test_a_bit_flipped_anywhere_is_noticed() -> None:
    data = written(SNAPSHOT, entries(7, 2))
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 1 << (at % 8)
        assert "is not an archive to go by" in refusal(bytes(broken))


def test_the_refusal_names_the_file_and_what_is_wrong(tmp_path: object) -> None:
    good = written(SNAPSHOT, entries(7, 2))
    assert refusal(b"") == "the file is not an archive to go by: it is cut off"
    assert "longer than any can be" in refusal((RECORD_BYTES_MAX + 1).to_bytes(4, "big"))
    assert "something follows its end" in refusal(good + b"\0")
    path = f"{tmp_path}/group.score"
    with open(path, "wb") as file:
        file.write(b"PK\x03\x04")
    with open(path, "rb") as file, pytest.raises(ArchiveError, match=r"group\.score is not"):
        ArchiveReader(file)


@pytest.mark.parametrize(
    ("index", "record", "said"),
    [
        (0, [0, "other", 1], "does not begin as"),
        (0, [1, b"x"], "does not begin as"),
        (0, [0, "score-archive", 2], "update score"),
        (0, [0, "score-archive", 1, "g"], "first record"),
        (0, [0, "score-archive", 1, "g", b"short", False, 7, CHAIN, 0, b""], "first record"),
        (0, [0, "score-archive", 1, "g", INCARNATION, False, -1, CHAIN, 0, b""], "first record"),
        (0, [0, "score-archive", 1, "g", INCARNATION, False, 7, CHAIN, 1, b""], "first record"),
        (1, [1, "text"], "a piece of its snapshot"),
        (1, [1, b"a", b"b"], "a piece of its snapshot"),
        (1, [1, b""], "a piece of its snapshot"),
        (1, [1, b"much longer than what was announced"], "a piece of its snapshot"),
        (1, [1, b"other piece"], "not the one that was exported"),
        (1, [2, b"x"], "its snapshot is cut off"),
        (3, [2, b"x"], "is not the next one"),
        (3, [2, 5], "is not the next one"),
        (3, [2, entries(8, 1)[0]], "is not the next one"),
        (3, [4], "none that this program knows"),
        (3, ["x"], "none that this program knows"),
        (3, [], "none that this program knows"),
        (3, [0, b"x"], "the beginning where its end should be"),
        (4, [3, 8, CHAIN, b""], "it was changed"),
    ],
)
def test_each_record_is_checked_by_itself(index: int, record: list[codec.Plain], said: str) -> None:
    def change(plain: list[list[codec.Plain]]) -> None:
        plain[index] = record

    assert said in refusal(rewritten(written(SNAPSHOT, entries(7, 2)), change))


def test_a_record_that_is_no_plain_value_is_refused() -> None:
    assert "cannot be read" in refusal((1).to_bytes(4, "big") + b"\xff")
