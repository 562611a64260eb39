"""The latent text-to-video model in Wan's architecture: flow matching, with its text encoder."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UniPCMultistepScheduler, WanPipeline
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor
from transformers import T5TokenizerFast, UMT5Config, UMT5EncoderModel

from vader_bench.diffusion.flow import FlowSchedule
from vader_bench.pretrain import denoiser
from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.denoiser import Corpus, Denoiser, Rates, Steps
from vader_bench.pretrain.tokenizer import MAX_TOKENS

__all__ = ["GUIDANCE", "WIDTH", "WanTextToVideo", "save", "scheduler", "train"]

WIDTH = 128
"""Channels of the transformer."""
LAYERS = 6
GUIDANCE = 1.5
"""Scale of the classifier-free guidance that the model learns to do in one call."""
_HEADS = 4
_TEXT = 64
"""Channels of the text encoder."""
_SHIFT = 2.0
"""Shift of the sampler's timesteps towards the noise; Wan's own is 3 for its smaller videos."""
_RATES = Rates(frames=1.5e-3, clips=1e-3, words=1e-3, guidance=4e-4)


class WanTextToVideo(Denoiser):
    """Wan's transformer with an UMT5 text encoder, both trained from nothing."""

    def __init__(self, tokenizer: T5TokenizerFast, latent_channels: int) -> None:
        super().__init__()
        text = UMT5Config(
            vocab_size=len(tokenizer),
            d_model=_TEXT,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        with torch.random.fork_rng():
            torch.manual_seed(ROOT_SEED)
            self.text_encoder = UMT5EncoderModel(text)
            self.transformer = WanTransformer3DModel(
                patch_size=(1, 2, 2),
                num_attention_heads=_HEADS,
                attention_head_dim=WIDTH // _HEADS,
                in_channels=latent_channels,
                out_channels=latent_channels,
                text_dim=_TEXT,
                freq_dim=64,
                ffn_dim=3 * WIDTH,
                num_layers=LAYERS,
                cross_attn_norm=True,
                qk_norm="rms_norm_across_heads",
                rope_max_seq_len=32,
            )
        self.padding = int(tokenizer.pad_token_id)

    def states(self, tokens: Tensor) -> Tensor:
        """Return the encoder's states [B, L, D] for token ids [B, L]; they are zero from the end on."""
        words = tokens != self.padding
        states: Tensor = self.text_encoder(tokens, words.long()).last_hidden_state
        return states.masked_fill(~words[..., None], 0)

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Return the velocity [B, C, F, h, w] for token ids [B, L]."""
        prediction: Tensor = self.transformer(latents, timesteps, self.states(tokens), return_dict=False)[0]
        return prediction


def scheduler() -> UniPCMultistepScheduler:
    """Return Wan's sampler settings."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        num_train_timesteps=1000,
        flow_shift=_SHIFT,
    )


def train(
    model: WanTextToVideo,
    tokenizer: T5TokenizerFast,
    latents: Tensor,
    texts: list[str],
    folder: Path,
    steps: Steps,
) -> None:
    """Train ``model`` on normalised ``latents`` [N, C, F, h, w] and captions; see ``denoiser.train``."""

    def tokens(some: list[str]) -> Tensor:
        rows = tokenizer(some, padding="max_length", max_length=MAX_TOKENS, truncation=True).input_ids
        return torch.tensor(rows)

    schedule = FlowSchedule.from_config(scheduler().config | {"_class_name": "UniPCMultistepScheduler"})
    data = Corpus.of(latents, texts, tokens, schedule)
    denoiser.train("wan", model, data, folder, steps, _RATES, GUIDANCE)


def save(model: WanTextToVideo, vae: AutoencoderKLWan, tokenizer: T5TokenizerFast, folder: Path) -> None:
    """Write the model as a ``WanPipeline`` folder in half precision."""
    vae.register_to_config(_name_or_path="")  # where it lay on this machine is nobody's business
    pipeline = WanPipeline(
        tokenizer=tokenizer,
        text_encoder=model.text_encoder,
        vae=vae,
        scheduler=scheduler(),
        transformer=model.transformer,
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    pipeline.to(torch.float32)
