from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tests.support.videocrafter2 import SIZES
from vader_bench.backbones.videocrafter2_unet import UNetConfig, VideoCrafter2UNet
from vader_bench.diffusion.lora import Lora
from vader_bench.seeding import torch_stream

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")


def make(*, checkpointing: bool = False, **changes: Any) -> VideoCrafter2UNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = UNetConfig.model_validate(SIZES["unet"] | changes)
        network = VideoCrafter2UNet(config, checkpointing=checkpointing).eval()
        for weight in network.parameters():  # temporal convolutions and biases start at 0 otherwise
            nn.init.normal_(weight, std=0.2)
    return network


def inputs(frames: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return latents, timesteps, text and fps."""
    stream = torch_stream(0, "inputs")
    latents = torch.randn(2, 4, frames, 4, 6, generator=stream)
    return latents, torch.tensor([990, 3]), torch.randn(2, 5, 16, generator=stream), torch.tensor([24, 8])


@pytest.fixture(scope="module")
def released() -> VideoCrafter2UNet:
    """The network of the release: shapes, no memory."""
    with torch.device("meta"):
        return VideoCrafter2UNet(UNetConfig())


def test_the_released_network_has_its_known_size(released: VideoCrafter2UNet) -> None:
    weights = sum(weight.numel() for weight in released.parameters())
    assert weights == 1_413_284_420  # 5.65 GB in float32, as the file that others converted
    assert UNetConfig().widths == (320, 640, 1280, 1280)


def test_lora_on_the_released_network_has_the_size_that_vader_trains(released: VideoCrafter2UNet) -> None:
    projections = {
        name: module
        for name, module in released.named_modules()
        if isinstance(module, nn.Linear) and re.search(r"\.to_[qkv]$", name)
    }
    assert len(projections) == 3 * 66
    sides = sum(module.in_features + module.out_features for module in projections.values())
    assert (8 * sides, 16 * sides) == (2_507_776, 5_015_552)


def test_adapters_reach_every_attention() -> None:
    network = make()
    lora = Lora(network, TARGETS, 2, torch_stream(0, "lora"))
    attentions = [name for name, _ in network.named_modules() if re.search(r"\.attn[12]$", name)]
    assert len(attentions) == 2 * (2 * (1 + 1 + 2) + 1)  # down, middle, up twice; the entry's is temporal
    assert len(lora.parameters()) == 2 * len(TARGETS) * len(attentions)
    before = network(*inputs())
    lora.load({name: torch.full_like(weight, 0.3) for name, weight in lora.state().items()})
    after = network(*inputs())
    assert not torch.allclose(before, after)
    after.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in lora.parameters())


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 3, 7])
def test_a_batch_equals_its_videos_one_by_one(frames: int) -> None:
    network = make()
    batch = inputs(frames)
    both = network(*batch)
    assert both.shape == batch[0].shape
    for i in range(2):
        one = network(*(part[i : i + 1] for part in batch))
        torch.testing.assert_close(both[i : i + 1], one, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_frames_know_of_each_other() -> None:
    network = make()
    latents, *rest = inputs(7)
    changed = latents.clone()
    changed[:, :, 6] += 1
    difference = (network(changed, *rest) - network(latents, *rest)).abs().amax(dim=(1, 3, 4))
    assert (difference > 1e-4).all()


@torch.no_grad()
@pytest.mark.parametrize("part", range(1, 4))
def test_timestep_text_and_frame_rate_all_matter(part: int) -> None:
    network = make()
    given = list(inputs())
    before = network(*given)
    given[part] = given[part].flip(0) + 1
    assert not torch.allclose(before, network(*given), atol=1e-3)


@torch.no_grad()
def test_a_network_without_that_condition_does_not_read_the_frame_rate() -> None:
    network = make(fps_cond=False)
    assert not [name for name, _ in network.named_parameters() if name.startswith("fps")]
    *rest, fps = inputs()
    assert torch.equal(network(*rest, fps), network(*rest, fps + 7))


def test_checkpointing_keeps_less_and_changes_nothing() -> None:
    results = []
    for checkpointing in (False, True):
        network = make(checkpointing=checkpointing)
        lora = Lora(network, TARGETS, 2, torch_stream(0, "lora"))
        kept = 0

        def keep(tensor: Tensor) -> Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = network(*inputs())
        forward_only = kept
        output.square().sum().backward()
        results.append((forward_only, output, [weight.grad for weight in lora.parameters()]))
    (plain, first, gradients), (less, second, same) = results
    assert less < plain / 3
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(gradients, same)


def test_without_a_graph_there_is_nothing_to_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    from vader_bench.backbones import videocrafter2_unet

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("not called")

    monkeypatch.setattr(videocrafter2_unet, "checkpoint", fail)
    network = make(checkpointing=True)
    with torch.no_grad():
        network(*inputs())
    with pytest.raises(AssertionError, match="not called"):
        network(*inputs())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_head_channels": 24}, "attention of width 32 and heads of width 24"),
        # there is attention in the middle whether or not its resolution is named
        ({"channel_mult": (2, 1), "num_head_channels": 64}, "attention of width 32 and heads of width 64"),
        ({"attention_resolutions": (1, 3)}, "has attention at 3, and its resolutions are 1, 2"),
        ({"model_channels": 40}, "multiple of 32"),
    ],
)
def test_sizes_must_fit_each_other(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        UNetConfig.model_validate(SIZES["unet"] | changes)


def test_the_released_network_takes_and_gives_the_released_size(released: VideoCrafter2UNet) -> None:
    latents = torch.empty(2, 4, 16, 40, 64, device="meta")
    numbers = torch.empty(2, device="meta", dtype=torch.int64)
    output = released(latents, numbers, torch.empty(2, 77, 1024, device="meta"), numbers)
    assert output.shape == latents.shape
