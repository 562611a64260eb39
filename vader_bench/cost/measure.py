"""What arms really take on a device: two updates and a look at full size, beside what ``plan`` estimates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from time import perf_counter
from typing import NamedTuple, TypeVar

import torch
from torch import nn

from vader_bench.backbones import Backbone
from vader_bench.budget.ledger import Budget, Meter
from vader_bench.budget.memory import LiveBytes
from vader_bench.config.names import HELDOUT
from vader_bench.config.schema import ComponentConfig, RunConfig, SuiteConfig
from vader_bench.cost.estimate import CostEstimate, estimate
from vader_bench.cost.looks import flops_of_video
from vader_bench.cost.measured import ArmMeasurement, Spent
from vader_bench.cost.random_weights import random_backbone, random_reward
from vader_bench.cost.skeletons import network_bytes
from vader_bench.cost.whatif import Planned, switched_on
from vader_bench.errors import ExitCode, UserError
from vader_bench.evaluation.evaluator import Evaluator
from vader_bench.evaluation.measurements import at_scale
from vader_bench.methods import Method, MethodConfig
from vader_bench.prompts.sets import load_prompts, prompt_stream
from vader_bench.rewards import Reward
from vader_bench.training.load import Components, load_backbone, load_reward, suite_details
from vader_bench.training.settle import settle_torch
from vader_bench.training.workbench import make_method

__all__ = ["Expected", "expected", "measure", "shortened"]

_Made = TypeVar("_Made", Backbone, Reward)


class Expected(NamedTuple):
    """An arm to be measured, with what is estimated of it."""

    run: RunConfig
    """With the budget of one update; see ``shortened``."""
    estimate: CostEstimate
    """Of that run."""
    look_flops: int
    """Of one video at a look."""
    video: tuple[int, int, int]
    """Frames, height and width."""
    precision: str
    """``fp32``, ``fp16`` or ``bf16``: of the frozen weights."""


def expected(planned: Planned) -> Expected:
    """Return what is to be measured of an arm, and is estimated.

    Raises:
        UserError: see ``estimate``.
    """
    run = shortened(planned.run)
    networks = planned.networks.of(run)
    look_flops = flops_of_video(run, networks)
    return Expected(run, estimate(run, networks), look_flops, planned.video, planned.precision)


def measure(arms: Sequence[Expected], device: str, *, random_weights: bool) -> Iterator[ArmMeasurement]:
    """Yield what each arm takes on ``device``; arms of one suite and reward follow each other.

    Args:
        arms: what to measure.
        device: ``"cpu"`` or ``"cuda:0"``.
        random_weights: whether weights are random even where the real ones are here; missing ones always are.

    Raises:
        UserError: weights are missing and nobody knows their sizes, or a setting does not fit.
        torch.OutOfMemoryError: an arm does not fit.
    """
    settle_torch(device)
    for _, alike in _grouped(arms, lambda one: one.run.suite.model_dump_json()):
        load = _Loader(alike[0].run.suite, device, random_weights=random_weights)
        backbone = load.backbone()
        for reward, same in _grouped(alike, lambda one: one.run.reward):
            components = load.components(backbone, reward)
            for one in same:
                yield _Arm(one, components, device).measured(random_weights=load.drawn)


def shortened(run: RunConfig) -> RunConfig:
    """Return ``run`` with a budget of one update, on as few videos as need all its memory.

    An update of many batches, or a round of many videos, takes that much longer and no more memory.
    """
    settings = run.settings
    assert isinstance(settings, MethodConfig), "the base model is not measured"
    videos = min(settings.round_queries, max(settings.batch_size, settings.least_batch))
    heldout = len(load_prompts(run.prompts).split(HELDOUT))
    suite = run.suite.model_copy(update={"evaluation_batch": min(run.suite.evaluation_batch, heldout)})
    evaluation = run.evaluation.model_copy(update={"every": videos})
    return run.model_copy(update={"suite": suite, "reward_queries": videos, "evaluation": evaluation})


def _grouped(
    arms: Sequence[Expected], key: Callable[[Expected], str]
) -> Iterator[tuple[str, list[Expected]]]:
    for name, group in groupby(sorted(arms, key=key), key=key):
        yield name, list(group)


class _Loader:
    """Loads what a suite names, or makes it with random weights."""

    def __init__(self, suite: SuiteConfig, device: str, *, random_weights: bool) -> None:
        self._suite = suite
        self._device = device
        self._random = random_weights
        self.drawn = False
        """Whether some weights were random."""

    def backbone(self) -> Backbone:
        """Return the backbone on the device."""
        return self._made(
            partial(load_backbone, self._suite, self._device, suite_details(self._suite)),
            partial(random_backbone, self._suite, self._device),
        )

    def components(self, backbone: Backbone, reward: str) -> Components:
        """Return all that an arm on ``reward`` works with."""
        gold, share = self._suite.gold_for(reward), self._suite.prompt_share
        return Components(
            backbone=backbone,
            reward=self._reward(self._suite.rewards[reward]),
            gold=None if gold is None else self._reward(gold),
            prompt_share=None if share is None else self._reward(share),
            judges={},
            prompts=load_prompts(self._suite.prompts_for(reward)),
            digests={},  # none is written down
        )

    def _reward(self, component: ComponentConfig) -> Reward:
        return self._made(
            partial(load_reward, component, self._device), partial(random_reward, component, self._device)
        )

    def _made(self, load: Callable[[], _Made], draw: Callable[[], _Made]) -> _Made:
        if not self._random:
            try:
                return load()
            except UserError as error:
                if error.exit_code != ExitCode.MISSING:
                    raise
        self.drawn = True
        return draw()


class _Arm:
    """An arm at work."""

    def __init__(self, expected: Expected, components: Components, device: str) -> None:
        self._run = expected.run
        self._expected = expected
        self._components = components
        self._device = device

    def measured(self, *, random_weights: bool) -> ArmMeasurement:
        """Return what two updates and a look take; the denoiser is without adapters afterwards."""
        run = self._run
        meter = Meter(Budget(reward_queries=3 * run.reward_queries))
        prompts = prompt_stream(self._components.prompts.split("train"), run.seed)
        method = make_method(run, self._components, meter, prompts, self._device)
        try:
            training, look = self._training(method, meter), self._look(method)
        finally:
            method.lora.remove()
        return ArmMeasurement(
            suite=run.suite.suite,
            arm=run.label,
            reward=run.reward,
            precision=self._expected.precision,
            memory=switched_on(run.suite.memory),
            video=self._expected.video,
            batch=method.config.batch_size,
            random_weights=random_weights,
            training=training,
            look=look,
        )

    def _training(self, method: Method, meter: Meter) -> Spent:
        """Return what an update takes: the second one, since the first one is counted and warms up."""
        videos, flops = self._run.reward_queries, list[int]()

        def update() -> None:
            before = meter.ledger.flops
            method.step(videos)
            flops.append(meter.ledger.flops - before)

        update()
        seconds, most = self._watched(update)
        return Spent(
            videos=videos,
            seconds=seconds,
            flops=flops[1],
            estimated_flops=self._expected.estimate.flops,
            bytes=most,
            estimated_bytes=self._expected.estimate.memory.total,
        )

    def _look(self, method: Method) -> Spent:
        """Return what a batch of held-out videos takes. Nothing counts its FLOPs: they are the estimate's."""
        parts, suite = self._components, self._run.suite
        prompts = parts.prompts.split(HELDOUT)[: suite.evaluation_batch]
        evaluator = Evaluator(
            parts.backbone,
            suite.sampler,
            parts.reward,
            parts.gold,
            self._device,
            batch=len(prompts),
            prompt_share=parts.prompt_share,
        )
        with at_scale(method.lora, 1.0):
            seconds, most = self._watched(lambda: evaluator.look(prompts, 1))
        flops = len(prompts) * self._expected.look_flops
        return Spent(
            videos=len(prompts),
            seconds=seconds,
            flops=flops,
            estimated_flops=flops,
            bytes=most,
            estimated_bytes=self._expected.estimate.look.total,
        )

    def _watched(self, work: Callable[[], object]) -> tuple[float, int]:
        """Return the seconds of ``work`` and the most bytes of tensors at any time of it.

        On the CPU, where every tensor is followed and that takes time, it is done once more for the bytes.
        """
        if self._device != "cpu":
            torch.cuda.reset_peak_memory_stats(self._device)
            seconds = self._timed(work)
            return seconds, torch.cuda.max_memory_allocated(self._device)
        seconds, resident = self._timed(work), network_bytes(self._modules())
        with LiveBytes() as live:
            work()
        return seconds, resident + live.peak

    def _timed(self, work: Callable[[], object]) -> float:
        synchronise: Callable[[], object] = lambda: None  # noqa: E731 - one of two
        if self._device != "cpu":
            synchronise = partial(torch.cuda.synchronize, self._device)
        synchronise()
        started = perf_counter()
        work()
        synchronise()
        return perf_counter() - started

    def _modules(self) -> list[nn.Module]:
        """Return all networks, with the adapters in the denoiser."""
        parts = self._components
        judges = [judge for judge in (parts.reward, parts.gold, parts.prompt_share) if judge is not None]
        return [*parts.backbone.modules(), *(module for judge in judges for module in judge.modules())]
