"""What ucore raises, by culprit; each also is the builtin that a plain dict or list would raise."""

from __future__ import annotations


class UCoreError(Exception):
    """Root of everything that ucore raises on its own account."""


# ---------------------------------------------------------------- the caller's mistake


class UnstorableError(UCoreError, TypeError):
    """A value or key cannot be stored; *path* says where it stands in what was given."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class WrongTypeError(UCoreError, TypeError):
    """A value does not fit the declared type parameters; *path* says where."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class StaleHandleError(UCoreError, RuntimeError):
    """The container is no longer part of its structure; it can be read, not changed."""


class LocalDivergenceError(UCoreError, RuntimeError):
    """A container was changed behind ucore's back (``list.append(v, x)``, ``heapq``, ...)."""


class SkeletonError(UCoreError, TypeError):
    """The structure's nesting of containers is not the one that was declared."""


class TransactionError(UCoreError, RuntimeError):
    """A structure is to be changed while a transaction on it is open, or what a transaction handed
    out is used after its end."""


class InterruptedUpdateError(UCoreError, RuntimeError):
    """An update was interrupted half-way; the value has to be loaded again."""


# ---------------------------------------------------------------- an update from elsewhere


class CannotApplyError(UCoreError):
    """An update cannot be applied here; the value stands at its last whole update."""


class UnknownTypeError(CannotApplyError):
    """A type number that this program has not registered: it is a release behind."""

    def __init__(self, type_id: int) -> None:
        super().__init__(
            f"type number {type_id} is not registered in this program; "
            f"register its class with @ucore.primitive({type_id}) or update the program"
        )
        self.type_id = type_id


class UpgradeNeededError(CannotApplyError):
    """An update uses a newer set of operations than this ucore knows."""

    def __init__(self, version: int) -> None:
        super().__init__(f"the update uses operations of version {version}; update ucore")
        self.version = version


class MalformedUpdateError(CannotApplyError, ValueError):
    """Not the plain form of an update or of a value."""
