"""Tiny random folders of today's flow-matching pipelines, and the pipelines themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from torch import nn
from transformers import (
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

TEXT: dict[str, Any] = {
    "vocab_size": 514,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 16,
    "num_layers": 1,
    "num_heads": 2,
}


def wan_image_pipeline(tokenizer: Path, *, experts: bool = False, shift: float = 3.0) -> Any:
    """Return a ``WanImageToVideoPipeline`` of the same sizes: with CLIP, or with two denoisers instead."""
    text = wan_pipeline(tokenizer, experts=experts, shift=shift)
    seen = {} if experts else {"image_dim": 16, "added_kv_proj_dim": 24}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        networks = [wan_transformer(in_channels=12, **seen) for _ in range(2 if experts else 1)]
        encoder = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=3,
                num_attention_heads=2,
                image_size=32,
                patch_size=16,
                initializer_factor=5.0,
            )
        )
    pipeline = WanImageToVideoPipeline(
        text.tokenizer,
        text.text_encoder,
        text.vae,
        text.scheduler,
        None if experts else CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32),
        None if experts else encoder.eval(),
        networks[0].eval(),
        networks[1].eval() if experts else None,
        boundary_ratio=0.9 if experts else None,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def wan_pipeline(tokenizer: Path, *, experts: bool = False, shift: float = 3.0) -> Any:
    """Return a ``WanPipeline``: latents 4 x 2 x 2 x 2 (C, F, h, w) for 5 pictures of 16 x 16."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = [wan_transformer() for _ in range(2 if experts else 1)]
        vae = AutoencoderKLWan(
            base_dim=4,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[1.5, 0.5, 1.0, 2.0],
        )
        text_encoder = UMT5EncoderModel(UMT5Config(**TEXT))
    for network in (*networks, vae, text_encoder):
        network.eval()
    pipeline = WanPipeline(
        AutoTokenizer.from_pretrained(tokenizer),
        text_encoder,
        vae,
        FlowMatchEulerDiscreteScheduler(shift=shift),
        networks[0],
        networks[1] if experts else None,
        boundary_ratio=0.875 if experts else None,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def wan_transformer(in_channels: int = 4, **more: Any) -> nn.Module:
    network: nn.Module = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=in_channels,
        out_channels=4,
        text_dim=16,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
        rope_max_seq_len=32,
        **more,
    )
    return network


def ltx_pipeline(
    tokenizer: Path, *, timestep_conditioning: bool = False, inject_noise: bool = False, dynamic: bool = True
) -> Any:
    """Return an ``LTXPipeline``: latents 8 x 2 x 4 x 4 (C, F, h, w) for 3 pictures of 32 x 32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=12,
            cross_attention_dim=24,
            caption_channels=16,
            num_layers=2,
        )
        vae = _ltx_vae(timestep_conditioning, inject_noise)
        vae.latents_mean = 0.1 * torch.randn(8)
        vae.latents_std = 1 + 0.1 * torch.rand(8)
        text_encoder = T5EncoderModel(T5Config(**TEXT))
    for network in (transformer, vae, text_encoder):
        network.eval()
    scheduler = FlowMatchEulerDiscreteScheduler(
        shift=2.0,
        use_dynamic_shifting=dynamic,
        shift_terminal=0.1,
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
    )
    tokens = AutoTokenizer.from_pretrained(tokenizer)
    pipeline = LTXPipeline(scheduler, vae, text_encoder, tokens, transformer)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _ltx_vae(timestep_conditioning: bool, inject_noise: bool) -> Any:
    return AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8),
        down_block_types=("LTXVideoDownBlock3D",) * 2,
        decoder_block_out_channels=(8, 8),
        layers_per_block=(1, 1, 1),
        decoder_layers_per_block=(1, 1, 1),
        spatio_temporal_scaling=(True, False),
        decoder_spatio_temporal_scaling=(True, False),
        decoder_inject_noise=(inject_noise, False, False),
        downsample_type=("conv", "conv"),
        upsample_residual=(False, False),
        upsample_factor=(1, 1),
        timestep_conditioning=timestep_conditioning,
        patch_size=4,
        patch_size_t=1,
    )
