"""Estimates against what real runs spend and need."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.configs import tiny_run
from vader_bench.budget import metering
from vader_bench.budget.ledger import Budget, Meter
from vader_bench.budget.memory import LiveBytes
from vader_bench.config.schema import ArmEntry, RunConfig
from vader_bench.cost.estimate import RESERVE, UTILISATION, CostEstimate, Memory, estimate, rehearse
from vader_bench.cost.gpus import GPUS
from vader_bench.cost.skeletons import Skeletons
from vader_bench.diffusion.lora import Lora
from vader_bench.errors import UserError
from vader_bench.evaluation.evaluator import Evaluator
from vader_bench.experiment.grid import expand
from vader_bench.experiment.load import load_experiment, load_suite, place
from vader_bench.methods.vader import Vader
from vader_bench.prompts.sets import prompt_stream
from vader_bench.seeding import torch_stream
from vader_bench.training.load import load_components
from vader_bench.training.workbench import make_method

METHODS = ["vader", "ddpo", "diffusion-dpo"]
SMALL: dict[str, dict[str, Any]] = {
    "vader": {"batch_size": 2, "k": 2},
    "ddpo": {"batch_size": 2, "prompts_per_round": 2, "samples_per_prompt": 2},
    "diffusion-dpo": {"batch_size": 2},
}
"""Four queries an interval and few videos at once: what is compared is in proportion to them."""


@cache
def pocket_runs(**memory: Any) -> dict[tuple[str, str], RunConfig]:
    """Return runs of three steps of the sampler by method and reward, with settings of ``memory``."""
    experiment = load_experiment(Path(__file__).parents[3] / "experiments" / "fig7.yaml").config
    evaluation = experiment.evaluation.model_copy(update={"every": 4})
    suite, methods = load_suite("pocket"), {name: ArmEntry(**settings) for name, settings in SMALL.items()}
    update = {
        "sampler": suite.sampler.model_copy(update={"steps": 3}),
        "memory": suite.memory.model_copy(update=memory),
    }
    experiment = experiment.model_copy(update={"evaluation": evaluation, "methods": methods, "seeds": [1]})
    runs = expand(place(experiment, suite.model_copy(update=update)), with_base=False)
    return {(run.method, run.reward): run for run in runs}


@pytest.fixture(scope="module")
def pocket_networks() -> Callable[..., Skeletons]:
    """Return the networks of the runs with settings of ``memory``, each made once."""
    return cache(
        lambda **memory: Skeletons(
            pocket_runs(**memory)["vader", "action"].suite, ["aesthetic", "action"], 16
        )
    )


def spent(run: RunConfig) -> tuple[int, int]:
    """Return the FLOPs of the ledger, scaled to the whole run, and the most bytes alive in one interval."""
    components, meter = load_components(run, "cpu"), Meter(Budget(reward_queries=run.evaluation.every))
    prompts = prompt_stream(components.prompts.split("train"), run.seed)
    method = make_method(run, components, meter, prompts, "cpu")
    with LiveBytes() as bytes_:
        while meter.queries_left:
            method.step(meter.queries_left)
    return meter.ledger.flops * run.reward_queries // run.evaluation.every, bytes_.peak


def bytes_of(found: CostEstimate, networks: Skeletons) -> int:
    """Return the bytes without the networks and adapters, which are there before a run's are counted."""
    return found.memory.total - found.memory.weights - networks.adapters


