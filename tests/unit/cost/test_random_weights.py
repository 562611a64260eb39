"""Networks that get weights where they had none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.configs import tiny_run
from vader_bench.cost.random_weights import RandomBackbone, fill_randomly, random_backbone


class Network(nn.Module):
    """Two layers of one weight, a norm, a buffer and a table that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(64, 64), nn.LayerNorm(64), nn.Linear(64, 64)
        self.last.weight = self.first.weight
        self.register_buffer("places", torch.arange(3))
        self.register_buffer("deviation", torch.zeros(2))
        self.table = torch.zeros(4)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.norm(self.first(x)))
        return found


def test_values_keep_what_passes_through_at_its_size() -> None:
    with torch.device("meta"):
        network = Network()
    fill_randomly(network, "cpu")
    assert network.last.weight is network.first.weight
    passed = network(torch.randn(100, 64, generator=torch.Generator().manual_seed(0)))
    assert passed.std().item() == pytest.approx(1.0, rel=0.2)
    assert torch.equal(network.norm.weight, torch.ones(64))
    assert torch.equal(network.first.bias, torch.zeros(64))
    assert network.get_buffer("places").tolist() == [0, 0, 0]
    assert network.get_buffer("deviation").tolist() == [1.0, 1.0], "nothing is divided by zero"
    assert network.table.tolist() == [1.0] * 4


def test_a_backbone_of_random_weights_makes_finite_videos(tiny_pipeline: Path) -> None:
    suite = tiny_run(tiny_pipeline).suite
    backbone = random_backbone(suite, "cpu")
    assert isinstance(backbone, RandomBackbone)
    encoded = backbone.encode(["a cat", "a dog", "a cat"])
    assert encoded.shape == (3, *backbone.text_shape)
    assert torch.equal(encoded[0], encoded[2])
    assert not torch.equal(encoded[0], encoded[1])
    assert torch.equal(backbone.unconditional(encoded)[1], backbone.encode([""])[0])
    latents = torch.randn(3, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pictures = backbone.decode(backbone.denoise(latents, torch.full((3,), 500), encoded))
    assert torch.isfinite(pictures).all()
    assert pictures.std() > 0
