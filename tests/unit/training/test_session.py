"""One run from its configuration to its record, on a tiny random model."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from safetensors.torch import load_file

from tests.support.configs import tiny_run
from vader_bench.budget import metering
from vader_bench.config.schema import RunConfig
from vader_bench.errors import UserError
from vader_bench.evaluation.evaluator import EvaluationResult, Evaluator
from vader_bench.evaluation.measurements import Measurer
from vader_bench.methods import METHODS
from vader_bench.records.folder import RunFolder, read_metrics
from vader_bench.records.locks import LOCK_NAME
from vader_bench.records.record_file import read_record
from vader_bench.rewards import REWARDS
from vader_bench.training import session
from vader_bench.training.progress import Progress
from vader_bench.training.session import execute
from vader_bench.training.settle import settle_torch

Make = Callable[..., RunConfig]
Whole = Callable[[str], Path]


SETTINGS: dict[str, dict[str, Any]] = {
    "base": {},
    "vader": {},
    "ddpo": {"prompts_per_round": 2, "samples_per_prompt": 2, "updates_per_round": 1},
    "diffusion-dpo": {},
}
TRAINED = ["vader", "ddpo", "diffusion-dpo"]


@pytest.fixture(scope="module")
def make(tiny_pipeline: Path) -> Make:
    """Make a run on the tiny model."""

    def made(method: str = "vader", **changes: Any) -> RunConfig:
        return tiny_run(tiny_pipeline, method=method, settings=SETTINGS[method], **changes)

    return made


@pytest.fixture(scope="module")
def whole(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Return the folder of a run of a method that was not disturbed."""

    @cache
    def folder(method: str) -> Path:
        path = tmp_path_factory.mktemp("whole") / method
        execute(make(method), path)
        return path

    return folder


def comparable(folder: Path) -> dict[str, Any]:
    """Return the record in ``folder`` without what is measured, and what an edit meanwhile would change."""
    data = read_record(folder / "record.json").model_dump(mode="json")
    del data["ledger"]["device_seconds"], data["machine"], data["digests"]["code"], data["git"], data["key"]
    for evaluation in [*data["evaluations"], *(point["look"] for point in data["frontier"])]:
        del evaluation["device_seconds"]
    return data


@pytest.mark.parametrize("method", TRAINED)
def test_a_run_spends_exactly_its_budget(method: str, whole: Whole) -> None:
    record = read_record(whole(method) / "record.json")
    assert record.ledger["reward_queries"] == 8
    assert record.ledger["gradient_queries"] == (8 if method == "vader" else 0)
    assert record.ledger["flops"] > 0
    assert record.ledger["device_seconds"] > 0


@pytest.mark.parametrize("method", TRAINED)
def test_fresh_memory_is_not_filled_and_no_number_needs_it(
    method: str, make: Make, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = settle_torch

    def settle_and_fill(device: str) -> None:
        settle(device)
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)

    monkeypatch.setattr(session, "settle_torch", settle_and_fill)
    execute(make(method), tmp_path / "run")
    assert comparable(tmp_path / "run") == comparable(whole(method))


