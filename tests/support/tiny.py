"""Tiny random networks, and what stands beside them in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
from diffusers.pipelines.deprecated.text_to_video_synthesis.pipeline_text_to_video_synth import (
    TextToVideoSDPipeline,
)
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VJEPA2Config,
    VJEPA2Model,
    YolosConfig,
    YolosForObjectDetection,
)
from transformers.models.clip.tokenization_clip import bytes_to_unicode

__all__ = [
    "clip", "save_pipeline", "save_preprocessor", "save_scheduler", "videomae", "vjepa", "yolos",
]  # fmt: skip


def save_pipeline(folder: Path) -> None:
    """Save a random ``TextToVideoSDPipeline``: latents 4 x 4 x 4 x 4 (C, F, h, w), pictures 8 x 8."""
    tokenizer(folder / "tokenizer")
    save_scheduler(folder / "scheduler")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = unet(), vae(), text_encoder()
    TextToVideoSDPipeline(
        parts[1],
        parts[2],
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        parts[0],
        DDIMScheduler.from_pretrained(folder / "scheduler"),
    ).save_pretrained(folder)


def save_scheduler(folder: Path, **changes: object) -> None:
    """Save the scheduler of the tiny model, with ``changes``."""
    settings: dict[str, object] = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
    }
    DDIMScheduler(**(settings | changes)).save_config(folder)


def unet() -> UNet3DConditionModel:
    """Return a random denoiser of four blocks."""
    model: UNet3DConditionModel = UNet3DConditionModel(
        sample_size=4,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=16,
    )
    return model


def vae() -> AutoencoderKL:
    """Return a random autoencoder that halves pictures once."""
    model: AutoencoderKL = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=8,
    )
    return model


def text_encoder() -> CLIPTextModel:
    """Return a random text encoder of one layer."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=514,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=32,
            bos_token_id=512,
            eos_token_id=513,
            pad_token_id=513,
        )
    )


def tokenizer(folder: Path) -> None:
    """Save a tokenizer of single bytes: 256 of them, each also as the end of a word, and two marks."""
    folder.mkdir()
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    tokenizer = CLIPTokenizer(
        folder / "vocab.json", folder / "merges.txt", pad_token="<|endoftext|>", model_max_length=32
    )
    tokenizer.save_pretrained(folder)


def clip() -> CLIPModel:
    """Return a random CLIP."""
    tower = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "initializer_range": 0.2,
    }
    words = {"vocab_size": 514, "max_position_embeddings": 64, "bos_token_id": 512}
    ends = {"eos_token_id": 513, "pad_token_id": 513}
    config = CLIPConfig(
        text_config=tower | words | ends,
        vision_config=tower | {"image_size": 16, "patch_size": 8},
        projection_dim=12,
        initializer_factor=5.0,  # so that pictures and prompts make a difference
    )
    return CLIPModel(config)


def videomae() -> VideoMAEForVideoClassification:
    """Return a random classifier of videos."""
    config = VideoMAEConfig(
        image_size=16,
        patch_size=8,
        num_frames=4,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.3,
        id2label={0: "spinning", 1: "moving left", 2: "moving", 3: "growing"},
    )
    return VideoMAEForVideoClassification(config)


def yolos() -> YolosForObjectDetection:
    """Return a random detector."""
    config = YolosConfig(
        image_size=[32, 48],
        patch_size=8,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_detection_tokens=10,
        initializer_range=0.5,
        use_mid_position_embeddings=True,
        id2label={0: "book", 1: "cup"},
    )
    model = YolosForObjectDetection(config)
    embeddings = model.vit.embeddings  # zero in a new model, so that all boxes would be one
    for tensor in (embeddings.detection_tokens, embeddings.position_embeddings):
        torch.nn.init.normal_(tensor)
    return model


def vjepa() -> VJEPA2Model:
    """Return a random V-JEPA."""
    config = VJEPA2Config(
        crop_size=32,
        patch_size=8,
        frames_per_clip=4,
        tubelet_size=2,
        hidden_size=24,
        num_attention_heads=2,
        num_hidden_layers=2,
        mlp_ratio=2.0,
        initializer_range=0.2,
        pred_hidden_size=12,
        pred_num_attention_heads=1,
        pred_num_hidden_layers=2,
        pred_num_mask_tokens=3,
        pred_zero_init_mask_tokens=False,
        pred_mlp_ratio=2.0,
    )
    return VJEPA2Model(config)


def save_preprocessor(folder: Path, name: str = "preprocessor_config.json") -> None:
    """Save how pictures are scaled to the file ``name``."""
    settings = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3], "size": {"shortest_edge": 16}}
    (folder / name).write_text(json.dumps(settings), "utf-8")
