"""Adapters that were not trained here, beside runs that were: their one look in place of each of a run's."""

from __future__ import annotations

from vader_bench.errors import UserError
from vader_bench.records.record import Evaluation, Record

__all__ = ["beside"]


def beside(record: Record, run: Record) -> Record:
    """Return ``record``, of adapters, as if they had been looked at whenever ``run`` was.

    Before training it has what ``run`` has, the base model's videos; at every later look the adapters' own,
    of the same prompts and noise. So their gain is that over the base model. They have spent nothing.

    Raises:
        UserError: the adapters were not judged on a video that ``run`` was judged on.
    """
    own = {evaluation.split: evaluation for evaluation in record.evaluations}
    looks = [look if look.queries == 0 else _seen(record, own, look, run.name) for look in run.evaluations]
    return record.model_copy(update={"evaluations": looks, "seed": run.seed})


def _seen(record: Record, own: dict[str, Evaluation], look: Evaluation, run: str) -> Evaluation:
    """Return what was seen of the adapters on the videos of ``look``."""
    found = own.get(look.split)
    scores = {} if found is None else {(score.prompt, score.sample): score for score in found.scores}
    wanted = [(score.prompt, score.sample) for score in look.scores]
    if found is None or any(video not in scores for video in wanted):
        wrong = f"was not judged on all {look.split!r} videos that {run} was judged on"
        raise UserError(f"record {record.name}", wrong, "run both with the same evaluation settings")
    spent = {"queries": look.queries, "flops": 0, "device_seconds": 0.0}
    return found.model_copy(update={**spent, "scores": [scores[video] for video in wanted]})
