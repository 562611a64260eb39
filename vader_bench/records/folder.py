"""The folder of one run: configuration, metrics, checkpoint, record. Killed at any moment, it can go on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from vader_bench import files
from vader_bench.config.names import ADAPTER_NAME
from vader_bench.config.schema import RunConfig
from vader_bench.errors import UserError
from vader_bench.records.locks import LOCK_NAME, PROBED_SECONDS, FolderLock, in_use
from vader_bench.records.metrics import METRICS_NAME, read_metrics
from vader_bench.records.packed import RESTORE, stored
from vader_bench.records.places import note_places
from vader_bench.records.record import Record
from vader_bench.records.record_file import RECORD_NAME, as_model, has_record, read_record, write_record
from vader_bench.records.trained import Provenance, Training

__all__ = ["ADAPTER_NAME", "LOG_NAME", "TRAINING_NAME", "RunFolder", "read_metrics"]

TRAINING_NAME = "training.json"
LOG_NAME = "log.txt"
"""What a worker prints while it does the run; it may be there before the run is."""


_File = TypeVar("_File", bound=BaseModel)


class _Head(BaseModel):
    """The first line of a checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[2] = 2
    metrics_bytes: int
    """How much of ``metrics.jsonl`` belongs to the checkpoint."""
    metrics_sha256: str
    """Digest of that much of it."""
    sha256: str
    """Digest of what follows the first line."""


