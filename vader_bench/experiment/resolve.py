"""From the name of an experiment file to the runs it asks for, checked before any of them starts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from vader_bench import files
from vader_bench.config.names import HELDOUT, UNTRAINED
from vader_bench.config.schema import ExperimentConfig, RunConfig, SuiteConfig
from vader_bench.config.yamlfile import dump_yaml, raise_faults
from vader_bench.errors import ExitCode, UserError
from vader_bench.experiment.fits import component_faults, fit_faults
from vader_bench.experiment.grid import expand
from vader_bench.experiment.job import Job
from vader_bench.experiment.load import LoadedExperiment, load_experiment
from vader_bench.experiment.tuning.choice import check_tuning, chosen_at, other_weights, queries_of_tuning
from vader_bench.methods.optimizers import require_optimizer
from vader_bench.prompts.sets import load_prompts
from vader_bench.records.folder import RunFolder
from vader_bench.records.locks import FolderInUseError
from vader_bench.records.upgrade import EXPERIMENT_VERSION
from vader_bench.weights.resolve import resolve

__all__ = [
    "EXPERIMENT_NAME",
    "ResolvedExperiment",
    "claim",
    "require_devices",
    "require_weights",
    "resolve_experiment",
    "resolve_loaded",
    "scarce_prompts",
    "warnings_of",
    "weights_to_fetch",
    "write_experiment",
]

EXPERIMENT_NAME = "experiment.yaml"


@dataclass(frozen=True)
class ResolvedExperiment:
    """An experiment on a suite, resolved."""

    experiment: ExperimentConfig
    suite: SuiteConfig
    runs: list[RunConfig]
    moved: bool = False
    """Whether the suite is another than the experiment's own."""
    tuning: tuple[Path, ...] = ()
    """The tuning results that the settings come from."""
    quick: bool = False
    """Whether it is the experiment's smaller form."""

    def folder(self, results: Path) -> Path:
        """Return the folder of the experiment below the folder of all results."""
        return results / self.experiment.experiment / self.suite.suite

    def jobs(self, results: Path) -> list[Job]:
        """Return the runs with their folders."""
        return [Job(run, self.folder(results) / "runs" / run.name) for run in self.runs]


def resolve_experiment(
    path: Path,
    suite: str | None = None,
    quick: bool = False,
    seeds: int | None = None,
    *,
    with_weights: bool = True,
) -> ResolvedExperiment:
    """Return the runs that the experiment file ``path`` asks for.

    Args:
        path: the experiment's file, or the name of one that comes with the package.
        suite: name or file of a suite to use in place of the experiment's own. Settings belong to the suite
            that they were chosen on: with another one, arms keep only what the experiment compares and take
            all else from that suite's ``methods``, or from the defaults of the methods.
        quick: ask for the experiment's smaller form.
        seeds: how many seeds to use: the experiment's first ones, then the numbers that follow them.
        with_weights: refuse what lacks weights; without them a plan can be made and not run.

    Raises:
        UserError: the file or its suite has faults, an arm differs in more than the experiment compares,
            a setting is not the tuned one, weights are missing or not what their digests say, or the
            optimiser's package is missing.
    """
    loaded = load_experiment(path, quick, suite)
    if seeds is not None:
        changes = {"seeds": _seeds(loaded.config.seeds, seeds)}
        loaded = replace(loaded, config=loaded.config.model_copy(update=changes))
    return resolve_loaded(loaded, with_weights=with_weights)


def resolve_loaded(loaded: LoadedExperiment, *, with_weights: bool = True) -> ResolvedExperiment:
    """Return the runs that an experiment asks for; see ``resolve_experiment``.

    Raises:
        UserError: as ``resolve_experiment``, but for faults of the file.
    """
    experiment, suite = loaded.config, loaded.suite
    raise_faults(str(loaded.path), component_faults(suite, experiment.needed_rewards))
    runs = expand(loaded)
    prompts = {reward: suite.prompts_for(reward) for reward in experiment.rewards}
    raise_faults(str(loaded.path), fit_faults(suite, loaded.arms, prompts, experiment.evaluation))
    tuning = tuple(loaded.path.parent / name for name in experiment.tuning)
    if tuning:
        check_tuning(experiment, tuning, runs)
    if with_weights:
        require_weights(suite, experiment.needed_rewards)
        for name in {run.suite.memory.optimizer for run in runs}:
            require_optimizer(name)
    return ResolvedExperiment(experiment, suite, runs, loaded.moved, tuning, loaded.quick)


def require_devices(runs: Sequence[RunConfig], devices: int) -> None:
    """Refuse more devices for one of ``runs`` than its method has work for.

    Raises:
        UserError: the batches, rounds or updates of an arm are too small.
    """
    trained = [(run.settings.most_devices, run.label) for run in runs if run.method not in UNTRAINED]
    most, arm = min(trained, default=(devices, ""))
    if devices > most:
        wrong = f"leaves devices without work: batches, rounds or updates of {arm} have {most} videos"
        remedy = f"give --devices {most} at most, or the arm larger batches"
        raise UserError(f"--devices {devices}", wrong, remedy)


