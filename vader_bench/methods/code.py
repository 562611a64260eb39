"""The code of others that a run works with: of installed packages and of a user's files.

It stands with the methods, the highest that it looks at, for experiments and trainings alike.
"""

from __future__ import annotations

from collections.abc import Iterator

from vader_bench.backbones import BACKBONES
from vader_bench.config.names import UNTRAINED
from vader_bench.config.schema import RunConfig
from vader_bench.methods import METHODS
from vader_bench.records import provenance
from vader_bench.rewards.code import reward_code

__all__ = ["run_plugins", "training_plugins"]


def training_plugins(config: RunConfig) -> dict[str, str]:
    """Return the SHA-256 of code of others that ``config`` is trained with, by what it makes.

    Raises:
        UserError: it cannot be loaded; see ``Registry.get``.
    """
    return {name: digest for name, digest in _training(config) if digest}


def run_plugins(config: RunConfig) -> dict[str, str]:
    """Return the SHA-256 of code of others that ``config`` is trained and measured with, by what it makes.

    Raises:
        UserError: it cannot be loaded; see ``Registry.get``.
    """
    return {name: digest for name, digest in [*_training(config), *_measuring(config)] if digest}


def _training(config: RunConfig) -> Iterator[tuple[str, str]]:
    reward = config.suite.rewards[config.reward]
    yield "backbone", provenance.others_code(BACKBONES, config.suite.backbone.family)
    yield "method", "" if config.method in UNTRAINED else provenance.others_code(METHODS, config.method)
    yield "reward", reward_code(reward.family, reward.settings)


def _measuring(config: RunConfig) -> Iterator[tuple[str, str]]:
    for number, one in enumerate(config.suite.measures_for(config.reward), start=1):
        yield f"measure {number}", reward_code(one.family, one.settings)
    for name in config.other_judges:
        judge = config.suite.rewards[name]
        yield f"judge {name}", reward_code(judge.family, judge.settings)
