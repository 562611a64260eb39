"""The video autoencoder begins as the pocket autoencoder where it can, and learns from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from numpy.typing import NDArray
from torch import nn

from vader_bench.pretrain import temporal_vae, vae
from vader_bench.seeding import numpy_stream, torch_stream


@pytest.fixture(scope="module")
def teacher() -> AutoencoderKL:
    return vae.build().eval()


@pytest.fixture
def model(teacher: AutoencoderKL) -> AutoencoderKLTemporalDecoder:
    return temporal_vae.build(teacher)


@pytest.fixture(scope="module")
def clips() -> NDArray[np.uint8]:
    return numpy_stream(0, "clips").integers(0, 256, (2, 3, 64, 64, 3), dtype=np.uint8)


def test_it_has_the_latents_and_the_fitting_weights_of_its_teacher(
    model: AutoencoderKLTemporalDecoder, teacher: AutoencoderKL
) -> None:
    for key in ("latent_channels", "scaling_factor", "sample_size"):
        assert model.config[key] == teacher.config[key]
    assert torch.equal(model.quant_conv.weight, teacher.quant_conv.weight)
    assert torch.equal(model.encoder.conv_out.weight, teacher.encoder.conv_out.weight)
    ours, theirs = model.decoder.up_blocks[0].resnets[1], teacher.decoder.up_blocks[0].resnets[1]
    assert torch.equal(ours.spatial_res_block.conv2.weight, theirs.conv2.weight)


def test_convolutions_over_time_begin_with_the_frame_itself(model: AutoencoderKLTemporalDecoder) -> None:
    over_time = [part for part in model.decoder.modules() if isinstance(part, nn.Conv3d)]
    assert len(over_time) == 19  # two in each of nine blocks, and one at the end
    for part in over_time:
        assert not part.weight[:, :, [0, 2]].any()
        assert part.weight[:, :, 1].any()
    video = torch.randn(1, 3, 4, 5, 5, generator=torch_stream(0, "video"))
    assert torch.equal(model.decoder.time_conv_out(video), video)


def test_two_convolutions_are_joined_to_one() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = nn.Conv2d(4, 5, 1), nn.Conv2d(5, 6, 3, padding=1)
        joined = nn.Conv2d(4, 6, 3, padding=1)
    weights = temporal_vae._joined(first, second)
    joined.load_state_dict({name.removeprefix("conv_in."): weight for name, weight in weights.items()})
    pictures = torch.randn(2, 4, 6, 6, generator=torch_stream(0, "pictures"))
    inside = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(joined(pictures)[inside], second(first(pictures))[inside])


def test_agreement_is_whole_with_itself_and_none_with_a_constant(
    teacher: AutoencoderKL, clips: NDArray[np.uint8]
) -> None:
    assert temporal_vae.agreement(teacher, teacher, clips) == 1.0
    flat = vae.build().eval()
    with torch.no_grad():
        flat.quant_conv.weight.zero_()
    assert temporal_vae.agreement(flat, teacher, clips) <= 0.0


@pytest.mark.slow
def test_encoder_and_decoder_are_taught_apart(
    model: AutoencoderKLTemporalDecoder, teacher: AutoencoderKL, clips: NDArray[np.uint8], tmp_path: Path
) -> None:
    before = temporal_vae.agreement(model, teacher, clips)
    decoder = model.decoder.conv_in.weight.clone()
    temporal_vae.teach_encoder(model, teacher, clips, tmp_path, steps=8)
    assert temporal_vae.agreement(model, teacher, clips) > before
    assert torch.equal(model.decoder.conv_in.weight, decoder)
    quality, encoder = temporal_vae.psnr(model, clips), model.encoder.conv_in.weight.clone()
    temporal_vae.teach_decoder(model, teacher, clips, tmp_path, steps=(6, 2))
    assert temporal_vae.psnr(model, clips) > quality
    assert torch.equal(model.encoder.conv_in.weight, encoder)
    assert model.decoder.time_conv_out.weight[:, :, 0].any()
