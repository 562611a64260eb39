"""The networks of a run at full size and without memory: their FLOPs and the bytes they would take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel

from vader_bench.backbones import BACKBONES, Backbone
from vader_bench.config import SuiteConfig
from vader_bench.diffusion.lora import Lora
from vader_bench.errors import UserError
from vader_bench.live_bytes import LiveBytes
from vader_bench.metering import count_flops
from vader_bench.rewards.base import Reward
from vader_bench.rewards.skeletons import reward_skeleton

__all__ = ["PRECISIONS", "Call", "Fakes", "Footprint"]

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


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


class Footprint(NamedTuple):
    """Bytes of a call for one video."""

    kept: int
    """Alive after the call: its result, and what its backward pass needs."""
    peak: int
    """Most bytes alive at any time of the call and of its backward pass, where it has one."""


class Fakes:
    """Backbone and rewards of a suite without values, with adapters in the denoiser.

    FLOPs are counted on the device ``meta``, which is three times as fast, with attention in its plain form
    as in a run's ledger. Bytes are counted on fake tensors, which take the fused attention of a real device.

    Args:
        suite: what to build.
        rewards: names of rewards of the suite.
        rank: of the adapters.
        precision: of frozen weights and activations; adapters are float32.
        fused: build of fake tensors, for ``footprint``; otherwise on ``meta``, for ``flops``.

    Raises:
        UserError: a family cannot be built without its weights.
    """

    def __init__(
        self,
        suite: SuiteConfig,
        rewards: Sequence[str],
        rank: int,
        precision: str = "fp32",
        *,
        fused: bool = False,
    ) -> None:
        settings = dict(suite.backbone.settings)
        weights = settings.pop("weights", None)
        if not isinstance(weights, str):
            raise UserError("backbone.settings", "has no key 'weights'", "name weights there")
        self._dtype = PRECISIONS[precision]
        self._context: Any = FakeTensorMode(allow_non_fake_inputs=True) if fused else torch.device("meta")
        self.backbone = BACKBONES.get(suite.backbone.family).skeleton(weights, **settings)
        if suite.memory.checkpointing:
            self.backbone.enable_checkpointing()
        components = {name: suite.rewards[name] for name in rewards}
        self.rewards = {name: reward_skeleton(c.family, c.settings) for name, c in components.items()}
        self._gold = reward_skeleton(suite.gold.family, suite.gold.settings) if suite.gold else None
        for module in self._modules():
            nn.Module.to(module, dtype=self._dtype)  # diffusers' own `to` warns of what is meant here
        with torch.device("meta"):
            self.lora = Lora(self.backbone.denoiser, self.backbone.lora_targets, rank, torch.Generator())
        self.adapters = sum(weight.numel() * weight.element_size() for weight in self.lora.parameters())
        """Bytes of the trainable weights."""
        for module in self._modules():
            self._fill(module)
        self._flops: dict[tuple[Call, str | None], tuple[int, int]] = {}
        self._footprints: dict[tuple[Call, str | None], Footprint] = {}

    def weights(self, reward: str) -> int:
        """Return the bytes of all frozen weights of a run on ``reward``."""
        modules = [*self.backbone.modules(), *self.rewards[reward].modules()]
        modules += self._gold.modules() if self._gold is not None else []
        return _bytes(modules) - self.adapters

    def flops(self, call: Call, reward: str) -> tuple[int, int]:
        """Return (forward, backward) FLOPs of ``call`` for one video; see ``count_flops``."""
        key = (call, reward if call.name == "judge" else None)
        if key not in self._flops:
            with self._running(call), sdpa_kernel(SDPBackend.MATH):
                self._flops[key] = count_flops(lambda one: self._make(call, one, reward), self._input(call))
        return self._flops[key]

    def footprint(self, call: Call, reward: str) -> Footprint:
        """Return the bytes that ``call`` takes for one video, its backward pass included."""
        key = (call, reward if call.name == "judge" else None)
        if key not in self._footprints:
            with self._running(call):
                batch = self._input(call)
                with LiveBytes() as bytes_:
                    output = self._make(call, batch, reward)
                    kept = bytes_.live
                    if output.requires_grad:
                        output.sum().backward()
                self._footprints[key] = Footprint(kept, bytes_.peak)
            for weight in self.backbone.denoiser.parameters():
                weight.grad = None
        return self._footprints[key]

    def _modules(self) -> list[nn.Module]:
        parts: list[Backbone | Reward] = [self.backbone, *self.rewards.values()]
        if self._gold is not None:
            parts.append(self._gold)
        return [module for part in parts for module in part.modules()]

    @contextmanager
    def _running(self, call: Call) -> Iterator[None]:
        """Make tensors without values, and a graph where ``call`` has one."""
        adapters = nullcontext() if call.trainable or call.name != "denoise" else self.lora.disabled()
        with self._context, torch.set_grad_enabled(call.graph), adapters:
            yield

    def _input(self, call: Call) -> Tensor:
        """Return an input of ``call``: latents [1, C, F, h, w], or pictures [1, f, 3, H, W]."""
        shape: Sequence[int] = self.backbone.latent_shape
        if call.name == "judge":
            with torch.no_grad():
                picture = self.backbone.decode(torch.empty(1, *shape, dtype=self._dtype), [0])
            shape = (call.frames, *picture.shape[2:])
        return torch.empty(1, *shape, dtype=self._dtype, requires_grad=call.input_grad)

    def _make(self, call: Call, batch: Tensor, reward: str) -> Tensor:
        """Make ``call`` on ``batch`` and return its result: a prediction, pictures or objectives."""
        if call.name == "denoise":
            timesteps = torch.zeros(len(batch), dtype=torch.long)
            encoded = torch.empty(len(batch), *self.backbone.text_shape, dtype=self._dtype)
            return self.backbone.denoise(batch, timesteps, encoded)
        if call.name == "decode":
            return self.backbone.decode(batch, list(range(call.frames)))
        return self.rewards[reward].judge(batch, ["a prompt"] * len(batch)).objective

    def _fill(self, module: nn.Module) -> None:
        """Put tensors of the chosen kind in the place of those on ``meta``, which do not mix with others."""
        for part in module.modules():
            for name, weight in list(part.named_parameters(recurse=False)):
                setattr(part, name, nn.Parameter(self._fake(weight), requires_grad=weight.requires_grad))
            for name, buffer in list(part.named_buffers(recurse=False)):
                setattr(part, name, self._fake(buffer))

    def _fake(self, tensor: Tensor) -> Tensor:
        with self._context:
            return torch.empty(tensor.shape, dtype=tensor.dtype)


def _bytes(modules: Sequence[nn.Module]) -> int:
    found = {id(t): t.numel() * t.element_size() for m in modules for t in (*m.parameters(), *m.buffers())}
    return sum(found.values())
