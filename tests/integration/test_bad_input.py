"""Whatever one client sends, it gets one typed error at most, and nobody else notices.

One server process serves all tests of this file, and one honest client works on it all the time:
its next change, and its sight of all changes so far, are checked after each attack.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
from collections.abc import Iterator

import pytest

from score_server.wire.limits import HELLO_FRAME_BYTES_MAX, MIB, Limits
from score_server.wire.messages import (
    GROUP_REPLACED,
    INTENT,
    MALFORMED,
    OUT_OF_ORDER,
    SESSION_EXPIRED,
    SESSION_FENCED,
    TOO_LARGE,
    TOO_MANY,
    VERSION_UNSUPPORTED,
    Credit,
    Error,
    Hello,
    Join,
    Joined,
    OpenSession,
    Ping,
    Pong,
    Refused,
    Resume,
    Submit,
    Welcome,
)

from ..score_server.peer import Peer, peers
from .processes import ServerProcess, serving

LIMITS = Limits()


class Honest:
    """A client that minds its own business."""

    def __init__(self, url: str) -> None:
        self.peer = Peer(url).greet("honest").open()
        self.peer.join("honest")
        self.done: list[bytes] = []

    def check(self) -> None:
        payload = b"%d" % len(self.done)
        self.peer.submit(len(self.done) + 1, payload)
        self.done.append(payload)
        assert self.peer.sync() == self.done


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with serving("--listen", "127.0.0.1:0", "--store", "memory:") as running:
        yield running
        assert running.stop() == 0
        assert not any("internal error" in line or "CRITICAL" in line for line in running.log)


@pytest.fixture(scope="module")
def honest(server: ServerProcess) -> Iterator[Honest]:
    client = Honest(server.url)
    yield client
    client.peer.close()


@pytest.fixture
def bad(server: ServerProcess, honest: Honest) -> Iterator[Peer]:
    """A fresh connection; afterwards the honest client must be as well as before."""
    peer = Peer(server.url)
    yield peer
    peer.close()
    honest.check()


def frame(body: str) -> bytes:
    data = bytes.fromhex(body)
    return struct.pack(">I", len(data)) + data


PING = "82 09 01"  # [9, 1]

# ---------------------------------------------------------------- before Hello

BEFORE_HELLO = {
    "an HTTP request": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", TOO_LARGE),
    "TLS": (bytes.fromhex("16030100f8010000f40303") + bytes(240), TOO_LARGE),
    "an endless frame": (b"\xff\xff\xff\xff", TOO_LARGE),
    "a large first frame": (struct.pack(">I", HELLO_FRAME_BYTES_MAX + 1), TOO_LARGE),
    "an empty frame": (b"\x00\x00\x00\x00", MALFORMED),
    "no array": (frame("01"), MALFORMED),
    "no messages": (frame("80"), MALFORMED),
    "something else first": (frame(f"81 {PING}"), OUT_OF_ORDER),
    "another version": (frame("81 85 01 02 63 616461 80 f6"), VERSION_UNSUPPORTED),
    "credentials that are no bytes": (frame("81 85 01 01 63 616461 80 01"), MALFORMED),
    "a long label": (frame("81 85 01 01 79 0100" + "61" * 256 + "80 f6"), TOO_LARGE),
}


@pytest.mark.parametrize("what", BEFORE_HELLO)
def test_what_is_no_greeting_gets_one_typed_error(bad: Peer, what: str) -> None:
    data, code = BEFORE_HELLO[what]
    bad.raw(data)
    assert bad.told() == code


# ---------------------------------------------------------------- after Hello

MALFORMED_FRAMES = {
    "not CBOR": "81 1c",
    "cut off inside": "82 82 09",
    "trailing bytes": f"81 {PING} 00",
    "an indefinite array": f"9f {PING} ff",
    "a map": "81 a1 09 01",
    "a tag": "81 c1 01",
    "a bignum": "81 82 09 c2 49 010000000000000000",
    "undefined": "81 82 09 f7",
    "bad UTF-8": "81 84 03 01 62 c328 f6",
    "a declared length without data": "81 84 03 01 5b 7fffffffffffffff",
    "a bomb of nested arrays": "81" * 4000 + "01",
    "an unknown code": "81 82 18 3f 01",
    "a reserved code": "81 82 0c 01",
    "a code that is no number": "81 82 61 09 01",
    "a field too many": "81 83 09 01 01",
    "a field too few": "81 81 09",
    "a field of another type": "81 82 09 61 31",
    "a bool for a number": "81 82 09 f5",
    "a negative channel": "81 84 03 20 61 67 f6",
    "an empty name": "81 84 03 01 60 f6",
}


@pytest.mark.parametrize("what", MALFORMED_FRAMES)
def test_a_malformed_frame_gets_one_typed_error(bad: Peer, what: str) -> None:
    bad.greet().raw(frame(MALFORMED_FRAMES[what]))
    assert bad.told() == MALFORMED


OUT_OF_ORDER_FRAMES = {
    "a second Hello": "81 85 01 01 63 616461 80 f6",
    "a server's message": "81 82 18 49 01",  # Pong
    "Submit without a session": "81 88 05 01 01 00 00 00 00 41 78",
    "Sync on a channel that was never opened": "81 83 06 05 01",
    "the same channel twice": "82 85 03 01 61 67 f6 f4 85 03 01 61 67 f6 f4",
}


@pytest.mark.parametrize("what", OUT_OF_ORDER_FRAMES)
def test_a_known_message_at_a_wrong_moment_gets_one_typed_error(bad: Peer, what: str) -> None:
    bad.greet().raw(frame(OUT_OF_ORDER_FRAMES[what]))
    assert bad.told() == OUT_OF_ORDER


def test_a_frame_over_the_limit_is_refused_by_its_length_alone(bad: Peer) -> None:
    bad.greet().raw(struct.pack(">I", LIMITS.frame_bytes_max + 1))
    assert bad.told() == TOO_LARGE


def test_an_oversized_frame_that_is_sent_all_the_same_gets_its_error(bad: Peer) -> None:
    bad.greet()
    size = LIMITS.frame_bytes_max + 1
    bad.raw(struct.pack(">I", size) + bytes(size))
    assert bad.told() == TOO_LARGE


def test_a_change_over_the_limit_is_refused(bad: Peer) -> None:
    bad.greet().open().join()
    payload = bytes(LIMITS.change_bytes_max + 1)
    head = bytes.fromhex(f"81 88 05 01 01 00 00 00 00 5a {len(payload):08x}")
    bad.raw(struct.pack(">I", len(head) + len(payload)) + head + payload)
    assert bad.told() == TOO_LARGE


def test_messages_before_the_mistake_count_and_those_behind_it_do_not(
    server: ServerProcess, bad: Peer
) -> None:
    bad.greet().open().join("mistake")
    first = bad.wire.send(Submit(1, 1, 0, 0, INTENT, 0, b"before"))
    second = bad.wire.send(Submit(1, 2, 0, 0, INTENT, 0, b"behind"))
    bad.raw(first + frame("81 81 18 3f") + second)
    assert bad.told() == MALFORMED
    with peers(server.url) as (other,):
        other.greet().join("mistake")
        assert other.sync() == [b"before"]


def test_a_channel_too_many_is_refused_and_the_others_stay(bad: Peer) -> None:
    bad.greet()
    channels = LIMITS.channels_max + 1
    bad.wire.limits = LIMITS._replace(channels_max=channels)  # or our own side would refuse
    bad.send(*[Join(channel, "g", None) for channel in range(1, channels + 1)])
    for _ in range(LIMITS.channels_max):
        bad.expect(Joined)
    error = bad.expect(Error)
    assert (error.code, error.channel) == (TOO_MANY, channels)
    assert bad.is_served()


# ---------------------------------------------------------------- slow, cut off, noisy


def test_bytes_that_dribble_in_are_a_message_all_the_same(bad: Peer) -> None:
    for byte in bad.wire.send(Hello(1, "slow", [], None)):
        bad.raw(bytes([byte]))
    bad.expect(Welcome)
    for byte in bad.wire.send(Ping(5)):
        bad.raw(bytes([byte]))
    assert bad.expect(Pong) == Pong(5)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 9])
def test_a_connection_that_ends_inside_a_frame_is_just_gone(bad: Peer, length: int) -> None:
    bad.greet().raw(bad.wire.send(Ping(1))[:length])


@pytest.mark.parametrize("length", [0, 3, 9])
def test_a_connection_that_is_reset_inside_a_frame_is_just_gone(bad: Peer, length: int) -> None:
    bad.greet().raw(bad.wire.send(Ping(1))[:length])
    bad.reset()


@pytest.mark.parametrize("seed", range(8))
def test_noise_is_refused(bad: Peer, seed: int) -> None:
    noise = random.Random(seed)
    bad.greet()
    body = noise.randbytes(noise.randrange(1, 2000))
    bad.raw(struct.pack(">I", len(body)) + body)
    assert bad.told() in (MALFORMED, TOO_LARGE)  # the latter if it begins as a very long array does


@pytest.mark.parametrize("seed", range(8))
def test_a_flipped_bit_in_a_submission_never_reaches_others(
    bad: Peer, honest: Honest, seed: int
) -> None:
    """It may still be a right message, of a payload nobody decodes; or it is refused."""
    flip = random.Random(seed)
    bad.greet().open().join("scratch")
    data = bytearray(bad.wire.send(Submit(1, 1, 0, 0, INTENT, 0, b"payload")))
    at = flip.randrange(4, len(data))  # the length is left alone: a longer one is just unfinished
    data[at] ^= 1 << flip.randrange(8)
    bad.raw(bytes(data))
    bad.raw(bad.wire.send(Ping(1)))
    while (message := bad.receive()) is not None and type(message) is not Pong:
        assert not isinstance(message, Error) or message.channel == 0


def test_many_unfinished_frames_cost_those_who_hold_them(server: ServerProcess, bad: Peer) -> None:
    """Ten frames of 8 MiB that never end: over 64 MiB together, who holds the most is told."""
    size = LIMITS.frame_bytes_max
    with peers(server.url, 10) as hoarders:
        for hoarder in hoarders:
            hoarder.greet()
        for hoarder in hoarders:
            with contextlib.suppress(ConnectionError):  # told, and closed, in the middle of it
                hoarder.raw(struct.pack(">I", size) + bytes(size - 1))
        server.wait_for("unfinished frames")
        assert bad.greet().is_served()


# ---------------------------------------------------------------- what the core refuses


def test_an_unknown_session_is_told_so(bad: Peer) -> None:
    bad.greet().send(OpenSession(os.urandom(16)))
    assert bad.told() == SESSION_EXPIRED


def test_a_session_taken_over_is_told_so(server: ServerProcess, bad: Peer) -> None:
    bad.greet().open()
    with peers(server.url) as (newer,):
        newer.greet().open(bad.session)
        assert bad.told() == SESSION_FENCED


def test_another_history_closes_the_channel_and_not_the_connection(bad: Peer) -> None:
    bad.greet().send(Join(1, "honest", Resume(bytes(16), 1, bytes(16))))
    error = bad.expect(Error)
    assert (error.code, error.channel) == (GROUP_REPLACED, 1)
    assert bad.is_served()


def test_credit_beyond_the_limit_closes_the_channel(bad: Peer) -> None:
    bad.greet().join()
    bad.send(Credit(1, LIMITS.credit_bytes_max), Credit(1, 1))
    error = bad.expect(Error)
    assert (error.code, error.channel) == (TOO_MANY, 1)
    assert bad.is_served()


def test_answers_that_nobody_takes_stop_the_reading_not_the_server(bad: Peer) -> None:
    """A client that asks for ever and never reads fills its own sockets, and that is all."""
    bad.greet()
    bad.sock.settimeout(1.0)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 256 * MIB:
            sent += bad.sock.send(bad.wire.send(*[Ping(1)] * 10_000))
    assert sent < 64 * MIB


def test_refused_submissions_are_answered_and_leave_no_trace(bad: Peer, honest: Honest) -> None:
    bad.greet().open().join("honest")
    bad.send(Submit(1, 1, 0, 0, 1, 0, b"strict, and behind"))
    assert bad.expect(Refused).seq == 1
