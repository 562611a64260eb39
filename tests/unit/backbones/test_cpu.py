"""Layers in the forms that a CPU computes faster. That no family's numbers change is in the contract."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from vader_bench.backbones import Backbone
from vader_bench.backbones.cpu import PackedAttention, quicken


@pytest.fixture
def attention() -> Attention:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Attention(8, heads=2, dim_head=4, bias=True)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("sequences", "length", "expected"),
    [
        (12, 8, (3, 32)),  # four sequences of 8 behind each other
        (9, 8, (3, 24)),
        (7, 8, (7, 8)),  # no divisor
        (4, 16, (2, 32)),
        (4, 17, (4, 17)),
        (4, 40, (4, 40)),
    ],
)
def test_short_sequences_are_packed_and_find_nothing_in_each_other(
    sequences: int,
    length: int,
    expected: tuple[int, int],
    attention: Attention,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, int]] = []
    attend = functional.scaled_dot_product_attention

    def spy(queries: Tensor, *others: Any, **settings: Any) -> Tensor:
        seen.append((queries.shape[0], queries.shape[2]))
        return attend(queries, *others, **settings)

    hidden = draw(sequences, length, 8).requires_grad_()
    weights = [hidden, *attention.parameters()]
    plain = attention(hidden)
    gradients = torch.autograd.grad(plain.square().sum(), weights)
    attention.set_processor(PackedAttention())
    monkeypatch.setattr(functional, "scaled_dot_product_attention", spy)
    packed = attention(hidden)
    assert seen == [expected]
    torch.testing.assert_close(packed, plain)
    torch.testing.assert_close(torch.autograd.grad(packed.square().sum(), weights), gradients)
    alone = attention(hidden[:1])
    torch.testing.assert_close(packed[:1], alone)


def test_other_attention_is_left_as_it_is(attention: Attention) -> None:
    hidden, text, mask = draw(4, 8, 8), draw(4, 5, 8), torch.zeros(4, 1, 8)
    mask[:, :, 3] = -1e4
    expected = attention(hidden, text), attention(hidden, attention_mask=mask)
    attention.set_processor(PackedAttention())
    assert torch.equal(attention(hidden, text), expected[0])
    assert torch.equal(attention(hidden, attention_mask=mask), expected[1])


def test_where_flops_are_counted_nothing_is_packed(
    attention: Attention, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = draw(4, 8, 8)
    with sdpa_kernel(SDPBackend.MATH):
        expected = attention(hidden)
    attention.set_processor(PackedAttention())
    monkeypatch.setattr("vader_bench.backbones.cpu._blocks", None)
    with sdpa_kernel(SDPBackend.MATH):
        assert torch.equal(attention(hidden), expected)


@pytest.mark.parametrize("batch", [3, 16])
def test_a_convolution_over_time_is_one_over_frames_and_pixels(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = nn.Conv3d(2, 5, (3, 1, 1), padding=(1, 0, 0))
    videos = draw(batch, 2, 4, 3, 2).requires_grad_()
    weights = [videos, *layer.parameters()]
    plain = layer(videos)
    gradients = torch.autograd.grad(plain.square().sum(), weights)
    names = set(layer.state_dict())
    quicken(nn.Sequential(layer))
    if batch < 16:
        monkeypatch.setattr(functional, "conv3d", None)  # the slow one
    torch.testing.assert_close(layer(videos), plain)
    torch.testing.assert_close(torch.autograd.grad(layer(videos).square().sum(), weights), gradients)
    assert set(layer.state_dict()) == names


class Causal(nn.Conv3d):
    """A convolution that looks back only."""

    def forward(self, videos: Tensor) -> Tensor:
        return super().forward(functional.pad(videos, (0, 0, 0, 0, 2, 0)))


@pytest.mark.parametrize(
    "layer",
    [
        Causal(2, 2, (3, 1, 1)),
        nn.Conv3d(2, 2, 3, padding=1),
        nn.Conv3d(2, 2, (3, 1, 1), padding=(1, 0, 0), stride=(2, 1, 1)),
        nn.Conv3d(2, 2, (3, 1, 1), padding="same"),
        nn.Conv3d(2, 2, (3, 1, 1), groups=2),
        nn.Conv3d(2, 2, (3, 1, 1), padding=(1, 0, 0), padding_mode="replicate"),
    ],
)
def test_any_other_convolution_is_left_as_it_is(layer: nn.Conv3d) -> None:
    quicken(nn.Sequential(layer))
    assert "forward" not in vars(layer)


def test_a_model_takes_its_fast_form_on_the_cpu(tiny_backbone: Backbone) -> None:
    kinds = {type(m.processor) for m in tiny_backbone.denoiser.modules() if isinstance(m, Attention)}
    assert kinds == {AttnProcessor2_0}
    tiny_backbone.to("cpu")
    kinds = {type(m.processor) for m in tiny_backbone.denoiser.modules() if isinstance(m, Attention)}
    assert kinds == {PackedAttention}
    decoder = tiny_backbone.modules()[-1]
    convolutions = [m for m in decoder.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]
    assert convolutions
    assert all(m.weight.is_contiguous(memory_format=torch.channels_last) for m in convolutions)
