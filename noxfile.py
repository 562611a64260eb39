"""Named jobs: each makes its environment and calls the command line; arguments after ``--`` go through."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

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

LARGEST = 100 * 10**6
"""Most bytes of a file that is published: what the package index takes by default."""
EXPERIMENTS: dict[str, tuple[tuple[str, ...], str]] = {
    "reproduce-fig7": (("fig7",), "Draw Fig. 7 on the pocket suite: runs, figure, table, report."),
    "reproduce-fig7-wan": (("fig7-wan",), "Draw the same figure of a flow model, in Wan's architecture."),
    "reproduce-table1": (
        ("table1", "table1-i2v"),
        "Make Table 1: gains on prompts not trained on.",
    ),
    "reproduce-fig3": (("fig3",), "Show videos before and after HPS, the aesthetic score, and both."),
    "reproduce-fig5": (("fig5",), "Show videos before and after PickScore."),
    "reproduce-fig6": (("fig6",), "Show videos before and after the removal of books."),
    "reproduce-fig8": (("fig8",), "Show videos before and after an action classifier, with its verdicts."),
    "reproduce-fig9": (("fig9",), "Show videos of three times the length before and after V-JEPA's reward."),
    "compare-methods": (("methods",), "Compare seven methods at the budgets of Fig. 7."),
    "ablate-truncation": (("ablate-truncation",), "Compare numbers of sampler steps that carry gradient."),
    "ablate-frames": (("ablate-frames",), "Compare numbers of frames that are decoded and judged."),
    "ablate-memory": (("ablate-memory",), "Measure what each memory switch saves and costs."),
    "step-sizes": (
        ("step-sizes", "step-sizes-wan"),
        "Follow reward and truth with small and large steps, on two models.",
    ),
    "overoptimisation": (
        ("overoptimisation",),
        "Fit laws of over-optimisation, and judge rules that stop without the truth.",
    ),
    "forms": (("forms",), "Compare on-policy and off-policy forms of the baselines."),
    "efficiency-long": (("efficiency-long",), "Time the baselines to VADER's reward, with eight budgets."),
    "modelscope": (("modelscope",), "Compare three methods on ModelScope, at a budget at which it moves."),
    "wan": (("wan",), "Compare three methods on Wan 2.1, at a budget at which it moves."),
    "sanity": (("sanity",), "Show that each method can raise an easy reward on held-out prompts."),
}
"""By session: the experiment files that it runs, and what it is for."""


TUNINGS = {
    "tune": "Tune the methods of fig7 with the same effort, by successive halving.",
    "tune-methods": "Tune the methods that fig7 does not compare, with the same effort.",
    "tune-modelscope": "Tune the methods that modelscope.yaml compares, with the same effort.",
    "tune-wan": "Tune the methods that wan.yaml compares, with the same effort.",
}
"""By session and name of a tuning file: what it is for."""


def install(session: nox.Session, *extras: str) -> None:
    """Install the project with ``extras`` at the pinned versions, and set the session's environment."""
    session.env.update(ENVIRONMENT)
    target = f".[{','.join(extras)}]" if extras else "."
    session.install("--constraint", "constraints.txt", "--editable", target)


def experiment(name: str, verb: str, files: Sequence[str], says: str) -> None:
    """Register the session ``name``, which calls ``vader-bench`` with ``verb`` on each of ``files``."""

    def run(session: nox.Session) -> None:
        install(session)
        for file in files:
            session.run("vader-bench", verb, f"experiments/{file}.yaml", *session.posargs)

    run.__doc__ = says
    nox.session(name=name)(run)


for name, (files, says) in EXPERIMENTS.items():
    experiment(name, "run", files, says)
for name, says in TUNINGS.items():
    experiment(name, "tune", (name,), says)


@nox.session
def references(session: nox.Session) -> None:
    """Make all results again but tunings, the cheapest first; ``-- --only-plan`` says how long it takes."""
    install(session)
    session.run("vader-bench", "reproduce", *session.posargs)


@nox.session(name="reproduce-table2")
def reproduce_table2(session: nox.Session) -> None:
    """Ask Table 2's questions of simulated raters in a browser, and analyse their answers."""
    install(session, "browser")
    out = "human_eval/packages/reproduce-table2"  # apart: not in the way of a study of that name with people
    study = f"{out}/pocket-table2"
    planted = ("--prefer", "vader", "--share", "0.79", "--share", "0.61")  # what the paper reports
    for arguments in (
        ("build", "human_eval/studies/pocket-table2.yaml", "--paper", "--out", out),
        ("rehearse", study, *planted, *session.posargs),
        ("ingest", study, f"{study}/rehearsal/results.csv"),
        ("analyze", study),
    ):
        session.run("vader-bench", "study", *arguments)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests, fast and slow."""
    install(session, "test", "ray", "docs")
    # in turn and not scattered, so that what tests of a file share is made by one process
    workers = ("--numprocesses", "logical", "--dist", "worksteal")
    session.run("pytest", *workers, "--benchmark-disable", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Kill, fill, lock and damage what runs depend on, for real; takes less than fifteen minutes."""
    install(session, "test", "ray")
    session.run("pytest", "tests/faults", "--benchmark-disable", *session.posargs)


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
def docs(session: nox.Session) -> None:
    """Build the documentation into site/; any fault of it fails."""
    install(session, "docs")  # ruff among them, which breaks long signatures into lines
    session.env["NO_MKDOCS_2_WARNING"] = "1"  # of mkdocs-material, about its successor
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session
def package(session: nox.Session) -> None:
    """Make wheel and source archive in dist/, check them, and try the wheel in an empty environment.

    ``-- --run`` runs the smaller Fig. 7 there, too.
    """
    dist = Path("dist").resolve()
    shutil.rmtree(dist, ignore_errors=True)
    session.install("--constraint", "constraints.txt", "build", "twine")
    session.run("python", "-m", "build", "--outdir", str(dist))
    made = sorted(map(str, dist.iterdir()))
    session.run("twine", "check", "--strict", *made)
    large = [path for path in made if Path(path).stat().st_size > LARGEST]
    if large:
        session.error(f"larger than {LARGEST // 10**6} MB: {', '.join(large)}")
    empty = Path(session.create_tmp()).resolve()  # nox gives a relative one, and the folder changes
    session.run("python", "-m", "venv", "--clear", str(empty / "venv"))
    python, pins = str(empty / "venv" / "bin" / "python"), str(Path("constraints.txt").resolve())
    wheel = next(path for path in made if path.endswith(".whl"))
    session.run(python, "-m", "pip", "install", "--quiet", "--constraint", pins, wheel, external=True)
    session.env.update(ENVIRONMENT)
    with session.chdir(empty):
        session.run(python, "-m", "vader_bench", "check", "fig7", external=True)
        if "--run" in session.posargs:
            session.run(python, "-m", "vader_bench", "run", "fig7", "--quick", external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure where a step's time goes, its FLOP rate, and memory against sampler steps."""
    install(session, "test")
    session.run("pytest", "tests/bench", "-s", "--benchmark-columns=median,iqr,rounds", *session.posargs)


@nox.session(name="gpu-check")
def gpu_check(session: nox.Session) -> None:
    """Check in ten minutes what only a GPU can show; needs no network once it is installed."""
    install(session, "test")
    session.run("python", "-m", "vader_bench.gpu_check", *session.posargs)


@nox.session(name="pretrain-pocket")
def pretrain_pocket(session: nox.Session) -> None:
    """Train the embedded models again from nothing: hours, stage by stage, resumable."""
    install(session)
    session.run("python", "-m", "vader_bench.pretrain", *session.posargs)
