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
    UCoreError,
    UnknownTypeError,
    UnstorableError,
    UpgradeNeededError,
    WrongTypeError,
)
from .node import recording
from .primitives import primitive
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
    "SkeletonError",
    "StaleHandleError",
    "UCoreError",
    "UMap",
    "UStack",
    "UVec",
    "UnknownTypeError",
    "UnstorableError",
    "Updatable",
    "Update",
    "UpgradeNeededError",
    "WrongTypeError",
    "conformance",
    "primitive",
    "recording",
]
