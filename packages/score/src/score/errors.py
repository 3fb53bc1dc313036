"""What score raises, in one tree, by culprit.  Each message says what to do.

What a plain dict or list would raise (``KeyError``, ``IndexError``, ``TypeError`` ...) is raised as such.
Mistakes about values and types come from ``ucore`` (``UnstorableError``, ``StaleHandleError`` ...).
"""

from __future__ import annotations

from ucore.errors import TransactionError


class ScoreError(Exception):
    """Root of everything that score raises on its own account."""


# ---------------------------------------------------------------- this program


class UsageError(ScoreError):
    """This program used score in a way that cannot work; the message names the way that does."""


class InvalidUrlError(UsageError, ValueError):
    """Not ``score://host:port``."""


class InvalidNameError(UsageError, ValueError):
    """A group's name, a label or a token that cannot be one."""


class ClosedError(UsageError, ValueError):
    """The client or the structure was closed."""


class WrongThreadError(UsageError, RuntimeError):
    """A structure was used by a thread other than the one that made it."""


class ChangeTooLargeError(UsageError, ValueError):
    """One change is over the server's limit; nothing was changed.

    Attributes:
        size: bytes of the change.
        limit: bytes that the server allows.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"the change has {size:,} bytes, the server allows {limit:,}; "
            "split it (several batches), or keep large values elsewhere and share their names"
        )
        self.size = size
        self.limit = limit


class OpenTransactionError(UsageError, TransactionError):
    """A structure was to be changed or moved on while a transaction on it is open; the transaction's
    own value is what to change."""


class WatchOverflowError(UsageError, RuntimeError):
    """A watch was not read while its view went on; make a new watch and read it."""


# ---------------------------------------------------------------- other clients


class ConflictError(ScoreError):
    """Somebody else changed what this change was about first; nothing was changed.

    The view already holds what the others did: look again and decide again.
    """


class GroupReplacedError(ScoreError):
    """The group on the server is not the one this view has followed: restored from a backup, or
    removed and made anew.  The view can be read; join again with a new structure."""


class GroupDeletedError(GroupReplacedError):
    """Somebody has deleted the group.  The view can be read; a new structure of the name makes a new group."""


class DivergedError(ScoreError):
    """Two folds of the same changes differ: one of the programs that made them, or its machine, is wrong.

    (ucore's ``LocalDivergenceError`` says that this program wrote past a structure's methods.)
    """


class ArchiveError(ScoreError, ValueError):
    """A file is not an archive of a group, or not all of one."""


# ---------------------------------------------------------------- the network and the server


class DeadlineExceeded(ScoreError, TimeoutError):
    """The deadline passed, and nothing was changed."""


class OutcomeUnknown(ScoreError, TimeoutError):
    """The change was sent, and the deadline passed before its answer came.

    It takes effect at most once; ``client.outcome(token)`` says whether it did.

    Attributes:
        token: text to keep beside the order it belongs to; any process may ask with it.
        group: the group's name.
    """

    def __init__(self, token: str, group: str) -> None:
        super().__init__(
            f"a change of group {group!r} was sent, but its answer did not come in time; "
            f"ask client.outcome({token!r}) whether it took effect"
        )
        self.token = token
        self.group = group


class ConnectionFailed(ScoreError, ConnectionError):
    """No server answers at this address."""


class ServerError(ScoreError):
    """The server refused; the message repeats its words."""


class StoreFullError(ServerError, OSError):
    """The server's disk is full; nothing was changed."""


class ServerBusyError(ServerError):
    """A limit on the number of connections, sessions or groups is reached."""


class SessionExpiredError(ServerError):
    """The server no longer knows this client's session (unused for too long, or another store), so
    what became of its last change cannot be learned any more."""


class NotTakenError(ServerError):
    """Somebody asked for this change's outcome while it was on its way and was told "no", which is
    final; nothing was changed."""


class GroupDamagedError(ServerError):
    """The stored log of the group fails its check; the server's log file says where."""


class ProtocolError(ServerError):
    """The server speaks another protocol or another version of it, or it is not a score-server."""
