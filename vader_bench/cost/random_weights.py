"""Networks with random weights at full size: they take the time and the memory of the released ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vader_bench.backbones.base import Backbone
from vader_bench.backbones.memory import with_memory_switches
from vader_bench.backbones.reading import skeleton_of
from vader_bench.backbones.wrapped import WrappedBackbone
from vader_bench.config.schema import ComponentConfig, SuiteConfig
from vader_bench.rewards.base import Reward, reward_skeleton
from vader_bench.seeding import stream_seed, torch_stream

__all__ = ["RandomBackbone", "fill_randomly", "random_backbone", "random_reward"]


class RandomBackbone(WrappedBackbone):
    """A backbone whose conditions are random too, since a text encoder without its tokenizer reads nothing.

    Args:
        inner: with weights of any kind.
        device: where conditions are made.
    """

    def __init__(self, inner: Backbone, device: str) -> None:
        super().__init__(inner)
        self._device = device

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return conditions [B, L, D] that depend on the prompts alone."""
        rows = [
            torch.randn(self.text_shape, generator=torch_stream(0, "random condition", prompt))
            for prompt in prompts
        ]
        return torch.stack(rows).to(self._device)

    def unconditional(self, encoded: Tensor) -> Tensor:
        """Return the condition of the empty prompt, as often as ``encoded`` [B, L, D] has rows."""
        return self.encode([""]).expand_as(encoded)


def random_backbone(suite: SuiteConfig, device: str) -> Backbone:
    """Return the backbone of ``suite`` at full size, with its memory switches, on ``device``.

    Raises:
        UserError: the family cannot be built without its weights, or nobody knows its sizes.
    """
    weights, settings = suite.backbone_weights()
    backbone = with_memory_switches(skeleton_of(suite.backbone.family, weights, settings), suite.memory)
    for network in backbone.modules():
        fill_randomly(network, device)
    return RandomBackbone(backbone.to(device), device)


def random_reward(component: ComponentConfig, device: str) -> Reward:
    """Return the reward of ``component`` at full size on ``device``; one of unknown cost has none.

    Raises:
        UserError: the settings do not fit, or nobody knows the sizes of the networks.
    """
    reward = reward_skeleton(component.family, component.settings)
    for network in reward.modules():
        fill_randomly(network, device)
    return reward


@torch.no_grad()
def fill_randomly(network: nn.Module, device: str) -> None:
    """Give ``network``, which is on ``meta``, weights on ``device`` that keep what passes through finite.

    Matrices are normal with the inverse of their inputs as variance; of vectors, scales are 1 and shifts 0.
    What is computed rather than learnt, such as angles and means, is 1, and numbers of places are 0.
    """
    drawn = torch.Generator(device).manual_seed(stream_seed(0, "random weights"))
    _move_empty(network, device)
    for name, weight in network.named_parameters():
        if weight.ndim > 1:
            weight.normal_(0, weight[0].numel() ** -0.5, generator=drawn)
        else:
            weight.fill_(float(name.endswith("weight")))
    for buffer in network.buffers():
        buffer.fill_(1 if buffer.is_floating_point() else 0)
    for module in network.modules():
        for name, value in list(vars(module).items()):  # tables that are no buffers
            if isinstance(value, Tensor) and value.is_meta:
                setattr(module, name, torch.ones_like(value, device=device))


def _move_empty(network: nn.Module, device: str) -> None:
    """Move ``network`` to ``device`` without values; what two layers share they share there too."""
    owners: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in network.modules():
        for name, weight in module.named_parameters(recurse=False):
            owners.setdefault(id(weight), []).append((module, name))
    network.to_empty(device=device)
    for (first, called), *others in owners.values():
        for module, name in others:
            setattr(module, name, getattr(first, called))
