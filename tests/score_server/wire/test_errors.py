"""Errors by culprit."""

from __future__ import annotations

import pickle

from score_server.wire.errors import LocalProtocolError, ProtocolError, RemoteProtocolError


def test_a_remote_error_carries_what_the_server_answers() -> None:
    error = RemoteProtocolError(1, "an empty frame")
    assert (error.code, error.text) == (1, "an empty frame")
    assert str(error) == "an empty frame (error 1)"


def test_it_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(RemoteProtocolError(3, "too large")))
    assert (again.code, again.text) == (3, "too large")


def test_one_root_catches_both_culprits() -> None:
    assert issubclass(LocalProtocolError, ProtocolError)
    assert issubclass(RemoteProtocolError, ProtocolError)
