"""The arms of an experiment, estimated as they are asked for or with changes, and what would make one fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vader_bench.checks import resolved_settings
from vader_bench.config import RunConfig
from vader_bench.errors import UserError
from vader_bench.plan.estimate import Estimate, Made, Memory, memory_of, rehearse
from vader_bench.plan.fakes import PRECISIONS, Fakes
from vader_bench.plan.gpus import Gpu

__all__ = ["Changes", "Planned", "Switch", "plan_arms", "switches"]


@dataclass(frozen=True)
class Changes:
    """What is to be different from what the files say."""

    backbone: dict[str, Any] = field(default_factory=dict)
    """Settings of the backbone."""
    checkpointing: bool = False
    """Switch it on."""
    k: int | None = None
    """Steps of VADER with gradient."""
    batch: int | None = None
    """Videos of a batch; Diffusion-DPO takes at least a group."""
    precision: str = "fp32"
    """Of frozen weights and activations."""
    decode_frames: int | None = None

    def of(self, run: RunConfig) -> RunConfig:
        """Return ``run`` with the changes.

        Raises:
            UserError: a setting does not fit its method.
        """
        backbone = run.suite.backbone
        backbone = backbone.model_copy(update={"settings": backbone.settings | self.backbone})
        update: dict[str, Any] = {"backbone": backbone}
        if self.checkpointing:
            update["memory"] = run.suite.memory.model_copy(update={"checkpointing": True})
        if self.decode_frames is not None:
            update["decode_frames"] = self.decode_frames
        settings = resolved_settings(run.method, run.settings, run.reward)  # with its defaults
        if self.k is not None and "k" in settings:
            settings["k"] = self.k
        if self.batch is not None:
            settings["batch_size"] = max(self.batch, settings.get("group_size", 1))
        settings = resolved_settings(run.method, settings, run.reward)
        return run.model_copy(update={"suite": run.suite.model_copy(update=update), "settings": settings})


class Planned(NamedTuple):
    """An arm with its estimate, and what that was made of."""

    run: RunConfig
    """With its changes."""
    estimate: Estimate
    made: list[Made]
    fused: Fakes
    precision: str


class Switch(NamedTuple):
    """A change that lowers the memory, on top of those before it where it says so."""

    name: str
    memory: Memory


def plan_arms(runs: Sequence[RunConfig], changes: Changes) -> list[Planned]:
    """Return the estimate of the first seed of each method and reward among ``runs``, with ``changes``.

    Raises:
        UserError: a precision is not known, a setting does not fit, or a family cannot be estimated.
    """
    if changes.precision not in PRECISIONS:
        remedy = f"choose one of: {', '.join(PRECISIONS)}"
        raise UserError(f"precision {changes.precision!r}", "is not known", remedy)
    first: dict[tuple[str, str], RunConfig] = {}
    for run in runs:
        if run.method != "base":
            first.setdefault((run.method, run.reward), changes.of(run))
    arms = list(first.values())
    rewards = list(dict.fromkeys(run.reward for run in arms))
    rank = arms[0].settings["lora_rank"]  # the same for all arms, or the experiment would not be fair
    counted = Fakes(arms[0].suite, rewards, rank)
    fused = Fakes(arms[0].suite, rewards, rank, changes.precision, fused=True)
    planned = []
    for run in arms:
        flops, made = rehearse(run, counted)
        memory = memory_of(made, fused, run.reward)
        found = Estimate(run.method, run.reward, run.reward_queries, flops, memory)
        planned.append(Planned(run, found, made, fused, changes.precision))
    return planned


def switches(planned: Planned, gpu: Gpu, changes: Changes) -> Iterator[Switch]:
    """Yield what each switch does to the memory of ``planned``, then all of them one after the other.

    The switches: a batch of 1, one decoded frame, checkpointing, half precision. The first three are worked
    out anew; half precision is taken as half of weights and activations. It ends with what fits ``gpu``.
    """
    single = _fewer_videos(planned.made)
    frame = _one_frame(planned)
    yield Switch("batch 1", memory_of(single, planned.fused, planned.run.reward))
    yield Switch("one decoded frame", memory_of(frame, planned.fused, planned.run.reward))
    fused = planned.fused
    if not planned.run.suite.memory.checkpointing:
        fused = _checkpointed(planned, changes)
        yield Switch("checkpointing", memory_of(planned.made, fused, planned.run.reward))
    if changes.precision == "fp32":
        yield Switch("half precision", _halved(planned.estimate.memory))
    steps = [("batch 1", single, planned.fused)]
    both = _fewer_videos(frame)
    steps.append(("batch 1, one decoded frame", both, planned.fused))
    steps.append(("batch 1, one decoded frame, checkpointing", both, fused))
    for name, made, networks in steps[1:]:
        memory = memory_of(made, networks, planned.run.reward)
        yield Switch(name, memory)
        if memory.fits(gpu):
            return
    if changes.precision == "fp32":
        yield Switch("all of these", _halved(memory))


def _fewer_videos(made: Sequence[Made]) -> list[Made]:
    """Return the calls of a batch of one video: as many, each for the fewest videos that they can have."""
    videos = max(one.videos for one in made if one.call.name != "denoise")
    return [
        one._replace(videos=max(1, one.videos // videos), open=max(1, one.open // videos)) for one in made
    ]


def _one_frame(planned: Planned) -> list[Made]:
    """Return the calls with one frame decoded and judged, unless the reward wants a number of its own."""
    if planned.fused.rewards[planned.run.reward].frames is not None:
        return planned.made
    return [
        one._replace(call=one.call._replace(frames=1)) if one.call.name != "denoise" else one
        for one in planned.made
    ]


def _checkpointed(planned: Planned, changes: Changes) -> Fakes:
    run = Changes(checkpointing=True).of(planned.run)
    return Fakes(run.suite, [run.reward], run.settings["lora_rank"], changes.precision, fused=True)


def _halved(memory: Memory) -> Memory:
    return Memory(memory.weights // 2, memory.training, memory.kept // 2, memory.passing // 2)
