"""Frozen networks in half precision behind calls in float32, for every family of backbones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

from vader_bench.weights.networks import lowered

__all__ = ["lower_precision"]


def lower_precision(network: nn.Module, dtype: torch.dtype) -> None:
    """Keep and run ``network`` in ``dtype``, while whoever calls it gives and gets float32.

    Some weights stay in float32; see ``lowered``. So do single numbers of what the network is given, such as
    timesteps: 953 is none of bfloat16's.

    In float16 the gradient inside is scaled for each call by a power of two, so that its largest element is
    between 1 and 2 at the output, and scaled back where it leaves; else most of it would be less than the
    smallest number there is (Micikevicius et al. 2018, arXiv:1710.03740, section 3.2).

    Args:
        network: frozen; changed in place.
        dtype: bfloat16 or float16.
    """
    if next(network.parameters(), None) is None:
        return
    for weight in lowered(network, dtype):
        weight.data = weight.data.to(dtype)
    entry = "decode" if hasattr(network, "decode") else "forward"
    setattr(network, entry, _Entry(getattr(network, entry), network, dtype))


class _Entry:
    """A method of a network that takes and returns float32, and computes in another type."""

    def __init__(self, call: Callable[..., Any], network: nn.Module, dtype: torch.dtype) -> None:
        self._call = call
        self._network = network
        self._dtype = dtype

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given, shape = tree_flatten((args, kwargs))
        if self._dtype == torch.float16 and torch.is_grad_enabled():
            inputs = [index for index, leaf in enumerate(given) if _wants_gradient(leaf)]
            weights = [weight for weight in self._network.parameters() if weight.requires_grad]
            if inputs or weights:
                return self._scaled(given, shape, inputs, weights)
        return self._run(given, shape)

    def _run(self, given: list[Any], shape: TreeSpec) -> Any:
        args, kwargs = tree_unflatten([self._lowered(leaf) for leaf in given], shape)
        return tree_map(_raised, self._call(*args, **kwargs))

    def _scaled(
        self, given: list[Any], shape: TreeSpec, inputs: list[int], weights: list[nn.Parameter]
    ) -> Any:
        """Return the result with a scaled gradient inside; it is a tree of tensors."""
        found: list[TreeSpec] = []

        def run(tensors: list[Tensor]) -> list[Tensor]:
            replaced = list(given)
            for index, tensor in zip(inputs, tensors, strict=True):
                replaced[index] = tensor
            leaves, spec = tree_flatten(self._run(replaced, shape))
            found.append(spec)
            return leaves

        leaves = _Scaled.apply(run, len(inputs), *(given[index] for index in inputs), *weights)  # type: ignore[no-untyped-call] # torch's own
        return tree_unflatten(list(leaves), found[0])

    def _lowered(self, leaf: Any) -> Any:
        pictures = isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.ndim > 1
        return leaf.to(self._dtype) if pictures else leaf


class _Scaled(torch.autograd.Function):
    """A computation whose gradient is scaled on entering its graph, and back on leaving it."""

    @staticmethod
    def forward(
        ctx: Any, run: Callable[[list[Tensor]], list[Tensor]], inputs: int, *sources: Tensor
    ) -> tuple[Tensor, ...]:
        """Return what ``run`` makes of the first so many of ``sources``; the others are its weights."""
        given = [source.detach().requires_grad_() for source in sources[:inputs]]
        with torch.enable_grad():
            results = run(given)
        ctx.inner = results, [*given, *sources[inputs:]]
        return tuple(result.detach() for result in results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the sources."""
        results, sources = ctx.inner
        del ctx.inner  # its activations go with its graph
        peak = torch.stack([gradient.abs().amax() for gradient in gradients]).amax()
        scale = torch.exp2(-peak.log2().floor())
        scale = torch.where(scale.isfinite() & (scale > 0), scale, 1.0)  # of zeros and of what is no number
        scaled = [gradient * scale for gradient in gradients]
        found = torch.autograd.grad(results, sources, scaled, allow_unused=True)
        return None, None, *(None if gradient is None else gradient / scale for gradient in found)


def _wants_gradient(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.requires_grad


def _raised(leaf: Any) -> Any:
    return leaf.float() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf
