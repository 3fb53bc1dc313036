"""``Update``, one atomic change as data, and ``Updatable``, the trait of what it applies to.

An update is kept as its plain form, which is what gets sent, stored and compared; the decoded
steps are made from it once.  So the author of a change applies the very text that everybody else
applies.  The one exception is the change of which that text is the larger part of the work: many natives
put into a map (``Update.putting``), where text and steps both come from the same dict.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self, TypeVar, runtime_checkable

from .base import NodeId
from .codes import OPS_VERSION, PUT_MANY
from .errors import MalformedUpdateError, UpgradeNeededError
from .ops import Step, put_step, read
from .primitives import Plain, flat
from .registry import short

_new = object.__new__


class Update:
    """An atomic change: a few operations that take effect together or not at all.

    Equal updates have equal plain forms.

    *puts*: the map, and the natives for it, where putting these is all that it does and they came as a dict
    (``putting``); else None.
    """

    __slots__ = ("_ops", "_steps", "puts")

    version: ClassVar[int] = OPS_VERSION
    """Of the set of operations; an update of another version is not read at all."""

    def __init__(self, ops: list[Any]) -> None:
        self._ops: list[Any] | None = ops
        self._steps: list[Step] | None = None
        self.puts: tuple[NodeId, dict[Any, Any]] | None = None

    @classmethod
    def putting(cls, target: NodeId, content: dict[Any, Any]) -> Update:
        """The ``PUT_MANY`` of *content* into the map *target*.

        *content* belongs to the update from here on.  Its keys are natives of ``QUICK_KEYS`` and its values
        natives, in the sense of ``are_natives``: so what the text says would be read as what is here.
        """
        update = _new(cls)
        update._ops = None
        update._steps = [put_step(target, content)]
        update.puts = (target, content)
        return update

    @property
    def ops(self) -> list[Any]:
        """The operations' plain form; it is not to be changed."""
        if self._ops is None:
            assert self.puts is not None, "nothing else is made without its text"
            target, content = self.puts
            self._ops = [[PUT_MANY, *target, *flat(content)]]
        return self._ops

    @property
    def steps(self) -> list[Step]:
        """The operations decoded.  Raises what ``from_plain`` raises."""
        if self._steps is None:
            self._steps = read(self.ops)
        return self._steps

    def to_plain(self) -> list[Plain]:
        """``[version, op, op, ...]``, made of plain forms, ready for any encoding."""
        return [self.version, *self.ops]

    @classmethod
    def from_plain(cls, plain: object) -> Update:
        """The update with this plain form, all of it checked and decoded.

        Raises UpgradeNeededError for a version this ucore does not know, UnknownTypeError for a
        type number that is not registered, MalformedUpdateError for anything else.
        """
        if type(plain) is not list or not plain or type(plain[0]) is not int:
            raise MalformedUpdateError(f"not the plain form of an update: {short(plain)}")
        if plain[0] != OPS_VERSION:
            raise UpgradeNeededError(plain[0])
        update = _new(cls)  # __init__ would take longer than what it does
        ops = update._ops = plain[1:]
        update._steps = read(ops)
        update.puts = None
        return update

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Update):
            return NotImplemented
        return repr(self.to_plain()) == repr(other.to_plain())

    def __hash__(self) -> int:
        return hash(repr(self.ops))

    def __repr__(self) -> str:
        return f"Update({self.ops!r})"


U = TypeVar("U")


@runtime_checkable
class Updatable(Protocol[U]):
    """A value that is a series of atomic changes, of type *U*, to an initial state.

    The laws, which ``ucore.conformance.check_updatable`` checks on any class that has these
    methods:

    1. *State is a fold.*  Applying the updates that a value went through, in order, to another
       value with the same beginning gives an equal value.
    2. *Applying is deterministic.*  Two equal values to which the same update is applied are
       equal afterwards, to the last dumped bit; nothing but the value and the update decides.
    3. ``load(dump(x)) == x``, and so are their dumps; neither shares anything mutable.
    4. *Small changes are small.*  An update's size depends on what is changed, not on
       the size or the depth of what it is changed in.
    5. *An inverse takes it back.*  ``apply`` returns an update that restores ``==``, and is no
       larger than what was added and removed.
    6. *All or nothing.*  An ``apply`` that raises has changed nothing.
    """

    def apply(self, update: U, /) -> U:
        """Change this value by *update*; returns the inverse."""
        ...

    def dump(self) -> Plain:
        """Everything that ``load`` needs, as a plain form."""
        ...

    @classmethod
    def load(cls, plain: Any, /) -> Self:
        """A value equal to the one that was dumped."""
        ...
