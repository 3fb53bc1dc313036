"""A child knows that it is one, and its parent that it is not."""

from __future__ import annotations

import os

from score.forks import PROCESS


def test_each_fork_is_counted_in_the_child_alone() -> None:
    before = PROCESS.generation
    child = os.fork()
    if not child:
        grandchild = os.fork()
        if not grandchild:
            os._exit(PROCESS.generation - before)
        _, status = os.waitpid(grandchild, 0)
        deeper = os.waitstatus_to_exitcode(status)
        os._exit(10 * (PROCESS.generation - before) + deeper)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 12
    assert PROCESS.generation == before
