"""Backbones by the name of their family, read so that damaged folders end in one line for the user."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from vader_bench.backbones import BACKBONES
from vader_bench.backbones.base import Backbone, Outline, PromptReader
from vader_bench.weights.tensors import told_as_damaged

__all__ = ["load_family", "outline_of", "picture_reader_of", "reader_of", "skeleton_of"]


def load_family(
    family: str, folder: Path, settings: Mapping[str, Any], dtype: torch.dtype = torch.float32
) -> Backbone:
    """Return the model in ``folder``; see ``BackboneFactory.load``.

    Raises:
        UserError: as there; or a library cannot read what is in the folder.
    """
    with _told(family, str(folder)):
        return BACKBONES.get(family).load(folder, dtype, **settings)


def skeleton_of(family: str, weights: str, settings: Mapping[str, Any]) -> Backbone:
    """Return the model without the values of its weights; see ``BackboneFactory.skeleton``.

    Raises:
        UserError: as there; or a library cannot read what the weights' configuration says.
    """
    with _told(family, weights):
        return BACKBONES.get(family).skeleton(weights, **settings)


def outline_of(family: str, weights: str, settings: Mapping[str, Any]) -> Outline:
    """Return what the model's configuration says; see ``BackboneFactory.outline``.

    Raises:
        UserError: as for ``skeleton_of``.
    """
    with _told(family, weights):
        return BACKBONES.get(family).outline(weights, **settings)


def reader_of(family: str, weights: str, settings: Mapping[str, Any]) -> PromptReader | None:
    """Return what refuses a prompt as the model would; see ``BackboneFactory.reader``.

    Raises:
        UserError: as there; or a library cannot read what is in the folder.
    """
    with _told(family, weights):
        return BACKBONES.get(family).reader(weights, **settings)


def picture_reader_of(family: str, settings: Mapping[str, Any]) -> PromptReader | None:
    """Return what refuses a prompt that names no picture; see ``BackboneFactory.picture_reader``.

    Raises:
        UserError: as there.
    """
    return BACKBONES.get(family).picture_reader(**settings)


def _told(family: str, source: str) -> AbstractContextManager[None]:
    """Return what tells of damage in ``source``; errors in code of others are theirs to see as they are."""
    return told_as_damaged(source) if family in BACKBONES.table else nullcontext()
