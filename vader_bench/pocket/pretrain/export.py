"""Writes trained models to the folder that the package ships."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer, VideoMAEForVideoClassification

from vader_bench.files import write_json
from vader_bench.pocket.pretrain.pictures import IMAGE_MEAN, IMAGE_STD
from vader_bench.pocket.world import SIZE

__all__ = ["export_clip", "export_head", "export_videomae"]


def export_clip(model: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write a CLIP folder in half precision, with its tokenizer."""
    model.half().save_pretrained(folder)
    model.float()
    tokenizer.save_pretrained(folder)
    _write_preprocessing(folder)


def export_head(head: dict[str, Tensor], folder: Path) -> None:
    """Write the aesthetic head as ``head.safetensors``."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(head, folder / "head.safetensors")


def export_videomae(model: VideoMAEForVideoClassification, folder: Path) -> None:
    """Write a VideoMAE folder in half precision."""
    model.half().save_pretrained(folder)
    model.float()
    _write_preprocessing(folder)


def _write_preprocessing(folder: Path) -> None:
    settings = {"image_mean": list(IMAGE_MEAN), "image_std": list(IMAGE_STD), "size": SIZE}
    write_json(folder / "preprocessor_config.json", settings)
