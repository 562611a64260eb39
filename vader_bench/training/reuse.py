"""Trainings that another experiment has done: found by their keys, and taken instead of training again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vader_bench import files
from vader_bench.config.schema import RunConfig
from vader_bench.errors import UserError
from vader_bench.evaluation.looks import looks
from vader_bench.evaluation.measurements import BASE_FOLDER, MEASUREMENTS_FOLDER
from vader_bench.records.folder import TRAINING_NAME, RunFolder
from vader_bench.records.measurements import MeasurementFolder
from vader_bench.records.trained import AdapterPoint, Training
from vader_bench.training.identity import training_depends_on, training_key

__all__ = ["find_trainings", "forget_taken", "take_training"]

_RUNS = f"*/*/runs/*/{TRAINING_NAME}"
"""Below the folder of all results: ``<experiment>/<suite>/runs/<run>/``."""


def find_trainings(results: Path, warn: Callable[[str], None]) -> dict[str, list[RunFolder]]:
    """Return the runs below ``results`` that are trained, by the key of their training.

    Args:
        results: the folder of all results.
        warn: called with a line for each run that cannot be read: a damaged one of another experiment, or
            one of a newer version, is no reason to stop this one.
    """
    found: dict[str, list[RunFolder]] = {}
    for path in sorted(results.glob(_RUNS)):
        run = RunFolder(path.parent)
        try:
            found.setdefault(run.load_training().key, []).append(run)
        except UserError as error:
            warn(f"warning: its training is taken by no other run: {error}")
    return found


def take_training(
    config: RunConfig, folder: Path, device: str, trained: Mapping[str, Sequence[RunFolder]], devices: int = 1
) -> str:
    """Give the run in ``folder`` the training of another one, if there is one that is the same.

    The adapters are linked, so that they stay when the other experiment is deleted; the steps of the metrics
    are copied. What was measured of them, and of the base model, is linked too: whoever measures finds what
    depends on the same in all, and measures the rest.

    Args:
        config: the run.
        folder: its folder.
        device: where it would be trained.
        trained: see ``find_trainings``.
        devices: how many such devices would train it together.

    Returns:
        The experiment that it was taken from; empty where the run has to be trained itself.

    Raises:
        UserError: the folder holds another run or is in use, or the disk refuses.
    """
    held = RunFolder(folder)
    if held.trained:
        return _experiment(held.load_training().taken_from)
    if not trained:
        return ""
    key = training_key(training_depends_on(config, device, devices))
    wanted = {look.queries for look in looks(config)}
    for source in trained.get(key, []):
        training = source.load_training()
        points = [point for point in training.points if point.queries in wanted]
        if len(points) == len(wanted) and _whole(source, points, config.reward_queries):
            with RunFolder(folder).open(config) as run:
                _take(source, training, points, run, config.reward_queries)
            return _experiment(RunFolder(folder).load_training().taken_from)
    return ""


def forget_taken(config: RunConfig, folder: Path) -> None:
    """Empty the folder of a run that took its training, so that it is trained; leave any other as it is.

    Raises:
        UserError: the folder holds another run or is in use.
    """
    run = RunFolder(folder)
    if run.trained and run.load_training().taken_from:
        with run.open(config):
            run.forget()


def _whole(source: RunFolder, points: list[AdapterPoint], budget: int) -> bool:
    """Tell whether the adapters of ``points`` are there as they were kept."""
    paths = {source.adapter_path(point.queries, budget): point.adapter for point in points if point.adapter}
    return all(path.is_file() and files.sha256_file(path) == digest for path, digest in paths.items())


def _take(
    source: RunFolder, training: Training, points: list[AdapterPoint], run: RunFolder, budget: int
) -> None:
    """Make ``run`` a trained one: ``training.json`` comes last, as when it is trained itself."""
    for point in points:
        if point.adapter is not None:
            files.link(source.adapter_path(point.queries, budget), run.adapter_path(point.queries, budget))
    files.write_json(run.origin_path, source.load_origin().model_dump(mode="json"))
    steps = [line for line in source.metrics() if line["kind"] == "step"]
    files.write_text(run.metrics_path, "".join(json.dumps(step, sort_keys=True) + "\n" for step in steps))
    place = source.path.relative_to(source.path.parents[3])  # <experiment>/<suite>/runs/<run>
    taken_from = training.taken_from or "/".join([*place.parts[:2], place.name])
    MeasurementFolder(run.path / MEASUREMENTS_FOLDER).take(source.path / MEASUREMENTS_FOLDER)
    MeasurementFolder(run.path.parent / BASE_FOLDER).take(source.path.parent / BASE_FOLDER)
    run.end_training(training.model_copy(update={"points": points, "taken_from": taken_from}))


def _experiment(taken_from: str) -> str:
    return taken_from.partition("/")[0]
