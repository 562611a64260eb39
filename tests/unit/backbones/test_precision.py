"""Half precision behind a call in float32, on networks of a few weights."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import T5Config, T5EncoderModel

from tests.support.flow import wan_transformer
from vader_bench.backbones.precision import lower_precision
from vader_bench.budget.metering import count_flops
from vader_bench.diffusion.lora import Lora
from vader_bench.seeding import torch_stream

HALVES = [torch.bfloat16, torch.float16]
INPUT = torch.linspace(-1, 1, 12).reshape(2, 6)
TIMES = torch.tensor([953.0, 7.0])


class Network(nn.Module):
    """Remembers of what type its last input was."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.to_q, self.last = nn.Linear(6, 6), nn.Linear(6, 6)
        self.angles: Tensor
        self.register_buffer("angles", torch.linspace(0, 1, 6))
        self.seen: list[torch.dtype] = []

    def forward(self, x: Tensor, times: Tensor, *, checkpointing: bool = False) -> tuple[Tensor]:
        self.seen = [x.dtype, times.dtype]
        hidden = torch.tanh(self.to_q(x) + (times[:, None] * self.angles).sin().to(x))
        if checkpointing:
            return (checkpoint(self.last, hidden, use_reentrant=False),)
        return (self.last(hidden),)


def adapted(dtype: torch.dtype | None) -> tuple[Network, Lora]:
    network = Network().requires_grad_(False)
    if dtype is not None:
        lower_precision(network, dtype)
    lora = Lora(network, ["to_q"], 2, torch_stream(0, "lora"))
    with torch.no_grad():
        for weight in lora.parameters():
            weight.add_(0.1)
    return network, lora


def gradients(
    dtype: torch.dtype | None, scale: float, *, checkpointing: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """Return the output, and the gradients of input and adapters of ``scale`` times its sum of squares."""
    network, lora = adapted(dtype)
    x = INPUT.clone().requires_grad_()
    (output,) = network(x, TIMES, checkpointing=checkpointing)
    return output, list(torch.autograd.grad(scale * output.square().sum(), [x, *lora.parameters()]))


@pytest.mark.parametrize("dtype", HALVES)
def test_weights_are_lowered_and_all_that_is_seen_from_outside_stays(dtype: torch.dtype) -> None:
    network, lora = adapted(dtype)
    (output,) = network(INPUT, TIMES)
    assert network.seen == [dtype, torch.float32], "a timestep stays what it is"
    assert network.last.weight.dtype == dtype
    assert network.angles.dtype == output.dtype == torch.float32
    assert {weight.dtype for weight in lora.parameters()} == {torch.float32}
    assert {weight.dtype for weight in lora.state().values()} == {torch.float32}


def test_an_autoencoder_keeps_its_encoder_in_float32() -> None:
    vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=2).requires_grad_(False).eval()
    pictures = torch.linspace(-1, 1, 2 * 3 * 64).reshape(2, 3, 8, 8)
    with torch.no_grad():
        latents = vae.encode(pictures).latent_dist.mode()
        expected = vae.decode(latents, return_dict=False)[0]
        lower_precision(vae, torch.bfloat16)
        assert torch.equal(vae.encode(pictures).latent_dist.mode(), latents)
        decoded = vae.decode(latents, return_dict=False)[0]
    kinds = {name.split(".")[0]: weight.dtype for name, weight in vae.named_parameters()}
    assert (kinds["encoder"], kinds["quant_conv"]) == (torch.float32, torch.float32)
    assert (kinds["decoder"], kinds["post_quant_conv"]) == (torch.bfloat16, torch.bfloat16)
    assert decoded.dtype == torch.float32
    torch.testing.assert_close(decoded, expected, atol=0.05, rtol=0.05)
    assert not torch.equal(decoded, expected)


@pytest.mark.parametrize(
    ("dtype", "kept"), [(torch.bfloat16, torch.bfloat16), (torch.float16, torch.float32)]
)
def test_a_class_of_transformers_keeps_what_it_asks_for_in_float16(
    dtype: torch.dtype, kept: torch.dtype
) -> None:
    config = T5Config(vocab_size=8, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    encoder = T5EncoderModel(config).requires_grad_(False).eval()
    lower_precision(encoder, dtype)
    kinds = {name.split(".")[-2]: weight.dtype for name, weight in encoder.named_parameters()}
    assert (kinds["wo"], kinds["wi"]) == (kept, dtype)
    states = encoder(torch.tensor([[1, 2]])).last_hidden_state
    assert states.dtype == torch.float32
    assert torch.isfinite(states).all()


@pytest.mark.parametrize("dtype", HALVES)
def test_a_class_of_diffusers_keeps_what_it_asks_for(dtype: torch.dtype) -> None:
    network: Any = wan_transformer()
    lower_precision(network, dtype)
    for name, weight in network.named_parameters():
        asked = any(part in network._keep_in_fp32_modules for part in name.split("."))
        assert weight.dtype == (torch.float32 if asked else dtype), name


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e-12])
@pytest.mark.parametrize(("dtype", "most"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_gradients_are_those_of_float32_however_small(
    dtype: torch.dtype, most: float, scale: float, checkpointing: bool
) -> None:
    expected, wanted = gradients(None, scale)
    output, found = gradients(dtype, scale, checkpointing=checkpointing)
    torch.testing.assert_close(output, expected, atol=most, rtol=most)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < most * other.norm()


def test_without_a_scale_a_small_gradient_would_be_lost() -> None:
    layer = nn.Linear(6, 6).half()
    x = INPUT.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(1e-12 * layer(x.half()).float().square().sum(), x)
    assert not gradient.any()


@pytest.mark.parametrize("scale", [0.0, float("inf"), float("nan")])
def test_a_gradient_without_a_size_stays_what_it_is(scale: float) -> None:
    for gradient in gradients(torch.float16, scale)[1]:
        assert torch.isfinite(gradient).all() == (scale == 0)


@pytest.mark.parametrize("dtype", HALVES)
def test_a_call_costs_the_same_flops(dtype: torch.dtype) -> None:
    def count(network: Network) -> tuple[int, int]:
        return count_flops(lambda x: network(x, TIMES[:1])[0], INPUT[:1])

    counts = [count(adapted(kind)[0]) for kind in (None, dtype)]
    assert counts[0] == counts[1]
    assert min(counts[0]) > 0


def test_nothing_is_graphed_without_a_gradient_and_what_has_no_weights_is_left_alone() -> None:
    network = Network().requires_grad_(False)
    lower_precision(network, torch.float16)
    assert not network(INPUT, TIMES)[0].requires_grad
    bare = nn.Tanh()
    lower_precision(bare, torch.float16)
    assert torch.equal(bare(INPUT), torch.tanh(INPUT))


class Clash(Network):
    """A class that asks for more than its own parameters by a name of its part."""

    _keep_in_fp32_modules: ClassVar = ["last"]


def test_what_is_kept_goes_by_whole_names() -> None:
    network = Clash()
    network.add_module("last_but_one", nn.Linear(2, 2))
    lower_precision(network, torch.bfloat16)
    kinds = {name.split(".")[0]: weight.dtype for name, weight in network.named_parameters()}
    assert (kinds["last"], kinds["last_but_one"]) == (torch.float32, torch.bfloat16)
