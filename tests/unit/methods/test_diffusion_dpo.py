from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.support.benches import MakeBench, RedReward
from vader_bench.errors import UserError
from vader_bench.methods import Method
from vader_bench.methods.denoising import denoising_error
from vader_bench.methods.diffusion_dpo import (
    DiffusionDpo,
    DiffusionDpoConfig,
    PreferencePair,
    best_and_worst,
    dpo_loss,
    group_sizes,
)
from vader_bench.rewards.base import Judgement

SMALL = {"batch_size": 4, "lora_rank": 2, "learning_rate": 1e-3}


class Tie(RedReward):
    """A reward that cannot tell videos apart."""

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        score = torch.full((len(video),), 0.5)
        return Judgement(score, score)


@pytest.mark.slow
def test_workers_of_other_methods_are_spared_the_imports_of_the_loss() -> None:
    heavy = ("trl.trainer.dpo_trainer", "datasets", "mlflow")
    code = (
        f"import sys, vader_bench.training.session; print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def make(make_bench: MakeBench, **settings: float | str) -> DiffusionDpo:
    config = DiffusionDpoConfig(**(SMALL | settings))
    return DiffusionDpo(config, make_bench(queries=400).bench)


def test_all_batches_of_a_step_are_judged_on_the_same_frames(make_bench: MakeBench) -> None:
    """As VADER's are, which draws once an update."""
    methods = [
        make_bench(queries=400, decode_frames=2).method(name, accumulation=3, **SMALL)
        for name in ("vader", "diffusion-dpo")
    ]
    for _ in range(4):
        decoded = [frames_of_a_step(method) for method in methods]
        assert [len(frames) for frames in decoded] == [3, 3]
        assert decoded[0] == decoded[1]
        assert len(set(decoded[0])) == 1


def frames_of_a_step(method: Method) -> list[tuple[int, ...]]:
    """Return the frames that each batch of a step has decoded."""
    seen: list[tuple[int, ...]] = []
    judge = Method.judge

    def spy(latents: Tensor, prompts: Sequence[str], frames: Sequence[int]) -> Judgement:
        seen.append(tuple(frames))
        return judge(method, latents, prompts, frames)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method, "judge", spy)
        method.step(64)
    return seen


@pytest.mark.parametrize(
    ("videos", "size", "expected"),
    [
        (8, 2, [2, 2, 2, 2]),
        (5, 2, [2, 3]),
        (3, 2, [3]),
        (2, 4, [2]),
        (5, 4, [5]),
        (6, 4, [4, 2]),
        (8, 4, [4, 4]),
        (9, 4, [4, 5]),
    ],
)
def test_no_video_is_left_alone(videos: int, size: int, expected: list[int]) -> None:
    assert group_sizes(videos, size) == expected


def test_the_best_and_the_worst_of_each_group_make_its_pair() -> None:
    scores = torch.tensor([0.1, 0.9, 0.5, 7.0, 7.0, -1.0, -2.0])
    assert best_and_worst(scores, [3, 2, 2]) == [(1, 0), (5, 6)]


def test_the_loss_of_a_pair_by_hand() -> None:
    # model: winner 0.3, loser 0.5; base: 0.4 and 0.4; margin = -10 / 2 * (-0.2 - 0) = 1
    losses, margins = dpo_loss(torch.tensor([[0.3], [0.5]]), torch.tensor([[0.4], [0.4]]), 10.0)
    assert margins.item() == pytest.approx(1.0)
    assert losses.item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_errors_are_taken_in_float32() -> None:
    prediction, target = torch.full((2, 3, 2), 1.001).half(), torch.ones(2, 3, 2).half()
    error = denoising_error(prediction, target)
    assert error.dtype == torch.float32
    assert error.tolist() == pytest.approx([(float(prediction[0, 0, 0]) - 1) ** 2] * 2)


