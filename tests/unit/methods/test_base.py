from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tests.support.benches import PROMPTS, MakeBench, RedReward
from vader_bench.config.faults import Fault
from vader_bench.errors import UserError
from vader_bench.methods import METHODS, Method
from vader_bench.methods.vader import VaderConfig

SMALL = {"batch_size": 2, "lora_rank": 2}


@pytest.mark.parametrize("name", METHODS.names())
@pytest.mark.parametrize(
    ("key", "value"),
    [("learning_rate", 0), ("batch_size", 0), ("lora_rank", 0), ("max_grad_norm", 0), ("momentum", 1)],
)
def test_settings_out_of_range_are_refused(name: str, key: str, value: float) -> None:
    with pytest.raises(ValidationError, match=key):
        METHODS.get(name).Config(**{key: value})


POLICY_GRADIENTS = [name for name in METHODS.names() if METHODS.get(name).policy_gradient]


@pytest.mark.parametrize("name", POLICY_GRADIENTS)
def test_updates_that_a_round_cannot_have_are_refused(name: str) -> None:
    settings = {"prompts_per_round": 3, "samples_per_prompt": 5, "updates_per_round": 3}
    METHODS.get(name).Config(**settings)
    with pytest.raises(ValidationError, match="15 videos of a round are no multiple of updates_per_round 2"):
        METHODS.get(name).Config(**settings | {"updates_per_round": 2})


@pytest.mark.parametrize(
    ("name", "settings", "most"),
    [
        ("vader", {"batch_size": 3, "accumulation": 2}, 3),
        ("raft", {}, 4),  # the winners of four prompts
        ("raft", {"batch_size": 2}, 2),
        ("diffusion-dpo", {"group_size": 8}, 2),  # a winner and a loser
        ("diffusion-dpo", {"group_size": 2}, 8),
        ("grpo", {"prompts_per_round": 3, "samples_per_prompt": 5}, 5),
        ("ddpo", {"batch_size": 8, "updates_per_round": 4}, 4),
        ("ddpo", {"update_batch_size": 2}, 2),
    ],
)
def test_no_more_devices_share_a_run_than_its_smallest_batch_has_videos(
    name: str, settings: dict[str, int], most: int
) -> None:
    assert METHODS.get(name).Config(**{"learning_rate": 0.1, "batch_size": 8} | settings).most_devices == most


class Choosy(Method):
    """An own method, which has no random streams, and refuses a setting."""

    Config = VaderConfig
    key = "learning_rate"

    def step(self, allowance: int) -> dict[str, float]:
        raise NotImplementedError(allowance)

    @classmethod
    def refusals(cls, config: Any, *, steps: int, gradient: bool) -> Iterator[Fault]:
        del config, steps, gradient
        yield Fault(cls.key, "is too large", "choose a smaller one")


def test_a_method_without_streams_may_refuse_a_setting(make_bench: MakeBench) -> None:
    config = VaderConfig(**SMALL, learning_rate=0.5)
    with pytest.raises(UserError, match=r"^learning_rate = 0.5: is too large; choose a smaller one"):
        Choosy(config, make_bench().bench)


def test_what_a_method_refuses_may_be_no_setting(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Choosy, "key", "candidates")
    with pytest.raises(UserError, match=r"^candidates: is too large; choose a smaller one"):
        Choosy(VaderConfig(**SMALL), make_bench().bench)


def frames(make_bench: MakeBench, reward_frames: int | None, decode_frames: int | None) -> list[list[int]]:
    stand = make_bench(RedReward(reward_frames), decode_frames=decode_frames)
    method = stand.method("vader", **SMALL)
    return [method.choose_frames() for _ in range(20)]


def test_all_frames_are_judged_by_default(make_bench: MakeBench) -> None:
    assert frames(make_bench, None, None) == [[0, 1, 2, 3]] * 20


def test_some_frames_are_drawn_again_for_each_step(make_bench: MakeBench) -> None:
    drawn = frames(make_bench, None, 2)
    assert all(len(set(step)) == 2 and step == sorted(step) for step in drawn)
    assert {frame for step in drawn for frame in step} == {0, 1, 2, 3}
    assert len({tuple(step) for step in drawn}) > 2
    assert drawn == frames(make_bench, None, 2)


@pytest.mark.parametrize(("wanted", "chosen"), [(1, [2]), (2, [1, 3]), (4, [0, 1, 2, 3])])
def test_a_reward_of_fixed_length_gets_evenly_spaced_frames(
    wanted: int, chosen: list[int], make_bench: MakeBench
) -> None:
    assert frames(make_bench, wanted, 3) == [chosen] * 20


