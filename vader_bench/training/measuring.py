"""From the adapters of a trained run to its record: all that its experiment measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean
from typing import Any

from pydantic import TypeAdapter
from torch import nn

from vader_bench import files
from vader_bench.budget.ledger import Budget, Meter
from vader_bench.budget.memory import LiveBytes
from vader_bench.config.names import HELDOUT, UNTRAINED
from vader_bench.config.schema import RunConfig, config_digest
from vader_bench.diffusion.lora import Lora
from vader_bench.errors import UserError
from vader_bench.evaluation.evaluator import Evaluator
from vader_bench.evaluation.looks import (
    Look,
    curve_mean,
    looks,
    looks_of_curve,
    scaled_looks,
    video_count,
)
from vader_bench.evaluation.measurements import Adapters, Measurer
from vader_bench.methods import METHODS
from vader_bench.prompts.sets import prompt_stream
from vader_bench.records.folder import RunFolder
from vader_bench.records.record import SAMPLE_PROMPTS, Evaluation, Extension, FrontierPoint, Record
from vader_bench.records.trained import AdapterPoint, Provenance, Training
from vader_bench.training.load import Components
from vader_bench.training.progress import Progress, Tally
from vader_bench.training.workbench import make_method

__all__ = ["Measuring"]

_BYTES = TypeAdapter(int)


class Measuring:
    """All that is measured of one run, on the way and afterwards.

    Args:
        config: the run.
        run: its folder, open.
        components: what it works with; adapters are put into their backbone.
        device: where the models compute.
        report: called with how far the run is.
    """

    def __init__(
        self,
        config: RunConfig,
        run: RunFolder,
        components: Components,
        device: str,
        report: Callable[[Progress], None],
    ) -> None:
        self._config = config
        self._run = run
        self._components = components
        self._device = device
        self._looks = looks(config)
        self.tally = Tally(self._videos(), report)
        evaluator = Evaluator(
            backbone=components.backbone,
            sampler=config.suite.sampler,
            reward=components.reward,
            gold=components.gold,
            prompt_share=components.prompt_share,
            device=device,
            sampled=self.tally.sampled,
            batch=config.suite.evaluation_batch,
            judges=components.judges,
        )
        splits = components.prompts.splits
        self._measurer = Measurer(config, components.digests, splits, run.path, device, evaluator)

    def curve_looks(self, queries: int) -> list[Look]:
        """Return the looks that make the curve after so many queries: those at held-out prompts."""
        return [look for look in self._looks if (look.queries, look.split) == (queries, HELDOUT)]

    def look(self, look: Look, point: AdapterPoint, adapters: Adapters, *, log: bool = True) -> Evaluation:
        """Take a look, or find it, and return it; ``log`` what it shows among the metrics."""
        evaluation = self._seen(look, point, adapters)
        if log:
            means: dict[str, Any] = _means(evaluation) | {
                "curve_mean": curve_mean(evaluation, looks_of_curve(self._config))
            }
            means["measured"] = _measured(evaluation)
            self._run.append_metrics({"kind": "evaluation", "split": look.split, **point.spent(), **means})
            self.tally.heldout = means["curve_mean"] if look.split == HELDOUT else self.tally.heldout
        return evaluation

    def _seen(self, look: Look, point: AdapterPoint, adapters: Adapters) -> Evaluation:
        moved = self._config.evaluation.measure.path_kl and look.split == HELDOUT
        path_kl = self._measurer.path_kl(look, adapters) if moved else None
        result = self._measurer.look(look, adapters)
        self.tally.ended(look, len(result.scores))
        return Evaluation(
            split=look.split,
            queries=look.queries,
            flops=int(point.ledger["flops"]),
            device_seconds=point.ledger["device_seconds"],
            path_kl=path_kl,
            scores=result.scores,
            diversity=result.diversity,
            motion=result.motion,
        )

    def finish(self) -> Record:
        """Measure what is asked for of the trained run and not there yet, write its record, and return it.

        Raises:
            UserError: a score is not finite, or weights, prompts or adapters are not those of its training.
        """
        origin, training = self._run.load_origin(), self._run.load_training()
        self._require_same_inputs(origin)
        self._require_kept_adapters(training)
        self._run.cut_to_training(training)
        self.tally.trained(self._config.reward_queries)
        with _Loaded(self._components.backbone.denoiser, self._run, self._config.reward_queries) as loaded:
            record = self._record(origin, training, loaded)
        self._run.write_record(record)
        return record

    def _record(self, origin: Provenance, training: Training, loaded: _Loaded) -> Record:
        config, measure = self._config, self._config.evaluation.measure
        told = {(line["split"], line["queries"]) for line in self._run.metrics() if "split" in line}
        evaluations = [
            self.look(look, point, loaded.at(point), log=(look.split, look.queries) not in told)
            for look in self._looks
            for point in [training.at(look.queries)]
        ]
        end = training.points[-1]
        last = loaded.at(end)
        samples = self._measurer.samples(last)
        self.tally.ended("samples", len(samples))
        frontier = [
            FrontierPoint(scale=look.scale, look=self._seen(look, end, last)) for look in scaled_looks(config)
        ]
        extensions = []
        if measure.chunks > 1:
            extensions = self._measurer.extensions(config.evaluation.final_prompts, measure.chunks, last)
            self.tally.ended("extensions", len(extensions) * measure.chunks)
        loaded.take_out()
        peak = self._peak_bytes() if measure.peak_memory else None
        self._log_at_the_end(end, frontier, extensions, peak)
        return Record(
            experiment=config.experiment,
            suite=config.suite.suite,
            method=config.written_method,
            arm=config.arm,
            baseline=config.method not in UNTRAINED and METHODS.get(config.method).baseline,
            reward=config.reward,
            seed=config.seed,
            config=config.model_dump(mode="json"),
            config_digest=config_digest(config),
            key=origin.key,
            command=origin.command,
            taken_from=training.taken_from,
            ledger=end.ledger,
            evaluations=evaluations,
            digests=self._components.digests | {"code": origin.digests["code"]},
            packages=origin.packages,
            machine=origin.machine,
            git=origin.git,
            peak_bytes=peak,
            frontier=frontier,
            extensions=extensions,
            samples=samples,
            notes=training.notes,
        )

    def _log_at_the_end(
        self,
        end: AdapterPoint,
        frontier: Sequence[FrontierPoint],
        extensions: Sequence[Extension],
        peak_bytes: int | None,
    ) -> None:
        """Add to the metrics what is measured of the trained adapters beside looks, if anything is."""
        found: dict[str, float] = {} if peak_bytes is None else {"peak_bytes": peak_bytes}
        for point in frontier:
            found[f"scale_{point.scale:g}/reward"] = fmean(score.reward for score in point.look.scores)
        for chunk, rewards in enumerate(zip(*(one.rewards for one in extensions), strict=True), start=1):
            found[f"chunk_{chunk}/reward"] = fmean(rewards)
        if found:
            self._run.append_metrics({"kind": "measurement", **end.spent(), "measured": found})

    def _peak_bytes(self) -> int | None:
        """Return the memory of a first step of the method, taken twice more and thrown away.

        In a process that has not trained the run, the first of them counts FLOPs, which takes memory too.
        """
        config = self._config
        if config.method in UNTRAINED:
            return None

        def take() -> int:
            meter = Meter(Budget(reward_queries=config.reward_queries))
            prompts = prompt_stream(self._components.prompts.split("train"), config.seed)
            method = make_method(config, self._components, meter, prompts, self._device)
            with LiveBytes() as live:
                method.step(config.evaluation.every)
            method.lora.remove()
            peak: int = live.peak
            return peak

        def make() -> int:
            take()
            return take()

        asked = {
            "measures": "peak memory",
            "method": config.written_method,
            "code": config.code.get("method", ""),
            "settings": config.settings.model_dump(mode="json"),
            "reward": config.suite.model_dump(mode="json")["rewards"][config.reward],
            "decode_frames": config.suite.decode_frames,
            "seed": config.seed,
            "queries": config.evaluation.every,
        }
        trained = Adapters("untrained", lambda: None)
        return self._measurer.kept(trained, asked, _BYTES, make)

    def _require_same_inputs(self, origin: Provenance) -> None:
        for name, trained_with in origin.depends_on["weights"].items():
            if self._components.digests[f"weights/{name}"] != trained_with:
                wrong = f"was trained with other weights {name!r} than are here"
                remedy = "restore the weights, or delete the run's folder to run it again"
                raise UserError(str(self._run.path), wrong, remedy)
        prompts = self._components.digests["prompts/train"]
        if self._config.method not in UNTRAINED and prompts != origin.depends_on["prompts"]:
            wrong = "was trained on other prompts than are here"
            remedy = "restore the prompts, or delete the run's folder to run it again"
            raise UserError(str(self._run.path), wrong, remedy)

    def _require_kept_adapters(self, training: Training) -> None:
        """Refuse adapters that were damaged since: what is measured of them would be no run's."""
        for point in training.points:
            path = self._run.adapter_path(point.queries, self._config.reward_queries)
            if point.adapter is not None and files.sha256_file(path) != point.adapter:
                remedy = "restore the file, or delete the run's folder to run it again"
                raise UserError(str(path), "was changed since the run was trained", remedy)

    def _videos(self) -> int:
        """Return the number of videos that training and measurements take."""
        config, available = self._config, self._components.prompts.splits
        looked = sum(
            video_count(look, len(available[look.split])) for look in [*self._looks, *scaled_looks(config)]
        )
        judged = min(config.evaluation.final_prompts, len(available[HELDOUT]))
        chunks = config.evaluation.measure.chunks
        longer = judged * chunks if chunks > 1 else 0
        return config.reward_queries + looked + longer + min(SAMPLE_PROMPTS, len(available[HELDOUT]))


