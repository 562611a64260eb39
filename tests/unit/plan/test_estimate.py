"""Estimates against what real runs spend and need."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.configs import tiny_run
from vader_bench.config import RunConfig, expand, load_experiment, load_suite
from vader_bench.data.prompts import prompt_stream
from vader_bench.ledger import Budget, Meter
from vader_bench.live_bytes import LiveBytes
from vader_bench.parts import load_parts
from vader_bench.plan.estimate import RESERVE, UTILISATION, Estimate, Memory, estimate, rehearse
from vader_bench.plan.fakes import Fakes
from vader_bench.plan.gpus import GPUS
from vader_bench.runner import make_method

METHODS = ["vader", "ddpo", "diffusion-dpo"]
FIG7 = Path(__file__).parents[3] / "experiments" / "fig7.yaml"


def spent(run: RunConfig) -> tuple[int, int]:
    """Return the FLOPs of the ledger, scaled to the whole run, and the most bytes alive in one interval."""
    parts, meter = load_parts(run, "cpu"), Meter(Budget(reward_queries=run.evaluation.every))
    prompts = prompt_stream(parts.prompts.split("train"), run.seed)
    method = make_method(run, parts, meter, prompts, "cpu")
    with LiveBytes() as bytes_:
        while meter.queries_left:
            method.step(meter.queries_left)
    return meter.ledger.flops * run.reward_queries // run.evaluation.every, bytes_.peak


@pytest.mark.slow
@pytest.mark.parametrize("reward", ["aesthetic", "action"])
@pytest.mark.parametrize("method", METHODS)
def test_the_pocket_suite_is_estimated_as_it_runs(method: str, reward: str) -> None:
    experiment = load_experiment(FIG7)
    experiment = experiment.model_copy(
        update={"evaluation": experiment.evaluation.model_copy(update={"every": 8})}
    )
    runs = expand(experiment, load_suite("pocket"), with_base=False)
    run = next(one for one in runs if (one.method, one.reward) == (method, reward))
    rank = run.settings["lora_rank"]
    counted, fused = (Fakes(run.suite, [reward], rank, fused=fused) for fused in (False, True))
    found = estimate(run, counted, fused)
    flops, peak = spent(run)
    assert found.flops == pytest.approx(flops, rel=0.02)
    # the real networks and adapters were there before bytes were counted
    estimated = found.memory.total - found.memory.weights - fused.adapters
    assert estimated == pytest.approx(peak, rel=0.15)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_rehearsal_spends_what_the_method_spends(method: str, guidance: float, tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline, method=method)
    sampler = run.suite.sampler.model_copy(update={"guidance": guidance})
    run = run.model_copy(update={"suite": run.suite.model_copy(update={"sampler": sampler})})
    flops, made = rehearse(run, Fakes(run.suite, ["red"], 2))
    assert flops == spent(run)[0]
    assert max(one.videos for one in made if one.call.name == "denoise") >= 2 * (guidance != 1) + 2


def test_open_calls_are_those_whose_backward_is_to_come(tiny_pipeline: Path) -> None:
    networks = Fakes(tiny_run(tiny_pipeline).suite, ["red"], 2)
    for k in (1, 2):
        _, made = rehearse(tiny_run(tiny_pipeline, settings={"k": k}), networks)
        assert max(one.open for one in made) == 2 * k
        assert made[0].open == (0 if k == 1 else 2)


def test_a_rehearsal_leaves_the_global_random_numbers_alone(tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline)
    networks = Fakes(run.suite, ["red"], 2)
    torch.manual_seed(0)
    first = rehearse(run, networks)
    torch.manual_seed(1)
    assert rehearse(run, networks) == first


def test_time_is_work_over_an_assumed_share_of_the_peak_rate() -> None:
    memory = Memory(1, 2, 3, 4)
    found = Estimate("vader", "red", 8, int(1e15), memory)
    assert memory.total == 10
    assert found.seconds(GPUS["h100"], "fp32") == pytest.approx(1e15 / 67e12 / UTILISATION)


def test_a_card_must_have_room_for_the_reserve_too() -> None:
    room = int(GPUS["t4"].memory) - RESERVE
    assert Memory(room, 0, 0, 0).fits(GPUS["t4"])
    assert not Memory(room, 0, 0, 1).fits(GPUS["t4"])
