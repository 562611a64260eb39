"""Forms in which every family of backbones is cheaper: the same model, shown as in ``test_backbones``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.contract.test_backbones import (
    CASES,
    Model,
    difference,
    frozen_weights,
    passes,
    same,
    shapes,
    start,
    trained,
    written,
)  # fmt: skip
from tests.support.benches import PROMPTS
from vader_bench.backbones.memory import with_memory_switches
from vader_bench.config.schema import MemoryConfig
from vader_bench.diffusion.lora import Lora
from vader_bench.seeding import torch_stream


@pytest.fixture(scope="module", params=CASES)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path
) -> Model:
    return written(request.param, tmp_path_factory, tiny_pipeline / "tokenizer")


def test_with_checkpointing_a_call_keeps_little_but_what_goes_between_layers(model: Model) -> None:
    sizes = []
    for checkpointing in (False, True):
        backbone = with_memory_switches(model.load(), MemoryConfig(checkpointing=checkpointing))
        Lora(backbone.denoiser, backbone.lora_targets, 2, torch_stream(0, "lora"))
        weights = {weight.untyped_storage().data_ptr() for weight in backbone.denoiser.parameters()}
        kept: dict[int, int] = {}

        def keep(tensor: Tensor, weights: set[int] = weights, kept: dict[int, int] = kept) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        latents, encoded = start(backbone, 2).requires_grad_(), backbone.encode(PROMPTS[:2])
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            prediction = backbone.denoise(latents, backbone.schedule.timesteps(3)[[0, 2]], encoded)
        assert prediction.requires_grad
        sizes.append(sum(kept.values()))
    assert sizes[1] < sizes[0] / 5


def test_in_the_form_for_the_cpu_it_is_the_same_model(model: Model) -> None:
    plain, quick = model.load(), model.load().to("cpu")
    assert [shapes(module) for module in quick.modules()] == [shapes(module) for module in plain.modules()]
    expected = passes(plain)
    for name, value in passes(quick).items():
        assert difference(value, expected[name]) < 1e-4, name


@torch.no_grad()
@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_merged_adapters_predict_the_same(weights: str, model: Model) -> None:
    backbone = with_memory_switches(model.load(), MemoryConfig.model_validate({"frozen_weights": weights}))
    lora = Lora(backbone.denoiser, backbone.lora_targets, 2, torch_stream(0, "lora"))
    lora.load(trained(lora.state()))
    given = start(backbone, 2), backbone.schedule.timesteps(3)[[0, 2]], backbone.encode(PROMPTS[:2])
    apart, frozen = backbone.denoise(*given), frozen_weights(backbone)
    with lora.merged():
        together = backbone.denoise(*given)
    assert difference(together, apart) < (1e-5 if weights == "float32" else 1e-30)
    assert same(frozen, frozen_weights(backbone))
    assert torch.equal(backbone.denoise(*given), apart)
    with lora.disabled():
        assert difference(backbone.denoise(*given), apart) > 1e-3
