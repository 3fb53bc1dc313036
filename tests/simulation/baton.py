"""Threads of which exactly one runs: the blocking client inside a deterministic simulation.

The real client blocks in its calls, so each client process is a thread; but a thread runs only while
it holds the baton.  When it would block (``pause``) it gives the baton back to the scheduler and says
what it waits for; the scheduler decides when it goes on.  So there is no race, and one seed is one run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Crashed(BaseException):
    """The process was killed here.  No ``except Exception`` of the product may stop it."""


class Task:
    """One thread.  *program* runs to its end or until ``kill`` unwinds it."""

    def __init__(self, name: str, program: Callable[[], None]) -> None:
        self.name = name
        self.done = False
        self.error: BaseException | None = None
        self.killed = False
        self.waits_for = "its start"
        self.until: float | None = None
        self.ready: Callable[[], bool] = lambda: True
        self._program = program
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def _main(self) -> None:
        self._go.acquire()
        try:
            if not self.killed:
                self._program()
        except Crashed:
            pass
        except BaseException as error:
            self.error = error
        self.done = True
        self._back.release()

    def resume(self) -> None:
        """For the scheduler: let the thread run until it blocks or ends."""
        assert not self.done
        self._go.release()
        self._back.acquire()
        if self.done:
            self._thread.join()  # type: ignore[unreachable]  # done by the other thread

    def pause(self, waits_for: str, ready: Callable[[], bool], until: float | None = None) -> None:
        """For the thread: wait until the scheduler finds that *ready* or that it is *until*."""
        if self.killed:
            raise Crashed
        self.waits_for, self.ready, self.until = waits_for, ready, until
        self._back.release()
        self._go.acquire()
        if self.killed:
            raise Crashed

    def kill(self) -> None:
        """Unwind the thread from where it is blocked."""
        self.killed = True
        if not self.done:
            self.resume()
        assert self.done, f"{self.name} survived its death"