def test_every_look_is_at_merged_adapters(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, seen = Evaluator.look, []

    def spy(evaluator: Evaluator, prompts: Sequence[str], samples: int) -> EvaluationResult:
        seen.append(any(weight.requires_grad for weight in evaluator.backbone.denoiser.parameters()))
        return look(evaluator, prompts, samples)

    monkeypatch.setattr(Evaluator, "look", spy)
    execute(make("vader"), tmp_path / "run")
    assert seen
    assert not any(seen)


def test_looks_come_at_fixed_queries_and_cost_nothing(whole: Whole) -> None:
    record = read_record(whole("vader") / "record.json")
    assert [(e.queries, e.split, len(e.scores)) for e in record.evaluations] == [
        (0, "train", 3),
        (0, "heldout", 6),
        (4, "heldout", 2),
        (8, "train", 3),
        (8, "heldout", 6),
    ]
    assert record.evaluations[0].flops == 0
    assert record.evaluations[0].device_seconds == 0
    assert record.evaluations[-1].flops == record.ledger["flops"]
    assert all(score.gold is not None for score in record.evaluations[0].scores)
    assert [evaluation.diversity is None for evaluation in record.evaluations] == [
        True,
        False,
        True,
        True,
        False,
    ]


def test_the_first_look_is_at_the_base_model(whole: Whole) -> None:
    base, trained = (read_record(whole(method) / "record.json") for method in ("base", "vader"))
    assert trained.evaluations[:2] == base.evaluations
    assert trained.evaluations[-2:] != base.evaluations


@pytest.mark.parametrize("method", ["base", "ddpo"])
def test_a_first_look_is_the_same_whoever_took_it(
    method: str, make: Make, whole: Whole, tmp_path: Path
) -> None:
    shared, alone = whole(method), tmp_path / method
    execute(make(method), alone)  # nobody has looked before in this folder
    assert len(list((tmp_path / ".base-model").iterdir())) == 2
    first, second = (read_record(folder / "record.json").evaluations[:2] for folder in (shared, alone))
    assert first == second


def test_a_first_look_is_not_taken_twice(make: Make, tmp_path: Path, looked: list[int]) -> None:
    execute(make("base"), tmp_path / "base")
    looked.clear()
    record = execute(make(), tmp_path / "vader")
    assert looked == [2, 3, 3]
    assert len(record.evaluations) == 5


def test_the_base_model_is_sampled_as_often_as_the_largest_best_of(whole: Whole) -> None:
    record = read_record(whole("base") / "record.json")
    assert [(e.split, len(e.scores)) for e in record.evaluations] == [("train", 3), ("heldout", 6)]
    assert record.ledger["reward_queries"] == 0
    assert not (whole("base") / "lora.safetensors").exists()


def test_the_folder_holds_all_that_a_run_leaves(whole: Whole) -> None:
    folder = whole("vader")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    samples = {f"samples/heldout-{i}.mp4" for i in range(4)}
    measured = {name for name in names if name.startswith("measurements/")}
    assert len(measured) == 4  # looks at 4 and 8 held-out and 8 training prompts, and the samples
    assert names - measured == {
        *(LOCK_NAME, "config.json", "origin.json", "metrics.jsonl", "training.json", "record.json", *samples),
        *("lora.safetensors", "adapters/4.safetensors"),
    }
    assert any(weight.abs().sum() > 0 for weight in load_file(folder / "lora.safetensors").values())
    with av.open(folder / "samples" / "heldout-0.mp4") as video:
        assert video.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_metrics_tell_steps_and_looks_in_order(whole: Whole) -> None:
    record = read_record(whole("vader") / "record.json")
    lines = read_metrics(whole("vader") / "metrics.jsonl")
    assert [(line["kind"], line["queries"]) for line in lines] == [
        ("evaluation", 0),
        ("step", 2),
        ("step", 4),
        ("evaluation", 4),
        ("step", 6),
        ("step", 8),
        ("evaluation", 8),
        ("evaluation", 0),
        ("evaluation", 8),
    ]
    assert [line.get("split") for line in lines] == [
        *("heldout", None, None, "heldout", None, None, "heldout"),
        *("train", "train"),  # no part of the curve: measured afterwards
    ]
    assert {"reward", "loss", "grad_norm"} <= lines[1]["metrics"].keys()
    assert lines[1]["denoiser_forwards"] == 4
    last = record.evaluations[-1]
    shared = {score.prompt: score.reward for score in last.scores if score.sample == 0}
    [curve] = [line for line in lines[-3:] if line["split"] == "heldout"]
    assert curve["reward_mean"] == pytest.approx(sum(s.reward for s in last.scores) / 6)
    assert curve["curve_mean"] == pytest.approx(sum(list(shared.values())[:2]) / 2)
    assert curve["gold_mean"] == pytest.approx(sum(s.gold or 0 for s in last.scores) / 6)
    assert "prompt_share_mean" not in curve  # this suite does not measure it


@pytest.mark.parametrize("method", TRAINED)
def test_the_same_run_twice_gives_the_same_record(
    method: str, make: Make, whole: Whole, tmp_path: Path
) -> None:
    execute(make(method), tmp_path / "again")
    assert comparable(tmp_path / "again") == comparable(whole(method))
    first, second = (load_file(folder / "lora.safetensors") for folder in (whole(method), tmp_path / "again"))
    assert first.keys() == second.keys()
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())
    trainings = [read_training(folder) for folder in (whole(method), tmp_path / "again")]
    assert trainings[0] == trainings[1]


def read_training(folder: Path) -> tuple[str, list[tuple[int, str | None]]]:
    """Return the key of the training in ``folder`` and its adapters' digests by queries."""
    training = RunFolder(folder).load_training()
    return training.key, [(point.queries, point.adapter) for point in training.points]


