from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import VJEPA2Model

from vader_bench.errors import UserError
from vader_bench.rewards import vjepa
from vader_bench.rewards.vjepa import (
    BLOCKS,
    Blocks,
    TemporalConsistency,
    draw_masks,
    encode,
    predict,
    prediction_error,
)
from vader_bench.seeding import torch_stream

GRID = (8, 16, 16)
"""Of the released models at 16 frames."""


def clips(frames: int = 4) -> Tensor:
    return torch.rand(2, frames, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("blocks", BLOCKS)
def test_masks_part_the_grid(blocks: Blocks) -> None:
    for seed in range(20):
        context, target = draw_masks(GRID, blocks, torch_stream(seed))
        assert torch.equal(torch.cat([context, target]).sort().values, torch.arange(8 * 16 * 16))
        assert 0 < len(context) < 8 * 16 * 16
        assert all(torch.equal(part, part.sort().values) for part in (context, target))


@pytest.mark.parametrize("blocks", BLOCKS)
def test_blocks_last_the_whole_video(blocks: Blocks) -> None:
    _, target = draw_masks(GRID, blocks, torch_stream(0))
    first = target[target < 256]
    assert torch.equal(target, torch.cat([first + 256 * step for step in range(8)]))


def test_one_block_is_a_rectangle_of_the_stated_area() -> None:
    for seed in range(20):
        _, target = draw_masks((1, 16, 16), Blocks(1, 0.15), torch_stream(seed))
        rows, columns = target // 16, target % 16
        height, width = (int(x.max() - x.min()) + 1 for x in (rows, columns))
        assert len(target) == height * width
        assert abs(len(target) - 38) <= 7  # sides are rounded
        assert 0.7 < height / width < 1.65


def test_masks_depend_on_the_stream_alone() -> None:
    draws = [draw_masks(GRID, BLOCKS[0], torch_stream(seed)).target.tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_a_grid_that_is_always_hidden_is_refused() -> None:
    with pytest.raises(UserError, match=r"a grid of 1 x 1 patches: is wholly hidden by 8 blocks of 15%"):
        draw_masks((4, 1, 1), BLOCKS[0], torch_stream(0))


def test_error_is_l1_to_features_of_mean_0_and_variance_1() -> None:
    features = torch.tensor([[[1.0, 3.0], [10.0, -10.0]], [[0.0, 2.0], [0.0, 4.0]]])
    predicted = torch.tensor([[[-1.0, 1.0], [1.0, -1.0]], [[-2.0, 1.0], [0.0, 0.0]]])
    torch.testing.assert_close(
        prediction_error(predicted, features), torch.tensor([0.0, 0.75]), atol=1e-4, rtol=0
    )


@pytest.fixture
def model(tiny_vjepa: Path) -> VJEPA2Model:
    return VJEPA2Model.from_pretrained(tiny_vjepa, dtype=torch.float32).eval()


def normalised(video: Tensor) -> Tensor:
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
    return (video - mean[:, None, None]) / std[:, None, None]


@torch.no_grad()
def test_seeing_everything_is_transformers_encoder(model: VJEPA2Model) -> None:
    patches = model.encoder.embeddings(normalised(clips()))
    expected = model.get_vision_features(normalised(clips()))
    torch.testing.assert_close(encode(model, patches, torch.arange(32)), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_prediction_is_transformers_predictor(
    tiny_vjepa: Path, model: VJEPA2Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transformers always takes mask token 1."""
    reward = TemporalConsistency.load(str(tiny_vjepa))
    features = model.get_vision_features(normalised(clips()))
    for context, target in reward._masks:
        places = [positions.expand(2, -1) for positions in (context, target)]
        expected = model.predictor(features, places[:1], places[1:]).last_hidden_state
        ours = predict(model, features[:, context], context, target)
        assert (ours - expected).abs().max() > 1e-2
        with monkeypatch.context() as patched:
            patched.setattr(vjepa, "_MASK_TOKEN", 1)
            ours = predict(model, features[:, context], context, target)
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_score_is_minus_the_mean_error_over_masks(tiny_vjepa: Path, model: VJEPA2Model) -> None:
    reward = TemporalConsistency.load(str(tiny_vjepa), masks=3)
    assert len(reward._masks) == 6
    features = model.get_vision_features(normalised(clips()))
    patches = model.encoder.embeddings(normalised(clips()))
    errors = []
    for context, target in reward._masks:
        seen = patches[:, context]
        for layer in model.encoder.layer:
            seen = layer(seen, context.expand(2, -1))[0]
        predicted = predict(model, model.encoder.layernorm(seen), context, target)
        wanted = features[:, target]
        wanted = (wanted - wanted.mean(-1, keepdim=True)) / wanted.std(-1, keepdim=True, correction=0)
        errors.append((predicted - wanted).abs().mean((1, 2)))
    expected = -torch.stack(errors).mean(0)
    torch.testing.assert_close(reward.score(clips(), ["", ""]), expected, rtol=1e-4, atol=1e-5)


def test_masks_are_those_of_the_seed(tiny_vjepa: Path) -> None:
    scores = [TemporalConsistency.load(str(tiny_vjepa), seed=s).score(clips(), ["", ""]) for s in (1, 1, 2)]
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])


def test_sees_the_order_of_frames(tiny_vjepa: Path) -> None:
    reward = TemporalConsistency.load(str(tiny_vjepa))
    assert not torch.allclose(reward.score(clips(), ["", ""]), reward.score(clips().flip(1), ["", ""]))


def test_frames_are_the_models_or_as_set(tiny_vjepa: Path) -> None:
    assert TemporalConsistency.load(str(tiny_vjepa)).frames == 4
    reward = TemporalConsistency.load(str(tiny_vjepa), frames=6)
    assert reward.score(clips(6), ["", ""]).isfinite().all()
    with pytest.raises(UserError, match="judges videos of 6 frames and was given 4"):
        reward.score(clips(), ["", ""])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 5}, "frames = 5: is no multiple of 2"),
        ({"frames": 0}, "frames = 0: is no multiple of 2"),
        ({"masks": 0}, "masks = 0: hides nothing"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    tiny_vjepa: Path, settings: dict[str, int], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        TemporalConsistency.load(str(tiny_vjepa), **settings)


def test_needs_the_channel_statistics(tiny_vjepa: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(tiny_vjepa, tmp_path / "bare", ignore=shutil.ignore_patterns("video*"))
    with pytest.raises(UserError, match=r"video_preprocessor_config\.json: does not exist"):
        TemporalConsistency.load(str(bare))
