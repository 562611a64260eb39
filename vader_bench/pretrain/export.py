"""Writes trained models to the folder that the package ships."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    CLIPModel,
    CLIPTokenizer,
    VideoMAEForVideoClassification,
    VJEPA2Model,
    YolosForObjectDetection,
)

from vader_bench.files import write_json
from vader_bench.pocket.world import SIZE
from vader_bench.pretrain.pictures import IMAGE_MEAN, IMAGE_STD

__all__ = ["export_clip", "export_head", "export_videomae", "export_vjepa", "export_yolos"]


def export_clip(
    model: CLIPModel,
    tokenizer: CLIPTokenizer,
    folder: Path,
    mean: Sequence[float] = IMAGE_MEAN,
    std: Sequence[float] = IMAGE_STD,
) -> None:
    """Write a CLIP folder in half precision, with its tokenizer and the channel statistics it takes."""
    model.half().save_pretrained(folder)
    model.float()
    tokenizer.save_pretrained(folder)
    _write_preprocessing(folder, mean=mean, std=std)


def export_head(head: dict[str, Tensor], folder: Path) -> None:
    """Write the aesthetic head as ``head.safetensors``."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(head, folder / "head.safetensors")


def export_videomae(model: VideoMAEForVideoClassification, folder: Path) -> None:
    """Write a VideoMAE folder in half precision."""
    model.half().save_pretrained(folder)
    model.float()
    _write_preprocessing(folder)


def export_yolos(model: YolosForObjectDetection, folder: Path) -> None:
    """Write a YOLOS folder in half precision."""
    model.half().save_pretrained(folder)
    model.float()
    _write_preprocessing(folder)


def export_vjepa(model: VJEPA2Model, folder: Path) -> None:
    """Write a V-JEPA 2 folder in half precision."""
    model.half().save_pretrained(folder)
    model.float()
    _write_preprocessing(folder, "video_preprocessor_config.json")


def _write_preprocessing(
    folder: Path,
    name: str = "preprocessor_config.json",
    mean: Sequence[float] = IMAGE_MEAN,
    std: Sequence[float] = IMAGE_STD,
) -> None:
    write_json(folder / name, {"image_mean": list(mean), "image_std": list(std), "size": SIZE})
