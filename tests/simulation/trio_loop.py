"""Trio's own loop, one turn at a time: whoever holds a ``Loop`` decides when it goes on and what is ready.

This module is the only one of the repository that uses private names of trio (``PRIVATE``), because no public
one lets a loop run without a kernel that wakes it and without chance that nobody can seed.  Guest
mode comes near, but waits for the kernel in a thread.

What makes a run of trio one of many, and what is done about it here:

- Each batch of tasks that can run is put in an order by ``_r``, after the order in which they were scheduled, which
  comes from sets: ``_ALLOW_DETERMINISTIC_SCHEDULING`` sorts a batch first, and ``_r`` is seeded.
- Deadlines at the same moment are ordered by ``id``: no two readings of ``SimClock`` are the same.
- What is ready comes from the kernel: ``Poller`` asks simulated sockets.
- ``run_sync_soon`` wakes the loop through a pair of sockets: ``_Wakeup`` is a flag instead.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import outcome
import trio
from trio._core import _run

# What is used of ``trio._core._run``, and the release of trio that this was read and tried with.  When the test of
# this fails, read ``unrolled_run``, ``setup_runner`` and ``EpollIOManager`` of the new release, adapt, and write it here.
PRIVATE = (
    "GLOBAL_RUN_CONTEXT", "TheIOManager", "_ALLOW_DETERMINISTIC_SCHEDULING", "_r", "setup_runner",
    "unrolled_run",
)  # fmt: skip
TRIED_WITH = ("0.33", "0.34", "0.35")

TURNS_TO_UNWIND_MAX = 1_000
CLOCK_READING_S_MAX = 1e-6


class Pollable(Protocol):
    """What the poller needs of a simulated file."""

    def fileno(self) -> int: ...

    def readable(self) -> bool: ...

    def writable(self) -> bool: ...


class SimClock(trio.abc.Clock):
    """The simulation's time; reading it takes a moment, so no two deadlines are the same."""

    def __init__(self, now: Callable[[], float], chance: random.Random) -> None:
        self._now = now
        self._chance = chance
        self._last = 0.0

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        self._last = max(self._last, self._now()) + self._chance.random() * CLOCK_READING_S_MAX
        return self._last

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - max(self._last, self._now())


class Poller:
    """In the place of trio's I/O manager: tasks that wait for simulated files."""

    def __init__(self) -> None:
        self._files: dict[int, Pollable] = {}
        self._waiting: dict[tuple[int, bool], trio.lowlevel.Task] = {}

    def add(self, file: Pollable) -> None:
        self._files[file.fileno()] = file

    def ready(self) -> list[tuple[int, bool]]:
        """What would wake somebody: (file, whether it is to be written)."""
        return sorted(key for key in self._waiting if self._is_ready(*key))

    def _is_ready(self, number: int, writing: bool) -> bool:
        file = self._files[number]
        return file.writable() if writing else file.readable()

    # ------------------------------------------------------------ for trio

    async def wait_readable(self, file: int | Pollable) -> None:
        await self._wait(file, False)

    async def wait_writable(self, file: int | Pollable) -> None:
        await self._wait(file, True)

    async def _wait(self, file: int | Pollable, writing: bool) -> None:
        number = file if isinstance(file, int) else file.fileno()
        if number not in self._files:
            raise OSError(9, "Bad file descriptor")
        key = number, writing
        if key in self._waiting:
            raise trio.BusyResourceError("another task is waiting for this file already")

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._waiting[key]
            return trio.lowlevel.Abort.SUCCEEDED

        self._waiting[key] = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def notify_closing(self, file: int | Pollable) -> None:
        number = file if isinstance(file, int) else file.fileno()
        for key in ((number, False), (number, True)):
            if key in self._waiting:
                closed = trio.ClosedResourceError("another task closed this file")
                trio.lowlevel.reschedule(self._waiting.pop(key), outcome.Error(closed))
        self._files.pop(number, None)

    def process_events(self, events: list[tuple[int, bool]]) -> None:
        for key in events:
            trio.lowlevel.reschedule(self._waiting.pop(key))

    def force_wakeup(self) -> None:
        """Only guests of another loop are woken so."""

    def close(self) -> None:
        assert not self._waiting, "a task waits although the loop has ended"


class _Wakeup:
    """In the place of the sockets by which ``run_sync_soon`` wakes the loop; a file that is never closed."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._is_set = False
        poller.add(self)

    def fileno(self) -> int:
        return 0

    def readable(self) -> bool:
        return self._is_set

    def writable(self) -> bool:
        return False

    def wakeup_thread_and_signal_safe(self) -> None:
        self._is_set = True

    async def wait_woken(self) -> None:
        await self._poller.wait_readable(self)
        self._is_set = False

    def close(self) -> None:
        pass


class Loop:
    """``trio.run(main)`` that stands still between ``turn`` and ``turn``.

    One at a time in a thread, within ``seeded``.
    """

    def __init__(self, main: Callable[[], Awaitable[Any]], clock: SimClock) -> None:
        self.poller = Poller()
        self._clock = clock
        self._everything = trio.CancelScope()
        run: Any = _run  # its names are private, and not typed for this
        whole, run.TheIOManager = run.TheIOManager, lambda: self.poller
        try:
            self._runner = _run.setup_runner(clock, [], False, True)
        finally:
            run.TheIOManager = whole
        self._runner.entry_queue.wakeup.close()
        self._runner.entry_queue.wakeup = _Wakeup(self.poller)  # type: ignore[assignment]
        self._main = main
        self._turns = _run.unrolled_run(
            self._runner, self._run, (), host_uses_signal_set_wakeup_fd=True
        )
        self.is_over = False
        self.due_in_s = next(self._turns)
        """How long after the last turn the next one is due if nothing gets ready before."""

    async def _run(self) -> Any:
        with self._everything:
            return await self._main()

    def run_sync_soon(self, call: Callable[..., object], *arguments: object) -> None:
        self._runner.entry_queue.run_sync_soon(call, *arguments)

    def turn(self) -> None:
        """Wake whoever waits for what is ready or due, and let everybody who can run do so once."""
        try:
            self.due_in_s = self._turns.send(self.poller.ready())  # type: ignore[arg-type]
        except StopIteration:
            self.is_over = True

    def result(self) -> Any:
        """What *main* has returned.  Raises what it has raised."""
        outcome = self._runner.main_task_outcome
        assert outcome is not None, "it has ended"
        return outcome.unwrap()

    def unwind(self) -> None:
        """Cancel everything, and let it end."""
        with contextlib.suppress(trio.RunFinishedError):  # it has ended, or is about to
            self.run_sync_soon(self._everything.cancel)
        for _ in range(TURNS_TO_UNWIND_MAX):
            if self.is_over:
                return
            self.turn()
        raise AssertionError("a task cannot be cancelled")


@contextmanager
def seeded(seed: str) -> Iterator[None]:
    """All of trio's own chance comes from *seed*."""
    before = _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING
    _run._r = random.Random(seed)
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    try:
        yield
    finally:
        _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
