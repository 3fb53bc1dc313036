"""The laws of ``ucore.Updatable``, as a check for ucore's containers and for types of your own.

    check_updatable(
        make=lambda: UMap({"a": 1}),
        changes=[lambda m: m.pop("a"), lambda m: m.update(b=[1])],
    )

It plays seeded random scripts of the given changes and compares a value with replicas that only
see its updates.  It has been seen to catch each kind of violation (``tests/ucore/
test_conformance.py`` plants them).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar

from .base import Node
from .change import snapshot
from .node import recording
from .updatable import Updatable, Update

T = TypeVar("T", bound=Updatable[Any])

# How many times as large an update may be in a grown value, and by how many items: positions
# and indices get longer, content must not.
_SIZE_FACTOR: Final = 1.5
_SIZE_SLACK: Final = 16


class LawBrokenError(AssertionError):
    """*law* is the number in ``Updatable``'s docstring."""

    def __init__(self, law: int, message: str) -> None:
        super().__init__(f"law {law}: {message}")
        self.law = law


def plain_of(update: Any) -> Any:
    """An update's plain form: its own if it has one, else itself."""
    return update.to_plain() if isinstance(update, Update) else update


def update_of(plain: Any) -> Any:
    """The inverse of ``plain_of`` for ucore's updates."""
    return Update.from_plain(plain)


def identity_of(value: Any) -> Any:
    """What an inverse has to restore besides ``==``: ucore's node ids, wherever they stand."""
    return _sorted(snapshot(value)) if isinstance(value, Node) else None


def _sorted(plain: Any) -> Any:
    """A snapshot without the order of its maps, which an inverse need not restore."""
    if type(plain) is not list or not plain or plain[0] not in (35, 36, 37):
        return plain
    number, position, ordinal, *content = plain
    if number != 35:
        return [number, position, ordinal, *map(_sorted, content)]
    pairs = zip(content[::2], map(_sorted, content[1::2]), strict=True)
    return [number, position, ordinal, *sorted(pairs, key=repr)]


def size_of(plain: Any) -> int:
    """How much a plain form says: one for each item, and the length of texts and bytes."""
    if isinstance(plain, list | tuple):
        return 1 + sum(map(size_of, plain))
    return 1 + (len(plain) if isinstance(plain, str | bytes) else 0)


def check_updatable(
    make: Callable[[], T],
    changes: Sequence[Callable[[T], object]],
    *,
    grow: Callable[[T], object] | None = None,
    record: Callable[[Any], AbstractContextManager[list[Any]]] = recording,
    to_plain: Callable[[Any], Any] = plain_of,
    from_plain: Callable[[Any], Any] = update_of,
    identity: Callable[[Any], object] = identity_of,
    scripts: int = 20,
    steps: int = 20,
    seed: int = 0,
) -> None:
    """Raise LawBrokenError, with the number of the law, unless all of ``Updatable``'s laws hold.

    *make* gives a new value in its initial state.  Each of *changes* changes the value it is given
    through its own methods; it may raise, which must leave the value as it was.  *grow* makes a
    value much larger without changing what the changes do; without it law 4 is not looked at.

    For types that are not ucore's: *record* is a context manager that yields the list of updates its
    value goes through, *to_plain* and *from_plain* turn an update into plain data and back, and
    *identity* gives what an inverse must restore besides ``==``.
    """
    laws = _Laws(record, to_plain, from_plain, identity)
    for number in range(scripts):
        laws.play(make, changes, steps, random.Random(f"{seed} {number}"))
    if grow is not None:
        for change in changes:
            laws.compare_sizes(make, change, grow)


