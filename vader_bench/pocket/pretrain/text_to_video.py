"""Stage 3: the latent text-to-video model in ModelScope's architecture, with its text encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from vader_bench.pocket.pretrain.clips import ROOT_SEED
from vader_bench.pocket.pretrain.fit import fit
from vader_bench.pocket.pretrain.tokenizer import tokenise
from vader_bench.seeding import numpy_stream, torch_stream

__all__ = ["WIDTHS", "TextToVideo", "save", "scheduler", "train"]

WIDTHS = (32, 64)
"""Channels of the denoiser at 8 x 8 and at 4 x 4."""
_BATCH = 16
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
    steps: int,
) -> None:
    """Train ``model`` on scaled ``latents`` [N, C, F, h, w] and their captions by velocity prediction."""
    noise_schedule = scheduler()
    tokens, empty = tokenise(tokenizer, texts), tokenise(tokenizer, [""])

    def loss(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, "text-to-video", step)
        which = torch.from_numpy(rng.integers(len(latents), size=_BATCH))
        clean = latents[which].float()
        noise = torch.randn(clean.shape, generator=torch_stream(ROOT_SEED, "text-to-video", step))
        # One timestep from each stratum lowers the variance of the gradient. More of them lie where it is
        # noisy, because there it is decided what a video shows.
        strata = (np.arange(_BATCH) + rng.uniform(size=_BATCH)) / _BATCH
        timesteps = torch.from_numpy((strata**_TOWARDS_NOISE * 1000).astype(np.int64))
        noisy = noise_schedule.add_noise(clean, noise, timesteps)
        target = noise_schedule.get_velocity(clean, noise, timesteps)
        dropped = torch.from_numpy(rng.uniform(size=_BATCH) < _EMPTY_PROMPT_SHARE)[:, None]
        return mse_loss(model(noisy, timesteps, torch.where(dropped, empty, tokens[which])), target)

    fit("text-to-video", model, loss, folder, steps=steps, learning_rate=1.5e-3, ema=0.998)


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
