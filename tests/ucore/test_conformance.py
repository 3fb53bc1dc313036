"""The check of Updatable's laws accepts what keeps them and catches each way to break them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest

from ucore import UMap, Update, UVec, codes
from ucore.conformance import LawBrokenError, check_updatable, identity_of, plain_of, size_of


class Tally:
    """A user's own type, written without ucore's help: how often each name was counted.

    An update is ``[name, by]``; counting below zero is refused.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.log: list[list[Any]] | None = None

    def count(self, name: str, by: int = 1) -> None:
        self.apply([name, by])
        if self.log is not None:
            self.log.append([name, by])

    def apply(self, update: list[Any]) -> list[Any]:
        name, by = update
        if self.counts.get(name, 0) + by < 0:
            raise ValueError(f"{name} below zero")
        self.counts[name] = self.counts.get(name, 0) + by
        if not self.counts[name]:
            del self.counts[name]
        return [name, -by]

    def dump(self) -> Any:
        return sorted([name, by] for name, by in self.counts.items())

    @classmethod
    def load(cls, plain: Any) -> Self:
        self = cls()
        self.counts = dict(map(tuple, plain))
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and self.counts == other.counts

    __hash__ = None  # type: ignore[assignment]


@contextmanager
def logged(tally: Tally) -> Iterator[list[Any]]:
    tally.log = []
    try:
        yield tally.log
    finally:
        tally.log = None


CHANGES: list[Callable[[Any], object]] = [
    lambda t: t.count("a"),
    lambda t: t.count("b", 3),
    lambda t: t.count("a", -1),
    lambda t: t.count("b", -2),
]


def check(cls: type[Tally], **options: Any) -> None:
    options.setdefault("grow", lambda t: [t.count(f"other {i}") for i in range(100)])
    check_updatable(cls, CHANGES, record=logged, from_plain=list, **options)


def test_a_type_that_keeps_the_laws_passes() -> None:
    check(Tally)
    check(Tally, grow=None)


def test_ucores_containers_pass_with_nothing_but_changes() -> None:
    check_updatable(
        lambda: UMap[str, Any]({"a": 1}),
        [lambda m: m.pop("a"), lambda m: m.update(b=[1]), lambda m: m["b"].append(2)],
    )
    check_updatable(UVec[int], [lambda v: v.append(1), lambda v: v.reverse(), lambda v: v.pop()])


# ---------------------------------------------------------------- planted violations


class Forgets(Tally):
    """Changes without an update."""

    def count(self, name: str, by: int = 1) -> None:
        super().count(name, by)
        if by == 3:
            self.counts["secret"] = 1


