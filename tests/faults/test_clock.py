"""The server's wall clock jumps, both ways, by days: faketime reads the offset from a file at each call.

The monotonic clock is left alone, as an operator's or NTP's hand on the clock leaves it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from score_server.wire.entry import decode_entry

from ..score_server.peer import peers
from .ledger import unknown
from .machine import STUCK_S, Scale, Site, faketime_library, need, site


class Skewed:
    """A site whose servers' clock is off by what ``jump`` said last."""

    def __init__(self, here: Site) -> None:
        self.here = here
        self._offset = here.folder / "offset"
        self.jump("+0")

    def jump(self, offset: str) -> None:
        """*offset* from the true time: "+2d", "-36h"."""
        new = self._offset.with_suffix(".new")
        new.write_text(offset + "\n")
        new.replace(self._offset)

    def start(self) -> None:
        library = faketime_library()
        assert library is not None
        env = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.here.start(env=env)


@pytest.fixture
def skewed(tmp_path: Path) -> Iterator[Skewed]:
    need(faketime_library() is not None, "faketime")
    with site(tmp_path / "s") as here:
        yield Skewed(here)


def times_of(here: Site) -> list[int]:
    """The server's time in each entry of the values, in ms."""
    with peers(here.url) as (peer,):
        peer.greet().open().join("values")
        peer.sync()
        return [decode_entry(entry).time_ms for entry in peer.entries]


def test_a_clock_that_jumps_both_ways_changes_nothing_but_the_times_in_the_log(
    skewed: Skewed,
) -> None:
    here = skewed.here
    skewed.start()
    ada, ben = here.worker("ada"), here.worker("ben")
    for offset in ("+0", "+2d", "-2d", "+400d", "-3650d", "+0"):
        skewed.jump(offset)
        for worker in (ada, ben):
            worker.run(4)
    assert unknown(here.check()) == 0
    assert here.servers[-1].is_running()
    times = times_of(here)
    assert times == sorted(times)
    day_ms = 24 * 3600 * 1000
    assert times[-1] - times[0] > 399 * day_ms, "the clock did not jump: is faketime at work?"


@pytest.mark.parametrize("offset", ["-3650d", "+300d"])
def test_a_server_started_with_another_time_goes_on_where_the_last_one_was(
    skewed: Skewed, offset: str
) -> None:
    here = skewed.here
    skewed.start()
    ada = here.worker("ada")
    ada.run(6)
    here.servers[-1].kill()
    skewed.jump(offset)
    skewed.start()
    if offset.startswith("-"):
        ada.run(6)
        assert unknown(here.check()) == 0
    else:
        # Nobody used the session for longer than it is kept: a new one, and what was settled stays.
        told = [ada.step() for _ in range(6)]
        assert told.count("ok") >= 5
        here.check()
    times = times_of(here)
    for run in (times[:3], times[3:]):  # three of six calls append a value
        assert run == sorted(run)


def test_a_silent_connection_is_ended_in_time_also_after_the_clock_was_set_back(
    skewed: Skewed, scale: Scale
) -> None:
    if not scale.whole:
        pytest.skip("waits for the end of the time that a handshake may take")
    here = skewed.here
    skewed.jump("+2d")
    skewed.start()
    skewed.jump("+0")
    with socket.create_connection(("127.0.0.1", here.port)) as silent:
        silent.settimeout(STUCK_S / 2)
        while silent.recv(4096):
            pass