class RunFolder:
    """One run's folder. What it holds is whole at every moment, or distinguished from what is not.

    ``config.json`` is what was asked; ``paths.json`` where this machine has the files that the suite names,
    for what is made of the run later; ``origin.json`` what was in force when training began;
    ``metrics.jsonl`` grows by a line at a time; ``checkpoint`` is the last state to continue from, and says
    how much of ``metrics.jsonl`` belongs to it; ``training.json`` means that the run is trained, its adapters
    beside it; ``record.json`` comes last, when all is measured, and means that the run is finished. In a copy
    that ``keep`` made, metrics and record are packed. Use it as a context manager: it is locked from ``open``
    to ``close``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics_path = path / METRICS_NAME
        self.record_path = path / RECORD_NAME
        self.training_path = path / TRAINING_NAME
        self.origin_path = path / "origin.json"
        self._config_path = path / "config.json"
        self._checkpoint_path = path / "checkpoint"
        self._lock: FolderLock | None = None

    @property
    def finished(self) -> bool:
        """Tell whether the run has ended and its record is written."""
        return has_record(self.path)

    @property
    def resumable(self) -> bool:
        """Tell whether there is a state to continue from: of the training, or all of it."""
        return self.trained or self._checkpoint_path.exists()

    @property
    def in_use(self) -> bool:
        """Tell whether a process has the folder open."""
        return in_use(self.path)

    @property
    def trained(self) -> bool:
        """Tell whether the budget is spent and the adapters are kept; measurements may be missing."""
        return self.training_path.exists()

    def adapter_path(self, queries: int, budget: int) -> Path:
        """Return the file of the adapters after ``queries`` of ``budget`` reward queries."""
        if queries == budget:
            return self.path / ADAPTER_NAME
        return self.path / "adapters" / f"{queries}.safetensors"

    def open(self, config: RunConfig) -> Self:
        """Take the folder for the run ``config``; make it where it does not exist.

        Raises:
            FolderInUseError: another process has it.
            UserError: it holds something else or another configuration.
        """
        files.make_folder(self.path)
        if not (self.path / LOCK_NAME).exists():  # else nothing is left in a folder of something else
            self._refuse_strangers()
        self._take_lock()
        with ExitStack() as refused:
            refused.callback(self.close)
            files.remove_temporaries(self.path)
            self._claim(config)
            note_places(self.path, config.suite)
            # a read-only disk refuses even to delete what is not there
            if (self.trained or self.finished) and self._checkpoint_path.exists():
                self._checkpoint_path.unlink()
            refused.pop_all()
        return self

    def close(self) -> None:
        """Let other processes open the folder; the system does it when the process is killed."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Append ``line`` to ``metrics.jsonl``; it is on the disk when this returns.

        Raises:
            ValueError: a value is a NaN or an infinity.
            UserError: the disk refuses, or the folder was deleted.
        """
        self._refuse_deleted()
        files.append_line(self.metrics_path, json.dumps(line, sort_keys=True, allow_nan=False))

    def metrics(self) -> list[dict[str, Any]]:
        """Return the complete lines of ``metrics.jsonl``, or of the packed one of a kept copy."""
        return read_metrics(self.metrics_path)

    def save_checkpoint(self, payload: bytes) -> None:
        """Replace the checkpoint by ``payload``; all metrics so far belong to it.

        Raises:
            UserError: the disk refuses, or the folder was deleted.
        """
        self._refuse_deleted()
        head = _Head(
            metrics_bytes=_size(self.metrics_path),
            metrics_sha256=self._metrics_digest(_size(self.metrics_path)),
            sha256=hashlib.sha256(payload).hexdigest(),
        )
        files.write_bytes(self._checkpoint_path, head.model_dump_json().encode() + b"\n" + payload)

    def begin(self, origin: Provenance) -> Provenance:
        """Note what is in force when training begins; return what was when it began, if it goes on.

        Raises:
            UserError: there is a checkpoint, and it was made of something else: other code, packages,
                weights, prompts, or on another device.
        """
        if self._checkpoint_path.exists() and self.origin_path.exists():
            begun = self.load_origin()
            if begun.key != origin.key:
                changed = ", ".join(key for key, _ in _changed(begun.depends_on, origin.depends_on))
                remedy = "finish the run with what began it, or delete the run's folder to run it again"
                wrong = f"was made with other {changed}, and one run is never made of two"
                raise UserError(str(self._checkpoint_path), wrong, remedy)
            return begun
        files.write_json(self.origin_path, origin.model_dump(mode="json"))
        return origin

    def load_origin(self) -> Provenance:
        """Return what was in force when training began.

        Raises:
            UserError: the file is missing or damaged.
        """
        return _read(self.origin_path, Provenance)

    def resume(self) -> bytes | None:
        """Return the last checkpoint, and cut ``metrics.jsonl`` back to what belongs to it.

        Returns:
            What ``save_checkpoint`` was given; ``None`` where the run has to start at the beginning, with
            empty metrics.

        Raises:
            UserError: the checkpoint is damaged or of another version, or metrics that belong to it were
                changed.
        """
        if not self._checkpoint_path.exists():
            self.cut_metrics(0)
            return None
        head, _, payload = files.read_bytes(self._checkpoint_path).partition(b"\n")
        self.cut_metrics(self._checked_head(head, payload).metrics_bytes)
        return payload

    def cut_metrics(self, size: int) -> None:
        """Shorten ``metrics.jsonl`` to its first ``size`` bytes, if it has more."""
        if _size(self.metrics_path) > size:
            files.cut(self.metrics_path, size)

    def end_training(self, training: Training) -> None:
        """Write ``training.json``: the run is trained. What it says of the metrics is filled in."""
        self._refuse_deleted()
        size = _size(self.metrics_path)
        told = {"metrics_bytes": size, "metrics_sha256": self._metrics_digest(size)}
        training = training.model_copy(update=told)
        files.write_table(self.training_path, training.model_dump(mode="json"))
        self._checkpoint_path.unlink(missing_ok=True)

    def cut_to_training(self, training: Training) -> None:
        """Shorten ``metrics.jsonl`` to what ``training`` left of it, without measurements.

        Raises:
            UserError: that was changed since, or shortened.
        """
        digest = self._metrics_digest(training.metrics_bytes)
        if training.metrics_sha256 and training.metrics_sha256 != digest:
            remedy = "restore the file, or delete the run's folder to run it again"
            raise UserError(str(self.metrics_path), "was changed since the run was trained", remedy)
        self.cut_metrics(training.metrics_bytes)

    def load_training(self) -> Training:
        """Return what the training left.

        Raises:
            UserError: the file is missing or damaged.
        """
        return _read(self.training_path, Training)

    def forget(self) -> None:
        """Delete all that the run has done; the folder is then as if it had never been opened."""
        first = [stored(self.record_path), self.training_path]  # what says that the rest is whole
        kept = {*first, self._config_path, self.path / LOCK_NAME}
        others = [path for path in self.path.iterdir() if path not in kept]
        for path in [*first, *others, self._config_path]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def write_record(self, record: Record) -> None:
        """Write ``record.json``, which ends the run, and delete the checkpoint.

        Raises:
            UserError: the disk refuses, or the folder was deleted.
        """
        self._refuse_deleted()
        write_record(self.record_path, record)
        self._checkpoint_path.unlink(missing_ok=True)

    def load_record(self) -> Record:
        """Return the record of the finished run, as ``read_record`` does."""
        return read_record(self.record_path)

    def _take_lock(self) -> None:
        if self._lock is not None:
            raise RuntimeError(f"{self.path} is open already")
        self._lock = FolderLock(self.path, patience=PROBED_SECONDS)

    def _claim(self, config: RunConfig) -> None:
        """Write ``config.json``, or refuse a folder that is not this run's."""
        asked = config.model_dump(mode="json")
        if self._config_path.exists():
            held = files.read_json(self._config_path, remedy=RESTORE)
            if held != asked:
                changes = ", ".join(islice((told for _, told in _changed(held, asked)), 3))
                remedy = (
                    "name the experiment otherwise, so that it takes what is trained here and measures it, "
                    "choose another results folder, or delete this one to run it again"
                )
                raise UserError(str(self.path), f"holds a run of another configuration ({changes})", remedy)
            return
        self._refuse_strangers()
        files.write_table(self._config_path, asked)

    def _refuse_strangers(self) -> None:
        if self._config_path.exists():
            return
        held = {path.name for path in self.path.iterdir() if path.suffix != files.TEMPORARY_SUFFIX}
        strangers = sorted(held - {LOG_NAME, LOCK_NAME})
        if strangers:
            wrong = f"is no run's folder (it holds {strangers[0]!r} and no config.json)"
            raise UserError(str(self.path), wrong, "choose another results folder, or empty this one")

    def _checked_head(self, head: bytes, payload: bytes) -> _Head:
        given, again = str(self._checkpoint_path), "delete the run's folder to run it again"
        try:
            found = _Head.model_validate_json(head)
        except ValidationError as error:
            raise UserError(given, "is damaged or of another version", again) from error
        whole = found.sha256 == hashlib.sha256(payload).hexdigest()
        if not whole or found.metrics_bytes > _size(self.metrics_path):
            raise UserError(given, "is damaged, or metrics.jsonl beside it was shortened", again)
        if found.metrics_sha256 != self._metrics_digest(found.metrics_bytes):
            wrong = "was changed since the checkpoint beside it was written"
            raise UserError(str(self.metrics_path), wrong, f"restore the file, or {again}")
        return found

    def _metrics_digest(self, size: int) -> str:
        """Return the SHA-256 of the first ``size`` bytes of ``metrics.jsonl``."""
        if size == 0 or not self.metrics_path.exists():
            return hashlib.sha256().hexdigest()
        return hashlib.sha256(files.read_bytes(self.metrics_path)[:size]).hexdigest()

    def _refuse_deleted(self) -> None:
        """Refuse to go on where somebody deleted the folder: what is written then would be no run's."""
        if self._lock is not None and not self._lock.holds:
            wrong = "was deleted or replaced while the run was at work"
            raise UserError(str(self.path), wrong, "give the same command again to run it again")


def _read(path: Path, kind: type[_File]) -> _File:
    return as_model(path, kind, files.read_json(path, remedy=RESTORE))


def _changed(held: Any, asked: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield ``key`` and ``key old, not new`` wherever two tables differ."""
    if isinstance(held, dict) and isinstance(asked, dict):
        for name in sorted(held.keys() | asked.keys()):
            yield from _changed(held.get(name), asked.get(name), f"{key}.{name}" if key else name)
    elif held != asked:
        yield key, f"{key} {held!r}, not {asked!r}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
