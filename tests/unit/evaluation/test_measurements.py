"""What is measured of adapters, and when it is not measured again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.configs import run_config
from tests.support.svd import write_model
from vader_bench.backbones import BACKBONES, Backbone
from vader_bench.config.schema import RunConfig, SamplerConfig
from vader_bench.diffusion.lora import Lora
from vader_bench.errors import UserError
from vader_bench.evaluation.evaluator import Evaluator
from vader_bench.evaluation.extend import extend
from vader_bench.evaluation.looks import Look
from vader_bench.evaluation.measurements import BASE_FOLDER, Adapters, Measurer, at_scale
from vader_bench.rewards.closed_form import Brightness, Colourfulness, Redness

SAMPLER = SamplerConfig(steps=2, eta=1.0, guidance=1.0)
PROMPTS = ["a red cat", "a blue cat"]
SPLITS = {"heldout": PROMPTS, "train": ["a dog"]}
BASE = Adapters(None, lambda: None)
DIGESTS = {"weights/nowhere/tiny": "abc"}


@pytest.fixture
def evaluator(tiny_backbone: Backbone) -> Evaluator:
    return Evaluator(tiny_backbone, SAMPLER, Redness(), Brightness(), "cpu")


def measurer(evaluator: Evaluator, run: Path, config: RunConfig | None = None, **changes: Any) -> Measurer:
    given: dict[str, Any] = {"digests": DIGESTS, "prompts": SPLITS, "device": "cpu"} | changes
    return Measurer(config or run_config(), run=run, evaluator=evaluator, **given)


def trained(backbone: Backbone) -> Lora:
    lora = Lora(backbone.denoiser, backbone.lora_targets, 2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in lora.parameters():
            parameter.add_(0.1)
    return lora


def never(*_: object) -> Any:
    raise AssertionError("measured again")


@pytest.fixture
def idle(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> Evaluator:
    """An evaluator that refuses to look."""
    for name in ("look", "videos", "path_kl"):
        monkeypatch.setattr(Evaluator, name, never)
    return evaluator


def rewards(evaluator: Evaluator) -> list[float]:
    return [score.reward for score in evaluator.look(PROMPTS, 1).scores]


def test_scales_go_from_the_base_model_through_the_trained_one(evaluator: Evaluator, tmp_path: Path) -> None:
    base = rewards(evaluator)
    lora = trained(evaluator.backbone)
    with lora.merged():
        whole = rewards(evaluator)
    adapters, bench = Adapters("1" * 64, lambda: lora), measurer(evaluator, tmp_path / "run")
    by_scale = {
        scale: [score.reward for score in bench.look(Look(8, "heldout", 2, 1, scale), adapters).scores]
        for scale in (0.0, 0.5, 1.0)
    }
    assert by_scale[0.0] == base
    assert by_scale[1.0] == whole != base
    assert by_scale[0.5] not in (base, whole)
    with lora.merged():
        assert rewards(evaluator) == whole


def test_the_trained_model_comes_back_when_a_look_fails(evaluator: Evaluator) -> None:
    lora = trained(evaluator.backbone)
    whole = rewards(evaluator)
    with pytest.raises(ZeroDivisionError), at_scale(lora, 0.0):
        raise ZeroDivisionError
    assert rewards(evaluator) == whole


def test_what_was_measured_is_found_again_to_the_last_bit(
    evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = trained(evaluator.backbone)
    adapters, look = Adapters("1" * 64, lambda: lora), Look(8, "heldout", 2, 2)
    first = measurer(evaluator, tmp_path / "run")
    found = first.look(look, adapters), first.path_kl(look, adapters), first.samples(adapters)
    for name in ("look", "videos", "path_kl"):
        monkeypatch.setattr(Evaluator, name, never)
    again = measurer(evaluator, tmp_path / "run")
    there = Adapters("1" * 64, never)
    assert (again.look(look, there), again.path_kl(look, there), again.samples(there)) == found
    (tmp_path / "run" / "samples" / "heldout-1.mp4").unlink()
    with pytest.raises(AssertionError, match="measured again"):
        again.samples(adapters)


def test_the_base_model_has_not_moved_from_itself(idle: Evaluator, tmp_path: Path) -> None:
    assert measurer(idle, tmp_path / "run").path_kl(Look(0, "heldout", 2, 1), BASE) == 0


def test_runs_share_what_is_measured_of_the_base_model(
    evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Look(0, "heldout", 2, 1)
    found = measurer(evaluator, tmp_path / "one").look(look, BASE)
    monkeypatch.setattr(Evaluator, "look", never)
    other = run_config(method="ddpo", settings={"clip_range": 0.1}, seed=9, reward_queries=16)
    assert measurer(evaluator, tmp_path / "two", other).look(look, BASE) == found
    assert len(list((tmp_path / BASE_FOLDER).iterdir())) == 1


SUITE = run_config().suite.model_dump()


@pytest.mark.parametrize(
    "changes",
    [
        {"digests": {"weights/nowhere/tiny": "abd"}},
        {"prompts": {"heldout": ["a red cat", "a green cat"]}},
        {"config": run_config(suite=SUITE | {"sampler": {"steps": 2, "eta": 1.0, "guidance": 2.0}})},
        {"config": run_config(suite=SUITE | {"evaluation_batch": 1})},
        {"config": run_config(suite=SUITE | {"gold": {}})},
        {"config": run_config(suite=SUITE | {"rewards": {"red": {"family": "brightness"}}})},
    ],
)
def test_another_model_prompt_or_judge_is_measured_again(
    changes: dict[str, Any], evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Look(0, "heldout", 2, 1)
    measurer(evaluator, tmp_path / "run").look(look, BASE)
    monkeypatch.setattr(Evaluator, "look", never)
    with pytest.raises(AssertionError, match="measured again"):
        measurer(evaluator, tmp_path / "run", **changes).look(look, BASE)


@pytest.mark.parametrize(
    ("look", "adapter"),
    [
        (Look(0, "train", 2, 1), "1"),
        (Look(0, "heldout", 1, 1), "1"),
        (Look(0, "heldout", 2, 2), "1"),
        (Look(0, "heldout", 2, 1, 0.5), "1"),
        (Look(0, "heldout", 2, 1), "2"),
    ],
)
def test_another_look_is_taken(
    look: Look, adapter: str, evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = measurer(evaluator, tmp_path / "run")
    bench.look(Look(0, "heldout", 2, 1), Adapters("1", lambda: None))
    monkeypatch.setattr(Evaluator, "look", never)
    with pytest.raises(AssertionError, match="measured again"):
        bench.look(look, Adapters(adapter, lambda: None))


def test_every_chunk_of_a_longer_video_is_judged(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = write_model(tmp_path_factory.mktemp("svd") / "model")
    backbone = BACKBONES.get("svd").load(folder, height=16, width=16, pictures="pocket")
    counts: list[int] = []
    evaluator = Evaluator(
        backbone, SAMPLER, Redness(), Brightness(), "cpu", counts.append, prompt_share=Colourfulness()
    )
    prompt = "a red cat jumping in the park"
    bench = measurer(evaluator, tmp_path / "run", prompts={"heldout": [prompt]})
    [found] = bench.extensions(5, 2, BASE)
    expected = extend(backbone, SAMPLER, [prompt], 2)  # type: ignore[arg-type] # starts from a picture
    parts = torch.stack(expected.chunk(2, dim=1))[:, 0]
    assert found.rewards == pytest.approx(Redness().score(parts, [prompt] * 2).tolist())
    assert found.golds == pytest.approx(Brightness().score(parts, [prompt] * 2).tolist())
    assert found.prompt_shares == pytest.approx(Colourfulness().score(parts, [prompt] * 2).tolist())
    assert counts == [2]
    assert (tmp_path / "run" / "samples" / "extended-0.mp4").is_file()


def test_only_models_that_start_from_a_picture_make_longer_videos(
    evaluator: Evaluator, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"evaluation.measure.chunks = 3: is nothing for modelscope"):
        measurer(evaluator, tmp_path / "run").extensions(2, 3, BASE)


class Talking(Redness):
    """A reward that says something."""

    def verdicts(self, video: Tensor, prompts: Sequence[str]) -> list[str]:
        return [f"{prompt}: {len(frames)} frames" for prompt, frames in zip(prompts, video, strict=True)]


@pytest.mark.parametrize(
    ("reward", "said"),
    [(Talking(), ["a red cat: 4 frames", "a blue cat: 4 frames"]), (Redness(), ["", ""])],
)
def test_sample_videos_are_written_with_what_the_reward_says(
    evaluator: Evaluator, reward: Redness, said: list[str], tmp_path: Path
) -> None:
    bench = measurer(replace(evaluator, reward=reward), tmp_path / "run")
    samples = bench.samples(BASE)
    assert [(sample.prompt, sample.verdict) for sample in samples] == list(zip(PROMPTS, said, strict=True))
    names = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert names == ["heldout-0.mp4", "heldout-1.mp4"]
