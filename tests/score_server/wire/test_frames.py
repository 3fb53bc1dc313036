"""Framing: cutting frames out of a stream, and putting messages into frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_server.wire import frames
from score_server.wire.errors import RemoteProtocolError
from score_server.wire.fields import encode_message, read_count, read_message
from score_server.wire.frames import (
    FrameBuffer,
    FrameError,
    array_head,
)
from score_server.wire.messages import MALFORMED, TOO_LARGE, Message

from .golden import BATCH, GOLDEN

MIB = 1 << 20


def encode_frames(
    messages: Sequence[list[object] | Message], bytes_max: int, items_max: int = 10**6
) -> bytes:
    """*messages*, each in a part of its own that counts for one item."""
    encoded = [
        encode_message(message) if isinstance(message, tuple) else cbor2.dumps(message)
        for message in messages
    ]
    return frames.encode_frames([(data, 1, 1) for data in encoded], bytes_max, items_max)


def messages_of(body: bytes) -> list[Message]:
    count, at = read_count(body)
    found = []
    for _ in range(count):
        message, at = read_message(body, at)
        found.append(message)
    assert at == len(body)
    return found


def bodies(data: bytes) -> list[bytes]:
    buffer = FrameBuffer(data)
    found = []
    while (body := buffer.next_body(MIB)) is not None:
        found.append(body)
    assert len(buffer) == 0
    return found


@pytest.mark.parametrize("name", GOLDEN)
def test_a_message_in_its_frame_is_these_bytes(name: str) -> None:
    message, encoded = GOLDEN[name]
    assert encode_frames([message], MIB).hex() == encoded


@pytest.mark.parametrize("name", GOLDEN)
def test_these_bytes_split_anywhere_are_the_message(name: str) -> None:
    message, encoded = GOLDEN[name]
    data = bytes.fromhex(encoded)
    for cut in range(1, len(data)):
        buffer = FrameBuffer(data[:cut])
        assert buffer.next_body(MIB) is None
        assert len(buffer) == cut
        buffer.append(data[cut:])
        body = buffer.next_body(MIB)
        assert body is not None
        assert messages_of(body) == [message]


def test_a_batch_is_these_bytes() -> None:
    messages, encoded = BATCH
    assert encode_frames(messages, MIB).hex() == encoded
    assert messages_of(bodies(bytes.fromhex(encoded))[0]) == messages


@given(
    st.lists(st.binary(min_size=1, max_size=20), max_size=8),
    st.lists(st.integers(0, 200), max_size=6),
)
def test_frames_come_whole_however_the_stream_is_cut(sent: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(len(body).to_bytes(4, "big") + body for body in sent)
    buffer, found, taken = FrameBuffer(b""), [], 0
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        buffer.append(stream[start:end])
        while (body := buffer.next_body(MIB)) is not None:
            assert type(body) is bytes
            found.append(body)
            taken += 4 + len(body)
            assert len(buffer) == end - taken
    assert found == sent


def test_of_what_was_cut_off_nothing_is_kept() -> None:
    whole = b"\x00\x01\x00\x00" + bytes(65536)
    for rest in (b"\x00", b"\x00\x00\x00\x09+"):
        buffer = FrameBuffer(whole + rest)
        assert buffer.next_body(MIB) is not None
        assert buffer.next_body(MIB) is None
        assert len(buffer) == len(rest)
        assert len(buffer.data) == len(rest)


def test_a_length_over_the_limit_is_refused_with_its_first_four_bytes() -> None:
    buffer = FrameBuffer(b"\x00\x00\x00\x09")
    with pytest.raises(RemoteProtocolError, match="a frame of 9 bytes, 8 allowed") as caught:
        buffer.next_body(8)
    assert caught.value.code == TOO_LARGE
    assert FrameBuffer(b"").next_body(8) is None


def test_a_frame_at_the_limit_passes() -> None:
    buffer = FrameBuffer(b"\x00\x00\x00\x08" + bytes(8))
    assert buffer.next_body(8) == bytes(8)


def test_an_empty_frame_is_refused() -> None:
    buffer = FrameBuffer(bytes(4))
    with pytest.raises(RemoteProtocolError, match="an empty frame") as caught:
        buffer.next_body(8)
    assert caught.value.code == MALFORMED


def fastest(cost: Callable[[int], float], size: int) -> float:
    """This process's own time, the best of three, so that busy neighbours do not matter."""
    return max(min(cost(size) for _ in range(3)), 0.001)


