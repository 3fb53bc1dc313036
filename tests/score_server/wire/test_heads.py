"""Heads put together by hand are those of the library."""

from __future__ import annotations

import cbor2
import pytest

from score_server.wire.heads import ARRAY, BYTES, INTEGER, TEXT_STRING, head

EDGES = [0, 1, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1, 2**64 - 1]


@pytest.mark.parametrize("number", EDGES)
def test_an_integer_is_its_head(number: int) -> None:
    assert head(number) == head(number, INTEGER) == cbor2.dumps(number)


@pytest.mark.parametrize("number", EDGES[:8])
def test_lengths_are_in_the_shortest_form(number: int) -> None:
    assert head(number, BYTES) + bytes(number) == cbor2.dumps(bytes(number))
    assert head(number, TEXT_STRING) + b"a" * number == cbor2.dumps("a" * number)
    assert head(number, ARRAY) + bytes(number) == cbor2.dumps([0] * number)
