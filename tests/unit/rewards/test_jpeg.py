from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from vader_bench.rewards.jpeg import JpegCompressibility, jpeg_kilobytes


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def kilobytes(frame: Tensor) -> float:
    file = io.BytesIO()
    pixels = np.round(frame.numpy() * 255).astype(np.uint8).transpose(1, 2, 0)
    Image.fromarray(pixels, "RGB").save(file, "jpeg", quality=95)
    return len(file.getvalue()) / 1000


def test_size_is_that_of_the_file() -> None:
    frame = noise(3, 40, 56)
    assert jpeg_kilobytes(frame) == kilobytes(frame)


def test_values_outside_the_range_are_cut_off() -> None:
    frame = 3 * noise(3, 16, 16) - 1
    assert jpeg_kilobytes(frame) == kilobytes(frame.clamp(0, 1))


def test_score_is_minus_the_mean_size_of_the_frames() -> None:
    video = noise(2, 3, 3, 20, 24)
    expected = [-sum(map(kilobytes, frames)) / 3 for frames in video]
    assert JpegCompressibility().score(video, ["", ""]).tolist() == pytest.approx(expected)


def test_plain_videos_score_above_noise() -> None:
    noisy, plain = noise(1, 2, 3, 64, 64), torch.full((1, 2, 3, 64, 64), 0.5)
    scores = JpegCompressibility().score(torch.cat([noisy, plain]), ["", ""])
    assert scores[1] > scores[0] / 2


def test_has_no_gradient() -> None:
    reward = JpegCompressibility()
    assert not reward.differentiable
    assert not reward.judge(noise(1, 2, 3, 8, 8).requires_grad_(), [""]).objective.requires_grad
