"""Wrappers that charge the ledger for every use of the backbone and of the training reward.

A method is given these and nothing else, so it cannot spend unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vader_bench.backbones.base import Backbone
from vader_bench.budget.ledger import Meter
from vader_bench.diffusion.lora import Lora
from vader_bench.rewards.base import Judgement, Reward, refuse_non_finite
from vader_bench.world import ALONE, World

__all__ = ["PLAIN_ATTENTION", "FlopTable", "MeteredBackbone", "MeteredReward", "count_flops"]


_COUNTED: dict[str, dict[Hashable, tuple[int, int]]] = {}
"""What has been counted in this process, by what was at work: runs after the first one look it up."""


class FlopTable:
    """FLOPs of each kind of call, counted once and then looked up.

    Attention is counted in its plain form, so that the count is the same on every machine whichever
    kernel runs.

    Args:
        meter: its clock stands still while FLOPs are counted.
        networks: what distinguishes the networks from all others in this process: counts are kept under it.
            If it is empty they are kept for this table alone.
    """

    def __init__(self, meter: Meter, networks: str = "") -> None:
        self._meter = meter
        self._costs = _COUNTED.setdefault(networks, {}) if networks else {}

    def cost(self, kind: Hashable, call: Callable[[Tensor], Tensor], batch: Tensor) -> tuple[int, int]:
        """Return (forward, backward) FLOPs of ``call`` for all of ``batch`` [B, ...].

        Args:
            kind: calls of one kind cost the same for a video.
            call: makes the call for the first video alone.
            batch: input of the call; backward is 0 where the output has no graph.
        """
        if kind not in self._costs:
            with self._meter.paused(), _countable(batch.device):
                self._costs[kind] = count_flops(call, batch[:1])
        forward, backward = self._costs[kind]
        return forward * len(batch), backward * len(batch)

    def judged(
        self, kind: Hashable, call: Callable[[Tensor], Judgement], video: Tensor
    ) -> tuple[Judgement, tuple[int, int]]:
        """Return what ``call`` returns and the (forward, backward) FLOPs of judging ``video`` [B, ...].

        ``call`` is made once, whether it is counted or not: a reward may cost money, or remember. The first
        call of a kind and a batch size takes the counter's time too.

        Args:
            kind: calls of one kind with as many videos cost the same.
            call: judges videos.
            video: what it judges.
        """
        key = (kind, len(video))
        if key in self._costs:
            return call(video), self._costs[key]
        alike = video.view_as(video)  # has none of the hooks of ``video``, which charge what is before it
        with _counter(PLAIN_ATTENTION) as forward:
            judgement = call(alike)
        backward = 0
        if judgement.objective.requires_grad and alike.requires_grad:
            with self._meter.paused():
                backward = _count_backward(judgement.objective, alike)
        self._costs[key] = (forward.get_total_flops(), backward)
        return judgement, self._costs[key]


def _count_backward(objective: Tensor, video: Tensor) -> int:
    """Return the FLOPs of the way back from ``objective`` [B] to ``video``; the graph is there afterwards."""
    with _counter(PLAIN_ATTENTION) as counter:
        torch.autograd.grad(objective.sum(), video, retain_graph=True, allow_unused=True)
    return int(counter.get_total_flops())


def _attention_flops(query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> int:
    """Return the FLOPs of the two products of attention: [..., L, E] by [..., S, E], then by [..., S, V]."""
    pairs = query.numel() // query.shape[-1] * key.shape[-2]
    return 2 * pairs * (query.shape[-1] + value.shape[-1])


def _attention_backward_flops(_: Tensor, *inputs: Any, **__: object) -> int:
    """Return the FLOPs of the backward pass: each product has two, and none is computed again."""
    return 2 * _attention_flops(*inputs)


def _by_tensors(formula: Callable[..., int]) -> Callable[..., int]:
    formula._get_raw = True  # type: ignore[attr-defined] # noqa: SLF001 - how PyTorch's counter asks
    return formula


_ATEN: Any = torch.ops.aten
_FUSED = ("flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention")
PLAIN_ATTENTION: dict[Any, Callable[..., int]] = {
    getattr(_ATEN, f"_scaled_dot_product_{name}{end}"): _by_tensors(formula)
    for name in _FUSED
    for end, formula in (("", _attention_flops), ("_backward", _attention_backward_flops))
}
"""FLOPs of the fused kernels of attention as those of its plain form, by operator, from tensors.

