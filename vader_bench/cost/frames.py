"""Which frames of a video training and looks judge, as far as that is known without weights."""

from __future__ import annotations

from collections.abc import Sequence

from vader_bench.backbones.reading import outline_of
from vader_bench.config.schema import RunConfig, SuiteConfig
from vader_bench.errors import UserError
from vader_bench.rewards.base import frames_said, frames_seen

__all__ = ["judged_frames"]


def judged_frames(suite: SuiteConfig, runs: Sequence[RunConfig]) -> dict[str, list[str]]:
    """Return by reward, in words, the frames that ``runs`` on ``suite`` judge.

    There is an entry for each number of frames that their arms decode, where that matters. Where nobody knows
    the sizes of a network without its weights, that is what is said.
    """
    said: dict[str, list[str]] = {}
    for name in dict.fromkeys(run.reward for run in runs):
        component = suite.rewards[name]
        try:
            total, seen = _frames(suite), frames_seen(component.family, component.settings)
        except UserError as error:
            said[name] = [f"not known before the weights are here ({error.given} {error.wrong})"]
            continue
        decoded = dict.fromkeys(run.suite.decode_frames for run in runs if run.reward == name)
        found = [frames_said(seen.frames, seen.by_frame, frames, total) for frames in decoded]
        said[name] = list(dict.fromkeys(found))
    return said


def _frames(suite: SuiteConfig) -> int:
    weights, settings = suite.backbone_weights()
    return outline_of(suite.backbone.family, weights, settings).frames