def test_another_seed_gives_another_record(make: Make, whole: Whole, tmp_path: Path) -> None:
    execute(make(seed=2), tmp_path / "other")
    first, second = comparable(whole("vader")), comparable(tmp_path / "other")
    assert first["evaluations"][0] == second["evaluations"][0]
    assert first["evaluations"][-1] != second["evaluations"][-1]


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    ("method", "lines"),
    [
        *(("base", 1), ("vader", 2), ("vader", 3), ("vader", 7), ("vader", 8), ("ddpo", 3)),
        ("diffusion-dpo", 4),
    ],
)
def test_a_run_that_is_cut_off_ends_with_the_same_record(
    method: str, lines: int, make: Make, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SAVING_SHARE", math.inf)
    append = RunFolder.append_metrics

    def append_and_die(run: RunFolder, line: Mapping[str, Any]) -> None:
        append(run, line)
        if len(run.metrics()) == lines:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append_metrics", append_and_die)
        with pytest.raises(KilledError):
            execute(make(method), tmp_path / "cut")
    execute(make(method), tmp_path / "cut")
    assert comparable(tmp_path / "cut") == comparable(whole(method))
    assert timeless(tmp_path / "cut") == timeless(whole(method))


def timeless(folder: Path) -> list[dict[str, Any]]:
    """Return the metrics in ``folder`` without the time."""
    lines = read_metrics(folder / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key != "device_seconds"} for line in lines]


