"""What MLflow gets: everything, once, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.support.configs import run_config
from tests.support.folders import finish_run, start_run
from tests.support.stores import (
    experiment_runs,
    history,
    local_store,
    new_results,
    new_store,
    points_of,
    stored,
)
from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.launch.start import start_context
from vader_bench.records.folder import RunFolder
from vader_bench.records.locks import FolderLock
from vader_bench.records.tracking import sender as module
from vader_bench.records.tracking.address import read_address
from vader_bench.records.tracking.sender import Sender
from vader_bench.records.tracking.state import STATE_NAME, State
from vader_bench.records.tracking.store import Store, StoreError

METRICS = {
    "reward": [(0, 0.0), (4, 2.0), (8, 4.0)],
    "gain": [(0, 0.0), (4, 2.0), (8, 4.0)],
    "gold": [(0, 0.5), (4, 0.5), (8, 0.5)],
    "curve/queries": [(0, 0.0), (4, 2.0), (8, 4.0)],
    "curve/seconds": [(0, 0.0), (2, 2.0), (5, 4.0)],
    "train/reward": [(2, 0.2), (4, 0.4), (8, 0.8)],
    "train/loss": [(2, -0.2), (4, -0.4), (8, -0.8)],
    "evaluation/heldout/reward": [(0, 0.0), (4, 1.0), (8, 2.0)],
    "evaluation/heldout/gold": [(0, 0.5), (4, 0.5), (8, 0.5)],
    "evaluation/heldout/prompt_share": [(0, 0.75), (4, 0.75), (8, 0.75)],
    "evaluation/train/reward": [(8, 2.0)],
    "evaluation/train/gold": [(8, 0.5)],
    "evaluation/train/prompt_share": [(8, 0.75)],
    "ledger/queries": [(0, 0.0), (2, 2.0), (4, 4.0), (8, 8.0)],
    "ledger/device_seconds": [(0, 0.0), (2, 1.25), (4, 2.5), (8, 5.75)],
    "ledger/gradient_queries": [(2, 0.0), (4, 0.0), (8, 0.0)],
    "ledger/frames_scored": [(2, 8.0), (4, 8.0), (8, 8.0)],
    "ledger/denoiser_forwards": [(2, 80.0), (4, 80.0), (8, 80.0)],
    "ledger/denoiser_backwards": [(2, 8.0), (4, 8.0), (8, 8.0)],
    "ledger/vae_decodes": [(2, 16.0), (4, 16.0), (8, 16.0)],
    "ledger/flops": [(2, 1000.0), (4, 1000.0), (8, 1000.0)],
    "device_hours": [(8, 2.0)],
}
"""All points of a whole run of ``tests.support.folders``."""
NAME = "vader-red-seed1"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of results with an MLflow database."""
    return new_results(tmp_path / "results")


def sender(results: Path, uri: str | None = None) -> Sender:
    """Return the sender of a new process."""
    folder, said = results / "small" / "tiny", list[str]()
    store = Store(read_address(uri, results))
    store.open()
    return Sender(folder, store, State(folder, said.append))


def whole(results: Path) -> Path:
    """Make a finished run and return its folder."""
    run = start_run(results)
    finish_run(run)
    return run


