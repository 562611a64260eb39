from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch.utils.flop_counter import FlopCounterMode

from tests.support.configs import tiny_run
from tests.support.networks import made_once
from vader_bench.config.names import BASE
from vader_bench.config.schema import ExperimentConfig, RunConfig
from vader_bench.config.settings import Settings
from vader_bench.cost import whatif
from vader_bench.cost.estimate import UTILISATION
from vader_bench.cost.gpus import Gpu
from vader_bench.cost.hours import Hours
from vader_bench.cost.measured import Utilisation
from vader_bench.cost.whatif import Changes, plan_arms
from vader_bench.cost.workload import Work, in_order, measured_rate, work_of
from vader_bench.experiment.resolve import ResolvedExperiment
from vader_bench.training.model import load_suite_model


def work(name: str, measuring: float, **trainings: float) -> Work:
    return Work(name, Path(name), 3, 0, trainings, measuring)


def test_the_cheapest_comes_first_and_pays_for_what_is_shared() -> None:
    dear, cheap, same = (
        work("dear", 5.0, a=10.0, b=50.0),
        work("cheap", 2.0, a=10.0),
        work("same", 4.0, a=10.0),
    )
    steps = in_order([dear, same, cheap], done=())
    assert [(step.work.name, step.flops, step.trained) for step in steps] == [
        ("cheap", 12.0, 1), ("same", 4.0, 0), ("dear", 55.0, 1),
    ]  # fmt: skip


def test_what_is_trained_already_costs_its_looks_alone() -> None:
    dear, cheap = work("dear", 5.0, a=10.0), work("cheap", 7.0)
    steps = in_order([dear, cheap], done={"a"})
    assert [(step.work.name, step.flops, step.trained) for step in steps] == [
        ("dear", 5.0, 0),
        ("cheap", 7.0, 0),
    ]


def resolved(run: RunConfig) -> ResolvedExperiment:
    experiment = ExperimentConfig.model_validate(
        {
            "experiment": "tiny",
            "question": "?",
            "suite": "tiny",
            "rewards": ["red"],
            "methods": {"vader": {}},
            "seeds": [1],
            "budget": {"reward_queries": 8},
            "evaluation": run.evaluation.model_dump(),
        }
    )
    return ResolvedExperiment(experiment, run.suite, [run])


def test_looks_cost_what_their_videos_do(
    tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whatif, "Skeletons", made_once)
    run = tiny_run(tiny_pipeline)
    looked = {"every": 4, "prompts": 2, "final_prompts": 2, "samples": 1}
    splits = {"splits": ["heldout"], "final_splits": ["heldout"]}
    evaluation = run.evaluation.model_copy(update=looked | splits)
    run = run.model_copy(update={"evaluation": evaluation, "reward_queries": 8})
    found = work_of(Path("tiny.yaml"), resolved(run), tmp_path, "cpu")
    assert (found.runs, found.finished, len(found.trainings)) == (1, 0, 1)
    model = load_suite_model(run.suite, "cpu")
    with FlopCounterMode(display=False) as counter:
        model.sample(["a red cat", "a blue cat"])
    looks, shown = 2, 2  # twice two videos, after 4 and 8 queries; redness, a formula, costs nothing
    assert found.measuring == pytest.approx((looks + shown) * counter.get_total_flops(), rel=0.05)
    with_path = evaluation.measure.model_copy(update={"path_kl": True, "lora_scales": [0.5]})
    more = run.model_copy(update={"evaluation": evaluation.model_copy(update={"measure": with_path})})
    assert work_of(Path("tiny.yaml"), resolved(more), tmp_path, "cpu").measuring > 2 * found.measuring


def test_it_is_what_plan_says(tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whatif, "Skeletons", made_once)
    run = tiny_run(tiny_pipeline)
    measure = run.evaluation.measure.model_copy(update={"path_kl": True, "judges": ["red"]})
    run = run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"measure": measure})})
    base = run.model_copy(update={"method": BASE, "settings": Settings(), "reward_queries": 0})
    both = replace(resolved(run), runs=[base, run])
    found = work_of(Path("tiny.yaml"), both, tmp_path, "cpu")
    card = Gpu(1, 1, 1, 1)
    hours = Hours(plan_arms(both.runs, Changes()), card, Utilisation([], card))
    one = plan_arms(both.runs, Changes())[0]
    seconds = found.measuring / (card.rate("fp32") * UTILISATION)
    assert (hours.looks(one) + hours.base()) * 3600 == pytest.approx(seconds)


def test_a_rate_is_measured(tiny_pipeline: Path) -> None:
    assert 1e6 < measured_rate(tiny_run(tiny_pipeline).suite, "cpu") < 1e13
