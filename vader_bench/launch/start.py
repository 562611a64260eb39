"""How worker processes start."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess

from vader_bench.errors import UserError

__all__ = ["PRELOADED", "start", "start_context"]

PRELOADED = (
    "torch",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.unets.unet_3d_condition",
    "diffusers.schedulers.scheduling_ddim",
    "peft",
    "transformers.models.clip.modeling_clip",
    "vader_bench.training.session",
)
"""What a run imports: some ten seconds of a core, and most of a worker's memory before it holds a model."""
_BEFORE, _AFTER = "vader_bench.launch.importing", "vader_bench.launch.imported"
"""What keeps Python from looking for garbage among all that, see there."""


def start_context(devices: Sequence[str]) -> ForkServerContext | SpawnContext:
    """Return the way in which the workers of ``devices`` start, all of them as new processes.

    On CPUs they are forked from one process that has imported what they need, once for all of them: it lives
    as long as this process, has the surroundings in which its first worker starts, and never computes. A GPU
    must not have been asked for anything before a fork, as libraries do when they are imported, and libraries
    of macOS do not survive one: there each worker imports for itself.
    """
    if sys.platform != "linux" or any(device != "cpu" for device in devices):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_BEFORE, *PRELOADED, _AFTER])
    return context


def start(process: ForkServerProcess | SpawnProcess, surroundings: AbstractContextManager[None]) -> None:
    """Start ``process``, what it comes from having its environment and signals from ``surroundings``.

    Where it is forked, this waits until the process that it is forked from has imported everything, outside
    of ``surroundings``: other threads read the environment meanwhile, and interrupts are heard.

    Raises:
        UserError: what workers import fails, otherwise than by not being there: a worker finds that itself.
    """
    if isinstance(process, SpawnProcess):
        with surroundings:
            process.start()
        return
    with surroundings, _safe_path():
        forkserver.ensure_running()
    try:
        process.start()
    except (EOFError, ConnectionError) as error:
        wrong = "cannot be started: what they import fails, as is said above"
        raise UserError("workers", wrong, "install the packages again") from error


@contextmanager
def _safe_path() -> Iterator[None]:
    """Let an interpreter that starts inside import nothing from the working folder, no ``random.py`` there.

    What is forked from it has the path of this process.
    """
    name = "PYTHONSAFEPATH"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
