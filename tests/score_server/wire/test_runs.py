"""Runs: what goes on exactly as the message before it is read with it, and nothing else is."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_server.wire.fields import encode_message
from score_server.wire.messages import INTENT, STRICT, Ping, Submit, Taken
from score_server.wire.runs import SubmitRun, TakenRun, read_run

TOP = 2**63 - 1
FIRST = Submit(1, 30, 5, 7, INTENT, 0, b"a")


def after(first: Submit, *rest: bytes, left: int | None = None, count_max: int = 99,
          bytes_max: int = 99) -> tuple[SubmitRun | None, int]:  # fmt: skip
    """What is read of a frame in which *rest* follows; the place behind it is counted from there."""
    return read_run(
        b"".join(rest), 0, first, len(rest) if left is None else left, count_max, bytes_max
    )


def again(payload: bytes = b"b", seq: int = 31, **other: int) -> bytes:
    return encode_message(FIRST._replace(seq=seq, payload=payload, **other))


def test_a_run_stands_for_its_messages() -> None:
    run = SubmitRun(1, 30, 5, 7, [b"a", b"b"])
    assert list(run.each()) == [FIRST, FIRST._replace(seq=31, payload=b"b")]
    assert list(TakenRun(4, 9, 3).each()) == [Taken(4, 9), Taken(5, 10), Taken(6, 11)]


def test_what_goes_on_is_read_with_the_first() -> None:
    rest = [again(b"b"), again(bytes(30), 32), again(b"", 33)]
    run, end = after(FIRST, *rest)
    assert run == SubmitRun(1, 30, 5, 7, [b"a", b"b", bytes(30), b""])
    assert end == len(b"".join(rest))


@pytest.mark.parametrize(
    "other",
    [
        again(channel=2), again(seq=32), again(seq=30), again(settled=6), again(seen=8),
        again(condition=STRICT), again(follows=29), encode_message(Ping(1)),
        again()[:-2] + b"\x61b", again()[:-2] + b"\x5f\x41b\xff",  # no bytes, or no definite ones
        again()[:3] + b"\x19\x00\x1f" + again()[5:],  # a head that is too long
    ],
)  # fmt: skip
def test_whatever_differs_is_left_to_the_reader_of_single_messages(other: bytes) -> None:
    assert after(FIRST, other, encode_message(Ping(1))) == (None, 0)
    run, end = after(FIRST._replace(seq=29), again(seq=30), other, encode_message(Ping(1)))
    assert run is not None
    assert (len(run.payloads), end) == (2, len(again(seq=30)))


@pytest.mark.parametrize("cut", range(1, len(again())))
def test_a_message_that_is_cut_off_is_left_as_well(cut: int) -> None:
    assert after(FIRST, again()[:-cut]) == (None, 0)


def test_only_intents_that_follow_nothing_begin_a_run() -> None:
    for first in (FIRST._replace(condition=STRICT), FIRST._replace(follows=29)):
        assert after(first, encode_message(first._replace(seq=31))) == (None, 0)


def test_a_run_is_as_long_as_it_may_be() -> None:
    rest = [again(seq=seq) for seq in range(31, 40)]
    for found, _ in (after(FIRST, *rest, count_max=4), after(FIRST, *rest, left=3)):
        assert found is not None
        assert len(found.payloads) == 4 - (found.payloads == [b"a"] + [b"b"] * 2)
    assert after(FIRST, again(bytes(100)), bytes_max=99) == (None, 0)
    found, _ = after(FIRST, again(bytes(99)), bytes_max=99)
    assert found is not None


def test_a_last_message_with_bytes_behind_it_is_not_read() -> None:
    run, end = after(FIRST, again(), again(seq=32), b"?", left=2)
    assert run is not None
    assert (run.payloads, end) == ([b"a", b"b"], len(again()))


def test_no_run_goes_beyond_the_last_name() -> None:
    last = FIRST._replace(seq=TOP)
    wrong = encode_message(last)[:3] + b"\x1b\x80" + bytes(7) + encode_message(last)[12:]
    assert after(last, wrong) == (None, 0)


def test_the_answers_to_a_run_are_the_same_bytes_as_one_by_one() -> None:
    for run in (TakenRun(1, 1, 1), TakenRun(20, 250, 10), TakenRun(TOP - 5, TOP - 3, 3)):
        assert run.is_right()
        assert run.encode() == b"".join(map(encode_message, run.each()))


@pytest.mark.parametrize("run", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (TOP, 1, 1), (1, TOP, 1)])
def test_a_run_beyond_the_ranges_of_its_messages_is_not_right(run: tuple[int, int, int]) -> None:
    assert not TakenRun(*run).is_right()


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 30), st.integers(0, 5))
def test_whatever_follows_a_run_is_what_the_library_reads(junk: bytes, cut: int, more: int) -> None:
    data = b"".join([again(seq=31 + n) for n in range(more)]) + junk[:cut] + again() + junk[cut:]
    run, end = read_run(data, 0, FIRST, 99, 99, 99)
    if run is not None:
        plain = cbor2.loads(bytes([0x80 + len(run.payloads) - 1]) + data[:end])
        assert [tuple(row[1:]) for row in plain] == list(run.each())[1:]
