"""Losses and advantages of the methods against the original code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from trl.trainer.ddpo_trainer import DDPOTrainer

from tests.support.benches import MakeBench
from tests.support.golden import golden
from vader_bench.diffusion.flow import FlowSchedule
from vader_bench.diffusion.sampler import Sampler, Trajectory
from vader_bench.diffusion.schedule import NoiseSchedule
from vader_bench.methods.ddpo import Ddpo, DdpoConfig
from vader_bench.methods.denoising import denoising_error
from vader_bench.methods.diffusion_dpo import dpo_loss
from vader_bench.methods.groups import GroupSamples, group_advantages
from vader_bench.methods.nft import Nft, NftConfig, goodness
from vader_bench.methods.policy_gradient import clipped_loss
from vader_bench.methods.refl import Refl, ReflConfig
from vader_bench.rewards.base import Judgement


@pytest.mark.parametrize("name", ["ddpo_clipped_loss_0", "ddpo_clipped_loss_1"])
def test_clipped_loss(name: str) -> None:
    case = golden(name)
    log_probs = case.inputs["log_prob"].requires_grad_()
    old, advantages = case.inputs["old_log_prob"], case.inputs["advantages"]
    found = clipped_loss(log_probs, old, advantages, case.config["clip_range"], case.config["adv_clip_max"])
    case.check("loss", found.loss)
    case.check("trl/loss", found.loss)
    case.check("approx_kl", found.approx_kl)
    case.check("clipfrac", found.clip_fraction)
    case.check("ratio", found.ratio)
    case.check("grad_log_prob", torch.autograd.grad(found.loss, log_probs)[0])


@pytest.mark.parametrize("name", ["ddpo_stat_tracker_0", "ddpo_stat_tracker_1"])
@pytest.mark.parametrize("resumed", [False, True])
def test_statistics_of_a_prompt(name: str, resumed: bool, make_bench: MakeBench) -> None:
    case = golden(name)
    config = DdpoConfig(
        statistics_buffer=case.config["buffer_size"], statistics_min_count=case.config["min_count"]
    )
    method = Ddpo(config, make_bench().bench)
    prompts = np.array(case.config["prompts"])
    for i in range(case.config["updates"]):
        if resumed:
            state = method.state()
            method = Ddpo(config, make_bench().bench)
            method.load_state(state)
        named, rewards = prompts[case.inputs[f"prompt_ids_{i}"]], case.inputs[f"rewards_{i}"]
        case.check(f"advantages_{i}", method.advantages(list(named), rewards))
    stats = method._statistics.get_stats()
    for key in ("mean", "std", "count"):
        values = [stats[prompts[number]][key] for number in case.config["final_prompt_ids"]]
        case.check(f"final_{key}", torch.as_tensor(np.array(values)))


def test_advantages_reach_the_steps_of_their_own_videos(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six rounds with the prompts and rewards of the original, seen where the loss is made."""
    case = golden("ddpo_stat_tracker_1")
    config = DdpoConfig(
        batch_size=8,
        lora_rank=2,
        prompts_per_round=8,
        samples_per_prompt=1,
        updates_per_round=2,
        statistics_buffer=case.config["buffer_size"],
        statistics_min_count=case.config["min_count"],
        advantage_clip=100.0,
    )
    method = Ddpo(config, make_bench(steps=2).bench)
    for i in range(case.config["updates"]):
        prompts = [case.config["prompts"][number] for number in case.inputs[f"prompt_ids_{i}"]]
        seen = advantages_of_a_round(method, prompts, case.inputs[f"rewards_{i}"], monkeypatch)
        assert all(len(found) == 2 and len(set(found)) == 1 for found in seen), "one a step, the same"
        case.check(f"advantages_{i}", torch.tensor([found[0] for found in seen]))


