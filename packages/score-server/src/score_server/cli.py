"""``score-server``: the command line; the meaning of the exit status is in ``--help``.

trio and the stores are imported only after the command line made sense.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .config import Config, ConfigError, parse, parse_fsck


def main(argv: Sequence[str] | None = None) -> int:
    """Run a server as *argv* (default: the process's own) says, until it is told to stop; or check a store.

    Returns the exit status.  What is wrong is said in one line on stderr, without a traceback.
    """
    given = sys.argv[1:] if argv is None else argv
    try:
        if given[:1] == ["fsck"]:
            return _fsck(parse_fsck(given[1:]))
        return _run(parse(given, os.environ))
    except ConfigError as error:
        return _complain(str(error), 2)
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


def _fsck(path: str) -> int:
    from .shell.log import printable
    from .stores.base import StoreUnusable
    from .stores.fsck import fsck

    try:
        return 0 if fsck(path, lambda text: print(printable(text), flush=True)) else 1
    except StoreUnusable as error:
        return _complain(printable(str(error)), 1)


def _complain(text: str, status: int) -> int:
    print(f"score-server: {text}", file=sys.stderr, flush=True)
    return status
