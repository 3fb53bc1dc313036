"""``run_transaction``: a function of what is shared, run again while somebody else is first.

What is promised: what the function returned, or raised, was decided on a state that lacked nothing
that was acknowledged before the call; and its changes, if it made any, took effect on that very state.

- A change is judged by the server: it is taken only if the view held everything.  The refusal comes
  behind what caused it.  The next attempts wait for a turn (``score_server.core.turns``): in line, up to
  date, and with nobody else's change in between for as long as its lease, so nobody starves.
- Where many write, a first attempt without a turn is always refused: a submission, an answer and a wake-up
  for nothing.  So a view that was refused (``View.is_contended``) begins its next call with a turn, until one
  brings it nothing new, or was not used: then it would have done without.
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
    in_turn = view.is_contended  # whether an attempt waits for its turn
    with view.client.as_one_call():
        while True:
            transaction = begin()
            try:
                if in_turn:
                    moved = view.take_turn()
                    current = True
                    view.is_contended = moved or attempts > 0
                done, result = _attempt(view, transaction, function, current, in_turn)
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
            in_turn = view.is_contended = transaction.changes > 0


def _attempt(
    view: View,
    transaction: Transaction[Any],
    function: Callable[[Any], R],
    current: bool,
    in_turn: bool,
) -> tuple[bool, R | None]:
    """(True, what *function* returned), or (False, None) when it has to run again."""
    submitted = False
    overlay = transaction.begin()
    try:
        result = function(overlay)
        if transaction.changes:
            submitted = True
            transaction.commit()
            return True, result
    except ConflictError:
        if submitted:
            return False, None
        raise
    except ScoreError:
        raise  # about another call in there, which looking again does not answer
    except Exception:
        transaction.abandon()
        if submitted or current or not view.catch_up():
            raise
        return False, None
    finally:
        transaction.abandon()
        if in_turn and not submitted:
            view.is_contended = False
            view.end_turn()
    return current or not view.catch_up(), result