PyTorch's own formulas lack the kernel of the CPU, and add what the others compute again."""


def _countable(device: torch.device) -> AbstractContextManager[None]:
    """Return where attention can be counted as its plain form.

    On the CPU it is the plain form that runs, in which nothing is packed (see ``PackedAttention``). On a GPU
    that would take the memory of all pairs of tokens, tens of GiB for a long video: the fused kernels run.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def count_flops(call: Callable[[Tensor], Tensor], video: Tensor) -> tuple[int, int]:
    """Return (forward, backward) FLOPs of ``call`` on ``video``; backward is 0 where there is no graph."""
    with _counter(PLAIN_ATTENTION) as forward:
        output = call(video.detach().requires_grad_(video.requires_grad))
    if not output.requires_grad:
        return forward.get_total_flops(), 0
    with _counter(PLAIN_ATTENTION) as backward:
        torch.autograd.grad(output.sum(), _leaves(output), allow_unused=True)
    return forward.get_total_flops(), backward.get_total_flops()


class _NoModules:
    """Stands where PyTorch's counter finds out which module is at work, which takes a third of its time.

    Only the sum of all is asked for.
    """

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        """Watch nothing."""

    def __exit__(self, *_: object) -> None:
        """Have nothing to stop."""


def _counter(more: dict[Any, Callable[..., int]]) -> FlopCounterMode:
    """Return a counter of FLOPs, with ``more`` formulas than PyTorch's."""
    counter = FlopCounterMode(display=False, custom_mapping=more)
    counter.mod_tracker = _NoModules()  # type: ignore[assignment]
    return counter


