"""A run's folder survives whatever kills the process that writes it."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vader_bench import files
from vader_bench.config.schema import RunConfig, config_digest
from vader_bench.errors import UserError
from vader_bench.records import folder as module
from vader_bench.records.folder import RunFolder, read_metrics
from vader_bench.records.locks import LOCK_NAME
from vader_bench.records.provenance import repository_root
from vader_bench.records.record import Record
from vader_bench.records.record_file import pack_record
from vader_bench.records.trained import Provenance, Training


@pytest.fixture
def folder(tmp_path: Path, run_config: RunConfig) -> Iterator[RunFolder]:
    with RunFolder(tmp_path / "runs" / run_config.name).open(run_config) as opened:
        yield opened


@pytest.fixture
def record(run_config: RunConfig) -> Record:
    return Record(
        experiment="fig",
        suite="small",
        method="vader",
        reward="aesthetic",
        seed=0,
        config=run_config.model_dump(mode="json"),
        config_digest=config_digest(run_config),
        ledger={"reward_queries": 128, "device_seconds": 1.5, "flops": 0},
        evaluations=[],
        digests={},
        packages={},
        machine={},
        git={},
    )


def names(folder: RunFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir() if path.name != LOCK_NAME)


def reopened(folder: RunFolder, config: RunConfig) -> RunFolder:
    """Return the folder as the next process finds it."""
    folder.close()
    return RunFolder(folder.path).open(config)


def steps(folder: RunFolder) -> list[int]:
    return [line["step"] for line in folder.metrics()]


def test_new_run_starts_at_the_beginning(folder: RunFolder) -> None:
    assert folder.resume() is None
    assert folder.metrics() == []
    assert not folder.finished
    assert names(folder) == ["config.json"]


def test_metrics_come_back_as_they_were(folder: RunFolder) -> None:
    line = {"kind": "step", "queries": 8, "metrics": {"reward": 0.1 + 0.2}}
    folder.append_metrics(line)
    assert folder.metrics() == [line]
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.append_metrics({"reward": float("nan")})
    assert folder.metrics() == [line]


def test_resume_cuts_the_lines_beyond_the_checkpoint(folder: RunFolder, run_config: RunConfig) -> None:
    for step in range(3):
        folder.append_metrics({"step": step})
    folder.save_checkpoint(b"\x00state\nof three\xff")
    for step in range(3, 5):
        folder.append_metrics({"step": step})
    again = reopened(folder, run_config)
    assert again.resume() == b"\x00state\nof three\xff"
    assert steps(again) == [0, 1, 2]
    again.append_metrics({"step": 3})
    assert steps(again) == [0, 1, 2, 3]


def test_without_a_checkpoint_the_run_starts_again(folder: RunFolder, run_config: RunConfig) -> None:
    folder.append_metrics({"step": 0})
    again = reopened(folder, run_config)
    assert again.resume() is None
    assert again.metrics() == []


def test_torn_last_line(folder: RunFolder, run_config: RunConfig) -> None:
    folder.append_metrics({"step": 0})
    folder.save_checkpoint(b"state")
    with folder.metrics_path.open("a") as stream:
        stream.write('{"step": 1, "met')
    assert steps(folder) == [0]
    again = reopened(folder, run_config)
    assert again.resume() == b"state"
    again.append_metrics({"step": 1})
    assert steps(again) == [0, 1]


def test_half_written_files_are_cleared_away(folder: RunFolder, run_config: RunConfig) -> None:
    folder.save_checkpoint(b"old")
    (folder.path / f".checkpoint.1234{files.TEMPORARY_SUFFIX}").write_bytes(b"new, but only ha")
    (folder.path / f".record.json.1234{files.TEMPORARY_SUFFIX}").write_bytes(b"{")
    (folder.path / "samples").mkdir()
    (folder.path / "samples" / f".heldout-0.mp4.1234{files.TEMPORARY_SUFFIX}").write_bytes(b"ftyp")
    again = reopened(folder, run_config)
    assert names(again) == ["checkpoint", "config.json", "samples"]
    assert list((again.path / "samples").iterdir()) == []
    assert again.resume() == b"old"


def test_killed_before_its_configuration_was_written(tmp_path: Path, run_config: RunConfig) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / f".config.json.1{files.TEMPORARY_SUFFIX}").write_text("{")
    (path / module.LOG_NAME).write_text("warning\n")
    with RunFolder(path).open(run_config) as folder:
        assert names(folder) == ["config.json", "log.txt"]


def test_killed_between_record_and_checkpoint(
    folder: RunFolder, run_config: RunConfig, record: Record
) -> None:
    folder.save_checkpoint(b"last")
    checkpoint = (folder.path / "checkpoint").read_bytes()
    folder.write_record(record)
    (folder.path / "checkpoint").write_bytes(checkpoint)
    again = reopened(folder, run_config)
    assert again.finished
    assert names(again) == ["config.json", "record.json"]


KILLED = """
import pickle
import sys
from pathlib import Path
from vader_bench.records.folder import RunFolder
config = pickle.loads(Path(sys.argv[1]).read_bytes())
folder = RunFolder(Path(sys.argv[2])).open(config)
step = int(folder.resume() or b"0")
while True:
    step += 1
    folder.append_metrics({"step": step})
    if step % 3 == 0:
        folder.save_checkpoint(str(step).encode())
