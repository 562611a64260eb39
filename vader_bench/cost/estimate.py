"""What a run would spend and need, worked out without a GPU and without weights.

A run's calls are found by a rehearsal: the method itself works through one interval between two looks, on
a backbone of a single weight. Each call is then charged what it costs at full size (see ``skeletons``).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vader_bench.backbones.base import Backbone
from vader_bench.budget.ledger import Budget, Meter
from vader_bench.budget.metering import FlopTable, MeteredBackbone, MeteredReward
from vader_bench.config.schema import RunConfig
from vader_bench.cost.gpus import Gpu
from vader_bench.cost.skeletons import Call, Skeletons
from vader_bench.methods import METHODS, Workbench
from vader_bench.methods.base import take_step
from vader_bench.rewards.base import Judgement, Reward
from vader_bench.seeding import torch_stream

__all__ = [
    "FEW_UPDATES",
    "RESERVE",
    "UTILISATION",
    "CostEstimate",
    "Made",
    "Memory",
    "Rehearsal",
    "estimate",
    "estimate_of",
    "larger",
    "memory_of",
    "memory_of_looks",
    "rehearse",
]

UTILISATION = 0.35
"""Assumed share of a card's peak rate that training reaches. An assumption, not a measurement."""
RESERVE = 3 * 2**29
"""Bytes of a card that no tensor gets: of what ``nvidia-smi`` reports, CUDA offers up to 0.85 GiB less (L4:
22.49 GiB, and 22.03 by PyTorch's messages; L40S: 44.99, 44.39; A100: 80, 79.15); a context takes some 0.5."""


FEW_UPDATES = 20
"""Steps of the optimiser, fewer than which hardly move a large model: AlignProp (huggingface/trl) makes 20 to
25 with batches of 128 pictures, which are large ones."""


class Made(NamedTuple):
    """A call that a rehearsal made."""

    call: Call
    videos: int
    """Size of its batch; with guidance the denoiser's is doubled."""
    open: int
    """Videos whose denoiser calls, this one's among them, still wait for their backward pass."""


@dataclass(frozen=True)
class Memory:
    """Most bytes that a run needs at once, by what they are for."""

    weights: int
    """Frozen weights of all networks."""
    training: int
    """Adapters with gradients and the optimiser's two moments."""
    kept: int
    """Activations kept for the backward pass."""
    passing: int
    """What comes and goes on top of that."""

    @property
    def total(self) -> int:
        """Return the sum."""
        return self.weights + self.training + self.kept + self.passing

    def fits(self, gpu: Gpu) -> bool:
        """Return whether ``gpu`` has room for it and ``RESERVE``."""
        return self.total + RESERVE <= gpu.memory


class Rehearsal(NamedTuple):
    """What working through a run's first interval between two looks shows."""

    flops: int
    """Of the whole run."""
    updates: int
    """Steps of the optimiser in the whole run."""
    made: list[Made]
    """The calls of the interval, in their order."""


@dataclass(frozen=True)
class CostEstimate:
    """What one run would spend and need. ``flops`` leave out what evaluation spends, as a run's ledger."""

    method: str
    """Or the arm, where it is called otherwise."""
    reward: str
    queries: int
    flops: int
    updates: int
    """Steps of the optimiser."""
    memory: Memory
    """While training."""
    look: Memory
    """While evaluating."""

    @property
    def most(self) -> Memory:
        """Return the memory of whatever takes more, training or looks."""
        return larger(self.memory, self.look)

    def seconds(self, gpu: Gpu, precision: str, utilisation: float = UTILISATION) -> float:
        """Return the device time of training on ``gpu`` at a share of its peak rate."""
        return self.flops / (gpu.rate(precision) * utilisation)


def estimate(run: RunConfig, networks: Skeletons) -> CostEstimate:
    """Return what ``run``, which is not the base model's, would spend and need.

    Raises:
        UserError: a setting does not fit its method or the suite.
    """
    return estimate_of(run, networks, rehearse(run, networks))


def estimate_of(run: RunConfig, networks: Skeletons, rehearsal: Rehearsal) -> CostEstimate:
    """Return what ``run`` would spend and need, by its ``rehearsal``."""
    return CostEstimate(
        method=run.label,
        reward=run.reward,
        queries=run.reward_queries,
        flops=rehearsal.flops,
        updates=rehearsal.updates,
        memory=memory_of(rehearsal.made, networks, run.reward),
        look=memory_of_looks(run, networks),
    )


