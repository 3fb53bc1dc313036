"""The table of messages: codes are for ever."""

from __future__ import annotations

from typing import get_args

from score_server.wire import messages
from score_server.wire.messages import CODES, MESSAGES, Message

from .golden import GOLDEN

# A code is never used again for something else: rows are added here, never changed.
EVER = {
    1: "Hello", 2: "OpenSession", 3: "Join", 4: "Leave", 5: "Submit", 6: "Sync", 7: "Credit",
    8: "AskOutcome", 9: "Ping", 10: "ListGroups", 11: "Bye", 12: "AskTurn", 13: "OfferSnapshot",
    14: "PutSnapshot", 15: "Trim", 16: "DeleteGroup", 17: "EndTurn", 65: "Welcome", 66: "SessionOpened",
    67: "Joined", 68: "Entries", 69: "Taken", 70: "Refused", 71: "Synced", 72: "Outcome",
    73: "Pong", 74: "GroupPage", 80: "TurnGranted", 81: "WantSnapshot", 82: "SnapshotChunk",
    83: "Trimmed", 84: "SnapshotKept", 85: "GroupDeleted", 96: "Error",
}  # fmt: skip
ERRORS = {
    1: "MALFORMED", 2: "OUT_OF_ORDER", 3: "TOO_LARGE", 4: "VERSION_UNSUPPORTED",
    5: "SESSION_EXPIRED", 6: "SESSION_FENCED", 7: "GROUP_REPLACED", 8: "GROUP_DAMAGED",
    9: "TOO_MANY", 10: "TIMED_OUT", 11: "SHUTTING_DOWN", 12: "OVERLOADED",
    13: "BEHIND_TRIM", 14: "GROUP_DELETED",
}  # fmt: skip


def test_a_code_means_what_it_always_has() -> None:
    assert {code: kind.__name__ for code, kind in MESSAGES.items()} == EVER


def test_an_error_code_means_what_it_always_has() -> None:
    assert {getattr(messages, name): name for name in ERRORS.values()} == ERRORS


def test_every_message_has_one_code() -> None:
    assert set(get_args(Message)) == set(MESSAGES.values())
    assert {CODES[kind]: kind for kind in CODES} == MESSAGES


def test_every_message_has_a_golden_frame() -> None:
    assert {type(message) for message, _ in GOLDEN.values()} == set(CODES)


def test_every_message_says_what_it_is() -> None:
    # A NamedTuple without a docstring gets a generated one: the fields.
    undocumented = {kind.__name__ for kind in CODES if kind.__doc__.startswith(f"{kind.__name__}(")}
    assert undocumented <= {"Leave", "Ping", "Pong", "Synced"}, "these speak for themselves"
