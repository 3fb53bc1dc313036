"""A flag that one task waits for and that resets itself: trio's ``Event`` is made for once only.

Each connection has one, so it is kept small: it parks the one task that waits itself, where a
``ParkingLot`` would bring a dictionary along.
"""

from __future__ import annotations

import trio


class Flag:
    """Setting it twice before the task has run is setting it once; setting it first is not lost."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: trio.lowlevel.Task | None = None

    def set(self) -> None:
        self._is_set = True
        if self._waiting is not None:
            trio.lowlevel.reschedule(self._waiting)
            self._waiting = None

    async def wait(self) -> None:
        """Return when the flag is set, and reset it; only one task at a time may wait.

        Always a turn of the loop: whoever sets it again and again must not keep others from theirs.
        """
        assert self._waiting is None
        if self._is_set:
            await trio.lowlevel.checkpoint()
        else:
            self._waiting = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._is_set = False

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED
