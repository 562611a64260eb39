"""trl's ``DDPOTrainer`` over a video backbone: a pipeline that answers it, and a round of exact size."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from accelerate.tracking import GeneralTracker
from torch import Tensor, nn
from trl.models.modeling_sd_base import DDPOPipelineOutput, DDPOSchedulerOutput, DDPOStableDiffusionPipeline
from trl.trainer.ddpo_config import DDPOConfig
from trl.trainer.ddpo_trainer import DDPOTrainer

from vader_bench.budget.metering import MeteredBackbone
from vader_bench.diffusion.sampler import Noise, Sampler

__all__ = ["Log", "RoundSize", "VideoPipeline", "VideoTrainer", "steps_as_rows"]


class VideoPipeline(DDPOStableDiffusionPipeline):  # type: ignore[misc] # trl is taken as untyped
    """What trl's trainer asks of an image pipeline, answered by a metered backbone.

    Prompts travel through the trainer as numbers, so that its statistics see them whole. The place of
    the images is taken by clean latents; whoever scores them decodes them.

    Args:
        backbone: every call of the trainer goes through it.
        sampler: draws the samples and scores the steps.
        trainable: the adapter weights.
        noise: returns a source of noise for so many videos.
        device: where the backbone is.
    """

    def __init__(
        self,
        backbone: MeteredBackbone,
        sampler: Sampler,
        trainable: list[nn.Parameter],
        noise: Callable[[int], Noise],
        device: str,
    ) -> None:
        self._device = device
        self._sampler = sampler
        self._trainable = trainable
        self._noise = noise
        self._tokenizer = _PromptNumbers()
        self._backbone = backbone
        self._unet = _Network(self._denoise)
        self._text_encoder = _Network(lambda ids: [backbone.encode(self._tokenizer.batch_decode(ids))])

    @torch.no_grad()
    def __call__(self, *, prompt_embeds: Tensor, **_: object) -> DDPOPipelineOutput:
        """Sample a video for each of ``prompt_embeds`` [B, L, D]; the sampler has the settings already."""
        noise = self._noise(len(prompt_embeds))
        unconditional = self._backbone.unconditional(prompt_embeds)
        path = self._sampler.with_log_probs(noise(), prompt_embeds, unconditional, noise)
        # sequences over time, which trl stacks along its second axis
        return DDPOPipelineOutput(path.states[:, -1], path.states.unbind(1), path.log_probs.unbind(1))

    def _denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> SimpleNamespace:
        """Return the prediction where trl looks for it.

        With guidance trl calls with a doubled batch, its own empty prompts first; the backbone knows better
        what to contrast a condition with.
        """
        if self._sampler.guidance != 1:
            _, conditional = encoded.chunk(2)
            encoded = torch.cat([self._backbone.unconditional(conditional), conditional])
        return SimpleNamespace(sample=self._backbone.denoise(latents, timesteps, encoded))

    def scheduler_step(
        self, prediction: Tensor, timesteps: Tensor, latents: Tensor, *, prev_sample: Tensor, **_: object
    ) -> DDPOSchedulerOutput:
        """Return the log-probability [B] of the step from ``latents`` to ``prev_sample``."""
        log_probs = self._sampler.log_prob(prediction, latents, timesteps, prev_sample)
        return DDPOSchedulerOutput(prev_sample, log_probs)

    @property
    def unet(self) -> Any:
        """Return the denoiser, which is always in eval mode: dropout would falsify the ratios."""
        return self._unet

    @property
    def vae(self) -> Any:
        """Return a stand-in: the trainer only moves it."""
        return self._unet

    @property
    def text_encoder(self) -> Any:
        """Return the text encoder, from prompt numbers [B, 1] to text states [B, L, D]."""
        return self._text_encoder

    @property
    def tokenizer(self) -> Any:
        """Return the table of prompt numbers."""
        return self._tokenizer

    @property
    def scheduler(self) -> Any:
        """Return the sampler's timesteps [S]."""
        return SimpleNamespace(
            timesteps=self._sampler.schedule.timesteps(self._sampler.steps).to(self._device)
        )

    @property
    def autocast(self) -> Any:
        """Return a context that leaves all in float32."""
        return nullcontext

    def set_progress_bar_config(self, **_: object) -> None:
        """Show no progress bar."""

    def get_trainable_layers(self) -> list[nn.Parameter]:
        """Return the adapter weights."""
        return self._trainable


