"""DDPO's loss and advantages and the Diffusion-DPO loss against the original code."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from trl.trainer.ddpo_config import DDPOConfig

from tests.support.benches import MakeBench
from tests.support.golden import golden
from vader_bench.methods.ddpo import Ddpo, DdpoConfig
from vader_bench.methods.ddpo_trainer import Log, VideoTrainer
from vader_bench.methods.diffusion_dpo import denoising_error, dpo_loss
from vader_bench.rewards.base import Judgement


class Pipeline:
    """A pipeline whose steps have given log-probabilities."""

    def __init__(self, log_prob: Tensor) -> None:
        self.log_prob = log_prob

    def unet(self, *_: object) -> SimpleNamespace:
        return SimpleNamespace(sample=None)

    def scheduler_step(self, *_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(log_probs=self.log_prob)


@pytest.mark.parametrize("name", ["ddpo_clipped_loss_0", "ddpo_clipped_loss_1"])
def test_clipped_loss(name: str) -> None:
    case = golden(name)
    log_prob = case.inputs["log_prob"].requires_grad_()
    trainer = object.__new__(VideoTrainer)  # only what the loss reads, without trl's set-up
    trainer.config = DDPOConfig(
        train_cfg=False,
        train_clip_range=case.config["clip_range"],
        train_adv_clip_max=case.config["adv_clip_max"],
    )
    trainer.autocast, trainer.sd_pipeline, trainer.log = nullcontext, Pipeline(log_prob), Log()
    old, advantages = case.inputs["old_log_prob"], case.inputs["advantages"]
    loss, approx_kl, clip_fraction = trainer.calculate_loss(None, None, None, old, advantages, None)
    case.check("loss", loss)
    case.check("trl/loss", loss)
    case.check("approx_kl", approx_kl)
    case.check("clipfrac", clip_fraction)
    case.check("grad_log_prob", torch.autograd.grad(loss, log_prob)[0])
    deviation = (case.outputs["ratio"] - 1).abs().mean().item()
    assert trainer.log.take("ratio_deviation")["ratio_deviation"] == pytest.approx(deviation, rel=1e-3)


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
        named, rewards = prompts[case.inputs[f"prompt_ids_{i}"]], case.inputs[f"rewards_{i}"].numpy()
        case.check(f"advantages_{i}", torch.as_tensor(method._trainer.stat_tracker.update(named, rewards)))
    stats = method._trainer.stat_tracker.get_stats()
    for key in ("mean", "std", "count"):
        values = [stats[prompts[number]][key] for number in case.config["final_prompt_ids"]]
        case.check(f"final_{key}", torch.as_tensor(np.array(values)))


def test_advantages_of_a_round(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    case = golden("ddpo_global_advantage")
    rewards = case.inputs["rewards"]
    config = DdpoConfig(prompts_per_round=4, samples_per_prompt=3, batch_size=12, per_prompt_statistics=False)
    method = Ddpo(config, make_bench(queries=12).bench)
    seen: list[Tensor] = []
    train = VideoTrainer._train_batched_samples

    def spy(self: Any, inner: int, epoch: int, step: int, batches: list[dict[str, Tensor]]) -> int:
        seen.extend(batch["advantages"] for batch in batches)
        return train(self, inner, epoch, step, batches)

    monkeypatch.setattr(VideoTrainer, "_train_batched_samples", spy)
    scores = iter([rewards])  # one batch of 12

    def judge(*_: object) -> Judgement:
        score = next(scores)
        return Judgement(score, score)

    monkeypatch.setattr(method, "judge", judge)
    method.step(12)
    case.check("advantages", torch.cat(seen).sort().values[rewards.argsort().argsort()])


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
