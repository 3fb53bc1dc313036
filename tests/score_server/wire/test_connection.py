"""One end of a connection: what it lets through, what it refuses, and whom it blames."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_server.wire.connection import (
    CONNECTION_CLOSED,
    NEED_DATA,
    Connection,
    Role,
    error_message,
)
from score_server.wire.errors import LocalProtocolError, RemoteProtocolError
from score_server.wire.limits import HELLO_FRAME_BYTES_MAX, Limits
from score_server.wire.messages import (
    CODES,
    MALFORMED,
    OUT_OF_ORDER,
    TOO_LARGE,
    VERSION_UNSUPPORTED,
    Bye,
    DeleteGroup,
    Entries,
    Error,
    GroupPage,
    Hello,
    Join,
    Joined,
    Leave,
    ListGroups,
    Message,
    OfferSnapshot,
    OpenSession,
    Ping,
    Pong,
    PutSnapshot,
    SessionOpened,
    SnapshotChunk,
    Submit,
    Sync,
    Taken,
    Welcome,
)
from score_server.wire.runs import SubmitRun, TakenRun

from .golden import BATCH, CHAIN, DIGEST, ENTRY_BYTES, GOLDEN, INCARNATION, PAYLOAD, SESSION

LIMITS = Limits(
    frame_bytes_max=8192, change_bytes_max=100, name_bytes_max=10, frame_items_max=32,
    snapshot_bytes_max=1000, snapshot_chunk_bytes_max=50,
)  # fmt: skip
GROUP = ["a", INCARNATION, 1, 0, 0, 10, 0, False]
HELLO = Hello(1, "till", [], None)
WELCOME = Welcome(1, "score-server", 0, [], LIMITS)


def drain(connection: Connection) -> list[Message]:
    found = []
    while isinstance(message := connection.next_message(), tuple):
        found.append(message)
    return found


def pair(*, opened: bool = True) -> tuple[Connection, Connection]:
    """A client and a server that have greeted; with a session and channel 1 if *opened*."""
    client, server = Connection(Role.CLIENT), Connection(Role.SERVER, LIMITS)
    pass_on(client, server, HELLO)
    pass_on(server, client, WELCOME)
    if opened:
        pass_on(client, server, OpenSession(None), Join(1, "stock", None))
        pass_on(server, client, SessionOpened(SESSION), Joined(1, INCARNATION, 0, 0, None))
    return client, server


def pass_on(source: Connection, target: Connection, *messages: Message) -> None:
    target.receive_data(source.send(*messages))
    assert drain(target) == list(messages)


def submit(seq: int = 1, **changes: object) -> Submit:
    return Submit(1, seq, 0, 0, 0, 0, PAYLOAD)._replace(**changes)


def frame(*items: bytes) -> bytes:
    body = bytes([0x80 + len(items)]) + b"".join(items)
    return len(body).to_bytes(4, "big") + body


def frames(data: bytes) -> list[bytes]:
    """The bodies in *data*."""
    bodies = []
    while data:
        length = int.from_bytes(data[:4], "big")
        bodies.append(data[4 : 4 + length])
        data = data[4 + length :]
    return bodies


def refused(connection: Connection, data: bytes) -> RemoteProtocolError:
    connection.receive_data(data)
    with pytest.raises(RemoteProtocolError) as caught:
        drain(connection)
    return caught.value


def test_a_conversation_arrives_as_it_was_sent() -> None:
    client, server = pair()
    pass_on(client, server, submit(), Sync(1, 7))
    pass_on(server, client, Entries(1, [ENTRY_BYTES]), Taken(1, 1))
    pass_on(client, server, Bye(1))
    server.receive_data(b"")
    assert server.next_message() is CONNECTION_CLOSED


def test_the_limits_that_hold_are_the_servers() -> None:
    client, server = pair(opened=False)
    assert client.limits == server.limits == LIMITS


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_frames_may_come_in_pieces_of_any_size(size: int) -> None:
    client, server = pair()
    messages = [submit(seq, settled=seq - 1) for seq in range(1, 9)]
    data = b"".join(client.send(message) for message in messages) + client.send(*BATCH[0])
    found: list[Message] = []
    for at in range(0, len(data), size):
        server.receive_data(data[at : at + size])
        found += drain(server)
    assert found == [*messages, *BATCH[0]]
    assert server.buffered == 0


def test_what_is_held_for_an_unfinished_frame_can_be_read_off() -> None:
    client, server = pair()
    data = client.send(submit())
    server.receive_data(data[:9])
    assert drain(server) == []
    assert server.buffered == 9


def test_a_frame_cut_off_by_the_end_has_never_been_sent() -> None:
    client, server = pair()
    data = client.send(Ping(1)) + client.send(submit())
    server.receive_data(data[:-1])
    server.receive_data(b"")
    assert drain(server) == [Ping(1)]
    assert server.next_message() is CONNECTION_CLOSED
    assert server.buffered > 0


def test_messages_over_a_frame_go_into_several() -> None:
    client, server = pair()
    messages = [submit(seq, payload=bytes(90)) for seq in range(1, 200)]
    data = client.send(*messages)
    assert len(data) > 2 * LIMITS.frame_bytes_max
    server.receive_data(data)
    assert drain(server) == messages


def runs(connection: Connection, count_max: int = 8) -> list[object]:
    found: list[object] = []
    while isinstance(message := connection.next_message_or_run(count_max), tuple):
        found.append(message)
    return found


def test_submissions_that_go_on_from_one_another_are_read_as_one() -> None:
    client, server = pair()
    said = [submit(1), submit(2), submit(3), Ping(1), submit(4), Ping(2), submit(5), submit(6)]
    server.receive_data(client.send(*said))
    (first, *rest) = runs(server)
    assert first == SubmitRun(1, 1, 0, 0, [PAYLOAD] * 3)
    assert rest == [Ping(1), submit(4), Ping(2), SubmitRun(1, 5, 0, 0, [PAYLOAD] * 2)]
    server.receive_data(client.send(*[submit(seq) for seq in range(7, 12)]))
    assert [len(run.payloads) for run in runs(server, 3) if isinstance(run, SubmitRun)] == [3, 2]
    assert server.next_message() is NEED_DATA


@pytest.mark.parametrize("what", ["longer than allowed", "its own successor", "trailing bytes"])
def test_a_fault_behind_a_run_is_named_and_the_run_has_counted(what: str) -> None:
    client, server = pair()
    one, two, wrong = (frames(client.send(submit(seq)))[0][1:] for seq in (1, 2, 3))
    if what == "longer than allowed":
        wrong = cbor2.dumps([CODES[Submit], 1, 3, 0, 0, 0, 0, bytes(101)])
    elif what == "its own successor":
        wrong = cbor2.dumps([CODES[Submit], 1, 3, 3, 0, 0, 0, PAYLOAD])
    else:
        wrong += b"\x00"
    server.receive_data(frame(one, two, wrong))
    assert server.next_message_or_run(8) == SubmitRun(1, 1, 0, 0, [PAYLOAD] * 2)
    with pytest.raises(RemoteProtocolError):
        server.next_message_or_run(8)


def test_a_run_of_answers_is_sent_as_the_messages_that_it_stands_for() -> None:
    client, server = pair()
    entries, run = Entries(1, [ENTRY_BYTES]), TakenRun(1, 1, 9)
    pass_on(client, server, *[submit(seq) for seq in range(1, 10)])
    data = server.send(entries, run, Taken(10, 10))
    assert len(frames(data)) == 1
    client.receive_data(data)
    assert drain(client) == [entries, *run.each(), Taken(10, 10)]
    assert data == server.send(entries, *run.each(), Taken(10, 10))


@pytest.mark.parametrize("limit", [(32, 8192), (8192, 400)])
def test_a_run_of_answers_over_a_frame_goes_into_several(limit: tuple[int, int]) -> None:
    client, server = pair()
    items_max, bytes_max = limit
    client.limits = server.limits = Limits(frame_items_max=items_max, frame_bytes_max=bytes_max)
    run = TakenRun(1, 1, 100)
    data = server.send(run)
    assert len(frames(data)) > 1
    client.receive_data(data)
    assert drain(client) == list(run.each())


def test_a_run_of_answers_is_checked_like_its_messages() -> None:
    client, server = pair()
    with pytest.raises(LocalProtocolError, match="a client does not send Taken"):
        client.send(TakenRun(1, 1, 2))
    with pytest.raises(LocalProtocolError, match=r"Taken\.seq must be"):
        server.send(TakenRun(0, 1, 2))
    _, unopened = pair(opened=False)
    with pytest.raises(LocalProtocolError, match="cannot send Taken"):
        unopened.send(TakenRun(1, 1, 2))


def test_items_over_a_frame_go_into_several() -> None:
    client, server = pair()
    pings = [Ping(token) for token in range(100)]
    data = client.send(*pings)
    assert len(frames(data)) == -(-100 // LIMITS.frame_items_max)
    server.receive_data(data)
    assert drain(server) == pings
    answers: list[Message] = [
        Entries(1, [ENTRY_BYTES] * 15),
        Pong(1),
        Entries(1, [ENTRY_BYTES] * 31),
    ]
    data = server.send(*answers)
    assert [found[0] - 0x80 for found in frames(data)] == [2, 1]
    client.receive_data(data)
    assert drain(client) == answers


def test_bytes_made_for_one_are_those_for_all_who_are_sent_the_same() -> None:
    entries = Entries(1, [ENTRY_BYTES])
    (first, server), (second, other) = pair(), pair()
    data = server.send(entries)
    other.sent([entries])
    for client in (first, second):
        client.receive_data(data)
        assert drain(client) == [entries]


def test_sending_the_same_again_is_refused_where_it_is_out_of_order() -> None:
    _, server = pair(opened=False)
    with pytest.raises(LocalProtocolError, match="cannot send Entries while channel 1 is UNUSED"):
        server.sent([Entries(1, [ENTRY_BYTES])])


def test_nothing_to_send_is_no_bytes() -> None:
    assert Connection(Role.CLIENT).send() == b""


# ---------------------------------------------------------------- mistakes of this side


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Pong(1), "a client does not send Pong"),
        (Ping(-1), "Ping.token must be an integer of 0 to"),
        (submit(payload=bytes(101)), "a change of 101 bytes, 100 allowed"),
        (submit(payload=bytes(9000)), "a change of 9000 bytes, 100 allowed"),
        (submit(seq=5, settled=5), "must be below its seq"),
        (submit(seq=5, follows=5), "must be below its seq"),
        (Join(2, "elevenbytes", None), "a group's name of 11 bytes, 10 allowed"),
        (Join(2, "ünïcödé", None), "a group's name of 11 bytes, 10 allowed"),
        (DeleteGroup(2, "elevenbytes"), "a group's name of 11 bytes, 10 allowed"),
        (PutSnapshot(1, 1, 0, bytes(51)), "a snapshot's chunk of 51 bytes, 50 allowed"),
        (OfferSnapshot(1, 1, 1, CHAIN, 1001, DIGEST), "a snapshot of 1001 bytes, 1000 allowed"),
        (Join(1, "again", None), "cannot send Join while channel 1 is OPEN"),
    ],
)
def test_a_message_that_must_not_be_sent_is_refused_and_changes_nothing(
    message: Message, text: str
) -> None:
    client, server = pair()
    with pytest.raises(LocalProtocolError, match=text):
        client.send(message)
    pass_on(client, server, submit())


def test_a_server_does_not_send_what_clients_send() -> None:
    with pytest.raises(LocalProtocolError, match="a server does not send Ping"):
        pair()[1].send(Ping(1))


# ---------------------------------------------------------------- mistakes of the peer


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (b"\x00\x00\x00\x00", MALFORMED, "an empty frame"),
        (b"\x00\x00\x20\x01", TOO_LARGE, "a frame of 8193 bytes, 8192 allowed"),
        (b"\xff\xff\xff\xff", TOO_LARGE, "4294967295"),
        (frame(), MALFORMED, "one or more messages"),
        (b"\x00\x00\x00\x01\x00", MALFORMED, "one or more messages"),
        (frame(b"\x82\x09\x01")[:-1] + b"\xa0", MALFORMED, "Ping.token must be an integer"),
        (b"\x00\x00\x00\x05\x81\x82\x09\x01\x00", MALFORMED, "bytes follow the last message"),
        (b"\x00\x00\x00\x04\x82\x82\x09\x01", MALFORMED, "begins with its code"),
        (frame(b"\x82\x18\x49\x01"), OUT_OF_ORDER, "Pong was sent to a server"),
        (frame(b"\x82\x02\xf6"), OUT_OF_ORDER, "OpenSession while the session is OPEN"),
        (frame(b"\x85\x03\x02\x6belevenbytes\xf6\xf4"), TOO_LARGE, "a group's name of 11 bytes"),
        (frame(b"\x88\x05\x01\x01\x01\x00\x00\x00\x40"), OUT_OF_ORDER, "below its seq"),
        (frame(b"\x88\x05\x01\x01\x00\x00\x00\x00\x58\x65" + bytes(101)), TOO_LARGE, "of 101 bytes"),
        (frame(b"\x85\x01\x02"), VERSION_UNSUPPORTED, "version 2 is not spoken here; version 1 is"),
    ],
)  # fmt: skip
def test_what_breaks_the_protocol_is_one_typed_error(data: bytes, code: int, text: str) -> None:
    _, server = pair()
    error = refused(server, data)
    assert error.code == code
    assert text in error.text
    answer = Error(code, 0, error.text)
    assert error_message(error) == answer
    assert server.send(answer)


def test_a_broken_connection_stays_broken_and_holds_nothing() -> None:
    _, server = pair()
    error = refused(server, frame(b"\x00") + bytes(1000))
    server.receive_data(bytes(1000))
    assert server.buffered == 0
    with pytest.raises(RemoteProtocolError) as caught:
        server.next_message()
    assert caught.value is error


def test_messages_before_a_fault_in_a_frame_count() -> None:
    _, server = pair()
    server.receive_data(frame(b"\x82\x09\x01", b"\x82\x09\x20"))
    assert server.next_message() == Ping(1)
    with pytest.raises(RemoteProtocolError, match=r"Ping\.token"):
        server.next_message()


def test_a_frame_of_more_messages_than_allowed_is_refused_before_the_first() -> None:
    client, server = pair()
    messages = [client.send(Ping(1))[5:]] * (LIMITS.frame_items_max + 1)
    body = b"\x98\x21" + b"".join(messages)
    error = refused(server, len(body).to_bytes(4, "big") + body)
    assert (error.code, error.text) == (TOO_LARGE, "a frame of more than the 32 items allowed")


def test_what_is_listed_in_a_message_counts_as_items_of_its_frame() -> None:
    listing = Entries(1, [ENTRY_BYTES] * 16), GroupPage(1, [GROUP] * 16, False)
    for first in listing:
        for second in listing:
            client, server = pair()
            data = [server.send(message)[5:] for message in (first, second)]
            client.receive_data(frame(*data))
            assert client.next_message() == first
            with pytest.raises(RemoteProtocolError, match="more than the 32 items") as caught:
                client.next_message()
            assert caught.value.code == TOO_LARGE


def test_a_request_for_groups_counts_as_those_it_asks_for() -> None:
    client, server = Connection(Role.CLIENT), Connection(Role.SERVER)
    pass_on(client, server, HELLO)
    pass_on(server, client, WELCOME._replace(limits=server.limits))
    first, second = frames(client.send(*[ListGroups(1, "")] * 64))
    assert first[:2] == b"\x98\x3f"
    body = b"\x98\x40" + first[2:] + second[1:]
    server.receive_data(len(body).to_bytes(4, "big") + body)
    assert [type(server.next_message()) for _ in range(63)] == [ListGroups] * 63
    with pytest.raises(RemoteProtocolError, match="more than the 8192 items"):
        server.next_message()


def test_a_message_of_more_items_than_a_frame_is_not_sent() -> None:
    _, server = pair()
    with pytest.raises(LocalProtocolError, match="a message of 33 items; a frame holds 32"):
        server.send(Entries(1, [ENTRY_BYTES] * 32))
    server.send(Entries(1, [ENTRY_BYTES] * 31))


def test_a_client_takes_no_larger_frames_than_its_own_limits_whatever_a_server_announces() -> None:
    anything = Limits(*[2**63 - 1] * len(Limits._fields))
    pongs = b"\x98\x21" + b"\x82\x18\x49\x01" * 33
    for data, text in [
        ((8193).to_bytes(4, "big"), "a frame of 8193 bytes, 8192 allowed"),
        (len(pongs).to_bytes(4, "big") + pongs, "a frame of more than the 32 items allowed"),
    ]:
        client, server = Connection(Role.CLIENT, LIMITS), Connection(Role.SERVER, anything)
        pass_on(client, server, HELLO)
        pass_on(server, client, WELCOME._replace(limits=anything))
        error = refused(client, data)
        assert (error.code, error.text) == (TOO_LARGE, text)


def test_a_chunk_over_the_limit_is_refused_by_a_client_too() -> None:
    client, server = pair()
    chunk = SnapshotChunk(1, 0, bytes(50))
    pass_on(server, client, chunk)
    data = server.send(chunk).replace(b"\x58\x32", b"\x58\x33")[4:] + b"x"
    error = refused(client, len(data).to_bytes(4, "big") + data)
    assert (error.code, error.text) == (TOO_LARGE, "a snapshot's chunk of 51 bytes, 50 allowed")


def test_a_label_over_the_limit_is_refused() -> None:
    server = Connection(Role.SERVER, LIMITS)
    error = refused(server, Connection(Role.CLIENT).send(HELLO._replace(label="a" * 11)))
    assert (error.code, error.text) == (TOO_LARGE, "a label of 11 bytes, 10 allowed")


def test_before_the_greeting_a_frame_is_small() -> None:
    for role in Role:
        connection = Connection(role)
        head = (HELLO_FRAME_BYTES_MAX + 1).to_bytes(4, "big")
        assert refused(connection, head).code == TOO_LARGE
        if role is Role.CLIENT:
            greeted = Connection(role)
            greeted.send(HELLO)
            assert refused(greeted, head).code == TOO_LARGE
    with pytest.raises(LocalProtocolError, match=r"a message of \d+ bytes; a frame holds 4091"):
        Connection(Role.CLIENT).send(HELLO._replace(features=["f" * 255] * 20))
    server = Connection(Role.SERVER)
    server.receive_data(Connection(Role.CLIENT).send(HELLO))
    assert drain(server) == [HELLO]
    with pytest.raises(LocalProtocolError, match=r"a message of \d+ bytes; a frame holds 4091"):
        server.send(WELCOME._replace(software="s" * 4096))


def test_a_message_too_long_for_a_frame_changes_nothing() -> None:
    client, server = pair()
    with pytest.raises(LocalProtocolError, match="a message of 9005 bytes; a frame holds 8187"):
        server.send(Pong(1), Entries(1, [bytes(8997)]))
    pass_on(server, client, Pong(1), Entries(1, [bytes(8000)]))


def test_what_is_as_large_as_the_limits_allow_passes() -> None:
    client, server = pair()
    pass_on(client, server, submit(payload=bytes(100)), Join(2, "tencharact", None))


def test_a_client_reads_a_welcome_of_another_version_as_that() -> None:
    client = Connection(Role.CLIENT)
    client.send(HELLO)
    assert refused(client, frame(b"\x83\x18\x41\x19\x01\x00\x00")).code == VERSION_UNSUPPORTED


# ---------------------------------------------------------------- the end


def test_after_an_error_for_channel_0_nothing_more_is_read_or_sent() -> None:
    client, server = pair()
    client.receive_data(server.send(Error(11, 0, "stopping")) + b"\x00\x00\x00\x04\x81\x82")
    assert drain(client) == [Error(11, 0, "stopping")]
    assert client.next_message() is CONNECTION_CLOSED
    assert client.buffered == 0
    with pytest.raises(LocalProtocolError, match="cannot send Ping while the connection is ENDED"):
        client.send(Ping(1))
    server.receive_data(frame(b"\x82\x09\x01"))
    assert server.next_message() is CONNECTION_CLOSED
    assert server.buffered == 0


def test_what_nobody_waits_for_on_a_left_channel_is_dropped() -> None:
    client, server = pair()
    client.send(Leave(1))
    client.receive_data(server.send(Entries(1, [ENTRY_BYTES]), Error(8, 1, "damaged"), Pong(3)))
    assert drain(client) == [Pong(3)]


def test_what_is_in_flight_on_an_ended_channel_still_arrives_one_by_one() -> None:
    client, server = pair()
    server.send(Error(8, 1, "damaged"))
    messages = [Sync(1, 1), submit(), Leave(1)]
    server.receive_data(client.send(*messages))
    assert drain(server) == messages


def test_need_data_is_said_again_and_again() -> None:
    connection = Connection(Role.SERVER)
    assert connection.next_message() is connection.next_message() is NEED_DATA


# ---------------------------------------------------------------- hostile bytes

FUZZ = settings(derandomize=True, max_examples=300, deadline=None)


def survives(connection: Connection, pieces: Iterable[bytes]) -> None:
    try:
        for piece in pieces:
            connection.receive_data(piece)
            drain(connection)
    except RemoteProtocolError as error:
        answer = error_message(error)
    else:
        return
    assert connection.buffered == 0
    assert connection.role is Role.CLIENT or connection.send(answer)


@FUZZ
@given(st.sampled_from(Role), st.lists(st.binary(max_size=40)))
def test_arbitrary_bytes_never_raise_anything_else(role: Role, pieces: list[bytes]) -> None:
    survives(Connection(role), pieces)


@FUZZ
@given(st.booleans(), st.lists(st.binary(min_size=1, max_size=60), min_size=1))
def test_arbitrary_bodies_never_raise_anything_else(to_server: bool, items: list[bytes]) -> None:
    survives(pair()[to_server], [frame(*items[:20])])


@FUZZ
@given(
    st.sampled_from(sorted(GOLDEN)),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=3),
    st.integers(0, 3),
)
def test_mutated_golden_frames_never_raise_anything_else(
    name: str, mutations: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray.fromhex(GOLDEN[name][1])
    for at, byte in mutations:
        data[4 + at % (len(data) - 4)] = byte
    del data[len(data) - cut :]
    data[:4] = (len(data) - 4).to_bytes(4, "big")
    for connection in pair():
        survives(connection, [bytes(data)])


def test_a_long_frame_of_tiny_items_builds_nothing_but_the_next_message() -> None:
    server = Connection(Role.SERVER)
    server.receive_data(Connection(Role.CLIENT).send(HELLO))
    drain(server)
    server.send(WELCOME._replace(limits=Limits()))
    body = b"\x99\x20\x00" + b"\x80" * (1 << 20)
    server.receive_data(len(body).to_bytes(4, "big") + body)
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError):
            server.next_message()
        assert tracemalloc.get_traced_memory()[1] < 2 * len(body)
    finally:
        tracemalloc.stop()
