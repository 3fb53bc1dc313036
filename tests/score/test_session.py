"""The names of submissions: one pending at a time, frozen, settled in order."""

from __future__ import annotations

import pytest

from score.errors import InvalidNameError
from score.session import Session, parse_token
from score_server.wire.messages import INTENT, STRICT

IDENTITY = bytes(range(16))


@pytest.fixture
def session() -> Session:
    opened = Session()
    opened.id = IDENTITY
    return opened


def test_names_count_up_and_carry_what_is_settled(session: Session) -> None:
    first = session.name("g", 3, INTENT, b"x")
    assert (first.seq, first.settled, session.settled) == (1, 0, 0)
    session.answered()
    second = session.name("g", 4, STRICT, b"y")
    assert (second.seq, second.settled, session.settled) == (2, 1, 1)
    session.answered()
    assert session.settled == 2


def test_a_submission_says_the_same_on_every_connection_but_for_the_channel(
    session: Session,
) -> None:
    named = session.name("g", 3, STRICT, b"x")
    assert named.message(1)[1:] == named.message(7)[1:] == (1, 0, 3, STRICT, 0, b"x")
    assert (named.message(1).channel, named.message(7).channel) == (1, 7)


def test_what_never_left_is_withdrawn_and_its_seq_used_again(session: Session) -> None:
    session.name("g", 0, INTENT, b"x")
    session.withdraw()
    assert session.pending is None
    assert session.name("g", 0, INTENT, b"y").seq == 1


def test_what_left_is_not_withdrawn(session: Session) -> None:
    named = session.name("g", 0, INTENT, b"x")
    named.sent = True
    session.withdraw()
    assert session.pending is named
    session.answered()
    session.withdraw()  # nothing pending: nothing to do
    assert session.name("g", 0, INTENT, b"y").seq == 2


def test_a_token_names_the_pending_submission(session: Session) -> None:
    session.name("g", 0, INTENT, b"x")
    assert parse_token(session.token()) == (IDENTITY, 1)


def test_an_expired_session_begins_anew(session: Session) -> None:
    session.name("g", 0, INTENT, b"x")
    session.answered()
    session.expired()
    assert session.id is None
    assert session.name("g", 0, INTENT, b"y").seq == 1


def test_an_expired_sessions_sent_submission_is_given_up(session: Session) -> None:
    session.name("g", 0, INTENT, b"x").sent = True
    session.expired()
    assert session.pending is None
    assert session.name("g", 0, INTENT, b"y").seq == 1


def test_an_expired_sessions_unsent_submission_gets_a_name_in_the_next(session: Session) -> None:
    session.name("g", 0, INTENT, b"x")
    session.answered()
    named = session.name("g", 0, INTENT, b"y")
    session.expired()
    assert session.pending is named
    assert (named.seq, named.settled) == (1, 0)
    session.answered()
    assert session.name("g", 0, INTENT, b"z").seq == 2


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        IDENTITY.hex(),
        f"{IDENTITY.hex()}-0",
        f"{IDENTITY.hex()}-01",
        f"{IDENTITY.hex()}-{2**63}",
        f"{IDENTITY.hex()}-1 ",
        f"{IDENTITY.hex().upper()}-1",
        None,
        7,
    ],
)
def test_anything_but_a_token_is_refused_in_words(token: object) -> None:
    with pytest.raises(InvalidNameError, match="is not a token"):
        parse_token(token)  # type: ignore[arg-type]


def test_the_largest_seq_is_a_token() -> None:
    assert parse_token(f"{IDENTITY.hex()}-{2**63 - 1}") == (IDENTITY, 2**63 - 1)