def slower(run: Path, factor: float = 1.5) -> None:
    """Give the run the times of another attempt: the same numbers, measured in ``factor`` times as long."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line["device_seconds"] *= factor
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if (run / "record.json").exists():
        record = json.loads((run / "record.json").read_text())
        record["ledger"]["device_seconds"] *= factor
        (run / "record.json").write_text(json.dumps(record))


def test_a_run_arrives_whole_and_once_however_often_it_is_sent(results: Path) -> None:
    run = start_run(results)
    assert sender(results).send(run)
    half = stored(results)[NAME]
    assert history(results, half, "reward") == METRICS["reward"][:1]
    finish_run(run)
    assert [sender(results).send(run) for _ in range(2)] == [True, False]
    found = stored(results)[NAME]
    assert points_of(results, found) == METRICS
    assert found.info.status == "FINISHED"
    assert found.data.tags.items() >= {("method", "vader"), ("suite", "tiny"), ("git_commit", "abc")}
    assert found.data.tags.items() >= {("reward", "red"), ("seed", "1"), ("mlflow.runColor", "#0072B2")}
    assert found.data.params.items() >= {("seed", "1"), ("settings.lora_rank", "2"), ("sampler.steps", "2")}
    assert found.data.params["backbone.frames"] == "4"
    assert {key for key in found.data.params if key.startswith("memory.")} == {
        *("memory.frozen_weights", "memory.checkpointing", "memory.slicing"),
        *("memory.offload_activations", "memory.optimizer"),
    }
    sent = MlflowClient(tracking_uri=local_store(results)).list_artifacts(found.info.run_id, "samples")
    assert [file.path for file in sent] == ["samples/heldout-0.mp4"]


def test_one_process_sends_what_is_new_as_the_run_grows(results: Path) -> None:
    run, lasting = start_run(results), sender(results)
    assert [lasting.send(run, "RUNNING") for _ in range(2)] == [True, False]
    assert stored(results)[NAME].info.status == "RUNNING"
    finish_run(run)
    assert lasting.send(run)
    assert points_of(results, stored(results)[NAME]) == METRICS


def test_the_gold_of_an_older_run_is_the_share_of_the_prompt(results: Path) -> None:
    run = start_run(results)
    config = json.loads((run / "config.json").read_text())
    config["suite"]["gold"] = {"family": "oracle", "settings": {}}
    (run / "config.json").write_text(json.dumps(config))
    metrics = run / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace(', "prompt_share_mean": 0.75', ""))
    sender(results).send(run)
    sent = stored(results)[NAME]
    assert history(results, sent, "evaluation/heldout/prompt_share") == [(0, 0.5)]
    assert history(results, sent, "evaluation/heldout/gold") == history(results, sent, "gold") == []


Change = Callable[[Path, Path], Path]


def database_deleted(results: Path, run: Path) -> Path:
    (results / "mlflow.db").unlink()
    return results


def notes_deleted(results: Path, run: Path) -> Path:
    (results / "small" / "tiny" / STATE_NAME).unlink()
    return results


def trained_again(results: Path, run: Path) -> Path:
    shutil.rmtree(run)
    whole(results)
    slower(run)
    return results


def folder_moved(results: Path, run: Path) -> Path:
    return results.rename(results.with_name("moved"))


def folder_copied(results: Path, run: Path) -> Path:
    return Path(shutil.copytree(results, results.with_name("copied")))


def artifacts_deleted(results: Path, run: Path) -> Path:
    shutil.rmtree(results / "mlartifacts")
    return results


def deleted_there(results: Path, run: Path) -> Path:
    MlflowClient(tracking_uri=local_store(results)).delete_run(stored(results)[NAME].info.run_id)
    return results


CHANGES = [
    database_deleted, notes_deleted, trained_again, folder_moved,
    folder_copied, artifacts_deleted, deleted_there,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_happened_the_store_ends_with_every_point_once(results: Path, change: Change) -> None:
    run = whole(results)
    sender(results).send(run)
    now = change(results, run)
    again = now / "small" / "tiny" / "runs" / NAME
    assert [sender(now).send(again) for _ in range(2)] == [True, False] or change is notes_deleted
    found = stored(now)[NAME]
    expected = METRICS
    if change is trained_again:
        expected = METRICS | {
            "ledger/device_seconds": [(0, 0.0), (2, 1.875), (4, 3.75), (8, 8.625)],
            "curve/seconds": [(0, 0.0), (3, 2.0), (8, 4.0)],
            "device_hours": [(8, 3.0)],
        }
    assert points_of(now, found) == expected
    client = MlflowClient(tracking_uri=local_store(now))
    record = Path(client.download_artifacts(found.info.run_id, "record.json"))
    assert record.read_bytes() == (again / "record.json").read_bytes()
    assert Path(client.download_artifacts(found.info.run_id, "lora.safetensors")).read_bytes() == b"adapters"
    assert now in Path(found.info.artifact_uri.removeprefix("file://")).parents


def test_nothing_is_sent_to_where_a_moved_folder_was(results: Path) -> None:
    run = whole(results)
    sender(results).send(run)
    moved = folder_moved(results, run)
    sender(moved).send(moved / "small" / "tiny" / "runs" / NAME)
    sender(moved).send_report([])
    assert not results.exists()


def test_a_run_that_was_cut_back_and_went_on_is_one_story(results: Path) -> None:
    run = start_run(results, lines=5)
    sender(results).send(run)
    text = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(text[:2]))  # as a checkpoint cuts it
    sender(results).send(run)
    finish_run(run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines[2:]:
        line["device_seconds"] += 0.25  # the second attempt took longer
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sender(results).send(run)
    found = stored(results)[NAME]
    assert history(results, found, "train/reward") == METRICS["train/reward"]
    assert history(results, found, "ledger/device_seconds") == [(0, 0.0), (2, 1.25), (4, 2.75), (8, 6.0)]


def test_the_address_that_is_shown_is_the_same_store(results: Path) -> None:
    run = whole(results)
    sender(results).send(run)
    assert not sender(results, read_address(None, results).shown).send(run)
    assert len(experiment_runs(local_store(results))) == 1


def test_runs_that_an_older_version_sent_twice_are_there_once(results: Path) -> None:
    run = whole(results)
    for _ in range(2):
        sender(results).send(run)
        client = MlflowClient(tracking_uri=local_store(results))
        sent = next(iter(stored(results).values()))
        client.delete_run(sent.info.run_id)
    for deleted in client.search_runs([sent.info.experiment_id], run_view_type=2):
        client.restore_run(deleted.info.run_id)
    assert len(experiment_runs(local_store(results))) == 2
    sender(results).send(run)
    assert points_of(results, stored(results)[NAME]) == METRICS


def test_two_folders_of_one_name_share_a_store(tmp_path: Path) -> None:
    uri = new_store(tmp_path / "shared.db")
    runs = [whole(tmp_path / name / "results") for name in ("mine", "theirs")]
    slower(runs[1])
    for _ in range(2):
        for run in runs:
            sender(run.parents[3], uri).send(run)
    assert [run.info.run_name for run in experiment_runs(uri)] == [NAME] * 2
    shutil.rmtree(runs[0])
    whole(tmp_path / "mine" / "results")
    slower(runs[0], 3)
    sender(runs[0].parents[3], uri).send(runs[0])
    hours = sorted(run.data.metrics["device_hours"] for run in experiment_runs(uri))
    assert hours == [3.0, 6.0]


def test_two_stores_get_everything_each(results: Path, tmp_path: Path) -> None:
    run = whole(results)
    other = new_store(tmp_path / "other" / "mlflow.db")
    for uri in (None, other):
        assert sender(results, uri).send(run)
    for store in (local_store(results), other):
        assert points_of(store, stored(store)[NAME]) == METRICS


def test_many_points_are_sent_in_pieces(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH", 12)
    sender(results).send(whole(results))
    assert points_of(results, stored(results)[NAME]) == METRICS


def test_a_run_without_metrics_is_not_sent(results: Path) -> None:
    assert not sender(results).send(start_run(results, lines=0))


@pytest.mark.parametrize(
    ("known", "held", "status"),
    [
        ("FAILED", False, "FAILED"),
        (None, False, "KILLED"),
        (None, True, "RUNNING"),
        ("RUNNING", False, "RUNNING"),
    ],
)
def test_a_run_that_nobody_works_on_does_not_stay_running(
    results: Path, known: module.Status | None, held: bool, status: str
) -> None:
    run = start_run(results)
    with FolderLock(run) if held else nullcontext():
        sender(results).send(run, known)
    assert stored(results)[NAME].info.status == status
    if not held and known != "RUNNING":
        sender(results).send(run)
        assert stored(results)[NAME].info.status == status
        sender(results).send(run, "RUNNING")  # it goes on
        assert stored(results)[NAME].info.status == "RUNNING"


def test_two_launchers_share_what_a_folder_remembers(results: Path) -> None:
    first, second = (State(results / "small" / "tiny", pytest.fail) for _ in range(2))
    runs = [RunFolder(start_run(results, seed=seed)) for seed in (1, 2)]
    first.seen_at_work(runs[0])
    second.seen_at_work(runs[1])
    first.save()
    assert first.folder == second.folder
    again = State(results / "small" / "tiny", pytest.fail)
    assert [again.knows(run) for run in runs] == [True, True]
    assert again.times(runs[1]) == second.times(runs[1])


def test_a_run_lasts_as_long_as_it_was_at_work(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock = start_run(results), [1000.0]
    folder = results / "small" / "tiny"
    monkeypatch.setattr("vader_bench.records.tracking.state.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("vader_bench.records.tracking.state.time.time", lambda: clock[0] + 50_000)
    state = State(folder, pytest.fail)
    for seconds in (0, 3, 7):
        clock[0] += seconds
        state.seen_at_work(RunFolder(run))
    state.save()
    with RunFolder(run).open(run_config()) as opened:
        opened.save_checkpoint(b"state")
    clock[0] += 3600  # the night
    state = State(folder, pytest.fail)
    for seconds in (0, 20):
        clock[0] += seconds
        state.seen_at_work(RunFolder(run))
    state.save()
    finish_run(run)
    clock[0] += 500  # the server was away
    sender(results).send(run)
    info = stored(results)[NAME].info
    assert info.start_time == 51_000_000
    assert info.end_time - info.start_time == 30_000


def test_the_time_of_a_run_that_nobody_watched_is_that_of_its_files(results: Path) -> None:
    run = whole(results)
    os.utime(run / "config.json", (1_000_000, 1_000_000))
    os.utime(run / "record.json", (1_000_066, 1_000_066))
    text = (run / "metrics.jsonl").read_text()
    assert '"device_seconds": 5.75' in text
    sender(results).send(run)
    info = stored(results)[NAME].info
    assert (info.start_time, info.end_time) == (1_000_000_000, 1_000_066_000)


def test_the_report_is_one_run_of_its_own(results: Path) -> None:
    figure = results / "small" / "tiny" / "small.png"
    figure.parent.mkdir(parents=True)
    sent = []
    for content in (b"old", b"new", b"new"):
        figure.write_bytes(content)
        sent.append(sender(results).send_report([figure]))
    assert sent == [True, True, False]
    client = MlflowClient(tracking_uri=local_store(results))
    run_id = stored(results)["report"].info.run_id
    assert Path(client.download_artifacts(run_id, "small.png")).read_bytes() == b"new"


def test_the_report_is_the_oldest_run_of_the_page_so_that_charts_leave_it_out(results: Path) -> None:
    run = whole(results)
    sender(results).send(run)
    sender(results).send_report([])
    found = stored(results)
    assert found["report"].info.start_time < found[NAME].info.start_time
    assert found["report"].info.end_time == found["report"].info.start_time


def test_a_run_of_an_older_version_is_there_once_under_the_names_of_now(results: Path) -> None:
    run = whole(results)
    sender(results).send(run)
    client = MlflowClient(tracking_uri=local_store(results))
    client.log_metric(stored(results)[NAME].info.run_id, "reward_by_gpu_second", 2.0, step=2)
    assert sender(results).send(run)
    assert points_of(results, stored(results)[NAME]) == METRICS


def test_the_page_of_an_experiment_has_views_of_each_reward_and_keeps_what_a_user_changed(
    results: Path,
) -> None:
    run, first = whole(results), sender(results)
    first.send(run)
    client = MlflowClient(tracking_uri=local_store(results))
    experiment = client.get_experiment_by_name("small/tiny")
    assert experiment is not None
    assert first.rewards == {"red": experiment.experiment_id}
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    ours = {"mlflow.sharedViewState.runs-red", "mlflow.sharedViewState.means-red", "mlflow.note.content"}
    assert ours <= set(experiment.tags)
    changed = dict.fromkeys(ours, "changed")
    for key, value in changed.items():
        client.set_experiment_tag(experiment.experiment_id, key, value)
    sender(results).send(run)
    again = client.get_experiment_by_name("small/tiny")
    assert again is not None
    assert again.tags.items() >= changed.items()


def test_a_deleted_experiment_is_named_with_the_way_back(results: Path) -> None:
    run = whole(results)
    sender(results).send(run)
    client = MlflowClient(tracking_uri=local_store(results))
    found = client.get_experiment_by_name("small/tiny")
    assert found is not None
    client.delete_experiment(found.experiment_id)
    with pytest.raises(StoreError, match=r"refuses .*'small/tiny' was deleted there") as caught:
        sender(results).send(run)
    assert f"mlflow experiments restore --experiment-id {found.experiment_id}" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "content", "wrong"),
    [
        ("config.json", "[]", "is no run's configuration"),
        ("config.json", '{"experiment": "small"}', r"is no run's configuration \(suite: "),
        ("metrics.jsonl", '{"kind": "step"}\n', "line 1: is no line of metrics .it has no 'queries'"),
        (
            "metrics.jsonl",
            '{"kind": "step", "queries": 2, "device_seconds": 1, "metrics": 3}\n',
            "is no number",
        ),
        ("metrics.jsonl", "[1]\n", "line 1: is no line of metrics"),
    ],
)
def test_files_of_another_form_are_one_line(results: Path, name: str, content: str, wrong: str) -> None:
    run = start_run(results)
    (run / name).write_text(content)
    with pytest.raises(UserError, match=wrong):
        sender(results).send(run)


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"version": 2, "folder": 3}', '{"version": 1, "storos": {}}', "\xff"]
)
def test_notes_of_another_form_are_written_again(results: Path, content: str) -> None:
    run = whole(results)
    sender(results).send(run)
    path = results / "small" / "tiny" / STATE_NAME
    path.write_bytes(content.encode("latin-1"))
    said: list[str] = []
    State(results / "small" / "tiny", said.append)
    assert len(said) == 1
    assert f"{path} is damaged" in said[0]
    assert "\n" not in said[0]
    sender(results).send(run)
    assert points_of(results, stored(results)[NAME]) == METRICS


def test_notes_of_the_first_version_still_find_their_runs(tmp_path: Path) -> None:
    uri, run = new_store(tmp_path / "shared.db"), start_run(tmp_path / "results")
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("small/tiny", artifact_location=(tmp_path / "a").as_uri())
    (tmp_path / "a").mkdir()
    client.create_run(experiment, tags={"vader_bench.key": "abc"}, run_name=NAME)
    sent = {"key": "abc", "started": 5, "run_id": "x", "lines": 3, "finished": True}
    files.write_json(
        tmp_path / "results" / "small" / "tiny" / STATE_NAME, {"version": 1, "stores": {uri: {NAME: sent}}}
    )
    finish_run(run)
    sender(tmp_path / "results", uri).send(run)
    assert points_of(uri, stored(uri)[NAME]) == METRICS


def send_at_once(folder: Path, ready: Path) -> None:
    """Send when another process is ready, too."""
    (ready / str(os.getpid())).touch()
    while len(list(ready.iterdir())) < 2:
        time.sleep(0.001)
    sender(folder).send(folder / "small" / "tiny" / "runs" / NAME)


@pytest.mark.slow
def test_two_processes_that_make_the_store_at_once_end_with_one(tmp_path: Path) -> None:
    whole(tmp_path / "results")
    (tmp_path / "ready").mkdir()
    context = start_context(["cpu"])
    given = (tmp_path / "results", tmp_path / "ready")
    processes = [context.Process(target=send_at_once, args=given) for _ in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    assert points_of(tmp_path / "results", stored(tmp_path / "results")[NAME]) == METRICS
    assert not list((tmp_path / "results").glob(".*writing*"))
