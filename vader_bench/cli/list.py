"""``vader-bench list``: the names that experiment and suite files can use."""

from __future__ import annotations

import typer

__all__ = ["command"]


def command() -> None:
    """List methods, families of backbones and rewards, suites and prompt sets."""
    from vader_bench.backbones import BACKBONES
    from vader_bench.config import load_suite, suite_names
    from vader_bench.data.prompts import packaged_names
    from vader_bench.methods import METHODS
    from vader_bench.rewards import REWARDS

    rows = {
        "methods": METHODS.names(),
        "backbone families": BACKBONES.names(),
        "reward families": REWARDS.names(),
        "suites": suite_names(),
        **{f"rewards of {suite}": sorted(load_suite(suite).rewards) for suite in suite_names()},
        "prompt sets": packaged_names(),
    }
    for title, names in rows.items():
        typer.echo(f"{title:<20}{', '.join(names)}")
