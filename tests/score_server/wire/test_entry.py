"""Entries: the bytes that are stored, sent and hashed."""

from __future__ import annotations

import hashlib

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_server.wire.codec import DecodeError, encode
from score_server.wire.entry import (
    ENTRY_OVERHEAD_BYTES_MAX,
    SNAPSHOT_DIGEST_BYTES,
    Entry,
    chains_behind,
    decode_entry,
    encode_entry,
    encode_run,
    next_chain,
    snapshot_digest,
)

from .golden import ENTRY, ENTRY_BYTES, ENTRY_CHAIN, INCARNATION, SESSION

TOP = 2**63 - 1
ENTRIES = st.builds(
    lambda position, gap, time_ms, seq, label, payload: Entry(
        position, max(0, position - gap), time_ms, SESSION, seq, label, payload
    ),
    st.integers(1, TOP), st.integers(1, TOP), st.integers(0, TOP), st.integers(1, TOP),
    st.text(st.characters(codec="utf-8"), max_size=30), st.binary(max_size=30),
)  # fmt: skip
FUZZ = settings(derandomize=True, max_examples=200, deadline=None)


def test_an_entry_is_these_bytes() -> None:
    assert encode_entry(ENTRY) == ENTRY_BYTES
    assert decode_entry(ENTRY_BYTES) == ENTRY


def test_the_chain_is_a_hash_over_the_chain_before_and_the_bytes() -> None:
    assert next_chain(INCARNATION, ENTRY_BYTES) == ENTRY_CHAIN
    assert next_chain(ENTRY_CHAIN, ENTRY_BYTES) != ENTRY_CHAIN
    assert next_chain(INCARNATION, ENTRY_BYTES[:-1] + b"\x00") != ENTRY_CHAIN


def test_the_chains_behind_many_entries_are_those_of_one_after_the_other() -> None:
    second = next_chain(ENTRY_CHAIN, b"another")
    assert second == hashlib.blake2b(ENTRY_CHAIN + b"another", digest_size=16).digest()
    assert chains_behind(INCARNATION, [ENTRY_BYTES, b"another"]) == [ENTRY_CHAIN, second]
    assert chains_behind(INCARNATION, []) == []


@FUZZ
@given(ENTRIES)
def test_decoding_is_the_inverse_of_encoding(entry: Entry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


@FUZZ
@given(ENTRIES, st.lists(st.binary(max_size=300), min_size=1, max_size=9))
def test_a_run_is_the_same_bytes_as_its_entries_one_by_one(
    first: Entry, payloads: list[bytes]
) -> None:
    last = len(payloads) - 1
    if max(first.position, first.seq) > TOP - last:
        with pytest.raises(ValueError, match="must be an integer"):
            encode_run(first, payloads, INCARNATION)
        return
    encoded, chains = encode_run(first, payloads, INCARNATION)
    chain, before = INCARNATION, first.predecessor
    for index, payload in enumerate(payloads):
        entry = first._replace(
            position=first.position + index, predecessor=before, seq=first.seq + index,
            payload=payload,
        )  # fmt: skip
        before, chain = entry.position, next_chain(chain, encoded[index])
        assert (decode_entry(encoded[index]), encoded[index]) == (entry, encode_entry(entry))
        assert encoded[index] == cbor2.dumps(list(entry))
        assert chains[index] == chain


def test_an_entry_is_little_longer_than_its_payload() -> None:
    largest = Entry(TOP, TOP - 1, TOP, SESSION, TOP, "l" * 255, bytes(70_000))
    overhead = len(encode_entry(largest)) - 255 - 70_000
    assert overhead < ENTRY_OVERHEAD_BYTES_MAX


WRONG = [
    ("position", 0), ("position", 2**63), ("position", True), ("position", "1"),
    ("predecessor", -1), ("predecessor", 5), ("predecessor", 4.0),
    ("time_ms", -1), ("time_ms", 2**63), ("time_ms", None),
    ("session", bytes(15)), ("session", bytes(17)), ("session", "s" * 16),
    ("seq", 0), ("seq", 2**63), ("seq", False),
    ("label", b"l"), ("label", "l" * 65_536), ("label", "\xfc" * 32_768),
    ("payload", "p"), ("payload", None),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_field_is_named_on_both_ways(field: str, value: object) -> None:
    entry = Entry(5, 4, 0, SESSION, 1, "till", b"p")._replace(**{field: value})
    with pytest.raises(ValueError, match=rf"Entry\.{field} must be"):
        encode_entry(entry)
    if not (type(value) is int and value >= 2**63):
        data = encode(list(entry))  # type: ignore[arg-type]
        with pytest.raises(DecodeError, match=rf"Entry\.{field} must be"):
            decode_entry(data)


def test_a_label_without_utf8_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Entry\.label must be"):
        encode_entry(ENTRY._replace(label="\ud800"))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x80", b"\x01", b"\xa0", ENTRY_BYTES[:-1], ENTRY_BYTES + b"\x00",
        b"\x86" + ENTRY_BYTES[1:], b"\x88" + ENTRY_BYTES[1:] + b"\xf6",
        b"\x87" + b"\x1b" + b"\xff" * 8 + ENTRY_BYTES[2:],
        b"\x87\xc2\x41\x01" + ENTRY_BYTES[2:],
    ],
)  # fmt: skip
def test_what_is_no_entry_is_one_typed_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_entry(data)


@FUZZ
@given(
    st.lists(st.tuples(st.integers(0, len(ENTRY_BYTES) - 1), st.integers(0, 255)), max_size=4),
    st.integers(0, len(ENTRY_BYTES)),
)
def test_mutated_bytes_are_an_entry_or_that_error(
    mutations: list[tuple[int, int]], length: int
) -> None:
    data = bytearray(ENTRY_BYTES)
    for at, byte in mutations:
        data[at] = byte
    for case in (bytes(data), bytes(data[:length])):
        try:
            assert isinstance(decode_entry(case), Entry)
        except DecodeError:
            pass


def test_a_snapshot_is_recognized_by_blake2b_of_the_whole() -> None:
    known = "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"
    assert snapshot_digest(b"").hex() == known
    pieces = hashlib.blake2b(b"snap", digest_size=SNAPSHOT_DIGEST_BYTES)
    pieces.update(b"shot")
    assert snapshot_digest(b"snapshot") == pieces.digest()
