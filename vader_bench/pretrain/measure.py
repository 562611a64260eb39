"""What the finished models score, measured on the weights as they are shipped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from transformers import CLIPModel, CLIPTokenizer, VideoMAEForVideoClassification

from vader_bench.pocket.oracle import look
from vader_bench.pocket.vocabulary import ACTIONS, parse_caption
from vader_bench.pretrain import hps, videomae
from vader_bench.pretrain.clips import BASE_CLIPS, HELDOUT_CLIPS, captions, draw_clips, rendered

__all__ = [
    "REWARD_KEYS", "WORDS", "Videos", "count_known", "load_autoencoder", "measure_rewards", "measure_samples",
]  # fmt: skip

REWARD_KEYS = ("hps_pair_accuracy", "clip_pair_accuracy", "action_accuracy")
"""What ``measure_rewards`` measures."""
WORDS = ("colour", "noun", "action", "scene")
"""What a prompt asks for and the oracle sees."""

Videos = NDArray[np.float32]


def load_autoencoder(out: Path) -> AutoencoderKL:
    """Return the autoencoder of the text-to-video model in ``out``, in float32."""
    folder = out / "text-to-video"
    return AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float32).eval()


def measure_rewards(work: Path, out: Path) -> dict[str, float]:
    """Return how well reward models in ``out`` do on clips and pictures of their own."""
    clips, frames = draw_clips("heldout", HELDOUT_CLIPS), rendered("heldout", HELDOUT_CLIPS, work)
    before, preferred = (
        CLIPModel.from_pretrained(out / name, dtype=torch.float32).eval() for name in ("clip", "hps")
    )
    tokenizer = CLIPTokenizer.from_pretrained(out / "hps")
    action = VideoMAEForVideoClassification.from_pretrained(out / "videomae", dtype=torch.float32).eval()
    return {
        "hps_pair_accuracy": hps.pair_accuracy(preferred, tokenizer),
        "clip_pair_accuracy": hps.pair_accuracy(before, tokenizer),
        "action_accuracy": videomae.accuracy(action, frames, clips),
    }


def count_known(prompts: Sequence[str]) -> int:
    """Return how many of ``prompts`` are also captions of clips that the denoisers are trained on."""
    known = set(captions(draw_clips("base", BASE_CLIPS)))
    return sum(prompt in known for prompt in prompts)


def measure_samples(videos: Videos, prompts: Sequence[str]) -> dict[str, float | dict[str, float]]:
    """Return the shares of ``videos`` [N, F, H, W, 3] whose ``WORDS`` the oracle sees as their prompts ask.

    ``by_action`` has those actions that some prompt asks for.
    """
    seen = [look(video) for video in videos]
    asked = [caption for caption in map(parse_caption, prompts) if caption is not None]
    right = {
        word: np.array([getattr(s, word) == getattr(a, word) for s, a in zip(seen, asked, strict=True)])
        for word in WORDS
    }
    actions = np.array([caption.action for caption in asked])
    by_action = {a: float(right["action"][actions == a].mean()) for a in ACTIONS if a in actions}
    return {**{word: float(found.mean()) for word, found in right.items()}, "by_action": by_action}
