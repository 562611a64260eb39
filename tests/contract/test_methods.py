"""What every registered method must do, shown on a tiny random model with a closed-form reward."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from tests.support.benches import MakeBench, RedReward, Stand
from vader_bench.budget.ledger import BudgetExceededError
from vader_bench.methods import METHODS, Method
from vader_bench.rewards.base import Judgement

SETTINGS: dict[str, dict[str, Any]] = {
    "vader": {"k": "random"},
    "ddpo": {"prompts_per_round": 2, "samples_per_prompt": 2},
    "diffusion-dpo": {"updates_per_pair": 2},
    "grpo": {"prompts_per_round": 2, "samples_per_prompt": 2, "kl_weight": 0.1},
    "nft": {"prompts_per_round": 2, "samples_per_prompt": 2},
    "raft": {"prompts_per_round": 2, "samples_per_prompt": 2},
}
COMMON: dict[str, Any] = {"batch_size": 4, "lora_rank": 2, "learning_rate": 1e-3}

every_method = pytest.mark.parametrize("name", METHODS.names())


def make(stand: Stand, name: str, **changes: Any) -> Method:
    return stand.method(name, **(COMMON | SETTINGS.get(name, {}) | changes))


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@every_method
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_step_logs_finite_numbers_and_moves_only_the_adapters(
    name: str, guidance: float, make_bench: MakeBench
) -> None:
    stand = make_bench(guidance=guidance)
    method = make(stand, name)
    adapter = method.lora.state()
    frozen = {k: v.clone() for k, v in stand.backbone.denoiser.state_dict().items() if "lora_" not in k}
    metrics = method.step(4)
    assert {"reward", "loss", "grad_norm"} <= metrics.keys()
    assert all(math.isfinite(value) for value in metrics.values()), metrics
    assert not same(adapter, method.lora.state())
    after = {k: v for k, v in stand.backbone.denoiser.state_dict().items() if "lora_" not in k}
    assert same(frozen, after)
    assert not any(module.training for module in stand.backbone.modules())


@every_method
def test_the_ledger_is_what_was_used(name: str, make_bench: MakeBench) -> None:
    class Counting(RedReward):
        def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
            judged.append(video.shape[:2])  # counted or not, a reward is called but once
            return super().judge(video, prompts)

    judged: list[torch.Size] = []
    denoised: list[int] = []
    stand = make_bench(Counting(), guidance=2.0, decode_frames=3, count_flops=True)

    def count(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        if not counting_flops():
            denoised.append(len(args[0]))

    stand.backbone.denoiser.register_forward_pre_hook(count)
    method = make(stand, name)
    for allowance in (64, 60, 3):
        method.step(allowance)
    ledger = stand.meter.ledger
    assert ledger.reward_queries == sum(batch for batch, _ in judged) == 11
    assert ledger.frames_scored == ledger.vae_decodes == 3 * 11
    assert ledger.denoiser_forwards == sum(denoised)
    assert 0 < ledger.denoiser_backwards < ledger.denoiser_forwards
    assert ledger.gradient_queries == (11 if METHODS.get(name).uses_gradient else 0)
    assert ledger.flops > 0


@every_method
def test_a_step_spends_one_round(name: str, make_bench: MakeBench) -> None:
    """The number that ``check`` holds budgets and looks against."""
    stand = make_bench(queries=256)
    method = make(stand, name)
    for rounds in (1, 2):
        method.step(256)
        assert stand.meter.ledger.reward_queries == rounds * method.config.round_queries


@every_method
def test_what_differentiates_the_reward_refuses_one_without_a_gradient(name: str) -> None:
    kind = METHODS.get(name)
    config = kind.Config(**(COMMON | SETTINGS.get(name, {})))
    assert [fault.wrong for fault in kind.refusals(config, steps=4, gradient=False)] == (
        ["has no gradient"] if kind.uses_gradient else []
    )
    assert list(kind.refusals(config, steps=4, gradient=True)) == []


@every_method
def test_what_plan_may_vary_are_settings_of_the_method(name: str) -> None:
    config = METHODS.get(name).Config(**(COMMON | SETTINGS.get(name, {})))
    assert set(config.what_ifs) < set(type(config).model_fields) - {"batch_size"}
    least = config.model_dump() | {"batch_size": config.least_batch}
    assert type(config)(**least).batch_size == config.least_batch


def counting_flops() -> bool:
    """Whether a call is one of those whose FLOPs are counted, once a kind, on the side."""
    return _get_current_dispatch_mode() is not None


@every_method
@pytest.mark.parametrize("budget", [2, 3, 5, 8, 9, 11, 13])
def test_any_budget_is_spent_exactly(name: str, budget: int, make_bench: MakeBench) -> None:
    stand = make_bench(queries=budget, steps=2)
    method = make(stand, name)
    while stand.meter.queries_left:
        before = stand.meter.ledger.reward_queries
        method.step(stand.meter.queries_left)
        assert stand.meter.ledger.reward_queries > before
    assert stand.meter.ledger.reward_queries == budget


@every_method
def test_spending_more_than_the_budget_is_stopped(name: str, make_bench: MakeBench) -> None:
    method = make(make_bench(queries=3, steps=2), name)
    with pytest.raises(BudgetExceededError):
        method.step(4)


@every_method
def test_the_same_seed_gives_the_same_bits_whatever_else_draws(name: str, make_bench: MakeBench) -> None:
    results = []
    for other in (1, 2):
        torch.manual_seed(other)
        method = make(make_bench(decode_frames=2), name)
        results.append(([method.step(4), method.step(3)], method.lora.state()))
    assert results[0][0] == results[1][0]
    assert same(results[0][1], results[1][1])


@every_method
def test_global_random_numbers_are_left_alone(name: str, make_bench: MakeBench) -> None:
    stand = make_bench()
    before = torch.get_rng_state()
    make(stand, name).step(4)
    assert torch.equal(before, torch.get_rng_state())


@every_method
def test_what_a_cluster_says_of_a_job_moves_no_method(
    name: str, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launcher's variables, whether it is torchrun, Slurm or MPI, are about a job that this is none of."""
    expected, before = make(make_bench(steps=2), name).step(4), dict(PartialState._shared_state)
    cluster = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "1", "PMI_SIZE": "2", "PMI_RANK": "1"}
    for variable, value in cluster.items():
        monkeypatch.setenv(variable, value)
    assert make(make_bench(steps=2), name).step(4) == expected
    assert before == PartialState._shared_state, "nothing was set up that would wait for other processes"


