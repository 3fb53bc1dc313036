"""Events and effects are plain records; what they lead to is tested where it is decided."""

from __future__ import annotations

from typing import get_args

from score_server.core import events
from score_server.core.core import _EVENTS


def test_every_event_has_its_handler() -> None:
    assert set(_EVENTS) == set(get_args(events.Event))


def test_events_and_effects_are_different_things() -> None:
    assert not set(get_args(events.Event)) & set(get_args(events.Effect))
