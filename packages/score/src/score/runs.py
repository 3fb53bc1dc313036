"""Entries read many at a time: what a replay of a long log spends its time on.  Sans-IO.

One call of the decoder for a run of entries, and one for their payloads, cost a quarter of two for each
entry, and checking a column of fields a tenth of checking each.  Whatever is not quite as it should be is
no run: it is then read entry by entry (``replica.Replica.receive``), which says what is wrong with which.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Final, NamedTuple

from score_server.wire.codec import INT_MAX, decode_each_loosely
from score_server.wire.entry import SESSION_BYTES, Entry

from .payload import PAYLOAD_DEPTH_MAX

# Below, one by one is as fast.  Above, a run's lists (three an entry) are so many that the garbage collector
# looks at each of them (700); two of this are about what servers read at a time.
RUN_ENTRIES_MIN, RUN_ENTRIES_MAX = 6, 160
# From here on it pays to try whether entries that have been read can be applied in one go.
PART_ENTRIES_MIN = 4
# Larger changes take their time elsewhere, and what is built from a run has to stay small.
RUN_BYTES_MAX = 64 * 1024

_TYPES: Final = [int, int, int, bytes, int, str, bytes]


class EntryRun(NamedTuple):
    """Entries that follow each other without a gap."""

    rows: list[list[Any]]  # each an entry's fields
    # What their payloads decode to, which nobody has looked at; equal payloads give one and the same.
    changes: list[object]
    sessions: tuple[bytes, ...]  # whose each of them is

    @property
    def position(self) -> int:
        """Of the last one."""
        return self.rows[-1][0]  # type: ignore[no-any-return]

    def find(self, session: bytes, seq: int) -> int | None:
        """Which of them has this name, if one has."""
        if session in self.sessions:
            for index, row in enumerate(self.rows):
                if row[3] == session and row[4] == seq:
                    return index
        return None


def read_entries(encoded: list[bytes], predecessor: int) -> EntryRun | None:
    """The run that these entries are, if they are one that begins behind *predecessor*."""
    if len(encoded) < RUN_ENTRIES_MIN or sum(map(len, encoded)) > RUN_BYTES_MAX:
        return None
    rows: Any = decode_each_loosely(encoded, depth_max=1)
    if (
        rows is None
        or set(map(type, rows)) != {list}
        or set(map(len, rows)) != {len(Entry._fields)}
    ):
        return None
    if list(map(type, chain.from_iterable(rows))) != _TYPES * len(rows):
        return None
    columns: Any = tuple(zip(*rows, strict=True))
    # A label that is too long does not fit into so few bytes.
    positions, predecessors, times, sessions, seqs, _, payloads = columns
    if predecessors != (predecessor, *positions[:-1]) or positions[0] <= predecessor:
        return None
    if list(positions) != sorted(set(positions)):
        return None
    if min(times) < 0 or min(seqs) < 1:
        return None
    if positions[-1] > INT_MAX or max(times) > INT_MAX or max(seqs) > INT_MAX:
        return None
    if set(map(len, sessions)) != {SESSION_BYTES}:
        return None
    changes = _decode_payloads(payloads)
    return None if changes is None else EntryRun(rows, changes, sessions)


def _decode_payloads(payloads: tuple[bytes, ...]) -> list[object] | None:
    if payloads.count(payloads[0]) == 1:
        return decode_each_loosely(payloads, depth_max=PAYLOAD_DEPTH_MAX)
    # Those who count on one number say the same again and again.
    different = list(dict.fromkeys(payloads))
    changes = decode_each_loosely(different, depth_max=PAYLOAD_DEPTH_MAX)
    if changes is None:
        return None
    by_payload = dict(zip(different, changes, strict=True))
    return list(map(by_payload.__getitem__, payloads))
