"""Room in SQLite's write-ahead log: made ahead of time, and used again.

A sync of a file that has grown must write the file's length and place as well, through the file system's own journal: 160 us
and 110 of processor time where a sync of overwritten bytes takes 105 and 78 (ext4).  So

- the file is never shortened after a checkpoint: SQLite begins at its front again (and tells frames that are left there from
  new ones by the salts in each);
- until it is as large as it may become, zeros are written behind its end, ``_GROWN_FRAMES`` at a time: a commit finds them
  there, and the sync of the first one covers them.  SQLite ends its log at zeros as it does at the end of the file.

How far SQLite has come it does not say.  But what stands near the end of the file changes when SQLite gets there: one short
read before a commit.
"""

from __future__ import annotations

import os
from contextlib import suppress

_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_GROWN_FRAMES = 64
_SPARE_FRAMES = 16  # a commit of a few entries writes three or four


class LogRoom:
    """The log at *path*, which is there, of a database with pages of *page_bytes*."""

    def __init__(self, path: str, page_bytes: int) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._frame = _FRAME_HEADER_BYTES + page_bytes
        self._mark: tuple[int, bytes] | None = None  # a place, and what stands there

    def is_enough(self) -> bool:
        """Whether the next commit will probably fit in what is there."""
        if self._mark is None:
            return False
        at, before = self._mark
        return os.pread(self._file, _FRAME_HEADER_BYTES, at) == before

    def size(self) -> int:
        return os.lseek(self._file, 0, os.SEEK_END)

    def grow(self, bytes_max: int) -> None:
        """Make room behind the end of the file, up to *bytes_max*."""
        size = self.size()
        frames = min(self._frames(bytes_max - size), _GROWN_FRAMES)
        with suppress(OSError):  # if the disk is full, or bad, the commit itself will show it
            os.pwrite(self._file, bytes(frames * self._frame), size)
        # Not before the old end: SQLite may have been there already.
        self._watch(max(self._frames(size), self._frames(self.size()) - _SPARE_FRAMES))

    def begin_anew(self, bytes_max: int) -> None:
        """After a checkpoint: SQLite will begin at the front again, and go to *bytes_max*."""
        frames = self._frames(min(self.size(), bytes_max))
        self._watch(max(0, frames - min(_SPARE_FRAMES, frames // 2)))

    def _frames(self, size: int) -> int:
        return max(0, size - _HEADER_BYTES) // self._frame

    def _watch(self, frame: int) -> None:
        at = _HEADER_BYTES + frame * self._frame
        self._mark = at, os.pread(self._file, _FRAME_HEADER_BYTES, at)

    def close(self) -> None:
        os.close(self._file)
