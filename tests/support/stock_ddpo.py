"""trl's own ``DDPOTrainer`` over a video backbone, which takes the place of its image pipeline."""

from __future__ import annotations

import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from accelerate.tracking import GeneralTracker
from torch import Tensor, nn
from trl.models.modeling_sd_base import DDPOPipelineOutput, DDPOSchedulerOutput, DDPOStableDiffusionPipeline
from trl.trainer.ddpo_config import DDPOConfig
from trl.trainer.ddpo_trainer import DDPOTrainer

from vader_bench.backbones.base import Backbone
from vader_bench.budget.metering import MeteredBackbone
from vader_bench.diffusion.sampler import Noise, Sampler
from vader_bench.methods.ddpo import Ddpo

__all__ = ["Log", "StockDdpo", "VideoPipeline", "make_trainer"]


class StockDdpo:
    """Rounds of trl's trainer in the place of those of ``method``, of which all else is used.

    Args:
        method: its settings, prompts, noise, frames and adapters; its own loop stands still. A round is
            sampled in one batch, and an update takes a batch of training.
        prompts_per_round: as its settings have it.
        samples_per_prompt: as its settings have it.
    """

    def __init__(self, method: Ddpo, prompts_per_round: int, samples_per_prompt: int) -> None:
        self._method = method
        self._each, self._prompts = samples_per_prompt, prompts_per_round
        self._queue: list[str] = []
        self._frames: list[int] = []
        settings, bench, videos = method.config, method.bench, prompts_per_round * samples_per_prompt
        config = DDPOConfig(
            mixed_precision="no",
            allow_tf32=False,
            accelerator_kwargs={"cpu": True},
            log_with=[Log()],
            save_freq=sys.maxsize,
            sample_num_steps=bench.steps,
            sample_eta=bench.eta,
            sample_guidance_scale=bench.guidance,
            sample_batch_size=videos,
            sample_num_batches_per_epoch=1,
            train_cfg=bench.guidance != 1,
            train_batch_size=videos // settings.updates_per_round,
            train_gradient_accumulation_steps=1,
            train_num_inner_epochs=settings.inner_epochs,
            train_learning_rate=settings.learning_rate,
            train_adam_weight_decay=0.0,
            train_max_grad_norm=settings.max_grad_norm,
            train_clip_range=settings.clip_range,
            train_adv_clip_max=settings.advantage_clip,
            per_prompt_stat_tracking=True,
            per_prompt_stat_tracking_buffer_size=settings.statistics_buffer,
            per_prompt_stat_tracking_min_count=settings.statistics_min_count,
        )
        pipeline = VideoPipeline(
            bench.backbone, method.sampler, method.lora.parameters(), method.noise, bench.device
        )
        self._trainer = make_trainer(config, self._score, lambda: self._queue.pop(0), pipeline)

    def round(self) -> None:
        """Sample, judge and update, with the random order that the method would take."""
        method = self._method
        prompts = method.next_prompts(self._prompts)
        self._queue = [prompt for prompt in prompts for _ in range(self._each)]
        self._frames = method.choose_frames()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=method.generators["ddpo"])))
            self._trainer.step(0, 0)

    @torch.no_grad()
    def _score(self, latents: Tensor, prompts: Sequence[str]) -> Tensor:
        return self._method.judge(latents, prompts, self._frames).score


def make_trainer(
    config: DDPOConfig,
    score: Callable[[Tensor, Sequence[str]], Tensor],
    prompt: Callable[[], str],
    pipeline: VideoPipeline,
) -> DDPOTrainer:
    """Return trl's trainer, silent.

    Args:
        config: trl's.
        score: scores clean latents [B, C, F, h, w] with their prompts, [B].
        prompt: returns the next prompt.
        pipeline: the backbone.
    """
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", DeprecationWarning)  # it is the last release that has the class
        return DDPOTrainer(
            config,
            lambda latents, texts, _: (score(latents, texts), {}),
            lambda: (prompt(), {}),
            pipeline,
            image_samples_hook=lambda *_: None,  # without one trl warns through a logger that fails
        )


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
        backbone: Backbone | MeteredBackbone,
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