def scarce_prompts(resolved: ResolvedExperiment) -> dict[str, str]:
    """Return by prompt set and split how many prompts looks take where there are fewer than are asked for."""
    asked = resolved.experiment.evaluation
    most = dict.fromkeys(asked.splits, asked.prompts)
    for split in asked.final_splits:
        most[split] = max(most.get(split, 0), asked.final_prompts)
    return {
        f"{split} of {name}": f"all {there} prompts that it has, where {wanted} are asked for"
        for name in sorted({resolved.suite.prompts_for(reward) for reward in resolved.experiment.rewards})
        for split, wanted in most.items()
        if (there := len(load_prompts(name).split(split))) < wanted
    }


def warnings_of(resolved: ResolvedExperiment) -> list[str]:
    """Return what a user should know before runs start, each in a line.

    Raises:
        UserError: see ``other_weights``.
    """
    lines = (_other_tuning(resolved), _unequal_tuning(resolved), _videos_in_vain(resolved))
    return [line for line in lines if line]


def _videos_in_vain(resolved: ResolvedExperiment) -> str:
    """Return that looks differ in their prompts, so that some are judged in vain; empty if they do not."""
    asked, rewards = resolved.experiment.evaluation, resolved.experiment.rewards
    if asked.every >= resolved.experiment.budget.reward_queries:
        return ""  # there is no look in between
    for name in sorted({resolved.suite.prompts_for(reward) for reward in rewards}):
        there = len(load_prompts(name).split(HELDOUT))
        along, ends = min(asked.prompts, there), min(asked.final_prompts, there)
        if along != ends:
            return (
                f"held-out numbers are of the first {min(along, ends)} prompts, which every look judges; "
                f"{along} are judged along the run and {ends} at its ends: give prompts and final_prompts "
                "the same number"
            )
    return ""


def _other_tuning(resolved: ResolvedExperiment) -> str:
    """Return where suite, weights or budget are not those of the tuning; empty if they are.

    The smaller form of an experiment spends less, and that is meant.
    """
    asked, told = resolved.experiment, []
    for name, path in zip(asked.tuning, resolved.tuning, strict=True):
        if others := other_weights(path, resolved.suite, asked.rewards):
            told.append(f"{name} was chosen with other weights of {', '.join(others)}")
        (suite, budget), spent = chosen_at(path), asked.budget.reward_queries
        if suite != resolved.suite.suite:
            told.append(f"{name} was chosen on suite {suite}")
        if budget not in (None, spent) and not resolved.quick:
            told.append(f"{name} was chosen with {budget} queries a run, and these spend {spent}")
    return f"{'; '.join(told)}; tune again to have settings for these" if told else ""


def _unequal_tuning(resolved: ResolvedExperiment) -> str:
    """Return where one tuning had more queries for each method than another; empty where all had the same."""
    told = []
    for reward in resolved.experiment.rewards:
        chosen = zip(resolved.experiment.tuning, resolved.tuning, strict=True)
        spent = {name: count for name, path in chosen if (count := queries_of_tuning(path, reward))}
        if len(set(spent.values())) > 1:
            each = ", ".join(f"{count} queries in {name}" for name, count in spent.items())
            told.append(f"on {reward} each method had {each}")
    return f"methods were not tuned with the same effort: {'; '.join(told)}" if told else ""


def _seeds(given: Sequence[int], count: int) -> list[int]:
    """Return ``count`` seeds: those that are ``given`` first, then the numbers after the largest of them."""
    return [*given, *range(max(given) + 1, max(given) + 1 + count)][:count]


def require_weights(suite: SuiteConfig, rewards: Sequence[str]) -> None:
    """Refuse a suite of which weights are missing or not what their digests say.

    Raises:
        UserError: see ``weights.resolve``.
    """
    for name in suite.weights(*rewards):
        _require(name, suite)


def weights_to_fetch(suite: SuiteConfig, rewards: Sequence[str]) -> list[UserError]:
    """Return what ``require_weights`` would say of each name on the hub that is not in the local cache.

    Raises:
        UserError: other weights are missing or not what their digests say: no command fetches those.
    """
    found = []
    for name in suite.weights(*rewards):
        try:
            _require(name, suite)
        except UserError as error:
            if error.exit_code != ExitCode.MISSING:
                raise
            found.append(error)
    return found


def _require(name: str, suite: SuiteConfig) -> None:
    try:
        resolve(name)
    except UserError as error:
        raise suite.reworded(error) from error


def claim(jobs: Sequence[Job]) -> None:
    """Take the folders of all runs for a moment, so that none is refused after others have run for long.

    A run that another launcher has is left alone.

    Raises:
        UserError: a folder holds something else, or the disk refuses.
    """
    for job in jobs:
        with suppress(FolderInUseError):
            RunFolder(job.folder).open(job.config).close()


def write_experiment(experiment: ResolvedExperiment, folder: Path) -> None:
    """Write the experiment, resolved, to ``experiment.yaml`` in ``folder``, for the report."""
    # by its name: the path of its file names folders of the user
    changes = {"quick": {}, "suite": experiment.suite.suite}
    asked = experiment.experiment.model_copy(update=changes).model_dump(mode="json")
    resolved = {"version": EXPERIMENT_VERSION, **asked}
    files.write_text(folder / EXPERIMENT_NAME, dump_yaml(resolved))