@every_method
def test_another_seed_gives_another_start_and_other_samples(name: str, make_bench: MakeBench) -> None:
    first, second = (make(make_bench(seed=seed), name) for seed in (0, 1))
    assert not same(first.lora.state(), second.lora.state())
    assert first.step(4)["reward"] != second.step(4)["reward"]


@every_method
def test_a_resumed_run_goes_on_bit_for_bit(name: str, make_bench: MakeBench) -> None:
    whole = make_bench(decode_frames=2)
    method = make(whole, name)
    for _ in range(3):
        method.step(4)
    stored = io.BytesIO()
    torch.save(method.state(), stored)
    position = whole.prompts.position
    expected = [method.step(4), method.step(3)]

    resumed = make_bench(decode_frames=2)
    resumed.prompts.position = position
    fresh = make(resumed, name)
    stored.seek(0)
    fresh.load_state(torch.load(stored, weights_only=True))
    assert [fresh.step(4), fresh.step(3)] == expected
    assert same(fresh.lora.state(), method.lora.state())


def test_all_methods_start_from_the_same_adapters(make_bench: MakeBench) -> None:
    starts = [make(make_bench(), name).lora.state() for name in METHODS.names()]
    assert len(starts) >= 3
    assert all(same(starts[0], start) for start in starts[1:])


def test_all_methods_take_their_prompts_from_the_one_list(make_bench: MakeBench) -> None:
    for name in METHODS.names():
        stand = make_bench()
        make(stand, name).step(4)
        assert 1 <= stand.prompts.position <= 4


@every_method
def test_a_state_of_another_rank_is_refused_by_name(name: str, make_bench: MakeBench) -> None:
    state = make(make_bench(), name, lora_rank=3).state()
    with pytest.raises(Exception, match=r"lora_A.weight of shape \[3, 8\], not \[2, 8\]"):
        make(make_bench(), name).load_state(state)
