"""A run is entries each of which would have passed alone; anything that would not is no run."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest

from score.runs import RUN_BYTES_MAX, RUN_ENTRIES_MIN, read_entries
from score_server.wire.entry import Entry, decode_entry, encode_entry

ADA, BOB = b"a" * 16, b"b" * 16


def fields(count: int = 8) -> list[list[Any]]:
    """Entries behind position 5."""
    return [
        [10 * i + 7, 10 * i - 3 if i else 5, 1000 + i, BOB if i % 2 else ADA, i + 1, "ada", b"\x80"]
        for i in range(count)
    ]


def test_a_run_is_read_as_each_entry_would_be() -> None:
    entries = [Entry._make(row) for row in fields()]
    run = read_entries([encode_entry(entry) for entry in entries], 5)
    assert run is not None
    assert [Entry._make(row) for row in run.rows] == entries
    assert run.changes == [[]] * len(entries)
    assert run.position == entries[-1].position
    assert run.sessions == (ADA, BOB) * 4


def test_an_entry_of_a_run_is_found_by_its_name() -> None:
    run = read_entries(list(map(cbor2.dumps, fields())), 5)
    assert run is not None
    assert (run.find(ADA, 1), run.find(BOB, 4), run.find(ADA, 7)) == (0, 3, 6)
    assert run.find(ADA, 2) is None  # BOB's
    assert run.find(b"c" * 16, 1) is None


def test_equal_payloads_are_decoded_once_and_each_stands_in_its_place() -> None:
    rows = fields()
    for row, payload in zip(rows, (b"\x80", b"\x01", b"\x80", b"\x02") * 2, strict=True):
        row[6] = payload
    run = read_entries(list(map(cbor2.dumps, rows)), 5)
    assert run is not None
    assert run.changes == [[], 1, [], 2] * 2
    assert run.changes[0] is run.changes[6]
    for number, row in enumerate(rows):
        row[6] = cbor2.dumps(number)
    run = read_entries(list(map(cbor2.dumps, rows)), 5)
    assert run is not None
    assert run.changes == list(range(8))
    for row in rows:
        row[6] = b"\xff"
    assert read_entries(list(map(cbor2.dumps, rows)), 5) is None


def test_few_entries_and_large_ones_are_no_run() -> None:
    few = fields()[: RUN_ENTRIES_MIN - 1]
    assert read_entries(list(map(cbor2.dumps, few)), 5) is None
    large = fields()
    large[0][6] = bytes(RUN_BYTES_MAX)
    assert read_entries(list(map(cbor2.dumps, large)), 5) is None


@pytest.mark.parametrize(
    ("index", "field", "value"),
    [
        (0, 0, 0),
        (0, 0, 17),
        (1, 0, True),
        (1, 1, 8),
        (0, 1, 4),
        (7, 0, 2**63),
        (7, 0, 67),
        (2, 2, -1),
        (2, 2, 2**63),
        (2, 2, None),
        (3, 3, b"short"),
        (3, 3, "a" * 16),
        (3, 3, [1]),
        (4, 4, 0),
        (4, 4, 2**63),
        (4, 4, 1.0),
        (5, 5, b"ada"),
        (5, 5, "x" * 65_536),
        (5, 5, "ä" * 32_768),
        (6, 6, "\x80"),
        (6, 6, b""),
        (6, 6, b"\x80\x80"),
        (6, 6, b"\x82\x80"),
        (6, 6, b"\xa0"),
        (6, 6, b"\x81" * 80 + b"\x80"),
        (6, 6, b"\xc0\x80"),
    ],
)
def test_a_fault_in_one_entry_makes_no_run(index: int, field: int, value: object) -> None:
    rows = fields()
    rows[index][field] = value
    assert read_entries(list(map(cbor2.dumps, rows)), 5) is None


@pytest.mark.parametrize(
    "bad",
    [b"", b"\x80", b"\xf6", b"\xff", b"\x87", cbor2.dumps(fields()[3] + [1]), b"\x80\x80"],
)
def test_bytes_that_are_no_entry_make_no_run(bad: bytes) -> None:
    encoded = list(map(cbor2.dumps, fields()))
    encoded[3] = bad
    assert read_entries(encoded, 5) is None


def test_an_entry_ends_where_its_bytes_do() -> None:
    encoded = list(map(cbor2.dumps, fields()))
    for cut in range(1, len(encoded[3])):
        moved = [*encoded[:3], encoded[3][:cut], encoded[3][cut:] + encoded[4], *encoded[5:]]
        assert read_entries(moved, 5) is None
        longer = [*encoded[:3], encoded[3] + encoded[4][:cut], encoded[4][cut:], *encoded[5:]]
        assert read_entries(longer, 5) is None


def test_the_ends_of_the_ranges_are_within_a_run() -> None:
    rows = fields()
    rows[-1][0] = rows[3][2] = rows[4][4] = 2**63 - 1
    rows[5][2], rows[6][5], rows[7][5] = 0, "", "ä"
    encoded = list(map(cbor2.dumps, rows))
    for one in encoded:
        decode_entry(one)
    assert read_entries(encoded, 5) is not None
