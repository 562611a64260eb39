from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from vader_bench.backbones import stdit3
from vader_bench.backbones.stdit3 import Format, STDiT3, STDiT3Config
from vader_bench.diffusion.lora import Lora
from vader_bench.seeding import torch_stream

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "depth": 2,
    "num_heads": 2,
    "caption_channels": 12,
    "model_max_length": 6,
}
TARGETS = ("qkv", "q_linear", "kv_linear")
SIZE = Format(240, 426, 24)


def make(*, checkpointing: bool = False, **changes: Any) -> STDiT3:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = STDiT3(STDiT3Config.model_validate(SIZES | changes), checkpointing=checkpointing).eval()
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.2)
    return network


def inputs(frames: int = 3, rows: int = 4, columns: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Return latents, timesteps and text."""
    stream = torch_stream(0, "inputs")
    latents = torch.randn(2, 4, frames, rows, columns, generator=stream)
    return latents, torch.tensor([990.0, 3.5]), torch.randn(2, 6, 12, generator=stream)


@pytest.fixture(scope="module")
def released() -> STDiT3:
    """The network of the release: shapes, no memory."""
    with torch.device("meta"):
        return STDiT3(STDiT3Config())


def test_the_released_network_has_its_known_size(released: STDiT3) -> None:
    block = 4 * 1152**2 + 4 * 1152 + 2 * 72  # self-attention
    block += 4 * 1152**2 + 4 * 1152  # attention to the text
    block += 8 * 1152**2 + 5 * 1152 + 6 * 1152  # perceptron and modulation
    ends = 16 * 1152 + 1152 + 2 * (256 * 1152 + 1152 + 1152**2 + 1152)  # patches, timestep, fps
    ends += 6 * (1152**2 + 1152) + 4096 * 1152 + 1152 + 1152**2 + 1152  # modulation and text
    ends += 32 * 1152 + 32 + 2 * 1152  # back to patches
    assert sum(weight.numel() for weight in released.parameters()) == 56 * block + ends
    assert released.y_embedder.y_embedding.shape == (300, 4096)


def test_lora_on_the_released_network_has_the_size_that_vader_trains() -> None:
    with torch.device("meta"):
        network = STDiT3(STDiT3Config())
    projections = [
        module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and re.search(r"\.(qkv|q_linear|kv_linear)$", name)
    ]
    assert len(projections) == 168
    assert 16 * sum(module.in_features + module.out_features for module in projections) == 9_289_728


def test_adapters_reach_every_attention() -> None:
    network = make()
    lora = Lora(network, TARGETS, 2, torch_stream(0, "lora"))
    assert len(lora.parameters()) == 2 * len(TARGETS) * 4
    before = network(*inputs(), shape=SIZE)
    lora.load({name: torch.full_like(weight, 0.3) for name, weight in lora.state().items()})
    after = network(*inputs(), shape=SIZE)
    assert not torch.allclose(before, after)
    after.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in lora.parameters())


@torch.no_grad()
@pytest.mark.parametrize(("frames", "rows", "columns"), [(1, 4, 6), (3, 3, 5), (5, 2, 7)])
def test_a_batch_equals_its_videos_one_by_one(frames: int, rows: int, columns: int) -> None:
    network = make()
    batch = inputs(frames, rows, columns)
    both = network(*batch, shape=SIZE)
    assert both.shape == (2, 8, frames, rows, columns)
    for i in range(2):
        one = network(*(part[i : i + 1] for part in batch), shape=SIZE)
        torch.testing.assert_close(both[i : i + 1], one, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_frames_know_of_each_other_and_of_their_order() -> None:
    network = make()
    latents, *rest = inputs(5)
    changed = latents.clone()
    changed[:, :, 4] += 1
    before = network(latents, *rest, shape=SIZE)
    assert ((network(changed, *rest, shape=SIZE) - before).abs().amax(dim=(1, 3, 4)) > 1e-4).all()
    backward = network(latents.flip(2), *rest, shape=SIZE).flip(2)
    assert not torch.allclose(before, backward, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("change", [{"fps": 8.0}, {"height": 480.0}, {"width": 213.0}])
def test_frame_rate_and_size_matter(change: dict[str, float]) -> None:
    network, given = make(), inputs()
    assert not torch.allclose(
        network(*given, shape=SIZE), network(*given, shape=SIZE._replace(**change)), atol=1e-4
    )


@torch.no_grad()
def test_padding_of_the_text_is_not_read() -> None:
    network, (latents, timesteps, text) = make(), inputs()
    words = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]]).bool()
    masked = network(latents, timesteps, text, SIZE, words=words)
    cut = network(latents[:1], timesteps[:1], text[:1, :3], SIZE)
    torch.testing.assert_close(masked[:1], cut, atol=1e-4, rtol=1e-4)
    other = torch.where(words[..., None], text, 7.0)
    torch.testing.assert_close(network(latents, timesteps, other, SIZE, words=words), masked)


@torch.no_grad()
def test_frames_given_clean_are_told_so() -> None:
    network, given = make(), inputs()
    everything = torch.ones(2, 3, dtype=torch.bool)
    plain = network(*given, shape=SIZE)
    torch.testing.assert_close(network(*given, shape=SIZE, generated=everything), plain)
    everything[:, 0] = False
    assert not torch.allclose(network(*given, shape=SIZE, generated=everything)[:, :, 0], plain[:, :, 0])


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
            output = network(*inputs(), shape=SIZE)
        forward_only = kept
        output.square().sum().backward()
        results.append((forward_only, output, [weight.grad for weight in lora.parameters()]))
    (plain, first, gradients), (less, second, same) = results
    assert less < plain / 3
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(gradients, same)


def test_without_a_graph_there_is_nothing_to_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("not called")

    monkeypatch.setattr(stdit3, "checkpoint", fail)
    network = make(checkpointing=True)
    with torch.no_grad():
        network(*inputs(), shape=SIZE)
    with pytest.raises(AssertionError, match="not called"):
        network(*inputs(), shape=SIZE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "hidden_size 32 and 3 heads"),
        ({"hidden_size": 36, "num_heads": 12}, "heads of an even width"),
        ({"pred_sigma": False}, "True"),
        ({"qk_norm": False}, "True"),
        ({"patch_size": (2, 2, 2)}, "1"),
        ({"model_type": "STDiT2"}, "STDiT3"),
    ],
)
def test_configs_of_other_networks_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        STDiT3Config.model_validate(SIZES | changes)


def test_the_released_network_takes_and_gives_the_released_size(released: STDiT3) -> None:
    latents, text = torch.empty(2, 4, 15, 34, 46, device="meta"), torch.empty(2, 300, 4096, device="meta")
    output = released(latents, torch.empty(2, device="meta"), text, Format(276, 368, 24))
    assert output.shape == (2, 8, 15, 34, 46)
