"""Frames: a length of four bytes, big-endian, and a body, which is one array of messages.

``FrameBuffer`` cuts frames out of the bytes as they come.  Bytes are appended once and cut once, so
a peer that sends a byte at a time costs no more than one that sends all at once; a length over the
limit is refused as soon as it can be read, before anything is kept for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct

from .errors import RemoteProtocolError
from .heads import ARRAY, head
from .messages import MALFORMED, TOO_LARGE

_LENGTH = Struct(">I")
LENGTH_BYTES = _LENGTH.size
# The head of the body's array: at most this long for any number of messages a frame can hold.
ARRAY_HEAD_BYTES_MAX = 5


class FrameBuffer:
    """Bytes that have come and were not yet cut into frames.

    What came in one piece is kept as it is; only a frame that comes in several is put together.

    *data*: nothing, if there is no more to cut; else the rest, and before it perhaps what was cut off.
    Who has nothing more to cut lets go of it: most connections are idle.
    """

    __slots__ = ("_at", "data")

    def __init__(self, data: bytes) -> None:
        self.data: bytes | bytearray = data
        self._at = 0  # what stands before has been cut off

    def __len__(self) -> int:
        return len(self.data) - self._at

    def append(self, data: bytes) -> None:
        if isinstance(self.data, bytes):
            self.data = bytearray(self.data)
        self.data += data

    def next_body(self, bytes_max: int) -> bytes | None:
        """Cut the next frame's body off; None when it is not complete.

        Raises:
            RemoteProtocolError: TOO_LARGE when it declares more than *bytes_max*, MALFORMED when it
                declares nothing.
        """
        data, start = self.data, self._at + LENGTH_BYTES
        if len(data) < start:
            self._wait_for_more()
            return None
        (length,) = _LENGTH.unpack_from(data, self._at)
        if length > bytes_max:
            raise RemoteProtocolError(TOO_LARGE, f"a frame of {length} bytes, {bytes_max} allowed")
        if length == 0:
            raise RemoteProtocolError(MALFORMED, "an empty frame")
        end = start + length
        if len(data) < end:
            self._wait_for_more()
            return None
        if type(data) is bytes:
            body = data[start:end]
        else:
            with memoryview(data) as view:
                body = bytes(view[start:end])
        if end == len(data):
            self.data, self._at = b"", 0
        else:
            self._at = end
        return body

    def _wait_for_more(self) -> None:
        """Let go of what was cut off: no more may be kept than ``len`` says."""
        if self._at:
            self.data, self._at = self.data[self._at :], 0


class FrameError(ValueError):
    """A message is too long for any frame."""


Part = tuple[bytes, int, int]
"""Encoded messages that stay in one frame: their bytes, how many they are, and how many of a frame's items they count
for."""


def encode_frames(parts: Sequence[Part], bytes_max: int, items_max: int) -> bytes:
    """*parts* in one frame, or in as many as it takes with bodies of up to *bytes_max* and *items_max* items.

    Raises:
        FrameError: one of them needs more than that.
    """
    if not parts:
        return b""
    datas: list[bytes] = []
    size = count = room = 0
    for data, messages, items in parts:
        datas.append(data)
        size, count, room = size + len(data), count + messages, room + items
    first = head(count, ARRAY)
    size += len(first)
    if size <= bytes_max and room <= items_max:
        return b"".join([_LENGTH.pack(size), first, *datas])
    return _encode_split(parts, bytes_max - ARRAY_HEAD_BYTES_MAX, items_max)


def _encode_split(parts: Iterable[Part], bytes_max: int, items_max: int) -> bytes:
    """Encoded messages in frames that hold up to *bytes_max* bytes of them each."""
    out: list[bytes] = []
    batch: list[bytes] = []
    size = count = room = 0
    for data, messages, items in parts:
        if items > items_max:
            raise FrameError(f"a message of {items} items; a frame holds {items_max}")
        if len(data) > bytes_max:
            raise FrameError(f"a message of {len(data)} bytes; a frame holds {bytes_max}")
        if batch and (size + len(data) > bytes_max or items > room):
            out += _frame(batch, count, size)
            batch, size, count = [], 0, 0
        if not batch:
            room = items_max
        batch.append(data)
        size, count, room = size + len(data), count + messages, room - items
    out += _frame(batch, count, size)
    return b"".join(out)


def _frame(batch: list[bytes], count: int, size: int) -> list[bytes]:
    first = array_head(count)
    return [_LENGTH.pack(len(first) + size), first, *batch]


def array_head(count: int) -> bytes:
    """The head of a CBOR array of *count* items, in the shortest form."""
    return head(count, ARRAY)
