"""Policy gradients on the steps of the sampler: what DDPO and GRPO share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cache
from math import ceil
from typing import Any, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor

from vader_bench.config.faults import Fault
from vader_bench.config.yamlfile import rule
from vader_bench.diffusion.sampler import guided_prediction
from vader_bench.methods.base import Method, Workbench
from vader_bench.methods.groups import GroupConfig

__all__ = [
    "ClippedLoss", "PolicyGradient", "PolicyGradientConfig", "RoundSamples", "RoundSize", "StepBatch",
    "clipped_loss",
]  # fmt: skip

TOLERATED = 0.1
"""Part of the clip range that the ratio of an unmoved policy may be away from 1 without a note."""

# --- config ---


class PolicyGradientConfig(GroupConfig):
    """Hyper-parameters of a round of sampling and updating."""

    update_batch_size: int | None = Field(default=None, ge=1)
    """Steps of videos differentiated at once, of one video or of several, while ``batch_size`` videos are
    sampled at once; as many as ``batch_size`` if ``None``. It changes no gradient."""
    updates_per_round: int = Field(default=2, ge=1)
    """Optimiser steps per pass over the samples of a round, each on as many of its videos."""
    inner_epochs: int = Field(default=1, ge=1)
    """Passes over the samples of a round."""
    clip_range: float = Field(default=1e-4, gt=0)
    """Ratios are clipped to 1 plus or minus this. They are ratios of MEAN log-probabilities, so the same
    drift moves them less the more elements the latents have: choose it for each backbone."""
    advantage_clip: float = Field(default=5.0, gt=0)
    """Advantages are clipped to plus or minus this."""
    timestep_fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the sampler steps trained on, drawn at random for each video."""
    skip_last_steps: int = Field(default=0, ge=0)
    """Last steps of the sampler that are never trained on. Hardly any noise is left there: the gradients of
    their log-probabilities are by far the longest, and hardly anything depends on what they draw. The authors
    of Flow-GRPO and DanceGRPO leave out the last step, those of DDPO none."""

    @property
    def most_devices(self) -> int:
        """Return how many devices can share any batch of a round, however few steps the sampler has."""
        rows = self.update_batch_size or self.batch_size
        size = RoundSize.of(self.round_queries, self.updates_per_round, self.batch_size, rows, 1)
        return min(size.sampled, size.trained)

    @model_validator(mode="after")
    def _whole_updates(self) -> PolicyGradientConfig:
        if self.round_queries % self.updates_per_round:
            wrong = f"{self.round_queries} videos of a round are no multiple of updates_per_round"
            raise rule(f"{wrong} {self.updates_per_round}", "change the one or the other")
        return self


# --- setup ---


class RoundSamples(NamedTuple):
    """The videos of a round, V of them, with the S steps that led to each."""

    prompts: list[str]
    encoded: Tensor
    """Conditions [V, L, D]."""
    states: Tensor
    """Latents [V, S + 1, C, F, h, w]: the starting noise first, the clean latents last."""
    log_probs: Tensor
    """[V, S]: log-probability of each step when it was sampled."""
    scores: Tensor
    """[V]."""


class StepBatch(NamedTuple):
    """Steps of videos that go through the denoiser in one call, R of them."""

    videos: Tensor
    """[R]: which video of the round."""
    steps: Tensor
    """[R]: which of its steps."""
    reference: Tensor | None
    """[R]: log-probability before the first update of the round. ``None``: the call itself finds it, because
    no update comes before it."""


