"""What MLflow gets of the files of a run: points of metrics, tags, parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from vader_bench import files
from vader_bench.config.colours import BASE_COLOUR, METHOD_COLOURS
from vader_bench.config.faults import first_fault
from vader_bench.config.names import ADAPTER, BASE, HELDOUT
from vader_bench.config.schema import MemoryConfig
from vader_bench.errors import UserError
from vader_bench.records.folder import RunFolder
from vader_bench.records.packed import RESTORE, stored, stored_digest
from vader_bench.records.record import Record, gold_is_share

__all__ = ["Point", "SentPoint", "Story", "points", "tell"]


class Point(NamedTuple):
    """One value of a metric."""

    key: str
    value: float
    step: int


class SentPoint(NamedTuple):
    """A point as a store holds it."""

    key: str
    value: float
    stamp: int
    """Milliseconds since 1970: those of the run's beginning plus the run's device time."""
    step: int


class _Backbone(BaseModel):
    settings: dict[str, Any] = {}


class _Suite(BaseModel):
    suite: str
    sampler: dict[str, Any]
    backbone: _Backbone = _Backbone()
    decode_frames: int | None = None
    memory: dict[str, Any] = {}
    gold: Any = None


class _Asked(BaseModel):
    """Of ``config.json``, what MLflow shows; versions of the program write more or less beside it."""

    model_config = ConfigDict(extra="ignore")

    experiment: str
    suite: _Suite
    method: str
    arm: str = ""
    settings: dict[str, Any]
    reward: str
    prompts: Any
    seed: int
    reward_queries: int

    def tags(self) -> dict[str, str]:
        named = {name: getattr(self, name) for name in ("experiment", "method", "reward", "seed")}
        named |= {"arm": self.arm or self.method, "suite": self.suite.suite, "kind": "run"}
        colour = {**METHOD_COLOURS, BASE: BASE_COLOUR}.get(named["arm"])
        named |= {} if colour is None else {"mlflow.runColor": colour}
        return {name: str(value) for name, value in named.items()}

    def parameters(self) -> dict[str, str]:
        given = {
            name: getattr(self, name) for name in ("method", "reward", "seed", "reward_queries", "prompts")
        }
        suite = self.suite
        groups = {
            "settings": self.settings,
            "sampler": suite.sampler,
            "backbone": suite.backbone.settings,
            "memory": MemoryConfig().model_dump() | suite.memory,  # those that are off, too
        }
        for group, values in groups.items():
            given |= {f"{group}.{name}": value for name, value in values.items()}
        given |= {} if suite.decode_frames is None else {"decode_frames": suite.decode_frames}
        return {name: str(value) for name, value in given.items()}


@dataclass(frozen=True)
class Story:
    """All that the files of one run have to tell a store."""

    run: RunFolder
    tags: Mapping[str, str]
    parameters: Mapping[str, str]
    lines: Sequence[tuple[float, Sequence[Point]]]
    """Of each line of metrics, the device time in seconds and its points; those of the record are last."""
    record: Record | None
    record_digest: str
    """SHA-256 of ``record.json``, packed or not; empty where the run is not finished."""

    @property
    def name(self) -> str:
        """Return what the run is called."""
        return self.run.path.name

    def sent(self, began: int) -> list[SentPoint]:
        """Return the points of a run that began at ``began`` (ms since 1970), without repetitions."""
        found = (
            SentPoint(point.key, float(point.value), began + int(seconds * 1000), point.step)
            for seconds, line in self.lines
            for point in line
        )
        return list(dict.fromkeys(found))


def tell(run: RunFolder) -> Story:
    """Return what the files of ``run`` tell.

    Raises:
        UserError: one of them is damaged.
    """
    path = run.path / "config.json"
    config = files.read_json(path)
    try:
        asked = _Asked.model_validate(config)
    except ValidationError as error:
        wrong = f"is no run's configuration ({first_fault(error)})"
        raise UserError(str(path), wrong, RESTORE) from error
    gold_as = "prompt_share" if gold_is_share(config) else "gold"
    metrics = run.metrics()
    untrained = None
    if asked.method != ADAPTER:  # the only look of adapters from a file is at the adapters
        looks = (line for line in metrics if line.get("split") == HELDOUT)
        untrained = next(looks, {}).get("curve_mean")
    lines = [
        _line_points(stored(run.metrics_path), number, line, gold_as, untrained)
        for number, line in enumerate(metrics, start=1)
    ]
    record = run.load_record() if run.finished else None
    if record is not None:
        lines.append((record.ledger["device_seconds"], _hours(record)))
    digest = stored_digest(run.record_path) if record is not None else ""
    return Story(run, asked.tags(), asked.parameters(), lines, record, digest)


def points(line: Mapping[str, Any], gold_as: str = "gold", untrained: float | None = None) -> Iterator[Point]:
    """Yield what MLflow gets of a line of ``metrics.jsonl``; ``docs/mlflow.md`` says what each metric means.

    Args:
        line: of the file.
        gold_as: what its gold is called: ``prompt_share`` of a run of 0.1.0.
        untrained: the run's reward at its first look, from which it gains.
    """
    queries = int(line["queries"])
    for name, value in line.get("measured", {}).items():
        yield Point(f"measured/{name}", value, queries)
    if line["kind"] == "measurement":
        return
    if line["kind"] == "step":
        for name, value in line["metrics"].items():
            yield Point(f"train/{name}", value, queries)
        for name, value in line.items():
            if name not in {"kind", "metrics"}:
                yield Point(f"ledger/{name}", value, queries)
        return
    if line["split"] == HELDOUT:
        yield from _headline(line, queries, gold_as, untrained)
    for name, metric in (("reward", "reward"), ("gold", gold_as), ("prompt_share", "prompt_share")):
        if f"{name}_mean" in line:
            yield Point(f"evaluation/{line['split']}/{metric}", line[f"{name}_mean"], queries)


def _headline(
    line: Mapping[str, Any], queries: int, gold_as: str, untrained: float | None
) -> Iterator[Point]:
    """Yield what a run's row and the first charts show; what is spent so far is the axis of some."""
    reward, seconds = line["curve_mean"], line["device_seconds"]
    yield Point("reward", reward, queries)
    if untrained is not None:
        yield Point("gain", reward - untrained, queries)
    if gold_as == "gold" and "gold_mean" in line:
        yield Point("gold", line["gold_mean"], queries)
    yield Point("curve/queries", reward, queries)
    yield Point("curve/seconds", reward, int(seconds))
    yield Point("ledger/queries", queries, queries)
    yield Point("ledger/device_seconds", seconds, queries)


def _line_points(
    path: Path, number: int, line: Mapping[str, Any], gold_as: str, untrained: float | None
) -> tuple[float, Sequence[Point]]:
    try:
        found = [point._replace(value=float(point.value)) for point in points(line, gold_as, untrained)]
        return float(line["device_seconds"]), found
    except KeyError as error:
        wrong = f"is no line of metrics (it has no {error})"
    except (AttributeError, OverflowError, TypeError, ValueError):
        wrong = "is no line of metrics (a value of it is no number)"
    raise UserError(f"{path}: line {number}", wrong, RESTORE)


def _hours(record: Record) -> list[Point]:
    hours, queries = record.ledger["device_seconds"] / 3600, int(record.ledger["reward_queries"])
    names = ["device_hours", "gpu_hours"] if record.on_gpu else ["device_hours"]
    return [Point(name, hours, queries) for name in names]
