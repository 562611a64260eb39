"""Options show what they are said to show, and pictures of the pool are among them."""

from __future__ import annotations

import numpy as np

from vader_bench.pocket.taste import rate
from vader_bench.pocket.vocabulary import parse_caption
from vader_bench.pretrain.options import draw_options
from vader_bench.pretrain.pool import Part, Pool, as_bytes
from vader_bench.seeding import numpy_stream


def test_drawings_miss_two_words_at_most() -> None:
    options = draw_options(numpy_stream(0, "options"), 20, 3)
    assert options.pictures.shape == (20, 3, 64, 64, 3)
    assert [parse_caption(prompt) for prompt in options.prompts] == options.asked
    for asked, shown in zip(options.asked, options.shown, strict=True):
        for what in shown:
            missed = [getattr(asked, word) != getattr(what, word) for word in ("colour", "noun", "scene")]
            assert sum(missed) <= 2
            assert what.action == asked.action


def test_ratings_are_those_of_the_pictures() -> None:
    options = draw_options(numpy_stream(0, "options"), 3, 2)
    np.testing.assert_allclose(options.ratings[1], rate(options.pictures[1]))


def test_the_first_picture_is_the_pool_s_and_often_what_is_asked_for(
    drawn_part: Part, drawn_pool: Pool
) -> None:
    options = draw_options(numpy_stream(1, "options"), 60, 2, drawn_pool)
    known = {frame.tobytes() for clip in drawn_part.frames for frame in clip}
    assert all(as_bytes(pictures[0]).tobytes() in known for pictures in options.pictures)
    others = [as_bytes(pictures[1]).tobytes() in known for pictures in options.pictures]
    assert 15 < sum(others) < 45
    own = sum(prompt in drawn_part.prompts for prompt in options.prompts)
    assert own > 12
