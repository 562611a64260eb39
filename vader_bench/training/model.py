"""A model that samples: that of a suite, or what a finished run made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vader_bench.backbones import Backbone
from vader_bench.config.names import BASE
from vader_bench.config.paths import is_there, names_file
from vader_bench.config.schema import SuiteConfig
from vader_bench.diffusion.lora import Lora
from vader_bench.errors import ExitCode, UserError
from vader_bench.evaluation.generator import PromptSample, VideoGenerator
from vader_bench.evaluation.measurements import at_scale
from vader_bench.prompts.lines import PromptDetails
from vader_bench.records.folder import ADAPTER_NAME
from vader_bench.records.places import run_suite
from vader_bench.records.record import Record
from vader_bench.records.record_file import RECORD_NAME, read_record
from vader_bench.registry import own_code
from vader_bench.training.load import load_backbone, suite_details
from vader_bench.training.settle import settle_torch
from vader_bench.weights.hub import HUB_PREFIX
from vader_bench.weights.resolve import digest, is_packaged

__all__ = ["Model", "load_run_model", "load_suite_model", "read_run"]


@dataclass(frozen=True)
class Model:
    """A frozen backbone that is sampled as its suite says, with or without trained adapters."""

    suite: SuiteConfig
    backbone: Backbone
    lora: Lora | None
    """The adapters of a run, in the backbone's denoiser; ``None`` for the base model."""
    device: str

    def sample(
        self,
        prompts: Sequence[str],
        samples: int = 1,
        *,
        scale: float = 1.0,
        sampled: Callable[[int], None] = lambda _: None,
    ) -> Tensor:
        """Return videos [N, F, 3, H, W] in [0, 1], the ``samples`` of each prompt one after another.

        The noise of a video depends on its prompt and number alone, so that a trained model and its base
        model (``scale=0``) make two of a pair; the first of a prompt is what evaluations judge.

        Args:
            prompts: as the backbone takes them: texts, or those that name pictures.
            samples: videos of each prompt.
            scale: of the adapters: 0 is the base model, 1 what was trained.
            sampled: called with how many videos are ready, whenever some are.

        Raises:
            UserError: the backbone refuses a prompt.
        """
        asked = [(prompt, sample) for sample in range(samples) for prompt in prompts]
        videos = torch.cat(list(self.batches(asked, scale=scale, sampled=sampled)))
        return videos.reshape(samples, len(prompts), *videos.shape[1:]).transpose(0, 1).flatten(0, 1)

    def batches(
        self,
        asked: Sequence[PromptSample],
        *,
        scale: float = 1.0,
        sampled: Callable[[int], None] = lambda _: None,
    ) -> Iterator[Tensor]:
        """Yield the videos [B, F, 3, H, W] in [0, 1] of pairs of prompt and sample, in their order.

        Args:
            asked: pairs; only those of one sample share a batch.
            scale: of the adapters.
            sampled: as of ``sample``.
        """
        generator = VideoGenerator(
            self.backbone, self.suite.sampler, self.device, sampled, self.suite.evaluation_batch
        )
        with at_scale(self.lora, scale):
            for videos, _ in generator.batches(asked):
                yield videos


def load_suite_model(
    suite: SuiteConfig, device: str, details: Mapping[str, PromptDetails] | None = None
) -> Model:
    """Return the untrained model of ``suite``.

    Args:
        suite: names it.
        device: where it computes.
        details: what prompts have beside their text, by prompt; by default those of the suite's own sets.

    Raises:
        UserError: weights are missing or faulty, or settings do not fit the family.
    """
    settle_torch(device)
    if details is None:
        details = suite_details(suite)
    return Model(suite, load_backbone(suite, device, details), None, device)


def load_run_model(run: Path, device: str, details: Mapping[str, PromptDetails] | None = None) -> Model:
    """Return the model that the finished run in the folder ``run`` left; arguments as ``load_suite_model``.

    Raises:
        UserError: the run is not finished, its adapters are missing, or its weights are others by now.
    """
    record = read_run(run)
    suite = run_suite(run, record)
    if details is None:
        _require_here(run, suite.prompts.values())
    model = load_suite_model(suite, device, details)
    if record.method == BASE:
        return model
    return replace(model, lora=Lora.from_file(model.backbone.denoiser, run / ADAPTER_NAME))


def read_run(run: Path) -> Record:
    """Return the record in the folder ``run``, of which videos can be made.

    Raises:
        UserError: as ``load_run_model``.
    """
    record = read_record(run / RECORD_NAME)
    suite = run_suite(run, record)
    _require_here(run, [suite.backbone.family, *suite.weights()])
    for name in suite.weights():
        written = suite.written(name)
        if digest(name) != record.digests.get(f"weights/{written}"):
            remedy = "restore the weights that the run was made with, or run it again"
            raise UserError(str(run), f"was made with other weights {written!r} than are here", remedy)
    adapter = run / ADAPTER_NAME
    if record.method != BASE and not adapter.is_file():
        raise UserError(
            str(adapter),
            "is not there, so that no videos of this run can be made",
            "run its experiment again, or choose a run that has kept its adapters",
            exit_code=ExitCode.MISSING,
        )
    return record


def _require_here(run: Path, names: Iterable[str]) -> None:
    """Refuse a run of which a file is neither where it was nor where its name leads from the current folder.

    Raises:
        UserError: the first of ``names`` that is a path, and leads nowhere.
    """
    for name in names:
        elsewhere = name.startswith(HUB_PREFIX) or is_packaged(name)
        if (names_file(name) or own_code(name)) and not elsewhere and not is_there(name):
            wrong = f"was made with {name!r}, which is neither where it was nor where that leads from here"
            remedy = (
                "give this command in the folder of the file that names it, "
                "or that of the experiment again, which notes where it is now"
            )
            raise UserError(str(run), wrong, remedy, exit_code=ExitCode.MISSING)
