"""Named jobs: each makes its environment and calls the command line; arguments after ``--`` go through."""

from __future__ import annotations

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests"]

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # the worker processes fill the cores
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
}


def install(session: nox.Session, *extras: str) -> None:
    """Install the project with ``extras`` at the pinned versions, and set the session's environment."""
    session.env.update(ENVIRONMENT)
    target = f".[{','.join(extras)}]" if extras else "."
    session.install("--constraint", "constraints.txt", "--editable", target)


@nox.session(name="reproduce-fig7")
def reproduce_fig7(session: nox.Session) -> None:
    """Draw the project's Fig. 7 on the embedded pocket suite: runs, figure, table, report."""
    install(session)
    session.run("vader-bench", "run", "experiments/fig7.yaml", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests, fast and slow."""
    install(session, "test")
    session.run("pytest", "--numprocesses", "logical", "--benchmark-disable", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install("--constraint", "constraints.txt", "ruff")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    install(session, "test", "dev")
    session.run("mypy", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure where a step's time goes, its FLOP rate, and memory against sampler steps."""
    install(session, "test")
    session.run("pytest", "tests/bench", "-s", "--benchmark-columns=median,iqr,rounds", *session.posargs)


@nox.session
def sanity(session: nox.Session) -> None:
    """Show that each method can raise an easy reward on held-out prompts."""
    install(session)
    session.run("vader-bench", "run", "experiments/sanity.yaml", *session.posargs)


@nox.session
def tune(session: nox.Session) -> None:
    """Run the equal-tuning grid of all methods."""
    install(session)
    session.run("vader-bench", "tune", "experiments/tune.yaml", *session.posargs)


@nox.session(name="pretrain-pocket")
def pretrain_pocket(session: nox.Session) -> None:
    """Train the embedded models again from nothing: hours, stage by stage, resumable."""
    install(session)
    session.run("python", "-m", "vader_bench.pocket.pretrain", *session.posargs)