def advantages_of_a_round(
    method: Ddpo, prompts: list[str], rewards: Tensor, monkeypatch: pytest.MonkeyPatch
) -> list[list[float]]:
    """Return, by video, the advantages that trl's loss is given for steps that start on that video's way."""
    ways: list[Tensor] = []
    latents: list[Tensor] = []
    seen: list[list[float]] = [[] for _ in prompts]
    sample, denoise = Sampler.with_log_probs, method.bench.backbone.denoise

    def watched_sample(*args: Any) -> Trajectory:
        path = sample(*args)
        ways.extend(path.states[:, :-1])
        return path

    def watched_denoise(noisy: Tensor, *args: Any) -> Tensor:
        latents.append(noisy)
        return denoise(noisy, *args)

    def watched_loss(_: object, advantages: Tensor, clip_range: float, ratio: Tensor) -> Tensor:
        assert clip_range > 0
        for row, advantage in zip(latents[-1], advantages.tolist(), strict=True):
            (video,) = [i for i, way in enumerate(ways) if any(torch.equal(row, state) for state in way)]
            seen[video].append(advantage)
        return (ratio * advantages).mean()

    with monkeypatch.context() as patch:
        patch.setattr(method, "next_prompts", lambda _: prompts)
        patch.setattr(method, "judge", lambda *_: Judgement(rewards, rewards))
        patch.setattr(method, "sampler", replace(method.sampler, denoise=watched_denoise))
        patch.setattr(Sampler, "with_log_probs", watched_sample)
        patch.setattr(DDPOTrainer, "loss", watched_loss)
        method.step(len(prompts))
    return seen


def test_advantages_of_a_round(make_bench: MakeBench) -> None:
    case = golden("ddpo_global_advantage")
    method = Ddpo(DdpoConfig(per_prompt_statistics=False), make_bench().bench)
    rewards = case.inputs["rewards"]
    case.check("advantages", method.advantages(["a prompt"] * len(rewards), rewards))


@pytest.mark.parametrize("name", ["diffusion_dpo_0", "diffusion_dpo_1", "diffusion_dpo_2"])
def test_diffusion_dpo(name: str) -> None:
    case = golden(name)
    prediction = case.inputs["model_pred"].requires_grad_()
    model = denoising_error(prediction, case.inputs["target"])
    reference = denoising_error(case.inputs["ref_pred"], case.inputs["target"])
    losses, margins = dpo_loss(model.reshape(2, -1), reference.reshape(2, -1), case.config["beta_dpo"])
    case.check("model_losses", model)
    case.check("ref_losses", reference)
    case.check("inside_term", margins)
    case.check("implicit_acc", (margins > 0).float().mean())
    case.check("loss", losses.mean())
    case.check("trl/losses", losses)
    case.check("trl/loss", losses.mean())
    case.check("grad_model_pred", torch.autograd.grad(losses.mean(), prediction)[0])


@pytest.mark.parametrize("name", ["diffusion_dpo_0", "diffusion_dpo_1", "diffusion_dpo_2"])
def test_loss_from_given_errors_equals_trl_to_the_last_digits(name: str) -> None:
    case = golden(name)
    model, reference = (case.outputs[f"{who}_losses"].reshape(2, -1) for who in ("model", "ref"))
    losses, margins = dpo_loss(model, reference, case.config["beta_dpo"])
    torch.testing.assert_close(losses, case.outputs["trl/losses"], atol=1e-6, rtol=0)
    chosen = case.outputs["trl/chosen_rewards_mapping_1"] - case.outputs["trl/rejected_rewards_mapping_1"]
    torch.testing.assert_close(margins, chosen, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["grpo_advantages_0", "grpo_advantages_1"])
def test_group_advantages(name: str) -> None:
    case = golden(name)
    found = group_advantages(case.inputs["scores"], case.config["group"], case.config["global_std"])
    case.check("advantages", found)


def test_clipped_loss_of_grpo() -> None:
    case = golden("grpo_clipped_loss_0")
    log_probs = case.inputs["log_prob"].requires_grad_()
    found = clipped_loss(
        log_probs,
        case.inputs["old_log_prob"],
        case.inputs["advantages"],
        case.config["clip_range"],
        case.config["adv_clip_max"],
    )
    found.loss.backward()
    case.check("loss", found.loss)
    case.check("ratio", found.ratio)
    assert log_probs.grad is not None
    case.check("grad_log_prob", log_probs.grad)


