"""The networks of a run at full size without memory: fake tensors, their FLOPs and the bytes they would take."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vader_bench.backbones import BACKBONES
from vader_bench.config import SuiteConfig
from vader_bench.diffusion.lora import Lora
from vader_bench.errors import UserError
from vader_bench.metering import count_flops
from vader_bench.rewards.skeletons import reward_skeleton

__all__ = ["PRECISIONS", "Call", "Fakes", "LiveBytes", "Networks"]

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


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors made inside that are alive, real or fake, and the most at any time.

    Memory that a kernel takes and gives back inside itself does not show.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ``func`` and count what it has made."""
        del types
        before = {id(leaf.untyped_storage()) for leaf in _tensors((args, kwargs or {}))}
        result = func(*args, **(kwargs or {}))
        for leaf in _tensors(result):
            storage = leaf.untyped_storage()
            if id(storage) not in before and id(storage) not in self._seen:
                self._add(storage)
        self.peak = max(self.peak, self.live)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        self._seen.add(key)
        self.live += size

        def forget() -> None:
            self._seen.discard(key)
            self.live -= size

        weakref.finalize(storage, forget)


class Networks(NamedTuple):
    """Bytes that are there all the time."""

    weights: int
    """Of all networks: denoiser, text encoder, decoder, rewards."""
    adapters: int
    """Trainable weights; a gradient and two moments of the optimiser come to them."""


class Fakes:
    """Backbone and reward of a suite, made of fake tensors, with adapters in the denoiser.

    Args:
        suite: what to build.
        reward: name of a reward of the suite.
        rank: of the adapters.
        precision: of frozen weights and activations; adapters are float32.

    Raises:
        UserError: a family cannot be built without its weights.
    """

    def __init__(self, suite: SuiteConfig, reward: str, rank: int, precision: str = "fp32") -> None:
        settings = dict(suite.backbone.settings)
        weights = settings.pop("weights", None)
        if not isinstance(weights, str):
            raise UserError("backbone.settings", "has no key 'weights'", "name weights there")
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._dtype = PRECISIONS[precision]
        self.backbone = BACKBONES.get(suite.backbone.family).skeleton(weights, **settings)
        component = suite.rewards[reward]
        self.reward = reward_skeleton(component.family, component.settings)
        self._modules = [*self.backbone.modules(), *self.reward.modules()]
        if suite.gold is not None:
            self._modules += reward_skeleton(suite.gold.family, suite.gold.settings).modules()
        for module in self._modules:
            module.to(self._dtype)
        with torch.device("meta"):
            self.lora = Lora(self.backbone.denoiser, self.backbone.lora_targets, rank, torch.Generator())
        adapters = sum(weight.numel() * weight.element_size() for weight in self.lora.parameters())
        for module in self._modules:
            self._fill(module)
        self.networks = Networks(_bytes(self._modules) - adapters, adapters)
        self._costs: dict[Call, tuple[int, int]] = {}

    def flops(self, call: Call) -> tuple[int, int]:
        """Return (forward, backward) FLOPs of ``call`` for one video; see ``count_flops``."""
        if call not in self._costs:
            with self.running(call), sdpa_kernel(SDPBackend.MATH):
                self._costs[call] = count_flops(lambda one: self.make(call, one), self.input_of(call, 1))
        return self._costs[call]

    @contextmanager
    def running(self, call: Call) -> Iterator[None]:
        """Make fake tensors, and a graph where ``call`` has one."""
        adapters = nullcontext() if call.trainable or call.name != "denoise" else self.lora.disabled()
        with self._mode, torch.set_grad_enabled(call.graph), adapters:
            yield

    def input_of(self, call: Call, videos: int) -> Tensor:
        """Return a fake input of ``call``: latents [B, C, F, h, w], or pictures [B, f, 3, H, W]."""
        shape: Sequence[int] = self.backbone.latent_shape
        if call.name == "judge":
            with torch.no_grad():
                picture = self.backbone.decode(torch.empty(1, *shape, dtype=self._dtype), [0])
            shape = (call.frames, *picture.shape[2:])
        return torch.empty(videos, *shape, dtype=self._dtype, requires_grad=call.input_grad)

    def make(self, call: Call, batch: Tensor) -> Tensor:
        """Make ``call`` on ``batch`` and return its result: a prediction, pictures or objectives."""
        if call.name == "denoise":
            timesteps = torch.zeros(len(batch), dtype=torch.long)
            return self.backbone.denoise(batch, timesteps, self._encoded(len(batch)))
        if call.name == "decode":
            return self.backbone.decode(batch, list(range(call.frames)))
        return self.reward.judge(batch, ["a prompt"] * len(batch)).objective

    def _encoded(self, videos: int) -> Tensor:
        length, width = self.backbone.text_shape
        return torch.empty(videos, length, width, dtype=self._dtype)

    def _fill(self, module: nn.Module) -> None:
        """Put fake tensors in the place of those on ``meta``, which do not mix with others."""
        for part in module.modules():
            for name, weight in list(part.named_parameters(recurse=False)):
                setattr(part, name, nn.Parameter(self._fake(weight), requires_grad=weight.requires_grad))
            for name, buffer in list(part.named_buffers(recurse=False)):
                setattr(part, name, self._fake(buffer))

    def _fake(self, tensor: Tensor) -> Tensor:
        with self._mode:
            return torch.empty(tensor.shape, dtype=tensor.dtype)


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _bytes(modules: Sequence[nn.Module]) -> int:
    found = {id(t): t.numel() * t.element_size() for m in modules for t in (*m.parameters(), *m.buffers())}
    return sum(found.values())
