"""A client that makes snapshots of what the workers change, again and again, in small pieces.

As a program:  python compactor.py URL DONE ROUNDS

*ROUNDS* 0: until it is killed.  Each snapshot that it made is a line in *DONE*: group, position, floor.  Its clients are
``score compact``'s (``score.tools.compaction``); only the pieces are smaller, so that there are many.
"""

from __future__ import annotations

import itertools
import os
import sys

import score
from score.tools import compaction

GROUPS = ("values", "counts")
CHUNK_BYTES = 400
START_S_MAX = 60.0


def main(url: str, done: str, rounds: str) -> None:
    compaction.CHUNK_BYTES = CHUNK_BYTES
    file = os.open(done, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    with (
        score.connect(url, timeout=START_S_MAX, wait=START_S_MAX) as client,
        score.connect(url, timeout=START_S_MAX, wait=START_S_MAX) as checker,
    ):
        for group in itertools.islice(itertools.cycle(GROUPS), 2 * int(rounds) or None):
            made = compaction.compact(client, checker, group)
            if made is not None:
                os.write(file, f"{group} {made.position} {made.floor}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
