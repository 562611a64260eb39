"""The only training loop: one run from its configuration to its record."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from io import BytesIO
from itertools import groupby
from pathlib import Path
from statistics import fmean
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from vader_bench import files
from vader_bench.budget.ledger import Budget, Ledger, Meter
from vader_bench.budget.memory import LiveBytes
from vader_bench.config.names import BASE, HELDOUT
from vader_bench.config.schema import RunConfig, config_digest
from vader_bench.errors import UserError
from vader_bench.evaluation.closing import extensions, frontier, sample_videos
from vader_bench.evaluation.evaluator import EvaluationResult, Evaluator
from vader_bench.evaluation.first_look import FirstLooks
from vader_bench.evaluation.looks import Look, curve_mean, looks, video_count
from vader_bench.evaluation.video import encode_mp4
from vader_bench.prompts.sets import prompt_stream
from vader_bench.records import provenance
from vader_bench.records.folder import RunFolder
from vader_bench.records.record import EXTENDED, SAMPLE_PROMPTS, Evaluation, Extension, FrontierPoint, Record
from vader_bench.training.load import Components, load_components
from vader_bench.training.progress import Progress
from vader_bench.training.workbench import make_method

__all__ = ["ADAPTER_NAME", "SAMPLES_FOLDER", "execute", "settle_torch"]

ADAPTER_NAME = "lora.safetensors"
SAMPLES_FOLDER = "samples"
FIRST_LOOKS_FOLDER = ".first-looks"
"""Beside the folders of the runs."""
KL_PROMPTS = 8
"""Paths of so many held-out prompts are compared with the base model's."""
CHECKPOINT_SECONDS = 15.0
"""Steps lose at most about so much work to a kill; a look is always followed by a checkpoint."""


def execute(
    config: RunConfig, folder: Path, device: str = "cpu", report: Callable[[Progress], None] = lambda _: None
) -> Record:
    """Do the run ``config`` in ``folder``, or what is left of it, and return its record.

    A run that is killed and executed again ends with the same record, but for measured times.

    Args:
        config: the resolved run.
        folder: the run's folder; see ``RunFolder``.
        device: where the models compute: ``"cpu"``, ``"cuda:0"``.
        report: told how far the run is.

    Raises:
        UserError: weights are missing, the folder holds another run, a score is not finite, training
            diverged, or the disk is full.
    """
    settle_torch(device)
    with RunFolder(folder).open(config) as run:
        if run.finished:
            return run.load_record()
        session = _Session(config, run, load_components(config, device), device, report)
        session.resume()
        session.work()
        return session.finish()


