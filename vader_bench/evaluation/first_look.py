"""The look at the untrained model, with which every run begins: taken once and shared among the runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from vader_bench import files
from vader_bench.config.schema import RunConfig
from vader_bench.evaluation.evaluator import EvaluationResult
from vader_bench.evaluation.looks import Look
from vader_bench.records.provenance import code_digest
from vader_bench.records.record import VideoScore

__all__ = ["FirstLooks"]


class FirstLooks:
    """Looks at 0 queries, kept in a folder that the runs of an experiment share.

    A look is found again only by everything that its numbers depend on: code, weights, prompts, suite,
    reward, device and the look itself. Whether it was kept or taken anew, the numbers are the same.

    Args:
        folder: where the looks are kept; made when the first one is.
        config: the run; its method, settings, seed and budget do not matter before training.
        digests: of the run's weights and prompts.
        device: where the model computes.
    """

    def __init__(self, folder: Path, config: RunConfig, digests: Mapping[str, str], device: str) -> None:
        self._folder = folder
        self._identity = {
            "code": code_digest(),
            "digests": dict(digests),
            "suite": config.suite.model_dump(mode="json"),
            "reward": config.reward,
            "judges": config.evaluation.measure.judges,
            "device": device,
        }

    def get(self, look: Look, take: Callable[[], EvaluationResult]) -> EvaluationResult:
        """Return the look that was kept, or ``take`` it and keep it."""
        what = self._identity | {"look": [look.split, look.prompts, look.samples]}
        path = self._folder / f"{files.sha256_text(files.canonical_json(what))}.json"
        if path.exists():
            kept = files.read_json(path)
            scores = [VideoScore.model_validate(score) for score in kept.pop("scores")]
            return EvaluationResult(scores, **kept)
        result = take()
        dumped = [score.model_dump(mode="json") for score in result.scores]
        files.write_json(path, result._asdict() | {"scores": dumped})
        return result
