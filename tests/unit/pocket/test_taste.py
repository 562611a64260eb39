"""The simulated audience likes what its documentation says."""

from __future__ import annotations

import numpy as np
import pytest

from vader_bench.pocket.taste import Style, agreement, apply_style, draw_style, rate, style_words, utility
from vader_bench.pocket.vocabulary import Caption
from vader_bench.pocket.world import draw_clip, render
from vader_bench.seeding import numpy_stream


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.concatenate([render(draw_clip(numpy_stream(0, "taste", i)), [0]) for i in range(12)])


def test_the_default_style_changes_nothing(pictures: np.ndarray) -> None:
    styled = apply_style(pictures, Style(), numpy_stream(0))
    np.testing.assert_allclose(styled, pictures, atol=1e-6)


@pytest.mark.parametrize(
    "worse", [Style(saturation=0.3), Style(contrast=0.5), Style(blur=1.5), Style(noise=0.08)]
)
def test_dull_flat_blurred_and_noisy_pictures_are_rated_lower(pictures: np.ndarray, worse: Style) -> None:
    changed = apply_style(pictures, worse, numpy_stream(0, "noise"))
    assert (rate(changed) < rate(pictures)).all()


def test_ratings_stay_on_the_scale(pictures: np.ndarray) -> None:
    noise = numpy_stream(0, "noise").uniform(size=pictures.shape).astype(np.float32)
    for batch in (pictures, noise, np.zeros_like(pictures), np.ones_like(pictures)):
        ratings = rate(batch)
        assert ((ratings >= 1) & (ratings <= 10)).all()
    np.testing.assert_allclose(rate(np.zeros_like(pictures)), 1.0)


def test_a_picture_is_rated_alone(pictures: np.ndarray) -> None:
    np.testing.assert_allclose(rate(pictures)[3], rate(pictures[3:4])[0])


def test_style_words_name_what_is_strong() -> None:
    assert style_words(Style()) == []
    assert style_words(Style(saturation=0.4, brightness=0.15, blur=1.0)) == ["dull", "bright", "blurry"]


def test_about_a_third_of_the_styles_change_nothing() -> None:
    plain = [draw_style(numpy_stream(0, "style", i)) == Style() for i in range(600)]
    assert np.mean(plain) == pytest.approx(1 / 3, abs=0.06)


def test_a_missed_word_costs_two_points() -> None:
    asked = Caption("red", "cat", "spinning", "at night")
    shown = Caption("blue", "cat", "jumping", "at night")
    assert agreement(shown, asked) == pytest.approx(2 / 3)
    assert utility(asked, asked, 5.0) - utility(shown, asked, 5.0) == pytest.approx(2.0)
