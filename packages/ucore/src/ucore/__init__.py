"""Values that are a series of small atomic updates: UMap, UVec and UStack."""

from . import conformance
from .base import ABSENT
from .errors import (
    CannotApplyError,
    InterruptedUpdateError,
    LocalDivergenceError,
    MalformedUpdateError,
    SkeletonError,
    StaleHandleError,
    TransactionError,
    UCoreError,
    UnknownTypeError,
    UnstorableError,
    UpgradeNeededError,
    WrongTypeError,
)
from .list_overlay import StackOverlay, VecOverlay
from .map_overlay import MapOverlay
from .node import recording
from .primitives import primitive
from .transaction import Transaction
from .umap import UMap
from .updatable import Updatable, Update
from .ustack import UStack
from .uvec import UVec

__version__ = "0.1.0"

__all__ = [
    "ABSENT",
    "CannotApplyError",
    "InterruptedUpdateError",
    "LocalDivergenceError",
    "MalformedUpdateError",
    "MapOverlay",
    "SkeletonError",
    "StackOverlay",
    "StaleHandleError",
    "Transaction",
    "TransactionError",
    "UCoreError",
    "UMap",
    "UStack",
    "UVec",
    "UnknownTypeError",
    "UnstorableError",
    "Updatable",
    "Update",
    "UpgradeNeededError",
    "VecOverlay",
    "WrongTypeError",
    "conformance",
    "primitive",
    "recording",
]
