from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tests.support.open_sora import VAE_SIZES
from vader_bench.backbones.open_sora_vae import OpenSoraVAE, OpenSoraVAEConfig, TemporalConfig
from vader_bench.seeding import torch_stream


def make() -> OpenSoraVAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = OpenSoraVAE(OpenSoraVAEConfig.model_validate(VAE_SIZES)).eval()
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.2)
    return network


def latents(frames: int) -> Tensor:
    return torch.randn(2, 4, frames, 4, 3, generator=torch_stream(0, "latents"))


def test_the_released_network_has_its_known_size() -> None:
    with torch.device("meta"):
        network = OpenSoraVAE(OpenSoraVAEConfig())
    spatial = sum(weight.numel() for weight in network.spatial_vae.parameters())
    assert spatial == 83_653_863  # SDXL's autoencoder
    total = spatial + sum(weight.numel() for weight in network.temporal_vae.parameters())
    assert 392e6 < total < 394e6  # 393 million as the hub counts
    assert network.reduction == 8
    assert network.temporal_vae.factor == 4


@pytest.mark.parametrize(
    ("frames", "expected"), [(1, 1), (4, 1), (5, 2), (16, 4), (17, 5), (18, 6), (20, 6), (34, 10), (51, 15)]
)
def test_frames_of_latents(frames: int, expected: int) -> None:
    with torch.device("meta"):
        network = OpenSoraVAE(OpenSoraVAEConfig.model_validate(VAE_SIZES))
    assert network.latent_frames(frames) == expected


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 6, 17, 21])
def test_encoding_and_decoding_keep_the_size(frames: int) -> None:
    network = make()
    pictures = torch.rand(2, 3, frames, 8, 6, generator=torch_stream(0, "pictures"))
    encoded = network.encode(pictures)
    assert encoded.shape == (2, 4, network.latent_frames(frames), 4, 3)
    assert network.decode(encoded, frames).shape == pictures.shape


@torch.no_grad()
@pytest.mark.parametrize("wanted", [[20], [3, 0], [16, 17], [5, 5, 18]])
def test_pictures_wanted_are_those_of_the_whole_video(wanted: list[int]) -> None:
    network, given = make(), latents(6)
    whole = network.decode(given, 21)
    torch.testing.assert_close(network.decode(given, 21, wanted), whole[:, :, wanted], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_lone_latent_would_give_another_picture() -> None:
    network, given = make(), latents(5)
    whole = network.decode(given, 17, [8])
    lone = network.decode(given[:, :, 2:3], 1)
    assert not torch.allclose(whole, lone, atol=1e-2)


@torch.no_grad()
def test_only_pictures_wanted_are_decoded_in_space(monkeypatch: pytest.MonkeyPatch) -> None:
    network = make()
    in_time: list[int] = []
    in_space: list[int] = []
    temporal, spatial = network.temporal_vae.decode, network.spatial_vae["module"].decode

    def decode_time(part: Tensor, frames: int) -> Tensor:
        in_time.append(frames)
        return temporal(part, frames)

    def decode_space(part: Tensor, **more: bool) -> Any:
        in_space.append(len(part))
        return spatial(part, **more)  # type: ignore[operator]

    monkeypatch.setattr(network.temporal_vae, "decode", decode_time)
    monkeypatch.setattr(network.spatial_vae["module"], "decode", decode_space)
    network.decode(latents(6), 21, [18, 20])
    assert (in_time, sum(in_space)) == ([4], 4)  # of the second chunk alone, in two videos
    network.decode(latents(6), 21)
    assert (in_time[1:], sum(in_space) - 4) == ([17, 4], 42)
    assert max(in_space) == 4


def test_gradients_reach_all_latents_of_the_chunk_and_no_others() -> None:
    network, given = make(), latents(6).requires_grad_()
    network.decode(given, 21, [3]).square().sum().backward()
    assert given.grad is not None
    reached = given.grad.abs().amax(dim=(0, 1, 3, 4)) > 0
    assert reached.tolist() == [True] * 5 + [False]


@torch.no_grad()
def test_the_latents_are_normalised() -> None:
    network = make()
    pictures = torch.rand(1, 3, 5, 8, 6, generator=torch_stream(0, "pictures"))
    before = network.encode(pictures)
    network.shift.fill_(0.5)
    network.scale.fill_(4.0)
    after = network.encode(pictures)
    torch.testing.assert_close(after, (before - 0.5) / 4)
    decoded = network.decode(after, 5)
    network.shift.fill_(0.0)
    network.scale.fill_(1.0)
    torch.testing.assert_close(decoded, network.decode(before, 5), atol=1e-4, rtol=1e-4)


def test_wrong_numbers_of_frames_are_refused() -> None:
    network = make()
    with pytest.raises(ValueError, match="21 pictures have not 5 frames of latents"):
        network.decode(latents(5), 21)
    with pytest.raises(ValueError, match=r"pictures \[0, 21\] are not all among 21"):
        network.decode(latents(6), 21, [0, 21])
    with pytest.raises(ValueError, match="not all among"):
        network.decode(latents(6), 21, [-1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temporal_downsample": (True, True)}, "has 4 levels and 2 steps between them"),
        ({"filters": 9}, "has filters = 9 and num_groups = 4"),
        ({"type": "other"}, "VAE_Temporal"),
    ],
)
def test_sizes_must_fit_each_other(changes: dict[str, Any], message: str) -> None:
    sizes = {"filters": 8, "num_groups": 4, "num_res_blocks": 1}
    with pytest.raises(ValidationError, match=message):
        TemporalConfig.model_validate(sizes | changes)
