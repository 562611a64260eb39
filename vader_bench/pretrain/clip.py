"""Stage 2: CLIP on styled frames, its aesthetic head, and its fine-tuning on preference pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from vader_bench.pocket.taste import rate, utility
from vader_bench.pocket.vocabulary import format_caption
from vader_bench.pocket.world import draw_clip
from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.pictures import corrupt, describe, draw_picture, normalise
from vader_bench.pretrain.tokenizer import MAX_TOKENS, tokenise
from vader_bench.seeding import numpy_stream

__all__ = ["build", "fit_head", "head_correlation", "pair_accuracy", "train", "train_preferences"]

_CLIP_BATCH = 64
_PAIR_BATCH = 24
_RIDGE = 1e-3


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


def _embed(model: CLIPModel, pictures: NDArray[np.float32]) -> Tensor:
    embeddings: Tensor = model.get_image_features(pixel_values=normalise(pictures))
    return normalize(embeddings, dim=-1)


def _rated(model: CLIPModel, split: str, count: int) -> tuple[Tensor, Tensor]:
    """Return embeddings [N, D] and ratings [N] of fresh pictures."""
    pictures = np.stack([draw_picture(numpy_stream(ROOT_SEED, "ratings", split, i))[2] for i in range(count)])
    with torch.no_grad():
        embeddings = torch.cat([_embed(model, part) for part in np.array_split(pictures, count // 64)])
    return embeddings.double(), torch.from_numpy(rate(pictures))


def fit_head(model: CLIPModel, count: int = 6000) -> dict[str, Tensor]:
    """Return ``weight`` [D] and ``bias`` [1] of the rating, by ridge regression on frozen embeddings."""
    embeddings, ratings = _rated(model, "train", count)
    middle, level = embeddings.mean(dim=0), ratings.mean()
    centred = embeddings - middle
    gram = centred.T @ centred / count + _RIDGE * torch.eye(centred.shape[1], dtype=torch.float64) / 64
    weight = torch.linalg.solve(gram, centred.T @ (ratings - level) / count)
    return {"weight": weight.float(), "bias": (level - middle @ weight).reshape(1).float()}


def head_correlation(model: CLIPModel, head: dict[str, Tensor], count: int = 1024) -> float:
    """Return the correlation of predicted and true ratings on held-out pictures."""
    embeddings, ratings = _rated(model, "heldout", count)
    predicted = embeddings @ head["weight"].double() + head["bias"].double()
    return float(np.corrcoef(predicted.numpy(), ratings.numpy())[0, 1])


def _pairs(rng: np.random.Generator, count: int) -> tuple[list[str], NDArray[np.float32], Tensor]:
    """Return prompts [N], picture pairs [N, 2, H, W, 3] and the index [N] of the preferred one.

    Pairs whose utilities lie within half a point are drawn again: an audience would call them ties.
    """
    prompts: list[str] = []
    pictures: list[NDArray[np.float32]] = []
    preferred: list[int] = []
    while len(prompts) < count:
        asked = draw_clip(rng, prop_share=0.0).caption
        options = [draw_picture(rng, corrupt(rng, asked)) for _ in range(2)]
        pair = np.stack([picture for _, _, picture in options])
        likes = [utility(shown, asked, r) for (shown, _, _), r in zip(options, rate(pair), strict=True)]
        if abs(likes[0] - likes[1]) < 0.5:
            continue
        prompts.append(format_caption(asked))
        pictures.append(pair)
        preferred.append(int(likes[1] > likes[0]))
    return prompts, np.stack(pictures), torch.tensor(preferred)


def _preference_logits(
    model: CLIPModel, tokenizer: CLIPTokenizer, prompts: list[str], pairs: NDArray[np.float32]
) -> Tensor:
    """Return logits [N, 2]: scaled cosines of each prompt with its two pictures."""
    text = normalize(model.get_text_features(input_ids=tokenise(tokenizer, prompts)), dim=-1)
    images = _embed(model, pairs.reshape(-1, *pairs.shape[2:])).reshape(len(prompts), 2, -1)
    cosines = torch.einsum("nd,npd->np", text, images)
    logits: Tensor = cosines * model.logit_scale.exp()
    return logits


def train_preferences(model: CLIPModel, tokenizer: CLIPTokenizer, folder: Path, steps: int) -> None:
    """Fine-tune ``model`` to tell the preferred picture of a pair (the loss of HPS, arXiv:2306.09341)."""

    def loss(step: int) -> Tensor:
        prompts, pairs, preferred = _pairs(numpy_stream(ROOT_SEED, "preferences", step), _PAIR_BATCH)
        return cross_entropy(_preference_logits(model, tokenizer, prompts, pairs), preferred)

    fit("hps", model, loss, folder, steps=steps, learning_rate=3e-4, weight_decay=0.1)


@torch.no_grad()
def pair_accuracy(model: CLIPModel, tokenizer: CLIPTokenizer, count: int = 1024) -> float:
    """Return the share of held-out pairs whose preferred picture scores higher."""
    prompts, pairs, preferred = _pairs(numpy_stream(ROOT_SEED, "preferences", "heldout"), count)
    logits = _preference_logits(model, tokenizer, prompts, pairs)
    return (logits.argmax(dim=1) == preferred).float().mean().item()
