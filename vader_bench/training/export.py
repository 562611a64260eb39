"""Adapters of a finished run in the forms that other programs read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from peft import LoraConfig
from safetensors import torch as safetensors
from torch import Tensor

from vader_bench import files
from vader_bench.backbones import BACKBONES
from vader_bench.config.names import BASE
from vader_bench.config.schema import SuiteConfig
from vader_bench.diffusion.lora import AdapterFile, read_adapter
from vader_bench.errors import UserError
from vader_bench.records.folder import ADAPTER_NAME
from vader_bench.records.places import run_suite
from vader_bench.training.model import read_run
from vader_bench.weights.networks import read_weights
from vader_bench.weights.resolve import resolve

__all__ = ["AdapterForm", "export_adapter", "write_adapter"]

_DIFFUSERS_NAME = "pytorch_lora_weights.safetensors"
_PEFT_NAME = "adapter_model.safetensors"
_PART_NAME = "diffusion_pytorch_model.safetensors"
_PEFT_PREFIX = "base_model.model."


class AdapterForm(StrEnum):
    """What an adapter is exported as."""

    DIFFUSERS = "diffusers"
    """What ``pipe.load_lora_weights`` takes, where diffusers' pipeline can take adapters."""
    PEFT = "peft"
    """What ``PeftModel.from_pretrained`` takes, for the denoiser of any family."""
    MERGED = "merged"
    """A whole pipeline folder whose denoiser has the adapters in its weights."""


class _Given(NamedTuple):
    """What is exported."""

    adapter: AdapterFile
    suite: SuiteConfig

    @property
    def parts(self) -> dict[str, str]:
        """See ``BackboneFactory.denoiser_parts``."""
        return BACKBONES.get(self.suite.backbone.family).denoiser_parts(self.adapter.weights.keys())


def export_adapter(run: Path, form: AdapterForm, out: Path) -> list[str]:
    """Write the adapters of a run to the folder ``out``; return lines of Python that load them.

    The pipeline that they are loaded into is made of the suite's weights. alpha equals the rank, so that the
    scale is 1.

    Raises:
        UserError: the run is not finished, is one of the base model, or its adapters are missing; the folder
            is in use; or diffusers cannot take adapters of its family.
    """
    record = read_run(run)
    if record.method == BASE:
        raise UserError(str(run), "is a run of the base model, without adapters", "give a trained run")
    if out.exists() and any(out.iterdir()):
        raise UserError(str(out), "is not empty", "give another --out, or empty it")
    return write_adapter(read_adapter(run / ADAPTER_NAME), run_suite(run, record), form, out)


def write_adapter(adapter: AdapterFile, suite: SuiteConfig, form: AdapterForm, out: Path) -> list[str]:
    """Write adapters of the model of ``suite``; see ``export_adapter``."""
    return _WRITERS[form](_Given(adapter, suite), out)


def _write_diffusers(given: _Given, out: Path) -> list[str]:
    family = given.suite.backbone.family
    if not BACKBONES.get(family).pipeline_takes_adapters:
        wrong = f"has no pipeline in diffusers that takes adapters (family {family})"
        raise UserError(f"suite {given.suite.suite}", wrong, "export with --to merged, or with --to peft")
    files.make_folder(out)
    lines = []
    for number, (prefix, part) in enumerate(given.parts.items()):
        name = _DIFFUSERS_NAME if number == 0 else f"{part}_{_DIFFUSERS_NAME}"
        weights = {f"transformer.{key.removeprefix(prefix)}": t for key, t in _of_part(given, prefix).items()}
        files.write_bytes(out / name, safetensors.save(weights, {"format": "pt"}))
        second = ", load_into_transformer_2=True" if number else ""
        lines.append(f'pipe.load_lora_weights("{out}", weight_name="{name}"{second})')
    return lines


def _write_peft(given: _Given, out: Path) -> list[str]:
    files.make_folder(out)
    adapter = given.adapter
    weights = {f"{_PEFT_PREFIX}{key}": tensor for key, tensor in adapter.weights.items()}
    files.write_bytes(out / _PEFT_NAME, safetensors.save(weights, {"format": "pt"}))
    config = LoraConfig(
        r=adapter.rank, lora_alpha=adapter.rank, lora_dropout=0.0, target_modules=list(adapter.targets)
    )
    config.inference_mode = True
    config.save_pretrained(str(out))
    return [f'model = PeftModel.from_pretrained(denoiser, "{out}")']


def _write_merged(given: _Given, out: Path) -> list[str]:
    name, _ = given.suite.backbone_weights()
    source = resolve(name)
    if not (source / "model_index.json").is_file():
        wrong = "is no pipeline folder of diffusers, which has a model_index.json"
        raise UserError(str(source), wrong, "export with --to peft")
    files.make_folder(out)
    shutil.copytree(source, out, dirs_exist_ok=True)
    for prefix, part in given.parts.items():
        merged = _merged(read_weights(source / part), _of_part(given, prefix), prefix)
        for path in (out / part).glob("diffusion_pytorch_model*"):  # in one file or several, with an index
            path.unlink()
        files.write_bytes(out / part / _PART_NAME, safetensors.save(merged, {"format": "pt"}))
    return [f'pipe = DiffusionPipeline.from_pretrained("{out}")']


_WRITERS: dict[AdapterForm, Callable[[_Given, Path], list[str]]] = {
    AdapterForm.DIFFUSERS: _write_diffusers,
    AdapterForm.PEFT: _write_peft,
    AdapterForm.MERGED: _write_merged,
}


def _of_part(given: _Given, prefix: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in given.adapter.weights.items() if key.startswith(prefix)}


def _merged(stored: dict[str, Tensor], weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return ``stored`` with ``B A`` added: summed in float32, and rounded once to what was stored."""
    ending = ".lora_A.weight"
    for key in weights:
        if key.endswith(ending):
            layer = key.removesuffix(ending)
            name = f"{layer.removeprefix(prefix)}.weight"
            low, high = weights[key].float(), weights[f"{layer}.lora_B.weight"].float()
            stored[name] = (stored[name].float() + high @ low).to(stored[name].dtype)
    return {name: tensor.contiguous() for name, tensor in stored.items()}
