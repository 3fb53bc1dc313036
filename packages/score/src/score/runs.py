"""Entries read many at a time: what a replay of a long log spends its time on.  Sans-IO.

One call of the decoder for a run of entries, and one for what their payloads do not have in common, cost a
quarter of two for each entry, and checking a column of fields a tenth of checking each.  Whatever is not quite
as it should be is no run: it is then read entry by entry (``replica.Replica.receive``), which says what is wrong
with which.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import lt
from typing import Any, Final, NamedTuple

from score_server.wire.codec import INT_MAX, decode_columns, decode_each_loosely
from score_server.wire.entry import SESSION_BYTES, Entry
from score_server.wire.fields import read_head
from score_server.wire.heads import ARRAYS, INTEGER, INTEGERS
from ucore.codes import OPS_VERSION
from ucore.runs import RUN_FORMS, Run, run_of

from .payload import PAYLOAD_DEPTH_MAX

# Below, one by one is as fast.  Above, nothing is won any more, and what a watch tells of a run is so much that the
# garbage collector looks at each (700).
RUN_ENTRIES_MIN, RUN_ENTRIES_MAX = 6, 512
# From here on it pays to try whether entries that have been read can be applied in one go.
PART_ENTRIES_MIN = 4
# Larger changes take their time elsewhere, and what is built from a run has to stay small.
RUN_BYTES_MAX = 64 * 1024

_ENTRY: Final = ARRAYS[len(Entry._fields)]
# What the payload of a change that a run can be made of begins with, up to its operation's code.
_OPERATIONS: Final = {
    ARRAYS[2] + INTEGERS[OPS_VERSION] + ARRAYS[items] + INTEGERS[code]: (code, items - 3)
    for code, items in RUN_FORMS.items()
}
_OPERATION_BYTES: Final = 4
assert set(map(len, _OPERATIONS)) == {_OPERATION_BYTES}


class EntryRun(NamedTuple):
    """Entries that follow each other without a gap, by columns."""

    positions: list[int]
    predecessors: list[int]
    times: list[int]
    sessions: list[bytes]
    seqs: list[int]
    labels: list[str]
    payloads: list[bytes]

    def part(self, start: int, stop: int) -> EntryRun:
        """Those from place *start* to *stop*."""
        return EntryRun._make(column[start:stop] for column in self)

    def find(self, session: bytes, seq: int) -> int | None:
        """At which place the entry of this name stands, if it is among them."""
        if session in self.sessions:
            for index, name in enumerate(zip(self.sessions, self.seqs, strict=True)):
                if name == (session, seq):
                    return index
        return None


def run_length(encoded: Sequence[bytes]) -> int:
    """How many of these entries, of which there is one at least, at a time are a run, if they are much alike."""
    size = sum(map(len, encoded)) // len(encoded)
    return max(RUN_ENTRIES_MIN, min(RUN_ENTRIES_MAX, RUN_BYTES_MAX // 2 // (size + 1)))


def read_entries(encoded: list[bytes], predecessor: int) -> EntryRun | None:
    """The run that these entries are, if they are one that begins behind *predecessor*."""
    if len(encoded) < RUN_ENTRIES_MIN or sum(map(len, encoded)) > RUN_BYTES_MAX:
        return None
    columns: Any = decode_columns(encoded, _ENTRY, len(Entry._fields))
    if columns is None:
        return None
    positions, predecessors, times, sessions, seqs, labels, payloads = columns
    numbers = list(map(type, chain(positions, predecessors, times, seqs)))
    if numbers.count(int) != len(numbers):
        return None
    try:
        (
            "".join(labels),
            b"".join(sessions),
            b"".join(payloads),
        )  # the shortest way to look at their types
    except TypeError:
        return None
    # A label that is too long does not fit into so few bytes.
    if predecessors[0] != predecessor or predecessors[1:] != positions[:-1]:
        return None
    if not all(map(lt, predecessors, positions)):
        return None
    if min(times) < 0 or min(seqs) < 1:
        return None
    if positions[-1] > INT_MAX or max(times) > INT_MAX or max(seqs) > INT_MAX:
        return None
    if set(map(len, set(sessions))) != {SESSION_BYTES}:
        return None
    return EntryRun(*columns)


def read_changes(payloads: Sequence[bytes]) -> Run | None:
    """The run of changes that these payloads, of which there is one at least, say, if they are one."""
    first = payloads[0]
    code, width = _OPERATIONS.get(first[:_OPERATION_BYTES], (0, 0))
    if not width:
        return None
    try:
        position, at = read_head(first, _OPERATION_BYTES, INTEGER)
        ordinal, at = read_head(first, at, INTEGER)
    except (ValueError, IndexError):
        return None
    count = len(payloads)
    if first == payloads[-1] and payloads.count(first) == count:
        payloads = payloads[:1]  # those who count on one number say the same again and again
    columns = decode_columns(payloads, first[:at], width)
    if columns is None:
        return None
    if len(payloads) < count:
        columns = [column * count for column in columns]
    return run_of(code, (position, ordinal), columns)


def decode_payloads(payloads: Sequence[bytes]) -> list[object] | None:
    """What each of these payloads decodes to, which nobody has looked at; None if one of them to nothing."""
    return decode_each_loosely(payloads, depth_max=PAYLOAD_DEPTH_MAX)