class OverTime(RedReward):
    """A reward that says of itself neither how many frames it wants nor that it takes them one by one."""

    by_frame = False


def test_a_reward_over_time_is_trained_on_all_frames(make_bench: MakeBench) -> None:
    stand = make_bench(OverTime(), decode_frames=2)
    method = stand.method("vader", **SMALL)
    assert method.choose_frames() == [0, 1, 2, 3]
    assert method.notes == []


def test_training_on_fewer_frames_than_looks_see_is_noted(make_bench: MakeBench) -> None:
    method = make_bench(decode_frames=2).method("vader", **SMALL)
    assert method.notes == ["judged are 2 random frames of 4 in training, all of them at looks"]
    assert make_bench(RedReward(3), decode_frames=2).method("vader", **SMALL).notes == []


@pytest.mark.parametrize(("reward_frames", "decode_frames"), [(5, None), (None, 5)])
def test_more_frames_than_a_video_has_are_refused_at_the_start(
    reward_frames: int | None, decode_frames: int | None, make_bench: MakeBench
) -> None:
    with pytest.raises(UserError, match="5 frames to judge: a video has 4; choose at most 4"):
        frames(make_bench, reward_frames, decode_frames)


def test_pictures_are_clamped_before_they_are_judged(make_bench: MakeBench) -> None:
    method = make_bench().method("vader", **SMALL)
    latents = 1000 * torch.randn(2, 4, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    score = method.judge(latents, PROMPTS[:2], [0, 1]).score
    decoded = method.bench.backbone.decode(latents, [0, 1])
    assert decoded.abs().max() > 1
    assert torch.equal(score, RedReward().judge(decoded.clamp(0, 1), PROMPTS[:2]).score)


def small_method(make_bench: MakeBench, **settings: float) -> Method:
    return make_bench().method("vader", **SMALL, **settings)


def test_an_update_clips_and_returns_the_norm_before(make_bench: MakeBench) -> None:
    method = small_method(make_bench, max_grad_norm=0.5)
    loss = torch.stack([100 * weight.sum() for weight in method.lora.parameters()]).sum()
    norm = method.update([loss])
    elements = sum(weight.numel() for weight in method.lora.parameters())
    assert norm == pytest.approx(100 * elements**0.5, rel=1e-4)
    gradients = [weight.grad for weight in method.lora.parameters()]
    clipped = torch.cat([g.flatten() for g in gradients if g is not None]).norm().item()
    assert clipped == pytest.approx(0.5, rel=1e-4)


def test_an_update_forgets_older_gradients(make_bench: MakeBench) -> None:
    method = small_method(make_bench)
    weights = method.lora.parameters()
    norms = [method.update([torch.stack([w.sum() for w in weights]).sum()]) for _ in range(2)]
    assert norms[0] == norms[1]


def test_the_optimiser_has_no_weight_decay(make_bench: MakeBench) -> None:
    for name in METHODS.names():
        method = make_bench().method(name, lora_rank=2, learning_rate=0.03)
        (group,) = method.optimizer.param_groups
        assert (type(method.optimizer), group["lr"], group["betas"], group["weight_decay"]) == (
            torch.optim.AdamW,
            0.03,
            (0.9, 0.999),
            0.0,
        )


def test_a_gradient_that_is_not_finite_stops_the_run_and_changes_nothing(make_bench: MakeBench) -> None:
    method = small_method(make_bench, learning_rate=0.25)
    before = method.lora.state()
    loss = torch.stack([weight.sum() * torch.inf for weight in method.lora.parameters()]).sum()
    with pytest.raises(UserError, match=r"learning rate 0.25: led to a gradient that is not finite; lower"):
        method.update([loss])
    assert all(torch.equal(before[name], weight) for name, weight in method.lora.state().items())


def test_an_update_goes_down_the_sum_of_its_losses_one_at_a_time(make_bench: MakeBench) -> None:
    method = small_method(make_bench)
    weights = method.lora.parameters()
    whole = method.update([torch.stack([3 * weight.sum() for weight in weights]).sum()])
    parts = method.update(torch.stack([n * weight.sum() for weight in weights]).sum() for n in (1, 2))
    assert parts == pytest.approx(whole, rel=1e-6)


def test_batches_hold_all_videos(make_bench: MakeBench) -> None:
    method = small_method(make_bench)
    size = method.config.batch_size
    assert method.batches(2 * size + 1) == [size, size, 1]
    assert method.batches(1) == [1]
