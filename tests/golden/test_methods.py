"""DDPO's loss and advantages and the Diffusion-DPO loss against the original code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.benches import MakeBench
from tests.support.golden import golden
from vader_bench.methods.ddpo import Ddpo, DdpoConfig, clipped_loss
from vader_bench.methods.diffusion_dpo import denoising_error, dpo_loss


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
