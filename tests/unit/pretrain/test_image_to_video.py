"""The image-to-video model is trained as the backbone runs it, and saved as the backbone reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import (
    StableVideoDiffusionPipeline,
)
from transformers import CLIPModel

from vader_bench.backbones import BACKBONES
from vader_bench.diffusion.edm import EdmSchedule
from vader_bench.pretrain import clip, image_to_video, temporal_vae, vae
from vader_bench.pretrain.tokenizer import make_tokenizer
from vader_bench.seeding import numpy_stream, torch_stream


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> CLIPModel:
    return clip.build(make_tokenizer(tmp_path_factory.mktemp("words") / "tokenizer")).eval()


def test_the_image_encoder_gives_the_embeddings_of_clip(whole: CLIPModel) -> None:
    encoder = image_to_video.image_encoder(whole)
    pictures = torch.randn(2, 3, 64, 64, generator=torch_stream(0, "pictures"))
    with torch.no_grad():
        embeddings = whole.get_image_features(pixel_values=pictures)
    torch.testing.assert_close(encoder(pictures).image_embeds, embeddings)
    assert not any(weight.requires_grad for weight in encoder.parameters())


def test_the_scheduler_is_one_that_the_backbone_takes() -> None:
    schedule = EdmSchedule.from_config(image_to_video.scheduler().config)
    sigmas = schedule.timesteps(10)
    assert (sigmas[-1].item(), sigmas[0].item()) == pytest.approx(image_to_video._SIGMAS)


def test_noise_levels_are_log_normal_one_from_each_stratum() -> None:
    schedule = EdmSchedule(*image_to_video._SIGMAS)
    drawn = image_to_video._draw_sigmas(schedule, numpy_stream(0, "sigmas"), 4000)
    logs = drawn.double().log()
    assert logs.mean().item() == pytest.approx(schedule.log_mean, abs=0.01)
    assert logs.std().item() == pytest.approx(schedule.log_std, abs=0.01)
    assert (drawn.diff() >= 0).all()


def test_no_group_of_the_denoiser_is_a_single_channel() -> None:
    """Else what the noise level adds to a channel is taken away by its normalisation."""
    unet = image_to_video.build(latent_channels=2, embedding=4)
    for part in unet.modules():
        if isinstance(part, torch.nn.GroupNorm):
            assert part.num_channels > part.num_groups
    with torch.no_grad():
        video = torch.randn(1, 2, 4, 8, 8, generator=torch_stream(0, "video"))
        told, state = torch.tensor([[6.0, 127.0, 0.02]]), torch.zeros(1, 1, 4)
        low, high = (unet(video, torch.tensor([level]), state, told).sample for level in (-1.0, 1.0))
    assert (low - high).abs().max() > 1e-3


@pytest.mark.slow
def test_it_is_trained_saved_and_read(whole: CLIPModel, tmp_path: Path) -> None:
    autoencoder, encoder = temporal_vae.build(vae.build()).eval(), image_to_video.image_encoder(whole)
    unet = image_to_video.build(vae.LATENT_CHANNELS, whole.config.projection_dim)
    frozen = autoencoder.encoder.conv_in.weight.clone()
    before = {name: weight.clone() for name, weight in unet.named_parameters()}
    latents = torch.randn(4, vae.LATENT_CHANNELS, 8, 8, 8, generator=torch_stream(0, "latents"))
    pictures = numpy_stream(0, "pictures").integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    image_to_video.train(unet, autoencoder, encoder, latents, pictures, tmp_path, steps=(1, 1))
    still = {name for name, weight in unet.named_parameters() if torch.equal(weight, before[name])}
    # attention to a single token does not depend on what asks
    assert all(".attn2.to_q" in name or ".attn2.to_k" in name or ".norm2" in name for name in still)
    assert torch.equal(autoencoder.encoder.conv_in.weight, frozen)

    folder = tmp_path / "image-to-video"
    image_to_video.save(unet, autoencoder, encoder, folder)
    backbone = BACKBONES.get("svd").load(folder, pictures="pocket", height=64, width=64)
    assert backbone.latent_shape == (vae.LATENT_CHANNELS, 8, 8, 8)
    weight = backbone.denoiser.get_parameter("conv_in.weight")
    torch.testing.assert_close(weight, unet.conv_in.weight.detach(), atol=1e-3, rtol=1e-3)
    pipeline = StableVideoDiffusionPipeline.from_pretrained(folder)
    assert pipeline.scheduler.config.sigma_max == image_to_video._SIGMAS[1]
    assert backbone.encode(["a red cat spinning in the park"]).isfinite().all()
