"""A bar on a terminal while something long is loaded; nothing where there is no terminal."""

from __future__ import annotations

import sys
from typing import TextIO

WIDTH = 30
_CLEAR = "\r\x1b[K"


class Bar:
    """Called with what is done and what there is, it draws itself when that changed its look."""

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        self._what = what
        self._stream = sys.stderr if stream is None else stream
        self._shown = ""

    def __call__(self, done: int, total: int) -> None:
        """*done* of *total*, in any unit."""
        if not self._stream.isatty():
            return
        share = min(done / total, 1.0) if total > 0 else 1.0
        filled = round(WIDTH * share)
        text = f"{self._what} [{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%}"
        if text != self._shown:
            self._stream.write(_CLEAR + text)
            self._stream.flush()
            self._shown = text

    def close(self) -> None:
        """Take the bar away again."""
        if self._shown:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._shown = ""

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