def _leaves(output: Tensor) -> list[Tensor]:
    """Return the parameters that the graph of ``output`` reaches."""
    found: list[Tensor] = []
    seen: set[Any] = set()
    stack: list[Any] = [output.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        stack.extend(parent for parent, _ in node.next_functions)
    return found


class MeteredBackbone:
    """A backbone that charges every call. See ``Backbone`` for shapes.

    Args:
        backbone: what is called.
        meter: what is charged.
        flops: says what a call costs; by default it is counted.
        world: the processes that share each call's rows. Each charges the whole call, so that their ledgers
            are the same.
    """

    def __init__(
        self, backbone: Backbone, meter: Meter, flops: FlopTable | None = None, world: World = ALONE
    ) -> None:
        self._backbone = backbone
        self._meter = meter
        self._flops = flops or FlopTable(meter)
        self._world = world
        self.latent_shape = backbone.latent_shape
        self.frames = backbone.frames
        self.schedule = backbone.schedule

    def add_adapters(self, rank: int, generator: torch.Generator) -> Lora:
        """Put adapters of ``rank`` into the denoiser, drawn from the CPU ``generator``; see ``Lora``.

        They are what a method trains. The network itself stays here, where its calls are charged.
        """
        return Lora(self._backbone.denoiser, self._backbone.lora_targets, rank, generator)

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return text states [B, L, D]; too cheap beside a denoiser call to be counted."""
        return self._backbone.encode(prompts)

    def unconditional(self, encoded: Tensor) -> Tensor:
        """Return what guidance contrasts ``encoded`` [B, L, D] with; not counted, as ``encode``."""
        return self._backbone.unconditional(encoded)

    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return the prediction [B, C, F, h, w]; charges a forward, and a backward if one happens."""
        # with its adapters switched off the denoiser is another network, and nothing in it is trainable
        trainable = any(weight.requires_grad for weight in self._backbone.denoiser.parameters())
        modes = (torch.is_grad_enabled(), latents.requires_grad, trainable)
        kind = ("denoise", latents.shape[1:], encoded.shape[1:], *modes)
        call = self._backbone.denoise
        cost = self._flops.cost(kind, lambda first: call(first, timesteps[:1], encoded[:1]), latents)
        batch = latents.shape[0]
        own = (self._world.scattered(part) for part in (latents, timesteps, encoded))
        output = self._world.gathered(call(*own), batch)
        ledger = self._meter.ledger
        ledger.denoiser_forwards += batch

        def charge_backward(_: Tensor) -> None:
            ledger.denoiser_backwards += batch

        if output.requires_grad:
            output.register_hook(charge_backward)
        return _charge_flops(self._meter, output, cost)

    def decode(self, latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        """Return this process's share of the pictures [B, f, 3, H, W], all of them where it is alone.

        Charges one decode a picture of all B videos, and the FLOPs of all that ran. A decoder that can only
        make a whole video costs as many FLOPs for one picture of it as for all.
        """
        count = self.frames if frames is None else len(frames)
        kind = ("decode", latents.shape[1:], count, torch.is_grad_enabled(), latents.requires_grad)
        cost = self._flops.cost(kind, lambda first: self._backbone.decode(first, frames), latents)
        self._meter.ledger.vae_decodes += latents.shape[0] * count
        pictures = self._backbone.decode(self._world.scattered(latents), frames)
        return _charge_flops(self._meter, pictures, cost)


class MeteredReward:
    """A reward that charges every video it judges, and refuses to pass on a score that is not a number.

    Args as for ``MeteredBackbone``.
    """

    def __init__(
        self, reward: Reward, meter: Meter, flops: FlopTable | None = None, world: World = ALONE
    ) -> None:
        self._reward = reward
        self._meter = meter
        self._flops = flops or FlopTable(meter)
        self._world = world
        self.name = reward.name
        self.differentiable = reward.differentiable
        self.frames = reward.frames
        self.by_frame = reward.by_frame

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge the videos of B ``prompts``; charges B queries.

        Args:
            video: this process's share [b, F, 3, H, W] of them in [0, 1], as ``decode`` gives it.
            prompts: one for each video of all processes.

        Returns:
            The judgement of all B videos.

        Raises:
            BudgetExceededError: fewer than B queries are left.
            UserError: a score is not finite; nothing is made of it.
        """
        count = len(prompts)
        gradient = torch.is_grad_enabled() and video.requires_grad
        self._meter.charge_queries(count, frames=count * video.shape[1], gradient=gradient)
        own, own_cost = self._judged(video, prompts[self._world.share(count)], gradient)
        judgement = Judgement(*(self._world.gathered(part, count) for part in own))
        forward, backward = self._world.total(own_cost, video.device)
        refuse_non_finite(self.name, judgement.score, prompts)
        refuse_non_finite(self.name, judgement.objective, prompts)
        objective = _charge_flops(self._meter, judgement.objective, (forward, backward))
        return judgement._replace(objective=objective)

    def _judged(
        self, video: Tensor, prompts: Sequence[str], gradient: bool
    ) -> tuple[Judgement, tuple[int, int]]:
        """Return the judgement of ``video`` [b, F, 3, H, W] and its FLOPs, forward and backward."""
        if not prompts:  # more processes than videos: a reward may cost money, so it is not called in vain
            nothing = video.float().flatten(1).sum(1)
            return Judgement(nothing, nothing), (0, 0)
        kind = ("judge", video.shape[1:], gradient)
        return self._flops.judged(kind, lambda some: self._reward.judge(some, prompts), video)


def _charge_flops(meter: Meter, output: Tensor, cost: tuple[int, int]) -> Tensor:
    forward, backward = cost
    meter.ledger.flops += forward

    def charge_backward(_: Tensor) -> None:
        meter.ledger.flops += backward

    if output.requires_grad:
        output.register_hook(charge_backward)
    return output
