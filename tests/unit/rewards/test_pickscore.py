from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from vader_bench.errors import UserError
from vader_bench.rewards.pickscore import PickScore, pick_score
from vader_bench.rewards.preprocess import CLIP_MEAN, CLIP_STD

PROMPTS = ["a red cat", "a blue car jumping in the snow"]


def clips() -> Tensor:
    return torch.rand(2, 3, 3, 20, 40, generator=torch.Generator().manual_seed(0))


def test_pick_score_is_the_scaled_cosine_of_each_pair() -> None:
    image, text = torch.tensor([[3.0, 0.0], [1.0, 1.0]]), torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    scores = pick_score(image, text, torch.tensor(100.0).log())
    torch.testing.assert_close(scores, torch.tensor([100.0, 100 * 0.5**0.5]))


@torch.no_grad()
def test_is_the_mean_scaled_cosine_of_cut_frames_and_prompt(tiny_clip: Path) -> None:
    """20 x 40 becomes 16 x 32, of which the middle 16 x 16 is seen."""
    clip = CLIPModel.from_pretrained(tiny_clip, dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(tiny_clip)
    frames = functional.interpolate(clips().flatten(0, 1), (16, 32), mode="bicubic", antialias=True)
    mean, std = torch.tensor(CLIP_MEAN)[:, None, None], torch.tensor(CLIP_STD)[:, None, None]
    image = clip.get_image_features((frames[..., 8:24] - mean) / std).reshape(2, 3, -1)
    expected = []
    for embeddings, prompt in zip(image, PROMPTS, strict=True):
        text = clip.get_text_features(**tokenizer([prompt], return_tensors="pt"))
        expected.append(clip.logit_scale.exp() * nn.functional.cosine_similarity(embeddings, text).mean())
    score = PickScore.load(str(tiny_clip)).score(clips(), PROMPTS)
    torch.testing.assert_close(score, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_what_is_cut_off_does_not_count(tiny_clip: Path) -> None:
    reward, video = PickScore.load(str(tiny_clip)), clips()
    changed = video.clone()
    changed[..., :5] = 0
    changed[..., -5:] = 1
    assert torch.equal(reward.score(video, PROMPTS), reward.score(changed, PROMPTS))


def test_range_is_the_models_scale(tiny_clip: Path) -> None:
    low, high = PickScore.load(str(tiny_clip)).value_range
    assert high == -low == pytest.approx(torch.tensor(2.6592).exp().item(), rel=1e-3)  # CLIP's initial scale


def test_tokenizer_may_lie_elsewhere(tiny_clip: Path, tmp_path: Path) -> None:
    bare = Path(
        shutil.copytree(tiny_clip, tmp_path / "bare", ignore=shutil.ignore_patterns("*.txt", "vocab*"))
    )
    with pytest.raises(UserError, match=r"has no vocab\.json"):
        PickScore.load(str(bare))
    score = PickScore.load(str(bare), tokenizer=str(tiny_clip)).score(clips(), PROMPTS)
    assert torch.equal(score, PickScore.load(str(tiny_clip)).score(clips(), PROMPTS))
