"""A run on its way through a store arrives so that it can go on, whatever was interrupted."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.support.configs import run_config
from vader_bench import files
from vader_bench.errors import ExitCode, UserError
from vader_bench.launch.storage import PAUSES, Storage
from vader_bench.records.folder import RunFolder
from vader_bench.records.places import PLACES_NAME
from vader_bench.records.trained import Training


@pytest.fixture(params=["memory", "file"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    MemoryFileSystem.store.clear()
    url = "memory://bucket/runs" if request.param == "memory" else f"file://{tmp_path}/bucket"
    yield Storage(url, tmp_path / "results")
    MemoryFileSystem.store.clear()


PLACE = Path("small/tiny/runs/vader-red-seed1")


def test_a_run_goes_on_elsewhere_from_its_last_checkpoint(storage: Storage, tmp_path: Path) -> None:
    config = run_config()
    assert storage.place(tmp_path / "results" / PLACE) == PLACE
    with RunFolder(tmp_path / "first").open(config) as run:
        copy = storage.copy(PLACE, run.path)
        storage.fetch(copy)  # there is nothing yet
        stale = [copy.stale]
        run.append_metrics({"kind": "step", "queries": 2})
        (run.path / "adapters").mkdir()
        run.adapter_path(2, 8).write_bytes(b"adapters")
        run.save_checkpoint(b"after 2 queries")
        stale.append(copy.stale)
        storage.send(copy)
        stale.append(copy.stale)
        assert stale == [False, True, False]
        run.append_metrics({"kind": "step", "queries": 4})  # what is lost with the machine
    again = storage.copy(PLACE, tmp_path / "second")
    storage.fetch(again)
    assert not again.stale
    with RunFolder(tmp_path / "second").open(config) as run:
        assert run.resume() == b"after 2 queries"
        assert [line["queries"] for line in run.metrics()] == [2]
        assert run.adapter_path(2, 8).read_bytes() == b"adapters"
        run.end_training(Training(key="k", points=[], metrics_bytes=0))
        storage.send(again)
    head = storage.copy(PLACE, tmp_path / "results" / PLACE)
    storage.gather(head, finished=False)
    assert not (tmp_path / "results" / PLACE / "checkpoint").exists(), "only the store has the newest one"
    with RunFolder(tmp_path / "results" / PLACE).open(config) as run:
        assert run.trained
        assert run.load_training().key == "k"
    storage.gather(head, finished=True)
    nothing = storage.copy(PLACE, tmp_path / "third")
    storage.fetch(nothing)
    assert not (tmp_path / "third").exists()


def test_the_places_of_its_files_are_those_of_the_machine_that_gave_the_command(
    storage: Storage, tmp_path: Path
) -> None:
    config = run_config()
    suite = config.suite.with_written({"/at/home/model": "./model"})
    config = config.model_copy(update={"suite": suite})
    with RunFolder(tmp_path / "scratch").open(config) as run:  # in a worker, elsewhere
        storage.send(storage.copy(PLACE, run.path))
    storage.gather(storage.copy(PLACE, tmp_path / "results" / PLACE), finished=True)
    places = files.read_json(tmp_path / "results" / PLACE / PLACES_NAME)
    assert places == {"./model": "/at/home/model"}


def limited(write: Callable[[str, bytes], None], allowed: int) -> Callable[[str, bytes], None]:
    """Return ``write`` as it is for ``allowed`` calls, and away afterwards."""
    left = iter(range(allowed))

    def writing(name: str, data: bytes) -> None:
        if next(left, None) is None:
            raise ConnectionError("away")
        write(name, data)

    return writing


def test_a_checkpoint_never_arrives_before_its_metrics(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store goes away after every single write in turn; what it has by then can always be resumed."""
    config = run_config()
    for allowed in range(12):
        place = PLACE.parent / f"vader-red-seed{allowed}"
        with RunFolder(tmp_path / "from" / str(allowed)).open(config) as run:
            copy = storage.copy(place, run.path)
            monkeypatch.setattr(copy, "_write", limited(copy._write, allowed))
            for queries in (2, 4, 6):
                run.append_metrics({"kind": "step", "queries": queries})
                run.save_checkpoint(f"{queries}".encode())
                try:
                    copy.send()
                except ConnectionError:
                    break
        folder = tmp_path / "to" / str(allowed)
        storage.fetch(storage.copy(place, folder))
        with RunFolder(folder).open(config) as run:
            payload = run.resume()
            lines = [line["queries"] for line in run.metrics()]
            assert lines == ([] if payload is None else list(range(2, int(payload) + 1, 2)))


def before_call(number: int, call: Callable[..., Any], change: Callable[[], None]) -> Callable[..., Any]:
    """Return ``call``, with ``change`` called just before the call of that ``number``, from 0."""
    numbers = itertools.count()

    def calling(*arguments: Any) -> Any:
        if next(numbers) == number:
            change()
        return call(*arguments)

    return calling


@pytest.mark.parametrize("moment", range(6))
def test_what_is_fetched_while_another_machine_sends_can_be_gone_on_with(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """The run's next state arrives in the store just before a file is read, each of them in turn."""
    with RunFolder(tmp_path / "from").open(run_config()) as run:
        sender = storage.copy(PLACE, run.path)

        def train(queries: int) -> None:
            run.append_metrics({"kind": "step", "queries": queries})
            files.write_bytes(run.adapter_path(queries, 8), b"adapters")
            run.save_checkpoint(f"{queries}".encode())
            sender.send()

        train(2)
        copy = storage.copy(PLACE, tmp_path / "to")
        with monkeypatch.context() as changed:
            reading = before_call(moment, copy._store.cat_file, lambda: train(4))
            changed.setattr(copy._store, "cat_file", reading)
            storage.fetch(copy)
    with RunFolder(tmp_path / "to").open(run_config()) as run:
        queries = int(run.resume() or b"0")
        assert queries in {2, 4}
        assert [line["queries"] for line in run.metrics()] == list(range(2, queries + 1, 2))
        assert run.adapter_path(queries, 8).exists()


def test_a_store_that_is_away_is_asked_again(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with RunFolder(tmp_path / "run").open(run_config()) as run:
        run.save_checkpoint(b"state")
        copy = storage.copy(PLACE, run.path)
        answers = iter([ConnectionError("away"), ConnectionError("away"), None])

        def send() -> None:
            answer = next(answers, ConnectionError("gone"))
            if answer is not None:
                raise answer

        monkeypatch.setattr(copy, "send", send)
        storage.send(copy)
        assert len(pauses) == 2
        with pytest.raises(UserError, match=r"storage '.*': cannot be used \(gone\); give a place"):
            storage.send(copy)
    assert pauses[2:] == list(PAUSES)


def test_a_store_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"storage 'nonsense://x': cannot be used \(Protocol not known"):
        Storage("nonsense://x", tmp_path).copy(PLACE, tmp_path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(_: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", lacking)
    with pytest.raises(UserError, match="Install s3fs to access S3") as caught:
        Storage("s3://bucket", tmp_path).copy(PLACE, tmp_path)
    assert caught.value.exit_code == ExitCode.MISSING
