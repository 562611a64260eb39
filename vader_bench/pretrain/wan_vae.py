"""Wan's causal video autoencoder, diffusers' ``AutoencoderKLWan``, at pocket size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan, WanCausalConv3d, patchify
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.functional import conv2d, l1_loss, mse_loss

from vader_bench.files import write_bytes
from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.fit import fit
from vader_bench.seeding import numpy_stream, torch_stream

__all__ = [
    "LATENT_CHANNELS",
    "build",
    "encoded",
    "finish_decoder",
    "psnr",
    "reconstructed",
    "to_clips",
    "train",
]

LATENT_CHANNELS = 12
_PATCH = 2
"""Pixels to a side that enter as one, as in Wan 2.2's autoencoder: no layer works at full resolution."""
_FRAMES, _CLIPS = 16, 2
"""Batch sizes."""
_KL_WEIGHT = 1e-5
"""For each frame, as in the autoencoder of frames."""


def build() -> AutoencoderKLWan:
    """Return an untrained autoencoder from clips of 64 x 64 pictures to latents of 12 x 8 x 8 a frame.

    Frames stay apart in time: eight are too few to be four or less. So diffusers' streaming, which feeds the
    first frame alone and then four at a time, and one pass over the whole clip give the same numbers.
    """
    with torch.random.fork_rng():
        torch.manual_seed(ROOT_SEED)
        return AutoencoderKLWan(
            base_dim=3 * _PATCH**2,
            z_dim=LATENT_CHANNELS,
            dim_mult=[1, 2, 4],
            num_res_blocks=1,
            attn_scales=[],
            temperal_downsample=[False, False],
            latents_mean=[0.0] * LATENT_CHANNELS,
            latents_std=[1.0] * LATENT_CHANNELS,
            in_channels=3 * _PATCH**2,
            out_channels=3 * _PATCH**2,
            patch_size=_PATCH,
            scale_factor_temporal=1,
            scale_factor_spatial=8,
        )


def to_clips(frames: NDArray[np.uint8]) -> Tensor:
    """Return clips [N, 3, F, H, W] in [-1, 1] from bytes [N, F, H, W, 3]."""
    return torch.from_numpy(frames.astype(np.float32)).permute(0, 4, 1, 2, 3) / 127.5 - 1


def train(model: AutoencoderKLWan, clips: NDArray[np.uint8], folder: Path, steps: tuple[int, int]) -> None:
    """Train ``model`` on ``clips`` [N, F, H, W, 3] by squared and absolute error and KL.

    Args:
        model: is trained in place.
        clips: what it learns to encode.
        folder: where checkpoints are kept.
        steps: on single frames, of which a batch shows many actors, and on whole clips.
    """

    def loss_of(stage: str, batch: int, frames: int) -> Callable[[int], Tensor]:
        def loss(step: int) -> Tensor:
            rng = numpy_stream(ROOT_SEED, stage, step)
            some = clips[rng.integers(len(clips), size=batch)]
            first = int(rng.integers(some.shape[1] - frames + 1))
            return _error(
                model, to_clips(some[:, first : first + frames]), torch_stream(ROOT_SEED, stage, step)
            )

        return loss

    learn = partial(fit, module=model, folder=folder, weight_decay=0.0, ema=0.995)
    with _single_frames(model):
        loss = loss_of("wan-vae-frames", _FRAMES, 1)
        learn("wan-vae-frames", loss=loss, steps=steps[0], learning_rate=3e-3)
    loss = loss_of("wan-vae-clips", _CLIPS, clips.shape[1])
    learn("wan-vae-clips", loss=loss, steps=steps[1], learning_rate=1e-3)
    _whiten(model, clips)


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


def _error(model: AutoencoderKLWan, wanted: Tensor, noise: torch.Generator) -> Tensor:
    posterior = _posterior(model, wanted)
    given, patches = _decoded(model, posterior.sample(generator=noise)), patchify(wanted, _PATCH)
    kl = posterior.kl().mean() / wanted.shape[2]
    error: Tensor = mse_loss(given, patches) + 0.2 * l1_loss(given, patches) + _KL_WEIGHT * kl
    return error


def finish_decoder(model: AutoencoderKLWan, clips: NDArray[np.uint8], folder: Path, steps: int) -> None:
    """Train the decoder alone on the means of the finished encoder; latents stay as they are."""
    model.encoder.requires_grad_(False)
    model.quant_conv.requires_grad_(False)
    decoder = nn.ModuleList([model.post_quant_conv, model.decoder])

    def loss(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, "wan-vae-decoder", step)
        wanted = to_clips(clips[rng.integers(len(clips), size=_CLIPS)])
        with torch.no_grad():
            latents = _posterior(model, wanted).mean
        return mse_loss(_decoded(model, latents), patchify(wanted, _PATCH))

    fit(
        "wan-vae-decoder", decoder, loss, folder, steps=steps, learning_rate=2e-3, weight_decay=0.0, ema=0.995
    )


def _posterior(model: AutoencoderKLWan, clips: Tensor) -> DiagonalGaussianDistribution:
    return DiagonalGaussianDistribution(model.quant_conv(model.encoder(patchify(clips, _PATCH))))


def _decoded(model: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """Return the patches [N, 12, F, H/2, W/2] of the pictures, not yet clamped to their range."""
    decoded: Tensor = model.decoder(model.post_quant_conv(latents))
    return decoded


@torch.no_grad()
def _whiten(model: AutoencoderKLWan, clips: NDArray[np.uint8]) -> None:
    """Store mean and spread of each channel of the latents in the configuration."""
    some = clips[:: max(1, len(clips) // 128)][:128]
    means = torch.cat(
        [_posterior(model, to_clips(part)).mean for part in np.array_split(some, max(1, len(some) // 8))]
    )
    spread, middle = torch.std_mean(means, dim=(0, 2, 3, 4))
    model.register_to_config(
        latents_mean=[round(value, 4) for value in middle.tolist()],
        latents_std=[round(value, 4) for value in spread.tolist()],
    )


@torch.no_grad()
def encoded(model: AutoencoderKLWan, clips: NDArray[np.uint8], folder: Path) -> Tensor:
    """Return the normalised latents [N, C, F, h, w] of ``clips`` [N, F, H, W, 3] in half precision.

    They are kept in ``folder``.
    """
    path = folder / f"wan-latents-{len(clips)}.safetensors"
    if not path.exists():
        mean, std = (
            torch.tensor(model.config[name]).reshape(1, -1, 1, 1, 1)
            for name in ("latents_mean", "latents_std")
        )
        parts = [
            ((_posterior(model, to_clips(part)).mean - mean) / std).half()
            for part in track(np.array_split(clips, max(1, len(clips) // 8)), "encoding clips")
        ]
        write_bytes(path, save({"latents": torch.cat(parts)}))
    return load_file(path)["latents"]


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
