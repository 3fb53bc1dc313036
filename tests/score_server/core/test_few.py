"""Few things, in order, each once if wished; and nothing that takes no room."""

from __future__ import annotations

from score_server.core.few import Few, minus, plus


def test_what_is_added_stands_behind_what_is_there_in_the_same_list() -> None:
    few: Few[int] = ()
    one = plus(few, 1)
    assert one == [1]
    assert plus(one, 2) is one
    assert one == [1, 2]


def test_what_is_taken_out_need_not_be_there_and_leaves_nothing_behind() -> None:
    few: Few[int] = [1, 2]
    assert minus(few, 3) == [1, 2]
    assert minus(few, 1) == [2]
    assert minus(few, 2) == ()
    assert minus((), 2) == ()