@pytest.mark.slow
@pytest.mark.parametrize("reward", ["aesthetic", "action"])
@pytest.mark.parametrize("method", METHODS)
def test_the_pocket_suite_is_estimated_as_it_runs(
    method: str, reward: str, pocket_networks: Callable[..., Skeletons]
) -> None:
    run, networks = pocket_runs()[method, reward], pocket_networks()
    found, (flops, peak) = estimate(run, networks), spent(run)
    assert found.flops == pytest.approx(flops, rel=0.02)
    assert bytes_of(found, networks) == pytest.approx(peak, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(
    "memory",
    [{"checkpointing": True}, {"slicing": True}, {"frozen_weights": "bfloat16"}],
    ids=lambda memory: next(iter(memory)),
)
def test_switches_are_estimated_as_they_run(
    memory: dict[str, Any], pocket_networks: Callable[..., Skeletons], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, networks = pocket_runs(**memory)["vader", "action"], pocket_networks(**memory)
    found = estimate(run, networks)
    # to count a sliced call takes more than to make it, once a run
    monkeypatch.setattr(metering, "count_flops", lambda *_: (0, 0))
    assert bytes_of(found, networks) == pytest.approx(spent(run)[1], rel=0.15)


@pytest.mark.parametrize(
    ("steps", "wrong"), [(9, r"made more than \d+ reward queries"), (0, "made 0 reward queries")]
)
def test_a_method_that_spends_otherwise_than_it_may_is_a_line(
    steps: int, wrong: str, tiny_pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Vader.step
    monkeypatch.setattr(Vader, "step", lambda method, _: [step(method, 2) for _ in range(steps)])
    run = tiny_run(tiny_pipeline)
    with pytest.raises(UserError, match=f"a step of vader: {wrong} where .* were left"):
        rehearse(run, Skeletons(run.suite, ["red"], 2))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_rehearsal_spends_what_the_method_spends(method: str, guidance: float, tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline, method=method)
    sampler = run.suite.sampler.model_copy(update={"guidance": guidance})
    run = run.model_copy(update={"suite": run.suite.model_copy(update={"sampler": sampler})})
    found = rehearse(run, Skeletons(run.suite, ["red"], 2))
    assert found.flops == spent(run)[0]
    assert max(one.videos for one in found.made if one.call.name == "denoise") >= 2 * (guidance != 1) + 2


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_look_is_estimated_as_it_runs(guidance: float, tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline)
    sampler = run.suite.sampler.model_copy(update={"guidance": guidance})
    found = {}
    for videos in (4, 8):
        suite = run.suite.model_copy(update={"sampler": sampler, "evaluation_batch": videos})
        one = run.model_copy(update={"suite": suite})
        networks = Skeletons(suite, ["red"], 2)
        components = load_components(one, "cpu")
        lora = Lora(
            components.backbone.denoiser, components.backbone.lora_targets, 2, torch_stream(0, "lora")
        )
        evaluator = Evaluator(components.backbone, sampler, components.reward, None, "cpu", batch=videos)
        with LiveBytes() as live, lora.merged():
            evaluator.look([f"prompt {index}" for index in range(8)], 1)
        found[videos] = estimate(one, networks)
        assert found[videos].look.passing == pytest.approx(live.peak, rel=0.15)
    assert found[8].look.passing > 1.5 * found[4].look.passing


def test_open_calls_are_those_whose_backward_is_to_come(tiny_pipeline: Path) -> None:
    networks = Skeletons(tiny_run(tiny_pipeline).suite, ["red"], 2)
    for k in (1, 2):
        made = rehearse(tiny_run(tiny_pipeline, settings={"k": k}), networks).made
        assert max(one.open for one in made) == 2 * k
        assert made[0].open == (0 if k == 1 else 2)


@pytest.mark.parametrize(
    ("method", "settings", "updates"),
    [
        ("vader", {"batch_size": 2}, 4),
        ("vader", {"batch_size": 1, "accumulation": 4}, 2),
        ("ddpo", {"prompts_per_round": 2, "samples_per_prompt": 2, "updates_per_round": 1}, 2),
        ("ddpo", {"prompts_per_round": 2, "samples_per_prompt": 2, "updates_per_round": 2}, 4),
        ("diffusion-dpo", {"batch_size": 2, "updates_per_pair": 3}, 12),
    ],
)
def test_updates_are_those_of_8_queries(
    method: str, settings: dict[str, Any], updates: int, tiny_pipeline: Path
) -> None:
    run = tiny_run(tiny_pipeline, method=method, settings=settings)
    assert run.reward_queries == 8
    assert rehearse(run, Skeletons(run.suite, ["red"], 2)).updates == updates


def test_a_rehearsal_leaves_the_global_random_numbers_alone(tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline)
    networks = Skeletons(run.suite, ["red"], 2)
    torch.manual_seed(0)
    first = rehearse(run, networks)
    torch.manual_seed(1)
    assert rehearse(run, networks) == first


def test_time_is_work_over_an_assumed_share_of_the_peak_rate() -> None:
    memory = Memory(1, 2, 3, 4)
    found = CostEstimate("vader", "red", 8, int(1e15), 4, memory, memory)
    assert memory.total == 10
    assert found.seconds(GPUS["h100"], "fp32") == pytest.approx(1e15 / 67e12 / UTILISATION)


def test_a_card_must_have_room_for_looks_too() -> None:
    room = int(GPUS["t4"].memory) - RESERVE
    small, large = Memory(room, 0, 0, 0), Memory(room, 0, 0, 1)
    for memory, look, fits in ((small, small, True), (small, large, False), (large, small, False)):
        found = CostEstimate("vader", "red", 8, 1, 4, memory, look)
        assert found.most.fits(GPUS["t4"]) == fits


def test_a_card_must_have_room_for_the_reserve_too() -> None:
    room = int(GPUS["t4"].memory) - RESERVE
    assert Memory(room, 0, 0, 0).fits(GPUS["t4"])
    assert not Memory(room, 0, 0, 1).fits(GPUS["t4"])
