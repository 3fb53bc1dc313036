"""``SMap``, ``SVec``, ``SStack``: ucore's containers, shared through a client.

A structure is its ucore class plus a view.  All that a dict or list can do is there already; what is added
here is what only a shared one can do.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ucore import UMap, UStack, UVec

from .client import Client
from .errors import DeadlineExceeded
from .snapshot import Progress
from .view import View
from .watch import Follower, Watch

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
S = TypeVar("S", bound="Shared")

if TYPE_CHECKING:
    from ucore import UMap as _Map
    from ucore import UStack as _Stack
    from ucore import UVec as _Vec
else:

    class _Generic:
        """Type checkers have to see ``UMap[K, V]`` as the base, but ucore refuses type variables at
        run time, because they say nothing there: subscripted, this gives the class itself."""

        def __init__(self, cls: type) -> None:
            self._cls = cls

        def __getitem__(self, _: object) -> type:
            return self._cls

    _Map, _Vec, _Stack = _Generic(UMap), _Generic(UVec), _Generic(UStack)


class Shared:
    """What every shared structure can do besides being a dict, a list or a stack."""

    if TYPE_CHECKING:
        _view: View  # a slot of each class below: two bases with slots have no common layout
    else:
        __slots__ = ()

    def _join(
        self,
        client: Client,
        group: str,
        keep_history: bool,
        progress: Callable[[Progress], object] | None,
    ) -> None:
        if hasattr(self, "_view"):
            raise TypeError(
                "a shared structure is made once; to join another group make another structure"
            )
        skeleton = self._spec.skeleton()  # type: ignore[attr-defined]
        view = View(client, group, skeleton or [self._kind_, None])  # type: ignore[attr-defined]
        view.open(self._attach(view), keep_history, progress)  # type: ignore[attr-defined]
        self._view = view

    @property
    def group(self) -> str:
        """The group's name."""
        return self._view.group

    @property
    def position(self) -> int:
        """The id of the latest change that this view holds; 0 before the first."""
        return self._view.replica.position

    def sync(self) -> None:
        """Bring the view up to date: afterwards it holds every change that was acknowledged, to
        anybody, before this call.  One round trip.

        Raises:
            DeadlineExceeded: the server did not answer in time; the view is where it was, or further on.
            LocalDivergenceError: the content was changed behind ucore's back.
            UnknownTypeError, UpgradeNeededError: this program is too old for a change in the log.
            ScoreError: others, by culprit.
        """
        self._view.sync()

    def watch(self, timeout: float | None = None) -> Watch:
        """An iterator over every change behind this view's position, in order; it moves the view.

        Args:
            timeout: seconds without a change after which a loop over it ends; None waits for ever.

        The watch has its own cursor: changing the structure inside the loop loses nothing, and the own
        changes come by as well.  Uses a connection of its own; ``close`` it, or use ``with``.
        """
        self._view.check()
        return Watch(self._view, timeout)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Move the view on until *predicate* gives something true, and return that.

        Args:
            predicate: called without arguments after each step.
            timeout: seconds; None waits for ever.

        Raises:
            DeadlineExceeded: it did not become true in time.
        """
        client = self._view.client
        deadline = client.deadline_within(timeout)
        follower = Follower(self._view)
        try:
            with client.until(deadline):
                self.sync()
            while not (found := predicate()):
                try:
                    follower.advance(deadline)
                except DeadlineExceeded:
                    raise DeadlineExceeded(
                        f"group {self.group!r}: what was waited for did not come about in time"
                    ) from None
            return found
        finally:
            follower.close()

    def verify(self) -> None:
        """Compare the view with what the server has: bring it up to date, fold the group once more over
        another connection, and compare all of it.  Takes as long as joining the group.

        Raises:
            DivergedError: they differ.  That is logged, and the view has been loaded again.
            ScoreError: others, by culprit.
        """
        self._view.verify()

    @classmethod
    def load(cls, plain: object) -> NoReturn:  # noqa: ARG003
        """A shared structure is loaded from its group; a dump of it, by ucore's own classes."""
        raise TypeError(
            f"{cls.__name__}.load cannot know the client and the group; "
            "load a dump with ucore's UMap, UVec or UStack"
        )

    def close(self) -> None:
        """Stop using the group; the content can still be read.  Idempotent."""
        self._view.close()

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class SMap(Shared, _Map[K, V]):
    """A dict that programs share.  ``SMap[str, int](client, "stock")`` joins the group "stock".

    Reads are a dict's; every mutator returns once the server has the change, durably, and what it
    returns is right for the place in the group's order where the change took effect.
    """

    __slots__ = ("_view",)

    def __init__(
        self,
        client: Client,
        group: str,
        *,
        keep_history: bool = False,
        progress: Callable[[Progress], object] | None = None,
    ) -> None:
        """Join *group* and load its state.

        Args:
            client: from ``score.connect``.
            group: a name of 1 to 255 bytes; if there is no such group, this makes it.
            keep_history: a group that this makes keeps every change for ever: none is ever trimmed away.
            progress: called with a ``Progress`` now and then while the state is loaded.

        Raises:
            SkeletonError: the group holds a structure of another kind or nesting.
            UnknownTypeError, UpgradeNeededError: this program is too old for what the group holds.
            ScoreError: others, by culprit.
        """
        self._join(client, group, keep_history, progress)

    @classmethod
    def fromkeys(cls, *_: Any) -> NoReturn:
        raise TypeError(
            "SMap.fromkeys cannot know the client and the group: "
            "SMap(client, group).update(dict.fromkeys(keys, value))"
        )


class SVec(Shared, _Vec[T]):
    """A list that programs share.  ``SVec[str](client, "log")`` joins the group "log"."""

    __slots__ = ("_view",)

    def __init__(
        self,
        client: Client,
        group: str,
        *,
        keep_history: bool = False,
        progress: Callable[[Progress], object] | None = None,
    ) -> None:
        """Join *group* and load its state; all as with ``SMap``."""
        self._join(client, group, keep_history, progress)


class SStack(Shared, _Stack[T]):
    """A stack that programs share: what one pops, nobody else does."""

    __slots__ = ("_view",)

    def __init__(
        self,
        client: Client,
        group: str,
        *,
        keep_history: bool = False,
        progress: Callable[[Progress], object] | None = None,
    ) -> None:
        """Join *group* and load its state; all as with ``SMap``."""
        self._join(client, group, keep_history, progress)
