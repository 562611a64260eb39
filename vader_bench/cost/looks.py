"""What measuring a run would cost: its FLOPs are no part of the run's ledger, and take time too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vader_bench.config.names import ADAPTER, BASE, HELDOUT, UNTRAINED
from vader_bench.config.schema import RunConfig, SuiteConfig
from vader_bench.config.settings import Settings
from vader_bench.cost.estimate import rehearse
from vader_bench.cost.skeletons import Call, Skeletons
from vader_bench.evaluation.looks import Look, looks, scaled_looks, video_count
from vader_bench.evaluation.measurements import KL_PROMPTS
from vader_bench.methods import MethodConfig
from vader_bench.prompts.sets import load_prompts
from vader_bench.records.record import SAMPLE_PROMPTS
from vader_bench.rewards.base import Reward

__all__ = ["flops_of_base", "flops_of_looks", "flops_of_sampling", "flops_of_video"]


def flops_of_looks(run: RunConfig, networks: Skeletons) -> int:
    """Return the FLOPs of all that is measured of the adapters of ``run``, beside its training.

    That is what ``Measuring`` does: looks, those at scaled adapters too, with every judge; paths for the KL
    divergence; longer videos; the videos of the report; and the step that is taken twice more for its memory.

    Left out are the looks before training, which all runs on a reward share (see ``flops_of_base``), and the
    encoding of prompts and pictures, as in a run's ledger.

    Args:
        run: not the base model's.
        networks: those of its suite, with its reward and its judges.
    """
    measure = run.evaluation.measure
    taken = [look for look in looks(run) if look.queries or run.method == ADAPTER]
    taken += scaled_looks(run)
    flops = _flops_of_videos(run, taken, networks)
    if measure.path_kl:
        flops += _flops_of_paths(run, taken, networks)
    if measure.peak_memory and run.method not in UNTRAINED:
        flops += _flops_of_step(run, networks)
    return flops


def flops_of_base(run: RunConfig, networks: Skeletons) -> int:
    """Return the FLOPs of all that is measured of the base model for the reward of ``run``.

    Arms share it. Looks before training and those of best-of-N are taken once if they are alike. Not counted
    is that an arm with other ``memory`` switches takes the looks before training once more.

    Args:
        run: one that trains.
        networks: as for ``flops_of_looks``.
    """
    base = run.model_copy(update={"method": BASE, "settings": Settings(), "reward_queries": 0})
    first = [look for look in looks(run) if not look.queries]
    return _flops_of_videos(base, [*looks(base), *first], networks)


def flops_of_video(run: RunConfig, networks: Skeletons, judges: Sequence[str] = ()) -> int:
    """Return the FLOPs of one video at a look: of the whole sampler, and of judging all frames.

    It is judged by the reward of ``run``, its gold and the share of the prompt, and by other ``judges``.
    """
    asked = [run.reward, *networks.measures[run.reward], *judges]
    return flops_of_sampling(run.suite, networks) + sum(_flops_of_judging(name, networks) for name in asked)


def flops_of_sampling(suite: SuiteConfig, networks: Skeletons) -> int:
    """Return the FLOPs of making one video at a look."""
    decode = Call("decode", networks.backbone.frames, graph=False, input_grad=False, trainable=False)
    return _flops_of_denoising(suite, networks) + networks.cost(decode, "").forward


def _flops_of_denoising(suite: SuiteConfig, networks: Skeletons) -> int:
    """Return the FLOPs of all steps of the sampler, for one video at a look."""
    denoise = Call("denoise", 0, graph=False, input_grad=False, trainable=not networks.merged)
    sampler = suite.sampler
    guided = networks.backbone.guidance(sampler.guidance, sampler.guidance_2) != 1
    return sampler.steps * (2 if guided else 1) * networks.cost(denoise, "").forward


def _flops_of_judging(name: str, networks: Skeletons) -> int:
    """Return the FLOPs of judging one video by the reward called ``name``, on the frames that it wants."""
    shown = networks.rewards[name].frames or networks.backbone.frames
    judge = Call("judge", shown, graph=False, input_grad=False, trainable=False)
    return networks.cost(judge, name).forward


def _flops_of_videos(run: RunConfig, planned: Sequence[Look], networks: Skeletons) -> int:
    """Return the FLOPs of the looks ``planned``, equal ones once, of longer videos and of the report's."""
    evaluation, available = run.evaluation, _available(run)
    videos = sum(video_count(look, available[look.split]) for look in dict.fromkeys(planned))
    if evaluation.measure.chunks > 1:
        videos += evaluation.measure.chunks * min(evaluation.final_prompts, available[HELDOUT])
    shown = flops_of_sampling(run.suite, networks)
    if type(networks.rewards[run.reward]).verdicts is not Reward.verdicts:  # its words take another look
        shown += _flops_of_judging(run.reward, networks)
    in_report = min(SAMPLE_PROMPTS, available[HELDOUT])
    return videos * flops_of_video(run, networks, run.other_judges) + in_report * shown


def _flops_of_paths(run: RunConfig, planned: Sequence[Look], networks: Skeletons) -> int:
    """Return the FLOPs of the path KL at the looks ``planned``: each step by both models."""
    most = min(KL_PROMPTS, _available(run)[HELDOUT])
    paths = {(look.queries, look.scale): min(look.prompts, most) for look in planned if look.split == HELDOUT}
    return 2 * sum(paths.values()) * _flops_of_denoising(run.suite, networks)


def _flops_of_step(run: RunConfig, networks: Skeletons) -> int:
    """Return the FLOPs of a step of the method, which is taken twice more for its memory."""
    assert isinstance(run.settings, MethodConfig), "what trains has settings of a method"
    videos = min(run.settings.round_queries, run.evaluation.every)
    evaluation = run.evaluation.model_copy(update={"every": videos})
    one = run.model_copy(update={"reward_queries": videos, "evaluation": evaluation})
    return 2 * rehearse(one, networks).flops


def _available(run: RunConfig) -> Mapping[str, int]:
    return {split: len(prompts) for split, prompts in load_prompts(run.prompts).splits.items()}
