"""A companion reads all that it has to, a little at a time, and rests in between, but not for ever."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import score
from score import SMap, blocking
from score.testing import server
from score.tools import pace
from score.tools.compaction import compact
from score.tools.fold import Fold
from score.tools.pace import Pace, Reading
from ucore.errors import CannotApplyError


@pytest.fixture
def client() -> Iterator[score.Client]:
    with server() as url, score.connect(url) as client:
        yield client


class Rests:
    """What a client would have slept."""

    def __init__(self, client: score.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept: list[float] = []
        monkeypatch.setattr(client, "pause", lambda seconds, _: self.slept.append(seconds))


def filled(client: score.Client, count: int = 40) -> SMap[str, bytes]:
    m = SMap[str, bytes](client, "group")
    for number in range(count):
        m[f"key {number % 7}"] = bytes(5000)
    return m


def test_all_is_read_in_pieces_with_rests_between(
    client: score.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = filled(client)
    rests = Rests(client, monkeypatch)
    fold = Fold("group")
    Reading(client, fold).read(Pace(client))
    assert (fold.position, fold.tree.root) == (40, m)
    assert 20 <= len(rests.slept) <= 32  # 200 KB in pieces of 8 KiB
    assert all(0 < seconds <= pace.REST_S_MAX for seconds in rests.slept)


def test_what_came_beyond_a_piece_counts_for_the_next(client: score.Client) -> None:
    m = SMap[int, bytes](client, "group")
    for number in range(6):
        m[number] = bytes(100_000 if number % 2 else 10)
    fold = Fold("group")
    Reading(client, fold).read(Pace(client))
    assert (fold.position, fold.tree.root) == (6, m)


def test_without_rest_left_it_reads_the_others_at_once(
    client: score.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(client)
    rests = Rests(client, monkeypatch)
    monkeypatch.setattr(pace, "RESTS_S_MAX", 1e-9)
    fold = Fold("group")
    once = Pace(client)
    Reading(client, fold).read(once)
    assert fold.position == 40
    assert rests.slept == [1e-9]
    assert not once.may_rest
    second = Fold("group", until=30)
    Reading(client, second).read(once)
    assert second.position == 30


def test_it_stops_where_the_fold_does_and_reads_nothing_of_an_empty_group(
    client: score.Client,
) -> None:
    filled(client, count=9)
    fold = Fold("group", until=4)
    Reading(client, fold).read(Pace(client))
    assert fold.position == 4
    empty = Fold("nothing")
    Reading(client, empty).read(Pace(client))
    assert empty.position == 0


def test_what_this_program_does_not_know_is_raised(client: score.Client) -> None:
    filled(client, count=1)
    fold = Fold("group")
    client.sync(fold)
    failure = fold.failure = CannotApplyError("stopped")
    with pytest.raises(CannotApplyError) as caught:
        Reading(client, fold).read(Pace(client))
    assert caught.value is failure


def test_it_goes_on_over_a_new_connection(client: score.Client) -> None:
    filled(client)
    fold = Fold("group", until=40)
    reading = Reading(client, fold)
    assert client.perform(reading._read_piece)
    assert 0 < fold.position < 40
    client._drop()
    reading.read(Pace(client))
    assert fold.position == 40


def test_a_call_that_has_used_half_its_time_does_not_rest(
    client: score.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests = Rests(client, monkeypatch)
    once = Pace(client)
    assert client.timeout is not None
    once.rest(client.deadline_after(client.timeout / 4))
    assert not rests.slept
    once.rest(client.deadline_after(client.timeout))
    once.rest(client.deadline_after(None))
    assert len(rests.slept) == 2


def test_what_ended_the_channel_before_is_not_waited_for(
    client: score.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "POLL_S_MAX", 60)  # else that wait ends by itself
    filled(client)
    fold = Fold("group")
    reading = Reading(client, fold)
    assert client.perform(reading._read_piece)
    client.delete("group")  # with the answer comes that the channel has ended
    with client.deadline(5), pytest.raises(score.GroupDeletedError):
        reading.read(Pace(client))


def test_a_snapshot_is_made_when_its_first_reading_has_used_up_all_rests(
    client: score.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(client)
    monkeypatch.setattr(pace, "RESTS_S_MAX", 1e-9)
    with client.another() as checker:
        done = compact(client, checker, "group")
    assert done is not None
    assert done.position == 40
