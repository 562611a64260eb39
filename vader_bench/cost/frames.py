"""Which frames of a video training and looks judge, as far as that is known without weights."""

from __future__ import annotations

from collections.abc import Sequence

from vader_bench.backbones import BACKBONES
from vader_bench.config.schema import RunConfig, SuiteConfig
from vader_bench.errors import UserError
from vader_bench.rewards.base import frames_said
from vader_bench.rewards.skeletons import reward_skeleton

__all__ = ["judged_frames"]


def judged_frames(suite: SuiteConfig, runs: Sequence[RunConfig]) -> dict[str, list[str]]:
    """Return by reward, in words, the frames that ``runs`` on ``suite`` judge.

    There is an entry for each number of frames that their arms decode, where that matters. Where nobody knows
    the sizes of a network without its weights, that is what is said.
    """
    weights, settings = suite.backbone_weights()
    said: dict[str, list[str]] = {}
    for name in dict.fromkeys(run.reward for run in runs):
        component = suite.rewards[name]
        try:
            total = BACKBONES.get(suite.backbone.family).skeleton(weights, **settings).frames
            reward = reward_skeleton(component.family, dict(component.settings))
        except UserError as error:
            said[name] = [f"not known before the weights are here ({error.given} {error.wrong})"]
            continue
        decoded = dict.fromkeys(run.suite.decode_frames for run in runs if run.reward == name)
        found = [frames_said(reward.frames, reward.by_frame, frames, total) for frames in decoded]
        said[name] = list(dict.fromkeys(found))
    return said
