"""A transaction's list and stack: the live entries until the first change, then a copy of the list.

The copy is of the list and not of what is in it; that costs some nanoseconds an element.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, MutableSequence
from typing import Any, Self, SupportsIndex, TypeVar, cast, overload

from . import codes, plan
from .base import CONTAINERS
from .overlay import OVERLAYS, Overlay, stored
from .plan import Plan

T = TypeVar("T")


class _ListOverlay(Overlay, Collection[T]):
    """What a vec's and a stack's overlay share: entries in a list, the live one until a change."""

    __slots__ = ("_list", "_mine")

    def _show(self, raw: list[Any]) -> None:
        self._list = raw
        self._mine = False

    def _fill(self, value: Any) -> None:
        self._mine = True
        self._list = []
        for item in value._items if self._name_ == "stack" else list.__iter__(value):
            self._list.append(self._made(item))

    def _own(self) -> list[Any]:
        """The entries, to be changed."""
        if not self._mine:
            self._list = list.copy(self._list)
            self._mine = True
        return self._list

    def _at(self, index: int) -> Any:
        return self._seen(list.__getitem__(self._list, index))

    def __len__(self) -> int:
        self._look()
        return list.__len__(self._list)

    def _forwards(self) -> Iterator[Any]:
        at = 0
        while at < len(self):
            yield self._at(at)
            at += 1

    def _backwards(self, at: int) -> Iterator[Any]:
        while 0 < at <= len(self):
            at -= 1
            yield self._at(at)

    def __contains__(self, value: object) -> bool:
        return any(item is value or item == value for item in self)

    def copy(self) -> list[T]:
        self._look()
        return [self._plain(entry) for entry in list.__iter__(self._list)]

    def _values(self) -> list[Any]:
        return [self._value(entry) for entry in list.__iter__(self._list)]

    def _push(self, value: Any) -> None:
        self._change()
        value = stored(value)
        self._record(plan.append(self._spec, value, len(self._list)))
        self._own().append(self._made(value))
        self._shown()

    def extend(self, values: Iterable[T]) -> None:
        """Add one after the other."""
        self._change()
        content = [stored(value) for value in values]
        planned = plan.extend(self._spec, content)
        if planned is None:
            return
        self._record(planned)
        self._own().extend([self._made(value) for value in content])
        self._shown()

    def _take_last(self) -> Any:
        self._change()
        if not self._list:
            raise IndexError(f"pop from empty {'stack' if self._name_ == 'stack' else 'list'}")
        return self._take(Plan(codes.POP, []), -1)

    def _take(self, planned: Plan, at: int) -> Any:
        """Remove the entry *at* this place; it, as a plain builtin."""
        plain = self._plain(self._list[at])
        self._record(planned)
        self._bury(self._own().pop(at))
        self._shown()
        return plain

    def clear(self) -> None:
        self._change()
        if not self._list:
            return
        self._record(Plan(codes.CLEAR, []))
        for overlay in self._below:
            overlay._removed = True
        self._list, self._mine = [], True
        self._shown()


class VecOverlay(_ListOverlay[T], MutableSequence[T]):
    """A transaction's list.  It reads, and raises, as the list does that the vec would be."""

    __slots__ = ()
    _name_ = "list"
    __hash__ = None  # type: ignore[assignment]

    # ------------------------------------------------------------ reading

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: Any) -> Any:
        self._look()
        found = list.__getitem__(self._list, index)
        return list(map(self._seen, found)) if isinstance(index, slice) else self._seen(found)

    def __iter__(self) -> Iterator[T]:
        return self._forwards()

    def __reversed__(self) -> Iterator[T]:
        return self._backwards(len(self))

    def index(self, value: Any, start: int = 0, stop: int = sys.maxsize) -> int:
        self._look()
        start, stop, _ = slice(start, stop).indices(len(self._list))
        for at in range(start, stop):
            item = self._at(at)
            if item is value or item == value:
                return at
        raise ValueError(f"{value!r} is not in list")

    def count(self, value: Any) -> int:
        return sum(item is value or item == value for item in self)

    def _compare(self, other: object, how: Callable[[Any, Any], bool]) -> Any:
        if not isinstance(other, list | VecOverlay):
            return NotImplemented
        return how(list(self), list(other))

    def __eq__(self, other: object) -> Any:
        return self._compare(other, list.__eq__)

    def __lt__(self, other: object) -> Any:
        return self._compare(other, list.__lt__)

    def __le__(self, other: object) -> Any:
        return self._compare(other, list.__le__)

    def __gt__(self, other: object) -> Any:
        return self._compare(other, list.__gt__)

    def __ge__(self, other: object) -> Any:
        return self._compare(other, list.__ge__)

    def __add__(self, other: Any) -> list[Any]:
        return [*self, *other] if isinstance(other, list | VecOverlay) else NotImplemented

    def __radd__(self, other: Any) -> list[Any]:
        return [*other, *self] if isinstance(other, list) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> list[T]:
        return list(self) * times

    __rmul__ = __mul__

    def _text(self) -> str:
        return repr(list(self))

    def _detached(self) -> list[Any]:
        return self._values()

    # ------------------------------------------------------------ mutators

    def append(self, value: T) -> None:
        self._push(value)

    def insert(self, index: SupportsIndex, value: T) -> None:
        self._change()
        value = stored(value)
        planned = plan.insert(self._spec, index, value, len(self._list))
        self._record(planned)
        self._own().insert(planned.arguments[0], self._made(value))
        self._shown()

    def pop(self, index: SupportsIndex = -1) -> T:
        """Remove and return an element, as a plain builtin; IndexError when it is not there."""
        self._change()
        planned = plan.pop(index, len(self._list))
        if planned.code == codes.POP:
            return cast("T", self._take_last())
        return cast("T", self._take(planned, planned.arguments[0]))

    def remove(self, value: T) -> None:
        self._change()
        planned = plan.remove(list(self), value)
        self._take(planned, planned.arguments[0])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._change()
        if not isinstance(index, slice):
            at = plan.position(index, len(self._list), "list assignment index out of range")
            if isinstance(value, Overlay) and self._known(self._list[at]) is value:
                return  # Python does this after every t[i] += [x]
            value = stored(value)
            planned = plan.set_item(self._spec, at, value, len(self._list))
            self._replace(cast("Plan", planned), slice(at, at + 1), [value])
            return
        if isinstance(value, Iterable):
            value = [stored(item) for item in value]
        planned = plan.set_item(self._spec, index, value, len(self._list))
        if planned is not None:
            self._replace(planned, index, value)

    def _replace(self, planned: Plan, where: slice, values: list[Any]) -> None:
        """Show *values* instead of what is *where*."""
        self._record(planned)
        own = self._own()
        for entry in own[where]:
            self._bury(entry)
        # Containers are counted in the order of the text, which a negative step turns round.
        turned = planned.code == codes.STRIDE_SET and (where.step or 1) < 0
        made = [self._made(value) for value in (reversed(values) if turned else values)]
        own[where] = made[::-1] if turned else made
        self._shown()

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        self._change()
        planned = plan.delete_item(index, len(self._list))
        if planned is None:
            return
        self._record(planned)
        own = self._own()
        for entry in own[index] if isinstance(index, slice) else [own[index]]:
            self._bury(entry)
        del own[index]
        self._shown()

    def __iadd__(self, values: Iterable[T]) -> Self:  # type: ignore[misc]
        self.extend(values)
        return self

    def __imul__(self, times: SupportsIndex) -> Self:
        self._change()
        content = self._values()
        planned = plan.repeat(self._spec, content, times)
        if planned is None:
            return self
        if planned.code == codes.SPLICE:  # no times
            self.clear()
            return self
        self._record(planned)
        more = content * (times.__index__() - 1)
        self._own().extend([self._made(value) for value in more])
        self._shown()
        return self

    def reverse(self) -> None:
        self._change()
        planned = plan.reverse(len(self._list))
        if planned is not None:
            self._record(planned)
            self._own().reverse()
            self._shown()

    def sort(self, *, key: Callable[[T], Any] | None = None, reverse: bool = False) -> None:
        """As ``list.sort``; the order found is what is recorded."""
        self._change()
        done = len(self._work.ops)
        planned = plan.sort(list(self), key, reverse)
        if len(self._work.ops) != done:
            raise ValueError("list modified during sort")
        if planned is not None:
            self._record(planned)
            own = self._own()
            own[:] = [own[i] for i in planned.arguments]
            self._shown()


class StackOverlay(_ListOverlay[T]):
    """A transaction's stack, from the top as ``UStack``."""

    __slots__ = ()
    _name_ = "stack"
    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[T]:
        """From the top."""
        return self._backwards(len(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (StackOverlay, CONTAINERS["stack"])):
            return NotImplemented
        return list(self) == list(cast("Collection[T]", other))

    def _text(self) -> str:
        return f"UStack({list(self)[::-1]!r})"

    def peek(self) -> T:
        """The element that ``pop`` would remove; IndexError when the stack is empty."""
        if not len(self):
            raise IndexError("peek at empty stack")
        return cast("T", self._at(-1))

    def push(self, value: T) -> None:
        """Put *value* on top."""
        self._push(value)

    def pop(self) -> T:
        """Remove the top and return it, as a plain builtin; IndexError when empty."""
        return cast("T", self._take_last())

    def _detached(self) -> Any:
        stack: Any = CONTAINERS["stack"]
        value = stack.__new__(stack)
        value._items = self._values()
        return value


OVERLAYS["vec"] = VecOverlay
OVERLAYS["stack"] = StackOverlay
