"""A network that cuts after any byte, that goes silent, and that dribbles; a server without descriptors."""

from __future__ import annotations

import resource
import socket
import time
from pathlib import Path

import pytest

from score_server.wire.connection import Connection, Role
from score_server.wire.messages import INTENT, Hello, Submit, Taken

from ..score.relay import Relay
from ..score_server.peer import Peer, peers
from .ledger import acknowledged, unknown
from .machine import Scale, Site, site
from .proxy import Blackhole

CALLS = 2  # one value and one count: opening the session and joining are among the bytes


def conversation(here: Site, relay: Relay, name: str) -> tuple[int, int]:
    """A client's whole conversation through *relay*; the bytes up and down."""
    before = relay.bytes_up, relay.bytes_down
    worker = here.worker(name, url=relay.url)
    worker.run(CALLS)
    worker.resolve()
    here.workers.remove(worker)
    worker.close()
    return relay.bytes_up - before[0], relay.bytes_down - before[1]


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_connection_cut_after_any_byte_costs_no_call_its_one_right_answer(
    tmp_path: Path, scale: Scale, figures: dict[str, object], way: str
) -> None:
    with site(tmp_path / "s") as here:
        here.start()
        with Relay(here.url) as relay:
            up, down = conversation(here, relay, "dry")
            # Names and positions grow in the course of it: a few bytes more.
            points = scale.spread(range((up if way == "up" else down) + 20), 25)
            for after in points:
                if way == "up":
                    relay.cut_next(up=after)
                else:
                    relay.cut_next(down=after)
                conversation(here, relay, f"c{after:04}")
        tries = here.check()
        assert unknown(tries) == 0
        figures |= {"cuts": len(points), "acknowledged": acknowledged(tries)}
        assert acknowledged(tries) == CALLS * (len(points) + 1)


@pytest.mark.parametrize("ways", [("up",), ("down",), ("up", "down")], ids="+".join)
def test_a_connection_that_goes_silent_costs_its_client_a_deadline_and_nobody_else_anything(
    tmp_path: Path, ways: tuple[str, ...]
) -> None:
    with site(tmp_path / "s") as here:
        here.start()
        with Blackhole(here.url) as hole:
            ada = here.worker("ada", deadline_s=1.0, url=hole.url)
            ben = here.worker("ben")
            ada.run(4)
            ben.run(4)
            hole.swallow(*ways)
            begun = time.monotonic()
            assert ada.step() == "unknown"
            assert time.monotonic() - begun < 3
            assert ada.step() == "no"  # nobody answers yet
            begun = time.monotonic()
            ben.run(20)
            assert time.monotonic() - begun < 5
            # Another client, on another way, can tell already what became of it.
            (token,) = ada.unknown.values()
            verdict = ben.client.outcome(token).verdict
            assert verdict == ("taken" if "up" not in ways else "not taken")
            hole.swallow()
            ada.resolve()
            assert ada.client.outcome(token).verdict == verdict
            ada.run(4)
            assert unknown(here.check()) == 0


def test_hundreds_of_connections_that_dribble_hold_nobody_up(
    tmp_path: Path, scale: Scale, figures: dict[str, object]
) -> None:
    """Each sends a valid conversation a byte at a time; an honest client is served all the while."""
    count, pause_s = scale.pick(100, 400), scale.pick(0, 1)
    with site(tmp_path / "s") as here:
        here.start()
        ada = here.worker("ada")
        ada.run(10)
        latencies: list[float] = []
        # The handshake has a time limit, which a dribbler would not meet.
        crowd = [Peer(here.url).greet("dribbler").open() for _ in range(count)]
        for peer in crowd:
            peer.join("dribbled")
        streams = [submission(peer) for peer in crowd]
        for position in range(max(map(len, streams))):
            for peer, stream in zip(crowd, streams, strict=True):
                if position < len(stream):
                    peer.raw(stream[position : position + 1])
            begun = time.monotonic()
            assert ada.step() == "ok"
            latencies.append(time.monotonic() - begun)
            time.sleep(pause_s)
        for peer in crowd:
            while type(message := peer.receive()) is not Taken:
                assert message is not None
            peer.close()
        latencies.sort()
        figures |= {
            "connections": count,
            "bytes each": len(streams[0]),
            "ms for an honest call, median": round(latencies[len(latencies) // 2] * 1000, 1),
            "ms, worst": round(latencies[-1] * 1000, 1),
        }
        assert latencies[len(latencies) // 2] < 1
        here.check()


def submission(peer: Peer) -> bytes:
    """The bytes of a whole submission, to a group of no interest."""
    return peer.wire.send(Submit(1, 1, 0, 0, INTENT, 0, b"x"))


def test_a_handshake_that_dribbles_is_ended_in_time_and_holds_nobody_up(
    tmp_path: Path, scale: Scale
) -> None:
    if not scale.whole:
        pytest.skip("waits for the end of the time that a handshake may take")
    with site(tmp_path / "s") as here:
        here.start()
        ada = here.worker("ada")
        hello = Connection(Role.CLIENT).send(Hello(1, "slow", [], None))
        crowd = [socket.create_connection(("127.0.0.1", here.port)) for _ in range(100)]
        for position in range(5):
            for slow in crowd:
                slow.sendall(hello[position : position + 1])
            assert ada.step() == "ok"
        for slow in crowd:
            slow.settimeout(30)
            told = b""
            while data := slow.recv(4096):  # an Error, and the end
                told += data
            assert told
            slow.close()
        assert ada.step() == "ok"
        here.check()


def test_a_server_without_descriptors_serves_those_it_has_and_all_when_there_are_some(
    tmp_path: Path,
) -> None:
    with site(tmp_path / "s") as here:
        server = here.start()
        ada = here.worker("ada")
        ada.run(4)
        used = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used + 3, used + 3))
        with peers(here.url, 20) as crowd:
            server.wait_for("cannot accept connections for now")
            ada.run(20)  # commits as well need none
            for peer in crowd[:3]:
                assert peer.greet().is_served()
        server.wait_for("accepting connections again")
        ben = here.worker("ben")
        ben.run(4)
        here.check()
        assert server.stop() == 0


@pytest.mark.parametrize("limit", [3, 5, 8, 10, 12, 16, 24])
def test_a_server_started_with_few_descriptors_serves_or_says_why_not(
    tmp_path: Path, limit: int
) -> None:
    with site(tmp_path / "s") as here:
        server = here.start(("prlimit", f"--nofile={limit}:{limit}"), ready=False)
        server.wait_for(".")
        if "listening on" in server.log:
            with peers(here.url) as (peer,):
                assert limit < 16 or peer.greet().is_served()
            assert server.stop() == 0
        else:
            assert server.wait() != 0
