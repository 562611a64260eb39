"""FLOPs of what is measured of runs, against what runs make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.support.configs import run_config, tiny_run
from vader_bench.backbones import Backbone
from vader_bench.budget.metering import PLAIN_ATTENTION
from vader_bench.config.schema import RunConfig
from vader_bench.cost.estimate import rehearse
from vader_bench.cost.looks import flops_of_base, flops_of_looks, flops_of_video
from vader_bench.cost.skeletons import Call, Cost, Skeletons
from vader_bench.diffusion.lora import Lora
from vader_bench.evaluation.evaluator import Evaluator
from vader_bench.evaluation.looks import looks as looks_of
from vader_bench.evaluation.looks import scaled_looks
from vader_bench.evaluation.measurements import Adapters, Measurer
from vader_bench.prompts.sets import load_prompts
from vader_bench.rewards.closed_form import Brightness, Colourfulness, Redness

PRICES = {"red": 1, "red, measure 1": 10, "colour": 100, "decode": 1000, "denoise": 10_000}
VIDEO = 2 * 10_000 + 1000
"""Two steps, and decoding."""
LOOKED = VIDEO + 1 + 10
"""The same with reward and gold."""


class Priced(SimpleNamespace):
    """Networks with round prices."""

    def cost(self, call: Call, reward: str) -> Cost:
        """Return the price of a call, on whatever frames."""
        return Cost(PRICES[reward if call.name == "judge" else call.name], 0, 0, 0)


@pytest.fixture
def priced() -> Skeletons:
    backbone = SimpleNamespace(frames=4, guidance=lambda scale, _: scale)
    rewards = {"red": Redness(), "red, measure 1": Brightness(), "colour": Colourfulness()}
    measures = {"red": ["red, measure 1"], "colour": []}
    return cast("Skeletons", Priced(backbone=backbone, rewards=rewards, measures=measures, merged=1))


def measured(run: RunConfig, **measure: Any) -> RunConfig:
    asked = run.evaluation.measure.model_copy(update=measure)
    return run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"measure": asked})})


RUN = run_config()
"""A look after 4 of 8 queries at 2 prompts, and at the end at 3: twice each on the held-out split."""
LOOKS = (2 + 3 + 2 * 3) * LOOKED + 4 * VIDEO


def test_videos_are_those_that_a_run_makes(priced: Skeletons) -> None:
    assert flops_of_looks(RUN, priced) == LOOKS, "nothing scores the videos that are shown"


def test_looks_at_the_base_model_are_taken_once_where_they_are_the_same(priced: Skeletons) -> None:
    assert flops_of_base(RUN, priced) == (3 + 2 * 3) * LOOKED + 4 * VIDEO
    evaluation = RUN.evaluation.model_copy(update={"best_of": [1, 4]})
    more = RUN.model_copy(update={"evaluation": evaluation})
    assert flops_of_base(more, priced) - flops_of_base(RUN, priced) == 4 * 3 * LOOKED
    longer = measured(RUN, chunks=3)
    assert flops_of_base(longer, priced) - flops_of_base(RUN, priced) == 3 * 3 * LOOKED


def test_scales_and_longer_videos_count_too(priced: Skeletons) -> None:
    more = measured(RUN, lora_scales=[0.5, 2.0], chunks=3)
    assert flops_of_looks(more, priced) - LOOKS == (2 * 3 + 3 * 3) * LOOKED
    again = measured(RUN, samples_along=2, lora_scales=[1.0])
    assert flops_of_looks(again, priced) == flops_of_looks(measured(RUN, samples_along=2), priced)


def test_every_other_judge_scores_what_is_looked_at_and_not_what_is_shown(priced: Skeletons) -> None:
    judged = measured(RUN, judges=["red", "colour"])
    assert flops_of_looks(judged, priced) - LOOKS == (2 + 3 + 2 * 3) * 100
    assert flops_of_base(judged, priced) - flops_of_base(RUN, priced) == (3 + 2 * 3) * 100


def test_a_path_takes_each_step_twice(priced: Skeletons) -> None:
    half_way, end = 2, 3
    moved = measured(RUN, path_kl=True)
    assert flops_of_looks(moved, priced) - LOOKS == (half_way + end) * 2 * 2 * 10_000
    assert flops_of_base(moved, priced) == flops_of_base(RUN, priced), "it has not moved from itself"
    scales = {"lora_scales": [0.5, 1.0]}  # the path at 1 is that of the last look
    more = flops_of_looks(measured(RUN, path_kl=True, **scales), priced)
    assert more - flops_of_looks(measured(RUN, **scales), priced) == (half_way + 2 * end) * 2 * 2 * 10_000


def test_words_take_another_look(priced: Skeletons, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Redness, "verdicts", lambda *_: ["red"])
    assert flops_of_looks(RUN, priced) - LOOKS == 4 * 1


def test_two_more_steps_for_its_memory_count(tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline)
    networks = Skeletons(run.suite, ["red"], 2)
    step = rehearse(run, networks).flops / 4  # batches of 2, a budget of 8
    plain, watched = (flops_of_looks(measured(run, peak_memory=on), networks) for on in (False, True))
    assert 0 < watched - plain == 2 * step


@pytest.fixture
def adapted(tiny_backbone: Backbone) -> Iterator[Lora]:
    lora = Lora(tiny_backbone.denoiser, tiny_backbone.lora_targets, 2, torch.Generator().manual_seed(0))
    yield lora
    lora.remove()


def test_they_are_those_of_measuring(
    tiny_pipeline: Path,
    tiny_backbone: Backbone,
    adapted: Lora,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = tiny_backbone.text_shape
    monkeypatch.setattr(tiny_backbone, "encode", lambda prompts: torch.zeros(len(prompts), *text))
    run = measured(tiny_run(tiny_pipeline), path_kl=True, lora_scales=[0.5])
    evaluator = Evaluator(tiny_backbone, run.suite.sampler, Redness(), Brightness(), "cpu")
    digests = {f"weights/{tiny_pipeline}": "abc"}
    bench = Measurer(run, digests, load_prompts(run.prompts).splits, tmp_path / "run", "cpu", evaluator)
    with FlopCounterMode(display=False, custom_mapping=PLAIN_ATTENTION) as counter:
        for look in [*(one for one in looks_of(run) if one.queries), *scaled_looks(run)]:
            adapters = Adapters(str(look.queries), lambda: adapted)
            bench.look(look, adapters)
            if look.split == "heldout":
                bench.path_kl(look, adapters)
        bench.samples(adapters)
    found = flops_of_looks(run, Skeletons(run.suite, ["red"], 2))
    assert found == pytest.approx(counter.get_total_flops(), rel=0.005), "merging takes a little"


def test_a_video_takes_the_whole_sampler_and_guidance_twice_that(tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline)
    networks = Skeletons(run.suite, ["red"], 2)
    sampler = run.suite.sampler

    def flops(steps: int, guidance: float) -> int:
        changed = sampler.model_copy(update={"steps": steps, "guidance": guidance})
        suite = run.suite.model_copy(update={"sampler": changed})
        return flops_of_video(run.model_copy(update={"suite": suite}), networks)

    step = flops(3, 1.0) - flops(2, 1.0)
    assert 0 < step < flops(2, 1.0) - step, "something is decoded and judged too"
    assert flops(2, 4.0) == flops(4, 1.0)
