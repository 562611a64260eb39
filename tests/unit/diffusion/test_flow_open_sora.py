from __future__ import annotations

import pytest
import torch

from vader_bench.diffusion.flow_open_sora import open_sora_schedule
from vader_bench.errors import UserError
from vader_bench.seeding import torch_stream


def test_a_picture_of_the_base_size_is_not_shifted() -> None:
    schedule = open_sora_schedule(512, 512, 1)
    assert schedule.shift == 1
    assert schedule.timesteps(4).tolist() == [1000, 750, 500, 250]


@pytest.mark.parametrize(
    ("frames", "latents"),
    [(17, 5), (33, 5), (34, 10), (51, 15)],  # a chunk that is not whole does not count
)
def test_the_shift_grows_with_the_size(frames: int, latents: int) -> None:
    schedule = open_sora_schedule(256, 1024, frames)
    assert schedule.shift == pytest.approx(latents**0.5)
    steps = schedule.timesteps(10)
    assert steps[0] == 1000
    assert (steps[1:] > open_sora_schedule(512, 512, 1).timesteps(10)[1:]).all()


@pytest.mark.parametrize("frames", [0, 2, 16])
def test_a_video_shorter_than_a_chunk_is_refused(frames: int) -> None:
    with pytest.raises(UserError, match=rf"frames = {frames}: is less than a chunk of 17 .*choose 1 or"):
        open_sora_schedule(512, 512, frames)


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_the_true_velocity_leads_to_the_data(eta: float) -> None:
    schedule = open_sora_schedule(240, 426, 51)
    clean, noise = torch.randn(2, 3, 4, 2, 5, 5, generator=torch_stream(0, "flow"))
    now = schedule.timesteps(5)[1:2].expand(3)
    following = schedule.previous(now, 5)
    latents = schedule.noised(clean, noise, now)
    velocity = schedule.target(clean, noise, now)
    torch.testing.assert_close(velocity, clean - noise)
    seen = schedule.split(velocity, latents, now)
    torch.testing.assert_close(seen[0], clean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen[1], noise, atol=1e-5, rtol=1e-5)
    mean, std = schedule.transition(velocity, latents, now, following, eta)
    if eta:
        assert (std > 0).all()
    else:
        torch.testing.assert_close(mean, schedule.noised(clean, noise, following), atol=1e-5, rtol=1e-5)
        assert (std == 0).all()