@pytest.mark.parametrize(
    ("saving", "saved_after"),
    [
        (0.0, [0, 2, 4, 4, 6, 8, 8]),  # queries: steps of 2, and a look every 4, which saves too
        (0.4, [0, 2, 4, 4, 6, 8, 8]),
        (0.6, [0, 4, 4, 8, 8]),
        (2.0, [0, 4, 8]),
    ],
)
def test_steps_are_followed_by_checkpoints_that_take_little_of_the_time(
    saving: float, saved_after: list[int], make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, saved = [0.0], list[int]()

    def step_and_wait(loop: session._KeptLoop, metrics: dict[str, float]) -> None:
        clock[0] += 100.0
        stepped(loop, metrics)

    def save_and_wait(run: RunFolder, payload: bytes) -> None:
        clock[0] += saving
        state = torch.load(BytesIO(payload), weights_only=True)
        saved.append(state["ledger"]["reward_queries"])

    stepped = session._KeptLoop._stepped
    monkeypatch.setattr(session, "SAVING_SHARE", 1 / 200)
    monkeypatch.setattr(session, "monotonic", lambda: clock[0])
    monkeypatch.setattr(session._KeptLoop, "_stepped", step_and_wait)
    monkeypatch.setattr(RunFolder, "save_checkpoint", save_and_wait)
    execute(make(), tmp_path / "run")
    assert saved == saved_after


def test_a_finished_run_is_not_run_again(make: Make, whole: Whole) -> None:
    folder = whole("vader")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert execute(make(), folder) == read_record(folder / "record.json")
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("method", TRAINED)
def test_the_record_says_whether_its_method_is_a_baseline(whole: Whole, method: str) -> None:
    assert read_record(whole(method) / "record.json").baseline == (method != "vader")


def test_the_record_says_where_its_numbers_come_from(whole: Whole, tiny_pipeline: Path) -> None:
    record = read_record(whole("base") / "record.json")
    assert record.digests.keys() >= {"code", "prompts/train", "prompts/heldout", f"weights/{tiny_pipeline}"}
    assert all(len(digest) == 64 for digest in record.digests.values())
    assert record.packages["torch"] == torch.__version__
    assert record.machine["device"] == "cpu"
    assert record.config["suite"]["sampler"]["steps"] == 2


def test_progress_grows_to_the_whole(make: Make, tmp_path: Path) -> None:
    heard: list[Progress] = []
    execute(make(), tmp_path / "run", report=heard.append)
    assert {progress.total for progress in heard} == {8 + 20 + 4}
    assert [progress.done for progress in heard] == sorted(progress.done for progress in heard)
    assert heard[-1].done == heard[-1].total
    assert "8 queries, held-out " in heard[-1].note


def test_a_reward_that_is_not_a_number_stops_the_run(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = REWARDS.get("redness")

    def broken(**settings: Any) -> Any:
        reward = family(**settings)
        judge = reward.judge
        monkeypatch.setattr(reward, "judge", lambda video, prompts: judge(video * float("nan"), prompts))
        return reward

    monkeypatch.setitem(REWARDS._loaded, "redness", broken)
    with pytest.raises(UserError, match="returned a value that is not finite for"):
        execute(make(), tmp_path / "run")
    assert not (tmp_path / "run" / "record.json").exists()


def test_a_metric_that_is_not_a_number_stops_the_run(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = METHODS.get("vader").step

    def diverging(method: Any, allowance: int) -> dict[str, float]:
        return step(method, allowance) | {"loss": float("nan")}

    monkeypatch.setattr(METHODS.get("vader"), "step", diverging)
    with pytest.raises(UserError, match="loss after 2 queries: is nan: training has diverged; lower the"):
        execute(make(), tmp_path / "run")
    assert all("NaN" not in line for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())


@pytest.mark.parametrize(("times", "made"), [(3, "6"), (0, "0"), (9, "more than 8")])
def test_a_method_that_spends_otherwise_than_it_may_is_stopped_at_once(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, made: str
) -> None:
    step = METHODS.get("vader").step

    def wasteful(method: Any, _: int) -> dict[str, float]:
        return [{}, *(step(method, 2) for _ in range(times))][-1]

    monkeypatch.setattr(METHODS.get("vader"), "step", wasteful)
    said = f"a step of vader: made {made} reward queries where 4 were left; have it make one at least, and at"
    with pytest.raises(UserError, match=said):
        execute(make(), tmp_path / "run")


def test_a_folder_of_another_run_is_refused(make: Make, whole: Whole) -> None:
    held = (whole("base") / "record.json").read_bytes()
    with pytest.raises(UserError, match="holds a run of another configuration"):
        execute(make(), whole("base"))
    assert (whole("base") / "record.json").read_bytes() == held


def test_a_backbone_without_weights_is_named_so(make: Make, tmp_path: Path) -> None:
    suite = make().suite.model_dump()
    del suite["backbone"]["settings"]["weights"]
    with pytest.raises(UserError, match="has no key 'weights'"):
        execute(make(suite=suite), tmp_path / "run")


MEASURES = {
    "judges": ["red", "bright"],
    "path_kl": True,
    "peak_memory": True,
    "lora_scales": [0.0, 1.0],
    "samples_along": 2,
}


@pytest.fixture(scope="module")
def measured(tiny_pipeline: Path) -> RunConfig:
    """A run that measures all that a text-to-video model can be asked for."""
    run = tiny_run(tiny_pipeline)
    suite = run.suite.model_dump()
    suite["rewards"]["bright"] = {"family": "brightness"}
    suite["prompt_share"] = {"family": "colourfulness"}
    evaluation = run.evaluation.model_dump() | {"measure": MEASURES}
    return tiny_run(tiny_pipeline, suite=suite, evaluation=evaluation)


def test_a_run_measures_what_the_experiment_asks_for(
    measured: RunConfig, whole: Whole, tmp_path: Path
) -> None:
    record = execute(measured, tmp_path)
    heldout = [look for look in record.evaluations if look.split == "heldout"]
    assert heldout[0].path_kl == 0
    assert all((look.path_kl or 0) > 0 for look in heldout[1:])
    assert all(look.diversity is not None and look.motion is not None for look in heldout)
    assert all(score.others == {"bright": score.gold} for look in heldout for score in look.scores)
    assert [point.scale for point in record.frontier] == [0.0, 1.0]
    for point, look in zip(record.frontier, (heldout[0], heldout[-1]), strict=True):
        assert point.look.scores == look.scores
        assert point.look.diversity == look.diversity
        assert point.look.path_kl == look.path_kl
    shares = [score.prompt_share or 0 for score in heldout[-1].scores]
    told = [line for line in read_metrics(tmp_path / "metrics.jsonl") if line.get("split") == "heldout"]
    assert told[-1]["prompt_share_mean"] == pytest.approx(sum(shares) / len(shares)) != 0
    assert (record.peak_bytes or 0) > 0
    plain = read_record(whole("vader") / "record.json")
    assert [score.reward for score in plain.evaluations[-1].scores] == [s.reward for s in heldout[-1].scores]
    assert plain.peak_bytes is None
    assert not plain.frontier
    assert not plain.extensions
    assert [sample.prompt for sample in plain.samples[:3]] == [s.prompt for s in heldout[-1].scores[::2]]


def test_a_measured_run_that_is_cut_off_ends_with_the_same_record(
    measured: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(measured, tmp_path / "whole")
    cut = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(Measurer, "samples", _killed)
        with pytest.raises(KeyboardInterrupt):
            execute(measured, cut)
    execute(measured, cut)
    assert comparable(cut) == comparable(tmp_path / "whole")


def test_peak_memory_is_the_same_in_a_process_that_has_not_trained(
    tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = tiny_run(tiny_pipeline).evaluation.model_dump() | {"measure": {"peak_memory": True}}
    run = tiny_run(tiny_pipeline, settings={"batch_size": 1}, evaluation=evaluation)
    with monkeypatch.context() as patch:
        patch.setattr(Measurer, "samples", _killed)
        with pytest.raises(KeyboardInterrupt):
            execute(run, tmp_path / "cut")
    shutil.copytree(tmp_path / "cut", tmp_path / "later")
    warm = execute(run, tmp_path / "cut").peak_bytes
    monkeypatch.setattr(metering, "_COUNTED", {})
    assert execute(run, tmp_path / "later").peak_bytes == warm


def _killed(*_: Any) -> list[Any]:
    raise KeyboardInterrupt
