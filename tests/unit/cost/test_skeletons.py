"""Bytes and FLOPs of networks without values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch.nn import functional

from tests.support.configs import tiny_run
from vader_bench.backbones import BackboneFactory
from vader_bench.backbones.modelscope import ModelScopeFactory
from vader_bench.cost.skeletons import Call, Skeletons
from vader_bench.errors import UserError

FORWARD = Call("denoise", 0, graph=False, input_grad=False, trainable=True)
TRAINED = Call("denoise", 0, graph=True, input_grad=False, trainable=True)
DECODED = Call("decode", 4, graph=True, input_grad=True, trainable=False)


def skeletons(pipeline: Path, **memory: Any) -> Skeletons:
    suite = tiny_run(pipeline).suite
    return Skeletons(suite.model_copy(update={"memory": suite.memory.model_copy(update=memory)}), ["red"], 2)


def test_a_graph_keeps_bytes_and_a_call_without_one_only_its_result(tiny_pipeline: Path) -> None:
    networks = skeletons(tiny_pipeline)
    channels, frames, height, width = networks.backbone.latent_shape
    without, trained = networks.cost(FORWARD, "red"), networks.cost(TRAINED, "red")
    assert without.kept == 4 * channels * frames * height * width < without.peak
    assert trained.kept > 10 * without.kept
    assert trained.peak >= trained.kept


def test_half_precision_halves_weights_and_shrinks_what_is_kept(tiny_pipeline: Path) -> None:
    full, half = skeletons(tiny_pipeline), skeletons(tiny_pipeline, frozen_weights="bfloat16")
    assert 0.5 * full.weights("red") <= half.weights("red") < 0.8 * full.weights("red")  # encoders stay
    assert half.adapters == full.adapters
    assert half.cost(TRAINED, "red").kept < 0.9 * full.cost(TRAINED, "red").kept
    assert half.cost(TRAINED, "red").forward == full.cost(TRAINED, "red").forward
    assert skeletons(tiny_pipeline, frozen_weights="float16").weights("red") == half.weights("red")


def test_checkpointing_keeps_less_and_computes_more(tiny_pipeline: Path) -> None:
    plain = skeletons(tiny_pipeline).cost(TRAINED, "red")
    saving = skeletons(tiny_pipeline, checkpointing=True).cost(TRAINED, "red")
    assert saving.kept < 0.6 * plain.kept
    assert saving.backward > plain.backward
    assert saving.forward == plain.forward


def test_slices_are_decoded_one_after_the_other(tiny_pipeline: Path) -> None:
    plain = skeletons(tiny_pipeline).cost(DECODED, "red")
    sliced = skeletons(tiny_pipeline, slicing=True).cost(DECODED, "red")
    assert sliced.kept < 0.5 * plain.kept
    assert sliced.peak < 0.6 * plain.peak


def test_what_waits_on_the_cpu_is_not_kept(tiny_pipeline: Path) -> None:
    plain, away = skeletons(tiny_pipeline), skeletons(tiny_pipeline, offload_activations=True)
    assert away.cost(TRAINED, "red").kept == plain.cost(FORWARD, "red").kept
    assert away.cost(TRAINED, "red").peak < 0.8 * plain.cost(TRAINED, "red").peak
    assert away.cost(TRAINED, "red").backward == plain.cost(TRAINED, "red").backward
    assert away.cost(DECODED, "red").kept < 0.5 * plain.cost(DECODED, "red").kept


def test_moments_in_8_bits_take_a_quarter(tiny_pipeline: Path) -> None:
    plain, small = skeletons(tiny_pipeline), skeletons(tiny_pipeline, optimizer="adamw8bit")
    assert plain.training == 4 * plain.adapters
    assert small.training == 2.5 * small.adapters


def test_flops_count_adapters_and_backward_passes(tiny_pipeline: Path) -> None:
    networks = skeletons(tiny_pipeline)
    base = networks.cost(FORWARD._replace(trainable=False), "red")
    forward, trained = networks.cost(FORWARD, "red"), networks.cost(TRAINED, "red")
    assert 0 < base.forward < forward.forward == trained.forward
    assert base.backward == forward.backward == 0 < trained.backward


def test_attention_is_its_own_again(tiny_pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = functional.scaled_dot_product_attention
    networks = skeletons(tiny_pipeline)
    networks.cost(FORWARD, "red")
    assert functional.scaled_dot_product_attention is plain
    monkeypatch.setattr(networks, "_input", lambda _: None)
    with pytest.raises(TypeError):
        networks.cost(TRAINED, "red")
    assert functional.scaled_dot_product_attention is plain


def test_a_family_that_cannot_be_built_without_weights_is_reported(
    tiny_pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelScopeFactory, "skeleton", BackboneFactory.skeleton)
    with pytest.raises(UserError, match="cannot be estimated without a run; give the family a `skeleton`"):
        skeletons(tiny_pipeline)
