"""Framing: cutting frames out of a stream, and putting messages into frames."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_server.wire.errors import RemoteProtocolError
from score_server.wire.fields import FieldError, read_count, read_message
from score_server.wire.frames import (
    FrameBuffer,
    array_head,
    encode_entries_message,
    encode_frames,
    encode_message,
    message_bytes_max,
)
from score_server.wire.messages import MALFORMED, TOO_LARGE, Entries, Message, Ping

from .golden import BATCH, GOLDEN

MIB = 1 << 20


def messages_of(body: bytes) -> list[Message]:
    count, at = read_count(body)
    found = []
    for _ in range(count):
        message, at = read_message(body, at)
        found.append(message)
    assert at == len(body)
    return found


def bodies(data: bytes) -> list[bytes]:
    buffer = FrameBuffer()
    buffer.append(data)
    found = []
    while (body := buffer.next_body(MIB)) is not None:
        found.append(body)
    assert len(buffer) == 0
    return found


@pytest.mark.parametrize("name", GOLDEN)
def test_a_message_in_its_frame_is_these_bytes(name: str) -> None:
    message, encoded = GOLDEN[name]
    assert encode_frames([encode_message(message)], MIB).hex() == encoded


@pytest.mark.parametrize("name", GOLDEN)
def test_these_bytes_split_anywhere_are_the_message(name: str) -> None:
    message, encoded = GOLDEN[name]
    data = bytes.fromhex(encoded)
    for cut in range(1, len(data)):
        buffer = FrameBuffer()
        buffer.append(data[:cut])
        assert buffer.next_body(MIB) is None
        assert len(buffer) == cut
        buffer.append(data[cut:])
        body = buffer.next_body(MIB)
        assert body is not None
        assert messages_of(body) == [message]


def test_a_batch_is_these_bytes() -> None:
    messages, encoded = BATCH
    assert encode_frames(map(encode_message, messages), MIB).hex() == encoded
    assert messages_of(bodies(bytes.fromhex(encoded))[0]) == messages


def test_a_length_over_the_limit_is_refused_with_its_first_four_bytes() -> None:
    buffer = FrameBuffer()
    buffer.append(b"\x00\x00\x00\x09")
    with pytest.raises(RemoteProtocolError, match="a frame of 9 bytes, 8 allowed") as caught:
        buffer.next_body(8)
    assert caught.value.code == TOO_LARGE
    assert FrameBuffer().next_body(8) is None


def test_a_frame_at_the_limit_passes() -> None:
    buffer = FrameBuffer()
    buffer.append(b"\x00\x00\x00\x08" + bytes(8))
    assert buffer.next_body(8) == bytes(8)


def test_an_empty_frame_is_refused() -> None:
    buffer = FrameBuffer()
    buffer.append(bytes(4))
    with pytest.raises(RemoteProtocolError, match="an empty frame") as caught:
        buffer.next_body(8)
    assert caught.value.code == MALFORMED


def test_cleared_it_holds_nothing() -> None:
    buffer = FrameBuffer()
    buffer.append(b"\x00\x00")
    buffer.clear()
    assert len(buffer) == 0


def fastest(cost: Callable[[int], float], size: int) -> float:
    """This process's own time, the best of three, so that busy neighbours do not matter."""
    return max(min(cost(size) for _ in range(3)), 0.001)


def test_dribbled_bytes_cost_no_more_than_linear_time() -> None:
    def cost(size: int) -> float:
        buffer = FrameBuffer()
        buffer.append((16 * MIB).to_bytes(4, "big"))
        began = time.process_time()
        for _ in range(size):
            buffer.append(b"x")
            assert buffer.next_body(16 * MIB) is None
        return time.process_time() - began

    # Sixteen times the bytes: 16 times the work, 256 times if it were quadratic.
    assert fastest(cost, 160_000) < 64 * fastest(cost, 10_000)


def test_many_small_frames_at_once_cost_no_more_than_linear_time() -> None:
    def cost(count: int) -> float:
        buffer = FrameBuffer()
        buffer.append(b"\x00\x00\x00\x04\x81\x82\x09\x01" * count)
        began = time.process_time()
        while buffer.next_body(MIB) is not None:
            pass
        return time.process_time() - began

    assert fastest(cost, 160_000) < 64 * fastest(cost, 10_000)


@pytest.mark.parametrize("entries", [[b"a"], [b"a", b"b" * 300], [bytes(24)] * 1000])
def test_splicing_entries_gives_the_bytes_of_the_message(entries: list[bytes]) -> None:
    assert encode_entries_message(3, entries) == encode_message(Entries(3, entries))


def test_encoding_checks_the_fields() -> None:
    with pytest.raises(FieldError):
        encode_message(Ping(-1))


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
@given(st.lists(st.integers(1, 30), max_size=80), st.integers(35, 200))
def test_frames_hold_all_messages_in_order_and_none_is_too_long(
    sizes: list[int], bytes_max: int
) -> None:
    assert max(sizes, default=0) <= message_bytes_max(bytes_max)
    messages = [bytes([0x40 + size - 1]) + b"x" * (size - 1) for size in sizes if size < 24]
    found = bodies(encode_frames(messages, bytes_max))
    assert all(len(body) <= bytes_max for body in found)
    assert b"".join(body[len(array_head(read_count(body)[0])) :] for body in found) == b"".join(
        messages
    )
    assert sum(read_count(body)[0] for body in found) == len(messages)


def test_messages_that_fit_share_one_frame() -> None:
    assert len(bodies(encode_frames([b"\x01"] * 1000, MIB))) == 1
    assert encode_frames([], MIB) == b""
