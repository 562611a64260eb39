"""The latent text-to-video model in ModelScope's architecture, with its text encoder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from vader_bench.diffusion.schedule import NoiseSchedule
from vader_bench.pretrain import denoiser
from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.denoiser import Corpus, Denoiser, Rates, Steps
from vader_bench.pretrain.tokenizer import MAX_TOKENS, tokenise

__all__ = ["GUIDANCE", "WIDTHS", "TextToVideo", "save", "scheduler", "train"]

WIDTHS = (32, 64)
"""Channels of the denoiser at 8 x 8 and at 4 x 4."""
GUIDANCE = 2.0
"""Scale of the classifier-free guidance that the model learns to do in one call."""
_HEAD = 4
"""Channels of an attention head; the first layer over time has eight heads, so it too shrinks with them."""
_RATES = Rates(frames=2.5e-3, clips=1.5e-3, words=1e-3, guidance=5e-4)


class TextToVideo(Denoiser):
    """ModelScope's denoiser with a CLIP text encoder, both trained from nothing."""

    picture_only = ("temp_convs",)

    def __init__(self, tokenizer: CLIPTokenizer, latent_channels: int) -> None:
        super().__init__()
        text = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        with torch.random.fork_rng():
            torch.manual_seed(ROOT_SEED)
            self.text_encoder = CLIPTextModel(text)
            self.unet = UNet3DConditionModel(
                sample_size=8,
                in_channels=latent_channels,
                out_channels=latent_channels,
                down_block_types=("DownBlock3D", "CrossAttnDownBlock3D"),
                up_block_types=("CrossAttnUpBlock3D", "UpBlock3D"),
                block_out_channels=WIDTHS,
                layers_per_block=1,
                cross_attention_dim=text.hidden_size,
                attention_head_dim=_HEAD,
                norm_num_groups=8,
            )
        # The temporal layers' dropout of 0.1 costs time and, in a model this small, quality.
        for module in self.unet.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def states(self, tokens: Tensor) -> Tensor:
        """Return the encoder's last states [B, L, D] for token ids [B, L]."""
        states: Tensor = self.text_encoder(tokens).last_hidden_state
        return states

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Return the velocity [B, C, F, h, w] for token ids [B, L]."""
        prediction: Tensor = self.unet(latents, timesteps, self.states(tokens)).sample
        return prediction


def scheduler() -> DDIMScheduler:
    """Return the noise schedule: scaled linear as in ModelScope, predicting velocity."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )


def train(
    model: TextToVideo,
    tokenizer: CLIPTokenizer,
    latents: Tensor,
    texts: list[str],
    folder: Path,
    steps: Steps,
) -> None:
    """Train ``model`` on scaled ``latents`` [N, C, F, h, w] and their captions; see ``denoiser.train``.

    As ModelScope's denoiser began as one of pictures, so does this one. Convolutions over time are left at
    their start, which changes nothing, until whole clips follow.
    """
    schedule = NoiseSchedule.from_config(scheduler().config)
    data = Corpus.of(latents, texts, partial(tokenise, tokenizer), schedule)
    denoiser.train("text-to-video", model, data, folder, steps, _RATES, GUIDANCE)


def save(model: TextToVideo, vae: AutoencoderKL, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write the model as a ``TextToVideoSDPipeline`` folder in half precision."""
    vae.register_to_config(_name_or_path="")  # where it lay on this machine is nobody's business
    pipeline = TextToVideoSDPipeline(
        vae=vae,
        text_encoder=model.text_encoder,
        tokenizer=tokenizer,
        unet=model.unet,
        scheduler=scheduler(),
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    pipeline.to(torch.float32)
