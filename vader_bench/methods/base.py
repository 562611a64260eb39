"""What every way of spending a budget looks like to the runner, and the parts that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from vader_bench.budget.ledger import BudgetExceededError, Meter
from vader_bench.budget.metering import MeteredBackbone, MeteredReward
from vader_bench.config.faults import Fault
from vader_bench.config.settings import Settings
from vader_bench.diffusion.sampler import Guidance, Noise, Sampler, draw_noise
from vader_bench.errors import UserError
from vader_bench.methods import METHODS
from vader_bench.methods.optimizers import make_optimizer
from vader_bench.rewards.base import Judgement, frames_said, frames_to_judge
from vader_bench.world import ALONE, World

__all__ = ["Method", "MethodConfig", "Workbench", "take_step"]


class MethodConfig(Settings):
    """Hyper-parameters that every method has; each method's own config extends it."""

    learning_rate: float = Field(gt=0)
    """Step size of AdamW."""
    batch_size: int = Field(default=8, ge=1)
    """Videos sampled and trained on at once."""
    lora_rank: int = Field(default=16, ge=1)
    """Rank of the adapters; alpha equals the rank, so that the scale is 1."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""

    what_ifs: ClassVar[tuple[str, ...]] = ()
    """Settings beside ``batch_size`` that ``plan`` varies on request, by options of the same names."""

    @property
    def least_batch(self) -> int:
        """Return the smallest ``batch_size`` that the other settings allow."""
        return 1

    @property
    @abstractmethod
    def round_queries(self) -> int:
        """Return how many reward queries a round takes; see ``Settings``."""

    @property
    def most_devices(self) -> int:
        """Return how many devices can share its batches of videos; see ``Settings``."""
        return min(self.batch_size, self.round_queries)


@dataclass(frozen=True)
class Workbench:
    """All that a method may touch. Everything in it is the same for every method of an experiment."""

    backbone: MeteredBackbone
    reward: MeteredReward
    prompts: Iterator[str]
    """The training prompts in their fixed order, without end; saved and restored by the runner."""
    steps: int
    """Sampler steps."""
    eta: float
    """DDIM noise level while training: 0 is deterministic, 1 is DDPM-like."""
    guidance: Guidance | float
    """Classifier-free guidance scale; 1 is none."""
    decode_frames: int | None
    """Frames decoded and judged per training video, drawn at random; all if ``None``. It holds for rewards
    that judge frames one by one: others see what they see at looks."""
    device: str
    stream: Callable[..., torch.Generator]
    """``stream(*names)`` returns the run's torch generator of that name (see ``seeding``)."""
    optimizer: str = "adamw"
    """See ``make_optimizer``."""
    half_precision: bool = False
    """Whether the backbone's frozen weights are in fewer digits than float32."""
    world: World = ALONE
    """The processes that do the run together. Backbone and reward share their calls out among them; a method
    does the same in each."""


