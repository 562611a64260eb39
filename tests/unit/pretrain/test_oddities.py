"""Mixtures, textures and odd latents differ from draw to draw and stay what the pool takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vader_bench.pretrain import oddities
from vader_bench.seeding import numpy_stream


@pytest.mark.parametrize("make", [oddities.mix, oddities.texture])
def test_clips_are_pictures_of_the_world_s_size_and_repeat(make: object) -> None:
    assert callable(make)
    clips = [make(numpy_stream(0, "odd", i)) for i in range(24)]
    for clip in clips:
        assert clip.shape == (8, 64, 64, 3)
        assert clip.dtype == np.float32
        assert clip.min() >= 0
        assert clip.max() <= 1
    assert len({clip.tobytes() for clip in clips}) == 24
    assert np.array_equal(make(numpy_stream(0, "odd", 3)), clips[3])


@pytest.mark.parametrize("texture", oddities._TEXTURES)
def test_every_texture_fills_a_clip(texture: object) -> None:
    assert callable(texture)
    for i in range(12):
        clip = texture(numpy_stream(1, i))
        assert clip.shape == (8, 64, 64, 3)
        assert np.isfinite(clip).all()


def test_odd_latents_leave_the_good_ones_as_they_are() -> None:
    generator = torch.Generator().manual_seed(0)
    good, other = torch.randn(2, 4, 8, 8, 8, generator=generator)
    before = good.clone()
    odd = [oddities.odd_latents(numpy_stream(2, i), good, other) for i in range(40)]
    assert torch.equal(good, before)
    assert all(latents.shape == good.shape for latents in odd)
    assert not any(torch.allclose(latents, good) for latents in odd)
    scales = torch.tensor([latents.std() for latents in odd])
    assert scales.min() < 0.8  # some are weak and some are far too strong
    assert scales.max() > 2
