"""Frames: a length of four bytes, big-endian, and a body, which is one array of messages.

``FrameBuffer`` cuts frames out of the bytes as they come.  Bytes are appended once and cut once, so
a peer that sends a byte at a time costs no more than one that sends all at once; a length over the
limit is refused as soon as it can be read, before anything is kept for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

import cbor2

from .errors import RemoteProtocolError
from .fields import to_plain
from .messages import CODES, MALFORMED, TOO_LARGE, Entries, Message

_LENGTH = Struct(">I")
LENGTH_BYTES = _LENGTH.size
# The head of the body's array: at most this long for any number of messages a frame can hold.
_ARRAY_HEAD_BYTES_MAX = 5


class FrameBuffer:
    """Bytes that have come and were not yet cut into frames."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data)

    def append(self, data: bytes) -> None:
        self._data += data

    def clear(self) -> None:
        self._data.clear()

    def next_body(self, bytes_max: int) -> bytes | None:
        """Cut the next frame's body off; None when it is not complete.

        Raises:
            RemoteProtocolError: TOO_LARGE when it declares more than *bytes_max*, MALFORMED when it
                declares nothing.
        """
        data = self._data
        if len(data) < LENGTH_BYTES:
            return None
        (length,) = _LENGTH.unpack_from(data)
        if length > bytes_max:
            raise RemoteProtocolError(TOO_LARGE, f"a frame of {length} bytes, {bytes_max} allowed")
        if length == 0:
            raise RemoteProtocolError(MALFORMED, "an empty frame")
        end = LENGTH_BYTES + length
        if len(data) < end:
            return None
        with memoryview(data) as view:
            body = bytes(view[LENGTH_BYTES:end])
        del data[:end]  # moves a pointer, not the rest
        return body


def encode_message(message: Message) -> bytes:
    """*message* as it stands inside a frame.

    Raises:
        FieldError: a field holds what it may not.
    """
    # Resume and Limits are tuples to cbor2, so arrays.
    return cbor2.dumps(to_plain(message))


def encode_entries_message(channel: int, entries: list[bytes]) -> bytes:
    """``encode_message(Entries(channel, entries))`` without checking each entry again.

    An entry is copied as it is (measured: 40 ns each), never decoded or encoded.
    """
    return cbor2.dumps([CODES[Entries], channel, entries])


def encode_frames(messages: Iterable[bytes], bytes_max: int) -> bytes:
    """Encoded messages in one frame, or in as many as it takes with bodies of up to *bytes_max*.

    Every message fits into a frame of its own (``message_bytes_max``).
    """
    out: list[bytes] = []
    batch: list[bytes] = []
    size = 0
    for message in messages:
        if batch and size + len(message) > bytes_max - _ARRAY_HEAD_BYTES_MAX:
            _close_frame(out, batch, size)
            batch, size = [], 0
        batch.append(message)
        size += len(message)
    if batch:
        _close_frame(out, batch, size)
    return b"".join(out)


def message_bytes_max(frame_bytes_max: int) -> int:
    """The longest encoded message that a frame of *frame_bytes_max* holds."""
    return frame_bytes_max - _ARRAY_HEAD_BYTES_MAX


def _close_frame(out: list[bytes], batch: list[bytes], size: int) -> None:
    head = array_head(len(batch))
    out.append(_LENGTH.pack(len(head) + size))
    out.append(head)
    out.extend(batch)


def array_head(count: int) -> bytes:
    """The head of a CBOR array of *count* items, in the shortest form."""
    if count < 24:
        return bytes([0x80 | count])
    if count < 1 << 8:
        return bytes([0x98, count])
    if count < 1 << 16:
        return b"\x99" + count.to_bytes(2, "big")
    return b"\x9a" + count.to_bytes(4, "big")
