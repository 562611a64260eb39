"""Disks that are full or read-only: one line says so, and all goes on once there is room."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.faults.conftest import Whole
from tests.support.apart import apart
from tests.support.configs import run_config
from tests.support.deaths import Counted, contents, own_files, report, train
from tests.support.disks import mounted
from tests.support.results import Invented, write_results
from vader_bench.errors import UserError
from vader_bench.files import TEMPORARY_SUFFIX
from vader_bench.launch.worker import redirect_output
from vader_bench.records.folder import RunFolder
from vader_bench.records.tracking import Tracker

PAGE = 4096
FULL = r"cannot be written \(No space left on device\); free some disk space and run the same command again"


def pages(folder: Path) -> int:
    """Return the pages of memory that the files below ``folder`` take."""
    return sum(-(-path.stat().st_size // PAGE) for path in folder.rglob("*") if path.is_file())


def halves(folder: Path) -> list[str]:
    """Return what is half written below ``folder``."""
    return [path.name for path in folder.rglob("*") if path.name.endswith(TEMPORARY_SUFFIX)]


@pytest.fixture(scope="module")
def size(
    whole: Callable[[str], Whole], counted: Counted, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, int]:
    """How many pages and how many files and folders a whole run takes."""
    place = tmp_path_factory.mktemp("size")
    assert apart(partial(train, whole("vader").config, place / "vader", counted)).error is None
    return pages(place), len(list(place.rglob("*")))


@pytest.mark.parametrize("share", [0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95])
@pytest.mark.parametrize("of", ["bytes", "files"])
def test_a_disk_that_is_full_after_a_share_of_the_run(
    share: float, of: str, size: tuple[int, int], whole: Callable[[str], Whole], counted: Counted,
    tmp_path: Path,
) -> None:  # fmt: skip
    undisturbed = whole("vader")
    taken = max(1, int(share * size[of == "files"]))
    room = f"size={taken * PAGE}" if of == "bytes" else f"nr_inodes={taken + 1}"  # one for the disk itself
    with mounted(tmp_path / "disk", room) as disk:
        folder = disk.path / "vader"
        work = partial(train, undisturbed.config, folder, counted)
        for _ in range(2):  # nothing was freed: the same again
            refused = apart(work)
            assert refused.code == 0
            assert isinstance(refused.error, UserError)
            with pytest.raises(UserError, match=FULL):
                raise refused.error
            assert halves(disk.path) == []
            assert not (folder / "record.json").exists()
        disk.change("size=64m,nr_inodes=9999")
        found = apart(work)
        assert (found.code, found.error) == (0, None)
        assert own_files(folder) == undisturbed.names
        assert contents(folder) == undisturbed.left


def test_a_report_on_a_full_disk_leaves_no_half(tmp_path: Path) -> None:
    invented = Invented(rewards=("red",), methods=("vader", "ddpo"), seeds=(0, 1))
    with mounted(tmp_path / "disk", "size=64m") as disk:
        folder = write_results(disk.path / "fig7" / "tiny", invented)
        disk.change(f"size={(pages(disk.path) + 40) * PAGE}")
        refused = apart(partial(report, folder, None))
        with pytest.raises(UserError, match=FULL):
            raise refused.error or AssertionError("there was room")
        assert halves(folder) == []
        assert not (folder / "provenance.json").exists(), "it comes last, and says that the others are there"
        disk.change("size=64m")
        assert apart(partial(report, folder, None)).error is None
        assert (folder / "provenance.json").exists()


def test_a_finished_run_is_read_on_a_read_only_disk_and_no_other_begins_there(
    whole: Callable[[str], Whole], counted: Counted, tmp_path: Path
) -> None:
    config = whole("vader").config
    with mounted(tmp_path / "disk", "size=64m") as disk:
        assert apart(partial(train, config, disk.path / "vader", counted)).error is None
        with RunFolder(disk.path / "begun").open(config) as begun:
            begun.append_metrics({"kind": "step"})
        disk.change("ro")
        before = own_files(disk.path / "vader")
        assert apart(partial(train, config, disk.path / "vader", counted)).error is None
        assert own_files(disk.path / "vader") == before
        for name in ("begun", "new"):
            refused = apart(partial(train, config, disk.path / name, counted))
            with pytest.raises(UserError, match=r"Read-only file system\); choose a folder on a disk"):
                raise refused.error or AssertionError("it was written")


def test_what_is_told_of_a_read_only_folder(tmp_path: Path) -> None:
    invented = Invented(rewards=("red",), methods=("vader", "ddpo"), seeds=(0, 1))
    said: list[str] = []
    with mounted(tmp_path / "disk", "size=64m") as disk:
        folder = write_results(disk.path / "fig7" / "tiny", invented)
        disk.change("ro")
        refused = apart(partial(report, folder, None))
        with pytest.raises(UserError, match=r"cannot be written \(Read-only file system\)"):
            raise refused.error or AssertionError("it was written")
        with pytest.raises(UserError, match=r"mlflow\.db.*cannot be written to; give yourself write"):
            Tracker(folder, None, said.append)
        with pytest.raises(UserError, match=r"log\.txt: cannot be written \(Read-only file system\)"):
            redirect_output(folder / "runs" / run_config().name / "log.txt")
    assert said == []
