"""What is measured once, at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tests.support.svd import write_model
from vader_bench.backbones import BACKBONES, Backbone
from vader_bench.config.schema import SamplerConfig
from vader_bench.diffusion.lora import Lora
from vader_bench.errors import UserError
from vader_bench.evaluation.closing import extensions, frontier, sample_videos
from vader_bench.evaluation.evaluator import Evaluator
from vader_bench.evaluation.extend import extend
from vader_bench.rewards.closed_form import Brightness, Colourfulness, Redness

SAMPLER = SamplerConfig(steps=2, eta=1.0, guidance=1.0)
PROMPTS = ["a red cat", "a blue cat"]


@pytest.fixture
def evaluator(tiny_backbone: Backbone) -> Evaluator:
    return Evaluator(tiny_backbone, SAMPLER, Redness(), Brightness(), "cpu")


def rewards(evaluator: Evaluator) -> list[float]:
    return [score.reward for score in evaluator.look(PROMPTS, 1).scores]


def trained(evaluator: Evaluator) -> Lora:
    backbone = evaluator.backbone
    lora = Lora(backbone.denoiser, backbone.lora_targets, 2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in lora.parameters():
            parameter.add_(0.1)
    return lora


def test_a_frontier_goes_from_the_base_model_through_the_trained_one(evaluator: Evaluator) -> None:
    base = rewards(evaluator)
    lora = trained(evaluator)
    with lora.merged():
        whole = rewards(evaluator)
    found = dict(frontier(evaluator, lora, [0.0, 0.5, 1.0], PROMPTS))
    by_scale = {scale: [score.reward for score in result.scores] for scale, result in found.items()}
    assert by_scale[0.0] == base
    assert by_scale[1.0] == whole != base
    assert by_scale[0.5] not in (base, whole)
    with lora.merged():
        assert rewards(evaluator) == whole


def test_the_trained_model_comes_back_when_a_frontier_is_left(evaluator: Evaluator) -> None:
    lora = trained(evaluator)
    whole = rewards(evaluator)
    walk = frontier(evaluator, lora, [0.0, 1.0], PROMPTS)
    next(walk)
    walk.close()  # type: ignore[attr-defined] # a generator
    assert rewards(evaluator) == whole


def test_every_chunk_of_a_longer_video_is_judged(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = write_model(tmp_path_factory.mktemp("svd") / "model")
    backbone = BACKBONES.get("svd").load(folder, height=16, width=16, pictures="pocket")
    counts: list[int] = []
    evaluator = Evaluator(
        backbone, SAMPLER, Redness(), Brightness(), "cpu", counts.append, prompt_share=Colourfulness()
    )
    prompt = "a red cat jumping in the park"
    [(found, video)] = extensions(evaluator, [prompt], 2)
    expected = extend(backbone, SAMPLER, [prompt], 2)  # type: ignore[arg-type] # starts from a picture
    torch.testing.assert_close(video, expected[0])
    parts = torch.stack(expected.chunk(2, dim=1))[:, 0]
    assert found.rewards == pytest.approx(Redness().score(parts, [prompt] * 2).tolist())
    assert found.golds == pytest.approx(Brightness().score(parts, [prompt] * 2).tolist())
    assert found.prompt_shares == pytest.approx(Colourfulness().score(parts, [prompt] * 2).tolist())
    assert counts == [2]


def test_only_models_that_start_from_a_picture_make_longer_videos(evaluator: Evaluator) -> None:
    with pytest.raises(UserError, match=r"evaluation.measure.chunks = 3: is nothing for modelscope"):
        next(iter(extensions(evaluator, PROMPTS, 3)))


class Talking(Redness):
    """A reward that says something."""

    def verdicts(self, video: Tensor, prompts: Sequence[str]) -> list[str]:
        return [f"{prompt}: {len(frames)} frames" for prompt, frames in zip(prompts, video, strict=True)]


@pytest.mark.parametrize(
    ("reward", "said"),
    [(Talking(), ["a red cat: 4 frames", "a blue cat: 4 frames"]), (Redness(), ["", ""])],
)
def test_sample_videos_are_written_with_what_the_reward_says(
    tiny_backbone: Backbone, reward: Redness, said: list[str]
) -> None:
    evaluator = Evaluator(tiny_backbone, SAMPLER, reward, None, "cpu")
    written: dict[int, Tensor] = {}
    samples = sample_videos(evaluator, PROMPTS, written.__setitem__)
    assert [(sample.prompt, sample.verdict) for sample in samples] == list(zip(PROMPTS, said, strict=True))
    assert torch.equal(torch.stack([written[0], written[1]]), evaluator.videos([(p, 0) for p in PROMPTS]))
