"""A flag that one task waits for and that resets itself: trio's ``Event`` made for once only."""

from __future__ import annotations

import trio


class Flag:
    """Setting it twice before the task has run is setting it once; setting it first is not lost."""

    __slots__ = ("_is_set", "_lot")

    def __init__(self) -> None:
        self._is_set = False
        self._lot = trio.lowlevel.ParkingLot()

    def set(self) -> None:
        self._is_set = True
        self._lot.unpark()

    async def wait(self) -> None:
        while not self._is_set:
            await self._lot.park()
        self._is_set = False
