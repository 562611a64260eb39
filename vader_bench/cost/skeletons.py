"""The networks of a run at full size and without memory: their FLOPs and the bytes they would take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.utils.flop_counter import flop_registry

from vader_bench.backbones.memory import with_memory_switches
from vader_bench.backbones.reading import skeleton_of
from vader_bench.budget.memory import LiveBytes
from vader_bench.budget.metering import PLAIN_ATTENTION
from vader_bench.config.schema import MemoryConfig, SuiteConfig
from vader_bench.cost.shapes import run_on_meta
from vader_bench.diffusion.lora import Lora
from vader_bench.rewards.base import reward_skeleton

__all__ = ["Call", "Cost", "Skeletons", "network_bytes"]


class Call(NamedTuple):
    """A kind of call of the denoiser, the decoder or the reward; calls of one kind cost the same a video."""

    name: str
    """``denoise``, ``decode`` or ``judge``."""
    frames: int
    """Frames decoded or judged; 0 for the denoiser."""
    graph: bool
    """Whether a graph is made where something wants a gradient."""
    input_grad: bool
    trainable: bool
    """Whether the adapters are on; they are in the denoiser alone."""

    @property
    def differentiated(self) -> bool:
        """Return whether the call leaves a graph."""
        return self.graph and (self.input_grad or self.trainable)


class _Counter(LiveBytes):
    """Counts FLOPs too, by the formulas of PyTorch's own counter; attention as in its plain form."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ``func`` and count what it does."""
        result = super().__torch_dispatch__(func, types, args, kwargs)
        formula = _FORMULAS.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result

    def run(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Return what ``func`` returns, which is a shape."""
        return run_on_meta(func, args, kwargs)


_FUSED: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001 - has no public name


@contextmanager
def _fused_attention() -> Iterator[None]:
    """Take the fused attention of a real device, which ``meta`` would not take by itself.

    A mode of PyTorch's would not do: it is off in the backward pass, where checkpoints are computed again.
    """
    plain = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = _attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = plain


def _attend(query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> Tensor:
    """Return a tensor of the shape of attention; a mask changes neither FLOPs nor what is kept."""
    attended: Tensor = _FUSED(query, key, value)[0]
    return attended


_FORMULAS: dict[Any, Callable[..., int]] = {**flop_registry, **PLAIN_ATTENTION}


class Cost(NamedTuple):
    """What a call costs for one video."""

    forward: int
    """FLOPs, as a run's ledger counts them."""
    backward: int
    """FLOPs of the backward pass; 0 without a graph."""
    kept: int
    """Bytes alive after the call: its result, and what its backward pass needs."""
    peak: int
    """Most bytes alive at any time of the call and of its backward pass, where it has one."""


class _Judges:
    """Rewards of a suite on the device ``meta``, and what they cost."""

    def __init__(self, suite: SuiteConfig, rewards: Sequence[str]) -> None:
        components = {name: suite.rewards[name] for name in rewards}
        self.measures: dict[str, list[str]] = {}
        for name in rewards:
            beside = {f"{name}, measure {i}": one for i, one in enumerate(suite.measures_for(name), start=1)}
            self.measures[name] = list(beside)
            components |= beside
        self.rewards = {name: reward_skeleton(c.family, c.settings) for name, c in components.items()}
        for reward in self.rewards.values():
            for module in reward.modules():
                module.to("meta")  # a user's own may be real
        self.costs: dict[tuple[Call, str, tuple[int, int]], Cost] = {}


class Skeletons:
    """Backbone and rewards of a suite on the device ``meta``, without values, with adapters in the denoiser.

    Args:
        suite: what to build; its table ``memory`` holds for the backbone as in a run.
        rewards: names of rewards of the suite.
        rank: of the adapters.
        like: networks of the same rewards, which are taken over with what is known of their cost.

    Raises:
        UserError: a family cannot be built without its weights.
    """

    def __init__(
        self, suite: SuiteConfig, rewards: Sequence[str], rank: int, like: Skeletons | None = None
    ) -> None:
        weights, settings = suite.backbone_weights()
        self.backbone = skeleton_of(suite.backbone.family, weights, settings)
        self._saving = with_memory_switches(self.backbone, _without_values(suite.memory))
        self._offloading = suite.memory.offload_activations
        self._states = 0.5 if suite.memory.optimizer == "adamw8bit" else 2.0
        self._judges: _Judges = _Judges(suite, rewards) if like is None else like._judges  # noqa: SLF001 - its own kind
        self.rewards = self._judges.rewards
        """By name: the rewards, and what is measured beside each."""
        self.measures = self._judges.measures
        """By the name of a reward, the names of what is measured beside it: its gold, the prompt's share."""
        with torch.device("meta"):
            self.lora = Lora(self.backbone.denoiser, self.backbone.lora_targets, rank, torch.Generator())
        self.merged = self.lora.merged_bytes
        """Bytes of the weights that the adapters are merged into where nothing trains."""
        self.adapters = sum(weight.numel() * weight.element_size() for weight in self.lora.parameters())
        """Bytes of the trainable weights, which are float32."""
        self._costs: dict[Call, Cost] = {}

    @property
    def training(self) -> int:
        """Return the bytes of the adapters, their gradients and the optimiser's two moments."""
        return int(self.adapters * (2 + self._states))

    def weights(self, reward: str) -> int:
        """Return the bytes of all frozen weights of a run on ``reward``."""
        return network_bytes(self.modules(reward)) - self.adapters

    def modules(self, reward: str) -> list[nn.Module]:
        """Return all networks of a run on ``reward``, with the adapters in the denoiser."""
        judges = [self.rewards[name] for name in (reward, *self.measures[reward])]
        return [*self.backbone.modules(), *(module for judge in judges for module in judge.modules())]

    def cost(self, call: Call, reward: str) -> Cost:
        """Return what ``call`` costs for one video, its backward pass included."""
        known: dict[Any, Cost] = self._judges.costs if call.name == "judge" else self._costs
        key = (call, reward, self.backbone.picture_size) if call.name == "judge" else call
        if key not in known:
            known[key] = self._counted(call, reward)
        return known[key]

    def _counted(self, call: Call, reward: str) -> Cost:
        with self._running(call):
            batch = self._input(call)
            with _Counter() as counter:
                output = self._make(call, batch, reward)
                forward, kept = counter.flops, counter.live
                if output.requires_grad:
                    output.sum().backward()
        for weight in self.lora.parameters():
            weight.grad = None
        return Cost(forward, counter.flops - forward, kept, counter.peak)

    @contextmanager
    def _running(self, call: Call) -> Iterator[None]:
        """Make tensors without values, and a graph where ``call`` has one."""
        adapters = nullcontext() if call.trainable or call.name != "denoise" else self.lora.disabled()
        with torch.device("meta"), _fused_attention(), torch.set_grad_enabled(call.graph), adapters:
            yield

    def _input(self, call: Call) -> Tensor:
        """Return an input of ``call``: latents [1, C, F, h, w], or pictures [1, f, 3, H, W]."""
        shape: Sequence[int] = self.backbone.latent_shape
        if call.name == "judge":
            shape = (call.frames, 3, *self.backbone.picture_size)
        return torch.empty(1, *shape, requires_grad=call.input_grad)

    def _make(self, call: Call, batch: Tensor, reward: str) -> Tensor:
        """Make ``call`` on ``batch`` and return its result: a prediction, pictures or objectives."""
        if call.name == "judge":
            return self.rewards[reward].judge(batch, ["a prompt"] * len(batch)).objective
        with _offloaded(self.backbone.modules()) if self._offloading else nullcontext():
            if call.name == "decode":
                return self._saving.decode(batch, list(range(call.frames)))
            timesteps = torch.zeros(len(batch), dtype=torch.long)
            encoded = torch.empty(len(batch), *self.backbone.text_shape)
            return self._saving.denoise(batch, timesteps, encoded)


def _without_values(memory: MemoryConfig) -> MemoryConfig:
    """Return ``memory`` without what looks at values: the scaling of float16, and the way to the CPU."""
    weights = "float32" if memory.frozen_weights == "float32" else "bfloat16"  # of the same size
    return memory.model_copy(update={"frozen_weights": weights, "offload_activations": False})


@contextmanager
def _offloaded(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Let go of what is saved inside for a backward pass; make it again there, as ``memory.offloaded``."""
    weights = {id(weight.untyped_storage()) for network in networks for weight in network.parameters()}

    def pack(tensor: Tensor) -> Tensor | tuple[torch.Size, torch.dtype]:
        if id(tensor.untyped_storage()) in weights:
            return tensor
        return tensor.shape, tensor.dtype

    def unpack(packed: Tensor | tuple[torch.Size, torch.dtype]) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        return torch.empty(packed[0], dtype=packed[1], device="meta")

    with saved_tensors_hooks(pack, unpack):
        yield


def network_bytes(modules: Sequence[nn.Module]) -> int:
    """Return the bytes of all weights and buffers, each counted once."""
    found = {id(t): t.numel() * t.element_size() for m in modules for t in (*m.parameters(), *m.buffers())}
    return sum(found.values())
