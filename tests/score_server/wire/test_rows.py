"""Rows made in haste are like any others."""

from __future__ import annotations

from score_server.wire.messages import Taken
from score_server.wire.rows import new


def test_a_row_made_in_haste_is_one_of_its_kind() -> None:
    made = new(Taken, (1, 2))
    assert type(made) is Taken
    assert made == Taken(1, 2)
