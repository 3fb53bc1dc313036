"""``UVec``: a list whose every change is an update."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Self, SupportsIndex, TypeVar, cast, overload

from . import codes, plan
from .base import CONTAINERS, SLOTS, Node
from .list_overlay import VecOverlay
from .node import Container
from .recorder import Batch, VecRecorder
from .transaction import Transaction, run
from .types import alias

T = TypeVar("T")
R = TypeVar("R")


class UVec(Container, list[T]):
    """A list that is a series of updates: ``UVec([...])``, ``UVec[int](range(3))``.

    Reading is list's own.  Every mutator checks its arguments, makes one small ``Update`` and
    applies it.  A dict or list that is stored is copied, as a UMap or UVec.
    """

    __slots__ = SLOTS
    _kind_: ClassVar[str] = "vec"
    _arity_: ClassVar[int] = 1

    def __init__(self, iterable: Iterable[T] = (), /) -> None:
        content = list(iterable)
        tree = self._attach(None)
        self._do(tree, plan.extend(self._spec, content))

    def _raw(self) -> list[object]:
        return self  # type: ignore[return-value]  # not cast(): it is asked at each operation

    def _elements(self) -> Iterable[object]:
        return list.__iter__(self)

    # ------------------------------------------------------------ mutators

    def append(self, value: T, /) -> None:
        tree = self._begin()
        self._do(tree, plan.append(self._spec, value, len(self)))

    def extend(self, values: Iterable[T], /) -> None:
        tree = self._begin()
        self._do(tree, plan.extend(self._spec, list(values)))

    def __iadd__(self, values: Iterable[T], /) -> Self:  # type: ignore[override,misc]
        self.extend(values)
        return self

    def insert(self, index: SupportsIndex, value: T, /) -> None:
        tree = self._begin()
        self._do(tree, plan.insert(self._spec, index, value, len(self)))

    def pop(self, index: SupportsIndex = -1, /) -> T:
        """Remove and return an element, as a plain builtin; IndexError when it is not there."""
        tree = self._begin()
        planned = plan.pop(index, len(self))
        result = self._do(tree, planned)
        return cast("T", result if planned.code == codes.POP else result[0])

    def remove(self, value: T, /) -> None:
        tree = self._begin()
        self._do(tree, plan.remove(cast("list[Any]", self), value), by_content=True)

    @overload
    def __setitem__(self, index: SupportsIndex, value: T, /) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[T], /) -> None: ...
    def __setitem__(self, index: Any, value: Any, /) -> None:
        tree = self._begin()
        if isinstance(value, Node) and not isinstance(index, slice):
            at = plan.position(index, len(self), "list assignment index out of range")
            if list.__getitem__(self, at) is value:
                return  # Python does this after every v[i] += [x]
        self._do(tree, plan.set_item(self._spec, index, value, len(self)))

    def __delitem__(self, index: SupportsIndex | slice, /) -> None:
        tree = self._begin()
        self._do(tree, plan.delete_item(index, len(self)))

    def __imul__(self, times: SupportsIndex, /) -> Self:
        tree = self._begin()
        self._do(tree, plan.repeat(self._spec, cast("list[Any]", self), times), by_content=True)
        return self

    def reverse(self) -> None:
        self._do(self._begin(), plan.reverse(len(self)))

    def sort(self, *, key: Callable[[T], Any] | None = None, reverse: bool = False) -> None:
        """As ``list.sort``; *key* and comparisons run here, and the order found is what is sent."""
        tree = self._begin()
        position = tree.position
        planned = plan.sort(cast("list[Any]", self), key, reverse)
        if tree.position != position:
            raise ValueError("list modified during sort")
        self._do(tree, planned, by_content=True)

    def batch(self) -> Batch[VecRecorder[T]]:
        """``with v.batch() as b:`` records changes on *b* and applies them as one at the end."""
        return Batch(self, VecRecorder)

    def transaction(self) -> Transaction[VecOverlay[T]]:
        """``with v.transaction() as t:`` reads and changes *t*, and applies that as one at the end.

        *t* is a MutableSequence that shows its own changes; nothing shows here before the end, and
        nothing at all if the block raises.  A shared structure raises ConflictError at the end if
        anybody changed it meanwhile.  See ``Transaction``.
        """
        return Transaction(self, VecOverlay)

    def run_transaction(self, function: Callable[[VecOverlay[T]], R]) -> R:
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


CONTAINERS["vec"] = UVec
