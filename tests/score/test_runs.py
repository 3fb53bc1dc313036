"""A run is entries each of which would have passed alone; anything that would not is no run."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score.runs import (
    RUN_BYTES_MAX,
    RUN_ENTRIES_MAX,
    RUN_ENTRIES_MIN,
    EntryRun,
    decode_payloads,
    read_changes,
    read_entries,
    run_length,
)
from score_server.wire.entry import Entry, decode_entry, encode_entry
from ucore.runs import Run

ADA, BOB = b"a" * 16, b"b" * 16


def fields(count: int = 8) -> list[list[Any]]:
    """Entries behind position 5."""
    return [
        [10 * i + 7, 10 * i - 3 if i else 5, 1000 + i, BOB if i % 2 else ADA, i + 1, "ada", b"\x80"]
        for i in range(count)
    ]


def rows_of(run: EntryRun) -> list[Entry]:
    return list(map(Entry._make, zip(*run, strict=True)))


def test_a_run_is_read_as_each_entry_would_be() -> None:
    entries = [Entry._make(row) for row in fields()]
    run = read_entries([encode_entry(entry) for entry in entries], 5)
    assert run is not None
    assert rows_of(run) == entries
    assert rows_of(run.part(2, 5)) == entries[2:5]


def test_an_entry_of_a_run_is_found_by_its_name() -> None:
    run = read_entries(list(map(cbor2.dumps, fields())), 5)
    assert run is not None
    assert (run.find(ADA, 1), run.find(BOB, 4), run.find(ADA, 7)) == (0, 3, 6)
    assert run.find(ADA, 2) is None  # BOB's
    assert run.find(b"c" * 16, 1) is None


# ---------------------------------------------------------------- payloads


def payloads(*ops: list[Any]) -> list[bytes]:
    return [cbor2.dumps([1, op]) for op in ops]


@pytest.mark.parametrize(
    ("ops", "run"),
    [
        ([[1, 0, 0, "a", 1]], Run(1, (0, 0), ["a"], [1])),
        ([[1, 300, 70_000, "a", 1], [1, 300, 70_000, "b", None]], Run(1, (300, 70_000), ["a", "b"], [1, None])),
        ([[1, 0, 0, "a", 1]] * 3, Run(1, (0, 0), ["a"] * 3, [1] * 3)),
        ([[1, 0, 0, "a", 1], [1, 0, 0, "b", 1], [1, 0, 0, "a", 1]], Run(1, (0, 0), ["a", "b", "a"], [1] * 3)),
        ([[16, 5, 1, "x"], [16, 5, 1, 2.5]], Run(16, (5, 1), (), ["x", 2.5])),
        ([[8, 0, 0, 1, 7], [8, 0, 0, "n", -7]], Run(8, (0, 0), [1, "n"], [7, -7])),
    ],
)  # fmt: skip
def test_changes_of_one_kind_on_one_node_are_a_run(ops: Any, run: Run) -> None:
    assert read_changes(payloads(*ops)) == run


GOOD = cbor2.dumps([1, [1, 0, 0, "a", 1]])


@pytest.mark.parametrize(
    "other",
    [
        b"", b"\x80", GOOD[:-1], GOOD + b"\x00", GOOD[:4],
        *payloads(
            [1, 0, 0, "a", [2, 1]], [1, 0, 0, "a", [33]], [1, 0, 0, [2, 1], 1], [1, 0, 0, 1.5, 1], [1, 0, 1, "a", 1],
            [1, 1, 0, "a", 1], [1, 0, 0, "a", 2**63], [8, 0, 0, "a", 1], [16, 0, 0, "a"], [7, 0, 0], [2, 0, 0, "a"],
            [1, 0, 0, "a"], [1, 0, 0, "a", 1, 2], [6, 0, 0, "a", 1, "b", 2],
        ),
        cbor2.dumps([2, [1, 0, 0, "a", 1]]), cbor2.dumps([1, [1, 0, 0, "a", 1], [1, 0, 0, "a", 1]]),
        bytes.fromhex("82018501f400616101"), bytes.fromhex("82018501"), bytes.fromhex("8201850100"),
        bytes.fromhex("820185011b00"), bytes.fromhex("82018501000061 61f7"), bytes.fromhex("82018501000061 61a0"),
    ],
)  # fmt: skip
def test_changes_with_another_one_among_them_are_no_run(other: bytes) -> None:
    assert read_changes([GOOD] * 3) is not None
    for at in range(3):
        assert read_changes([*[GOOD] * at, other, *[GOOD] * (2 - at)]) is None


@settings(derandomize=True, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                GOOD,
                *payloads(
                    [1, 0, 0, "b", 2.5],
                    [1, 0, 0, 2, b"x"],
                    [8, 0, 0, "a", 1],
                    [16, 0, 0, "a"],
                    [1, 0, 0, "a", [33]],
                ),
            ]
        ),
        min_size=1,
    )
)
def test_a_run_says_what_each_of_its_payloads_does(some: list[bytes]) -> None:
    run, plains = read_changes(some), decode_payloads(some)
    assert plains == list(map(cbor2.loads, some))
    if run is not None:
        columns = [run.keys, run.values] if run.keys else [run.values]
        said = [[1, [run.code, *run.target, *row]] for row in zip(*columns, strict=True)]
        assert repr(said) == repr(plains)


def test_what_one_of_the_payloads_does_not_say_is_asked_of_each() -> None:
    assert decode_payloads([GOOD, b"\xff"]) is None


# ---------------------------------------------------------------- what is no run


@pytest.mark.parametrize(
    ("sizes", "length"),
    [
        ([1], RUN_ENTRIES_MAX),
        ([74] * 9, 436),
        ([300] * 9, 108),
        ([100, 500], 108),
        ([0] * 9, RUN_ENTRIES_MAX),
        ([10**6] * 9, RUN_ENTRIES_MIN),
    ],
)
def test_a_run_is_as_long_as_its_entries_are_small(sizes: list[int], length: int) -> None:
    assert run_length([bytes(size) for size in sizes]) == length


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
        (3, 3, 7),
        (5, 5, 1),
        (6, 6, None),
        (6, 6, []),
        (5, 5, "x" * 65_536),
        (5, 5, "ä" * 32_768),
        (6, 6, "\x80"),
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