class Method(ABC):
    """A way of spending reward queries to raise a reward.

    A method's file has the same parts in the same order: config, setup, loss, step, state. All methods
    train adapters from the same start with AdamW (betas 0.9 and 0.999, no weight decay), sample with the
    same sampler and take prompts from the same list. All of them log these metrics:

    ========== ===================================================================
    reward     mean score of the videos just judged
    loss       mean loss of the updates of this step
    grad_norm  mean norm of the gradient before clipping
    ========== ===================================================================
    """

    Config: ClassVar[type[MethodConfig]]
    streams: ClassVar[tuple[str, ...]] = ()
    """Random streams of the method beside the common ``sampler`` (noise) and ``frames``."""
    policy_gradient: ClassVar[bool] = False
    """Whether it estimates the gradient of the expected reward from log-probabilities of its samples."""
    uses_gradient: ClassVar[bool] = False
    """Whether it differentiates the reward, so that all its queries are gradient queries."""
    baseline: ClassVar[bool] = False
    """Whether its final reward, where it is the best of a figure's baselines, is the threshold for all."""

    config: MethodConfig

    def __init__(self, config: MethodConfig, bench: Workbench) -> None:
        """Inject the adapters, make optimiser, sampler and random generators.

        Raises:
            UserError: the reward or the sampler does not fit the method; see ``refusals``.
        """
        for key, wrong, remedy in self.refusals(
            config, steps=bench.steps, gradient=bench.reward.differentiable
        ):
            own = f"{key} = {getattr(config, key)}" if key in type(config).model_fields else key
            raise UserError(own or f"reward {bench.reward.name!r}", wrong, remedy)
        self.config = config
        self.bench = bench
        backbone = bench.backbone
        self.lora = backbone.add_adapters(config.lora_rank, bench.stream("lora"))
        self.optimizer = make_optimizer(
            bench.optimizer, self.lora.parameters(), config.learning_rate, bench.device
        )
        self.sampler = Sampler(
            backbone.denoise, backbone.schedule, bench.steps, bench.eta, bench.guidance, self.lora.merged
        )
        self.generators = {name: bench.stream(name) for name in ("sampler", "frames", *self.streams)}
        self.notes: list[str] = []
        """What whoever reads the results must know of this run; see ``note``."""
        chosen = self._choose_frames(
            torch.Generator()
        )  # refuses impossible numbers of frames before any work
        if len(chosen) < len(frames_to_judge(bench.reward.frames, backbone.frames)):
            said = frames_said(
                bench.reward.frames, bench.reward.by_frame, bench.decode_frames, backbone.frames
            )
            self.note(f"judged are {said}")

    @abstractmethod
    def step(self, allowance: int) -> dict[str, float]:
        """Spend at most ``allowance`` (at least 1) reward queries on one round of sampling and updating.

        Returns:
            What to log; see the tables in the docstrings of the classes.
        """

    def state(self) -> dict[str, Any]:
        """Return all that a resumed run needs: adapters, optimiser, generators, and the method's own.

        Only tensors, numbers, strings, lists and dictionaries, so that ``torch.load`` with
        ``weights_only`` reads it back.
        """
        return {
            "adapter": self.lora.state(),
            "optimizer": self.optimizer.state_dict(),
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
            "notes": list(self.notes),
            "own": self.own_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from ``state`` exactly."""
        self.lora.load(state["adapter"], "checkpoint")
        self.optimizer.load_state_dict(state["optimizer"])
        for name, generator in self.generators.items():
            generator.set_state(state["generators"][name])
        self.notes = list(state["notes"])
        self.load_own_state(state["own"])

    def note(self, text: str) -> None:
        """Have ``text`` said, once, wherever the run is reported."""
        if text not in self.notes:
            self.notes.append(text)

    def batches(self, videos: int) -> list[int]:
        """Return the sizes, ``batch_size`` at most, of the batches that ``videos`` are worked through in."""
        size = self.config.batch_size
        return [min(size, videos - first) for first in range(0, videos, size)]

    @classmethod
    def refusals(cls, config: Any, *, steps: int, gradient: bool) -> Iterator[Fault]:
        """Yield what in ``config`` does not fit where it is to run; known without any weights.

        Args:
            config: of the method.
            steps: of the sampler.
            gradient: whether the reward is differentiable.
        """
        del config, steps
        if cls.uses_gradient and not gradient:
            others = [name for name in METHODS.table if not METHODS.get(name).uses_gradient]
            yield Fault("", "has no gradient", f"use {' or '.join(others)} with it")

    def own_state(self) -> dict[str, Any]:
        """Return what this method remembers from step to step beside the common parts; nothing by default."""
        return {}

    def load_own_state(self, state: dict[str, Any]) -> None:
        """Take back what ``own_state`` returned."""
        del state

    def next_prompts(self, count: int) -> list[str]:
        """Return the next ``count`` training prompts."""
        return [next(self.bench.prompts) for _ in range(count)]

    def next_groups(self, videos: int, each: int) -> list[str]:
        """Return a prompt for each of ``videos``, the same for ``each`` in a row; the last row is cut."""
        drawn = self.next_prompts(-(-videos // each))
        return [prompt for prompt in drawn for _ in range(each)][:videos]

    def noise(self, videos: int) -> Noise:
        """Return a source of noise for ``videos`` latents, from the stream ``sampler``."""
        shape = (videos, *self.bench.backbone.latent_shape)
        return lambda: draw_noise(shape, self.generators["sampler"], self.bench.device)

    def choose_frames(self) -> list[int]:
        """Return the frames to decode and judge in this step, the same for all its videos."""
        return self._choose_frames(self.generators["frames"])

    def judge(self, latents: Tensor, prompts: Sequence[str], frames: Sequence[int]) -> Judgement:
        """Decode ``frames`` of clean ``latents`` [B, C, F, h, w] and judge them; costs B queries.

        Pictures are clamped to [0, 1], so that a saturated pixel has no gradient, as in VADER's code.
        """
        return self.bench.reward.judge(self.bench.backbone.decode(latents, frames).clamp(0, 1), prompts)

    def update(self, losses: Iterable[Tensor]) -> float:
        """Take one step of the optimiser down the sum of ``losses`` and return the norm of its gradient.

        Each loss is differentiated before the next one is asked for, so that their graphs need not be kept
        together. Where several processes do the run, each has then the gradient of its rows alone: they are
        added up here.
        """
        self.optimizer.zero_grad()
        for loss in losses:
            loss.backward()
        self.bench.world.add_gradients(self.lora.parameters())
        norm = self.finite(torch.nn.utils.clip_grad_norm_(self.lora.parameters(), self.config.max_grad_norm))
        self.optimizer.step()
        return norm

    def finite(self, norm: Tensor) -> float:
        """Return the norm of a gradient, before it is applied.

        Raises:
            UserError: it is not finite; the adapters are as they were.
        """
        if not torch.isfinite(norm):
            raise UserError(
                f"learning rate {self.config.learning_rate}",
                "led to a gradient that is not finite",
                "lower the learning rate, or check the reward",
            )
        return float(norm)

    def _choose_frames(self, generator: torch.Generator) -> list[int]:
        reward, wanted, total = self.bench.reward, self.bench.decode_frames, self.bench.backbone.frames
        whole = frames_to_judge(reward.frames, total)
        if reward.frames is not None or not reward.by_frame or wanted is None:
            return whole
        if len(frames_to_judge(wanted, total)) == total:
            return whole
        return sorted(torch.randperm(total, generator=generator)[:wanted].tolist())


def take_step(method: Method, meter: Meter, allowance: int, called: str) -> dict[str, float]:
    """Let ``method`` take a step, and return its metrics; see ``Method.step``.

    Args:
        method: what spends.
        meter: counts what it spends.
        allowance: the most reward queries that it may make.
        called: the method as the experiment's file writes it.

    Raises:
        UserError: it makes none, or more.
    """
    before = meter.ledger.reward_queries
    try:
        metrics = method.step(allowance)
    except BudgetExceededError as error:
        raise _misspent(called, f"more than {meter.ledger.reward_queries - before}", allowance) from error
    made = meter.ledger.reward_queries - before
    if not 0 < made <= allowance:
        raise _misspent(called, str(made), allowance)
    return metrics


def _misspent(called: str, made: str, allowance: int) -> UserError:
    wrong = f"made {made} reward queries where {allowance} were left"
    remedy = "have it make one at least, and at most `allowance` of them"
    return UserError(f"a step of {called}", wrong, remedy)
