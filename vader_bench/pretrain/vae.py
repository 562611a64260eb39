"""Stage 1: the frame autoencoder, diffusers' ``AutoencoderKL`` at pocket size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from vader_bench.files import write_bytes
from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.fit import fit
from vader_bench.seeding import numpy_stream, torch_stream

__all__ = ["LATENT_CHANNELS", "build", "encoded", "finish_decoder", "psnr", "to_pictures", "train"]

LATENT_CHANNELS = 12
_BATCH = 16
_KL_WEIGHT = 1e-5


def build() -> AutoencoderKL:
    """Return an untrained autoencoder from 64 x 64 pictures to 12 x 8 x 8 latents."""
    with torch.random.fork_rng():
        torch.manual_seed(ROOT_SEED)
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 16, 32, 64),
            layers_per_block=1,
            latent_channels=LATENT_CHANNELS,
            norm_num_groups=4,
            sample_size=64,
            mid_block_add_attention=False,
        )


def to_pictures(frames: NDArray[np.uint8]) -> Tensor:
    """Return pictures [N, 3, H, W] in [-1, 1] from bytes [N, H, W, 3]."""
    return torch.from_numpy(frames.astype(np.float32)).permute(0, 3, 1, 2) / 127.5 - 1


def train(model: AutoencoderKL, clips: NDArray[np.uint8], folder: Path, steps: int) -> None:
    """Train ``model`` on single frames of ``clips`` [N, F, H, W, 3] by squared and absolute error and KL."""
    model.to(memory_format=torch.channels_last)  # a third faster on a CPU

    def loss(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, "vae", step)
        which = rng.integers(len(clips), size=_BATCH), rng.integers(clips.shape[1], size=_BATCH)
        pictures = to_pictures(clips[which])
        posterior = model.encode(pictures).latent_dist
        latents = posterior.sample(generator=torch_stream(ROOT_SEED, "vae", step))
        output = model.decode(latents).sample
        error = mse_loss(output, pictures) + 0.2 * l1_loss(output, pictures)
        total: Tensor = error + _KL_WEIGHT * posterior.kl().mean()
        return total

    fit("vae", model, loss, folder, steps=steps, learning_rate=3e-3, weight_decay=0.0, ema=0.995)
    _whiten(model, clips)


def finish_decoder(model: AutoencoderKL, clips: NDArray[np.uint8], folder: Path, steps: int) -> None:
    """Train the decoder alone on the means of the finished encoder; latents stay as they are."""
    model.encoder.requires_grad_(False)
    model.quant_conv.requires_grad_(False)
    decoder = nn.ModuleList([model.post_quant_conv, model.decoder])

    def loss(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, "vae-decoder", step)
        which = rng.integers(len(clips), size=_BATCH), rng.integers(clips.shape[1], size=_BATCH)
        pictures = to_pictures(clips[which])
        with torch.no_grad():
            latents = model.encode(pictures).latent_dist.mean
        return mse_loss(model.decode(latents).sample, pictures)

    fit("vae-decoder", decoder, loss, folder, steps=steps, learning_rate=2e-3, weight_decay=0.0, ema=0.995)


@torch.no_grad()
def _whiten(model: AutoencoderKL, clips: NDArray[np.uint8]) -> None:
    """Scale latents to unit variance, as ``scaling_factor`` in the configuration."""
    frames = clips[:: max(1, len(clips) // 256), 3][:256]
    spread = model.encode(to_pictures(frames)).latent_dist.mean.std().item()
    model.register_to_config(scaling_factor=round(1 / spread, 4))


@torch.no_grad()
def encoded(model: AutoencoderKL, clips: NDArray[np.uint8], folder: Path) -> Tensor:
    """Return the scaled latents [N, C, F, h, w] of ``clips`` [N, F, H, W, 3] in half precision.

    They are kept in ``folder``.
    """
    path = folder / f"latents-{len(clips)}.safetensors"
    if not path.exists():
        parts = []
        for clip in track(clips, "encoding clips"):
            latents = model.encode(to_pictures(clip)).latent_dist.mean * model.config["scaling_factor"]
            parts.append(latents.permute(1, 0, 2, 3).half())
        write_bytes(path, save({"latents": torch.stack(parts)}))
    return load_file(path)["latents"]


@torch.no_grad()
def psnr(model: AutoencoderKL, clips: NDArray[np.uint8]) -> float:
    """Return the mean peak signal-to-noise ratio in dB of decoded over true frames."""
    values = []
    for clip in clips:
        pictures = to_pictures(clip)
        decoded = model.decode(model.encode(pictures).latent_dist.mean).sample.clamp(-1, 1)
        error = ((decoded - pictures) / 2).square().mean(dim=(1, 2, 3))
        values.append((-10 * error.log10()).mean().item())
    return float(np.mean(values))
