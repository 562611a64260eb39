"""The video autoencoder of the image-to-video model: the pocket latents, decoded over time.

diffusers' ``AutoencoderKLTemporalDecoder`` normalises in 32 groups whatever its widths are, so that the
weights of the pocket autoencoder do not fit it. Its encoder is therefore taught to give the latents that
the pocket autoencoder gives, and its decoder to read them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.vae import to_pictures
from vader_bench.seeding import numpy_stream, torch_stream

__all__ = ["agreement", "build", "psnr", "teach_decoder", "teach_encoder"]

_WIDTHS = (32, 32, 64, 64)
"""Channels from 64 x 64 pixels down to 8 x 8; 32 is the least that 32 groups allow."""
_TAUGHT = 24
_FRAMES = 8
_CLIPS = 2
"""Batch sizes."""
_NOISE = 0.1
"""Most noise on a picture that the encoder must be able to read, whose values go from -1 to 1."""
_SPREAD_WEIGHT = 1e-3
"""Of the error in log variances, which hardly anything reads."""


def build(teacher: AutoencoderKL) -> AutoencoderKLTemporalDecoder:
    """Return an autoencoder for the latents of ``teacher``, whose weights it has where they fit."""
    with torch.random.fork_rng():
        torch.manual_seed(ROOT_SEED)
        model = AutoencoderKLTemporalDecoder(
            down_block_types=("DownEncoderBlock2D",) * len(_WIDTHS),
            block_out_channels=_WIDTHS,
            layers_per_block=1,
            latent_channels=teacher.config["latent_channels"],
            sample_size=teacher.config["sample_size"],
            scaling_factor=teacher.config["scaling_factor"],
        )
    _still(model.decoder)
    _take(model.encoder, teacher.encoder.state_dict())
    _take(model.quant_conv, teacher.quant_conv.state_dict())
    decoder = {
        re.sub(r"(resnets\.\d+)", r"\1.spatial_res_block", name): weight
        for name, weight in teacher.decoder.state_dict().items()
    }
    _take(model.decoder, decoder | _joined(teacher.post_quant_conv, teacher.decoder.conv_in))
    return model


@torch.no_grad()
def _still(decoder: nn.Module) -> None:
    """Let convolutions over time start with the middle frame alone: a picture is a clip of one frame."""
    for name, weight in decoder.named_parameters():
        if weight.ndim == 5:
            weight[:, :, [0, 2]] = 0
        if name == "time_conv_out.weight":
            weight[:, :, 1, 0, 0] = torch.eye(len(weight))
        elif name == "time_conv_out.bias":
            weight.zero_()


@torch.no_grad()
def _take(module: nn.Module, given: dict[str, Tensor]) -> None:
    """Copy the weights among ``given`` that ``module`` has by the same name in the same shape."""
    for name, weight in module.state_dict().items():
        if name in given and given[name].shape == weight.shape:
            weight.copy_(given[name])


@torch.no_grad()
def _joined(first: nn.Conv2d, second: nn.Conv2d) -> dict[str, Tensor]:
    """Return a ``conv_in`` that does what ``first``, which is 1 x 1, and ``second`` do, but at the edges."""
    assert first.bias is not None
    assert second.bias is not None
    weight = torch.einsum("omhw,mi->oihw", second.weight, first.weight[:, :, 0, 0])
    bias = second.bias + second.weight.sum(dim=(2, 3)) @ first.bias
    return {"conv_in.weight": weight, "conv_in.bias": bias}


def teach_encoder(
    model: AutoencoderKLTemporalDecoder,
    teacher: AutoencoderKL,
    clips: NDArray[np.uint8],
    folder: Path,
    steps: int,
) -> None:
    """Train the encoder to give what that of ``teacher`` gives for frames of ``clips`` [N, F, H, W, 3].

    Half of the pictures are noisy, as those are that condition the denoiser.
    """
    encoder = nn.ModuleList([model.encoder, model.quant_conv]).requires_grad_(True)
    scale = float(teacher.config["scaling_factor"])

    def loss(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, "temporal-vae-encoder", step)
        pictures = _frames(clips, rng, _TAUGHT)
        noise = torch.randn(pictures.shape, generator=torch_stream(ROOT_SEED, "picture noise", step))
        strength = torch.from_numpy(rng.uniform(0, _NOISE, _TAUGHT).astype(np.float32))
        strength[::2] = 0
        pictures = pictures + strength[:, None, None, None] * noise
        with torch.no_grad():
            wanted = teacher.encode(pictures).latent_dist
        given = model.encode(pictures).latent_dist
        error = scale**2 * mse_loss(given.mean, wanted.mean)
        return error + _SPREAD_WEIGHT * mse_loss(given.logvar, wanted.logvar)

    fit(
        "temporal-vae-encoder", encoder, loss, folder,
        steps=steps, learning_rate=2e-3, weight_decay=0.0, ema=0.99,
    )  # fmt: skip


def teach_decoder(
    model: AutoencoderKLTemporalDecoder,
    teacher: AutoencoderKL,
    clips: NDArray[np.uint8],
    folder: Path,
    steps: tuple[int, int],
) -> None:
    """Train the decoder on latents of ``teacher``, first of single frames, then of whole clips.

    Args:
        model: has its decoder trained in place.
        teacher: gives the latents.
        clips: [N, F, H, W, 3].
        folder: where checkpoints are kept.
        steps: on frames, and on clips.
    """

    def error(pictures: Tensor, frames: int) -> Tensor:
        with torch.no_grad():
            latents = teacher.encode(pictures).latent_dist.mean
        decoded = model.decode(latents, num_frames=frames).sample
        return mse_loss(decoded, pictures) + 0.05 * l1_loss(decoded, pictures)

    def of_frames(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, "temporal-vae-frames", step)
        return error(_frames(clips, rng, _FRAMES), 1)

    def of_clips(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, "temporal-vae-clips", step)
        whole = clips[rng.integers(len(clips), size=_CLIPS)]
        return error(to_pictures(whole.reshape(-1, *whole.shape[2:])), whole.shape[1])

    decoder = model.decoder.requires_grad_(True)
    for stage, loss, count, rate in (
        ("temporal-vae-frames", of_frames, steps[0], 2e-3),
        ("temporal-vae-clips", of_clips, steps[1], 1e-3),
    ):
        fit(stage, decoder, loss, folder, steps=count, learning_rate=rate, weight_decay=0.0, ema=0.995)


def _frames(clips: NDArray[np.uint8], rng: np.random.Generator, count: int) -> Tensor:
    """Return random pictures [count, 3, H, W] in [-1, 1] of ``clips`` [N, F, H, W, 3]."""
    return to_pictures(clips[rng.integers(len(clips), size=count), rng.integers(clips.shape[1], size=count)])


@torch.no_grad()
def agreement(model: AutoencoderKLTemporalDecoder, teacher: AutoencoderKL, clips: NDArray[np.uint8]) -> float:
    """Return the share of the variance of ``teacher``'s latents of ``clips`` that ``model``'s give.

    Variance is that within each channel.
    """
    pairs = [
        (model.encode(pictures).latent_dist.mean, teacher.encode(pictures).latent_dist.mean)
        for pictures in map(to_pictures, clips)
    ]
    given, wanted = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    spread = (wanted - wanted.mean(dim=(0, 2, 3), keepdim=True)).square().mean()
    return 1 - float(mse_loss(given, wanted) / spread)


@torch.no_grad()
def psnr(model: AutoencoderKLTemporalDecoder, clips: NDArray[np.uint8]) -> float:
    """Return the mean peak signal-to-noise ratio in dB of decoded over true frames of whole ``clips``."""
    values = []
    for pictures in map(to_pictures, clips):
        latents = model.encode(pictures).latent_dist.mean
        decoded = model.decode(latents, num_frames=len(pictures)).sample.clamp(-1, 1)
        error = ((decoded - pictures) / 2).square().mean(dim=(1, 2, 3))
        values.append((-10 * error.log10()).mean().item())
    return float(np.mean(values))
