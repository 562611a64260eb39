"""One run on several devices: a process for each of them, watched over by the worker that has the run.

The worker itself computes nothing, so that it can end all of them at any moment, whatever they wait for.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path

from vader_bench.config.names import UNTRAINED
from vader_bench.config.schema import RunConfig
from vader_bench.errors import ExitCode, UserError
from vader_bench.launch.orphans import die_with_parent
from vader_bench.launch.start import start, start_context
from vader_bench.launch.worker import redirect_output
from vader_bench.records.folder import LOG_NAME, RunFolder
from vader_bench.training.progress import Progress
from vader_bench.training.session import execute, follow
from vader_bench.world import World, join, meeting_place

__all__ = ["Part", "execute_together", "work_together"]

Report = Callable[[Progress], None]
Part = Callable[[World, str, Report], object]
"""``part(world, device, report)`` does what one of the processes has to do; importable by name."""


def execute_together(
    config: RunConfig, folder: Path, device: str, report: Report, *, devices: int, command: str = ""
) -> None:
    """Do a run as ``training.session.execute`` does, trained by several devices together.

    Only training is shared out: looks and other measurements are the first device's.

    Args:
        config: the run.
        folder: its folder.
        device: ``"cpu"``, or the first of the cards that this process sees.
        report: called with how far the run is.
        devices: how many train it: processes on the CPU, or cards from the first on.
        command: what was called, for the record.

    Raises:
        UserError: as ``execute``; or one of the processes has died.
    """
    run = RunFolder(folder)
    trains = not (config.method in UNTRAINED or run.trained or run.finished)
    part = partial(_part, config, folder, command)
    work_together(part, devices if trains else 1, device, report, folder / LOG_NAME)


def _part(config: RunConfig, folder: Path, command: str, world: World, device: str, report: Report) -> None:
    if world.rank == 0:
        execute(config, folder, device, report, command=command, world=world)
    else:
        follow(config, device, world)


def work_together(part: Part, size: int, device: str, report: Report, log: Path) -> None:
    """Have ``size`` processes do ``part`` together, and return when the first of them is done.

    When one fails or dies, all others are ended.

    Args:
        part: what each of them does.
        size: how many.
        device: as for ``execute_together``.
        report: called with what the first one reports.
        log: file that what they print is appended to.

    Raises:
        UserError: one of them raised it, or has died.
    """
    context = start_context([device])
    place = meeting_place()
    members: list[_Member] = []
    try:
        for rank in range(size):
            own = f"cuda:{rank}" if device.startswith("cuda") else device
            members.append(_Member(context, (part, rank, size, own, place.port, log)))
        _watch(members, report, log)
    finally:
        for member in members:
            member.stop()


class _Member:
    """One of the processes."""

    def __init__(
        self, context: ForkServerContext | SpawnContext, given: tuple[Part, int, int, str, int, Path]
    ) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_take_part, args=(theirs, *given), daemon=True)
        start(self.process, nullcontext())  # the worker's surroundings are theirs
        theirs.close()  # so that its death is an end of file here

    def stop(self) -> None:
        self.process.kill()  # what it writes is whole at any moment
        self.process.join()
        self.connection.close()


class _Done:
    """A process's last word when all went well."""


def _watch(members: list[_Member], report: Report, log: Path) -> None:
    """Pass on what the members say until the first of them is done."""
    working = {member.connection: member for member in members}
    while True:
        for connection in wait(list(working)):
            assert isinstance(connection, Connection)
            try:
                message = connection.recv()
            except (EOFError, ConnectionResetError):
                raise _death(members, working[connection], log) from None
            if isinstance(message, UserError):
                raise message
            if isinstance(message, Progress):
                report(message)
            elif working.pop(connection) is members[0]:
                return


def _death(members: list[_Member], dead: _Member, log: Path) -> UserError:
    """Return what to say of one that has died, of a killed one if any: others die of its silence."""
    dead.process.join()
    killed = (member for member in members if (member.process.exitcode or 0) < 0)
    first = next(killed, dead)
    given = f"the process of device {members.index(first) + 1} of {len(members)}"
    wrong = f"stopped with exit code {first.process.exitcode}, and the others were ended"
    remedy = f"see {log}, and give the same command again to go on"
    return UserError(given, wrong, remedy, exit_code=ExitCode.RUN_FAILED)


def _take_part(
    connection: Connection, part: Part, rank: int, size: int, device: str, port: int, log: Path
) -> None:
    """Do ``part`` as the process ``rank``; any other error than a ``UserError`` ends it, with a traceback."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the worker decides what they do
    die_with_parent()
    redirect_output(log)
    try:
        part(join(rank, size, device, port), device, connection.send)
        connection.send(_Done())
    except UserError as error:
        connection.send(error)
    connection.poll(None)  # the others may still need this process: it ends when it is ended
