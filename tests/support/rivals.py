"""What the benchmark compares with: model and ways of 0.1.0, and trl's trainers over our backbones."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel
from trl.models.modeling_sd_base import DDPOPipelineOutput
from trl.trainer.alignprop_config import AlignPropConfig
from trl.trainer.alignprop_trainer import AlignPropTrainer
from trl.trainer.ddpo_config import DDPOConfig
from trl.trainer.ddpo_trainer import DDPOTrainer

from tests.support.stock_ddpo import Log, VideoPipeline
from vader_bench.backbones.base import Backbone
from vader_bench.backbones.modelscope import ModelScope
from vader_bench.diffusion.lora import Lora
from vader_bench.diffusion.sampler import Sampler, draw_noise
from vader_bench.diffusion.schedule import NoiseSchedule
from vader_bench.seeding import torch_stream

__all__ = ["AlignProp", "Ddpo", "in_0_1_0", "model_of_0_1_0", "smaller_heads"]

_UNET: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": 12,
    "out_channels": 12,
    "block_out_channels": (32, 64),
    "down_block_types": ("DownBlock3D", "CrossAttnDownBlock3D"),
    "up_block_types": ("CrossAttnUpBlock3D", "UpBlock3D"),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 8,
    "cross_attention_dim": 64,
}
_VAE: dict[str, Any] = {
    "block_out_channels": (8, 16, 32, 64),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "latent_channels": 12,
    "mid_block_add_attention": False,
    "sample_size": 64,
}
_SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}
Score = Callable[[Tensor, Sequence[str]], Tensor]
"""Scores [B] of clean latents [B, C, F, h, w] and their prompts."""


class _OldModel(ModelScope):
    """Text is not encoded: no tokenizer is kept, and a text took next to no time."""

    def encode(self, prompts: Sequence[str]) -> Tensor:
        return torch.zeros(len(prompts), *self.text_shape)


def model_of_0_1_0(**unet: Any) -> Backbone:
    """Return the pocket model of 0.1.0 with random weights, or with other sizes of its ``unet``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text = CLIPTextConfig(
            vocab_size=651,
            hidden_size=64,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=24,
        )
        return _OldModel(
            UNet3DConditionModel(**(_UNET | unet)),
            AutoencoderKL(**_VAE),
            CLIPTextModel(text),
            None,
            NoiseSchedule.from_config(_SCHEDULE, "0.1.0"),
            (12, 8, 8, 8),
        )


def smaller_heads() -> Backbone:
    """Return a model with heads of half as many channels, which is what the shipped one is to become."""
    return model_of_0_1_0(attention_head_dim=4).to("cpu")


@contextmanager
def in_0_1_0() -> Iterator[None]:
    """Make inside what is made as 0.1.0 did: adapters stay apart from the weights where nothing trains."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lora, "merged", lambda _: nullcontext())
        yield


def _pipeline(kind: type[VideoPipeline], backbone: Backbone, steps: int, rank: int) -> VideoPipeline:
    lora = Lora(backbone.denoiser, backbone.lora_targets, rank, torch_stream(0, "lora"))
    stream = torch_stream(0, "noise")

    def noise(videos: int) -> Callable[[], Tensor]:
        return lambda: draw_noise((videos, *backbone.latent_shape), stream, "cpu")

    sampler = Sampler(backbone.denoise, backbone.schedule, steps, 1.0, 1.0)
    return kind(backbone, sampler, lora.parameters(), noise, "cpu")


class Ddpo:
    """trl's ``DDPOTrainer``; a step samples ``videos`` at once and updates once on all of them."""

    def __init__(
        self, backbone: Backbone, prompts: Iterator[str], score: Score, steps: int, videos: int
    ) -> None:
        config = DDPOConfig(
            mixed_precision="no",
            allow_tf32=False,
            accelerator_kwargs={"cpu": True},
            log_with=[Log()],
            sample_num_steps=steps,
            sample_guidance_scale=1.0,
            sample_batch_size=videos,
            sample_num_batches_per_epoch=1,
            train_batch_size=videos,
            train_gradient_accumulation_steps=1,
            train_cfg=False,
            per_prompt_stat_tracking=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self._trainer = DDPOTrainer(
                config,
                lambda latents, texts, _: (score(latents, texts), {}),
                lambda: (next(prompts), {}),
                _pipeline(VideoPipeline, backbone, steps, 16),
                image_samples_hook=lambda *_: None,
            )

    def step(self) -> None:
        """Sample, judge and update."""
        self._trainer.step(0, 0)


class _WithGradient(VideoPipeline):
    """What ``AlignPropTrainer`` asks for: pictures with a graph through the last step."""

    def rgb_with_grad(self, *, prompt_embeds: Tensor, **_: object) -> DDPOPipelineOutput:
        """As trl's ``pipeline_step_with_grad``: every step has a graph, which all but the last let go of."""
        sampler, noise = self._sampler, self._noise(len(prompt_embeds))
        latents = noise()
        for index, (now, following) in enumerate(sampler.ladder(latents)):
            prediction = sampler.denoise(latents, now, prompt_embeds)
            if index < sampler.steps - 1:
                prediction = prediction.detach()
            mean, std = sampler.schedule.transition(prediction, latents, now, following, sampler.eta)
            latents = mean + std * noise()
        return DDPOPipelineOutput(latents, [], [])


class AlignProp:
    """trl's ``AlignPropTrainer`` with gradient through the last step; a step trains on ``videos``."""

    def __init__(
        self, backbone: Backbone, prompts: Iterator[str], score: Score, steps: int, videos: int
    ) -> None:
        config = AlignPropConfig(
            mixed_precision="no",
            allow_tf32=False,
            accelerator_kwargs={"cpu": True},
            log_with=[Log()],
            sample_num_steps=steps,
            sample_guidance_scale=1.0,
            train_batch_size=videos,
            train_gradient_accumulation_steps=1,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            self._trainer = AlignPropTrainer(
                config,
                lambda latents, texts, _: (score(latents, texts), {}),
                lambda: (next(prompts), {}),
                _pipeline(_WithGradient, backbone, steps, 16),
                image_samples_hook=lambda *_: None,
            )

    def step(self) -> None:
        """Sample, judge and update."""
        self._trainer.step(0, 1)  # a later epoch would be saved
