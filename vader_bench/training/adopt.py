"""Adapters that were not trained here, taken into the folder of a run."""

from __future__ import annotations

from typing import NamedTuple

import torch

from vader_bench import files
from vader_bench.backbones import BACKBONES
from vader_bench.backbones.adapters import fit_adapter
from vader_bench.config.schema import RunConfig
from vader_bench.config.settings import AdapterSettings
from vader_bench.diffusion.lora import Lora
from vader_bench.errors import UserError
from vader_bench.records.folder import RunFolder
from vader_bench.training.load import Components
from vader_bench.weights.adapter_files import adapter_digest
from vader_bench.weights.adapters import read_stored

__all__ = ["Adopted", "adopt"]


class Adopted(NamedTuple):
    """What was taken."""

    sha256: str
    """Of the file in the run's folder."""
    note: str
    """What whoever reads the results must know of it."""


def adopt(config: RunConfig, run: RunFolder, components: Components) -> Adopted:
    """Write the adapters that ``config`` names to the folder of its run, in this program's form.

    From there on they are measured, filmed and exported like trained ones.

    Raises:
        UserError: they are not what they were when the command was given, cannot be read, or do not fit.
    """
    settings = config.settings
    assert isinstance(settings, AdapterSettings), "settings are those of adapters"
    written = config.suite.written(settings.adapter)
    if adapter_digest(settings.adapter) != settings.sha256:
        raise UserError(written, "was changed since the command was given", "give the command again")
    stored, denoiser = read_stored(settings.adapter, settings.alpha), components.backbone.denoiser
    found = fit_adapter(stored, BACKBONES.get(config.suite.backbone.family), denoiser, written)
    lora, path = Lora(denoiser, found.targets, found.rank, torch.Generator()), run.adapter_path(0, 0)
    lora.load(found.weights, written)
    lora.save(path)
    lora.remove()
    alpha = "" if settings.alpha is None else f" and alpha {settings.alpha:g}"
    note = f"adapters of {written}, in {stored.form}, of rank {found.rank}{alpha}; not trained here"
    return Adopted(files.sha256_file(path), note)
