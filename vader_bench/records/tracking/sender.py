"""Sends what the files of runs tell to a store, by comparing with what the store holds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.records.folder import ADAPTER_NAME, RunFolder
from vader_bench.records.locks import FolderInUseError, FolderLock
from vader_bench.records.packed import read_stored
from vader_bench.records.tracking.points import SentPoint, Story, tell
from vader_bench.records.tracking.state import State
from vader_bench.records.tracking.store import REFUSES, Store, StoreError
from vader_bench.records.tracking.views import missing_tags

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["REPORT", "Sender", "Status"]

REPORT = "report"
"""Name of the MLflow run that holds figures and tables of the whole experiment."""
Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

_FOLDER_TAG = "vader_bench.folder"
_DIGEST_TAG = "vader_bench.digest"
"""Of the record, or of the report's files: written last, it says that all of that is there."""
_OLD_TAG = "vader_bench.key"
_BATCH = 1000
"""Most metrics that MLflow takes at a time."""
_LOCK_SECONDS = 60.0
_CLOCK = "ledger/device_seconds"


@dataclass
class _Held:
    """What the store has of a run, as far as this process knows."""

    run_id: str
    began: int
    points: set[SentPoint]
    parameters: set[str]
    status: str
    digest: str


class Sender:
    """The way from one experiment's folder to a store, one run at a time.

    Nothing is believed to be sent that the store does not hold. A run there that came of another attempt at
    the same run, before that was deleted and trained again or cut back to a checkpoint, is deleted there.

    Args:
        folder: ``<results>/<experiment>/<suite>``.
        store: open it before sending.
        state: of the folder.
    """

    def __init__(self, folder: Path, store: Store, state: State) -> None:
        self._folder = folder
        self._store = store
        self._state = state
        self._name = f"{folder.parent.name}/{folder.name}"
        self._known: dict[str, _Held] = {}
        self.rewards: dict[str, str] = {}
        """Of each reward whose runs were sent, the id of the store's experiment, whose page has its views."""

    def send(self, run: Path, status: Status | None = None) -> bool:
        """Send what the store lacks of a run, and return whether that was anything.

        Args:
            run: its folder.
            status: of a run without a record, where the caller knows it.

        Raises:
            StoreError: the store does not take it.
            UserError: a file of the run is damaged.
        """
        folder = RunFolder(run)
        if not folder.metrics():
            return False
        story = tell(folder)
        with self._alone():
            if story.name in self._known:
                try:
                    return self._send(story, status)
                except StoreError as error:
                    del self._known[story.name]
                    if error.wrong != REFUSES:  # else somebody may have deleted it there
                        raise
            return self._send(story, status)

    def send_report(self, paths: Iterable[Path]) -> bool:
        """Send the figures and tables of the whole experiment, and return whether any was new.

        Raises:
            StoreError: the store does not take them.
        """
        present = sorted(path for path in paths if path.is_file())
        told = {path.name: files.sha256_file(path) for path in present}
        digest = files.sha256_text(files.canonical_json(told))
        store, client = self._store, self._store.client
        with self._alone():
            found = [run for run in self._runs(REPORT) if self._is_own(run)]
            for run in found[1:]:
                store.ask(client.delete_run, run.info.run_id)
            began = found[0].info.start_time if found else self._before_all_runs()
            run_id = found[0].info.run_id if found else self._create(REPORT, {"kind": REPORT}, began)
            if (
                found
                and found[0].data.tags.get(_DIGEST_TAG) == digest
                and self._artifacts(run_id) >= set(told)
            ):
                return False
            for path in present:
                store.ask(client.log_artifact, run_id, str(path))
            store.ask(client.set_terminated, run_id, "FINISHED", began)
            store.ask(client.set_tag, run_id, _DIGEST_TAG, digest)
        return True

    def _before_all_runs(self) -> int:
        """Return a time before the first run of the store began, in milliseconds since 1970: the report's.

        So it is the last of the page's list, of which charts show the newest runs first; it has no curve.
        """
        experiment, client = self._store.experiment(self._name), self._store.client
        order = ["attributes.start_time ASC"]
        first = self._store.ask(
            client.search_runs, [experiment], "tags.kind = 'run'", max_results=1, order_by=order
        )
        return int(first[0].info.start_time) - 1 if first else _now()

    def _send(self, story: Story, status: Status | None) -> bool:
        held = self._known.get(story.name)
        if held is None or not held.points <= set(story.sent(held.began)):
            self._present(story.tags["reward"])
            held = self._known[story.name] = self._look_up(story)
        new = [point for point in story.sent(held.began) if point not in held.points]
        complete = story.record is not None and held.digest == story.record_digest
        self._send_points(held, story, new)
        if story.record is not None:
            changed = not complete or not self._has_artifacts(held, story)
            if changed:
                self._finish(held, story)
        else:
            changed = self._mark(held, story, status or self._status(held, story))
        return bool(new) or changed

    def _present(self, reward: str) -> None:
        """Write what the experiment's page needs to compare methods on ``reward``, where it is missing."""
        store, identity = self._store, self._store.experiment(self._name)
        if self.rewards.get(reward) == identity:
            return
        found = store.ask(store.client.get_experiment, identity)
        for key, value in missing_tags(found.tags, identity, int(found.creation_time or 0), reward).items():
            store.ask(store.client.set_experiment_tag, identity, key, value)
        self.rewards[reward] = identity

    def _look_up(self, story: Story) -> _Held:
        """Return what the store holds of the run; delete other attempts at it, and create it if need be."""
        client, kept = self._store.client, None
        began = self._state.times(story.run).began
        for run in self._runs(story.name):
            held = self._held(run)
            own = self._is_own(run)
            same = held.points <= set(story.sent(held.began)) and (own or _measured(held, story))
            same = same and (not self._state.knows(story.run) or held.began == began)
            if same and kept is None:
                kept = held
            elif same or own:
                self._store.ask(client.delete_run, held.run_id)
        if kept is not None:
            return kept
        run_id = self._create(story.name, dict(story.tags), began)
        return _Held(run_id, began, set(), set(), "RUNNING", "")

    def _held(self, run: Run) -> _Held:
        client, run_id = self._store.client, str(run.info.run_id)
        points = {
            SentPoint(key, float(found.value), int(found.timestamp), int(found.step))
            for key in run.data.metrics
            for found in self._store.ask(client.get_metric_history, run_id, key)
        }
        digest = run.data.tags.get(_DIGEST_TAG, "")
        return _Held(run_id, run.info.start_time, points, set(run.data.params), run.info.status, digest)

    def _runs(self, name: str) -> list[Run]:
        """Return the runs of that name that the store has in this experiment, the oldest first."""
        experiment = self._store.experiment(self._name)
        client, wanted = self._store.client, f"attributes.run_name = '{name}'"
        found = self._store.ask(client.search_runs, [experiment], wanted)
        return sorted(found, key=lambda run: int(run.info.start_time))

    def _is_own(self, run: Run) -> bool:
        """Tell whether this folder sent the run, and not another one of the same name."""
        path = self._store.address.path
        beside = path is not None and path.resolve().parent == self._folder.resolve().parents[1]
        tags = run.data.tags
        return beside or tags.get(_FOLDER_TAG) == self._state.folder or tags.get(_OLD_TAG) in self._state.keys

    def _create(self, name: str, tags: dict[str, str], began: int) -> str:
        self._state.save()
        experiment, client = self._store.experiment(self._name), self._store.client
        tags = {_FOLDER_TAG: self._state.folder, **tags}
        run = self._store.ask(client.create_run, experiment, start_time=began, tags=tags, run_name=name)
        return str(run.info.run_id)

    def _send_points(self, held: _Held, story: Story, new: Sequence[SentPoint]) -> None:
        from mlflow.entities import Metric, Param

        client = self._store.client
        params = [Param(key, value) for key, value in story.parameters.items() if key not in held.parameters]
        if params:
            self._store.ask(client.log_batch, held.run_id, params=params)
            held.parameters |= set(story.parameters)
        for start in range(0, len(new), _BATCH):
            part = new[start : start + _BATCH]
            metrics = [Metric(*point) for point in part]
            self._store.ask(client.log_batch, held.run_id, metrics=metrics)
            held.points |= set(part)

    def _status(self, held: _Held, story: Story) -> Status:
        """Return the status of a run without a record that nobody watches."""
        if story.run.in_use:
            return "RUNNING"
        return "FAILED" if held.status == "FAILED" else "KILLED"

    def _mark(self, held: _Held, story: Story, status: Status) -> bool:
        if held.status == status:
            return False
        client = self._store.client
        if status == "RUNNING":
            self._store.ask(client.update_run, held.run_id, status)
        else:
            self._store.ask(client.set_terminated, held.run_id, status, self._ended(held, story))
        held.status = status
        return True

    def _finish(self, held: _Held, story: Story) -> None:
        store, client, record = self._store, self._store.client, story.record
        assert record is not None
        tags = {
            "config_digest": record.config_digest,
            "git_commit": str(record.git.get("commit", "")),
            "training_key": record.key,
            "taken_from": record.taken_from,
        }
        for key, value in tags.items():
            store.ask(client.set_tag, held.run_id, key, value)
        record_path, adapters = story.run.record_path, story.run.path / ADAPTER_NAME
        store.ask(client.log_text, held.run_id, read_stored(record_path), record_path.name)
        if adapters.is_file():
            store.ask(client.log_artifact, held.run_id, str(adapters))
        samples = story.run.path / "samples"
        for path in sorted(samples.iterdir()) if samples.is_dir() else []:  # an answer is owed for each alone
            store.ask(client.log_artifact, held.run_id, str(path), samples.name)
        if not self._has_artifacts(held, story):  # what takes a file says nothing that could be read
            raise StoreError(REFUSES, f"it has not kept all files of {story.name} that it was sent")
        store.ask(client.set_terminated, held.run_id, "FINISHED", self._ended(held, story))
        store.ask(client.set_tag, held.run_id, _DIGEST_TAG, story.record_digest)
        held.status, held.digest = "FINISHED", story.record_digest

    def _ended(self, held: _Held, story: Story) -> int:
        """Return when the run ended, had it not paused, in milliseconds since 1970."""
        return held.began + self._state.times(story.run).lasted

    def _has_artifacts(self, held: _Held, story: Story) -> bool:
        if not self._artifacts(held.run_id) >= _artifacts(story):
            return False
        samples = story.run.path / "samples"
        wanted = {f"{samples.name}/{path.name}" for path in samples.iterdir()} if samples.is_dir() else set()
        return not wanted or self._artifacts(held.run_id, samples.name) >= wanted

    def _artifacts(self, run_id: str, folder: str | None = None) -> set[str]:
        found = self._store.ask(self._store.client.list_artifacts, run_id, folder)
        return {str(artifact.path) for artifact in found}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process sends from this folder: two would make every run twice."""
        locked = self._folder / "runs"  # no folder of its own: the disk may be read-only
        if not locked.is_dir():
            yield
            return
        try:
            lock = FolderLock(locked, _LOCK_SECONDS)
        except FolderInUseError as error:
            remedy = "wait until it has ended and give the same command again"
            raise StoreError(REFUSES, "another vader-bench is sending from this folder", remedy) from error
        except UserError as error:
            raise StoreError(REFUSES, f"{error.given} {error.wrong}", error.remedy) from error
        with lock:
            yield


def _artifacts(story: Story) -> set[str]:
    """Return the names of the files of a finished run that a store keeps, beside its videos."""
    has_adapters = (story.run.path / ADAPTER_NAME).is_file()
    return {story.run.record_path.name, *([ADAPTER_NAME] if has_adapters else [])}


def _measured(held: _Held, story: Story) -> bool:
    """Tell whether the store holds what no other run has: a time that was measured, or the record."""
    known = held.digest and held.digest == story.record_digest
    return bool(known) or any(point.key == _CLOCK and point.value > 0 for point in held.points)


def _now() -> int:
    return round(time.time() * 1000)
