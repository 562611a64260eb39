"""What is measured of a set of videos beside their rewards."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

__all__ = ["diversity", "features", "motion"]

_GRID = 8


def features(video: Tensor) -> Tensor:
    """Return the features [B, F * 3 * 64] of ``video`` [B, F, 3, H, W]: mean colours on an 8 x 8 grid.

    Averaging makes a shift by a pixel or a change of fine texture small beside a change of what is
    shown where.
    """
    return adaptive_avg_pool2d(video.flatten(0, 1), _GRID).reshape(video.shape[0], -1)


def motion(video: Tensor) -> Tensor:
    """Return how much happens in ``video`` [B, F, 3, H, W]: [B], 0 for a still one, as one frame is.

    The root mean square change from one frame to the next, in [0, 1] for pixels in [0, 1].
    """
    if video.shape[1] == 1:
        return video.new_zeros(len(video))
    return (video[:, 1:] - video[:, :-1]).square().flatten(1).mean(dim=1).sqrt()


def diversity(vectors: Tensor, prompts: Sequence[str]) -> float | None:
    """Return how much videos of one prompt differ: the mean over prompts of the mean pairwise distance.

    The distance of two videos is the root mean square difference of their features, in [0, 1] for
    pixels in [0, 1]: 0 if all videos of a prompt are the same. ``None`` if no prompt has two videos.

    Args:
        vectors: ``features`` of the videos [B, N].
        prompts: the prompt of each video, B in all.
    """
    means = []
    for prompt in dict.fromkeys(prompts):
        rows = [i for i, other in enumerate(prompts) if other == prompt]
        if len(rows) > 1:
            # the direct difference: the shortcut through dot products is not exactly 0 for equal videos
            distances = torch.pdist(vectors[rows].double()) / vectors.shape[1] ** 0.5
            means.append(distances.mean().item())
    return sum(means) / len(means) if means else None
