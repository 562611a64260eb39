"""Adapters from files make the model predict what the programs that wrote them predict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.contract.test_backbones import CASES
from tests.support.adapters import TAKES_ADAPTERS, Made, Make, load, maker, predict
from vader_bench.backbones import BACKBONES
from vader_bench.backbones.adapters import fit_adapter
from vader_bench.config.schema import SuiteConfig
from vader_bench.diffusion.lora import Lora
from vader_bench.errors import UserError
from vader_bench.training.export import AdapterForm, write_adapter
from vader_bench.weights.adapters import read_stored

CONFIGS: dict[str, dict[str, Any]] = {
    "weaker": {"r": 4, "lora_alpha": 2},
    "ranks": {"r": 2, "lora_alpha": 4, "rank_pattern": {"to_k": 3}, "alpha_pattern": {"to_v": 6}},
    "square root": {"r": 4, "lora_alpha": 3, "use_rslora": True},
}


@pytest.fixture(scope="module")
def make(tiny_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tiny_pipeline / "tokenizer", tmp_path_factory)


@pytest.fixture(scope="module")
def modelscope(make: Make) -> Made:
    return make("modelscope")


def taken(suite: SuiteConfig, name: Path, alpha: float | None = None) -> Tensor:
    """Return what the model of ``suite`` predicts with the adapters ``name`` put into it."""
    backbone, factory = load(suite), BACKBONES.get(suite.backbone.family)
    found = fit_adapter(read_stored(str(name), alpha), factory, backbone.denoiser, "x")
    lora = Lora(backbone.denoiser, found.targets, found.rank, torch.Generator())
    lora.load(found.weights)
    return predict(backbone)


def refusal(suite: SuiteConfig, name: Path, alpha: float | None = None) -> str:
    """Return what is said of adapters that are refused."""
    with pytest.raises(UserError) as refused:
        taken(suite, name, alpha)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def peft_model(suite: SuiteConfig, **config: Any) -> tuple[PeftModel, Tensor]:
    """Return the denoiser of ``suite`` in peft's hands with adapters that matter, and its predictions."""
    backbone = load(suite)
    model = get_peft_model(backbone.denoiser, LoraConfig(**config))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.3, generator=generator)
    backbone.denoiser = model.get_base_model()
    return model.eval(), predict(backbone)


