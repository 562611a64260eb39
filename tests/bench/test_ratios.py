"""How long things take beside 0.1.0, and beside what is installed anyway. ``nox -s bench`` prints the ratios.

Both sides of a ratio take turns in one process with one thread, and its CPU time is what counts: what other
processes do meanwhile disturbs that less than the time on the clock. A ratio is that of the medians.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import process_time
from typing import Any

import pytest
import torch
from diffusers.pipelines.deprecated.text_to_video_synthesis.pipeline_text_to_video_synth import (
    TextToVideoSDPipeline,
)
from torch import Tensor

from tests.bench.test_step import ENOUGH, run_of, say
from tests.support import rivals
from vader_bench.backbones import BACKBONES, Backbone
from vader_bench.budget.ledger import Budget, Meter
from vader_bench.config.schema import RunConfig
from vader_bench.evaluation.evaluator import Evaluator
from vader_bench.methods import METHODS, Method
from vader_bench.prompts.sets import prompt_stream
from vader_bench.rewards import Reward
from vader_bench.training.load import Components, load_components
from vader_bench.training.settle import settle_torch
from vader_bench.training.workbench import make_method
from vader_bench.weights.resolve import resolve

ROUNDS = 3
VIDEOS = 8
SHOWN = 16
"""Videos of a look."""
FRAMES = (1, 5)
"""What is decoded and judged of a training video."""
OLD_STEPS, NEW_STEPS = 10, 8
OLD_HEADS = 8
"""``attention_head_dim`` of the model of 0.1.0."""

METHOD: dict[str, dict[str, Any]] = {
    "vader": {"k": 1, "batch_size": VIDEOS},
    "ddpo": {"prompts_per_round": 2, "samples_per_prompt": 4, "updates_per_round": 2, "batch_size": VIDEOS},
    "diffusion-dpo": {"batch_size": VIDEOS},
}
OLD_METHOD = {"ddpo": {"batch_size": 4, "update_batch_size": 4}}
"""In 0.1.0 a round of 8 with two updates was sampled, and trained on step by step, in batches of 4."""

Work = Callable[[], object]


@dataclass(frozen=True)
class Side:
    """One side of a ratio."""

    work: Work
    deterministic: bool = True
    filling: bool = False
    """Whether fresh memory is filled, which is what deterministic mode does by default."""

    def seconds(self) -> float:
        """Return the CPU time of the work."""
        torch.use_deterministic_algorithms(self.deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = self.filling  # type: ignore[attr-defined]
        start = process_time()
        self.work()
        return process_time() - start


@pytest.fixture(autouse=True)
def _settled() -> Iterator[None]:
    settle_torch("cpu")
    yield
    settle_torch("cpu")


@pytest.fixture(scope="module")
def parts() -> Components:
    """The models of the shipped suite."""
    settle_torch("cpu")
    return load_components(run_of("vader"), "cpu")


@pytest.fixture(scope="module")
def shipped(parts: Components) -> tuple[Backbone, int]:
    """The backbone to measure and its sampler steps.

    As long as the shipped model is of 0.1.0's shape, random weights of the shape that is to come.
    """
    heads = parts.backbone.denoiser.config["attention_head_dim"]  # type: ignore[index]
    if heads == OLD_HEADS:
        say("the shipped model has the shape of 0.1.0: measured with random weights of the shape to come")
        return rivals.smaller_heads(), NEW_STEPS
    return parts.backbone, run_of("vader").suite.sampler.steps


def compared(name: str, ours: Side, theirs: Side) -> float:
    """Print and return the ratio of medians; both work once before they are timed."""
    for side in (ours, theirs):
        side.seconds()
    times = [(ours.seconds(), theirs.seconds()) for _ in range(ROUNDS)]
    ratio = median(mine for mine, _ in times) / median(other for _, other in times)
    say(f"ratio {name} {ratio:.3f}")
    return ratio


def method_on(
    name: str, parts: Components, backbone: Backbone, steps: int, settings: dict[str, Any]
) -> Method:
    """Return ``name`` on ``backbone``, whose adapters, if any, are of another method and go."""
    config = run_of(name, steps=steps)
    resolved = METHODS.get(name).Config(**(METHOD[name] | {"learning_rate": 1e-6} | settings))
    config = config.model_copy(update={"settings": resolved})
    own = replace(parts, backbone=backbone, digests={"bench": f"{id(backbone)}"})
    prompts = prompt_stream(parts.prompts.split("train"), 1)
    return make_method(config, own, Meter(Budget(reward_queries=ENOUGH)), prompts, "cpu")


def look(parts: Components, backbone: Backbone, steps: int, batch: int) -> Evaluator:
    config: RunConfig = run_of("vader", steps=steps)
    return Evaluator(backbone, config.suite.sampler, parts.reward, None, "cpu", batch=batch)


@pytest.mark.parametrize("name", ["vader", "ddpo", "diffusion-dpo"])
def test_a_query_beside_0_1_0(name: str, parts: Components, shipped: tuple[Backbone, int]) -> None:
    backbone, steps = shipped
    ours = method_on(name, parts, backbone, steps, {})
    with rivals.in_0_1_0():
        theirs = method_on(name, parts, rivals.model_of_0_1_0(), OLD_STEPS, OLD_METHOD.get(name, {}))
    try:
        ratio = compared(
            f"{name}-query",
            Side(lambda: ours.step(VIDEOS)),
            Side(lambda: theirs.step(VIDEOS), filling=True),
        )
    finally:
        ours.lora.remove()
    assert ratio < 1


def test_an_evaluation_video_beside_0_1_0(parts: Components, shipped: tuple[Backbone, int]) -> None:
    backbone, steps = shipped
    prompts = list(parts.prompts.split("heldout"))[:SHOWN]
    ours = method_on("vader", parts, backbone, steps, {})
    old = rivals.model_of_0_1_0()
    theirs = method_on("vader", parts, old, OLD_STEPS, {})
    batch = run_of("vader").suite.evaluation_batch

    def merged() -> None:
        with ours.lora.merged():
            look(parts, backbone, steps, batch).look(prompts, 1)

    try:
        ratio = compared(
            "evaluation-video",
            Side(merged),
            Side(lambda: look(parts, old, OLD_STEPS, 8).look(prompts, 1), filling=True),
        )
    finally:
        ours.lora.remove()
    assert theirs.lora.parameters()[0].requires_grad, "adapters that are there, and apart"
    assert ratio < 1


def as_installed() -> Backbone:
    """Return the shipped model as diffusers computes it: not in the forms for the CPU."""
    settings = dict(run_of("vader").suite.backbone.settings)
    return BACKBONES.get("modelscope").load(resolve(settings.pop("weights")), **settings)


def score_of(backbone: Backbone, reward: Reward) -> rivals.Score:
    def score(latents: Tensor, prompts: Sequence[str]) -> Tensor:
        return reward.judge(backbone.decode(latents, FRAMES).clamp(0, 1), prompts).objective

    return score


@pytest.mark.parametrize(
    ("name", "method", "rival"),
    [("vs-trl-ddpo", "ddpo", rivals.Ddpo), ("vs-trl-alignprop", "vader", rivals.AlignProp)],
)
def test_a_step_beside_trl(name: str, method: str, rival: Any, parts: Components) -> None:
    """The same weights, steps, batches and updates; trl's wrapper decodes and judges as many frames."""
    steps = run_of(method).suite.sampler.steps
    settings = {"updates_per_round": 1} if method == "ddpo" else {}
    ours = method_on(method, parts, parts.backbone, steps, settings)
    stock, prompts = as_installed(), prompt_stream(parts.prompts.split("train"), 1)
    theirs = rival(stock, prompts, score_of(stock, parts.reward), steps, VIDEOS)
    try:
        ratio = compared(name, Side(lambda: ours.step(VIDEOS)), Side(theirs.step, deterministic=False))
    finally:
        ours.lora.remove()
    assert ratio < 1


def test_sampling_beside_diffusers(parts: Components) -> None:
    config = run_of("vader")
    prompts = list(parts.prompts.split("heldout"))[:SHOWN]
    folder = resolve(str(config.suite.backbone.settings["weights"]))
    pipeline = TextToVideoSDPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    sampler = config.suite.sampler
    size = {"num_frames": parts.backbone.frames, "num_inference_steps": sampler.steps}
    evaluator = look(parts, parts.backbone, sampler.steps, config.suite.evaluation_batch)
    ratio = compared(
        "vs-diffusers-sampling",
        Side(lambda: evaluator.videos([(prompt, 0) for prompt in prompts])),
        Side(
            lambda: pipeline(prompts, guidance_scale=sampler.guidance, output_type="pt", **size),
            deterministic=False,
        ),
    )
    assert ratio < 1
