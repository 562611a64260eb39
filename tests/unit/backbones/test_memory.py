"""Slices and activations on the CPU. That they change no number of any family is in the contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from trl.trainer.ddpo_trainer import DDPOTrainer

from tests.support import flow, open_sora
from tests.support.benches import Stand, make_stand
from vader_bench.backbones import BACKBONES, Backbone
from vader_bench.backbones import memory as module
from vader_bench.backbones.memory import offloaded, with_memory_switches
from vader_bench.budget import metering
from vader_bench.budget.memory import LiveBytes
from vader_bench.config.schema import MemoryConfig

SLICED = MemoryConfig(slicing=True)
SMALL: dict[str, Any] = {"batch_size": 4, "lora_rank": 2, "learning_rate": 1e-3}


def start(backbone: Backbone, videos: int) -> Tensor:
    return torch.randn(videos, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def decoded(tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[int] | None]]:
    """The batches and frames that the tiny model is asked to decode."""
    calls: list[tuple[int, list[int] | None]] = []
    decode = tiny_backbone.decode

    def spy(latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        calls.append((len(latents), None if frames is None else list(frames)))
        return decode(latents, frames)

    monkeypatch.setattr(tiny_backbone, "decode", spy)
    return calls


def kept_by(call: Callable[[], Tensor]) -> int:
    """Return how many numbers ``call`` keeps for its backward pass."""
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return sum(sizes)


def test_with_nothing_set_it_is_the_model_itself(tiny_backbone: Backbone) -> None:
    assert with_memory_switches(tiny_backbone, MemoryConfig()) is tiny_backbone


@pytest.mark.parametrize("frames", [None, [2, 0]])
def test_videos_and_frames_are_decoded_one_by_one(
    frames: list[int] | None, tiny_backbone: Backbone, decoded: list[tuple[int, list[int] | None]]
) -> None:
    latents = start(tiny_backbone, 2)
    expected = tiny_backbone.decode(latents, frames)
    decoded.clear()
    torch.testing.assert_close(with_memory_switches(tiny_backbone, SLICED).decode(latents, frames), expected)
    assert decoded == [(1, [frame]) for _ in range(2) for frame in frames or range(4)]


def test_frames_stay_together_where_the_decoder_needs_their_neighbours(
    tiny_backbone: Backbone, decoded: list[tuple[int, list[int] | None]]
) -> None:
    tiny_backbone.decodes_frame_by_frame = False
    with_memory_switches(tiny_backbone, SLICED).decode(start(tiny_backbone, 2), [1, 3])
    assert decoded == [(1, [1, 3])] * 2


def test_slices_keep_nothing_but_their_latents(tiny_backbone: Backbone) -> None:
    latents = start(tiny_backbone, 2).requires_grad_()
    whole = kept_by(lambda: tiny_backbone.decode(latents))
    sliced = kept_by(lambda: with_memory_switches(tiny_backbone, SLICED).decode(latents))
    assert sliced < whole / 10


@pytest.fixture(params=["wan", "open-sora-1.2"])
def over_time(request: pytest.FixtureRequest, tmp_path: Path, tiny_pipeline: Path) -> Backbone:
    """A tiny model whose decoder mixes frames."""
    if request.param == "wan":
        flow.wan_pipeline(tiny_pipeline / "tokenizer").save_pretrained(tmp_path)
        return BACKBONES.get("wan").load(tmp_path, frames=21, height=16, width=16, tokens=32)
    open_sora.write_model(tmp_path, tiny_pipeline / "tokenizer")
    return BACKBONES.get("open-sora-1.2").load(tmp_path, frames=34, height=8, width=6)


def test_chunks_of_frames_keep_less_and_change_nothing(over_time: Backbone) -> None:
    latents = start(over_time, 1).requires_grad_()

    def passed() -> tuple[Tensor, Tensor, int]:
        with LiveBytes() as live:
            video = over_time.decode(latents)
            (gradient,) = torch.autograd.grad(video.sum(), latents)
        return video, gradient, live.peak

    whole, expected, most = passed()
    over_time.enable_chunks()
    video, gradient, less = passed()
    torch.testing.assert_close(video, whole)
    torch.testing.assert_close(gradient, expected)
    assert less < 0.75 * most


def test_a_decode_costs_the_same_in_the_ledger(tiny_backbone: Backbone) -> None:
    """But for the activations that are made again on the way back."""
    found = []
    for backbone in (tiny_backbone, with_memory_switches(tiny_backbone, SLICED)):
        stand = make_stand(backbone)
        latents = start(tiny_backbone, 2).requires_grad_()
        video = stand.bench.backbone.decode(latents, [0, 2])
        forward = stand.meter.ledger.flops
        video.sum().backward()
        ledger = stand.meter.ledger.as_dict()
        found.append((forward, ledger.pop("flops") - forward, ledger.pop("device_seconds"), ledger))
    (forward, backward, _, ledger), (again, more, _, same) = found
    assert forward == again > 0
    assert backward < more <= backward + forward
    assert ledger == same


def test_what_a_graph_keeps_is_copied_but_for_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, copies = nn.Linear(3, 3), []
    make = torch.empty_like

    def spy(tensor: Tensor, **settings: Any) -> Tensor:
        copies.append(tensor.shape)
        return make(tensor, **settings)

    x = torch.linspace(-1, 1, 6).reshape(2, 3).requires_grad_()
    expected = torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
    monkeypatch.setattr(torch, "empty_like", spy)
    with offloaded([layer]):
        layer(x)
    assert copies == [], "what lies on the CPU stays where it is"
    monkeypatch.setattr(module, "_offloadable", lambda _: True)
    with offloaded([layer]):
        loss = layer(x).square().sum()
    assert copies == [(2, 3), (2, 3)], "input and output, not the weight"
    found = torch.autograd.grad(loss, [x, *layer.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_nothing_is_copied_where_no_gradient_is_wanted(
    tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = []

    def spy(modules: Sequence[nn.Module]) -> AbstractContextManager[None]:
        entered.append(len(modules))
        return nullcontext()

    monkeypatch.setattr(module, "offloaded", spy)
    backbone = with_memory_switches(tiny_backbone, MemoryConfig(offload_activations=True))
    latents, encoded = start(backbone, 1), backbone.encode(["a cat"])
    with torch.no_grad():
        backbone.decode(backbone.denoise(latents, torch.tensor([500]), encoded))
    assert entered == []
    backbone.denoise(latents, torch.tensor([500]), encoded)
    assert entered == [len(backbone.modules())]


@pytest.mark.parametrize("name", ["ddpo", "diffusion-dpo"])
def test_methods_train_on_half_precision(
    name: str, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = half_precision("float16", tiny_backbone, monkeypatch).method(name, **SMALL)
    before = method.lora.state()
    metrics = method.step(4)
    assert metrics["grad_norm"] > 0
    assert any(not torch.equal(weight, before[key]) for key, weight in method.lora.state().items())


@pytest.mark.parametrize("weights", ["float16", "bfloat16"])
def test_in_half_precision_a_policy_that_has_not_moved_has_ratios_of_1(
    weights: str, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two updates: the first one is of the policy that drew the samples, on a part of them."""
    ratios: list[Tensor] = []
    loss = DDPOTrainer.loss

    def spy(trainer: object, advantages: Tensor, clip_range: float, ratio: Tensor) -> Tensor:
        ratios.append(ratio.detach())
        value: Tensor = loss(trainer, advantages, clip_range, ratio)
        return value

    monkeypatch.setattr(DDPOTrainer, "loss", spy)
    method = half_precision(weights, tiny_backbone, monkeypatch).method("ddpo", **SMALL)
    metrics = method.step(4)
    first, second = (torch.cat(ratios[half : half + 5]) for half in (0, 5))
    assert torch.equal(first, torch.ones(10))
    assert metrics["unmoved_deviation"] == 0
    assert not torch.equal(second, torch.ones(10)), "the second update's policy has moved"


def half_precision(weights: str, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> Stand:
    monkeypatch.setattr(metering, "count_flops", lambda *_: (2, 3))
    memory = MemoryConfig.model_validate({"frozen_weights": weights})
    return make_stand(with_memory_switches(backbone, memory), steps=5, half_precision=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "memory", [SLICED, MemoryConfig(offload_activations=True), MemoryConfig(frozen_weights="bfloat16")]
)
def test_less_memory_of_the_gpu_is_taken(memory: MemoryConfig, tiny_backbone: Backbone) -> None:
    latents = start(tiny_backbone, 64).cuda().requires_grad_()

    def peak(backbone: Backbone) -> int:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        backbone.decode(latents).sum().backward()
        return torch.cuda.max_memory_allocated() - before

    plain = tiny_backbone.to("cuda")
    peak(plain)  # libraries take their workspace once
    expected = peak(plain)
    assert peak(with_memory_switches(plain, memory)) < 0.8 * expected
