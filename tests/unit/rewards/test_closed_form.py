from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vader_bench.rewards import REWARDS
from vader_bench.rewards.closed_form import brightness, colourfulness, redness


def plain(*colour: float) -> Tensor:
    return torch.tensor(colour, dtype=torch.float64)[:, None, None].expand(3, 4, 6)


@pytest.mark.parametrize(
    ("colour", "light", "red"),
    [
        ((0.0, 0.0, 0.0), 0.0, 0.0),
        ((1.0, 1.0, 1.0), 1.0, 0.0),
        ((1.0, 0.0, 0.0), 0.299, 1.0),
        ((0.0, 1.0, 0.0), 0.587, -0.5),
        ((0.0, 1.0, 1.0), 0.701, -1.0),
        ((0.5, 0.2, 0.4), 0.3125, 0.2),
    ],
)
def test_brightness_and_redness_of_plain_pictures(
    colour: tuple[float, float, float], light: float, red: float
) -> None:
    assert brightness(plain(*colour)).item() == pytest.approx(light, abs=1e-4)
    assert redness(plain(*colour)).item() == pytest.approx(red, abs=1e-9)


@pytest.mark.parametrize("grey", [0.0, 0.4, 1.0])
def test_grey_has_no_colourfulness_and_no_slope(grey: float) -> None:
    picture = plain(grey, grey, grey).clone().requires_grad_()
    value = colourfulness(picture)
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=1e-12)
    assert picture.grad is not None
    assert picture.grad.abs().max().item() == pytest.approx(0.0, abs=1e-12)


def test_colourfulness_of_a_plain_colour_is_its_mean_term() -> None:
    # Pure red: rg = 1, yb = 1/2, no spread: 0.3 * sqrt(1.25).
    assert colourfulness(plain(1.0, 0.0, 0.0)).item() == pytest.approx(0.3 * 1.25**0.5, abs=1e-3)


def test_colourfulness_of_red_beside_cyan_is_its_spread() -> None:
    # rg = +-1 and yb = +-1/2 in equal parts: means 0, standard deviations 1 and 1/2.
    picture = torch.cat([plain(1.0, 0.0, 0.0), plain(0.0, 1.0, 1.0)], dim=-1)
    assert colourfulness(picture).item() == pytest.approx(1.25**0.5, abs=1.1e-3)


def test_colourfulness_agrees_with_the_published_formula() -> None:
    picture = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    red, green, blue = (255 * picture).numpy()
    rg, yb = red - green, (red + green) / 2 - blue
    spread, mean = (rg.std() ** 2 + yb.std() ** 2) ** 0.5, (rg.mean() ** 2 + yb.mean() ** 2) ** 0.5
    assert 255 * colourfulness(picture).item() == pytest.approx(spread + 0.3 * mean, abs=255 * 1.3e-3)


def test_no_picture_is_more_colourful_than_the_range_says() -> None:
    """The extremes lie where every pixel is a corner of the colour cube: shares of corners at random."""
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([corners[torch.randint(0, 8, (200,), generator=generator)] for _ in range(50)])
    ends = torch.stack([corners[[4] * a + [3] * (20 - a)].repeat(10, 1) for a in range(21)])
    pictures = torch.cat([drawn, ends]).mT[..., None]
    _, top = REWARDS.get("colourfulness")().value_range
    best = colourfulness(pictures).max().item()
    assert 0.95 * top < best <= top


@pytest.mark.parametrize("name", ["brightness", "colourfulness", "redness"])
def test_a_video_scores_the_mean_of_its_frames(name: str) -> None:
    reward = REWARDS.get(name)()
    video = torch.rand(2, 3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    frames = [reward.score(video[:, i : i + 1], ["", ""]) for i in range(3)]
    torch.testing.assert_close(reward.score(video, ["", ""]), torch.stack(frames).mean(0))
    assert not reward.modules()
