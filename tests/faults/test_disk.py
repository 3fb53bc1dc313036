"""A disk that is really full, and one that is really read-only: tmpfs in a mount namespace of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .machine import Site, mounting_works, need, site
from .worker import Worker

SIZE_KIB = 1024


class Disk:
    """A tmpfs of ``SIZE_KIB`` that only servers started with ``prefix`` see, at *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        script = 'mount -t tmpfs -o "size=$1" none "$2" && echo ready && exec sleep 3600'
        self._holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script, "sh", f"{SIZE_KIB}k", str(folder)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"
        self.seen = Path(f"/proc/{self._holder.pid}/root") / folder.relative_to("/")
        """The disk, as this process sees it."""

    @property
    def prefix(self) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--wd=."]

    def fill(self, leave_kib: int = 0) -> None:
        ballast = self.seen / "ballast"
        with ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
            if leave_kib:
                file.truncate(file.tell() - leave_kib * 1024)

    def make_room(self) -> None:
        (self.seen / "ballast").unlink()

    def remount(self, options: str) -> None:
        command = [*self.prefix, "mount", "-o", f"remount,{options}", str(self.folder)]
        subprocess.run(command, check=True)

    def close(self) -> None:
        self._holder.kill()
        self._holder.communicate()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    need(mounting_works(), "unshare and mount")
    (tmp_path / "disk").mkdir()
    made = Disk(tmp_path / "disk")
    yield made
    made.close()


@pytest.fixture
def here(tmp_path: Path, disk: Disk) -> Iterator[Site]:
    with site(tmp_path / "s", disk.folder / "a.db") as made:
        yield made


def use_up(worker: Worker) -> None:
    """The room that the store has made for its log ahead of time; afterwards the disk's is what counts."""
    while worker.step() == "ok":
        pass


@pytest.mark.parametrize("leave_kib", [0, 8, 20, 60])
def test_a_full_disk_refuses_changes_by_name_and_takes_them_again_when_there_is_room(
    here: Site, disk: Disk, leave_kib: int
) -> None:
    server = here.start(disk.prefix)
    ada, ben = here.worker("ada"), here.worker("ben")
    for worker in (ada, ben):
        worker.run(4)
    disk.fill(leave_kib)
    told = {ada.step() for _ in range(40)}
    assert "no" in told
    assert told <= {"ok", "no"}
    assert ben.contents()[0]  # reading goes on
    server.wait_for("changes are refused until there is room again")
    disk.make_room()
    assert [ada.step(), ben.step(), ada.step(), ben.step()] == ["ok"] * 4
    server.wait_for("there is room again, changes are taken")
    assert server.is_running()
    here.check()


def test_a_newcomer_on_a_full_disk_is_refused_by_name_and_served_when_there_is_room(
    here: Site, disk: Disk
) -> None:
    here.start(disk.prefix)
    ada = here.worker("ada")
    ada.run(4)
    disk.fill()
    use_up(ada)
    ben = here.worker("ben", deadline_s=2)
    assert ben.step() == "no"
    disk.make_room()
    assert ben.step() == "ok"
    here.check()


def test_a_server_killed_on_a_full_disk_says_so_or_comes_back_with_everything(
    here: Site, disk: Disk
) -> None:
    server = here.start(disk.prefix)
    ada = here.worker("ada")
    ada.run(10)
    disk.fill()
    use_up(ada)
    server.kill()
    second = here.start(disk.prefix, ready=False)
    if second.wait_for("listening on|make room|No space") and "listening" not in second.log:
        assert second.wait() == 1
        assert len(second.log.splitlines()) == 1
        disk.make_room()
        here.start(disk.prefix)
    else:
        here.check()
        disk.make_room()
    assert ada.step() == "ok"
    here.check()


def test_a_log_that_fills_the_disk_and_is_stopped_in_order_comes_back_with_everything(
    here: Site, disk: Disk
) -> None:
    server = here.start(disk.prefix)
    ada = here.worker("ada")
    while ada.step() == "ok":
        pass  # until the write-ahead log itself has filled the disk
    server.stop()
    disk.remount("size=4096k")
    here.start(disk.prefix)
    ada.run(4)
    here.check()


def test_a_disk_made_read_only_is_one_clear_line_and_everything_is_there_afterwards(
    here: Site, disk: Disk
) -> None:
    server = here.start(disk.prefix)
    ada = here.worker("ada")
    ada.run(10)
    server.kill()
    disk.remount("ro")
    second = here.start(disk.prefix, ready=False)
    assert second.wait() == 1
    (line,) = second.log.splitlines()
    assert str(here.store) in line
    assert "Read-only" in line
    disk.remount("rw")
    here.start(disk.prefix)
    ada.run(4)
    here.check()


def test_a_folder_that_may_not_be_written_any_more_is_said_or_does_no_harm(tmp_path: Path) -> None:
    lacking = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps=-all")
    probe = tmp_path / "probe"
    probe.mkdir(mode=0o555)
    code = [*lacking, sys.executable, "-c", f"open({str(probe / 'x')!r}, 'w')"]
    try:
        need(subprocess.run(code, capture_output=True, check=False).returncode == 1, "setpriv")
    except FileNotFoundError:
        need(False, "setpriv")
    with site(tmp_path / "s", tmp_path / "s" / "data" / "a.db") as here:
        here.store.parent.mkdir()
        server = here.start(lacking)
        ada = here.worker("ada")
        ada.run(6)
        here.store.parent.chmod(0o555)
        assert ada.step() == "ok"  # its files are open
        here.check()
        server.kill()
        second = here.start(lacking, ready=False)
        second.wait_for("listening on|score-server: ")
        if not second.is_running() or "listening on" not in second.log:
            assert second.wait() == 1
            assert str(here.store) in second.log
        else:
            ada.run(2)
            assert second.stop() == 0
        here.store.parent.chmod(0o755)
        here.start(lacking)
        ada.run(4)
        here.check()
