"""One run, from its configuration to its record; and the only training loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from vader_bench import files
from vader_bench.budget.ledger import Budget, Ledger, Meter
from vader_bench.budget.memory import told_as_memory
from vader_bench.config.names import ADAPTER, UNTRAINED
from vader_bench.config.schema import RunConfig
from vader_bench.errors import UserError
from vader_bench.evaluation.measurements import Adapters
from vader_bench.methods.base import take_step
from vader_bench.prompts.sets import prompt_stream
from vader_bench.records import provenance
from vader_bench.records.folder import RunFolder
from vader_bench.records.record import Record
from vader_bench.records.trained import AdapterPoint, Training
from vader_bench.training.adopt import adopt
from vader_bench.training.checkpoint import read_state
from vader_bench.training.identity import make_origin
from vader_bench.training.load import Components, load_components
from vader_bench.training.measuring import Measuring
from vader_bench.training.progress import Progress
from vader_bench.training.settle import settle_torch
from vader_bench.training.workbench import make_method
from vader_bench.world import ALONE, World

__all__ = ["execute", "follow"]

provenance.remember_training_code()  # now: what is imported is what the files hold

SAVING_SHARE = 1 / 200
"""A step is followed by a checkpoint unless those took more of the time than this; a look always is.

So a kill costs the step under way, and where steps are short, at most 200 times what a checkpoint takes."""


def execute(
    config: RunConfig,
    folder: Path,
    device: str = "cpu",
    report: Callable[[Progress], None] = lambda _: None,
    *,
    command: str = "",
    world: World = ALONE,
) -> Record:
    """Do the run ``config`` in ``folder``, or what is left of it, and return its record.

    It is trained, then its adapters are measured. A run that is killed and executed again ends with the same
    record, but for measured times.

    Args:
        config: the resolved run.
        folder: the run's folder; see ``RunFolder``.
        device: where the models compute: ``"cpu"``, ``"cuda:0"``.
        report: called with how far the run is.
        command: what was called, for the record.
        world: the processes that train it together; the others ``follow`` this one, their first.

    Raises:
        UserError: weights are missing, the folder holds another run, a score is not finite, training
            diverged, memory ran out, or the disk is full.
    """
    settle_torch(device)
    with RunFolder(folder).open(config) as run, told_as_memory(config.name):
        if run.finished:
            return run.load_record()
        components = load_components(config, device)
        measuring = Measuring(config, run, components, device, report)
        if not run.trained:
            origin = run.begin(make_origin(config, device, components.digests, command, world.size))
            if config.method in UNTRAINED:
                training = _untrained(config, run, components, origin.key)
            else:
                training = _KeptLoop(config, components, device, world, run, measuring).train(origin.key)
            run.end_training(training)
        return measuring.finish()


def follow(config: RunConfig, device: str, world: World) -> None:
    """Do the share of a process that is not the first in the training of ``config``; it writes nothing.

    Arguments and errors as for ``execute``.
    """
    settle_torch(device)
    with told_as_memory(config.name):
        loop = _Loop(config, load_components(config, device, to_train=True), device, world)
        loop.resume(None)
        loop.work()


def _untrained(config: RunConfig, run: RunFolder, components: Components, key: str) -> Training:
    """Return what stands for the training of a run that has none."""
    adopted = adopt(config, run, components) if config.method == ADAPTER else None
    point = AdapterPoint(ledger=Ledger().as_dict(), adapter=None if adopted is None else adopted.sha256)
    notes = [] if adopted is None else [adopted.note]
    return Training(key=key, points=[point], metrics_bytes=0, notes=notes)


class _Loop:
    """A training: steps of the method, and stops at fixed numbers of queries. It leaves nothing behind."""

    def __init__(self, config: RunConfig, components: Components, device: str, world: World) -> None:
        self.config = config
        self.world = world
        self.points: list[AdapterPoint] = []
        synchronise = partial(torch.cuda.synchronize, device) if device != "cpu" else lambda: None
        self.meter = Meter(Budget(reward_queries=config.reward_queries), synchronise, devices=world.size)
        self.prompts = prompt_stream(components.prompts.split("train"), config.seed)
        self.method = make_method(config, components, self.meter, self.prompts, device, world)

    @property
    def queries(self) -> int:
        """Reward queries spent so far."""
        return self.meter.ledger.reward_queries

    def resume(self, payload: bytes | None) -> None:
        """Continue from the checkpoint ``payload`` of the first process, if it has one."""
        payload = self.world.first_says(payload)
        if payload is None:
            return
        state = read_state(payload, f"checkpoint of {self.config.name}")
        self.meter.ledger = Ledger.from_dict(state["ledger"])
        self.prompts.load_state(state["prompts"])
        self.points = [AdapterPoint.model_validate(point) for point in state["points"]]
        self.method.load_state(state["method"])

    def work(self) -> None:
        """Spend the budget, stopping on the way; leave the backbone without adapters."""
        budget, every = self.config.reward_queries, self.config.evaluation.every
        for queries in range(0, budget + 1, every):
            self._spend_until(queries)
            if all(point.queries != queries for point in self.points):
                self._refuse_parting()
                self._stop()
        assert self.queries == budget, "a run spends exactly its budget"
        self.method.lora.remove()

    def _spend_until(self, queries: int) -> None:
        while self.queries < queries:
            before = self.queries
            with self.meter.running():
                metrics = take_step(self.method, self.meter, queries - before, self.config.written_method)
            self._refuse_divergence(metrics)
            self._stepped(metrics)

    def _stepped(self, metrics: dict[str, float]) -> None:
        """Do what comes after a step."""

    def _stop(self) -> None:
        """Note the moment."""
        self.points.append(self._point(None))

    def _point(self, adapter: str | None) -> AdapterPoint:
        return AdapterPoint(ledger=self.meter.ledger.as_dict(), adapter=adapter)

    def _refuse_parting(self) -> None:
        """Refuse to go on where processes no longer hold the same adapters."""
        if not self.world.alike(self.method.lora.parameters()):
            wrong = f"hold other adapters than each other after {self.queries} queries"
            remedy = "let the method take its steps with `update`, on cards of one kind, or use one device"
            raise UserError(f"{self.config.name}: its {self.world.size} devices", wrong, remedy)

    def _refuse_divergence(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise UserError(
                    f"{self.config.name}: {name} after {self.queries} queries",
                    f"is {value}: training has diverged",
                    "lower the learning rate",
                )


class _KeptLoop(_Loop):
    """The training as a run's folder keeps it: with its steps, looks, adapters and checkpoints."""

    def __init__(
        self,
        config: RunConfig,
        components: Components,
        device: str,
        world: World,
        run: RunFolder,
        measuring: Measuring,
    ) -> None:
        super().__init__(config, components, device, world)
        self.run = run
        self.measuring = measuring
        self._saved_at = monotonic()
        self._saving = 0.0

    def train(self, key: str) -> Training:
        """Spend the budget of the run, or what is left of it, and return what the training leaves."""
        self.resume(self.run.resume())
        self.work()
        return Training(key=key, points=self.points, metrics_bytes=0, notes=self.method.notes)

    def _stepped(self, metrics: dict[str, float]) -> None:
        self.run.append_metrics({"kind": "step", **self._point(None).spent(), "metrics": metrics})
        self.measuring.tally.trained(self.queries)
        if monotonic() - self._saved_at >= self._saving / SAVING_SHARE:
            self._save()

    def _stop(self) -> None:
        """Keep the adapters and look at them: a point of the curve."""
        adapter = None
        if self.queries:
            path = self.run.adapter_path(self.queries, self.config.reward_queries)
            self.method.lora.save(path)
            adapter = files.sha256_file(path)
        point = self._point(adapter)
        for look in self.measuring.curve_looks(self.queries):
            self.measuring.look(look, point, Adapters(adapter, lambda: self.method.lora))
        self.points.append(point)
        self._save()

    def _save(self) -> None:
        began = monotonic()
        state: dict[str, Any] = {
            "ledger": self.meter.ledger.as_dict(),
            "prompts": self.prompts.state(),
            "points": [point.model_dump(mode="json") for point in self.points],
            "method": self.method.state(),
        }
        buffer = BytesIO()
        torch.save(state, buffer)
        self.run.save_checkpoint(buffer.getvalue())
        self._saved_at = monotonic()
        self._saving = self._saved_at - began
