"""Containers for what is mostly empty: ``()`` while there is nothing, and a list from the first thing on.

Most connections are idle, and each has half a dozen places where something may wait.  Empty lists there would be a
quarter of what it costs, empty sets and dicts half.  ``()`` is there once for all.

Whoever takes the last thing out puts ``()`` in the list's place.  Taking from the front and looking up pass over
all of it, so this is for what is bounded by a thousand or so.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

T = TypeVar("T")

Few: TypeAlias = list[T] | tuple[()]


def plus(few: Few[T], item: T) -> list[T]:
    """*few* with *item* behind it: the same list, if it is one."""
    if few:
        few.append(item)
        return few
    return [item]


def minus(few: Few[T], item: T) -> Few[T]:
    """*few* without *item*, which need not be in it."""
    if item in few:
        assert few, "nothing is in nothing"
        few.remove(item)
    return few or ()
