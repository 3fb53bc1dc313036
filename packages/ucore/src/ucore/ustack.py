"""``UStack``: a stack whose every change is an update."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

from . import codes, plan
from .base import CONTAINERS, SLOTS
from .list_overlay import StackOverlay
from .node import Container
from .recorder import Batch, StackRecorder
from .transaction import Transaction, run
from .types import alias

T = TypeVar("T")
R = TypeVar("R")


class UStack(Container, Collection[T]):
    """A stack that is a series of updates: ``UStack([...])`` pushes one after the other.

    Iterating and ``in`` go from the top.  ``copy()`` gives the list from the bottom to the top.
    Two stacks are equal when they hold equal elements in the same order.
    """

    __slots__ = (*SLOTS, "_items")
    _kind_: ClassVar[str] = "stack"
    _arity_: ClassVar[int] = 1
    _items: list[T]  # bottom to top

    __hash__ = None  # type: ignore[assignment]

    def __new__(cls, *_arguments: Any, **_options: Any) -> Self:
        self = super().__new__(cls)
        self._items = []
        return self

    def __init__(self, iterable: Iterable[T] = (), /) -> None:
        content = list(iterable)
        tree = self._attach(None)
        self._do(tree, plan.extend(self._spec, content))

    def _raw(self) -> list[object]:
        return self._items  # type: ignore[return-value]  # not cast(), as in UMap

    def _elements(self) -> Iterable[object]:
        return self._items

    # ------------------------------------------------------------ reading

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        """From the top."""
        return reversed(self._items)

    def __contains__(self, value: object) -> bool:
        return value in self._items

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UStack):
            return NotImplemented
        return self._items == other._items

    def __repr__(self) -> str:
        return f"UStack({self._items!r})"

    def peek(self) -> T:
        """The element that ``pop`` would remove; IndexError when the stack is empty."""
        if not self._items:
            raise IndexError("peek at empty stack")
        return self._items[-1]

    # ------------------------------------------------------------ mutators

    def push(self, value: T, /) -> None:
        """Put *value* on top."""
        tree = self._begin()
        self._do(tree, plan.append(self._spec, value, len(self)))

    def extend(self, values: Iterable[T], /) -> None:
        """Push one after the other, in one update; the last is on top."""
        tree = self._begin()
        self._do(tree, plan.extend(self._spec, list(values)))

    def pop(self) -> T:
        """Remove the top and return it, as a plain builtin; IndexError when empty."""
        return cast("T", self._do(self._begin(), plan.Plan(codes.POP, [])))

    def batch(self) -> Batch[StackRecorder[T]]:
        """``with s.batch() as b:`` records changes on *b* and applies them as one at the end."""
        return Batch(self, StackRecorder)

    def transaction(self) -> Transaction[StackOverlay[T]]:
        """``with s.transaction() as t:`` reads and changes *t*, and applies that as one at the end.

        *t* is a stack that shows its own changes; nothing shows here before the end, and
        nothing at all if the block raises.  A shared structure raises ConflictError at the end if
        anybody changed it meanwhile.  See ``Transaction``.
        """
        return Transaction(self, StackOverlay)

    def run_transaction(self, function: Callable[[StackOverlay[T]], R]) -> R:
        """``function(t)`` in a transaction, and what it returns.

        A shared structure runs it again, on a new *t*, whenever somebody else was first, until the
        client's deadline; so it should do nothing but read and change *t*.
        """
        return run(self, self.transaction, function)

    if TYPE_CHECKING:

        def copy(self) -> list[T]: ...

    else:

        def __class_getitem__(cls, params):
            return alias(cls, params)


CONTAINERS["stack"] = UStack