class PolicyGradient(Method):
    """Gradient of the expected reward from log-probabilities of the sampler's steps.

    A round: samples, their advantages, updates with clipped ratios (Black et al. 2023, section 4.3).

    Metrics beside the common ones:

    ================= ===================================================================
    clip_fraction     share of steps whose ratio left the clip range
    approx_kl         half the mean square of the change of the MEAN log-probability; not a KL
    ratio_deviation   mean distance of the ratio from 1
    unmoved_deviation the same before any update of the round, when nothing but rounding makes it
    advantage_std     standard deviation of the advantages before clipping
    ================= ===================================================================
    """

    policy_gradient = True
    baseline = True
    config: PolicyGradientConfig
    """Its first stream of random numbers, of a subclass, orders the updates."""

    def __init__(self, config: PolicyGradientConfig, bench: Workbench) -> None:
        """Set up.

        Raises:
            UserError: the sampler has no noise, or no timestep would be trained on.
        """
        super().__init__(config, bench)
        self.sampler.require_density()
        self._open_steps = bench.steps - config.skip_last_steps
        self._trained_steps = int(self._open_steps * config.timestep_fraction)
        _trl_trainer()  # imported here and not while the device is timed

    @classmethod
    def refusals(cls, config: PolicyGradientConfig, *, steps: int, gradient: bool) -> Iterator[Fault]:
        """Yield that no step of the sampler would be trained on."""
        yield from super().refusals(config, steps=steps, gradient=gradient)
        left = steps - config.skip_last_steps
        if left < 1:
            yield Fault(
                "skip_last_steps", f"leaves none of {steps} sampler steps", f"choose at most {steps - 1}"
            )
        elif int(left * config.timestep_fraction) < 1:
            least = ceil(10_000 / left) / 10_000  # rounded up, or it would be refused again
            yield Fault("timestep_fraction", f"is no whole step of {left}", f"choose at least {least:g}")

    # --- sampling ---

    @torch.no_grad()
    def _sample(self, videos: int, at_once: int) -> RoundSamples:
        """Sample and judge ``videos`` videos, ``at_once`` in a batch; costs as many queries."""
        prompts, backbone = self.next_groups(videos, self.config.samples_per_prompt), self.bench.backbone
        frames, batches = self.choose_frames(), []
        for first in range(0, videos, at_once):
            own = prompts[first : first + at_once]
            encoded, noise = backbone.encode(own), self.noise(len(own))
            path = self.sampler.with_log_probs(noise(), encoded, backbone.unconditional(encoded), noise)
            score = self.judge(path.states[:, -1], own, frames).score
            batches.append((encoded, path.states, path.log_probs, score))
        return RoundSamples(prompts, *(torch.cat(parts) for parts in zip(*batches, strict=True)))

    # --- advantages ---

    @abstractmethod
    def advantages(self, prompts: Sequence[str], scores: Tensor) -> Tensor:
        """Return the advantages [V] of ``scores`` [V] there; videos of a prompt stand together."""

    # --- loss ---

    def _prediction(self, call: StepBatch, samples: RoundSamples) -> Tensor:
        """Return what the model as it is now predicts [R, C, F, h, w] before the steps of ``call``."""
        latents, timesteps = self._before(call, samples)
        encoded = samples.encoded[call.videos]
        unconditional = self.bench.backbone.unconditional(encoded)
        return guided_prediction(
            self.sampler.denoise, latents, timesteps, encoded, unconditional, self.sampler.guidance
        )

    def _before(self, call: StepBatch, samples: RoundSamples) -> tuple[Tensor, Tensor]:
        """Return latents [R, C, F, h, w] and timesteps [R] before the steps of ``call``."""
        ladder = self.sampler.schedule.timesteps(self.sampler.steps).to(samples.states.device)
        return samples.states[call.videos, call.steps], ladder[call.steps]

    def _log_probs(self, prediction: Tensor, call: StepBatch, samples: RoundSamples) -> Tensor:
        """Return the log-probabilities [R] of the steps of ``call`` under a policy with this prediction."""
        reached = samples.states[call.videos, call.steps + 1]
        return self.sampler.log_prob(prediction, *self._before(call, samples), reached)

    def _penalty(self, prediction: Tensor, call: StepBatch, samples: RoundSamples) -> Tensor:
        """Return what is added to the clipped loss, a number: nothing, unless a method says so."""
        del call, samples
        return prediction.new_zeros(())

    def _loss(self, call: StepBatch, samples: RoundSamples, advantages: Tensor) -> ClippedLoss:
        prediction = self._prediction(call, samples)
        log_probs = self._log_probs(prediction, call, samples)
        reference = log_probs.detach() if call.reference is None else call.reference
        config = self.config
        clipped = clipped_loss(
            log_probs, reference, advantages[call.videos], config.clip_range, config.advantage_clip
        )
        penalty = self._penalty(prediction, call, samples)
        return clipped._replace(loss=clipped.loss + penalty, penalty=penalty.detach())

    # --- step ---

    def step(self, allowance: int) -> dict[str, float]:
        """Sample and judge the videos of a round, cut to ``allowance``, then update."""
        config = self.config
        videos = min(config.round_queries, allowance)
        rows = config.update_batch_size or config.batch_size
        size = RoundSize.of(videos, config.updates_per_round, config.batch_size, rows, self._trained_steps)
        samples = self._sample(videos, size.sampled)
        advantages = self.advantages(samples.prompts, samples.scores)
        updates = self._with_references(self._updates(samples, size), samples)
        seen: list[ClippedLoss] = []
        norms = [self.update(self._losses(calls, samples, advantages, seen)) for calls in updates]
        return self._metrics(samples, advantages, norms, seen)

    def _losses(
        self, calls: list[StepBatch], samples: RoundSamples, advantages: Tensor, seen: list[ClippedLoss]
    ) -> Iterator[Tensor]:
        """Yield the share of each call in the loss of an update, and add what is to be logged to ``seen``."""
        for call in calls:
            found = self._loss(call, samples, advantages)
            seen.append(found._replace(loss=found.loss.detach()))
            yield found.loss / len(calls)

    def _updates(self, samples: RoundSamples, size: RoundSize) -> list[list[StepBatch]]:
        """Return the calls of each update of the round, in a random order of videos and of their steps.

        The stream gives one number a round, however long that is.
        """
        seed = int(torch.randint(2**62, (), generator=self.generators[self.streams[0]]))
        order, videos, steps = torch.Generator().manual_seed(seed), len(samples.prompts), self._open_steps
        video, step = torch.arange(videos), torch.arange(steps).expand(videos, steps)
        updates = []
        for _ in range(self.config.inner_epochs):
            shuffled = torch.randperm(videos, generator=order)
            times = torch.stack([torch.randperm(steps, generator=order) for _ in range(videos)])
            video, step = video[shuffled], step[shuffled].gather(1, times)
            trained = step[:, : self._trained_steps]
            pairs = zip(video.chunk(size.updates), trained.chunk(size.updates), strict=True)
            updates += [list(_calls(some, when, samples, size)) for some, when in pairs]
        return updates

    def _with_references(
        self, updates: list[list[StepBatch]], samples: RoundSamples
    ) -> list[list[StepBatch]]:
        """Return ``updates`` with log-probabilities that the training's own calls can be compared with.

        In float32 those of sampling can. In half precision another batch means other kernels, which round
        by more than the clip range: there each call is made once more before the first update. Those of the
        first update itself need not be.
        """
        if not self.bench.half_precision:
            return updates
        first, *later = updates
        with torch.no_grad():
            made = [[self._referenced(call, samples) for call in update] for update in later]
        return [[call._replace(reference=None) for call in first], *made]

    def _referenced(self, call: StepBatch, samples: RoundSamples) -> StepBatch:
        prediction = self._prediction(call, samples)
        return call._replace(reference=self._log_probs(prediction, call, samples))

    def _metrics(
        self, samples: RoundSamples, advantages: Tensor, norms: list[float], seen: list[ClippedLoss]
    ) -> dict[str, float]:
        """Return the metrics of a round whose updates have made ``seen`` calls, each as many."""
        each = ClippedLoss(*map(torch.stack, zip(*seen, strict=True)))
        deviations = (each.ratio - 1).abs().mean(1)
        unmoved = deviations[: len(seen) // len(norms)].mean().item()
        if unmoved > TOLERATED * self.config.clip_range:
            self.note(
                "by rounding alone, the ratio of a policy that had not moved was further from 1 than a tenth "
                f"of the clip range {self.config.clip_range:g}"
            )
        return {
            "reward": samples.scores.mean().item(),
            "loss": each.loss.mean().item(),
            "grad_norm": sum(norms) / len(norms),
            "clip_fraction": each.clip_fraction.mean().item(),
            "approx_kl": each.approx_kl.mean().item(),
            "ratio_deviation": deviations.mean().item(),
            "unmoved_deviation": unmoved,
            "advantage_std": advantages.std(correction=0).item(),
        }


class RoundSize(NamedTuple):
    """How a round is cut up, without a remainder."""

    videos: int
    updates: int
    """Each on as many videos as the others."""
    sampled: int
    """Videos sampled at once."""
    trained: int
    """Videos whose steps are differentiated at once."""
    steps: int
    """Steps of each of them that are differentiated at once."""

    @classmethod
    def of(cls, videos: int, updates: int, sampled: int, rows: int, timesteps: int) -> RoundSize:
        """Return the cut of a round with at most so many updates and videos sampled at once.

        Args:
            videos: of the round.
            updates: most updates.
            sampled: most videos sampled at once.
            rows: most steps of videos differentiated at once.
            timesteps: steps of each video that are trained on.
        """
        updates = _largest_divisor(videos, updates)
        trained = _largest_divisor(videos // updates, rows)
        steps = _largest_divisor(timesteps, rows // trained)
        return cls(videos, updates, _largest_divisor(videos, sampled), trained, steps)


class ClippedLoss(NamedTuple):
    """The loss of R steps, and what is logged of it."""

    loss: Tensor
    """A number: the mean over the steps."""
    ratio: Tensor
    """[R], without a graph."""
    approx_kl: Tensor
    """A number."""
    clip_fraction: Tensor
    """A number."""
    penalty: Tensor
    """A number: what else is in the loss."""


def clipped_loss(
    log_probs: Tensor, reference: Tensor, advantages: Tensor, clip_range: float, advantage_clip: float
) -> ClippedLoss:
    """Return the clipped loss of steps (Black et al. 2023, section 4.3) by trl's ``DDPOTrainer.loss``.

    What surrounds it is trl's ``calculate_loss``, which asks for an image pipeline.

    Args:
        log_probs: of the steps now [R], with a graph.
        reference: before the first update [R].
        advantages: of the steps' videos [R].
        clip_range: ratios are clipped to 1 plus or minus this.
        advantage_clip: advantages are clipped to plus or minus this.
    """
    ratio = torch.exp(log_probs - reference)
    with torch.no_grad():
        approx_kl = 0.5 * torch.mean((log_probs - reference) ** 2)
        clip_fraction = torch.mean((torch.abs(ratio - 1.0) > clip_range).float())
    advantages = torch.clamp(advantages, -advantage_clip, advantage_clip)
    loss = _trl_trainer().loss(None, advantages, clip_range, ratio)  # reads nothing of a trainer
    return ClippedLoss(loss, ratio.detach(), approx_kl, clip_fraction, loss.new_zeros(()))


@cache
def _trl_trainer() -> Any:
    """Return trl's trainer, of which the loss alone is used; what it imports takes seconds."""
    from trl.trainer.ddpo_trainer import DDPOTrainer

    return DDPOTrainer


def _calls(videos: Tensor, steps: Tensor, samples: RoundSamples, size: RoundSize) -> Iterator[StepBatch]:
    """Yield the calls for ``videos`` [v] and their trained ``steps`` [v, T], as large as ``size`` says."""
    stride = steps.shape[1] // size.steps
    for some, when in zip(videos.split(size.trained), steps.split(size.trained), strict=True):
        for first in range(stride):
            rows, at = some.repeat_interleave(size.steps), when[:, first::stride].flatten()
            yield StepBatch(rows, at, samples.log_probs[rows, at])


def _largest_divisor(number: int, limit: int) -> int:
    return next(d for d in range(min(number, limit), 0, -1) if number % d == 0)
