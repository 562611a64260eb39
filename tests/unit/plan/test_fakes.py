"""Bytes and FLOPs of networks without values."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.configs import tiny_run
from vader_bench.config import MemoryConfig
from vader_bench.errors import UserError
from vader_bench.live_bytes import LiveBytes
from vader_bench.plan.fakes import Call, Fakes

FORWARD = Call("denoise", 0, graph=False, input_grad=False, trainable=True)
TRAINED = Call("denoise", 0, graph=True, input_grad=False, trainable=True)


def fakes(pipeline: Path, *, fused: bool = False, precision: str = "fp32") -> Fakes:
    return Fakes(tiny_run(pipeline).suite, ["red"], 2, precision, fused=fused)


def test_live_bytes_counts_what_is_made_and_what_is_gone() -> None:
    before = torch.ones(1000)
    with LiveBytes() as bytes_:
        doubled = before * 2
        view = doubled[:10]
        doubled.add_(1)
        assert bytes_.live == bytes_.peak == 4000
        del view, doubled
        assert bytes_.live == 0
        single = torch.zeros(100)
    assert (bytes_.live, bytes_.peak) == (400, 4000)
    del single


def test_a_graph_keeps_bytes_and_a_call_without_one_only_its_result(tiny_pipeline: Path) -> None:
    networks = fakes(tiny_pipeline, fused=True)
    channels, frames, height, width = networks.backbone.latent_shape
    without, trained = networks.footprint(FORWARD, "red"), networks.footprint(TRAINED, "red")
    assert without.kept == 4 * channels * frames * height * width < without.peak
    assert trained.kept > 10 * without.kept
    assert trained.peak >= trained.kept


def test_half_precision_halves_weights_and_shrinks_what_is_kept(tiny_pipeline: Path) -> None:
    full, half = fakes(tiny_pipeline, fused=True), fakes(tiny_pipeline, fused=True, precision="bf16")
    numbers = sum(b.nbytes for m in full.backbone.modules() for b in m.buffers() if not b.is_floating_point())
    assert half.weights("red") == (full.weights("red") - numbers) / 2 + numbers  # places of tokens stay
    assert half.adapters == full.adapters
    assert half.footprint(FORWARD, "red").kept == full.footprint(FORWARD, "red").kept / 2
    assert half.footprint(TRAINED, "red").kept < 0.8 * full.footprint(TRAINED, "red").kept


def test_checkpointing_keeps_less_and_computes_more(tiny_pipeline: Path) -> None:
    memory = MemoryConfig(checkpointing=True)
    suite = tiny_run(tiny_pipeline).suite.model_copy(update={"memory": memory})
    plain = fakes(tiny_pipeline, fused=True).footprint(TRAINED, "red")
    saving = Fakes(suite, ["red"], 2, fused=True).footprint(TRAINED, "red")
    assert saving.kept < 0.6 * plain.kept
    assert Fakes(suite, ["red"], 2).flops(TRAINED, "red")[1] > fakes(tiny_pipeline).flops(TRAINED, "red")[1]


def test_flops_count_adapters_and_backward_passes(tiny_pipeline: Path) -> None:
    networks = fakes(tiny_pipeline)
    base = networks.flops(FORWARD._replace(trainable=False), "red")
    forward, trained = networks.flops(FORWARD, "red"), networks.flops(TRAINED, "red")
    assert 0 < base[0] < forward[0] == trained[0]
    assert base[1] == forward[1] == 0 < trained[1]


def test_a_family_that_cannot_be_built_without_weights_is_told(tiny_pipeline: Path) -> None:
    suite = tiny_run(tiny_pipeline).suite
    other = suite.backbone.model_copy(update={"family": "videocrafter2"})
    with pytest.raises(UserError, match="cannot be estimated without a run yet; use `plan` with"):
        Fakes(suite.model_copy(update={"backbone": other}), ["red"], 2)
