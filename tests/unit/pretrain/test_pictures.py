"""Training pictures and captions agree with each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vader_bench.pocket.taste import Style
from vader_bench.pocket.vocabulary import Caption, format_caption, parse_caption
from vader_bench.pocket.world import FRAMES, SIZE, render
from vader_bench.pretrain.clips import captions, draw_clips, rendered
from vader_bench.pretrain.pictures import corrupt, describe, draw_picture, normalise
from vader_bench.seeding import numpy_stream


def test_a_picture_shows_the_caption_it_was_asked_for() -> None:
    asked = Caption("red", "cat", "spinning", "at night")
    shown, _, picture = draw_picture(numpy_stream(0, "picture"), asked)
    assert shown == asked
    assert picture.shape == (SIZE, SIZE, 3)


def test_corruption_changes_at_most_two_words_and_never_the_action() -> None:
    asked = Caption("red", "cat", "spinning", "at night")
    counts = []
    for i in range(200):
        shown = corrupt(numpy_stream(0, "corrupt", i), asked)
        assert shown.action == asked.action
        counts.append(sum(getattr(shown, f) != getattr(asked, f) for f in ("colour", "noun", "scene")))
    assert set(counts) == {0, 1, 2}


def test_style_words_are_added_half_of_the_time() -> None:
    caption = Caption("red", "cat", "spinning", "at night")
    texts = [describe(numpy_stream(0, "text", i), caption, Style(saturation=0.2)) for i in range(200)]
    share = np.mean([text.endswith(" dull") for text in texts])
    assert 0.4 < share < 0.6
    assert describe(numpy_stream(0), caption, Style()) == format_caption(caption)


def test_normalised_pictures_lie_in_minus_one_to_one() -> None:
    pictures = np.stack([np.zeros((4, 4, 3)), np.ones((4, 4, 3))]).astype(np.float32)
    tensor = normalise(pictures)
    assert tensor.shape == (2, 3, 4, 4)
    assert torch.equal(tensor[0], -torch.ones(3, 4, 4))
    assert torch.equal(tensor[1], torch.ones(3, 4, 4))


def test_clips_do_not_depend_on_how_many_are_drawn_and_splits_differ() -> None:
    assert draw_clips("train", 3) == draw_clips("train", 5)[:3]
    assert draw_clips("train", 3) != draw_clips("heldout", 3)
    assert all(parse_caption(text) is not None for text in captions(draw_clips("train", 20)))


def test_rendered_clips_are_kept_and_equal_to_the_world(tmp_path: Path) -> None:
    frames = rendered("train", 2, tmp_path)
    assert frames.shape == (2, FRAMES, SIZE, SIZE, 3)
    np.testing.assert_allclose(frames[1] / 255, render(draw_clips("train", 2)[1]), atol=0.5 / 255 + 1e-6)
    again = rendered("train", 2, tmp_path)
    np.testing.assert_array_equal(frames, again)
    assert [p.name for p in tmp_path.iterdir()] == ["clips-train-2.npy"]