def test_group_advantages_and_clipped_loss_of_dance_grpo() -> None:
    """Its loss is the same; its advantages are in units of another deviation than Flow-GRPO's and ours."""
    case = golden("dance_group_loss_0")
    scores, group = case.inputs["scores"], case.config["group"]
    groups = scores.reshape(-1, group)
    units = (groups.std(1, correction=0) + 1e-4) / (groups.std(1) + 1e-8)
    advantages = group_advantages(scores, group, global_deviation=False) * units.repeat_interleave(group)
    case.check("advantages", advantages)
    log_probs = case.inputs["log_prob"].requires_grad_()
    clips = case.config["clip_range"], case.config["adv_clip_max"]
    found = clipped_loss(log_probs, case.inputs["old_log_prob"], advantages, *clips)
    case.check("ratio", found.ratio)
    case.check("loss", found.loss)
    case.check("grad_log_prob", torch.autograd.grad(found.loss, log_probs)[0])


def test_what_refl_foresees_and_its_gradient(make_bench: MakeBench) -> None:
    """The authors' loss is ``grad_scale relu(2 - R)``: with R below 2 its gradient is ours, scaled."""
    case = golden("refl_foreseen_0")
    alphas, scale = case.config["alphas"], case.config["grad_scale"]
    betas = torch.linspace(alphas["start"] ** 0.5, alphas["end"] ** 0.5, alphas["steps"]) ** 2
    schedule = NoiseSchedule((1 - betas).cumprod(0), "epsilon", "leading", 1)
    prediction = case.inputs["noise_pred"].requires_grad_()
    clean, _ = schedule.split(prediction, case.inputs["latents"], case.inputs["t"].expand(4))
    case.check("pred_original_sample", clean)
    pictures = (clean / 2 + 0.5).clamp(0, 1)
    rewards = (pictures * case.inputs["weights"]).mean((1, 2, 3, 4))
    case.check("rewards", rewards)
    loss = scale * Refl(ReflConfig(), make_bench().bench).loss(Judgement(rewards, rewards))
    case.check("loss", loss + 2 * scale)
    loss.backward()
    assert prediction.grad is not None
    case.check("grad_noise_pred", prediction.grad)


@pytest.mark.parametrize("name", ["nft_loss_0", "nft_loss_1"])
def test_loss_of_nft(name: str, make_bench: MakeBench) -> None:
    """The method's own loss, on predictions of the vectors in place of its three models'."""
    case = golden(name)
    config, given = case.config, case.inputs
    settings = {
        "strength": config["beta"],
        "advantage_clip": config["adv_clip_max"],
        "kl_weight": config["kl_beta"],
    }
    method = Nft(NftConfig(**settings), make_bench().bench)
    prediction = given["forward_prediction"].requires_grad_()
    predictions = iter([given["old_prediction"], given["ref_prediction"], prediction])
    noisy: list[Tensor] = []

    def predict(latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        del timesteps, encoded
        noisy.append(latents)
        return next(predictions)

    method.bench.backbone.denoise = predict  # type: ignore[method-assign]
    method.bench.backbone.schedule = FlowSchedule()
    good = goodness(given["advantages"], config["adv_clip_max"])
    case.check("r", good)
    videos = GroupSamples([""] * 6, torch.zeros(6, 1, 1), given["x0"], torch.zeros(6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn", lambda *_, **__: given["noise"])
        found = method._loss(videos, good, torch.arange(6), 1000 * given["t"])
    found.loss.backward()
    case.check("policy_loss", found.policy)
    case.check("loss", found.loss)
    case.check("kl", found.kl)
    case.check("old_deviate", found.old_deviation)
    assert prediction.grad is not None
    case.check("grad", prediction.grad)
