"""Writes ``docs/plans.yaml``: what ``fig7`` would need on every packaged suite, by ``plan``, in some minutes.

Again after a change of a suite or of the estimates: ``python -m docs.plans``, or with names of suites, each
with rewards where not all that it shares with the experiment are wanted, such as ``wan2.2=aesthetic``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from torch import Tensor, nn

from docs.generate import CARDS
from vader_bench.cost.gpus import GPUS, Gpu
from vader_bench.cost.whatif import Changes, Planned, plan_arms, switches
from vader_bench.experiment.load import load_suite, suite_names
from vader_bench.experiment.resolve import resolve_experiment
from vader_bench.files import write_text

__all__ = ["PLANS"]

PLANS = Path(__file__).with_name("plans.yaml")
EXPERIMENT = "fig7"
FOLDER = PLANS.parents[1] / "experiments"
_GIB = 2**30


def plan(suite: str, rewards: Sequence[str]) -> dict[str, Any]:
    """Return what the experiment would need on ``suite``, for those of its ``rewards`` that the suite has."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{EXPERIMENT}.yaml"
        path.write_text(yaml.safe_dump(_reduced(suite, rewards)), "utf-8")
        resolved = resolve_experiment(path, suite, False, with_weights=False)
    planned = plan_arms(resolved.runs, Changes())
    networks = {one.run.reward: one.networks.of(one.run) for one in planned}
    first = next(iter(networks.values()))
    backbone = _billions(first.backbone.modules()) - _sum(first.lora.parameters())
    sizes = {name: _billions(found.rewards[name].modules()) for name, found in networks.items()}
    return {
        "parameters": {"backbone": round(backbone, 3)} | sizes,
        "video": list(planned[0].video),
        "seeds": len(resolved.experiment.seeds),
        "arms": [
            {
                "method": one.estimate.method,
                "reward": one.estimate.reward,
                "queries": one.estimate.queries,
                "gib": round(one.estimate.most.total / _GIB, 1),
            }
            for one in planned
        ],
        "cards": {name: _on(planned, GPUS[name], len(resolved.experiment.seeds)) for name in CARDS},
    }


def _reduced(suite: str, rewards: Sequence[str]) -> dict[str, Any]:
    """Return the experiment's file without the rewards that ``suite`` lacks, or that are not wanted."""
    data: dict[str, Any] = yaml.safe_load((FOLDER / f"{EXPERIMENT}.yaml").read_text("utf-8"))
    del data["tuning"]  # a path from there, and no part of what is estimated
    known = load_suite(suite).rewards
    data["rewards"] = [name for name in data["rewards"] if name in known and name in (rewards or known)]
    for arm in data["methods"].values():
        own = arm.pop("by_reward", {})
        kept = {name: settings for name, settings in own.items() if name in data["rewards"]}
        arm.update({"by_reward": kept} if kept else {})
    return data


def _on(planned: list[Planned], card: Gpu, seeds: int) -> dict[str, Any]:
    """Return how long all runs would take on ``card``, and which switches each arm would need there."""
    hours = seeds * sum(one.estimate.seconds(card, one.precision) for one in planned) / 3600
    needed, never = set[str](), []
    for one in planned:
        if one.estimate.most.fits(card):
            continue
        steps = list(switches(one, card))
        if steps and steps[-1].memory.fits(card):
            needed |= {step.name for step in steps}
        else:
            never.append(f"{one.estimate.method} on {one.estimate.reward}")
    return {"hours": float(f"{hours:.3g}"), "switches": sorted(needed), "never": never}


def _billions(modules: Iterable[nn.Module]) -> float:
    return _sum(weight for module in modules for weight in module.parameters())


def _sum(weights: Iterable[Tensor]) -> float:
    sizes = {id(weight): weight.numel() for weight in weights}
    return round(sum(sizes.values()) / 1e9, 3)


if __name__ == "__main__":
    known = yaml.safe_load(PLANS.read_text("utf-8")) if PLANS.exists() else {}
    for asked in sys.argv[1:] or suite_names():
        name, _, wanted = asked.partition("=")
        known[name] = plan(name, wanted.split(",") if wanted else [])
        write_text(
            PLANS, "# made by `python -m docs.plans`\n" + yaml.safe_dump(known, sort_keys=True, width=110)
        )
