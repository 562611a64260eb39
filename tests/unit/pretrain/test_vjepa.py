"""The target encoder follows the encoder and nothing else, and measures tell collapse and disorder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vader_bench.pocket.oracle import look
from vader_bench.pretrain import vjepa
from vader_bench.pretrain.clips import rendered
from vader_bench.pretrain.export import export_vjepa
from vader_bench.pretrain.pool import Part, Pool, as_bytes, as_floats
from vader_bench.pretrain.vjepa import Jepa
from vader_bench.rewards import make_reward
from vader_bench.rewards.vjepa import TemporalConsistency
from vader_bench.seeding import numpy_stream


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    return rendered("train", 4, tmp_path_factory.mktemp("work"))


def video(clips: int = 2) -> Tensor:
    return torch.rand(clips, 8, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_the_loss_reaches_encoder_predictor_and_mask_token_but_not_the_target() -> None:
    jepa = Jepa(vjepa.build())
    jepa.loss(video(), "some", step=0).backward()
    lacking = [name for name, weight in jepa.model.named_parameters() if weight.grad is None]
    assert lacking == []
    assert all(weight.grad is None and not weight.requires_grad for weight in jepa.target.parameters())


def test_a_loss_is_that_of_its_step() -> None:
    jepa = Jepa(vjepa.build())
    first, again, other = (jepa.loss(video(), "some", step).item() for step in (3, 3, 4))
    assert first == again != other


def test_the_target_moves_a_little_towards_the_encoder() -> None:
    jepa = Jepa(vjepa.build())
    ours, theirs = jepa.target.encoder.layernorm.weight, jepa.model.encoder.layernorm.weight
    with torch.no_grad():
        theirs += 1
    jepa.follow()
    torch.testing.assert_close(ours, torch.full_like(ours, 1 + 1 - vjepa._MOMENTUM), rtol=0, atol=1e-5)


def test_what_is_kept_has_the_target_encoder_and_the_predictor() -> None:
    jepa = Jepa(vjepa.build())
    with torch.no_grad():
        jepa.target.encoder.layernorm.bias += 1
        jepa.model.predictor.proj.bias += 2
    kept = jepa.finished()
    assert (kept.encoder.layernorm.bias == 1).all()
    assert (kept.predictor.proj.bias == 2).all()
    assert (jepa.model.encoder.layernorm.bias == 0).all()


def test_collapsed_features_have_no_variance_and_a_good_constant(frames: NDArray[np.uint8]) -> None:
    model = vjepa.build()
    sound = vjepa.spread(model, frames)
    assert 0.1 < sound.variance < 1
    with torch.no_grad():
        model.encoder.layernorm.weight.zero_()
        model.encoder.layernorm.bias.copy_(torch.linspace(-1, 1, 96))
    collapsed = vjepa.spread(model, frames)
    assert collapsed.variance < 1e-6
    assert collapsed.constant_error < 1e-3


class Steadiness(TemporalConsistency):
    """Minus the change from frame to frame."""

    def __init__(self) -> None:
        pass

    def score(self, video: Tensor, prompts: object) -> Tensor:
        return -(video[:, 1:] - video[:, :-1]).abs().mean((1, 2, 3, 4))


def test_real_clips_rank_above_spoilt_ones(frames: NDArray[np.uint8]) -> None:
    still = np.repeat(frames[:, :1], 8, axis=1)
    still[:, 4:] = np.minimum(still[:, 4:], 250) + 5  # so that an order can be wrong
    ranked = vjepa.rank(Steadiness(), still)
    assert ranked.replaced == 1
    assert ranked.shuffled >= 0.75


def test_equal_scores_are_no_preference(frames: NDArray[np.uint8]) -> None:
    assert vjepa.rank(Steadiness(), np.zeros_like(frames)) == (0, 0)


def test_only_clips_in_which_something_follows_are_learnt_from(
    frames: NDArray[np.uint8], drawn_part: Part
) -> None:
    noise = numpy_stream(0, "noise").integers(256, size=(1, 8, 64, 64, 3), dtype=np.uint8)
    unclear = Part(noise, ["a red cat spinning at night"], [look(as_floats(noise[0]))], [[False] * 8])
    known = {clip.tobytes() for clip in drawn_part.frames}

    def pooled(part: Part) -> list[bool]:
        drawn = vjepa._sound(numpy_stream(1, "sound"), Pool({"some": [part]}), frames)
        return [as_bytes(clip).tobytes() in known for clip in drawn]

    assert any(pooled(drawn_part))
    assert not any(
        np.array_equal(as_bytes(clip), noise[0])
        for clip in vjepa._sound(numpy_stream(1, "sound"), Pool({"some": [unclear]}), frames)
    )


@pytest.mark.slow
def test_it_trains_and_is_loaded_by_the_reward(
    frames: NDArray[np.uint8], drawn_pool: Pool, tmp_path: Path
) -> None:
    model = vjepa.train(vjepa.build(), frames, drawn_pool, tmp_path, "vjepa", steps=2)
    export_vjepa(model.eval(), tmp_path / "vjepa")
    reward = make_reward("temporal-consistency", {"model": str(tmp_path / "vjepa")})
    assert reward.frames == 8
    assert reward.score(video(1), ["a cat"]).item() < 0