@pytest.mark.parametrize("name", list(CASES))
def test_peft_s_form_comes_back(name: str, make: Make, tmp_path: Path) -> None:
    suite, adapter, predictions = make(name)
    write_adapter(adapter, suite, AdapterForm.PEFT, tmp_path)
    torch.testing.assert_close(taken(suite, tmp_path), predictions, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", TAKES_ADAPTERS)
def test_diffusers_form_comes_back(name: str, make: Make, tmp_path: Path) -> None:
    suite, adapter, predictions = make(name)
    write_adapter(adapter, suite, AdapterForm.DIFFUSERS, tmp_path)
    torch.testing.assert_close(taken(suite, tmp_path), predictions, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list(CASES))
def test_this_program_s_form_comes_back(name: str, make: Make, tmp_path: Path) -> None:
    suite, adapter, predictions = make(name)
    lora = Lora(load(suite).denoiser, adapter.targets, adapter.rank, torch.Generator())
    lora.load(adapter.weights)
    lora.save(tmp_path / "any-name.safetensors")
    torch.testing.assert_close(taken(suite, tmp_path / "any-name.safetensors"), predictions)


@pytest.mark.parametrize("name", ["videocrafter2", "open-sora-1.2"])
def test_the_form_of_vader_s_authors(name: str, make: Make, tmp_path: Path) -> None:
    """Their code saves ``get_peft_model_state_dict`` by torch.save; alpha is peft's default of 8."""
    suite = make(name).suite
    targets = ["to_q", "to_k", "to_v"] if name == "videocrafter2" else ["qkv", "q_linear", "kv_linear"]
    model, theirs = peft_model(suite, r=16, target_modules=targets, lora_dropout=0.01)
    path = tmp_path / "vader_videocrafter_pickscore.pt"
    torch.save(get_peft_model_state_dict(model), path)
    torch.testing.assert_close(taken(suite, path, alpha=8), theirs, atol=1e-5, rtol=1e-5)
    assert (taken(suite, path, alpha=16) - theirs).abs().max() > 1e-3
    assert "says nothing of their alpha" in refusal(suite, path)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_scales_and_ranks_are_peft_s(config: dict[str, Any], modelscope: Made, tmp_path: Path) -> None:
    targets = ["to_q", "to_k", "to_v", "to_out.0"]
    model, theirs = peft_model(modelscope.suite, target_modules=targets, **config)
    model.save_pretrained(str(tmp_path))
    torch.testing.assert_close(taken(modelscope.suite, tmp_path), theirs, atol=1e-5, rtol=1e-5)
    direct = taken(modelscope.suite, tmp_path / "adapter_model.safetensors")
    torch.testing.assert_close(direct, theirs, atol=1e-5, rtol=1e-5)


def halved(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return adapters of which one layer has half the rank."""
    layer = next(key for key in weights if "attn2.to_v.lora_A" in key).removesuffix(".lora_A.weight")
    low, high = weights[f"{layer}.lora_A.weight"][:1], weights[f"{layer}.lora_B.weight"][:, :1]
    return weights | {
        f"{layer}.lora_A.weight": low.clone(),
        f"{layer}.lora_B.weight": high.contiguous().clone(),
    }


@pytest.mark.parametrize("case", ["plain", "two ranks", "metadata"])
def test_what_diffusers_makes_of_a_file_is_made_of_it_here(case: str, make: Make, tmp_path: Path) -> None:
    suite, adapter, _ = make("wan")
    write_adapter(adapter, suite, AdapterForm.DIFFUSERS, tmp_path)
    path = tmp_path / "pytorch_lora_weights.safetensors"
    weights, metadata = load_file(path), {"format": "pt"}
    if case == "two ranks":
        weights = halved(weights)
    if case == "metadata":
        config = LoraConfig(r=2, lora_alpha=1, target_modules=list(adapter.targets)).to_dict()
        told = {f"transformer.{key}": value for key, value in config.items()}
        metadata["lora_adapter_metadata"] = json.dumps(told, default=list)  # as diffusers writes it
    save_file(weights, path, metadata)
    pipe = DiffusionPipeline.from_pretrained(suite.backbone_weights()[0])
    pipe.load_lora_weights(str(tmp_path), weight_name=path.name)
    backbone = load(suite)
    backbone.denoiser = pipe.transformer
    torch.testing.assert_close(taken(suite, path), predict(backbone), atol=1e-5, rtol=1e-5)


def test_alphas_and_names_of_older_files(modelscope: Made, tmp_path: Path) -> None:
    """``.lora.down`` and ``.lora.up`` under ``unet.``, alpha beside them: half of the rank is half of B."""
    suite, adapter, _ = modelscope
    old = {}
    for key, weight in adapter.weights.items():
        layer, side = key.removesuffix(".weight").rsplit(".", 1)
        old[f"unet.{layer}.lora.{'down' if side == 'lora_A' else 'up'}.weight"] = weight
        old[f"unet.{layer}.alpha"] = torch.tensor(1.0)
    save_file(old, tmp_path / "old.safetensors")
    half = {k: w / 2 if "lora_B" in k else w for k, w in adapter.weights.items()}
    backbone = load(suite)
    Lora(backbone.denoiser, adapter.targets, 2, torch.Generator()).load(half)
    theirs = predict(backbone)
    torch.testing.assert_close(taken(suite, tmp_path / "old.safetensors"), theirs, atol=1e-5, rtol=1e-5)


Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]
LAYER = "transformer_in.transformer_blocks.0.attn1.to_q"


def without(*endings: str) -> Change:
    return lambda weights: {k: w for k, w in weights.items() if not k.endswith(endings)}


def renamed(old: str, new: str) -> Change:
    return lambda weights: {k.replace(old, new): w for k, w in weights.items()}


def test_a_folder_with_two_files_for_a_network_is_refused(modelscope: Made, tmp_path: Path) -> None:
    suite, adapter, _ = modelscope
    weights = {f"unet.{key}": weight for key, weight in adapter.weights.items()}
    for name in ("pytorch_lora_weights.safetensors", "step500_pytorch_lora_weights.safetensors"):
        save_file(weights, tmp_path / name)
    assert "has adapters of unet, and so has another file of its folder" in refusal(suite, tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without(f"{LAYER}.lora_B.weight"), f"lacks {LAYER}.lora_B.weight"),
        (without(f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight"), f"lacks {LAYER}"),
        (renamed(LAYER, "transformer_in.no_such_layer"), "has an unknown transformer_in.no_such_layer"),
        (lambda w: w | {"unet.conv_in.diff": torch.ones(2)}, "has an unknown conv_in.diff"),
        (lambda w: w | {"text_encoder.x": torch.ones(2)}, "has an unknown text_encoder.x"),
        (
            lambda w: w | {f"unet.{LAYER}.lora_A.weight": torch.ones(2, 3)},
            f"has {LAYER} of shape [",
        ),
        (
            lambda w: w | {f"unet.{LAYER}.lora_A.weight": torch.ones(5, 3)},
            f"has {LAYER} of ranks 5 and 2",
        ),
        (
            lambda w: (
                w
                | {
                    "unet.conv_in.lora_A.weight": torch.ones(2, 3, 1, 1),
                    "unet.conv_in.lora_B.weight": torch.ones(4, 2, 1, 1),
                }
            ),
            "adapts conv_in, which is no linear layer",
        ),
        (renamed("unet.", "transformer_2."), "has adapters of transformer_2, which the model does not have"),
        (lambda _: {}, "is empty"),
    ],
)
def test_what_fits_nothing_and_what_is_missing_is_named(
    change: Change, said: str, modelscope: Made, tmp_path: Path
) -> None:
    suite, adapter, _ = modelscope
    assert f"{LAYER}.lora_A.weight" in adapter.weights
    path = tmp_path / "changed.safetensors"
    save_file(change({f"unet.{key}": weight for key, weight in adapter.weights.items()}), path)
    assert said in refusal(suite, path)


def test_a_layer_that_peft_s_configuration_names_is_missed(modelscope: Made, tmp_path: Path) -> None:
    suite, adapter, _ = modelscope
    write_adapter(adapter, suite, AdapterForm.PEFT, tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    save_file(without(".attn2.to_v.lora_A.weight", ".attn2.to_v.lora_B.weight")(load_file(path)), path)
    assert ".attn2.to_v" in refusal(suite, tmp_path)
    assert "more faults" in refusal(suite, tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"use_dora": True}, "has use_dora set"),
        ({"init_lora_weights": "pissa"}, "has init_lora_weights set"),
        ({"bias": "all"}, "has bias set"),
        ({"peft_type": "LOHA"}, "is of the kind 'LOHA'"),
        ({"r": 3}, "of rank 2, and its configuration says 3"),
        ({"something_new": True}, "is refused by peft"),
    ],
)
def test_more_than_a_low_rank_sum_is_refused(
    changes: dict[str, Any], said: str, modelscope: Made, tmp_path: Path
) -> None:
    suite, adapter, _ = modelscope
    write_adapter(adapter, suite, AdapterForm.PEFT, tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    assert said in refusal(suite, tmp_path)


def test_an_alpha_that_the_files_say_is_not_given_again(modelscope: Made, tmp_path: Path) -> None:
    suite, adapter, _ = modelscope
    write_adapter(adapter, suite, AdapterForm.PEFT, tmp_path)
    assert "says its alpha itself" in refusal(suite, tmp_path, alpha=8)


def test_the_model_stays_as_it_is(modelscope: Made, tmp_path: Path) -> None:
    """On the device ``meta`` too, where checks hold adapters against a model without weights."""
    suite, adapter, _ = modelscope
    write_adapter(adapter, suite, AdapterForm.PEFT, tmp_path)
    weights, settings = suite.backbone_weights()
    factory = BACKBONES.get("modelscope")
    denoiser: nn.Module = factory.skeleton(weights, **settings).denoiser
    before = [name for name, _ in denoiser.named_modules()]
    found = fit_adapter(read_stored(str(tmp_path)), factory, denoiser, "x")
    assert [name for name, _ in denoiser.named_modules()] == before
    assert found.rank == 2
    assert set(found.targets) == set(adapter.targets)
