"""The latent image-to-video model in Stable Video Diffusion's architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import (
    StableVideoDiffusionPipeline,
)
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import mse_loss
from transformers import CLIPImageProcessor, CLIPModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from vader_bench.backbones.pictures import POCKET, picture_source
from vader_bench.backbones.svd import Svd, SvdNetworks, SvdSettings
from vader_bench.diffusion.edm import EdmSchedule
from vader_bench.pocket.world import FRAMES, SIZE
from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.parallel import own_share
from vader_bench.pretrain.pictures import IMAGE_MEAN, IMAGE_STD
from vader_bench.rewards.preprocess import Preprocess
from vader_bench.seeding import numpy_stream, torch_stream

__all__ = ["WIDTHS", "build", "image_encoder", "save", "scheduler", "train"]

WIDTHS = (64, 96)
"""Channels of the denoiser at 8 x 8 and at 4 x 4. With 32, each of diffusers' 32 groups would be one channel,
and normalising it would take away all that the noise level adds."""
_BATCH = 8
_NO_PICTURE_SHARE = 0.1
_STRENGTHS = (0.0, 0.02, 0.05, 0.1)
"""Noise on the picture while training; what a user may ask for."""
_SIGMAS = (0.35, 40.0)
"""Noise levels of the last and the first step of sampling. Given the picture, little is left to see beyond;
and what the network says at the last step, which may be all that VADER's gradient reaches, counts by its
noise level, here about that of the text-to-video model's last step."""


def build(latent_channels: int, embedding: int) -> UNetSpatioTemporalConditionModel:
    """Return an untrained denoiser of ``latent_channels`` that reads a picture's ``embedding``."""
    with torch.random.fork_rng():
        torch.manual_seed(ROOT_SEED)
        return UNetSpatioTemporalConditionModel(
            sample_size=8,
            in_channels=2 * latent_channels,
            out_channels=latent_channels,
            block_out_channels=WIDTHS,
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
            layers_per_block=1,
            num_attention_heads=(4, 6),
            addition_time_embed_dim=32,
            projection_class_embeddings_input_dim=96,
            cross_attention_dim=embedding,
            num_frames=FRAMES,
        )


def image_encoder(clip: CLIPModel) -> CLIPVisionModelWithProjection:
    """Return the vision tower of ``clip`` with its projection, frozen."""
    config = CLIPVisionConfig.from_dict(
        clip.config.vision_config.to_dict() | {"projection_dim": clip.config.projection_dim}
    )
    model = CLIPVisionModelWithProjection(config)
    model.vision_model.load_state_dict(clip.vision_model.state_dict())
    model.visual_projection.load_state_dict(clip.visual_projection.state_dict())
    return model.requires_grad_(False).eval()


def scheduler() -> EulerDiscreteScheduler:
    """Return Stable Video Diffusion's sampler settings, for a narrower range of noise."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        use_karras_sigmas=True,
        timestep_spacing="leading",
        timestep_type="continuous",
        sigma_min=_SIGMAS[0],
        sigma_max=_SIGMAS[1],
        steps_offset=1,
    )


def train(
    unet: UNetSpatioTemporalConditionModel,
    vae: AutoencoderKLTemporalDecoder,
    encoder: CLIPVisionModelWithProjection,
    latents: Tensor,
    pictures: NDArray[np.uint8],
    folder: Path,
    steps: tuple[int, int],
) -> None:
    """Train ``unet`` as the backbone will use it, on scaled ``latents`` [N, C, F, h, w].

    Args:
        unet: is trained in place.
        vae: has a finished encoder, which the first pictures go through.
        encoder: gives their embeddings.
        latents: of the clips.
        pictures: their first frames [N, H, W, 3].
        folder: where checkpoints are kept.
        steps: of a first round, and of a second one with less noise in its steps.
    """
    models = _backbones(SvdNetworks(unet, vae, encoder, Preprocess(SIZE, IMAGE_MEAN, IMAGE_STD)), latents)
    unet.requires_grad_(True).train()
    for stage, count, rate in zip(("image-to-video", "image-to-video-2"), steps, (1.2e-3, 8e-4), strict=True):
        loss = _loss_of(models, latents, pictures, stage)
        fit(stage, unet, loss, folder, steps=count, learning_rate=rate, ema=0.998)
    unet.eval()


def _backbones(networks: SvdNetworks, latents: Tensor) -> list[Svd]:
    """Return one model for each strength of the noise on pictures, which share their networks."""
    channels, frames, height, width = latents.shape[1:]
    return [
        Svd(
            networks,
            EdmSchedule(*_SIGMAS),
            (channels, frames, height, width),
            SvdSettings(pictures=POCKET, height=SIZE, width=SIZE, noise_aug_strength=strength),
            picture_source(POCKET, SIZE, SIZE),
        )
        for strength in _STRENGTHS
    ]


def _loss_of(
    models: list[Svd], latents: Tensor, pictures: NDArray[np.uint8], stage: str
) -> Callable[[int], Tensor]:
    """Return the loss of each step of ``stage``: the error of EDM's target at log-normal noise levels."""
    schedule = EdmSchedule(*_SIGMAS)

    def loss(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, stage, step)
        which = rng.integers(len(latents), size=_BATCH)[own_share()]
        model = models[rng.integers(len(models))]
        sigmas = _draw_sigmas(schedule, rng, _BATCH)[own_share()]
        dropped = torch.from_numpy(rng.uniform(size=_BATCH) < _NO_PICTURE_SHARE)[own_share()]
        clean = latents[torch.from_numpy(which)].float()
        names = [f"{step}/{clip}" for clip in which]
        seen = torch.from_numpy(pictures[which].astype(np.float32) / 255).permute(0, 3, 1, 2)
        encoded = model.encode_pictures(seen, names, names).masked_fill(dropped[:, None, None], 0)
        noise = torch.cat(
            [torch.randn((1, *clean.shape[1:]), generator=torch_stream(ROOT_SEED, name)) for name in names]
        )
        noisy = schedule.noised(clean, noise, sigmas)
        return mse_loss(model.denoise(noisy, sigmas, encoded), schedule.target(clean, noise, sigmas))

    return loss


def _draw_sigmas(schedule: EdmSchedule, rng: np.random.Generator, count: int) -> Tensor:
    """Return log-normal sigmas [count], one from each stratum, which lowers the variance of the gradient."""
    strata = torch.from_numpy((np.arange(count) + rng.uniform(size=count)) / count)
    sigmas: Tensor = (schedule.log_mean + schedule.log_std * torch.special.ndtri(strata)).exp()
    return sigmas.float()


def save(
    unet: UNetSpatioTemporalConditionModel,
    vae: AutoencoderKLTemporalDecoder,
    encoder: CLIPVisionModelWithProjection,
    folder: Path,
) -> None:
    """Write the model as a ``StableVideoDiffusionPipeline`` folder in half precision."""
    vae.register_to_config(_name_or_path="")  # where it lay on this machine is nobody's business
    size = {"height": SIZE, "width": SIZE}
    pipeline = StableVideoDiffusionPipeline(
        vae=vae,
        image_encoder=encoder,
        unet=unet,
        scheduler=scheduler(),
        feature_extractor=CLIPImageProcessor(
            size=size, crop_size=size, image_mean=list(IMAGE_MEAN), image_std=list(IMAGE_STD)
        ),
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    pipeline.to(torch.float32)
