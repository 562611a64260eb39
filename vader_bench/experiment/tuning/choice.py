"""What a tuning leaves: a table of all trials and the choice, which experiments are held to."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from vader_bench import files
from vader_bench.config.names import UNTRAINED
from vader_bench.config.paths import is_file
from vader_bench.config.schema import ExperimentConfig, RunConfig, SuiteConfig
from vader_bench.config.yamlfile import Fault, dump_yaml, parse, raise_faults, read_mapping
from vader_bench.errors import ExitCode, UserError
from vader_bench.experiment.tuning.config import RungConfig, TuneConfig
from vader_bench.registry import own_code
from vader_bench.weights.resolve import digest

if TYPE_CHECKING:
    from vader_bench.experiment.tuning.halving import Judged, Tuned  # it takes statistics, `check` does not

__all__ = [
    "CHOICE_NAME",
    "TRIALS_NAME",
    "check_tuning",
    "chosen_at",
    "findings",
    "other_weights",
    "queries_of_tuning",
    "write_choice",
]

CHOICE_NAME = "choice.yaml"
TRIALS_NAME = "trials.csv"


class _Effort(BaseModel):
    """What each method had on a reward."""

    queries_per_method: int


class _Choice(BaseModel):
    """What ``choice.yaml`` says, as far as it is read."""

    version: Literal[1, 2]
    suite: str
    choice: dict[str, dict[str, dict[str, Any]]]
    """The chosen settings by reward and method."""
    shared: dict[str, dict[str, Any]] = {}
    """Settings by method that all of its trials had; version 1 does not have them."""
    rungs: list[RungConfig] = []
    """Version 1 does not have them."""
    effort: dict[str, _Effort] = {}
    """By reward; version 1 does not have it."""
    weights: dict[str, str] = {}
    """SHA-256 of the weights of backbone and rewards by name; version 1 does not have them."""


def write_choice(config: TuneConfig, suite: SuiteConfig, tuned: Tuned, folder: Path) -> Path:
    """Write ``trials.csv`` and ``choice.yaml`` to ``folder`` and return the path of the choice.

    Raises:
        UserError: the disk refuses.
    """
    table = _trials_csv(tuned)
    files.write_text(folder / TRIALS_NAME, table)
    searches = next(iter(config.methods.values()))
    rungs = [rung.model_dump(exclude_none=True) for rung in config.ladder]
    choice: dict[str, Any] = {
        "version": 2,
        "suite": suite.suite,
        "seed": config.seed,
        "rungs": rungs,
        "effort": {reward: _effort(config, searches.count, tuned, reward) for reward in config.rewards},
        "weights": _tuned_on(config, suite, tuned),
        "trials_sha256": files.sha256_text(table),
        "shared": {name: search.settings for name, search in config.methods.items() if search.settings},
        "choice": _nested({arm: one.trial.candidate.varied for arm, one in tuned.chosen.items()}),
        "extended": tuned.extended,
        "open": _nested(tuned.left_open),
    }
    choice["sha256"] = _digest(choice)
    files.write_text(folder / CHOICE_NAME, dump_yaml(choice))
    return folder / CHOICE_NAME


def findings(tuned: Tuned) -> Iterator[str]:
    """Yield what was chosen, what it came to, and what is open about it, a line each."""
    for reward, reasons in tuned.extended.items():
        yield f"{reward}: more settings of every method were tried, because of {'; '.join(reasons)}"
    for (reward, method), one in tuned.chosen.items():
        found = one.outcome
        setting = ", ".join(f"{name} {value}" for name, value in one.trial.candidate.varied.items())
        yield (
            f"{reward}, {method}: {setting}; mean over looks {found.score:.4g}, "
            f"end {found.end:.4g}, base model {found.base:.4g}"
        )
        for reason in tuned.left_open.get((reward, method), ()):
            yield f"  open: {reason}"


def check_tuning(experiment: ExperimentConfig, paths: Sequence[Path], runs: Sequence[RunConfig]) -> None:
    """Refuse an experiment whose settings are not those of the tuning results that it names.

    Args:
        experiment: names the results in ``tuning``.
        paths: their ``choice.yaml``; of several that tuned a method on a reward the first counts.
        runs: the experiment's runs, resolved.

    Raises:
        UserError: a result is missing or was changed by hand, or every setting that differs, one a line.
    """
    choices = [_load_choice(path) for path in paths]
    faults = []
    arms = {(run.label, run.reward): run for run in reversed(runs) if run.method not in UNTRAINED}
    for (arm, reward), run in reversed(arms.items()):
        names = (run.label,) if own_code(run.method) else (run.label, run.method)  # a search may have a name
        tuned = [(one, name) for name in names for one in choices if name in one.choice.get(reward, {})]
        if not tuned:
            wrong = f"on {reward}: {names[-1]} was not tuned in {' or '.join(map(str, paths))}"
            faults.append(Fault(f"methods.{arm}", wrong, "tune it, or take `tuning` out"))
            continue
        asked, (found, method) = run.settings.model_dump(mode="json"), tuned[0]
        chosen = found.choice[reward][method]
        for name, value in (found.shared.get(method, {}) | chosen).items():
            if name not in experiment.compares and asked.get(name) != value:
                key = f"methods.{arm}.by_reward.{reward}.{name}"
                how = "chosen" if name in chosen else "tuned with"
                wrong = f"is {asked.get(name)!r}, and {value!r} was {how}"
                faults.append(Fault(key, wrong, f"write {value!r}"))
    raise_faults(f"experiment {experiment.experiment}", faults)


def chosen_at(path: Path) -> tuple[str, int | None]:
    """Return on which suite and with how many reward queries a run the last choice of a tuning was made.

    The queries are ``None`` where it does not say so, as version 1.

    Args:
        path: that result's ``choice.yaml``.

    Raises:
        UserError: the result is missing or was changed by hand.
    """
    found = _load_choice(path)
    return found.suite, found.rungs[-1].reward_queries if found.rungs else None


def queries_of_tuning(path: Path, reward: str) -> int | None:
    """Return how many reward queries each method was tuned with on ``reward``; ``None`` where it is not said.

    Args:
        path: that result's ``choice.yaml``.
        reward: a reward of the experiment.

    Raises:
        UserError: the result is missing or was changed by hand.
    """
    effort = _load_choice(path).effort.get(reward)
    return effort.queries_per_method if effort else None


def other_weights(path: Path, suite: SuiteConfig, rewards: Sequence[str]) -> list[str]:
    """Return which weights of backbone and ``rewards`` are others than a tuning result was made with.

    Those that are not here yet are left out, and so are all where the result does not name its weights, as
    those of version 1.

    Args:
        path: that result's ``choice.yaml``.
        suite: what runs.
        rewards: what is trained on; those that the result has not tuned do not count.

    Raises:
        UserError: the result is missing or was changed by hand, or weights are not what their digests say.
    """
    choice = _load_choice(path)
    tuned, found = choice.weights, []
    for name in _weights(suite, [one for one in rewards if one in choice.choice]) if tuned else ():
        written = suite.written(name)
        try:
            now = digest(name)
        except UserError as error:
            if error.exit_code != ExitCode.MISSING:
                raise
            continue  # what is not fetched yet cannot be compared; `check` says what is missing
        if tuned.get(written) != now:
            found.append(written)
    return found


def _weights(suite: SuiteConfig, rewards: Sequence[str]) -> list[str]:
    """Return the names of the weights that decide what is trained: those of golds decide nothing."""
    return suite.model_copy(update={"gold": {}, "prompt_share": None}).weights(*rewards)


def _tuned_on(config: TuneConfig, suite: SuiteConfig, tuned: Tuned) -> dict[str, str]:
    """Return the SHA-256 of the weights that decided what was trained, by the names that files write."""
    inputs = {name: value for one in tuned.judged for name, value in one.outcome.inputs.items()}
    names = [suite.written(name) for name in _weights(suite, config.rewards)]
    return {name: inputs[key] for name in names if (key := f"weights/{name}") in inputs}


def _effort(config: TuneConfig, settings: int, tuned: Tuned, reward: str) -> dict[str, int]:
    """Return what each method had on ``reward``, the same for all."""
    extra = len(next(iter(config.methods.values())).extend) if reward in tuned.extended else 0
    queries = config.queries(settings) + (config.queries(extra) if extra else 0)
    return {"settings_per_method": settings + extra, "queries_per_method": queries}


def _trials_csv(tuned: Tuned) -> str:
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [
            "suite", "reward", "method", "trial", "settings", "rung", "queries", "seeds", "mean_over_looks",
            "end", "base", "truth_gain", "prompt_share_gain", "seeds_below_base", "device_seconds", "went_on",
            "chosen",
        ]
    )  # fmt: skip
    chosen = set(map(id, tuned.chosen.values()))
    for one in tuned.judged:
        writer.writerow([*_row(one), "yes" if one.went_on else "", "yes" if id(one) in chosen else ""])
    return stream.getvalue()


def _row(one: Judged) -> list[Any]:
    trial, found, (reward, method) = one.trial, one.outcome, one.trial.candidate.arm
    numbers = [found.score, found.end, found.base, found.truth_gain, found.share_gain]
    return [
        trial.runs[0].suite.suite,
        reward,
        method,
        trial.candidate.number,
        json.dumps(trial.candidate.varied),
        trial.rung,
        trial.queries,
        " ".join(map(str, trial.seeds)),
        *("" if value is None else f"{value:.6g}" for value in numbers),
        " ".join(map(str, found.below)),
        f"{found.device_seconds:.6g}",
    ]


def _nested(by_arm: Mapping[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for (reward, method), value in by_arm.items():
        nested.setdefault(reward, {})[method] = value
    return nested


def _digest(choice: Mapping[str, Any]) -> str:
    return files.sha256_text(files.canonical_json({k: v for k, v in choice.items() if k != "sha256"}))


def _load_choice(path: Path) -> _Choice:
    if not is_file(path):
        remedy = "run `vader-bench tune experiments/tune.yaml`, or take `tuning` out of the experiment"
        raise UserError(f"tuning {path}", "does not exist", remedy, exit_code=ExitCode.MISSING)
    data, faults = read_mapping(path)
    raise_faults(str(path), faults)
    found, _ = parse(_Choice, data)
    if found is None or data.get("sha256") != _digest(data):
        wrong = "is not as the tuning wrote it"
        raise UserError(f"tuning {path}", wrong, "restore the file, or tune again")
    return found
