"""What a run costs beside its models, and what a second worker saves. ``nox -s bench`` prints the figures."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import pytest

from tests.bench.test_step import run_of, say
from vader_bench import files
from vader_bench.backbones import Backbone
from vader_bench.budget import metering
from vader_bench.budget.metering import MeteredBackbone, MeteredReward
from vader_bench.cli import main
from vader_bench.config.schema import RunConfig
from vader_bench.diffusion.lora import Lora
from vader_bench.records.folder import RunFolder
from vader_bench.rewards import Reward
from vader_bench.training import session
from vader_bench.training.load import load_components

QUERIES = 256
"""Half of what the experiment spends: what is paid once weighs twice as much here."""
MODELS, LEDGER, RECORDS, CHECKPOINTS = "models", "ledger", "records", "checkpoints"
WRITES = (
    "open",
    "begin",
    "append_metrics",
    "end_training",
    "write_record",
    "load_record",
    "metrics",
    "cut_to_training",
)
EXPERIMENT = """
experiment: two-workers
question: How much sooner do two workers end?
suite: pocket
compares: method
rewards: [brightness, colourfulness] # ten runs of about one length: with an odd number one worker waits
methods:
  vader: {k: 1, learning_rate: 3.0e-3}
  refl: {learning_rate: 3.0e-3}
seeds: [1, 2]
budget: {reward_queries: 96}
evaluation: {every: 96, prompts: 16, splits: [heldout], final_splits: [heldout], final_prompts: 16}
"""


@dataclass
class Shares:
    """CPU seconds by what they are spent on; of calls inside each other the innermost counts."""

    seconds: dict[str, float] = field(default_factory=dict)
    _stack: list[str] = field(default_factory=list)
    _since: float = 0.0
    _closed: int = 0

    def around(self, what: str, call: Callable[..., Any], *, whole: bool = False) -> Callable[..., Any]:
        """Return ``call`` with its time noted under ``what``; ``whole``: what it calls is part of that."""

        def timed(*arguments: Any, **keywords: Any) -> Any:
            if self._closed:
                return call(*arguments, **keywords)
            self._turn()
            self._stack.append(what)
            self._closed += whole
            try:
                return call(*arguments, **keywords)
            finally:
                self._closed -= whole
                self._turn()
                self._stack.pop()

        return timed

    def _turn(self) -> None:
        now = process_time()
        if self._stack:
            spent = self._stack[-1]
            self.seconds[spent] = self.seconds.get(spent, 0.0) + now - self._since
        self._since = now


def watch(shares: Shares, config: RunConfig, patch: pytest.MonkeyPatch) -> None:
    """Note the time of every call to models, ledger, records and checkpoints."""
    components = load_components(config, "cpu")
    kinds: list[tuple[type[Backbone] | type[Reward], str]] = [
        (type(components.backbone), "encode"),
        (type(components.backbone), "denoise"),
        (type(components.backbone), "decode"),
        (type(components.reward), "judge"),
    ]
    for kind, name in kinds:
        patch.setattr(kind, name, shares.around(MODELS, getattr(kind, name)))
    for name in ("encode", "unconditional", "denoise", "decode"):
        patch.setattr(MeteredBackbone, name, shares.around(LEDGER, getattr(MeteredBackbone, name)))
    patch.setattr(MeteredReward, "judge", shares.around(LEDGER, MeteredReward.judge))
    for name in ("count_flops", "_count_backward"):
        patch.setattr(metering, name, shares.around(LEDGER, getattr(metering, name), whole=True))
    for name in WRITES:
        patch.setattr(RunFolder, name, shares.around(RECORDS, getattr(RunFolder, name)))
    for owner, name in ((session._KeptLoop, "_save"), (Lora, "save"), (files, "sha256_file")):
        patch.setattr(owner, name, shares.around(CHECKPOINTS, getattr(owner, name), whole=True))


@pytest.mark.parametrize("method", ["vader", "ddpo", "diffusion-dpo"])
def test_ledger_records_and_checkpoints_cost_little(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = run_of(method).model_copy(update={"reward_queries": QUERIES})
    monkeypatch.setattr(metering, "_COUNTED", {})  # what another run has counted is not free here
    shares = Shares()
    watch(shares, config, monkeypatch)
    start = process_time()
    session.execute(config, tmp_path / config.name)
    total = process_time() - start
    costs = {name: shares.seconds[name] / total for name in (LEDGER, RECORDS, CHECKPOINTS)}
    said = ", ".join(f"{name} {cost:.2%}" for name, cost in costs.items())
    say(f"{method}, {QUERIES} queries, {total:.0f} s of CPU: {said}")
    say(f"ratio bookkeeping-{method} {sum(costs.values()):.4f}")
    assert shares.seconds[MODELS] > total / 4, "the clock is around what a run calls"
    assert sum(costs.values()) < 0.02


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="has one core")
def test_two_workers_end_sooner(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two-workers.yaml"
    path.write_text(EXPERIMENT, "utf-8")
    seconds = {}
    for workers in (2, 1):
        start = perf_counter()
        with capfd.disabled():
            code = main(["run", str(path), "--workers", str(workers), "--out", str(tmp_path / str(workers))])
        seconds[workers] = perf_counter() - start
        assert code == 0
    ratio = seconds[2] / seconds[1]
    say(f"ratio two-workers {ratio:.3f}")
    assert ratio <= 0.65
