"""Prompts that have a negative prompt or a picture of their own, for every family of backbones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vader_bench.backbones.base import Backbone, ImageBackbone
from vader_bench.backbones.pictures import picture_file
from vader_bench.backbones.wrapped import WrappedBackbone
from vader_bench.errors import UserError
from vader_bench.prompts.lines import PromptDetails

__all__ = ["with_details"]


def with_details(backbone: Backbone, details: Mapping[str, PromptDetails], negative_prompt: str) -> Backbone:
    """Return ``backbone`` as it reads prompts that have more than their text.

    Args:
        backbone: reads prompts alone.
        details: what prompts have beside their text, by prompt.
        negative_prompt: of prompts that have none of their own; empty for none.

    Raises:
        UserError: prompts have pictures, and the model is given none.
    """
    if not (details or negative_prompt):
        return backbone
    if isinstance(backbone, ImageBackbone):
        return _DetailedImage(backbone, details, negative_prompt)
    shown = next((prompt for prompt, detail in details.items() if detail.image is not None), None)
    if shown is not None:
        wrong = f"has an image, and {backbone.name} makes videos of texts alone"
        raise UserError(
            f"prompt {shown!r}", wrong, "leave `image` out, or take a model from picture to video"
        )
    return _Detailed(backbone, details, negative_prompt)


class _Detailed(WrappedBackbone):
    """A backbone whose condition [B, 2L, D] holds what guidance leads to, and what it leads away from."""

    def __init__(self, inner: Backbone, details: Mapping[str, PromptDetails], negative_prompt: str) -> None:
        super().__init__(inner)
        self._details = details
        self._negative_prompt = negative_prompt
        self.text_shape = (2 * inner.text_shape[0], inner.text_shape[1])

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the condition [B, 2L, D] of prompts and of their negative prompts.

        Raises:
            UserError: the model refuses one of them.
        """
        return self._both(self._encode(prompts), prompts)

    def _encode(self, prompts: Sequence[str]) -> Tensor:
        return self._inner.encode(prompts)

    def _both(self, encoded: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return ``encoded`` [B, L, D] and, after it, what guidance contrasts it with: [B, 2L, D]."""
        negatives = [self._negative(prompt) for prompt in prompts]
        against = self._inner.unconditional(encoded).clone()
        rows = [row for row, negative in enumerate(negatives) if negative]
        if rows:
            against[rows] = self._inner.with_texts(encoded[rows], [negatives[row] for row in rows])
        return torch.cat([encoded, against], dim=1)

    def _negative(self, prompt: str) -> str:
        detail = self._details.get(prompt)
        return (detail.negative_prompt if detail else "") or self._negative_prompt

    def unconditional(self, encoded: Tensor) -> Tensor:
        """Return the second halves of ``encoded`` [B, 2L, D], twice."""
        return encoded.chunk(2, dim=1)[1].repeat(1, 2, 1)

    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return the network's prediction [B, C, F, h, w] for the first half of ``encoded`` [B, 2L, D]."""
        return self._inner.denoise(latents, timesteps, encoded.chunk(2, dim=1)[0])


class _DetailedImage(_Detailed, ImageBackbone):
    """The same of a model that is given its first picture: that of the prompt's line, if it has one."""

    _inner: ImageBackbone

    def _encode(self, prompts: Sequence[str]) -> Tensor:
        rows = []
        for prompt in prompts:
            detail = self._details.get(prompt)
            if detail is None or detail.image is None:
                rows.append(self._inner.encode([prompt]))
                continue
            picture = picture_file(detail.image, *self.picture_size)
            rows.append(self._inner.encode_pictures(picture[None], [prompt], [prompt]))
        return torch.cat(rows)

    @torch.no_grad()
    def encode_pictures(self, pictures: Tensor, names: Sequence[str], prompts: Sequence[str]) -> Tensor:
        """Return the condition [B, 2L, D] of given pictures."""
        return self._both(self._inner.encode_pictures(pictures, names, prompts), prompts)
