"""Shared state for Python programs: dicts, lists and stacks whose truth lives in a server.

    import score

    with score.connect("score://127.0.0.1:7737") as client:
        stock = score.SMap[str, int](client, "stock")
        stock["apples"] = 3

See README.md for a tour.
"""

from __future__ import annotations

from ucore import ABSENT
from ucore.errors import (
    LocalDivergenceError,
    SkeletonError,
    StaleHandleError,
    TransactionError,
    UCoreError,
    UnknownTypeError,
    UnstorableError,
    UpgradeNeededError,
    WrongTypeError,
)

from .client import Client, Group, Outcome, connect
from .errors import (
    ArchiveError,
    ChangeTooLargeError,
    ClosedError,
    ConflictError,
    ConnectionFailed,
    DeadlineExceeded,
    DivergedError,
    GroupDamagedError,
    GroupDeletedError,
    GroupReplacedError,
    InvalidNameError,
    InvalidUrlError,
    NotTakenError,
    OpenTransactionError,
    OutcomeUnknown,
    ProtocolError,
    ScoreError,
    ServerBusyError,
    ServerError,
    SessionExpiredError,
    StoreFullError,
    UsageError,
    WatchOverflowError,
    WrongThreadError,
)
from .local import local
from .replica import Change
from .snapshot import Progress
from .structures import Shared, SMap, SStack, SVec
from .watch import Watch

__version__ = "0.1.0"

__all__ = [
    "ABSENT",
    "ArchiveError",
    "Change",
    "ChangeTooLargeError",
    "Client",
    "ClosedError",
    "ConflictError",
    "ConnectionFailed",
    "DeadlineExceeded",
    "DivergedError",
    "Group",
    "GroupDamagedError",
    "GroupDeletedError",
    "GroupReplacedError",
    "InvalidNameError",
    "InvalidUrlError",
    "LocalDivergenceError",
    "NotTakenError",
    "OpenTransactionError",
    "Outcome",
    "OutcomeUnknown",
    "Progress",
    "ProtocolError",
    "SMap",
    "SStack",
    "SVec",
    "ScoreError",
    "ServerBusyError",
    "ServerError",
    "SessionExpiredError",
    "Shared",
    "SkeletonError",
    "StaleHandleError",
    "StoreFullError",
    "TransactionError",
    "UCoreError",
    "UnknownTypeError",
    "UnstorableError",
    "UpgradeNeededError",
    "UsageError",
    "Watch",
    "WatchOverflowError",
    "WrongThreadError",
    "WrongTypeError",
    "connect",
    "local",
]
