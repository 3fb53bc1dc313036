"""Damage in SQLite's write-ahead log that SQLite takes for a torn end.

SQLite ends its log at the first frame that fails its checksum: that is how it forgets what was being
written when the power went.  A bit that flips in the middle looks the same, and SQLite would silently forget every
commit behind it.  Here the two are told apart, before SQLite sees the file:

- A commit is written only after the one before it was synced.  So behind a frame that was torn there
  is at most the rest of that one commit, its own last frame included, and nothing that was written after it.
- A frame's checksum continues its predecessor's.  So a frame that fits the stored checksum of a commit's last
  frame was written after that commit.
- The disk writes sectors.  A frame's head that lies in two of them can be an older frame's in front and its own
  behind: what it says of a commit counts only if its checksum is right.

Hence: a last frame of a commit behind the end that SQLite sees, with a frame that fits behind it, is
damage.  What cannot be told from a torn end: damage in the very last commit, and a log that was cut off or
removed; clients that have seen more are then refused (``GroupReplaced``), as with any older backup.

The format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

from __future__ import annotations

import struct

_HEADER = struct.Struct(">8I")  # magic, version, page size, number, two salts, checksum
_FRAME = struct.Struct(
    ">6I"
)  # page, pages of the database after a commit or 0, two salts, checksum
_MAGIC = 0x377F0682  # the lowest bit: the checksum reads its words in big-endian order
_PAGE_BYTES = 4096  # SQLite's own, for when the header is the damaged part
_SECTOR_BYTES = 512  # or a multiple

Sums = tuple[int, int]


def damage(log: bytes) -> str | None:
    """What is damaged in *log*, the bytes of a ``-wal`` file; None if it is whole or has a torn end."""
    if len(log) < _HEADER.size:
        return None
    magic, _, page_bytes, _, *salts, _, _ = _HEADER.unpack_from(log)
    order = ">" if magic == _MAGIC | 1 else "<"
    sums = _sums(order, log[: _HEADER.size - 8], (0, 0))
    fits = magic | 1 == _MAGIC | 1 and sums == _HEADER.unpack_from(log)[6:]
    if not fits:
        page_bytes, order = _PAGE_BYTES, "="  # as this machine has written it
        salts = list(
            _FRAME.unpack_from(log.ljust(_HEADER.size + _FRAME.size, b"\0"), _HEADER.size)[2:4]
        )
    size = _FRAME.size + page_bytes
    bad = None if fits else 0  # the first byte of what does not fit
    behind_commit = False  # whether the frame before, behind the bad one, was the last of a commit
    for at in range(_HEADER.size, len(log) - size + 1, size):
        _, commit, *own, first, second = _FRAME.unpack_from(log, at)
        content = log[at : at + 8], log[at + _FRAME.size : at + size]
        good = own == salts and (first, second) == _sums(
            order, content[1], _sums(order, content[0], sums)
        )
        if bad is None and not good:
            bad = at
        if bad is not None and good and behind_commit:
            return f"the bytes from {bad} on are not as they were written, and commits stand behind them"
        of_one_time = good or at % _SECTOR_BYTES <= _SECTOR_BYTES - _FRAME.size
        behind_commit = bad is not None and own == salts and commit > 0 and of_one_time
        sums = (first, second)
    return None


def _sums(order: str, data: bytes, sums: Sums) -> Sums:
    a, b = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for i in range(0, len(words), 2):
        a = (a + words[i] + b) & 0xFFFFFFFF
        b = (b + words[i + 1] + a) & 0xFFFFFFFF
    return a, b
