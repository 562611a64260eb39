"""A tiny random Open-Sora in the layout of the released weights."""

from __future__ import annotations

from typing import Any

VAE_SIZES: dict[str, Any] = {
    "vae_2d": {"block_out_channels": [4, 8], "layers_per_block": 1, "norm_num_groups": 4},
    "vae_temporal": {"type": "VAE_Temporal", "filters": 8, "num_res_blocks": 1, "num_groups": 4},
}
"""Chunks of 17 pictures of 8 x 6 pixels have latents 4 x 5 x 4 x 3 (C, F, h, w)."""
