"""Which Python functions run during some work: none may from inside cbor2 (see ``codec.py``'s header)."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType

# Where exceptions go on to the caller (records are made in ``collections``).
OURS = ("score_server", "ucore", "score", "tests", "collections")


def foreign_calls(work: Callable[[], object]) -> list[str]:
    """The functions that *work* calls and that are not of these packages, such as ``abc.ABCMeta``'s."""
    calls: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        module = str(frame.f_globals["__name__"])
        if event == "call" and module.partition(".")[0] not in OURS:
            calls.append(f"{module}.{frame.f_code.co_name}")

    before = sys.getprofile()
    gc.disable()  # Hypothesis has a callback of its own there
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return calls
