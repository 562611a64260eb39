"""``vader-bench list``: what commands and files can name, and whether its weights are here."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import typer
from rich.console import Console
from rich.table import Table

from vader_bench.backbones import BACKBONES
from vader_bench.config.experiment_file import experiment_names, experiment_path, searches
from vader_bench.config.schema import SuiteConfig
from vader_bench.config.yamlfile import read_mapping
from vader_bench.errors import UserError
from vader_bench.methods import METHODS
from vader_bench.registry import offered, package_of
from vader_bench.rewards import REWARDS

__all__ = ["command"]

Row = tuple[str, str, str]
"""Kind, name, state."""

_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def command() -> None:
    """List experiments, methods, backbones, rewards, suites with their weights, and prompt sets."""
    rows = [*_experiments(), *_registered(), *_suites(), *_prompt_sets()]
    if sys.stdout.isatty():
        table = Table("kind", "name", "state", title="vader-bench", title_justify="left")
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(len(row[column]) for row in rows) + 2 for column in (0, 1)]
    for kind, name, state in rows:
        typer.echo(f"{kind:<{widths[0]}}{name:<{widths[1]}}{state}".rstrip())


def _experiments() -> Iterator[Row]:
    """Yield what ``run`` and ``tune`` know by name, with its suite and question."""
    for name in experiment_names():
        data, _ = read_mapping(experiment_path(name))
        question = " ".join(str(data["question"]).split())
        yield "tuning" if searches(data) else "experiment", name, f"suite {data['suite']}; {question}"


def _registered() -> Iterator[Row]:
    for registry in (METHODS, BACKBONES, REWARDS):
        packages = offered(registry.group)
        for name in registry.names():
            ours = name in registry.table
            yield registry.noun, name, "ready" if ours else f"of the package {package_of(packages[name])}"


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
    from vader_bench.prompts.sets import load_prompts, offered_sets, packaged_names

    for name in packaged_names():
        splits = load_prompts(name).splits
        yield "prompt set", name, ", ".join(f"{split} {len(prompts)}" for split, prompts in splits.items())
    for name, entry in sorted(offered_sets().items()):
        yield "prompt set", name, f"of the package {package_of(entry)}"
