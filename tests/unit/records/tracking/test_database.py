"""SQLite stores: born whole, recognised when broken."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.stores import new_store
from vader_bench.records.tracking import database

CREATE = """
import sys
from pathlib import Path
from vader_bench.records.tracking.address import read_address
from vader_bench.records.tracking.store import Store
path = Path(sys.argv[1])
Store(read_address(f"sqlite:///{path}", path.parent)).open()
"""
ROOT = Path(__file__).parents[4]


def start(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CREATE, str(path)], cwd=ROOT, stderr=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.usefixtures("interrupts_heard")
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_while_it_is_made_leaves_nothing_in_its_place(tmp_path: Path, kill: signal.Signals) -> None:
    path = tmp_path / "mlflow.db"
    for _ in range(5):  # where other processes hold this one up, it may come too late: once more then
        process = start(path)
        while process.poll() is None:
            if any(found.stat().st_size > 100_000 for found in tmp_path.glob(".*.writing")):
                process.send_signal(kill)
                break
            time.sleep(0.002)
        if process.wait() != 0:
            break
        path.unlink()
    assert process.returncode == -kill
    assert not path.exists()
    database.create(path)
    assert database.fault(path) is None
    assert [found.name for found in tmp_path.iterdir()] == ["mlflow.db"]


@pytest.mark.slow
def test_what_another_process_made_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    process = start(path)
    while not list(tmp_path.glob(".*.writing")):
        time.sleep(0.002)
    new_store(path)
    before = path.stat().st_ino
    assert process.wait(300) == 0
    assert path.stat().st_ino == before
    assert [found.name for found in tmp_path.iterdir()] == ["mlflow.db"]


def unfinished(path: Path) -> None:
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.execute("CREATE TABLE _alembic_tmp_metrics (x)")


def without_tables(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.execute("CREATE TABLE experiments (x)")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def header(path: Path) -> None:
    path.write_bytes(b"nonsense" + path.read_bytes()[8:])


def middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : 4096 * 40] = b"\xa5" * (4096 * 39)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [unfinished, without_tables, cut, header, middle])
def test_a_broken_one_is_recognised_and_set_aside(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "a?b%20#c" / "mlflow.db"
    new_store(path)
    assert database.fault(path) is None
    assert callable(damage)
    damage(path)
    said = database.fault(path)
    assert said
    assert "\n" not in said
    content = path.read_bytes()
    shutil.copy(path, f"{path}-journal")
    aside = database.set_aside(path)
    assert aside.read_bytes() == content
    assert aside.name.startswith("mlflow.db.broken-")
    assert sorted(found.name for found in path.parent.iterdir()) == [aside.name, f"{aside.name}-journal"]


def test_an_empty_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    assert not database.exists(tmp_path / "mlflow.db")
    assert not database.exists(tmp_path / "other.db")
