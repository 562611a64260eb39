"""``study serve``: the study on this machine, for a panel or behind Prolific."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from vader_bench.cli.study._options import Environment, Folder

if TYPE_CHECKING:
    from vader_bench.human.plan import Built
    from vader_bench.human.serving.server import Offer, Running


__all__ = ["command"]


def command(
    folder: Folder,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on this machine; 0 is any free one.")
    ] = 8000,
    raters: Annotated[int, typer.Option(min=0, help="Number of accounts for raters.")] = 0,
    simulated: Annotated[
        int, typer.Option(min=0, help="Accounts for a rehearsal, on data of their own.")
    ] = 0,
    prolific: Annotated[
        str | None, typer.Option(metavar="CODE", help="Admit people from Prolific; the completion code.")
    ] = None,
    participants: Annotated[
        Path | None, typer.Option(help="Admit only these people: one PROLIFIC_PID a line; the file may grow.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="NAME", help="Public name, where a proxy takes TLS for it.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Offer again the blocks of which no answer is used.")
    ] = False,
    environment: Environment = None,
) -> None:
    """Serve a study on this machine with Turkle until Ctrl-C, and write its results file."""
    from vader_bench.human.plan import load_built
    from vader_bench.human.serving.server import Offer

    offer = Offer(port, raters, simulated, prolific, participants, host, environment, again)
    _serve_until_stopped(load_built(folder), offer)


def _serve_until_stopped(built: Built, offer: Offer) -> None:
    """Serve a study until Ctrl-C or a request to end; then say where the answers are."""
    from vader_bench.human.serving.server import LATE, RESULTS, serving

    with _ending_as_by_hand():
        folder: Path | None = None
        try:
            with serving(built, offer, typer.echo) as running:
                folder = running.folder
                _say(running, built, offer)
                running.wait()
        except KeyboardInterrupt:
            if folder is None:
                raise
        assert folder is not None
        typer.echo(f"stopped; all answers so far: {folder / RESULTS}")
        if (folder / LATE).exists():
            typer.echo(f"sent too late and not used: {folder / LATE}")


def _say(running: Running, built: Built, offer: Offer) -> None:
    from vader_bench.human.serving.accounts import PASSWORDS

    typer.echo(f"serving {built.plan.title!r} at {running.address}/ until Ctrl-C")
    typer.echo(f"accounts and passwords: {running.folder / PASSWORDS}")
    if len(running.accounts) == 1 and offer.prolific is None:
        typer.echo("nobody can answer yet: stop, and ask for --raters or --prolific")
    if offer.prolific is not None:
        address = f"https://{offer.host}" if offer.host else running.address
        ids = "PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"
        typer.echo(f"address for Prolific: {address}/prolific/?{ids}")
        if offer.participants is None:
            typer.echo("warning: who knows it can make up ids and take blocks; --participants names who may")


@contextmanager
def _ending_as_by_hand() -> Iterator[None]:
    """Let a request to end (SIGTERM) do what Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
