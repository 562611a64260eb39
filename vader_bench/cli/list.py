"""``vader-bench list``: what experiment and suite files can name, and whether its weights are here."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from vader_bench.config.schema import SuiteConfig
from vader_bench.errors import UserError
from vader_bench.registry import REWARD_PLUGINS

__all__ = ["command", "registered_names"]

Row = tuple[str, str, str]
"""Kind, name, state."""

_PACKAGE = Path(__file__).parents[1]
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def command() -> None:
    """List methods, backbones, rewards, suites with their weights, and prompt sets, with their state here."""
    rows = [*_registered(), *_suites(), *_prompt_sets()]
    if sys.stdout.isatty():
        table = Table("kind", "name", "state", title="vader-bench", title_justify="left")
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(len(row[column]) for row in rows) + 2 for column in (0, 1)]
    for kind, name, state in rows:
        typer.echo(f"{kind:<{widths[0]}}{name:<{widths[1]}}{state}".rstrip())


def _registered() -> Iterator[Row]:
    for kind, table in (("method", "METHODS"), ("backbone", "BACKBONES"), ("reward", "REWARDS")):
        for name in registered_names(table):
            yield kind, name, "ready"
    for entry in sorted(entry_points(group=REWARD_PLUGINS), key=lambda found: found.name):
        yield "reward", entry.name, f"of the package {entry.dist.name if entry.dist else '(unknown)'}"


def registered_names(table: str) -> list[str]:
    """Return the names that modules of the package register in ``table``, sorted.

    They are read from the source: importing the modules takes ten seconds, for torch and what builds on it.

    Args:
        table: what a module calls the registry: ``"METHODS"``, ``"REWARDS"``, ``"BACKBONES"``.
    """
    pattern = re.compile(rf"\b{table}\.register\(\s*\"([^\"]+)\"")
    sources = (path.read_text("utf-8") for path in sorted(_PACKAGE.rglob("*.py")))
    return sorted({name for source in sources for name in pattern.findall(source)})


def _suites() -> Iterator[Row]:
    from vader_bench.experiment.load import load_suite, suite_names

    for name in suite_names():
        suite = load_suite(name)
        weights = list(_weights(suite))
        missing = sum(not here for _, here in weights)
        state = f"{missing} of {len(weights)} weights missing" if missing else "ready"
        yield "suite", name, f"{state}; rewards {', '.join(sorted(suite.rewards))}"
        for (kind, weight, told), _ in weights:
            yield kind, weight, told


def _weights(suite: SuiteConfig) -> Iterator[tuple[Row, bool]]:
    """Yield a row for each weight of ``suite``, and whether it is here."""
    from vader_bench.weights.hub import HUB_PREFIX, parse_hub_name
    from vader_bench.weights.resolve import size

    for name in suite.weights(*suite.rewards):
        try:
            told, here = f"present, {_in_words(size(name))}", True
        except UserError as error:
            told, here = f"missing: {error.wrong}", False
            if name.startswith(HUB_PREFIX):
                hub = parse_hub_name(name)
                told = f"missing; size {hub.known.size}, licence {hub.known.licence}; {hub.command}"
        yield (f"  weight of {suite.suite}", name, told), here


def _in_words(count: int) -> str:
    unit, name = next((pair for pair in _UNITS if count >= pair[0]), (1.0, "B"))
    return f"{count / unit:.3g} {name}"


def _prompt_sets() -> Iterator[Row]:
    from vader_bench.prompts.sets import load_prompts, packaged_names

    for name in packaged_names():
        splits = load_prompts(name).splits
        yield "prompt set", name, ", ".join(f"{split} {len(prompts)}" for split, prompts in splits.items())
