"""DDPO: policy gradient on the steps of the sampler, with trl's trainer."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from trl.trainer.ddpo_config import DDPOConfig

from vader_bench.errors import UserError
from vader_bench.methods.base import METHODS, Method, MethodConfig, Workbench
from vader_bench.methods.ddpo_trainer import RoundSize, VideoPipeline, VideoTrainer

__all__ = ["Ddpo", "DdpoConfig"]

# --- config ---


class DdpoConfig(MethodConfig):
    """Hyper-parameters of DDPO; defaults of its authors' code where they apply."""

    learning_rate: float = Field(default=3e-4, gt=0)
    update_batch_size: int | None = Field(default=None, ge=1)
    """Steps of videos differentiated at once, of one video or of several, while ``batch_size`` videos are
    sampled at once; as many as ``batch_size`` if ``None``. It changes no gradient."""
    prompts_per_round: int = Field(default=4, ge=1)
    """Prompts sampled between two rounds of updates."""
    samples_per_prompt: int = Field(default=4, ge=1)
    """Videos per prompt and round; a round takes ``prompts_per_round`` times as many queries."""
    updates_per_round: int = Field(default=2, ge=1)
    """Optimiser steps per pass over the samples of a round."""
    inner_epochs: int = Field(default=1, ge=1)
    """Passes over the samples of a round."""
    clip_range: float = Field(default=1e-4, gt=0)
    """Ratios are clipped to 1 plus or minus this. They are ratios of MEAN log-probabilities, so the same
    drift moves them less the more elements the latents have: choose it for each backbone."""
    advantage_clip: float = Field(default=5.0, gt=0)
    """Advantages are clipped to plus or minus this."""
    timestep_fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the sampler steps trained on, drawn at random for each video."""
    per_prompt_statistics: bool = True
    """Normalise rewards within a prompt instead of within a round."""
    statistics_buffer: int = Field(default=32, ge=1)
    """Latest rewards of a prompt that its mean and standard deviation are taken of."""
    statistics_min_count: int = Field(default=4, ge=1)
    """Rewards of a prompt below which those of the whole round are used."""

    @property
    def round_queries(self) -> int:
        """Return the videos between two rounds of updates."""
        return self.prompts_per_round * self.samples_per_prompt


# --- setup ---


@METHODS.register("ddpo")
class Ddpo(Method):
    """DDPO with importance sampling (Black et al. 2023, section 4.3), by trl's ``DDPOTrainer``.

    Metrics beside the common ones:

    =============== ===================================================================
    clip_fraction   share of steps whose ratio left the clip range
    approx_kl       half the mean square of the change of the MEAN log-probability; not a KL
    ratio_deviation mean distance of the ratio from 1
    advantage_std   standard deviation of the advantages before clipping
    =============== ===================================================================
    """

    Config = DdpoConfig
    streams = ("ddpo",)
    config: DdpoConfig

    def __init__(self, config: DdpoConfig, bench: Workbench) -> None:
        """Set up.

        Raises:
            UserError: the sampler has no noise, or no timestep would be trained on.
        """
        super().__init__(config, bench)
        self.sampler.require_density()
        if int(bench.steps * config.timestep_fraction) < 1:
            raise UserError(
                f"ddpo.timestep_fraction = {config.timestep_fraction}",
                f"is no whole step of {bench.steps}",
                f"choose at least {1 / bench.steps:.3g}",
            )
        self._round = self._updates = 0
        self._queue: list[str] = []
        self._frames: list[int] = []
        pipeline = VideoPipeline(
            bench.backbone, self.sampler, self.lora.parameters(), self.noise, bench.device
        )
        self._trainer = VideoTrainer(
            self._trainer_config(),
            pipeline,
            self.optimizer,
            lambda: self._queue.pop(0),
            self._score,
            self.finite,
        )

    def _trainer_config(self) -> DDPOConfig:
        config, bench = self.config, self.bench
        return DDPOConfig(
            mixed_precision="no",
            allow_tf32=False,
            accelerator_kwargs={"cpu": bench.device == "cpu"},
            save_freq=sys.maxsize,  # trl would save into None
            sample_num_steps=bench.steps,
            sample_eta=bench.eta,
            sample_guidance_scale=bench.guidance,
            train_cfg=bench.guidance != 1,
            train_max_grad_norm=config.max_grad_norm,
            train_num_inner_epochs=config.inner_epochs,
            train_adv_clip_max=config.advantage_clip,
            train_clip_range=config.clip_range,
            train_timestep_fraction=config.timestep_fraction,
            per_prompt_stat_tracking=config.per_prompt_statistics,
            per_prompt_stat_tracking_buffer_size=config.statistics_buffer,
            per_prompt_stat_tracking_min_count=config.statistics_min_count,
        )

    # --- loss ---

    @torch.no_grad()
    def _score(self, latents: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return the scores [B] that the clipped loss of ``VideoTrainer`` turns into advantages."""
        return self.judge(latents, prompts, self._frames).score

    # --- step ---

    def step(self, allowance: int) -> dict[str, float]:
        """Sample and judge the videos of a round, cut to ``allowance``, then update."""
        config = self.config
        videos = min(config.prompts_per_round * config.samples_per_prompt, allowance)
        prompts = self.next_prompts(-(-videos // config.samples_per_prompt))
        self._queue = [p for p in prompts for _ in range(config.samples_per_prompt)][:videos]
        self._frames = self.choose_frames()
        rows = config.update_batch_size or config.batch_size
        size = RoundSize.of(
            videos, config.updates_per_round, config.batch_size, rows, self._trainer.timesteps
        )
        seed = int(torch.randint(2**62, (), generator=self.generators["ddpo"]))
        self._updates = self._trainer.round(self._round, self._updates, size, seed)
        self._round += 1
        names = {"clipfrac": "clip_fraction", "reward_mean": "reward"}
        logged = self._trainer.log.take(
            "reward_mean", "loss", "grad_norm", "clipfrac", "approx_kl", "ratio_deviation", "advantage_std"
        )
        return {names.get(name, name): value for name, value in logged.items()}

    # --- state ---

    def own_state(self) -> dict[str, Any]:
        """Return the counters and the statistics of each prompt, which trl itself would lose."""
        statistics = self._trainer.stat_tracker.stats if self.config.per_prompt_statistics else {}
        return {
            "round": self._round,
            "updates": self._updates,
            "statistics": {
                str(prompt): [float(r) for r in rewards] for prompt, rewards in statistics.items()
            },
        }

    def load_own_state(self, state: dict[str, Any]) -> None:
        """Take counters and statistics back."""
        self._round, self._updates = state["round"], state["updates"]
        if self.config.per_prompt_statistics:
            # float32 as scores are, or the means would be rounded otherwise than without the pause
            self._trainer.stat_tracker.stats = {
                prompt: deque([np.float32(r) for r in rewards], maxlen=self.config.statistics_buffer)
                for prompt, rewards in state["statistics"].items()
            }
