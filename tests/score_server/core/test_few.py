"""Few things, in order, each once if wished."""

from __future__ import annotations

import sys
from collections import deque

from score_server.core.few import Few


def test_a_few_things_are_a_queue() -> None:
    few = Few([1, 2])
    few.append(3)
    assert [few.popleft() for _ in range(3)] == [1, 2, 3]
    assert not few


def test_a_few_things_are_a_set() -> None:
    few: Few[int] = Few()
    few.add(1)
    few.add(1)
    few.add(2)
    assert few == [1, 2]
    few.discard(1)
    few.discard(1)
    assert few == [2]


def test_nothing_is_much_smaller_than_the_containers_it_stands_for() -> None:
    assert sys.getsizeof(Few()) * 3 < min(sys.getsizeof(deque()), sys.getsizeof(set()) * 2)
