"""The arms of an experiment: what each entry under ``methods`` of its file says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["BY_REWARD", "METHOD", "SUITE", "Arm", "for_reward", "read_arm"]

BY_REWARD = "by_reward"
"""Key of an arm's settings that holds its overrides by reward."""
METHOD = "method"
"""Key that names the method of an arm that is not called after it."""
SUITE = "suite"
"""Key that holds what the arm changes in the suite, such as ``decode_frames``."""


class Arm(NamedTuple):
    """One of the things that an experiment compares."""

    method: str
    """The registered method."""
    settings: Mapping[str, Any]
    """Its settings, ``by_reward`` among them."""
    suite: Mapping[str, Any]
    """What it changes in the suite; mostly nothing."""


def read_arm(name: str, entry: Mapping[str, Any]) -> Arm:
    """Return what the ``entry`` of the arm ``name`` says. Types are not checked."""
    settings = {key: value for key, value in entry.items() if key not in {METHOD, SUITE}}
    return Arm(entry.get(METHOD, name), settings, entry.get(SUITE, {}))


def for_reward(settings: Mapping[str, Any], reward: str) -> dict[str, Any]:
    """Return the settings for one reward: the arm's own, then those it overrides for the reward."""
    plain = {key: value for key, value in settings.items() if key != BY_REWARD}
    overrides: dict[str, Any] = settings.get(BY_REWARD, {}).get(reward, {})
    return plain | overrides