"""


def test_killed_again_and_again_it_goes_on(tmp_path: Path, run_config: RunConfig) -> None:
    config, path = tmp_path / "config.pickle", tmp_path / "run"
    config.write_bytes(pickle.dumps(run_config))
    reached = 0
    for extra in (0.0, 0.003, 0.011):
        process = subprocess.Popen([sys.executable, "-c", KILLED, config, path], cwd=repository_root())
        wait_for_step(path / "metrics.jsonl", reached + 4)
        time.sleep(extra)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with RunFolder(path).open(run_config) as folder:
            state = folder.resume()
            assert state is not None
            # the state and the metrics tell the same story, without a hole or a repetition
            assert steps(folder) == list(range(1, int(state) + 1))
            reached = int(state)
    assert reached >= 9


def wait_for_step(path: Path, step: int) -> None:
    for _ in range(3000):
        if read_metrics(path)[-1:] and read_metrics(path)[-1]["step"] >= step:
            return
        time.sleep(0.01)
    pytest.fail(f"step {step} was never reached")


@pytest.mark.parametrize("part", ["checkpoint", "record", "metrics"])
def test_full_disk_loses_nothing(
    folder: RunFolder, record: Record, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    folder.append_metrics({"step": 0})
    folder.save_checkpoint(b"old")
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.write" if part == "metrics" else "os.replace", refuse)
    with pytest.raises(UserError, match=r"No space left on device\); free some disk space"):
        {
            "checkpoint": lambda: folder.save_checkpoint(b"new"),
            "record": lambda: folder.write_record(record),
            "metrics": lambda: folder.append_metrics({"step": 1}),
        }[part]()
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before


def test_folder_of_another_configuration_is_refused(folder: RunFolder, run_config: RunConfig) -> None:
    folder.close()
    settings = run_config.settings.model_copy(update={"k": 3})
    other = run_config.model_copy(update={"reward_queries": 512, "settings": settings})
    message = r"another configuration \(reward_queries 128, not 512, settings.k 1, not 3\); name the"
    with pytest.raises(UserError, match=message):
        RunFolder(folder.path).open(other)
    with RunFolder(folder.path).open(run_config):  # the refusal let go of the folder
        pass


def test_folder_of_something_else_is_refused(tmp_path: Path, run_config: RunConfig) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"is no run's folder \(it holds 'thesis.tex'"):
        RunFolder(tmp_path).open(run_config)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_folder_in_use_is_refused(folder: RunFolder, run_config: RunConfig) -> None:
    with pytest.raises(UserError, match="in use by another process; wait"):
        RunFolder(folder.path).open(run_config)
    with pytest.raises(RuntimeError, match="open already"):
        folder.open(run_config)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "is damaged"),
        (lambda data: data.replace(b"state", b"stale"), "is damaged"),
        (lambda data: data.replace(b'"version":2', b'"version":1'), "damaged or of another version"),
        (lambda data: b"", "damaged or of another version"),
    ],
)
def test_damaged_checkpoint_is_refused(folder: RunFolder, damage: Any, message: str) -> None:
    folder.append_metrics({"step": 0})
    folder.save_checkpoint(b"state")
    path = folder.path / "checkpoint"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=f"{message}.*delete the run's folder to run it again"):
        folder.resume()
    assert steps(folder) == [0]


def test_metrics_shorter_than_the_checkpoint_knows(folder: RunFolder) -> None:
    folder.append_metrics({"step": 0})
    folder.save_checkpoint(b"state")
    folder.metrics_path.unlink()
    with pytest.raises(UserError, match=r"metrics\.jsonl beside it was shortened"):
        folder.resume()


def origin(**changes: Any) -> Provenance:
    depends_on = {"code": "1" * 64, "packages": {"torch": "2.13"}, "seed": 1} | changes
    key = files.sha256_text(files.canonical_json(depends_on))
    return Provenance(
        key=key, depends_on=depends_on, command="c", digests={}, packages={}, machine={}, git={"commit": key}
    )


def test_a_run_that_goes_on_has_the_origin_it_began_with(folder: RunFolder, run_config: RunConfig) -> None:
    first = folder.begin(origin())
    folder.save_checkpoint(b"state")
    again = reopened(folder, run_config)
    assert again.begin(origin().model_copy(update={"git": {"commit": "later"}})) == first
    assert again.load_origin() == first


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"code": "2" * 64}, "other code, and one run"),
        ({"code": "2" * 64, "packages": {"torch": "2.14"}}, "other code, packages.torch, and"),
    ],
)
def test_a_checkpoint_of_other_code_or_packages_is_refused(
    folder: RunFolder, changes: dict[str, Any], told: str
) -> None:
    first = folder.begin(origin())
    folder.save_checkpoint(b"state")
    with pytest.raises(UserError, match=f"checkpoint: was made with {told}"):
        folder.begin(origin(**changes))
    assert folder.load_origin() == first


def test_without_a_checkpoint_a_run_begins_with_what_is_there(folder: RunFolder) -> None:
    folder.begin(origin())
    other = origin(code="2" * 64)
    assert folder.begin(other) == other == folder.load_origin()


def test_a_trained_run_goes_on_with_its_measurements(folder: RunFolder, run_config: RunConfig) -> None:
    folder.append_metrics({"step": 0})
    folder.save_checkpoint(b"state")
    folder.end_training(Training(key="k", points=[], metrics_bytes=0))
    size = folder.metrics_path.stat().st_size
    folder.append_metrics({"look": 0})
    assert names(folder) == ["config.json", "metrics.jsonl", "training.json"]
    again = reopened(folder, run_config)
    assert again.trained
    assert not again.finished
    assert again.load_training().metrics_bytes == size
    again.cut_to_training(again.load_training())
    assert steps(again) == [0]


def test_a_digit_changed_before_the_measurements_is_refused(folder: RunFolder) -> None:
    folder.append_metrics({"step": 0, "reward": 0.5})
    folder.end_training(Training(key="k", points=[], metrics_bytes=0))
    folder.append_metrics({"look": 0})
    whole = folder.metrics_path.read_text()
    for damaged in (whole.replace("0.5", "0.6"), whole[:10]):
        folder.metrics_path.write_text(damaged)
        with pytest.raises(
            UserError, match=r"metrics\.jsonl: was changed since the run was trained; restore"
        ):
            folder.cut_to_training(folder.load_training())


def test_a_damaged_origin_is_refused(folder: RunFolder) -> None:
    folder.begin(origin())
    files.write_json(folder.origin_path, {"version": 1})
    with pytest.raises(UserError, match=r"origin\.json: is no provenance \(key: Field required"):
        folder.load_origin()


def test_what_is_forgotten_leaves_an_empty_folder(folder: RunFolder, run_config: RunConfig) -> None:
    (folder.path / "adapters").mkdir()
    (folder.path / "adapters" / "4.safetensors").write_bytes(b"")
    folder.begin(origin())
    folder.forget()
    assert names(folder) == []
    assert names(reopened(folder, run_config)) == ["config.json"]


def test_a_packed_record_is_forgotten_too(folder: RunFolder, record: Record) -> None:
    pack_record(folder.record_path, record)
    assert folder.finished
    assert folder.load_record() == record
    folder.forget()
    assert names(folder) == []


def test_record_ends_the_run(folder: RunFolder, record: Record) -> None:
    folder.append_metrics({"step": 0})
    folder.save_checkpoint(b"state")
    folder.write_record(record)
    assert folder.finished
    assert folder.load_record() == record
    assert names(folder) == ["config.json", "metrics.jsonl", "record.json"]


def test_broken_line_in_the_middle_of_the_metrics(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"st\n{"step": 2}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl: line 2: is not JSON"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_a_digit_changed_before_the_checkpoint_is_refused(folder: RunFolder, run_config: RunConfig) -> None:
    for step in range(3):
        folder.append_metrics({"step": step, "reward": 0.5})
    folder.save_checkpoint(b"state")
    folder.append_metrics({"step": 3, "reward": 0.5})
    whole = folder.metrics_path.read_text()
    folder.metrics_path.write_text(whole.replace("0.5", "0.6", 1))
    again = reopened(folder, run_config)
    with pytest.raises(
        UserError, match=r"metrics\.jsonl: was changed since the checkpoint.*restore the file"
    ):
        again.resume()
    folder.metrics_path.write_text(
        whole.replace('"step": 3', '"step": 4')
    )  # what is cut off is nobody's matter
    assert again.resume() == b"state"
    assert steps(again) == [0, 1, 2]


@pytest.mark.parametrize("moment", ["metrics", "checkpoint", "record"])
def test_a_folder_deleted_under_its_run_is_not_made_again(
    folder: RunFolder, run_config: RunConfig, record: Record, moment: str
) -> None:
    folder.append_metrics({"step": 0})
    shutil.rmtree(folder.path)
    with pytest.raises(UserError, match="was deleted or replaced while the run was at work; give the same"):
        {
            "metrics": lambda: folder.append_metrics({"step": 1}),
            "checkpoint": lambda: folder.save_checkpoint(b"state"),
            "record": lambda: folder.write_record(record),
        }[moment]()
    assert not folder.path.exists()
    with reopened(folder, run_config) as again:
        assert again.resume() is None


def test_a_finished_run_opens_on_a_read_only_disk(
    folder: RunFolder, run_config: RunConfig, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write_record(record)
    folder.close()

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("unlink", "rename", "replace", "write"):
        monkeypatch.setattr(os, name, refuse)
    with RunFolder(folder.path).open(run_config) as opened:
        assert opened.load_record() == record


def test_what_killed_writes_left_below_is_cleared_away_too(folder: RunFolder, run_config: RunConfig) -> None:
    (folder.path / "samples").mkdir()
    (folder.path / "samples" / f".heldout-0.mp4.1234{files.TEMPORARY_SUFFIX}").write_bytes(b"half")
    reopened(folder, run_config)
    assert list((folder.path / "samples").iterdir()) == []


@pytest.mark.parametrize("line", ["[1, 2]", "3", "null", '"text"'])
def test_a_line_of_metrics_that_is_no_table(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 0}}\n{line}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl: line 2: is no line of metrics"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_a_folder_says_whether_somebody_works_in_it(folder: RunFolder) -> None:
    other = RunFolder(folder.path)
    assert other.in_use
    folder.close()
    assert not other.in_use
