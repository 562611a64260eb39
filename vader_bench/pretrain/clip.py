"""CLIP on styled frames with captions: what several rewards begin as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.pictures import describe, draw_picture, normalise
from vader_bench.pretrain.tokenizer import MAX_TOKENS, tokenise
from vader_bench.seeding import numpy_stream

__all__ = ["build", "train"]

_CLIP_BATCH = 64


def build(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Return an untrained CLIP for 64 x 64 pictures, with patches of 8 pixels."""
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
    vision = CLIPVisionConfig(
        image_size=64,
        patch_size=8,
        hidden_size=96,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=6,
    )
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=64)
    with torch.random.fork_rng():
        torch.manual_seed(ROOT_SEED)
        return CLIPModel(config)


def train(model: CLIPModel, tokenizer: CLIPTokenizer, folder: Path, steps: int) -> None:
    """Train ``model`` by the contrastive loss on fresh pictures and captions."""

    def loss(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, "clip", step)
        drawn = [draw_picture(rng) for _ in range(_CLIP_BATCH)]
        texts = [describe(rng, caption, style) for caption, style, _ in drawn]
        output = model(
            input_ids=tokenise(tokenizer, texts),
            pixel_values=normalise(np.stack([picture for _, _, picture in drawn])),
        )
        # A caption that occurs twice in the batch is right for both of its pictures.
        same = torch.tensor([[float(a == b) for b in texts] for a in texts])
        target = same / same.sum(dim=1, keepdim=True)
        scores = output.logits_per_image
        return (cross_entropy(scores, target) + cross_entropy(scores.T, target)) / 2

    fit("clip", model, loss, folder, steps=steps, learning_rate=1e-3, weight_decay=0.1)
