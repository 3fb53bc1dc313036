"""The ``score`` command against a real server with a real file: what a person sees and can rely on."""

from __future__ import annotations

import datetime as dt
import json
import os
import queue
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import score
from score import SMap, SStack, SVec, blocking
from score.archive import ArchiveReader
from score.cli import main
from score.testing import server
from score.tools import compaction
from score_server.wire import codec
from ucore.change import snapshot

Run = Callable[..., list[str]]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/score.db"


@pytest.fixture
def url(store: str) -> Iterator[str]:
    with server(store) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[score.Client]:
    with score.connect(url, name="ada") as client:
        yield client


@pytest.fixture
def run(url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(command: str, *arguments: str, status: int = 0) -> list[str]:
        """The lines that the command says; on stderr, if it is to fail."""
        capsys.readouterr()
        assert main([command, "--url", url, *arguments]) == status
        out, err = capsys.readouterr()
        assert not (err if status == 0 else out)
        return (out or err).splitlines()

    return run


def filled(client: score.Client, group: str = "stock", count: int = 30) -> SMap[str, int]:
    stock = SMap[str, int](client, group)
    for number in range(count):
        stock[f"k{number % 10}"] = number
    return stock


# ---------------------------------------------------------------- looking


def test_ls_lists_every_group_with_its_sizes(client: score.Client, run: Run) -> None:
    assert len(run("ls")) == 1
    filled(client)
    SVec[int](client, "log", keep_history=True).append(1)
    lines = run("ls")
    assert [line.split()[0] for line in lines] == ["group", "log", "stock"]
    assert "keeps its history" in lines[1]
    by_name = {row["name"]: row for row in json.loads("".join(run("ls", "--json")))}
    assert by_name["stock"]["position"] == 30
    assert by_name["log"]["keep_history"] is True


def test_get_prints_a_group_or_a_part_of_it(client: score.Client, run: Run) -> None:
    todo = SMap[int, list[str]](client, "todo")
    todo[7] = ["milk"]
    todo[7].append("eggs")
    assert run("get", "todo") == ["{7: ['milk', 'eggs']}"]
    assert run("get", "todo", "7") == ["['milk', 'eggs']"]
    assert run("get", "todo", "7", "-1") == ["'eggs'"]
    assert json.loads("".join(run("get", "todo", "--json"))) == {"7": ["milk", "eggs"]}
    assert run("get", "todo", "8", status=1) == [
        "score: there is no '8' in the group, which has 1 keys (7)"
    ]
    assert run("get", "todo", "7", "2", status=1) == ["score: there is no '2' in 7, a list of 2"]
    assert run("get", "todo", "7", "0", "x", status=1) == [
        "score: there is no 'x' in 7 0, which is 'milk'"
    ]


def test_get_shows_every_kind_of_structure(client: score.Client, run: Run) -> None:
    stack = SStack[str](client, "plates")
    stack.push("blue")
    stack.push("red")
    SVec[object](client, "log").append((1, dt.date(2026, 11, 25)))
    assert run("get", "plates") == ["['red', 'blue']"]
    assert run("get", "log") == ["[(1, datetime.date(2026, 11, 25))]"]


def test_what_is_not_there_is_said_in_a_line(run: Run) -> None:
    for command in ("get", "tail"):
        (line,) = run(command, "nothing", status=1)
        assert line.startswith("score: there is no group 'nothing' on score://")
    assert run("compact", "nothing") == [
        "group 'nothing' holds nothing that could be compacted, or somebody else is at it"
    ]
    (line,) = run("export", "nothing", "/nonexistent/file", status=1)
    assert "No such file or directory" in line


def test_tail_prints_the_latest_changes(client: score.Client, run: Run) -> None:
    filled(client)
    lines = run("tail", "stock", "-n", "2")
    assert [line.split("Z  ")[1] for line in lines] == ["ada: put('k8', 28)", "ada: put('k9', 29)"]
    assert len(run("tail", "stock")) == 10
    (last,) = map(json.loads, run("tail", "stock", "--json", "-n", "1"))
    assert (last["position"], last["label"]) == (30, "ada")


def test_tail_follows(client: score.Client, url: str) -> None:
    stock = filled(client, count=3)
    command = [sys.executable, "-m", "score", "tail", "--url", url, "-f", "-n", "1", "stock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "put('k2', 2)" in process.stdout.readline()
        stock["new"] = 5
        assert "put('new', 5)" in process.stdout.readline()
        process.terminate()


def test_types_of_the_application_are_shown_as_they_are_or_read_with_import(
    client: score.Client, url: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "shop_types.py").write_text(
        textwrap.dedent("""
            from enum import Enum
            from ucore import primitive

            @primitive(4711)
            class Colour(Enum):
                RED = "red"
        """)
    )
    program = (
        f"import score, shop_types; c = score.connect({url!r}); "
        "m = score.SMap(c, 'paint'); m['wall'] = shop_types.Colour.RED"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    (line,) = run("get", "paint", status=1)
    assert "4711" in line
    assert "4711" in run("tail", "paint")[0]
    command = [
        sys.executable,
        "-m",
        "score",
        "get",
        "--url",
        url,
        "--import",
        "shop_types",
        "paint",
    ]
    said = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert said.stdout == "{'wall': <Colour.RED: 'red'>}\n"


# ---------------------------------------------------------------- snapshots


def test_compact_trims_the_log_and_changes_nothing_that_anybody_sees(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with server(store) as url:
        with score.connect(url) as client:
            stock = filled(client, count=500)
            before = dict(stock)
        assert main(["compact", "--url", url, "stock"]) == 0
        said = capsys.readouterr().out
        assert "a snapshot of change 500" in said
        with score.connect(url) as client:
            (group,) = client.groups()
            assert (group.position, group.snapshot_position, group.floor) == (500, 500, 500)
            assert dict(SMap[str, int](client, "stock")) == before
    with server(store) as url, score.connect(url) as client:
        again = SMap[str, int](client, "stock")
        assert dict(again) == before
        again["k0"] = 1
        assert again.position == 501


def test_compacting_again_trims_what_an_author_held_back(url: str, run: Run) -> None:
    with score.connect(url) as author:
        filled(author)
        assert run("compact", "stock")[0].endswith("its log begins behind 29")
    # Gone with a Bye, so it has all its answers.
    assert run("compact", "stock")[0].endswith("its log begins behind 30")


def test_a_snapshot_that_an_earlier_version_wrote_is_read_and_its_log_goes(
    client: score.Client, url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_columns(fold: compaction.Fold) -> bytes:
        version, position, skeleton, _ = fold.tree.dump()
        root: Any = snapshot(fold.tree.root)
        return codec.encode([version, position, skeleton, root])

    monkeypatch.setattr(compaction, "dumped", without_columns)
    with score.connect(url) as author:
        before = dict(filled(author))
        assert run("compact", "stock")[0].endswith("its log begins behind 29")
    monkeypatch.undo()
    assert run("compact", "stock")[0].endswith("its log begins behind 30")
    stock = SMap[str, int](client, "stock")
    assert stock == before
    stock["k0"] = -1
    assert "a snapshot of change 31" in run("compact", "stock")[0]
    assert SMap[str, int](client, "stock") == {**before, "k0": -1}


def test_a_group_that_keeps_its_history_gets_a_snapshot_and_keeps_its_log(
    client: score.Client, run: Run
) -> None:
    log = SVec[int](client, "log", keep_history=True)
    log.extend([1])
    log.extend([2])
    (line,) = run("compact", "log")
    assert line.endswith("its log is kept whole")
    assert len(run("tail", "log")) == 2


def test_two_folds_that_differ_trim_nothing_and_say_so_loudly(
    client: score.Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = filled(client)
    right, calls = compaction.dumped, []

    def wrong_at_first(fold: compaction.Fold) -> bytes:
        calls.append(fold)
        if len(calls) == 1:
            dict.__setitem__(fold.tree.root, "k0", -1)  # type: ignore[call-overload]
        return right(fold)

    monkeypatch.setattr(compaction, "dumped", wrong_at_first)
    (line,) = run("compact", "stock", status=1)
    assert "two independent folds of change 30 differ" in line
    (group,) = client.groups()
    assert (group.snapshot_position, group.floor) == (0, 0)
    stock.sync()
    monkeypatch.undo()
    (line,) = run("compact", "stock")
    assert "a snapshot of change 30" in line


def test_a_follower_keeps_every_group_short() -> None:
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    with ThreadPoolExecutor() as threads:
        with server() as url, score.connect(url) as client:
            one, two = score.connect(url), score.connect(url)
            long = SMap[int, str](client, "long")
            with long.batch() as b:
                for number in range(3):
                    b[number] = "x" * 400_000
            following = threads.submit(compaction.follow, one, two, said.put)
            assert "'long'" in said.get(timeout=30)  # what had grown before the follower came
            other = SMap[int, str](client, "other")
            for number in range(4):
                other[number] = "y" * 400_000
            assert "'other'" in said.get(timeout=30)  # what grew since: the server asked
            one.close()
            two.close()
        # Its connection ended with the server, and then it finds its client closed.
        assert isinstance(following.exception(timeout=30), score.ClosedError)


def test_a_follower_hears_what_it_is_asked_for_in_its_welcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compaction, "TAIL_BYTES_MIN", 2**40)  # the list of groups shows it nothing
    monkeypatch.setattr(blocking, "POLL_S_MAX", 60)  # nor does it look up for another reason
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    with ThreadPoolExecutor() as threads:
        with server() as url, score.connect(url) as client:
            one, two = score.connect(url), score.connect(url)
            long = SMap[int, str](client, "long")
            for number in range(3):
                long[number] = "x" * 400_000
            following = threads.submit(compaction.follow, one, two, said.put)
            try:
                assert "'long'" in said.get(timeout=30)
            finally:
                one.close()
                two.close()
        assert isinstance(following.exception(timeout=30), score.ClosedError)


# ---------------------------------------------------------------- backups


def test_an_archive_becomes_the_same_structure_on_another_server(
    client: score.Client, run: Run, tmp_path: Path
) -> None:
    todo = SMap[int, list[str]](client, "todo")
    todo[7] = ["milk"]
    run("compact", "todo")
    todo[7].append("eggs")
    path = str(tmp_path / "todo.score")
    assert run("export", "todo", path) == [f"{path} holds group 'todo' as of change 2"]
    with server() as other, score.connect(other) as there:
        assert main(["import", "--url", other, path, "copy"]) == 0
        copy = SMap[int, list[str]](there, "copy")
        assert copy == {7: ["milk", "eggs"]}
        assert copy.position == 2
        copy[7].append("bread")
        assert copy.position == 3
    assert todo == {7: ["milk", "eggs"]}


def test_an_archive_of_a_group_that_keeps_its_history_holds_all_of_it(
    client: score.Client, run: Run, tmp_path: Path
) -> None:
    log = SVec[int](client, "log", keep_history=True)
    log.extend([1])
    log.extend([2])
    run("compact", "log")
    path = tmp_path / "log.score"
    run("export", "log", str(path))
    with path.open("rb") as file:
        reader = ArchiveReader(file)
        assert list(reader.snapshot()) == []
        assert len(list(reader.entries())) == 2
    run("import", str(path), "copy")
    assert SVec[int](client, "copy") == [1, 2]
    kept = {group.name: group.keep_history for group in client.groups()}
    assert kept == {"log": True, "copy": True}


def test_an_import_needs_a_group_that_holds_nothing(
    client: score.Client, run: Run, tmp_path: Path
) -> None:
    filled(client)
    path = str(tmp_path / "stock.score")
    run("export", "stock", path)
    (line,) = run("import", path, "stock", status=1)
    assert "holds something already" in line
    run("delete", "--yes", "stock")
    run("import", path, "stock")
    assert dict(SMap[str, int](client, "stock"))["k9"] == 29


def test_a_replica_of_the_old_group_does_not_take_the_import_for_its_own(
    client: score.Client, run: Run, tmp_path: Path
) -> None:
    stock = filled(client)
    path = str(tmp_path / "stock.score")
    run("export", "stock", path)
    run("delete", "--yes", "stock")
    run("import", path, "stock")
    with pytest.raises((score.GroupReplacedError, score.GroupDeletedError)):
        stock.sync()


def test_an_export_of_a_damaged_or_a_missing_file_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.score"
    path.write_bytes(b"not an archive")
    (line,) = run("import", str(path), "stock", status=1)
    assert "is not an archive to go by" in line
    (line,) = run("import", str(tmp_path / "none"), "stock", status=1)
    assert "No such file" in line


def test_an_export_while_others_write_is_one_state_of_the_group(
    client: score.Client, url: str, run: Run, tmp_path: Path
) -> None:
    """The writer keeps two numbers equal, one batch at a time: no archive may show them apart."""
    stop = threading.Event()

    def write() -> None:
        with score.connect(url) as own:
            pair = SMap[str, int](own, "pair")
            number = 0
            while not stop.is_set():
                number += 1
                with pair.batch() as b:
                    b["left"] = number
                    b["right"] = number

    with SMap[str, int](client, "pair") as pair:
        pair.update(left=0, right=0)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            run("export", "pair", str(tmp_path / f"{number}.score"))
    finally:
        stop.set()
        writer.join()
    for number in range(5):
        run("import", str(tmp_path / f"{number}.score"), f"pair {number}")
        pair = SMap[str, int](client, f"pair {number}")
        assert pair["left"] == pair["right"]


def test_delete_asks_unless_told_not_to(client: score.Client, run: Run) -> None:
    filled(client)
    (line,) = run("delete", "stock", status=1)
    assert "--yes" in line
    assert run("delete", "--yes", "stock") == ["group 'stock' is deleted"]
    assert client.groups() == []
    (line,) = run("delete", "--yes", "stock", status=1)
    assert "there is no group 'stock'" in line


# ---------------------------------------------------------------- the command line


def test_no_server_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "--url", "score://127.0.0.1:1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("score: ")
    assert "is a score-server running there?" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["tail", "g", "-n", "-1"],
        ["ls", "--timeout", "0"],
        ["ls", "--timeout", "x"],
        ["nonsense"],
        [],
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize("arguments", [["get"], ["tail"], ["compact"], ["delete", "--yes"]])
def test_what_cannot_be_a_groups_name_is_refused_in_a_line(arguments: list[str], run: Run) -> None:
    (line,) = run(*arguments, "bad\udcff", status=1)  # as Python has what is not UTF-8
    assert "is not a group's name" in line


def spoken(url: str, *arguments: str, stdout: int, encoding: str = "utf-8") -> tuple[int, str, str]:
    """Status, stdout and stderr of ``score`` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "score", *arguments, "--url", url],
        stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=60,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    return done.returncode, (done.stdout or b"").decode(), done.stderr.decode()


def test_names_that_a_terminal_cannot_say_or_would_obey_are_escaped(
    client: score.Client, url: str
) -> None:
    SMap[str, int](client, "naïve \x1b[2J")["a"] = 1
    status, out, err = spoken(url, "ls", stdout=subprocess.PIPE, encoding="ascii")
    assert (status, err) == (0, "")
    assert out.splitlines()[1].startswith("na\\xefve \\x1b[2J ")


def test_integers_of_any_length_are_shown(client: score.Client, url: str) -> None:
    huge = SMap[object, object](client, "huge")
    huge[10**5000] = 10**5000
    for arguments in (["get", "huge"], ["get", "--json", "huge"], ["tail", "huge"]):
        command = [sys.executable, "-m", "score", *arguments, "--url", url]
        shown = subprocess.run(command, capture_output=True, check=True, text=True)
        assert "1" + 5000 * "0" in shown.stdout


def test_it_ends_without_a_word_when_nobody_reads_on(client: score.Client, url: str) -> None:
    filled(client)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert spoken(url, "ls", stdout=writer) == (1, "", "")
    finally:
        os.close(writer)


@pytest.mark.parametrize("arguments", [[], ["stock", "--follow"]])
def test_compact_takes_a_group_or_follow(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["compact", *arguments])
    assert caught.value.code == 2


def test_tail_says_so_where_everything_was_trimmed(
    client: score.Client, run: Run, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stock = filled(client)
    stock.close()
    client.close()  # what it declares settled holds nothing back
    run("compact", "stock")
    assert main(["tail", "--url", url, "stock"]) == 0
    out, err = capsys.readouterr()
    assert not out
    assert "has been trimmed" in err


def test_a_module_that_cannot_be_imported_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "--import", "no_such_module"]) == 2
    assert "--import no_such_module" in capsys.readouterr().err
