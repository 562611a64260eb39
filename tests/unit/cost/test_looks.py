"""Videos of looks and their FLOPs, against what runs make."""

from __future__ import annotations

from pathlib import Path

from tests.support.configs import run_config, tiny_run
from vader_bench.cost.looks import flops_of_video, videos_of_base, videos_of_looks
from vader_bench.cost.skeletons import Skeletons


def test_videos_are_those_that_a_run_makes() -> None:
    run = run_config()  # a look after 4 of 8 queries at 2 prompts, and at the end at 3
    half_way, end, shown = 2, 3 + 2 * 3, 4
    assert videos_of_looks(run) == half_way + end + shown
    best_of_2, before = 3 + 2 * 3, 3 + 2 * 3
    assert videos_of_base(run) == best_of_2 + before + shown


def test_scales_and_longer_videos_count_too() -> None:
    run = run_config()
    measure = run.evaluation.measure.model_copy(update={"lora_scales": [0.5, 2.0], "chunks": 3})
    more = run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"measure": measure})})
    assert videos_of_looks(more) == videos_of_looks(run) + 2 * 3 + 3 * 3


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
