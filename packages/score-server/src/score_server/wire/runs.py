"""Runs: messages that differ from one another in little, read and written as one.

A pipelined author sends many submissions in a row, and is answered by as many ``Taken``.  To make a record of
each and to look each field up in its table costs several times what the bytes of it do.  So a server reads
what goes on from a submission by comparing bytes, and writes the answers to a run in one go.

On the wire there are no runs: they are the same bytes as the messages one by one (``each``), and whatever
does not go on exactly as the message before it is left to the reader of single messages, which names its
faults.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from typing import NamedTuple

from .fields import POSITION_MAX, read_head
from .heads import ARRAY, BYTES, head, heads
from .messages import CODES, INTENT, Message, Submit, Taken

_SUBMIT = head(len(Submit._fields) + 1, ARRAY) + head(CODES[Submit])
_TAKEN = head(len(Taken._fields) + 1, ARRAY) + head(CODES[Taken])
_INTENT_AFTER_NOTHING = head(INTENT) + head(0)


class SubmitRun(NamedTuple):
    """Intents on one channel that follow nothing: *payloads* under the names *seq*, *seq* + 1 and so on."""

    channel: int
    seq: int
    settled: int
    seen: int
    payloads: list[bytes]

    def each(self) -> Iterator[Submit]:
        """The messages that it stands for."""
        channel, first, settled, seen, payloads = self
        for seq, payload in enumerate(payloads, first):
            yield Submit(channel, seq, settled, seen, INTENT, 0, payload)


class TakenRun(NamedTuple):
    """*length* submissions from *seq* on stand at the positions from *position* on."""

    seq: int
    position: int
    length: int

    def each(self) -> Iterator[Taken]:
        """The messages that it stands for."""
        seq, position, length = self
        return map(Taken, range(seq, seq + length), range(position, position + length))

    def is_right(self) -> bool:
        """Whether all its fields are in the ranges of ``Taken``."""
        return min(self) >= 1 and max(self.seq, self.position) <= POSITION_MAX - self.length

    def encode(self) -> bytes:
        """The messages as they stand in a frame, one behind the other."""
        seq, position, length = self
        positions = heads(range(position, position + length))
        rows = zip(repeat(_TAKEN), heads(range(seq, seq + length)), positions, strict=False)
        return b"".join(chain.from_iterable(rows))


Input = Message | SubmitRun
"""What a server reads."""

Output = Message | TakenRun
"""What a server writes."""


def read_run(
    data: bytes, at: int, first: Submit, left: int, count_max: int, bytes_max: int
) -> tuple[SubmitRun | None, int]:
    """The run that *first*, which ends at *at* in a frame's body, begins with, and the place behind it.

    It is None where the next message does not go on from *first*.  *left* messages of the frame follow, of which
    the last is not read here unless the frame ends with it.  No more than *count_max* are in a run, and no
    payload of more than *bytes_max*.
    """
    if first.condition != INTENT or first.follows:
        return None, at
    before = _SUBMIT + head(first.channel)
    behind = head(first.settled) + head(first.seen) + _INTENT_AFTER_NOTHING
    payloads = [first.payload]
    add, starts_with = payloads.append, data.startswith
    end = len(data)
    seqs_end = min(first.seq + min(left + 1, count_max), POSITION_MAX + 1)
    try:
        for name in heads(range(first.seq + 1, seqs_end)):
            fixed = before + name + behind
            if not starts_with(fixed, at):
                break
            start = at + len(fixed)
            size = data[start] - BYTES
            if 0 <= size < 24:
                start += 1
            else:
                size, start = read_head(data, start, BYTES)
            stop = start + size
            if stop > end or size > bytes_max or (len(payloads) == left and stop != end):
                break
            add(data[start:stop])
            at = stop
    except (ValueError, IndexError):
        pass  # no bytes stand there: the reader of single messages says so
    if len(payloads) == 1:
        return None, at
    return SubmitRun(first.channel, first.seq, first.settled, first.seen, payloads), at
