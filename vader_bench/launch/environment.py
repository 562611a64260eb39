"""The surroundings of a worker: the same on a laptop, in a cluster job and in a container."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from vader_bench.records.cores import usable_cores

__all__ = ["device_in_worker", "take_surroundings", "worker_environment", "worker_surroundings"]

_CARDS = "CUDA_VISIBLE_DEVICES"
_JOB_NAMES = {
    "CROSS_RANK", "CROSS_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE",
    "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "RANK", "ROLE_NAME", "ROLE_RANK", "ROLE_WORLD_SIZE",
    "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NPROCS", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE",
    "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_TASKS_PER_NODE", "WORLD_SIZE",
}  # fmt: skip
_JOB_PREFIXES = (
    "ACCELERATE_", "FSDP_", "HYDRA_", "I_MPI_", "MEGATRON_LM_", "MPI_", "MV2_", "OMPI_",
    "PARALLELISM_CONFIG_", "PMIX_", "PMI_", "TORCHELASTIC_",
)  # fmt: skip
"""By these a process takes itself for one of several that train together. A worker trains alone: it would
wait for the others for ever, or train in another precision than the experiment says."""
_NO_NETWORK = ("NCCL_P2P_DISABLE", "NCCL_IB_DISABLE")
"""accelerate refuses machines with several consumer cards without these; a worker sees one."""


def device_in_worker(device: str) -> str:
    """Return what ``device`` of this machine is called in its worker, which sees its own cards alone.

    That of several cards is called by the first of them.
    """
    return "cuda:0" if device.startswith("cuda") else device


def worker_environment(surroundings: Mapping[str, str], device: str, workers: int) -> dict[str, str]:
    """Return the environment of a worker.

    Args:
        surroundings: the environment of this process.
        device: ``"cpu"``, or ``"cuda:<n>"``: the n-th card that this process sees, from 0 on. Several cards
            of one worker are ``"cuda:<n>,<m>"``.
        workers: how many work at a time; they share the cores.
    """
    kept = {
        name: value
        for name, value in surroundings.items()
        if name not in _JOB_NAMES and not name.startswith(_JOB_PREFIXES)
    }
    if not device.startswith("cuda"):
        return kept | {"OMP_NUM_THREADS": "1"}
    numbers = [int(number) for number in (device.partition(":")[2] or "0").split(",")]
    seen = [name.strip() for name in kept.get(_CARDS, "").split(",") if name.strip()]
    kept[_CARDS] = ",".join(seen[number] if seen else str(number) for number in numbers)
    kept.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // (workers * len(numbers)))))
    for name in _NO_NETWORK if len(numbers) == 1 else ():  # several talk to each other
        kept.setdefault(name, "1")
    return kept


@contextmanager
def worker_surroundings(device: str, workers: int) -> Iterator[None]:
    """Let processes that start inside have the environment of a worker; see ``worker_environment``.

    It must be theirs from the start: libraries read it when they are imported, and a new process imports what
    its work needs before it does any.
    """
    before = dict(os.environ)
    wanted = worker_environment(before, device, workers)
    try:
        _replace(before, wanted)
        yield
    finally:
        _replace(wanted, before)


def take_surroundings(wanted: Mapping[str, str]) -> None:
    """Give this process the environment ``wanted``: one that is forked has that of where it comes from."""
    _replace(dict(os.environ), wanted)


def _replace(now: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Change what differs and nothing else: other threads read the environment meanwhile."""
    for name in now.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in wanted.items() if now.get(name) != value})
