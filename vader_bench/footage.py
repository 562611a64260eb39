"""Videos of a finished run, made again from its adapters: more of them than the samples it left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vader_bench import files
from vader_bench.config import RunConfig
from vader_bench.diffusion.lora import Lora
from vader_bench.errors import ExitCode, UserError
from vader_bench.evaluation.camera import Camera
from vader_bench.evaluation.looks import BASE
from vader_bench.evaluation.video import encode_mp4
from vader_bench.parts import load_backbone
from vader_bench.records import Record
from vader_bench.runner import ADAPTER_NAME, settle_torch
from vader_bench.runs import read_record

__all__ = ["film"]

MADE_FROM = "footage.json"
"""In the folder of the videos, written last: what they were made from."""
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
    was judged there. Videos that are there already, whole and made from the same, stay as they are.

    Args:
        run: folder of a finished run.
        prompts: their places, from 0, name the files.
        samples: videos of each prompt.
        out: the folder; all its ``.mp4`` files are the run's.
        device: where the model computes.
        report: told how many videos are ready, whenever some are.

    Raises:
        UserError: the run is not finished, or its adapters are not there.
    """
    record = read_record(run / "record.json")
    made_from = _made_from(run, record, prompts, samples)
    names = [f"{index}-{sample}.mp4" for sample in range(samples) for index in range(len(prompts))]
    if _is_whole(out, made_from, names):
        report(len(names))
        return
    for old in [out / MADE_FROM, *out.glob("*.mp4")]:
        old.unlink(missing_ok=True)
    settle_torch(device)
    config = RunConfig.model_validate(record.config)
    backbone = load_backbone(config.suite, device)
    if record.method != BASE:
        Lora.from_file(backbone.denoiser, run / ADAPTER_NAME)
    camera = Camera(backbone, config.suite.sampler, device, report)
    shots = [(prompt, sample) for sample in range(samples) for prompt in prompts]
    waiting = iter(names)
    for videos, _ in camera.batches(shots):
        for video in videos:
            files.write_bytes(out / next(waiting), encode_mp4(video, crf=CRF))
    files.write_json(out / MADE_FROM, made_from)


def _made_from(run: Path, record: Record, prompts: Sequence[str], samples: int) -> dict[str, Any]:
    """Return all that decides what the videos show."""
    adapter = run / ADAPTER_NAME
    if record.method != BASE and not adapter.is_file():
        raise UserError(
            str(adapter),
            "is not there, so that no videos of this run can be made",
            "run its experiment again, or choose a run that has kept its adapters",
            exit_code=ExitCode.MISSING,
        )
    return {
        "version": 1,
        "suite": record.config["suite"],
        "adapter_sha256": None if record.method == BASE else files.sha256_file(adapter),
        "prompts": list(prompts),
        "samples": samples,
    }


def _is_whole(out: Path, made_from: dict[str, Any], names: Sequence[str]) -> bool:
    told = out / MADE_FROM
    return (
        told.is_file()
        and files.read_json(told) == made_from
        and {path.name for path in out.glob("*.mp4")} == set(names)
    )
