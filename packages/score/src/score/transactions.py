"""``run_transaction``: a function of what is shared, run again while somebody else is first.

What is promised: what the function returned, or raised, was decided on a state that lacked nothing
that was acknowledged before the call; and its changes, if it made any, took effect on that very state.

- A change is judged by the server: it is taken only if the view held everything.  The refusal comes
  behind what caused it, so the next attempt begins on the latest state without asking for it.
- A function that changed nothing, or raised, asks for nothing to be judged, and may have looked at
  an old view: a worker that finds "nothing to do" there would find that for ever.  So the view is
  brought up to date, once in a call, and the function runs again if that moved it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ucore.transaction import Transaction

from .errors import ConflictError, DeadlineExceeded, ScoreError

if TYPE_CHECKING:
    from .view import View

R = TypeVar("R")


def run_transaction(
    view: View, begin: Callable[[], Transaction[Any]], function: Callable[[Any], R]
) -> R:
    """``function(t)`` in a transaction from *begin*, again on each conflict; what it returned.

    Raises:
        DeadlineExceeded: others were first until the deadline that one call of this client has;
            nothing was changed.
        OutcomeUnknown, ScoreError: as any change.
    """
    attempts = 0
    current = False  # whether the view was brought up to date since the call began
    with view.client.as_one_call():
        while True:
            transaction = begin()
            try:
                done, result = _attempt(view, transaction, function, current)
            except DeadlineExceeded as error:
                if attempts:
                    error.add_note(f"run_transaction was overtaken by others {attempts} times")
                raise
            finally:
                transaction.abandon()
            if done:
                return cast("R", result)
            attempts += 1
            current = True


def _attempt(
    view: View, transaction: Transaction[Any], function: Callable[[Any], R], current: bool
) -> tuple[bool, R | None]:
    """(True, what *function* returned), or (False, None) when it has to run again."""
    overlay = transaction.begin()
    try:
        result = function(overlay)
    except ScoreError:
        raise  # about another call in there, which looking again does not answer
    except Exception:
        transaction.abandon()
        if current or not view.catch_up():
            raise
        return False, None
    if not transaction.changes:
        transaction.abandon()
        return current or not view.catch_up(), result
    try:
        transaction.commit()
    except ConflictError:
        return False, None
    return True, result
