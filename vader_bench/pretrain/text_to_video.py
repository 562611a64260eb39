"""Stage 3: the latent text-to-video model in ModelScope's architecture, with its text encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.parallel import own_share
from vader_bench.pretrain.tokenizer import tokenise
from vader_bench.seeding import numpy_stream, torch_stream

__all__ = ["WIDTHS", "TextToVideo", "save", "scheduler", "train"]

WIDTHS = (32, 64)
"""Channels of the denoiser at 8 x 8 and at 4 x 4."""
_PICTURES = 48
_CLIPS = 16
"""Batch sizes."""
_EMPTY_PROMPT_SHARE = 0.1
_TOWARDS_NOISE = 0.65
"""Power that uniform draws of the timestep are raised to; 1 is uniform."""


class TextToVideo(nn.Module):
    """The denoiser and its text encoder, which starts as the text tower of a trained CLIP."""

    def __init__(self, clip: CLIPModel, latent_channels: int) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModel(clip.config.text_config)
        self.text_encoder.text_model.load_state_dict(clip.text_model.state_dict())
        with torch.random.fork_rng():
            torch.manual_seed(ROOT_SEED)
            self.unet = UNet3DConditionModel(
                sample_size=8,
                in_channels=latent_channels,
                out_channels=latent_channels,
                down_block_types=("DownBlock3D", "CrossAttnDownBlock3D"),
                up_block_types=("CrossAttnUpBlock3D", "UpBlock3D"),
                block_out_channels=WIDTHS,
                layers_per_block=1,
                cross_attention_dim=clip.config.text_config.hidden_size,
                attention_head_dim=8,
                norm_num_groups=8,
            )
        # The temporal layers' dropout of 0.1 costs time and, in a model this small, quality.
        for module in self.unet.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Return the prediction [B, C, F, h, w] for token ids [B, L]."""
        states = self.text_encoder(tokens).last_hidden_state
        prediction: Tensor = self.unet(latents, timesteps, states).sample
        return prediction


def scheduler() -> DDIMScheduler:
    """Return the noise schedule: scaled linear as in ModelScope, predicting velocity."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )


def train(
    model: TextToVideo,
    tokenizer: CLIPTokenizer,
    latents: Tensor,
    texts: list[str],
    folder: Path,
    steps: tuple[int, int],
) -> None:
    """Train ``model`` on scaled ``latents`` [N, C, F, h, w] and their captions by velocity prediction.

    As ModelScope's denoiser began as one of pictures, so does this one: single frames cost an eighth and
    teach what words look like. Convolutions over time are left at their start, which changes nothing,
    until whole clips follow.

    Args:
        model: is trained in place.
        tokenizer: reads the captions.
        latents: of the clips.
        texts: N captions.
        folder: where checkpoints are kept.
        steps: on single frames, and on clips.
    """
    data = _Data(latents, tokenise(tokenizer, texts), tokenise(tokenizer, [""]))
    for name, weight in model.unet.named_parameters():
        weight.requires_grad_("temp_convs" not in name)
    loss = data.loss_of(model, "text-to-image", _PICTURES, single=True)
    fit("text-to-image", model, loss, folder, steps=steps[0], learning_rate=2.5e-3, ema=0.998)
    model.requires_grad_(True)
    loss = data.loss_of(model, "text-to-video", _CLIPS, single=False)
    fit("text-to-video", model, loss, folder, steps=steps[1], learning_rate=1.5e-3, ema=0.998)


@dataclass(frozen=True)
class _Data:
    """Clips with their captions, and how a batch of them is drawn and noised."""

    latents: Tensor
    """[N, C, F, h, w]."""
    tokens: Tensor
    """[N, L]."""
    empty: Tensor
    """Of the empty prompt, [1, L]."""

    def loss_of(self, model: TextToVideo, stage: str, batch: int, *, single: bool) -> Callable[[int], Tensor]:
        """Return the loss of each step of ``stage``, on clips or on ``single`` frames of them."""
        noise_schedule = scheduler()

        def loss(step: int) -> Tensor:
            rng = numpy_stream(ROOT_SEED, stage, step)
            which = torch.from_numpy(rng.integers(len(self.latents), size=batch))
            clean = self.latents[which]
            if single:
                frames = torch.from_numpy(rng.integers(clean.shape[2], size=batch))
                clean = clean[torch.arange(batch), :, frames][:, :, None]
            clean = clean.float()
            noise = torch.randn(clean.shape, generator=torch_stream(ROOT_SEED, stage, step))
            timesteps = _draw_timesteps(rng, batch)
            noisy = noise_schedule.add_noise(clean, noise, timesteps)
            target = noise_schedule.get_velocity(clean, noise, timesteps)
            dropped = torch.from_numpy(rng.uniform(size=batch) < _EMPTY_PROMPT_SHARE)[:, None]
            tokens = torch.where(dropped, self.empty, self.tokens[which])
            own = own_share()
            return mse_loss(model(noisy[own], timesteps[own], tokens[own]), target[own])

        return loss


def _draw_timesteps(rng: np.random.Generator, count: int) -> Tensor:
    """Return timesteps [count], one from each stratum, which lowers the variance of the gradient.

    More of them lie where it is noisy, because there it is decided what a video shows.
    """
    strata = (np.arange(count) + rng.uniform(size=count)) / count
    return torch.from_numpy((strata**_TOWARDS_NOISE * 1000).astype(np.int64))


def save(model: TextToVideo, vae: AutoencoderKL, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write the model as a ``TextToVideoSDPipeline`` folder in half precision."""
    vae.register_to_config(_name_or_path="")  # where it lay on this machine is nobody's business
    pipeline = TextToVideoSDPipeline(
        vae=vae,
        text_encoder=model.text_encoder,
        tokenizer=tokenizer,
        unet=model.unet,
        scheduler=scheduler(),
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    pipeline.to(torch.float32)
