"""A container for what is mostly empty.

Most connections are idle, and an empty ``deque`` is 624 bytes, an empty set 216: a few of them would be the
larger part of what a connection costs.
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class Few(list[T]):
    """A queue, or a set, of few things or none: 72 bytes while it is empty.

    Taking from the front and looking up pass over all of it, so it is for what is bounded by a thousand or
    so: a hundred nanoseconds then.
    """

    __slots__ = ()

    def popleft(self) -> T:
        return self.pop(0)

    def add(self, item: T) -> None:
        if item not in self:
            self.append(item)

    def discard(self, item: T) -> None:
        if item in self:
            self.remove(item)