def test_winner_and_loser_share_noise_and_timestep(make_bench: MakeBench) -> None:
    method = make(make_bench)
    same = torch.randn(2, 4, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    model, reference = method.errors([PreferencePair("a", x, x) for x in same])
    assert torch.equal(model[0], model[1])
    assert torch.equal(model, reference)
    assert model[0, 0] != model[0, 1]


def test_the_reference_is_the_base_model_and_has_no_gradient(make_bench: MakeBench) -> None:
    method = make(make_bench)
    pair = PreferencePair("a", *torch.randn(2, 4, 4, 4, 4, generator=torch.Generator().manual_seed(0)))
    generator = method.generators["dpo"]
    start = generator.get_state()
    _, before = method.errors([pair])
    with torch.no_grad():
        for weight in method.lora.parameters():
            weight.add_(0.1)
    generator.set_state(start)
    model, after = method.errors([pair])
    assert torch.equal(before, after)
    assert not after.requires_grad
    assert model.requires_grad
    assert not torch.equal(model, after)


def test_updates_on_a_pair_lean_towards_the_winner(make_bench: MakeBench) -> None:
    metrics = make(make_bench, updates_per_pair=30, batch_size=2, beta=500.0).step(2)
    assert metrics["accuracy"] > 0.6
    assert metrics["margin"] > 0


@pytest.mark.parametrize(("allowance", "queries"), [(64, 4), (4, 4), (5, 5), (3, 3), (2, 2), (6, 4)])
def test_a_step_leaves_no_single_query(allowance: int, queries: int, make_bench: MakeBench) -> None:
    stand = make_bench()
    stand.method("diffusion-dpo", **SMALL).step(allowance)
    assert stand.meter.ledger.reward_queries == queries


def test_one_query_cannot_make_a_pair(make_bench: MakeBench) -> None:
    stand = make_bench()
    with pytest.raises(UserError, match="1 query left: cannot make a pair for diffusion-dpo; choose even"):
        stand.method("diffusion-dpo", **SMALL).step(1)
    assert stand.meter.ledger.reward_queries == 0


def test_each_pair_is_updated_on_as_often_as_configured(make_bench: MakeBench) -> None:
    stand = make_bench()
    method = stand.method("diffusion-dpo", updates_per_pair=3, **SMALL)
    metrics = method.step(4)
    assert metrics["pairs"] == 2
    assert method.optimizer.state_dict()["state"][0]["step"] == 3
    assert stand.meter.ledger.denoiser_backwards == 3 * 4
    # sampling, then model and reference of every update
    assert stand.meter.ledger.denoiser_forwards == 4 * 4 + 3 * 2 * 4


def test_online_samples_come_from_the_model_and_offline_samples_from_its_base(make_bench: MakeBench) -> None:
    rewards = {}
    for pairs in ("online", "offline"):
        for scale in (0.0, 3.0):
            method = make(make_bench, pairs=pairs)
            with torch.no_grad():
                for weight in method.lora.parameters():
                    weight.add_(scale)
            rewards[pairs, scale] = method._label(4, range(4))[1]
    assert rewards["online", 0.0] == rewards["offline", 0.0] == rewards["offline", 3.0]
    assert rewards["online", 3.0] != rewards["online", 0.0]


def test_online_pairs_are_forgotten_and_offline_pairs_are_kept(make_bench: MakeBench) -> None:
    for pairs, kept in (("online", 0), ("offline", 4)):
        method = make(make_bench, pairs=pairs)
        method.step(4)
        method.step(4)
        assert len(method.own_state()["pairs"]) == kept


def test_of_a_batch_the_pairs_alone_are_kept(make_bench: MakeBench) -> None:
    method = make(make_bench, pairs="offline", group_size=4)
    method.step(4)
    (pair,) = method._kept
    assert all(part.untyped_storage().nbytes() == part.nbytes for part in (pair.winner, pair.loser))


def test_offline_updates_draw_from_all_pairs(make_bench: MakeBench) -> None:
    method = make(make_bench, pairs="offline")
    for _ in range(4):
        method.step(4)
    drawn = {id(pair) for _ in range(30) for pair in method._batch(2)}
    assert len(drawn) == 8
    assert all(len({id(pair) for pair in method._batch(8)}) == 8 for _ in range(3))


def test_without_a_preference_there_is_no_update(make_bench: MakeBench) -> None:
    stand = make_bench(Tie())
    method = stand.method("diffusion-dpo", **SMALL)
    before = method.lora.state()
    assert method.step(4) == {"reward": 0.5, "pairs": 0.0}
    assert stand.meter.ledger.reward_queries == 4
    assert all(torch.equal(before[name], weight) for name, weight in method.lora.state().items())


def test_groups_must_fill_the_batch() -> None:
    with pytest.raises(ValidationError, match="batch_size 8 is not a multiple of group_size 3"):
        DiffusionDpoConfig(group_size=3)
