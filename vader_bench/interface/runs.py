"""One run of an experiment, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vader_bench.config.yamlfile import nearest
from vader_bench.errors import UserError
from vader_bench.experiment.job import Job
from vader_bench.experiment.load import LoadedExperiment
from vader_bench.experiment.resolve import ResolvedExperiment, resolve_loaded, write_experiment
from vader_bench.records.record import Record
from vader_bench.training.progress import Progress
from vader_bench.training.session import execute

__all__ = ["run_arm"]


def run_arm(
    experiment: LoadedExperiment,
    arm: str,
    reward: str,
    seed: int,
    *,
    out: str | Path = "results",
    device: str = "cpu",
    report: Callable[[Progress], None] = lambda _: None,
) -> Record:
    """Do one run of an experiment here, or what is left of it, and return its record.

    The run is the one that ``vader-bench run`` makes: in the same folder, with the same numbers. Interrupted
    and called again, it goes on. Nothing is sent to MLflow; ``vader-bench sync`` does that afterwards.

    Args:
        experiment: as ``load_experiment`` returns it.
        arm: one of its arms, or ``base`` for the untrained model.
        reward: one of its rewards.
        seed: one of its seeds.
        out: folder of all results.
        device: where the models compute: ``"cpu"``, ``"cuda:0"``.
        report: called with how far the run is.

    Raises:
        UserError: no such run, weights are missing, or the run fails.
    """
    resolved = resolve_loaded(experiment)
    job = _job(resolved, Path(out), (arm, reward, seed))
    write_experiment(resolved, resolved.folder(Path(out)))
    return execute(job.config, job.folder, device, report, command="vader_bench.run_arm")


def _job(resolved: ResolvedExperiment, out: Path, wanted: tuple[str, str, int]) -> Job:
    given = f"experiment {resolved.experiment.experiment}"
    jobs = {(job.config.label, job.config.reward, job.config.seed): job for job in resolved.jobs(out)}
    if wanted in jobs:
        return jobs[wanted]
    for key, (name, value) in enumerate(zip(("arm", "reward", "seed"), wanted, strict=True)):
        known = {run[key] for run in jobs}
        if value not in known:
            raise UserError(
                f"{given}: {name} {value!r}", "is not in it", nearest(str(value), map(str, known))
            )
    seeds = sorted(seed for arm, reward, seed in jobs if (arm, reward) == wanted[:2])
    remedy = f"take seed {seeds[0]}"
    raise UserError(f"{given}: {wanted[0]} on {wanted[1]}", f"has no run with seed {wanted[2]}", remedy)