def test_dribbled_bytes_cost_no_more_than_linear_time() -> None:
    def cost(size: int) -> float:
        buffer = FrameBuffer((16 * MIB).to_bytes(4, "big"))
        began = time.process_time()
        for _ in range(size):
            buffer.append(b"x")
            assert buffer.next_body(16 * MIB) is None
        return time.process_time() - began

    # Sixteen times the bytes: 16 times the work, 256 times if it were quadratic.
    assert fastest(cost, 160_000) < 64 * fastest(cost, 10_000)


def test_many_small_frames_at_once_cost_no_more_than_linear_time() -> None:
    def cost(count: int) -> float:
        buffer = FrameBuffer(b"\x00\x00\x00\x04\x81\x82\x09\x01" * count)
        began = time.process_time()
        while buffer.next_body(MIB) is not None:
            pass
        return time.process_time() - began

    assert fastest(cost, 160_000) < 64 * fastest(cost, 10_000)


@pytest.mark.parametrize(
    ("count", "head"),
    [
        (0, "80"), (1, "81"), (23, "97"), (24, "9818"), (255, "98ff"), (256, "990100"),
        (65_535, "99ffff"), (65_536, "9a00010000"),
    ],
)  # fmt: skip
def test_an_arrays_head_is_the_shortest(count: int, head: str) -> None:
    assert array_head(count).hex() == head


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 22), max_size=80), st.integers(35, 200))
def test_frames_hold_all_messages_in_order_and_none_is_too_long(
    sizes: list[int], bytes_max: int
) -> None:
    messages: list[list[object]] = [[number, bytes(size)] for number, size in enumerate(sizes)]
    found = bodies(encode_frames(messages, bytes_max))
    assert all(len(body) <= bytes_max for body in found)
    assert [message for body in found for message in cbor2.loads(body)] == messages
    # Greedy: two neighbours would not have fitted into one (an array's head is up to 5 bytes).
    for one, other in pairwise(found):
        first = cbor2.dumps(cbor2.loads(other)[0])
        assert len(one) + len(first) + 5 > bytes_max


def test_messages_that_fit_share_one_frame() -> None:
    assert len(bodies(encode_frames([[9, 1]] * 1000, MIB))) == 1
    assert encode_frames([], MIB) == b""
    exact = cbor2.dumps([[9, bytes(10)]] * 2)
    assert bodies(encode_frames([[9, bytes(10)]] * 2, len(exact))) == [exact]


def test_a_message_longer_than_a_frame_is_refused_wherever_it_stands() -> None:
    long: list[object] = [9, bytes(40)]
    for messages in ([long], [[9, 1], long], [long, [9, 1]]):
        with pytest.raises(FrameError, match="a message of 44 bytes; a frame holds 35"):
            encode_frames(messages, 40)


def test_frames_hold_no_more_items_than_are_allowed() -> None:
    parts = [(cbor2.dumps([9, number]), 1, number) for number in (1, 2, 3, 4)]
    found = bodies(frames.encode_frames(parts, MIB, 4))
    assert [cbor2.loads(body) for body in found] == [[[9, 1], [9, 2]], [[9, 3]], [[9, 4]]]
    with pytest.raises(FrameError, match="a message of 4 items; a frame holds 3"):
        frames.encode_frames(parts, MIB, 3)


def test_messages_that_were_encoded_as_one_count_as_many() -> None:
    run = cbor2.dumps([9, 1]) + cbor2.dumps([9, 2])
    parts = [(cbor2.dumps([9, 0]), 1, 1), (run, 2, 2), (cbor2.dumps([9, 3]), 1, 1)]
    assert bodies(frames.encode_frames(parts, MIB, 4)) == [cbor2.dumps([[9, n] for n in range(4)])]
    found = bodies(frames.encode_frames(parts, MIB, 2))
    assert [cbor2.loads(body) for body in found] == [[[9, 0]], [[9, 1], [9, 2]], [[9, 3]]]
