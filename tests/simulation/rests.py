"""Whether those who make snapshots rest as they should (record 13), computed anew at each rest.

Between two pieces of a log there is a rest.  Each is three times as long as what was done since the last one took,
within its bound; all rests of one snapshot are within theirs, and once that is used up the log is not read by
pieces any more.

The real ``Pace`` and ``Reading`` do it; what is put into their places while a run lasts only looks on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from score.blocking import Deadline, Link
from score.client import Client
from score.tools import compaction
from score.tools import pace as pacing

from .network import SimSurroundings

if TYPE_CHECKING:
    from .world import World

# So small that rests are used up, and that a log is of several pieces.
BOUNDS: dict[tuple[Any, str], tuple[float | None, ...]] = {
    (pacing, "RESTS_S_MAX"): (None, 0.5, 0.02),
    (pacing, "PIECE_BYTES"): (None, 200, 50),
}
SLACK_S = 1e-6
# Sums of the same times, in another order; more than that is a rest that is left, however short.
ROUNDING_S = 1e-12


@contextmanager
def watched(world: World) -> Iterator[None]:
    """Everybody who makes snapshots in *world* is looked at."""

    class Pace(pacing.Pace):
        def __init__(self, client: Client) -> None:
            super().__init__(client)
            assert isinstance(client._around, SimSurroundings)
            self._around = client._around
            self._timeout_s = client.timeout or math.inf
            self.left_s = pacing.RESTS_S_MAX
            self._worked_from = world.now
            self.is_due = False  # a piece was read, and no rest has followed

        @property
        def is_used_up(self) -> bool:
            return self.left_s <= ROUNDING_S

        def rest(self, deadline: Deadline | None = None) -> None:
            self.is_due = False
            worked_s, before = world.now - self._worked_from, self._around.slept_s
            is_late = deadline is not None and (deadline.remaining() or 0) <= self._timeout_s / 2
            least = min(pacing.REST_FACTOR * worked_s, pacing.REST_S_MAX, self.left_s)
            super().rest(deadline)
            self._worked_from = world.now
            rested_s = self._around.slept_s - before
            self.left_s -= rested_s
            if abs(rested_s - (0 if is_late else least)) > SLACK_S:
                text = f"rests for {rested_s} s after {worked_s} s, and has {self.left_s} s left"
                world.oracle.fail("rests", text)

    class Reading(pacing.Reading):
        def read(self, pace: Any) -> None:
            self._pace = pace
            super().read(pace)

        def _read_piece(self, link: Link, deadline: Deadline) -> bool:
            if self._pace.is_used_up or self._pace.is_due:
                why = "was no rest before" if self._pace.is_due else "is none left"
                world.oracle.fail("rests", f"a piece is read, and there {why}")
            self._pace.is_due = super()._read_piece(link, deadline)
            return bool(self._pace.is_due)

    with patch.object(compaction, "Pace", Pace), patch.object(compaction, "Reading", Reading):
        yield
