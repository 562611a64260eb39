"""Tiles of a picture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vader_bench.backbones import Backbone
from vader_bench.backbones.memory import with_memory_switches
from vader_bench.backbones.tiles import in_tiles, tile_spans
from vader_bench.config.schema import MemoryConfig
from vader_bench.evaluation.generator import VideoGenerator
from vader_bench.experiment.load import load_suite
from vader_bench.training.load import load_backbone


@pytest.mark.parametrize(
    ("length", "side", "expected"),
    [
        (8, 8, [(0, 8)]),
        (8, 20, [(0, 8)]),
        (9, 8, [(0, 8), (1, 9)]),
        (14, 8, [(0, 8), (6, 14)]),
        (15, 8, [(0, 8), (3, 11), (7, 15)]),
        (5, 2, [(0, 2), (1, 3), (2, 4), (3, 5)]),
    ],
)
def test_tiles_cover_a_side_and_overlap_by_a_quarter(
    length: int, side: int, expected: list[tuple[int, int]]
) -> None:
    assert tile_spans(length, side) == expected


def larger(latents: Tensor) -> Tensor:
    """Decode each of the latents alone: pictures [B, f, 3, 2 h, 2 w]."""
    pictures = latents.transpose(1, 2).square()
    return pictures.repeat_interleave(2, -1).repeat_interleave(2, -2)


def blurred(latents: Tensor) -> Tensor:
    """Decode each of the latents with its neighbours."""
    return larger(functional.avg_pool3d(latents, (1, 3, 3), 1, (0, 1, 1)))


def start(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 2, height, width, generator=generator).requires_grad_()


def test_what_needs_no_neighbours_is_the_same_with_its_gradient() -> None:
    latents = start(7, 11)
    whole, tiled = larger(latents), in_tiles(larger, latents, 4, 2)
    torch.testing.assert_close(tiled, whole)
    gradients = [torch.autograd.grad(video.pow(3).sum(), latents)[0] for video in (whole, tiled)]
    torch.testing.assert_close(gradients[1], gradients[0])


def test_what_needs_neighbours_differs_where_tiles_meet_alone() -> None:
    latents = start(6, 12).detach()
    same = (blurred(latents) - in_tiles(blurred, latents, 8, 2)).abs().amax((0, 1, 2, 3)) < 1e-6
    # the second tile begins at 4 and the first ends at 8: what lacks a neighbour there is blended in
    assert same.tolist() == [True] * 8 + [False] * 2 + [True] * 4 + [False] * 2 + [True] * 8


def test_videos_of_a_trained_model_change_and_one_tile_changes_nothing() -> None:
    suite = load_suite("pocket-wan")
    backbone = load_backbone(suite, "cpu")

    def video(backbone: Backbone) -> Tensor:
        generator = VideoGenerator(backbone, suite.sampler, "cpu")
        (made,) = generator.batches([("a red cat jumping in the park", 0)])
        return made[0]

    whole = video(backbone)
    tiled = video(with_memory_switches(backbone, MemoryConfig(decode_tile=40)))
    assert 0 < (tiled - whole).abs().mean() < 0.1, "its decoder attends to the whole picture"
    assert torch.equal(video(with_memory_switches(backbone, MemoryConfig(decode_tile=64))), whole)