class VideoTrainer(DDPOTrainer):  # type: ignore[misc] # trl is taken as untyped
    """trl's trainer with an optimiser, random numbers and a log of ours, and rounds of any size.

    Args:
        config: trl's; sizes of batches are set anew for each round.
        pipeline: the backbone.
        optimizer: steps the adapter weights.
        prompt_function: returns the next prompt.
        reward_function: scores clean latents [B, C, F, h, w] with their prompts, [B].
        check_norm: sees every norm of a gradient before the gradient is applied.
    """

    def __init__(
        self,
        config: DDPOConfig,
        pipeline: VideoPipeline,
        optimizer: torch.optim.Optimizer,
        prompt_function: Callable[[], str],
        reward_function: Callable[[Tensor, Sequence[str]], Tensor],
        check_norm: Callable[[Tensor], float],
    ) -> None:
        self._optimizer = optimizer
        self._steps_together = 1
        self.log = Log()
        config.log_with = [self.log]
        with warnings.catch_warnings(), _seeded(config.seed):
            # trl 0.23.1 is pinned because it is the last release that has this class
            warnings.filterwarnings("ignore", "DDPOTrainer is deprecated", DeprecationWarning)
            super().__init__(
                config,
                lambda latents, prompts, _: (reward_function(latents, prompts), {}),
                lambda: (prompt_function(), {}),
                pipeline,
                # without a hook trl warns through a logger that fails before accelerate is set up
                image_samples_hook=lambda *_: None,
            )
        clip = self.accelerator.clip_grad_norm_

        def clip_and_log(parameters: list[nn.Parameter], limit: float) -> None:
            self.log.log({"grad_norm": check_norm(clip(parameters, limit))})

        self.accelerator.clip_grad_norm_ = clip_and_log
        self.timesteps: int = self.num_train_timesteps
        """Steps of each video that are trained on."""

    def round(self, epoch: int, global_step: int, size: RoundSize, seed: int) -> int:
        """Sample the videos of a round and train on them.

        Args:
            epoch: number of the round.
            global_step: optimiser steps so far.
            size: how the round is cut up.
            seed: for the order in which trl goes through samples and timesteps.

        Returns:
            Optimiser steps after the round.
        """
        self.config.sample_batch_size, self.config.train_batch_size = size.sampled, size.trained
        self.config.sample_num_batches_per_epoch = size.videos // size.sampled
        self._steps_together = size.steps
        self.num_train_timesteps = self.timesteps // size.steps
        self.accelerator.step = 0
        batches = size.videos // size.updates // size.trained
        self.accelerator.gradient_accumulation_steps = batches * self.num_train_timesteps
        with _seeded(seed, self.accelerator.device):
            return int(self.step(epoch, global_step))

    def loss(self, advantages: Tensor, clip_range: float, ratio: Tensor) -> Tensor:
        """Return trl's clipped loss, a number, from advantages [B] and ratios [B]; log both."""
        self.log.log({"ratio_deviation": (ratio.detach() - 1).abs().mean()})
        loss: Tensor = super().loss(advantages, clip_range, ratio)
        return loss

    def _setup_optimizer(self, _: object) -> torch.optim.Optimizer:
        return self._optimizer

    def _train_batched_samples(
        self, inner_epoch: int, epoch: int, global_step: int, batched_samples: list[dict[str, Tensor]]
    ) -> int:
        advantages = torch.cat([sample["advantages"] for sample in batched_samples])
        self.log.log({"advantage_std": advantages.std(correction=0)})
        rows = [steps_as_rows(batch, self.timesteps, self._steps_together) for batch in batched_samples]
        return int(super()._train_batched_samples(inner_epoch, epoch, global_step, rows))


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


def steps_as_rows(samples: dict[str, Tensor], timesteps: int, together: int) -> dict[str, Tensor]:
    """Return ``samples`` of B videos as ``B * together`` rows with ``timesteps / together`` steps each.

    trl's loop makes one call for each step of its samples, and takes the mean over them: the mean over all
    steps of all videos is the same, however many of them share a call.

    Args:
        samples: trl's, by name; the first axis is that of the videos, the second of some that of the steps.
        timesteps: how many of the steps are trained on, the first ones.
        together: divides ``timesteps``.
    """
    over_time = {"timesteps", "latents", "next_latents", "log_probs"}
    return {
        name: value[:, :timesteps].unflatten(1, (together, -1)).flatten(0, 1)
        if name in over_time
        else value.repeat_interleave(together, 0)
        for name, value in samples.items()
    }


class Log(GeneralTracker):  # type: ignore[misc] # accelerate is taken as untyped
    """Keeps what the trainer logs until it is asked for; nothing leaves the process."""

    name = "vader-bench"
    requires_logging_directory = False

    def __init__(self) -> None:
        super().__init__()
        self._values: defaultdict[str, list[float]] = defaultdict(list)

    @property
    def tracker(self) -> dict[str, list[float]]:
        """Return all values logged since ``take`` by name."""
        return self._values

    def log(self, values: dict[str, Any], **_: object) -> None:
        """Keep the mean of each value."""
        for name, value in values.items():
            self._values[name].append(torch.as_tensor(value, dtype=torch.float64).mean().item())

    def take(self, *names: str) -> dict[str, float]:
        """Return the means of ``names`` since the last call, and forget everything."""
        means = {name: sum(self._values[name]) / len(self._values[name]) for name in names}
        self._values.clear()
        return means


class _Network:
    """A network as trl handles it: called, moved (it is in its place already) and switched (never)."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def to(self, *_: object, **__: object) -> None:
        """Leave the network where it is."""

    def train(self) -> None:
        """Leave the network in eval mode."""

    def eval(self) -> None:
        """Leave the network in eval mode."""


class _PromptNumbers:
    """A tokenizer whose only token is the prompt's number."""

    model_max_length = 1

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, prompts: str | Sequence[str], **_: object) -> SimpleNamespace:
        listed = [prompts] if isinstance(prompts, str) else prompts
        numbers = [[self._numbers.setdefault(prompt, len(self._numbers))] for prompt in listed]
        return SimpleNamespace(input_ids=torch.tensor(numbers))

    def batch_decode(self, ids: Sequence[Sequence[int]], **_: object) -> list[str]:
        """Return the prompts of ``ids`` [B, 1]."""
        prompts = list(self._numbers)
        return [prompts[int(row[0])] for row in ids]


@contextmanager
def _seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global generators inside, from which trl draws, and give them back as they were."""
    with torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _largest_divisor(number: int, limit: int) -> int:
    return next(d for d in range(min(number, limit), 0, -1) if number % d == 0)
