"""Heads put together by hand are those of the library."""

from __future__ import annotations

import cbor2
import pytest

from score_server.wire.heads import ARRAY, BYTES, INTEGER, TEXT_STRING, head, heads, length_heads

EDGES = [0, 1, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1, 2**64 - 1]


@pytest.mark.parametrize("number", EDGES)
def test_an_integer_is_its_head(number: int) -> None:
    assert head(number) == head(number, INTEGER) == cbor2.dumps(number)


@pytest.mark.parametrize("number", EDGES[:8])
def test_lengths_are_in_the_shortest_form(number: int) -> None:
    assert head(number, BYTES) + bytes(number) == cbor2.dumps(bytes(number))
    assert head(number, TEXT_STRING) + b"a" * number == cbor2.dumps("a" * number)
    assert head(number, ARRAY) + bytes(number) == cbor2.dumps([0] * number)


@pytest.mark.parametrize("edge", EDGES)
def test_the_heads_of_a_range_are_those_of_its_numbers(edge: int) -> None:
    for numbers in (
        range(max(0, edge - 3), edge), range(edge, edge), range(edge, edge + 3),
        range(max(0, edge - 3), edge + 3),
    ):  # fmt: skip
        if numbers.stop <= 2**64:
            assert list(heads(numbers)) == [head(number) for number in numbers]


def test_byte_strings_have_heads_of_their_lengths() -> None:
    items = [bytes(size) for size in EDGES[:7]]
    assert length_heads(items) == [head(len(item), BYTES) for item in items]
