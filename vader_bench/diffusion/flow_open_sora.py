"""Open-Sora's flow: the longer and larger a video, the more of the way is spent near the noise."""

from __future__ import annotations

import math

from vader_bench.diffusion.flow import FlowSchedule
from vader_bench.errors import UserError

__all__ = ["open_sora_schedule"]

_SQUARE = 512.0
"""Side in pixels of a picture whose timesteps stay as they are."""
_CHUNK, _CHUNK_LATENTS = 17, 5


def open_sora_schedule(height: int, width: int, frames: int) -> FlowSchedule:
    """Return the schedule of Open-Sora 1.2 for ``frames`` pictures of ``height`` x ``width`` pixels.

    The shift grows with the root of pixels times frames of latents, of which only those of whole chunks of 17
    pictures count, as the released model was trained. The network predicts data minus noise.

    Raises:
        UserError: the video is shorter than a chunk and no picture: the shift would be 0, all timesteps too.
    """
    if 1 < frames < _CHUNK or frames < 1:
        raise UserError(
            f"backbone.settings.frames = {frames}",
            f"is less than a chunk of {_CHUNK} pictures",
            f"choose 1 or at least {_CHUNK}",
        )
    latents = 1 if frames == 1 else frames // _CHUNK * _CHUNK_LATENTS
    shift = math.sqrt(height * width * latents) / _SQUARE
    return FlowSchedule(shift=shift, spacing="even", sign=-1)
