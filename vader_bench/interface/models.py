"""Models and rewards by the names that people know them by."""

from __future__ import annotations

from pathlib import Path

from vader_bench.backbones import Backbone
from vader_bench.config.schema import SuiteConfig
from vader_bench.config.yamlfile import nearest
from vader_bench.errors import UserError
from vader_bench.experiment.load import load_suite
from vader_bench.prompts.sets import load_prompts
from vader_bench.rewards import Reward
from vader_bench.training import load
from vader_bench.training.model import Model, load_run_model, load_suite_model

__all__ = ["load_backbone", "load_model", "load_reward"]


def load_model(
    source: str | Path | SuiteConfig, device: str = "cpu", prompts: str | Path | None = None
) -> Model:
    """Return a model to sample: ``load_model("pocket").sample(["a red cat jumping in the park"])``.

    On the CPU torch is set to one thread, and everywhere to algorithms that give the same numbers every time,
    as in a run: the videos are those that evaluations judge.

    Args:
        source: the folder of a finished run, with its adapters; or a suite, its name or its file, for the
            untrained model.
        device: where it computes: ``"cpu"``, ``"cuda:0"``.
        prompts: a prompt set whose negative prompts and pictures it knows; the suite's own by default.

    Raises:
        UserError: neither a run nor a suite; the run is not finished or has no adapters; weights are missing,
            faulty, or others than the run was made with.
    """
    details = None if prompts is None else load_prompts(str(prompts)).details
    if not isinstance(source, SuiteConfig) and Path(source).is_dir():
        return load_run_model(Path(source), device, details)
    return load_suite_model(_suite(source), device, details)


def load_backbone(suite: str | Path | SuiteConfig, device: str = "cpu") -> Backbone:
    """Return the networks of a suite's video model, frozen, with its schedule.

    Args:
        suite: a suite, its name or its file.
        device: where it computes.

    Raises:
        UserError: no such suite, weights are missing or faulty, or settings do not fit the family.
    """
    return load.load_backbone(_suite(suite), device)


def load_reward(suite: str | Path | SuiteConfig, name: str, device: str = "cpu") -> Reward:
    """Return the reward that a suite calls ``name``, frozen: ``load_reward("pocket", "hps")``.

    Args:
        suite: a suite, its name or its file.
        name: one of its rewards, or ``gold:`` and one of them for the truth that it imitates.
        device: where it computes.

    Raises:
        UserError: no such suite or reward, or weights are missing or faulty.
    """
    suite = _suite(suite)
    trained_on = name.removeprefix("gold:")
    if trained_on not in suite.rewards:
        raise UserError(f"reward {name!r}", f"is not in suite {suite.suite}", nearest(name, suite.rewards))
    component = suite.rewards[trained_on] if name == trained_on else suite.gold_for(trained_on)
    if component is None:
        wrong = f"is not measured by suite {suite.suite}"
        raise UserError(f"the truth of {trained_on}", wrong, "name it under `gold:` in the suite's file")
    return load.load_reward(component, device)


def _suite(given: str | Path | SuiteConfig) -> SuiteConfig:
    return given if isinstance(given, SuiteConfig) else load_suite(given)