class NeverTheSame(Tally):
    """Begins with something else each time."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1
        self.counts = {"made": type(self).made}


class LooksElsewhere(Tally):
    """Applying depends on something that is not in the value; ``==`` does not notice."""

    calls = 0

    def apply(self, update: list[Any]) -> list[Any]:
        inverse = super().apply(update)
        type(self).calls += 1
        self.stamp = type(self).calls
        return inverse

    def dump(self) -> Any:
        return [*super().dump(), ["stamp", getattr(self, "stamp", 0)]]

    @classmethod
    def load(cls, plain: Any) -> Self:
        self = super().load(plain[:-1])
        self.stamp = plain[-1][1]
        return self


class AuthorDiffers(Tally):
    """The author's own value ends up with another dump than the replicas'."""

    def count(self, name: str, by: int = 1) -> None:
        super().count(name, by)
        self.mine = True

    def dump(self) -> Any:
        return [*super().dump(), ["mine", int(hasattr(self, "mine"))]]

    @classmethod
    def load(cls, plain: Any) -> Self:
        self = super().load(plain[:-1])
        if plain[-1][1]:
            self.mine = True
        return self


class LosesInDump(Tally):
    def dump(self) -> Any:
        return [pair for pair in super().dump() if pair[0] != "b"]


class DumpsDifferently(Tally):
    """What was loaded is equal and is dumped otherwise."""

    @classmethod
    def load(cls, plain: Any) -> Self:
        self = super().load([pair for pair in plain if pair[0] != "loaded"])
        self.loaded = True
        return self

    def dump(self) -> Any:
        return super().dump() + [["loaded", 1]] * hasattr(self, "loaded")


class Heavy(Tally):
    """Sends everything each time."""

    def count(self, name: str, by: int = 1) -> None:
        self.apply([name, by, self.dump()])
        if self.log is not None:
            self.log.append([name, by, self.dump()])

    def apply(self, update: list[Any]) -> list[Any]:
        return [*super().apply(update[:2]), None]


class HeavyInverse(Tally):
    def apply(self, update: list[Any]) -> list[Any]:
        return [*super().apply(update[:2]), self.dump()]


class WrongInverse(Tally):
    def apply(self, update: list[Any]) -> list[Any]:
        return super().apply(update) if update[1] != 3 else [super().apply(update)[0], -2]


class LosesIdentity(Tally):
    """Undone, it is equal, and not the same."""

    def apply(self, update: list[Any]) -> list[Any]:
        self.age = getattr(self, "age", 0) + 1
        return super().apply(update)


class RedoesWrongly(Tally):
    """After an undo the same update does something else."""

    undone = False

    def apply(self, update: list[Any]) -> list[Any]:
        if update == ["b", -3]:
            self.undone = True
        elif self.undone:
            update = [update[0], update[1] + 1]
        return super().apply(update)


class ChangesThenRaises(Tally):
    """A mutator fails half-way."""

    def count(self, name: str, by: int = 1) -> None:
        if self.counts.get(name, 0) + by < 0:
            self.counts["half"] = 1
        super().count(name, by)


class SendsThenRaises(Tally):
    """An update comes out of a mutator that failed."""

    def count(self, name: str, by: int = 1) -> None:
        if self.log is not None:
            self.log.append([name, by])
        self.apply([name, by])


class AppliesHalf(Tally):
    """Applying fails half-way: on replicas only, where an update does not fit."""

    def apply(self, update: list[Any]) -> list[Any]:
        if self.counts.get(update[0], 0) + update[1] < 0 and self.log is None:
            self.counts["half"] = 1
        return super().apply(update)


@pytest.mark.parametrize(
    ("law", "cls"),
    [
        (1, Forgets),
        (1, NeverTheSame),
        (2, LooksElsewhere),
        (2, AuthorDiffers),
        (3, LosesInDump),
        (3, DumpsDifferently),
        (4, Heavy),
        (4, HeavyInverse),
        (5, WrongInverse),
        (5, RedoesWrongly),
        (6, ChangesThenRaises),
        (6, SendsThenRaises),
        (6, AppliesHalf),
    ],
)
def test_a_planted_violation_is_caught(law: int, cls: type[Tally]) -> None:
    with pytest.raises(LawBrokenError) as caught:
        check(cls)
    assert caught.value.law == law
    assert str(caught.value).startswith(f"law {law}: ")


def test_identity_is_part_of_what_an_inverse_restores() -> None:
    with pytest.raises(LawBrokenError, match="lost the nodes' identity"):
        check(LosesIdentity, identity=lambda tally: getattr(tally, "age", 0))


# ---------------------------------------------------------------- the parts


def test_the_identity_of_a_container_is_its_ids_and_not_a_maps_order() -> None:
    a, b = UMap[str, Any](), UMap[str, Any]()
    a.update(x=[1], y=[])
    b.update(y=[], x=[1])
    assert a == b
    assert identity_of(a) != identity_of(b)
    c = UMap[str, Any].load(a.dump())
    inverse = c.apply(Update([[codes.DELETE, 0, 0, "x"]]))
    c.apply(inverse)
    assert list(c) != list(a)
    assert identity_of(c) == identity_of(a)
    assert identity_of(Tally()) is None


def test_sizes_count_items_and_letters() -> None:
    assert size_of([]) == 1
    assert size_of([1, "ab", b"c", [None]]) == 1 + 1 + 3 + 2 + 2
    assert plain_of(Update([[codes.CLEAR, 0, 0]])) == [1, [7, 0, 0]]
    assert plain_of("mine") == "mine"
