"""The arms of an experiment with their settings, each read once as the config of its method."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from vader_bench.config.names import ADAPTER, BASE
from vader_bench.config.schema import METHOD, ArmEntry, ExperimentConfig, SuiteConfig
from vader_bench.config.settings import AdapterSettings, Settings
from vader_bench.config.yamlfile import AtFaultError, Fault, nearest, parse, raise_faults
from vader_bench.errors import UserError
from vader_bench.experiment import registered
from vader_bench.weights.adapter_files import adapter_digest

__all__ = ["ArmConfig", "SettingsReader", "read_arms", "read_settings", "unknown_rewards"]


@dataclass(frozen=True)
class ArmConfig:
    """One of the things that an experiment compares."""

    name: str
    method: str
    """The registered method, or ``adapter``."""
    settings: Mapping[str, Settings]
    """The method's own config, by reward: its defaults give way to the suite's, these to the
    experiment's, these to its overrides for the reward."""
    suite: SuiteConfig
    """The suite with what the arm changes in it."""


class SettingsReader:
    """Reads tables of settings; the same table, as in a file and in its ``quick`` form, is read once."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], tuple[Settings | None, list[Fault]]] = {}

    def read(self, method: str, table: Mapping[str, Any]) -> tuple[Settings | None, list[Fault]]:
        """Return ``table`` as the config of the registered ``method``, or ``None`` and every fault."""
        key = method, json.dumps(table, default=str)
        if key not in self._read:
            self._read[key] = parse(registered.method_configs()[method], table)
        return self._read[key]


def read_arms(
    experiment: ExperimentConfig, suite: SuiteConfig, reader: SettingsReader
) -> tuple[list[ArmConfig], list[Fault]]:
    """Return the arms of ``experiment`` on ``suite``, and what is wrong with its rewards and arms.

    Args:
        experiment: all of it, or what ``parse_partly`` leaves of it; an arm that is at fault is left out.
        suite: the suite that it runs on.
        reader: remembers what was read.
    """
    arms, asked = [], _rewards(experiment)
    faults = unknown_rewards("rewards", asked, suite)
    known = [name for name in asked if name in suite.rewards]
    for name, entry in _entries(experiment).items():
        with suppress(AtFaultError):
            arm, found = _read_arm(name, entry, known, suite, reader)
            arms.append(arm)
            faults += found
    return [arm for arm in arms if arm is not None], faults


def read_settings(
    method: str, table: Mapping[str, Any], reward: str, suite: SuiteConfig | None = None
) -> Settings:
    """Return ``table`` as the config of ``method``, filled in from ``suite``.

    Raises:
        UserError: unknown method, or settings that do not fit it, one fault a line.
    """
    configs, given = registered.method_configs(), f"settings of {method} for {reward}"
    if method not in configs:
        raise_faults(given, [Fault("", "are of no known method", nearest(method, configs))])
    known = suite.methods.get(method, {}) if suite is not None else {}
    settings, faults = parse(configs[method], {**known, **table})
    raise_faults(given, faults)
    assert settings is not None
    return settings


def unknown_rewards(key: str, names: Sequence[str], suite: SuiteConfig) -> list[Fault]:
    """Return a fault of the ``key`` for each of ``names`` that is no reward of ``suite``."""
    return [
        Fault(key, f"names {name!r}, which is no reward of suite {suite.suite}", nearest(name, suite.rewards))
        for name in names
        if name not in suite.rewards
    ]


def _rewards(experiment: ExperimentConfig) -> list[str]:
    with suppress(AtFaultError):
        return experiment.rewards
    return []


def _entries(experiment: ExperimentConfig) -> Mapping[str, ArmEntry]:
    with suppress(AtFaultError):
        return experiment.methods
    return {}


def _read_arm(
    name: str, entry: ArmEntry, rewards: Sequence[str], suite: SuiteConfig, reader: SettingsReader
) -> tuple[ArmConfig | None, list[Fault]]:
    """Return the arm ``name`` for ``rewards`` and for those that it has overrides for, and its faults."""
    key, method, configs = f"methods.{name}", entry.method or name, registered.method_configs()
    if name == BASE:
        return None, [Fault(key, "is not to be listed", "delete it: the base model is always among the arms")]
    if entry.adapter is not None:
        return _read_adapter(name, entry, rewards, suite)
    if method not in configs:
        place = key if entry.method is None else f"{key}.{METHOD}"
        wrong = "is not a known method" if entry.method is None else f"is {method!r}, which is no method"
        return None, [Fault(place, wrong, nearest(method, configs))]
    try:
        configs[method]
    except UserError as error:
        told = suite.reworded(error)
        return None, [Fault(f"{key}.{METHOD}", f"cannot be used: {told.given} {told.wrong}", told.remedy)]
    defaults = suite.methods.get(method, {})
    settings, faults = {}, list(_override_faults(key, entry, suite))
    for reward in dict.fromkeys([*rewards, *entry.by_reward]):
        given = entry.settings(reward)
        found, wrongs = reader.read(method, defaults | given)
        if found is not None:
            settings[reward] = found
        told_with_suite = defaults.keys() - given.keys()
        faults += [
            _placed(fault, key, reward, entry)
            for fault in wrongs
            if fault.key.split(".")[0] not in told_with_suite
        ]
    return ArmConfig(name, method, settings, entry.suite.of(suite)), faults


def _read_adapter(
    name: str, entry: ArmEntry, rewards: Sequence[str], suite: SuiteConfig
) -> tuple[ArmConfig | None, list[Fault]]:
    """Return an arm of adapters that are not trained here, and its faults."""
    key = f"methods.{name}"
    if entry.method is not None or entry.by_reward:
        beside = METHOD if entry.method is not None else "by_reward"
        wrong = f"stands beside `{ADAPTER}`, and nothing is trained there"
        return None, [Fault(f"{key}.{beside}", wrong, f"delete it, or `{ADAPTER}`")]
    settings, faults = parse(AdapterSettings, {**(entry.model_extra or {}), ADAPTER: entry.adapter})
    if settings is None:
        return None, [fault._replace(key=f"{key}.{fault.key}") for fault in faults]
    try:
        found = adapter_digest(settings.adapter)
    except UserError as error:
        told = suite.reworded(error)
        return None, [Fault(f"{key}.{ADAPTER}", f"cannot be used: {told.given} {told.wrong}", told.remedy)]
    if settings.sha256 not in {"", found}:
        return None, [Fault(f"{key}.sha256", f"is not that of the file, {found}", "correct it, or the file")]
    settings = settings.model_copy(update={"sha256": found})
    return ArmConfig(name, ADAPTER, dict.fromkeys(rewards, settings), entry.suite.of(suite)), []


def _override_faults(key: str, entry: ArmEntry, suite: SuiteConfig) -> Iterator[Fault]:
    for reward in entry.by_reward:
        if reward not in suite.rewards:
            wrong = f"is no reward of suite {suite.suite}"
            yield Fault(f"{key}.by_reward.{reward}", wrong, nearest(reward, suite.rewards))


def _placed(fault: Fault, key: str, reward: str, entry: ArmEntry) -> Fault:
    """Return ``fault`` of an arm's settings for ``reward`` with the key that it has in the file."""
    own = fault.key.split(".")[0] in entry.by_reward.get(reward, {})
    place = f"{key}.by_reward.{reward}" if own else key
    return fault._replace(key=f"{place}.{fault.key}" if fault.key else place)
