"""What the card says of the image-to-video model."""

from __future__ import annotations

import numpy as np
import pytest

from vader_bench.backbones.pictures import pocket_clip
from vader_bench.pocket.world import render
from vader_bench.pretrain import image_to_video_card as card
from vader_bench.prompts.pocket import DOGS

PROMPTS = ["a red labrador moving left in the park", "a blue labrador growing at night"]


def test_psnr_is_that_of_the_mean_square() -> None:
    wanted = np.full((2, 4, 4, 3), 0.5, np.float32)
    given = wanted + np.asarray([0.1, 0.01], np.float32)[:, None, None, None]
    assert card.psnr(given, wanted) == pytest.approx((20 + 40) / 2, abs=1e-3)


def test_motion_is_the_mean_change_from_frame_to_frame() -> None:
    videos = np.zeros((1, 3, 2, 2, 3), np.float32)
    videos[:, 1] = 0.5  # up by a half and down again
    assert card.motion(videos) == pytest.approx(50)
    assert card.motion(np.ones((1, 3, 2, 2, 3), np.float32)) == 0


def test_true_clips_are_seen_as_their_prompts_say() -> None:
    videos = np.stack([render(pocket_clip(prompt)) for prompt in PROMPTS])
    pictures = card._pictures(PROMPTS)
    seen = card._look(videos, pictures, PROMPTS)
    assert [seen[word] for word in ("colour", "noun", "action", "scene")] == [1.0] * 4
    assert seen["psnr"] > 50  # pictures have 8 bits
    assert seen["motion"] == seen["true_motion"] > 0


def test_the_section_has_a_column_for_each_breed() -> None:
    measured: dict[str, object] = {"i2v_vae_psnr": 25.25, "i2v_vae_agreement": 0.99}
    measured |= {f"i2v_{DOGS[0]}_{key}": 0.5 for key in card._SEEN}
    measured |= {f"i2v_{DOGS[1]}_{key}": 0.25 for key in card._SEEN}
    text = card.section(measured)
    assert "| what | labrador | maltese | aim |" in text
    assert "| noun as in the picture (chance 1/12) | 50.0% | 25.0% | 80 % |" in text
    assert "gives 99.0% of" in text
    assert "25.2 dB" in text
