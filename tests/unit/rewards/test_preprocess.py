from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vader_bench.errors import UserError
from vader_bench.rewards.preprocess import (
    CropPreprocess,
    HeightPreprocess,
    Preprocess,
    check_video,
    read_preprocess,
    read_statistics,
    resize,
)


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("old", "new"), [((20, 24), (8, 8)), ((20, 24), (40, 31)), ((16, 24), (16, 16)), ((23, 16), (16, 16))]
)
def test_resize_equals_antialiased_interpolation(old: tuple[int, int], new: tuple[int, int]) -> None:
    pictures = noise(2, 3, *old)
    expected = functional.interpolate(pictures, size=new, mode="bilinear", antialias=True)
    torch.testing.assert_close(resize(pictures, *new), expected, rtol=1e-5, atol=1e-6)


def test_resize_averages_when_it_halves() -> None:
    # The triangle filter is two pixels wide on each side: weights 1/8, 3/8, 3/8, 1/8.
    row = torch.tensor([[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(resize(row, 1, 4), torch.tensor([[0.0, 0.375, 0.125, 0.0]]))


def test_resize_leaves_the_right_size_alone() -> None:
    pictures = noise(3, 16, 16)
    assert resize(pictures, 16, 16) is pictures


def test_resize_keeps_a_plain_picture_plain() -> None:
    torch.testing.assert_close(resize(torch.full((3, 50, 70), 0.3), 16, 16), torch.full((3, 16, 16), 0.3))


def test_preprocess_normalises_each_channel() -> None:
    frames = torch.tensor([0.2, 0.4, 0.9])[:, None, None].expand(2, 5, 3, 4, 4)
    out = Preprocess(4, (0.1, 0.2, 0.3), (0.5, 0.1, 0.2))(frames)
    expected = torch.tensor([0.2, 2.0, 3.0])[:, None, None].expand(2, 5, 3, 4, 4)
    torch.testing.assert_close(out, expected)


def test_preprocess_works_in_the_networks_precision() -> None:
    preprocess = Preprocess(4, (0.5,) * 3, (0.5,) * 3)
    frames = noise(1, 3, 8, 8).half().requires_grad_()
    out = preprocess(frames)
    assert out.dtype == torch.float32
    out.sum().backward()
    assert frames.grad is not None
    assert frames.grad.dtype == torch.float16
    assert preprocess.double()(frames).dtype == torch.float64


def test_check_video_lets_any_number_of_frames_pass() -> None:
    check_video("r", noise(2, 7, 3, 4, 4), ["a", "b"])
    check_video("r", noise(2, 7, 3, 4, 4), ["a", "b"], frames=7)


def write(folder: Path, **changes: Any) -> Path:
    settings = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "size": 16} | changes
    settings = {key: value for key, value in settings.items() if value is not None}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


@pytest.mark.parametrize("size", [16, {"shortest_edge": 16}, {"height": 16, "width": 16}])
def test_read_preprocess(tmp_path: Path, size: object) -> None:
    preprocess = read_preprocess(write(tmp_path, size=size, do_center_crop=True), 16)
    assert preprocess.size == 16
    torch.testing.assert_close(preprocess.mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(preprocess.std.flatten(), torch.tensor([0.4, 0.5, 0.6]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": {"height": 16, "width": 32}}, "set it to 16"),
        ({"size": 224}, "size is 224"),
        ({"size": None}, "size: "),
        ({"image_mean": None}, "image_mean: "),
        ({"image_std": [1.0, 1.0]}, "image_std.2: "),
        ({"image_std": [1.0, 0.0, 1.0]}, "image_std.1: "),
    ],
)
def test_read_preprocess_names_the_fault(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_preprocess(write(tmp_path, **changes), 16)


def test_read_preprocess_needs_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"preprocessor_config\.json"):
        read_preprocess(tmp_path, 16)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("old", "new"), [((20, 24), (8, 8)), ((20, 24), (40, 31))])
def test_resize_equals_every_interpolation(
    old: tuple[int, int], new: tuple[int, int], antialias: bool
) -> None:
    pictures = noise(2, 3, *old)
    expected = functional.interpolate(pictures, size=new, mode="bicubic", antialias=antialias)
    torch.testing.assert_close(
        resize(pictures, *new, "bicubic", antialias=antialias), expected, rtol=1e-5, atol=1e-6
    )
    expected = functional.interpolate(pictures, size=new, mode="bilinear", antialias=False)
    torch.testing.assert_close(resize(pictures, *new, antialias=False), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(20, 44), (44, 20), (16, 16), (20, 20), (16, 17)])
def test_crop_keeps_the_aspect_ratio_and_takes_the_middle(size: tuple[int, int]) -> None:
    frames = noise(2, 3, *size)
    out = CropPreprocess(16, (0.0,) * 3, (1.0,) * 3)(frames)
    short = min(size)
    whole = functional.interpolate(
        frames, [16 * side // short for side in size], mode="bicubic", antialias=True
    )
    top, left = ((side - 16) // 2 for side in whole.shape[-2:])
    expected = whole[..., top : top + 16, left : left + 16]
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)


def test_crop_keeps_overshoot() -> None:
    edge = torch.zeros(3, 8, 8)
    edge[..., 4:] = 1
    out = CropPreprocess(16, (0.0,) * 3, (1.0,) * 3)(edge)
    assert out.min() < -0.01
    assert out.max() > 1.01


def test_height_sets_the_width() -> None:
    frames = noise(2, 3, 20, 33)
    out = HeightPreprocess(32, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))(frames)
    mean, std = (torch.tensor(x)[:, None, None] for x in ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    expected = (functional.interpolate(frames, (32, 52), mode="bilinear") - mean) / std
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def test_read_statistics_does_not_ask_for_a_size(tmp_path: Path) -> None:
    path = write(tmp_path, size=None) / "preprocessor_config.json"
    assert read_statistics(path) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    with pytest.raises(
        UserError, match=r"image_std: .*; give image_mean and image_std as three numbers each$"
    ):
        read_statistics(write(tmp_path, image_std=None) / "preprocessor_config.json")
