"""SQLite stores of MLflow: born whole, examined, set aside when they are broken."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from vader_bench import files

__all__ = ["UNFINISHED", "create", "exists", "fault", "is_empty", "set_aside"]

UNFINISHED = "it was not finished when it was made"
_TABLES = {"alembic_version", "experiments", "runs", "metrics", "params", "tags"}


def exists(path: Path) -> bool:
    """Tell whether there is a database; an empty file is none."""
    return path.exists() and path.stat().st_size > 0


def create(path: Path) -> None:
    """Make an MLflow database without runs.

    Its hundred tables take seconds. It is made under another name, so that a kill or a full disk in between
    leaves no half of it, and of two processes that make it at once, the later one takes that of the first.

    Raises:
        OSError: the disk refuses.
        Exception: those of MLflow and SQLAlchemy, see ``store.Store``.
    """
    from mlflow import MlflowClient

    from vader_bench.records.tracking.address import read_address

    path.parent.mkdir(parents=True, exist_ok=True)
    with files.temporary(path) as (writing, handle):
        address = read_address(f"sqlite:///{writing}", path.parent)
        MlflowClient(tracking_uri=address.uri).search_experiments(max_results=1)
        os.fsync(handle)
        if not exists(path):
            _publish(writing, path)
    files.sync_folder(path.parent)


def fault(path: Path) -> str | None:
    """Return what is broken in the database, as SQLite says it; ``None`` where it looks whole."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as database:
            tables = {
                name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            said = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:  # it is locked or may not be opened: nothing is known of it
        return str(error) if "malformed" in str(error) or "disk image" in str(error) else None
    except sqlite3.DatabaseError as error:
        return str(error)
    if said != "ok":
        return str(said)
    if any(name.startswith("_alembic_tmp_") for name in tables) or not tables >= _TABLES:
        return UNFINISHED
    return None


def is_empty(path: Path) -> bool:
    """Tell whether the database holds no runs, so that nothing is lost with it."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as database:
        return bool(database.execute("SELECT count(*) FROM runs").fetchone()[0] == 0)


def set_aside(path: Path) -> Path:
    """Rename the database, with what SQLite keeps beside it, and return its new path.

    Raises:
        OSError: the disk refuses.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.broken-{stamp}")
    for ending in ("-journal", "-wal", "-shm", ""):
        if Path(f"{path}{ending}").exists():
            Path(f"{path}{ending}").replace(f"{aside}{ending}")
    return aside


def _publish(writing: Path, path: Path) -> None:
    """Give the finished database its name, unless another process was faster."""
    if path.exists():  # an empty file that somebody made
        writing.replace(path)
        return
    try:
        os.link(writing, path)  # refuses where a rename would replace
    except FileExistsError:
        return
    except OSError:  # a disk without links
        writing.rename(path)
