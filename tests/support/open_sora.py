"""A tiny random Open-Sora in the layout of the released weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import T5Config, T5EncoderModel

from vader_bench.backbones.open_sora_vae import OpenSoraVAE, OpenSoraVAEConfig
from vader_bench.backbones.stdit3 import STDiT3, STDiT3Config

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "depth": 2,
    "num_heads": 2,
    "caption_channels": 16,
    "model_max_length": 48,
}
"""Of the denoiser."""
VAE_SIZES: dict[str, Any] = {
    "vae_2d": {"block_out_channels": [4, 8], "layers_per_block": 1, "norm_num_groups": 4},
    "vae_temporal": {"type": "VAE_Temporal", "filters": 8, "num_res_blocks": 1, "num_groups": 4},
}
"""Chunks of 17 pictures of 8 x 6 pixels have latents 4 x 5 x 4 x 3 (C, F, h, w)."""

_RELEASED: dict[str, Any] = {
    "architectures": ["STDiT3"],
    "class_dropout_prob": 0.1,
    "drop_path": 0.0,
    "enable_flash_attn": True,
    "input_size": [None, None, None],
    "mlp_ratio": 4.0,
    "model_type": "STDiT3",
    "patch_size": [1, 2, 2],
    "pred_sigma": True,
    "torch_dtype": "float32",
}
_RELEASED_VAE: dict[str, Any] = {
    "architectures": ["VideoAutoencoderPipeline"],
    "cal_loss": False,
    "micro_frame_size": 17,
    "model_type": "VideoAutoencoderPipeline",
    "scale": [3.85, 2.32, 2.33, 3.06],
    "shift": [-0.1, 0.34, 0.27, 0.98],
}
"""Keys of the release's configs beside the sizes."""


def write_model(folder: Path, tokenizer: Path) -> Path:
    """Write a folder for the loader and return it; one of its networks is stored in half precision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = STDiT3(STDiT3Config.model_validate(SIZES))
        vae = OpenSoraVAE(OpenSoraVAEConfig.model_validate(VAE_SIZES))
        text_encoder = T5EncoderModel(
            T5Config(vocab_size=514, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        )
        for weight in (*transformer.parameters(), *vae.parameters(), transformer.y_embedder.y_embedding):
            nn.init.normal_(weight, std=0.2)
    vae.shift[:] = torch.tensor(_RELEASED_VAE["shift"]).reshape(1, 4, 1, 1, 1)
    vae.scale[:] = torch.tensor(_RELEASED_VAE["scale"]).reshape(1, 4, 1, 1, 1)
    _write(folder / "transformer", transformer.half(), _RELEASED | SIZES)
    _write(folder / "vae", vae, _RELEASED_VAE | VAE_SIZES)
    text_encoder.save_pretrained(folder / "text_encoder")
    shutil.copytree(tokenizer, folder / "tokenizer")
    return folder


def _write(folder: Path, network: nn.Module, config: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    save_file(network.state_dict(), folder / "model.safetensors")