def settle_torch(device: str) -> None:
    """Make torch give the same numbers every time; on the CPU a run has one thread, to share it fairly."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the GPU is first used
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    # it shows reads before writes, takes a tenth of a step and changes no number
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # made at import
    torch.backends.cudnn.allow_tf32 = False
    if device == "cpu":
        torch.set_num_threads(1)
    else:
        torch.cuda.set_device(device)  # trl and accelerate take the current one


class _Session:
    """A run at work: looks at the model at fixed numbers of queries, steps of the method in between."""

    def __init__(
        self,
        config: RunConfig,
        run: RunFolder,
        components: Components,
        device: str,
        report: Callable[[Progress], None],
    ) -> None:
        self.config = config
        self.run = run
        self.components = components
        self.report = report
        synchronise = partial(torch.cuda.synchronize, device) if device != "cpu" else lambda: None
        self.meter = Meter(Budget(reward_queries=config.reward_queries), synchronise)
        self.prompts = prompt_stream(components.prompts.split("train"), config.seed)
        base = config.method == BASE
        self.method = None if base else make_method(config, components, self.meter, self.prompts, device)
        self.evaluator = Evaluator(
            backbone=components.backbone,
            sampler=config.suite.sampler,
            reward=components.reward,
            gold=components.gold,
            prompt_share=components.prompt_share,
            device=device,
            sampled=self._count_videos,
            batch=config.suite.evaluation_batch,
            judges=components.judges,
        )
        self.evaluations: list[Evaluation] = []
        shared = run.path.parent / FIRST_LOOKS_FOLDER
        self._first_looks = FirstLooks(shared, config, components.digests, device)
        self._looks = looks(config)
        self._looked = 0
        self._peak_bytes: int | None = None
        self._saved_at = monotonic()

    @property
    def queries(self) -> int:
        """Reward queries spent so far."""
        return self.meter.ledger.reward_queries

    def resume(self) -> None:
        """Continue from the last checkpoint, if there is one."""
        payload = self.run.resume()
        if payload is None:
            return
        state = torch.load(BytesIO(payload), map_location="cpu", weights_only=True)
        self.meter.ledger = Ledger.from_dict(state["ledger"])
        self.prompts.load_state(state["prompts"])
        self.evaluations = [Evaluation.model_validate(entry) for entry in state["evaluations"]]
        self._looked = sum(len(evaluation.scores) for evaluation in self.evaluations)
        if self.method is not None:
            self.method.load_state(state["method"])
        self._peak_bytes = state["peak_bytes"]

    def work(self) -> None:
        """Spend the budget, looking at the model on the way."""
        for queries, group in groupby(self._looks, key=lambda look: look.queries):
            self._spend_until(queries)
            if all(evaluation.queries != queries for evaluation in self.evaluations):
                for look in group:
                    self._look(look)
                self._save()

    def finish(self) -> Record:
        """Write adapter, videos and the record, and return the record."""
        assert self.queries == self.config.reward_queries, "a run spends exactly its budget"
        if self.method is not None:
            self.method.lora.save(self.run.path / ADAPTER_NAME)
        with self._frozen():
            prompts = self._prompts(HELDOUT)[:SAMPLE_PROMPTS]
            samples = sample_videos(self.evaluator, prompts, partial(self._write_video, HELDOUT))
            longer = list(self._extensions())
        record = self._record(samples=samples, frontier=list(self._frontier()), extensions=longer)
        self.run.write_record(record)
        return record

    def _spend_until(self, queries: int) -> None:
        while self.queries < queries:
            assert self.method is not None
            before = self.queries
            with self._memory_measured(), self.meter.running():
                metrics = self.method.step(queries - before)
            if self.queries == before:
                raise RuntimeError(f"a step of {self.config.method} made no reward query")
            self._refuse_divergence(metrics)
            self.run.append_metrics({"kind": "step", **self._spent(), "metrics": metrics})
            self._tell()
            if monotonic() - self._saved_at >= CHECKPOINT_SECONDS:
                self._save()

    def _look(self, look: Look) -> None:
        prompts = self._prompts(look.split)[: look.prompts]
        take = partial(self.evaluator.look, prompts, look.samples)
        with self._frozen():
            result = self._first_looks.get(look, take) if look.queries == 0 else take()
        moved = self._path_kl(prompts) if look.split == HELDOUT else None
        evaluation = self._evaluation(look.split, result, moved)
        self.evaluations.append(evaluation)
        self._looked = sum(len(evaluation.scores) for evaluation in self.evaluations)
        means = _means(evaluation) | {"curve_mean": curve_mean(evaluation, self._looks)}
        self.run.append_metrics({"kind": "evaluation", "split": look.split, **self._spent(), **means})
        self._tell()

    def _frozen(self) -> AbstractContextManager[None]:
        """Merge the adapters inside, where nothing trains."""
        return nullcontext() if self.method is None else self.method.lora.merged()

    def _evaluation(self, split: str, result: EvaluationResult, moved: float | None = None) -> Evaluation:
        ledger = self.meter.ledger
        spent = {"queries": self.queries, "flops": ledger.flops, "device_seconds": ledger.device_seconds}
        return Evaluation(split=split, **spent, **result._asdict(), path_kl=moved)

    def _path_kl(self, prompts: Sequence[str]) -> float | None:
        if not self.config.evaluation.measure.path_kl:
            return None
        return 0.0 if self.method is None else self.evaluator.path_kl(prompts[:KL_PROMPTS], self.method.lora)

    def _frontier(self) -> Iterator[FrontierPoint]:
        if self.method is None:
            return
        prompts = self._prompts(HELDOUT)[: self.config.evaluation.final_prompts]
        scales = self.config.evaluation.measure.lora_scales
        for scale, result in frontier(self.evaluator, self.method.lora, scales, prompts):
            yield FrontierPoint(scale=scale, look=self._evaluation(HELDOUT, result))

    def _extensions(self) -> Iterator[Extension]:
        chunks = self.config.evaluation.measure.chunks
        if chunks == 1:
            return
        prompts = self._prompts(HELDOUT)[: self.config.evaluation.final_prompts]
        for index, (found, video) in enumerate(extensions(self.evaluator, prompts, chunks)):
            if index < SAMPLE_PROMPTS:
                self._write_video(EXTENDED, index, video)
            yield found

    def _prompts(self, split: str) -> list[str]:
        return list(self.components.prompts.split(split))

    def _write_video(self, kind: str, index: int, video: Tensor) -> None:
        files.write_bytes(self.run.path / SAMPLES_FOLDER / f"{kind}-{index}.mp4", encode_mp4(video))

    @contextmanager
    def _memory_measured(self) -> Iterator[None]:
        """Measure the memory of the first step where the experiment asks for it."""
        if not self.config.evaluation.measure.peak_memory or self._peak_bytes is not None:
            yield
            return
        with LiveBytes() as live:
            yield
        self._peak_bytes = live.peak

    def _save(self) -> None:
        state: dict[str, Any] = {
            "ledger": self.meter.ledger.as_dict(),
            "prompts": self.prompts.state(),
            "evaluations": [evaluation.model_dump(mode="json") for evaluation in self.evaluations],
            "method": self.method.state() if self.method is not None else {},
            "peak_bytes": self._peak_bytes,
        }
        buffer = BytesIO()
        torch.save(state, buffer)
        self.run.save_checkpoint(buffer.getvalue())
        self._saved_at = monotonic()

    def _spent(self) -> dict[str, int | float]:
        """Return the ledger as metrics name it."""
        spent = self.meter.ledger.as_dict()
        return {"queries": spent.pop("reward_queries"), **spent}

    def _refuse_divergence(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise UserError(
                    f"{self.config.name}: {name} after {self.queries} queries",
                    f"is {value}: training has diverged",
                    "lower the learning rate",
                )

    def _record(self, **closing: Any) -> Record:
        config = self.config
        return Record(
            experiment=config.experiment,
            suite=config.suite.suite,
            method=config.method,
            arm=config.arm,
            reward=config.reward,
            seed=config.seed,
            config=config.model_dump(mode="json"),
            config_digest=config_digest(config),
            ledger=self.meter.ledger.as_dict(),
            evaluations=self.evaluations,
            digests=self.components.digests | {"code": provenance.code_digest()},
            packages=provenance.package_versions(),
            machine=provenance.machine(),
            git=provenance.git_state(),
            peak_bytes=self._peak_bytes,
            **closing,
        )

    def _count_videos(self, videos: int) -> None:
        self._looked += videos
        self._tell()

    def _tell(self) -> None:
        available = self.components.prompts.splits
        looked = sum(video_count(look, len(available[look.split])) for look in self._looks)
        total = self.config.reward_queries + looked + self._closing_videos(available)
        note = f"{self.queries} queries"
        heldout = [evaluation for evaluation in self.evaluations if evaluation.split == HELDOUT]
        if heldout:
            note += f", held-out {curve_mean(heldout[-1], self._looks):.4g}"
        self.report(Progress(min(total, self.queries + self._looked), total, note))

    def _closing_videos(self, available: Mapping[str, Sequence[str]]) -> int:
        """Return the number of videos that are made after the last look."""
        evaluation = self.config.evaluation
        judged = min(evaluation.final_prompts, len(available[HELDOUT]))
        longer = evaluation.measure.chunks if evaluation.measure.chunks > 1 else 0
        scaled = 0 if self.method is None else len(evaluation.measure.lora_scales)
        return SAMPLE_PROMPTS + judged * (longer + scaled)


def _means(evaluation: Evaluation) -> dict[str, float]:
    """Return the means over all videos of a look: of the reward, its truth and the share of the prompt."""
    measured = {
        "reward_mean": [score.reward for score in evaluation.scores],
        "gold_mean": [score.gold for score in evaluation.scores if score.gold is not None],
        "prompt_share_mean": [s.prompt_share for s in evaluation.scores if s.prompt_share is not None],
    }
    return {name: fmean(values) for name, values in measured.items() if values}
