"""Wan's causal video autoencoder, diffusers' ``AutoencoderKLWan``, at pocket size.

It has the latents of the pocket autoencoder: its encoder is taught to give them, its decoder to read them.
That takes fewer steps than an autoencoder from nothing does, and the denoiser can be trained meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan, WanCausalConv3d, patchify
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import conv2d, l1_loss, mse_loss

from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.vae import to_pictures
from vader_bench.seeding import numpy_stream

__all__ = [
    "build",
    "normalised",
    "psnr",
    "reconstructed",
    "teach_decoder",
    "teach_encoder",
    "to_clips",
    "train_together",
]

_PATCH = 2
"""Pixels to a side that enter as one, as in Wan 2.2's autoencoder: no layer works at full resolution."""
_TAUGHT, _FRAMES = 24, 16
"""Batch sizes: of the encoder alone, and where pictures are decoded."""
_SPREAD_WEIGHT = 1e-3
"""Of the error in log variances, which hardly anything reads."""
_STAY_WEIGHT = 0.05
"""Of the distance from the teacher's latents, where pictures decide too."""


def build(teacher: AutoencoderKL, latents: Tensor) -> AutoencoderKLWan:
    """Return an untrained autoencoder for clips of 64 x 64 pictures with the latents of ``teacher``.

    Frames stay apart in time: eight are too few to be four or less. So diffusers' streaming, which feeds the
    first frame alone and then four at a time, and one pass over the whole clip give the same numbers.

    Args:
        teacher: the autoencoder of frames.
        latents: its scaled ones of many clips [N, C, F, h, w]; mean and spread of each channel are kept
            in the configuration.
    """
    some = latents[:: max(1, len(latents) // 1024)].float() / teacher.config["scaling_factor"]
    spread, middle = torch.std_mean(some, dim=(0, 2, 3, 4))
    with torch.random.fork_rng():
        torch.manual_seed(ROOT_SEED)
        model = AutoencoderKLWan(
            base_dim=3 * _PATCH**2,
            z_dim=latents.shape[1],
            dim_mult=[1, 2, 4],
            num_res_blocks=1,
            attn_scales=[],
            temperal_downsample=[False, False],
            latents_mean=[round(value, 4) for value in middle.tolist()],
            latents_std=[round(value, 4) for value in spread.tolist()],
            in_channels=3 * _PATCH**2,
            out_channels=3 * _PATCH**2,
            patch_size=_PATCH,
            scale_factor_temporal=1,
            scale_factor_spatial=8,
        )
    _look_at_no_past(model)
    return model


@torch.no_grad()
def _look_at_no_past(model: AutoencoderKLWan) -> None:
    """Let convolutions over time start with the frame itself alone, which is all that single frames teach."""
    for layer in model.modules():
        if isinstance(layer, WanCausalConv3d):
            layer.weight[:, :, :-1] = 0


def to_clips(frames: NDArray[np.uint8]) -> Tensor:
    """Return clips [N, 3, F, H, W] in [-1, 1] from bytes [N, F, H, W, 3]."""
    return torch.from_numpy(frames.astype(np.float32)).permute(0, 4, 1, 2, 3) / 127.5 - 1


def teach_encoder(
    model: AutoencoderKLWan, teacher: AutoencoderKL, clips: NDArray[np.uint8], folder: Path, steps: int
) -> None:
    """Train the encoder to give what that of ``teacher`` gives for frames of ``clips`` [N, F, H, W, 3]."""
    encoder = nn.ModuleList([model.encoder, model.quant_conv])
    scale = float(teacher.config["scaling_factor"])

    def loss(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, "wan-vae-encoder", step)
        which = rng.integers(len(clips), size=_TAUGHT), rng.integers(clips.shape[1], size=_TAUGHT)
        pictures = to_pictures(clips[which])
        with torch.no_grad():
            wanted = teacher.encode(pictures).latent_dist
        given = _posterior(model, pictures[:, :, None])
        error = scale**2 * mse_loss(given.mean.squeeze(2), wanted.mean)
        return error + _SPREAD_WEIGHT * mse_loss(given.logvar.squeeze(2), wanted.logvar)

    with _single_frames(model):
        fit(
            "wan-vae-encoder", encoder, loss, folder,
            steps=steps, learning_rate=3e-3, weight_decay=0.0, ema=0.995,
        )  # fmt: skip


def teach_decoder(
    model: AutoencoderKLWan, latents: Tensor, clips: NDArray[np.uint8], folder: Path, steps: int
) -> None:
    """Train the decoder on single frames.

    Args:
        model: has its decoder trained in place.
        latents: normalised [N, C, F, h, w]; see ``normalised``.
        clips: what they are to be decoded to [N, F, H, W, 3].
        folder: where checkpoints are kept.
        steps: how many.
    """
    decoder = nn.ModuleList([model.post_quant_conv, model.decoder])

    def loss(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, "wan-vae-frames", step)
        which = rng.integers(len(clips), size=_FRAMES), rng.integers(clips.shape[1], size=_FRAMES)
        given = latents[torch.from_numpy(which[0]), :, torch.from_numpy(which[1])].float()
        return _error(model, _plain(model, given[:, :, None]), to_clips(clips[which][:, None]))

    with _single_frames(model):
        _learn("wan-vae-frames", decoder, loss, folder, steps, 3e-3)


def train_together(
    model: AutoencoderKLWan, teacher: AutoencoderKL, clips: NDArray[np.uint8], folder: Path, steps: int
) -> None:
    """Train encoder and decoder on each other, on single frames.

    The encoder alone leaves out what the decoder needs. It still has to stay with the latents of ``teacher``,
    which are what the denoiser learns. There is no phase on whole clips: the weights for earlier frames,
    which begin at zero, first broke there what single frames had taught, and 500 steps did not repair it.

    Args:
        model: is trained in place.
        teacher: gives the latents.
        clips: [N, F, H, W, 3].
        folder: where checkpoints are kept.
        steps: how many.
    """
    scale = float(teacher.config["scaling_factor"])

    def loss(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, "wan-vae-together", step)
        which = rng.integers(len(clips), size=_FRAMES), rng.integers(clips.shape[1], size=_FRAMES)
        wanted = to_clips(clips[which][:, None])
        with torch.no_grad():
            known = teacher.encode(wanted.squeeze(2)).latent_dist.mean
        given = _posterior(model, wanted).mean
        apart = mse_loss(given.squeeze(2), known)
        return _error(model, given, wanted) + _STAY_WEIGHT * scale**2 * apart

    with _single_frames(model):
        _learn("wan-vae-together", model, loss, folder, steps, 2e-3)


def _learn(
    stage: str, module: nn.Module, loss: Callable[[int], Tensor], folder: Path, steps: int, rate: float
) -> None:
    fit(stage, module, loss, folder, steps=steps, learning_rate=rate, weight_decay=0.0, ema=0.995)


def _error(model: AutoencoderKLWan, latents: Tensor, clips: Tensor) -> Tensor:
    given, wanted = _decoded(model, latents), patchify(clips, _PATCH)
    error: Tensor = mse_loss(given, wanted) + 0.05 * l1_loss(given, wanted)
    return error


@contextmanager
def _single_frames(model: AutoencoderKLWan) -> Iterator[None]:
    """Skip what convolutions over time make of frames before the first, which are zero: a third remains."""
    layers = [layer for layer in model.modules() if isinstance(layer, WanCausalConv3d)]
    for layer in layers:
        layer.forward = partial(_of_first_frame, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _of_first_frame(layer: WanCausalConv3d, frame: Tensor) -> Tensor:
    """Return ``layer`` of a clip of one frame [B, C, 1, h, w]."""
    sides = [size // 2 for size in layer.kernel_size[1:]]
    found = conv2d(frame.squeeze(2), layer.weight[:, :, -1], layer.bias, padding=sides)
    return found.unsqueeze(2)


def _posterior(model: AutoencoderKLWan, clips: Tensor) -> DiagonalGaussianDistribution:
    return DiagonalGaussianDistribution(model.quant_conv(model.encoder(patchify(clips, _PATCH))))


def _decoded(model: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """Return the patches [N, 12, F, H/2, W/2] of the pictures, not yet clamped to their range."""
    decoded: Tensor = model.decoder(model.post_quant_conv(latents))
    return decoded


def normalised(model: AutoencoderKLWan, latents: Tensor, scale: float) -> Tensor:
    """Return ``latents`` [N, C, F, h, w], which are scaled by ``scale``, as Wan's denoiser takes them."""
    mean, std = _statistics(model)
    return torch.cat([((part / scale - mean) / std).half() for part in latents.float().split(1024)])


def _plain(model: AutoencoderKLWan, latents: Tensor) -> Tensor:
    mean, std = _statistics(model)
    return latents * std + mean


def _statistics(model: AutoencoderKLWan) -> tuple[Tensor, Tensor]:
    """Return mean and spread of each channel of the latents [1, C, 1, 1, 1]."""
    mean, std = (
        torch.tensor(model.config[name]).reshape(1, -1, 1, 1, 1) for name in ("latents_mean", "latents_std")
    )
    return mean, std


@torch.no_grad()
def reconstructed(model: AutoencoderKLWan, clips: NDArray[np.uint8]) -> Tensor:
    """Return ``clips`` [N, F, H, W, 3] encoded and decoded: [N, 3, F, H, W] in [-1, 1]."""
    decoded: Tensor = model.decode(_posterior(model, to_clips(clips)).mean, return_dict=False)[0]
    return decoded


def psnr(model: AutoencoderKLWan, clips: NDArray[np.uint8]) -> float:
    """Return the mean peak signal-to-noise ratio in dB of decoded over true frames."""
    values = []
    for clip in clips:
        error = (
            ((reconstructed(model, clip[None]) - to_clips(clip[None])) / 2).square().mean(dim=(0, 1, 3, 4))
        )
        values.append((-10 * error.log10()).mean().item())
    return float(np.mean(values))
