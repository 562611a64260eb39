"""What the looks at a run's model would cost: its FLOPs are no part of a run's ledger, and take time too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vader_bench.config.names import BASE, HELDOUT
from vader_bench.config.schema import RunConfig, SuiteConfig
from vader_bench.config.settings import Settings
from vader_bench.cost.skeletons import Call, Skeletons
from vader_bench.evaluation.looks import Look, looks, scaled_looks, video_count
from vader_bench.prompts.sets import load_prompts
from vader_bench.records.record import SAMPLE_PROMPTS

__all__ = [
    "flops_of_denoising", "flops_of_judging", "flops_of_sampling", "flops_of_video", "videos_of_base",
    "videos_of_looks",
]  # fmt: skip


def videos_of_looks(run: RunConfig) -> int:
    """Return how many videos are made to measure the adapters of ``run``, those shown in its report too.

    Left out is the look before training, which all runs on a reward share: see ``videos_of_base``.
    """
    available = _available(run)
    found = _videos([look for look in looks(run) if look.queries], available)
    found += _videos(scaled_looks(run), available)
    evaluation = run.evaluation
    if evaluation.measure.chunks > 1:
        found += evaluation.measure.chunks * min(evaluation.final_prompts, available[HELDOUT])
    return found + min(SAMPLE_PROMPTS, available[HELDOUT])


def videos_of_base(run: RunConfig) -> int:
    """Return how many videos of the base model are made for the reward of ``run``, whatever the arms.

    They are those of the look before training, of best-of-N, and those shown in the report.
    """
    base = run.model_copy(update={"method": BASE, "settings": Settings(), "reward_queries": 0})
    first = [look for look in looks(run) if not look.queries]
    available = _available(run)
    return _videos([*looks(base), *first], available) + min(SAMPLE_PROMPTS, available[HELDOUT])


def flops_of_video(run: RunConfig, networks: Skeletons) -> int:
    """Return the FLOPs of making and judging one video at a look: the whole sampler, and all frames."""
    return flops_of_sampling(run.suite, networks) + flops_of_judging(run, networks)


def flops_of_sampling(suite: SuiteConfig, networks: Skeletons) -> int:
    """Return the FLOPs of making one video at a look."""
    decode = Call("decode", networks.backbone.frames, graph=False, input_grad=False, trainable=False)
    return flops_of_denoising(suite, networks) + networks.cost(decode, "").forward


def flops_of_denoising(suite: SuiteConfig, networks: Skeletons) -> int:
    """Return the FLOPs of all steps of the sampler, for one video at a look."""
    denoise = Call("denoise", 0, graph=False, input_grad=False, trainable=not networks.merged)
    calls = suite.sampler.steps * (1 if suite.sampler.guidance == 1 else 2)
    return calls * networks.cost(denoise, "").forward


def flops_of_judging(run: RunConfig, networks: Skeletons) -> int:
    """Return the FLOPs of judging all frames of one video."""
    shown = networks.rewards[run.reward].frames or networks.backbone.frames
    judge = Call("judge", shown, graph=False, input_grad=False, trainable=False)
    return networks.cost(judge, run.reward).forward


def _available(run: RunConfig) -> dict[str, int]:
    return {split: len(prompts) for split, prompts in load_prompts(run.prompts).splits.items()}


def _videos(planned: Sequence[Look], available: Mapping[str, int]) -> int:
    return sum(video_count(look, available[look.split]) for look in planned)