def rehearse(run: RunConfig, networks: Skeletons) -> Rehearsal:
    """Work through the first interval of ``run`` on a model of one weight, and return what it shows."""
    interval = run.evaluation.every
    meter = Meter(Budget(reward_queries=interval))
    table = _Recorder(meter, networks, run.reward)
    sampler, kind = run.suite.sampler, METHODS.get(run.method)
    bench = Workbench(
        backbone=MeteredBackbone(_Dummy(networks.backbone), meter, table),
        reward=MeteredReward(_DummyReward(networks.rewards[run.reward]), meter, table),
        prompts=(f"prompt {number}" for number in count()),
        steps=sampler.steps,
        eta=sampler.eta,
        guidance=networks.backbone.guidance(sampler.guidance, sampler.guidance_2),
        decode_frames=run.suite.decode_frames,
        device="cpu",
        stream=partial(torch_stream, run.seed),
        half_precision=run.suite.memory.frozen_weights != "float32",
    )
    assert isinstance(run.settings, kind.Config), "settings are those of the method"
    method, updates = kind(run.settings, bench), list[int]()
    method.optimizer.register_step_post_hook(lambda *_: updates.append(1))
    while meter.queries_left:
        take_step(method, meter, meter.queries_left, run.written_method)
    flops, steps = (spent * run.reward_queries // interval for spent in (meter.ledger.flops, len(updates)))
    return Rehearsal(flops, steps, table.made)


def larger(first: Memory, second: Memory) -> Memory:
    """Return the one with more bytes in all."""
    return max(first, second, key=lambda memory: memory.total)


def memory_of(made: Sequence[Made], networks: Skeletons, reward: str) -> Memory:
    """Return the most bytes at once for the calls ``made``.

    Calls that leave a graph pile up until the backward pass: as many of the denoiser as were ever open,
    then the decoder and the reward if they have a graph too. Every other call comes and goes.
    """
    piled, passing = 0, 0
    kept = 0
    for call, videos in _graph(made):
        cost = networks.cost(call, reward)
        passing = max(passing, piled + cost.peak * videos)
        piled += cost.kept * videos
        kept = piled
    for one in _largest(one for one in made if not one.call.differentiated):
        passing = max(passing, _passing(one.call, one.videos, networks, reward))
    return Memory(networks.weights(reward), networks.training, kept, max(0, passing - kept))


def memory_of_looks(run: RunConfig, networks: Skeletons) -> Memory:
    """Return the most bytes at once at a look of ``run``: its calls take whole batches and have no graph."""
    videos, merged = run.suite.evaluation_batch, networks.merged > 0
    shown = networks.rewards[run.reward].frames or networks.backbone.frames
    height, width = networks.backbone.picture_size
    pictures = 4 * 3 * networks.backbone.frames * height * width * videos
    doubled = 1 if {run.suite.sampler.guidance, run.suite.sampler.guidance_2} <= {1, None} else 2
    denoise = Call("denoise", 0, graph=False, input_grad=False, trainable=not merged)
    decode = Call("decode", networks.backbone.frames, graph=False, input_grad=False, trainable=False)
    judge = Call("judge", shown, graph=False, input_grad=False, trainable=False)
    passing = max(
        _passing(denoise, doubled * videos, networks, run.reward),
        networks.merged + _passing(decode, videos, networks, run.reward),
        networks.merged + pictures + _passing(judge, videos, networks, run.reward),
    )
    return Memory(networks.weights(run.reward), networks.training, 0, passing)


def _passing(call: Call, videos: int, networks: Skeletons, reward: str) -> int:
    """Return the most bytes of ``call``, which has no graph: the adapters of a denoiser are merged then."""
    merged = networks.merged if call.name == "denoise" and not call.trainable else 0
    return networks.cost(call, reward).peak * videos + merged


def _graph(made: Sequence[Made]) -> Iterator[tuple[Call, int]]:
    """Yield the calls with a graph that are alive at once, with videos, in their order."""
    kinds = [one for one in made if one.call.differentiated]
    denoiser = [one for one in kinds if one.call.name == "denoise"]
    if denoiser:
        most = max(one.open for one in denoiser)
        largest = max(denoiser, key=lambda one: one.videos)
        # the first of several calls has inputs without gradient; what that saves is next to nothing
        yield from ((largest.call, largest.videos) for _ in range(most // largest.videos))
    for name in ("decode", "judge"):
        yield from ((one.call, one.videos) for one in _largest(o for o in kinds if o.call.name == name))


def _largest(made: Iterator[Made]) -> Iterator[Made]:
    """Yield for each kind of call the one with most videos."""
    found: dict[Call, Made] = {}
    for one in made:
        if one.call not in found or found[one.call].videos < one.videos:
            found[one.call] = one
    yield from found.values()


class _Recorder(FlopTable):
    """Charges what calls cost at full size, and remembers them."""

    def __init__(self, meter: Meter, networks: Skeletons, reward: str) -> None:
        super().__init__(meter)
        self._networks = networks
        self._reward = reward
        self.made: list[Made] = []
        self._opened = 0

    def cost(self, kind: Hashable, call: Callable[[Tensor], Tensor], batch: Tensor) -> tuple[int, int]:
        """Return (forward, backward) FLOPs of a call of ``kind`` on all of ``batch`` at full size."""
        del call
        asked = _call_of(kind)
        if asked.name == "denoise" and asked.differentiated:
            self._opened += len(batch)
        self.made.append(Made(asked, len(batch), self._opened - self._meter.ledger.denoiser_backwards))
        cost = self._networks.cost(asked, self._reward)
        return cost.forward * len(batch), cost.backward * len(batch)

    def judged(
        self, kind: Hashable, call: Callable[[Tensor], Judgement], video: Tensor
    ) -> tuple[Judgement, tuple[int, int]]:
        """Return what ``call`` returns and the FLOPs of judging as many videos at full size."""
        return call(video), self.cost(kind, lambda some: some, video)


def _call_of(kind: Hashable) -> Call:
    """Return the call that ``MeteredBackbone`` or ``MeteredReward`` names by ``kind``."""
    assert isinstance(kind, tuple)
    if kind[0] == "denoise":
        return Call("denoise", 0, *kind[3:])
    if kind[0] == "decode":
        return Call("decode", kind[2], kind[3], kind[4], trainable=False)
    return Call("judge", kind[1][0], kind[2], kind[2], trainable=False)


class _Weight(nn.Module):
    """A denoiser with one weight, which adapters can be put on."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.to_q.weight)

    def forward(self, latents: Tensor) -> Tensor:
        """Return a prediction of the shape of ``latents`` [..., 1]."""
        prediction: Tensor = self.to_q(latents)
        return prediction


class _Dummy(Backbone):
    """A backbone of one weight that has the frames and the schedule of another one."""

    name = "dummy"
    lora_targets = ("to_q",)

    def __init__(self, like: Backbone) -> None:
        self.denoiser = _Weight()
        self.schedule = like.schedule
        self.latent_shape = (1, like.latent_shape[1], 1, 1)
        self._frames = like.frames

    @property
    def frames(self) -> int:
        """Return the number of pictures."""
        return self._frames

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return states [B, 1, 1]."""
        return torch.zeros(len(prompts), 1, 1)

    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return a prediction [B, 1, F, 1, 1]."""
        del timesteps, encoded
        prediction: Tensor = self.denoiser(latents)
        return prediction

    def decode(self, latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        """Return pictures [B, f, 3, 1, 1]."""
        count = self._frames if frames is None else len(frames)
        return latents[:, :, :1].transpose(1, 2).expand(-1, count, 3, -1, -1)

    def enable_checkpointing(self) -> None:
        """Leave the one weight as it is."""

    def modules(self) -> list[nn.Module]:
        """Return the denoiser."""
        return [self.denoiser]


class _DummyReward(Reward):
    """A reward that takes what another one takes, and likes each video better than the one before it."""

    def __init__(self, like: Reward) -> None:
        self.name = like.name
        self.differentiable = like.differentiable
        self.frames = like.frames
        self.by_frame = like.by_frame
        self.units, self.value_range, self.source = "", (0.0, 1.0), ""

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, F, 3, 1, 1]; no two scores are equal, so that every pair has a winner."""
        del prompts
        score = video.mean((1, 2, 3, 4)) / 1000 + torch.arange(len(video))  # a mean is at most 1
        return Judgement(score, score)
