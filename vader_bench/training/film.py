"""Videos of a finished run, made again from its adapters: more of them than the samples it left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vader_bench import files
from vader_bench.config.names import BASE
from vader_bench.config.schema import SuiteConfig
from vader_bench.records.folder import ADAPTER_NAME
from vader_bench.records.places import run_suite
from vader_bench.records.record import Record
from vader_bench.training.model import load_run_model, read_run
from vader_bench.videos import encode_mp4
from vader_bench.weights.resolve import digest

__all__ = ["film"]

MADE_FROM = "footage.json"
"""In the folder of the videos, written first: what they are made from."""
CRF = 8
"""Nearly lossless: a study encodes the videos again."""


def film(
    run: Path,
    prompts: Sequence[str],
    samples: int,
    out: Path,
    device: str,
    report: Callable[[int], None] = lambda _: None,
) -> None:
    """Write ``samples`` videos of each prompt by the model of ``run`` to ``<out>/<prompt>-<noise>.mp4``.

    The noise of a video is that of the run's evaluations, so that the first video of a prompt is the one that
    was judged there. Videos that are there already, made from the same, stay as they are: interrupted, it
    goes on. What was made from something else goes.

    Args:
        run: folder of a finished run.
        prompts: their places, from 0, name the files.
        samples: videos of each prompt.
        out: the folder; all its ``.mp4`` files are the run's.
        device: where the model computes.
        report: called with how many videos are ready, whenever some are.

    Raises:
        UserError: the run is not finished, its adapters are not there, or its weights are others by now.
    """
    record = read_run(run)
    suite = run_suite(run, record)
    _begin(out, _made_from(run, record, suite, prompts, samples))
    size = suite.evaluation_batch  # as at the looks, to the last bit; whole batches are kept
    batches = [
        [(index, sample) for index in range(first, min(first + size, len(prompts)))]
        for sample in range(samples)
        for first in range(0, len(prompts), size)
    ]
    missing = [batch for batch in batches if not all(_path(out, *place).exists() for place in batch)]
    report(sum(map(len, batches)) - sum(map(len, missing)))
    if not missing:
        return
    model = load_run_model(run, device)
    asked = [(prompts[index], sample) for batch in missing for index, sample in batch]
    for batch, videos in zip(missing, model.batches(asked, sampled=report), strict=True):
        for place, video in zip(batch, videos, strict=True):
            files.write_bytes(_path(out, *place), encode_mp4(video, crf=CRF))


def _path(out: Path, index: int, sample: int) -> Path:
    return out / f"{index}-{sample}.mp4"


def _begin(out: Path, made_from: dict[str, Any]) -> None:
    """Make ``out`` hold nothing but videos that were made from what ``made_from`` tells."""
    told = out / MADE_FROM
    if told.is_file() and files.read_json(told) == made_from:
        return
    for old in [told, *out.glob("*.mp4")]:
        old.unlink(missing_ok=True)
    files.write_json(told, made_from)


def _made_from(
    run: Path, record: Record, suite: SuiteConfig, prompts: Sequence[str], samples: int
) -> dict[str, Any]:
    """Return what decides what the videos show, code apart."""
    adapter = run / ADAPTER_NAME
    return {
        "version": 1,
        "weights": {suite.written(name): digest(name) for name in suite.weights()},
        "suite": record.config["suite"],
        "adapter_sha256": None if record.method == BASE else files.sha256_file(adapter),
        "prompts": list(prompts),
        "samples": samples,
        "crf": CRF,
    }
