"""Whether this process is still the one that something was made in, without asking the kernel.

``os.getpid`` is a system call each time.  A socket, a session and a lock that a parent has made are not
its child's to use, so every call has to look.
"""

from __future__ import annotations

import os


class Process:
    """The process that this code runs in.

    Attributes:
        generation: how many forks lie between it and the one that has imported this module.
    """

    __slots__ = ("generation",)

    def __init__(self) -> None:
        self.generation = 0

    def _begin(self) -> None:
        """This is a child now."""
        self.generation += 1


PROCESS = Process()
os.register_at_fork(after_in_child=PROCESS._begin)