class _Loaded:
    """Adapters of a run, read from their files and put into the denoiser when they are needed."""

    def __init__(self, denoiser: nn.Module, run: RunFolder, budget: int) -> None:
        self._denoiser = denoiser
        self._run = run
        self._budget = budget
        self._lora: Lora | None = None
        self._queries: int | None = None

    def __enter__(self) -> _Loaded:
        return self

    def __exit__(self, *_: object) -> None:
        self.take_out()

    def at(self, point: AdapterPoint) -> Adapters:
        """Return the adapters of ``point``, not loaded yet."""
        return Adapters(point.adapter, partial(self._load, point))

    def take_out(self) -> None:
        """Make the denoiser the base model again."""
        if self._lora is not None:
            self._lora.remove()
        self._lora = self._queries = None

    def _load(self, point: AdapterPoint) -> Lora | None:
        if point.queries != self._queries:
            self.take_out()
            if point.adapter is not None:
                path = self._run.adapter_path(point.queries, self._budget)
                self._lora = Lora.from_file(self._denoiser, path)
            self._queries = point.queries
        return self._lora


def _measured(evaluation: Evaluation) -> dict[str, float]:
    """Return what a look measures beside reward, truth and share, by ``<split>/<name>``."""
    found = {name: getattr(evaluation, name) for name in ("diversity", "motion", "path_kl")}
    for judge in evaluation.scores[0].others:
        found[f"judge/{judge}"] = fmean(score.others[judge] for score in evaluation.scores)
    return {f"{evaluation.split}/{name}": value for name, value in found.items() if value is not None}


def _means(evaluation: Evaluation) -> dict[str, float]:
    """Return the means over all videos of a look: of the reward, its truth and the share of the prompt."""
    measured = {
        "reward_mean": [score.reward for score in evaluation.scores],
        "gold_mean": [score.gold for score in evaluation.scores if score.gold is not None],
        "prompt_share_mean": [s.prompt_share for s in evaluation.scores if s.prompt_share is not None],
    }
    return {name: fmean(values) for name, values in measured.items() if values}
