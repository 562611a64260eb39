"""What makes a comparison fair: its runs differ in what is compared, and in nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vader_bench.config.names import UNTRAINED
from vader_bench.config.schema import METHOD, RunConfig
from vader_bench.config.yamlfile import Fault, raise_faults

__all__ = ["SHARED_SETTINGS", "check_fair"]

SHARED_SETTINGS = ("lora_rank",)
"""Settings in which the methods of an experiment may not differ: what is trained is the same for all."""


def check_fair(runs: Sequence[RunConfig], compares: Sequence[str] = (METHOD,)) -> None:
    """Refuse runs that differ in anything but what is compared, the reward and the seed.

    All runs must have the same experiment, suite (backbone, sampler), budget and evaluation; all runs on
    one reward the same prompts; all arms the same seeds on each reward, the same method and the same
    settings. What ``compares`` names may differ: ``method`` lets arms have other methods with their own
    settings but for ``SHARED_SETTINGS``; every other word is a setting or a key of the suite. The base
    model and adapters from files spend nothing and have one seed.

    Raises:
        UserError: every difference, one a line; or nothing differs in what is compared.
    """
    raise_faults("not a fair comparison", _unfair(runs, compares))


def _unfair(runs: Sequence[RunConfig], compares: Sequence[str]) -> Iterator[Fault]:
    only = " and ".join(compares)
    trained = [run for run in runs if run.method not in UNTRAINED]
    for field in ("experiment", "evaluation"):
        yield from _differences(runs, field, [getattr(run, field) for run in runs], only)
    suites = [_without(run.suite.model_dump(), compares) for run in runs]
    yield from _differences(runs, "suite", suites, only)
    yield from _differences(trained, "budget", [run.reward_queries for run in trained], only)
    for name in (name for name in SHARED_SETTINGS if name not in compares):
        yield from _differences(trained, name, [getattr(run.settings, name, None) for run in trained], only)
    if METHOD not in compares:
        yield from _differences(trained, METHOD, [run.method for run in trained], only)
    yield from _idle(trained, compares)
    for reward in dict.fromkeys(run.reward for run in runs):
        judged = [run for run in runs if run.reward == reward]
        yield from _differences(judged, "prompts", [run.prompts for run in judged], only)
        yield from _arm_differences([run for run in judged if run.method not in UNTRAINED], compares)
    for run in runs:
        if run.method in UNTRAINED and run.reward_queries:
            yield Fault(run.name, f"has a budget of {run.reward_queries}", "what is not trained has none")


def _without(table: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in keys}


def _idle(trained: Sequence[RunConfig], compares: Sequence[str]) -> Iterator[Fault]:
    """Yield a fault for everything that is said to be compared and is the same, or is nowhere."""
    if len({run.label for run in trained}) < 2:
        return  # one arm, against the base model
    for name in compares:
        values = [run.method if name == METHOD else _value(run, name) for run in trained]
        if all(value == values[0] for value in values):
            remedy = "name what differs between the arms, or change the arms"
            yield Fault("compares", f"names {name!r}, in which no two arms differ", remedy)


def _value(run: RunConfig, name: str) -> Any:
    """Return the setting or the key of the suite that is called ``name``."""
    return getattr(run.settings if name in type(run.settings).model_fields else run.suite, name, None)


def _arm_differences(judged: Sequence[RunConfig], compares: Sequence[str]) -> Iterator[Fault]:
    """Yield what differs between arms, or between seeds of one, among the runs on one reward."""
    arms: dict[str, list[RunConfig]] = {}
    for run in judged:
        arms.setdefault(run.label, []).append(run)
    leads, only = [arm[0] for arm in arms.values()], " and ".join(compares)
    seeds = [sorted(run.seed for run in arm) for arm in arms.values()]
    yield from _differences(leads, "seeds", seeds, only)
    for method in dict.fromkeys(run.method for run in leads):
        alike = [run for run in leads if run.method == method]
        yield from _differences(
            alike, "settings", [_without(dict(run.settings), compares) for run in alike], only
        )
    for arm in arms.values():
        yield from _differences(arm, "settings", [run.settings for run in arm], only)
        yield from _differences(arm, "suite", [run.suite for run in arm], only)


def _differences(runs: Sequence[RunConfig], what: str, values: Sequence[Any], only: str) -> Iterator[Fault]:
    """Yield a fault for the first run whose value is not that of the first run."""
    for run, value in zip(runs, values, strict=True):
        if value != values[0]:
            wrong = f"differs from {runs[0].name} in {what}"
            yield Fault(run.name, wrong, f"give all arms the same {what}; only {only} may differ")
            return