class _Laws:
    """The checks, with what they need to know about the type."""

    def __init__(
        self,
        record: Callable[[Any], AbstractContextManager[list[Any]]],
        to_plain: Callable[[Any], Any],
        from_plain: Callable[[Any], Any],
        identity: Callable[[Any], object],
    ) -> None:
        self._record = record
        self._to_plain = to_plain
        self._from_plain = from_plain
        self._identity = identity

    def play(
        self,
        make: Callable[[], Any],
        changes: Sequence[Callable[[Any], object]],
        steps: int,
        choose: random.Random,
    ) -> None:
        """One script: a value, and two replicas that get its updates."""
        value, *replicas = make(), make(), make()
        _require(1, replicas[0] == value, "two new values are not equal")
        seen: list[Any] = []
        for _ in range(steps):
            change = choose.choice(changes)
            before = value.dump()
            updates, failed = self._changed(value, change)
            if failed:
                _require(6, value.dump() == before, f"{failed!r} left a change behind")
                _require(6, not updates, f"{failed!r} and yet an update came out")
            for update in updates:
                for replica in replicas:
                    replica.apply(self._copy(update))
            self._compare(value, replicas)
            self._undo(type(value).load(before), updates)
            seen += updates
            if seen:
                self._misapply(make(), choose.choice(seen))

    def _changed(
        self, value: Any, change: Callable[[Any], object]
    ) -> tuple[list[Any], Exception | None]:
        """The updates that *change* made, and what it raised."""
        with self._record(value) as updates:
            try:
                change(value)
            except Exception as error:
                return list(updates), error
        return list(updates), None

    def _copy(self, update: Any) -> Any:
        return self._from_plain(self._to_plain(update))

    def _compare(self, value: Any, replicas: list[Any]) -> None:
        first, second = replicas
        _require(1, first == value, f"the updates of {value!r:.200} give {first!r:.200}")
        _require(2, first.dump() == second.dump(), "two replicas differ in their dumps")
        _require(2, first.dump() == value.dump(), "author and replica differ in their dumps")
        again = type(value).load(value.dump())
        _require(3, again == value, f"{value!r:.200} comes back as {again!r:.200}")
        _require(3, again.dump() == value.dump(), "dumping what was loaded gives another dump")

    def _undo(self, value: Any, updates: list[Any]) -> None:
        """Apply *updates*, take them back, apply them again, take them back again."""
        old, identity = value.dump(), self._identity(value)
        original = type(value).load(old)
        inverses = [value.apply(self._copy(update)) for update in updates]
        new = type(value).load(value.dump())
        for inverse in reversed(inverses):
            value.apply(self._copy(inverse))
        _require(5, value == original, f"{original!r:.200} is undone to {value!r:.200}")
        _require(5, self._identity(value) == identity, "an inverse lost the nodes' identity")
        for update in updates:
            value.apply(self._copy(update))
        _require(5, value == new, f"{new!r:.200} is redone to {value!r:.200}")

    def _misapply(self, value: Any, update: Any) -> None:
        """An update that may not fit here: it applies, or it raises and nothing has changed."""
        before = value.dump()
        try:
            value.apply(self._copy(update))
        except Exception as error:
            _require(6, value.dump() == before, f"applying raised {error!r} half-way")

    def compare_sizes(
        self,
        make: Callable[[], Any],
        change: Callable[[Any], object],
        grow: Callable[[Any], object],
    ) -> None:
        """Law 4: the same change in a small and in a grown value."""
        small, large = make(), make()
        grow(large)
        for what, sizes in zip(
            ("an update", "an inverse"),
            zip(self._sizes(small, change), self._sizes(large, change), strict=True),
            strict=True,
        ):
            fits = sizes[1] <= sizes[0] * _SIZE_FACTOR + _SIZE_SLACK
            _require(4, fits, f"{what} of size {sizes[0]} has size {sizes[1]} in a grown value")

    def _sizes(self, value: Any, change: Callable[[Any], object]) -> tuple[int, int]:
        """Of the updates and of the inverses."""
        twin = type(value).load(value.dump())
        updates, _ = self._changed(value, change)
        inverses = [twin.apply(self._copy(update)) for update in updates]
        sizes = [size_of([self._to_plain(u) for u in us]) for us in (updates, inverses)]
        return sizes[0], sizes[1]


def _require(law: int, holds: bool, message: str) -> None:
    if not holds:
        raise LawBrokenError(law, message)
