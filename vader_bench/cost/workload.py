"""How long experiments will take on this machine, and in which order to run them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from vader_bench.config.names import BASE, HELDOUT, UNTRAINED
from vader_bench.config.schema import RunConfig, SuiteConfig
from vader_bench.cost.looks import flops_of_base, flops_of_looks, flops_of_sampling
from vader_bench.cost.skeletons import Skeletons
from vader_bench.cost.whatif import Changes, Planned, plan_arms
from vader_bench.experiment.resolve import ResolvedExperiment
from vader_bench.prompts.sets import load_prompts
from vader_bench.records.folder import RunFolder
from vader_bench.training.identity import training_depends_on, training_key
from vader_bench.training.model import load_suite_model

__all__ = ["Step", "Work", "in_order", "measured_rate", "work_of"]

_TIMED = 16
"""Videos that are sampled to find this machine's rate."""


@dataclass(frozen=True)
class Work:
    """What an experiment has left to do."""

    name: str
    path: Path
    """Of its file."""
    runs: int
    finished: int
    trainings: Mapping[str, float]
    """FLOPs of the trainings of runs that are not trained, by their keys."""
    measuring: float
    """FLOPs of all that is measured of runs that are not finished, taken or not."""


class Step(NamedTuple):
    """An experiment in its place."""

    work: Work
    flops: float
    """Without trainings that an experiment before it does, or that are done."""
    trained: int
    """Trainings of its own."""


def work_of(path: Path, resolved: ResolvedExperiment, results: Path, device: str) -> Work:
    """Return what is left to do of the experiment in the file ``path``.

    Trainings and looks cost what ``plan`` says. Looks before training are the base model's, and counted once.

    Args:
        path: the experiment's file.
        resolved: its runs.
        results: the folder of all results.
        device: where runs compute.

    Raises:
        UserError: weights are missing, or a family cannot be estimated.
    """
    planned = {(one.run.label, one.run.reward): one for one in plan_arms(resolved.runs, Changes())}
    like = {one.run.reward: one for one in planned.values()}
    left = [job for job in resolved.jobs(results) if not RunFolder(job.folder).finished]
    trainings = {}
    for job in left:
        if job.config.method not in UNTRAINED and not RunFolder(job.folder).trained:
            key = training_key(training_depends_on(job.config, device))
            trainings[key] = float(planned[job.config.label, job.config.reward].estimate.flops)
    measuring = sum(
        _measuring(job.config, planned.get((job.config.label, job.config.reward), like[job.config.reward]))
        for job in left
    )
    return Work(
        resolved.experiment.experiment,
        path,
        len(resolved.runs),
        len(resolved.runs) - len(left),
        trainings,
        measuring,
    )


def in_order(works: Iterable[Work], done: Collection[str]) -> list[Step]:
    """Return experiments, the cheapest first; a training that several share belongs to the first of them.

    Args:
        works: the experiments.
        done: keys of trainings that are there already.
    """
    waiting, there, steps = list(works), set(done), list[Step]()
    while waiting:
        found = [_step(work, there) for work in waiting]
        step = min(found, key=lambda one: one.flops)
        steps.append(step)
        there |= set(step.work.trainings)
        waiting.remove(step.work)
    return steps


def measured_rate(suite: SuiteConfig, device: str) -> float:
    """Return the FLOP/s at which one worker samples videos of ``suite`` here, measured in some seconds.

    Raises:
        UserError: weights are missing or faulty.
    """
    model = load_suite_model(suite, device)
    prompts = load_prompts(next(iter(suite.prompts.values()))).splits[HELDOUT][:_TIMED]
    model.sample(prompts[:1]).cpu()  # what is done once is not timed
    start = perf_counter()
    model.sample(prompts).cpu()  # waits for what a GPU still has to do
    seconds = perf_counter() - start
    return len(prompts) * flops_of_sampling(suite, Skeletons(suite, [], 1)) / seconds


def _step(work: Work, there: Collection[str]) -> Step:
    own = {key: flops for key, flops in work.trainings.items() if key not in there}
    return Step(work, sum(own.values()) + work.measuring, len(own))


def _measuring(run: RunConfig, like: Planned) -> int:
    """Return the FLOPs of all that is measured of ``run`` beside its training; ``like`` is on its reward."""
    networks = like.networks.of(like.run)
    return flops_of_base(like.run, networks) if run.method == BASE else flops_of_looks(run, networks)
