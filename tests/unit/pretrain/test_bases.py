"""Captions and videos of base models for the pool."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vader_bench.backbones import Backbone
from vader_bench.errors import UserError
from vader_bench.pocket.vocabulary import ACTIONS, parse_caption
from vader_bench.pretrain.bases import BASES, BaseName, Request, draw_captions, load, load_phase, sample
from vader_bench.prompts.pocket import FIRST_SIZES
from vader_bench.prompts.sets import load_prompts
from vader_bench.weights.resolve import PACKAGED


def test_captions_are_sentences_that_no_prompt_set_first_held() -> None:
    found = draw_captions(400, "some")
    assert all(parse_caption(text) is not None for text in found)
    for name in ("pocket", "pocket-looks", "pocket-books"):
        for split, prompts in load_prompts(name).splits.items():
            assert not set(prompts[: FIRST_SIZES.get(name, {}).get(split)]) & set(found)
    assert found == draw_captions(400, "some")
    assert found != draw_captions(400, "others")


@pytest.mark.parametrize("name", BASES)
def test_no_two_actions_have_nearly_the_same_states(name: BaseName) -> None:
    """Where two words are one to the denoiser, no method can make it show the right one."""
    with torch.no_grad():
        states = load(name, PACKAGED).encode([f"a red cat {action} in the park" for action in ACTIONS])
    apart = torch.pdist(states.flatten(1))
    assert apart.min() > 0.5 * apart.median()


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.5, 70, 130), (1.0, 200, 200)])
def test_a_share_of_captions_is_beside_a_book(share: float, low: int, high: int) -> None:
    props = [parse_caption(text).prop_noun for text in draw_captions(200, "books", book_share=share)]  # type: ignore[union-attr]
    assert set(props) <= {None, "book"}
    assert low <= props.count("book") <= high


def test_videos_are_bytes_and_depend_on_their_stream(tiny_backbone: Backbone) -> None:
    videos = sample(tiny_backbone, Request(["a cat"] * 3, ("one",), 2))
    assert videos.shape == (3, 4, 8, 8, 3)
    assert videos.dtype == np.uint8
    assert np.array_equal(videos, sample(tiny_backbone, Request(["a cat"] * 3, ("one",), 2)))
    assert not np.array_equal(videos, sample(tiny_backbone, Request(["a cat"] * 3, ("other",), 2)))


def test_a_phase_that_was_not_trained_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"text-to-video-clips\.safetensors.*run the stage text-to-video"):
        load_phase("text-to-video", "clips", tmp_path)
    assert not list(tmp_path.iterdir())
