"""Open-Sora 1.2's networks, schedule and sampler against what the original code computed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.support.golden import LARGE, Golden, golden
from vader_bench.backbones.open_sora_vae import (
    OpenSoraVAE,
    OpenSoraVAEConfig,
    Posterior,
    TemporalConfig,
    TemporalVAE,
)
from vader_bench.backbones.stdit3 import Format, STDiT3, STDiT3Config
from vader_bench.diffusion.flow import FlowSchedule
from vader_bench.diffusion.flow_open_sora import open_sora_schedule
from vader_bench.diffusion.sampler import Sampler


def weights(name: str) -> dict[str, Tensor]:
    tensors = load_file(LARGE / f"{name}.safetensors")
    return {k.removeprefix("weights/"): v for k, v in tensors.items() if k.startswith("weights/")}


def denoiser(*, checkpointing: bool = False) -> tuple[Golden, STDiT3]:
    case = golden("stdit3_tiny_0")
    network = STDiT3(STDiT3Config.model_validate(case.config), checkpointing=checkpointing).eval()
    frequencies = network.rope.freqs.clone()
    network.load_state_dict(weights("stdit3_tiny_0"))
    torch.testing.assert_close(network.rope.freqs, frequencies)
    return case, network


def predict(case: Golden, network: STDiT3, call: dict[str, Any]) -> Tensor:
    given = case.inputs["x_mask"].bool()
    masks = {None: None, "inputs/x_mask": given, "all ones": torch.ones_like(given)}
    return network(  # type: ignore[no-any-return]
        case.inputs["x"],
        torch.tensor(call["timestep"]),
        case.inputs["y"][:, 0],
        Format(call["height"], call["width"], call["fps"]),
        words=case.inputs["mask"].bool() if call["uses_mask"] else None,
        generated=masks[call["x_mask"]],
    )


@torch.no_grad()
@pytest.mark.parametrize("index", range(5))
def test_the_denoiser_with_and_without_masks(index: int) -> None:
    case, network = denoiser()
    call = case.config["calls"][index]
    case.check(call["output"], predict(case, network, call))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_gradients_of_the_denoiser(checkpointing: bool) -> None:
    case, network = denoiser(checkpointing=checkpointing)
    x = case.inputs["x"].requires_grad_()
    (predict(case, network, case.config["calls"][0]) * case.inputs["grad_probe"]).sum().backward()
    assert x.grad is not None
    case.check("grad_x", x.grad)
    names = [key.removeprefix("grad/") for key in case.outputs if key.startswith("grad/")]
    assert len(names) == 4
    for name in names:
        gradient = network.get_parameter(name).grad
        assert gradient is not None
        case.check(f"grad/{name}", gradient)


@torch.no_grad()
def test_the_autoencoder_in_time() -> None:
    case = golden("opensora_temporal_vae_tiny")
    network = TemporalVAE(TemporalConfig.model_validate(case.config)).eval()
    network.load_state_dict(weights("opensora_temporal_vae_tiny"))
    for call in case.config["calls"]:
        frames = call["frames"]
        posterior = network.encode(case.inputs[f"x_{frames}"])
        assert posterior.mean.shape[2] == call["latent_frames"] == network.latent_frames(frames)
        case.check(f"mean_{frames}", posterior.mean)
        case.check(f"logvar_{frames}", posterior.logvar)
        case.check(f"decoded_{frames}", network.decode(posterior.mean, frames))
    single = case.inputs["z_single"]
    case.check("decoded_single_as_1_frame", network.decode(single, 1))
    case.check("decoded_single_as_4_frames", network.decode(single, 4))


def test_the_released_sizes_are_the_default() -> None:
    released = golden("opensora_temporal_vae_tiny").config["released_config"]
    assert TemporalConfig() == TemporalConfig.model_validate(released)


def test_the_posterior() -> None:
    case = golden("opensora_posterior")
    posterior = Posterior.from_moments(case.inputs["moments"])
    case.check("mean", posterior.mean)
    case.check("logvar", posterior.logvar)
    case.check("std", posterior.std)
    case.check("sample", posterior.sample(case.inputs["noise"]))
    case.check("kl", posterior.kl())


def autoencoder() -> tuple[Golden, OpenSoraVAE]:
    case = golden("opensora_vae_pipeline_tiny")
    sizes = {"vae_2d": case.config["spatial"], "vae_temporal": case.config["temporal"]}
    network = OpenSoraVAE(OpenSoraVAEConfig.model_validate(case.config | sizes)).eval()
    network.load_state_dict(weights("opensora_vae_pipeline_tiny"))
    return case, network


@torch.no_grad()
@pytest.mark.parametrize("frames", [17, 20, 34])
def test_the_autoencoder(frames: int) -> None:
    case, network = autoencoder()
    pictures = case.inputs[f"x_{frames}"]
    (call,) = [call for call in case.config["calls"] if call["frames"] == frames]
    latents = network.encode(pictures)
    assert latents.shape[2] == call["latent_frames"] == network.latent_frames(frames)
    case.check(f"spatial_latent_{frames}", network.encode_pictures(pictures))
    case.check(f"latent_{frames}", latents)
    case.check(f"decoded_{frames}", network.decode(case.outputs[f"latent_{frames}"], frames))


@torch.no_grad()
def test_a_lone_latent_is_a_first_picture() -> None:
    """Upstream decodes any latent so in training; ours decodes the chunk that a picture lies in."""
    case, network = autoencoder()
    case.check("decoded_single_as_1_frame", network.decode(case.inputs["z_single"], 1))


@torch.no_grad()
@pytest.mark.parametrize("wanted", [[0], [16, 17], [33, 3, 3]])
def test_pictures_out_of_a_video_are_those_of_the_whole(wanted: list[int]) -> None:
    case, network = autoencoder()
    pictures = network.decode(case.outputs["latent_34"], 34, wanted)
    expected = case.outputs["decoded_34"][:, :, wanted]
    torch.testing.assert_close(pictures, expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("index", range(3))
def test_the_timesteps(index: int) -> None:
    """Ours are those of sizes in float32; upstream's launcher rounds them to bfloat16, which is close."""
    case = golden("opensora_rflow_schedule")
    sizes = case.config["lists"][index]
    steps = sizes["num_sampling_steps"]
    schedule = open_sora_schedule(sizes["height"], sizes["width"], sizes["num_frames"])
    case.check(f"{sizes['key']}_float32", schedule.timesteps(steps))
    case.check(f"{sizes['key']}_no_transform", FlowSchedule().timesteps(steps))
    rounded = case.outputs[f"{sizes['key']}_bfloat16"]
    assert (schedule.timesteps(steps) - rounded).abs().max() < 1.5


