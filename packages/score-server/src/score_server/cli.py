"""``score-server``: the command line; the meaning of the exit status is in ``--help``.

trio and the stores are imported only after the command line made sense.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .config import Config, ConfigError, parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run a server as *argv* (default: the process's own) says, until it is told to stop.

    Returns the exit status.  What is wrong is said in one line on stderr, without a traceback.
    """
    try:
        config = parse(sys.argv[1:] if argv is None else argv, os.environ)
    except ConfigError as error:
        return _complain(str(error), 2)
    try:
        return _run(config)
    except KeyboardInterrupt:  # before the server takes the signal over, or after it is done
        return _complain("interrupted", 130)


def _run(config: Config) -> int:
    from .shell import log
    from .shell.foreground import StartError, run

    log.configure(config.log_level)
    try:
        return run(config)
    except StartError as error:
        return _complain(log.printable(str(error)), 1)


def _complain(text: str, status: int) -> int:
    print(f"score-server: {text}", file=sys.stderr, flush=True)
    return status
