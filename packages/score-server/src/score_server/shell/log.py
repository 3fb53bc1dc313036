"""Log lines: one event a line, readable, on stderr; nothing that a client sends can forge one.

Group names, labels and error texts come from outside and end up in messages.  Escaping each at
its place is forgotten sooner or later, so the formatter does it for whole lines: what is not printable
(line ends, terminal escapes, bidirectional overrides, lone surrogates) comes out as ``\\x0a``,
``\\u202e``.  A traceback's lines follow their event indented, so none can pass for an event.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO

logger = logging.getLogger("score_server")


def printable(text: str) -> str:
    """*text* in one line: backslash escapes in place of what is not printable."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(ord(c)) for c in text)


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class LineFormatter(logging.Formatter):
    """``2026-01-31 12:00:00.123Z INFO     text``, in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        text = printable(record.getMessage())
        line = f"{when}.{int(record.msecs):03d}Z {record.levelname:<8} {text}"
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            line += "".join(f"\n    {printable(part)}" for part in trace.splitlines())
        return line


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send this package's log from *level* on to *stream* (stderr), and nowhere else."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(LineFormatter())
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