def test_noising_and_the_loss_in_training() -> None:
    case = golden("opensora_rflow_schedule")
    sizes = case.config["transform_of"]
    schedule = open_sora_schedule(sizes["height"], sizes["width"], sizes["num_frames"])
    clean, noise = case.inputs["add_noise_x0"], case.inputs["add_noise_noise"]
    case.check("add_noise_out", schedule.noised(clean, noise, case.inputs["add_noise_t"]))
    target = schedule.target(clean, noise, case.inputs["add_noise_t"])
    velocity = case.inputs["model_output"].chunk(2, dim=1)[0]
    case.check("training_loss", (velocity - target).square().flatten(1).mean(1))
    # what the transform makes of a timestep is what the shift makes of it
    given = case.inputs["transform_in"] / 1000
    case.check("transform_out", 1000 * schedule.shift * given / (1 + (schedule.shift - 1) * given))


def euler(case: Golden, matrix: Tensor, velocity_of_text: float) -> tuple[Sampler, list[Tensor]]:
    """Return the sampler of ``case`` with its toy denoiser, and the timesteps that this is given."""
    sizes = case.config["conditioning"]
    seen = []

    def denoise(latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        seen.append(timesteps[: len(timesteps) // 2])
        mixed = torch.einsum("dc,bc...->bd...", matrix, latents)
        shift = case.inputs["bias"] * timesteps[:, None] / 1000 + velocity_of_text * encoded.mean(1)
        return mixed + shift[:, :, None, None, None]

    schedule = open_sora_schedule(int(sizes["height"]), int(sizes["width"]), int(sizes["num_frames"]))
    steps, guidance = case.config["num_sampling_steps"], case.config["cfg_scale"]
    return Sampler(denoise, schedule, steps, 0.0, guidance), seen


@pytest.mark.parametrize("name", ["plain", "mask_ones"])
def test_a_whole_run(name: str) -> None:
    case = golden(f"opensora_rflow_euler_{name}")
    sampler, seen = euler(case, case.inputs["W"], 0.2)
    text, blank = case.inputs["y"][:, 0], case.inputs["y_null"][:, 0]
    case.check("z_out", sampler.plain(case.inputs["z"], text, blank))
    case.check("timesteps", torch.stack(seen))


@pytest.mark.parametrize("last", [1, 2, 5])
def test_the_gradient_of_the_last_steps(last: int) -> None:
    case = golden("truncated_rflow_0")
    assert last in case.config["K"]
    a, b = case.inputs["lora_A"].requires_grad_(), case.inputs["lora_B"].requires_grad_()
    text, blank = case.inputs["y"][:, 0], case.inputs["y_null"][:, 0]
    start = case.inputs["z"]
    sampler, _ = euler(case, case.inputs["base"] + b @ a, 1.0)
    clean = sampler.truncated(start, text, blank, unused, last=last)
    reward = -(clean - case.inputs["target"]).square().mean()
    (-reward).backward()
    case.check("x_0", clean)
    case.check("reward", reward)
    assert a.grad is not None
    assert b.grad is not None
    case.check(f"K{last}/grad_lora_A", a.grad)
    case.check(f"K{last}/grad_lora_B", b.grad)


def unused() -> Tensor:
    raise AssertionError("a sampler with eta 0 draws no noise")
