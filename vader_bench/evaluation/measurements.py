"""What is measured of adapters: each measurement once, kept under the digest of what it depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from vader_bench import files
from vader_bench.backbones import BACKBONES
from vader_bench.backbones.base import ImageBackbone
from vader_bench.config.names import HELDOUT
from vader_bench.config.schema import RunConfig, SuiteConfig
from vader_bench.diffusion.lora import Lora
from vader_bench.errors import UserError
from vader_bench.evaluation.evaluator import EvaluationResult, Evaluator
from vader_bench.evaluation.extend import extend
from vader_bench.evaluation.looks import Look
from vader_bench.records import provenance
from vader_bench.records.measurements import MeasurementFolder
from vader_bench.records.record import EXTENDED, SAMPLE_PROMPTS, Extension, Sample
from vader_bench.rewards.code import reward_code
from vader_bench.videos import encode_mp4

__all__ = ["BASE_FOLDER", "MEASUREMENTS_FOLDER", "SAMPLES_FOLDER", "Adapters", "Measurer", "at_scale"]

BASE_FOLDER = ".base-model"
"""Beside the folders of the runs: measurements of the base model, which they share."""
MEASUREMENTS_FOLDER = "measurements"
SAMPLES_FOLDER = "samples"
KL_PROMPTS = 8
"""Paths of so many held-out prompts are compared with the base model's."""

_Found = TypeVar("_Found")
_RESULT = TypeAdapter(EvaluationResult)
_NUMBER = TypeAdapter(float)
_EXTENSIONS = TypeAdapter(list[Extension])
_SAMPLES = TypeAdapter(list[Sample])


@dataclass(frozen=True)
class Adapters:
    """What is measured."""

    sha256: str | None
    """Of their file; ``None`` is the base model."""
    load: Callable[[], Lora | None]
    """Puts them into the backbone's denoiser, where they are not yet; ``None`` where there are none."""


@contextmanager
def at_scale(lora: Lora | None, scale: float) -> Iterator[None]:
    """Merge the adapters inside, scaled: 0 is the base model, 1 the trained one. Nothing trains there."""
    if lora is None:
        yield
        return
    lora.set_scale(scale)
    try:
        with lora.merged():
            yield
    finally:
        lora.set_scale(1.0)


class Measurer:
    """Measures adapters of one run; what was measured of the same before is taken from its file.

    Args:
        config: the run: its suite, its reward, and what its experiment measures.
        digests: of the run's weights; see ``Components``.
        prompts: by split.
        run: the folder of the run.
        device: where the models compute.
        evaluator: looks at what is in the denoiser.
    """

    def __init__(
        self,
        config: RunConfig,
        digests: Mapping[str, str],
        prompts: Mapping[str, Sequence[str]],
        run: Path,
        device: str,
        evaluator: Evaluator,
    ) -> None:
        self._prompts = prompts
        self._run = run
        self._evaluator = evaluator
        self._model = _model(config, digests, device)
        self._judges = _judges(config, digests)

    def look(self, look: Look, adapters: Adapters) -> EvaluationResult:
        """Return what the videos of ``look`` show."""
        prompts = self._first(look.split, look.prompts)

        def make() -> EvaluationResult:
            with at_scale(adapters.load(), look.scale):
                return self._evaluator.look(prompts, look.samples)

        asked = {"measures": "look", "prompts": prompts, "samples": look.samples, "scale": look.scale}
        return self.kept(adapters, self._judges | asked, _RESULT, make)

    def path_kl(self, look: Look, adapters: Adapters) -> float:
        """Return how far sampling has moved from the base model, over the first held-out prompts.

        At the scale of ``look``, in nats a video.
        """
        if adapters.sha256 is None:
            return 0.0
        prompts = self._first(HELDOUT, min(look.prompts, KL_PROMPTS))

        def make() -> float:
            lora = adapters.load()
            assert lora is not None, "what has a digest is there"
            lora.set_scale(look.scale)
            try:
                return self._evaluator.path_kl(prompts, lora)
            finally:
                lora.set_scale(1.0)

        asked = {"measures": "path KL", "prompts": prompts, "scale": look.scale}
        return self.kept(adapters, asked, _NUMBER, make)

    def samples(self, adapters: Adapters) -> list[Sample]:
        """Write the videos that a run leaves and return what the reward sees in them."""
        prompts = self._first(HELDOUT, SAMPLE_PROMPTS)
        paths = [self._video(HELDOUT, index) for index in range(len(prompts))]

        def make() -> list[Sample]:
            with at_scale(adapters.load(), 1.0):
                videos = self._evaluator.videos([(prompt, 0) for prompt in prompts])
            for path, video in zip(paths, videos, strict=True):
                files.write_bytes(path, encode_mp4(video))
            reward = self._evaluator.reward
            said = reward.verdicts(reward.shown(videos), prompts)
            return [Sample(prompt=prompt, verdict=one) for prompt, one in zip(prompts, said, strict=True)]

        asked = {"measures": "samples", "prompts": prompts}
        return self.kept(adapters, self._judges | asked, _SAMPLES, make, paths)

    def extensions(self, prompts: int, chunks: int, adapters: Adapters) -> list[Extension]:
        """Return the scores of videos of ``chunks`` times the length, and write the first of them.

        Raises:
            UserError: the backbone does not start from a picture.
        """
        asked = self._first(HELDOUT, prompts)
        paths = [self._video(EXTENDED, index) for index in range(len(asked[:SAMPLE_PROMPTS]))]

        def make() -> list[Extension]:
            with at_scale(adapters.load(), 1.0):
                return list(self._extended(asked, chunks, paths))

        what = {"measures": "extensions", "prompts": asked, "chunks": chunks}
        return self.kept(adapters, self._judges | what, _EXTENSIONS, make, paths)

    def kept(
        self,
        adapters: Adapters,
        asked: Mapping[str, Any],
        kind: TypeAdapter[_Found],
        make: Callable[[], _Found],
        beside: Sequence[Path] = (),
    ) -> _Found:
        """Return what was found of ``adapters`` when the same was asked, or ``make`` it and keep it."""
        shared = adapters.sha256 is None and not beside
        folder = self._run.parent / BASE_FOLDER if shared else self._run / MEASUREMENTS_FOLDER
        depends_on = {**self._model, "adapter": adapters.sha256, **asked}
        return MeasurementFolder(folder).get(depends_on, kind, make, beside)

    def _extended(self, prompts: Sequence[str], chunks: int, paths: Sequence[Path]) -> Iterator[Extension]:
        evaluator, backbone = self._evaluator, self._evaluator.backbone
        if not isinstance(backbone, ImageBackbone):
            raise UserError(
                f"evaluation.measure.chunks = {chunks}",
                f"is nothing for {backbone.name}",
                "use an image-to-video suite",
            )
        for index, prompt in enumerate(prompts):
            video = extend(backbone, evaluator.sampler, [prompt], chunks, device=evaluator.device)
            parts = [part.to(evaluator.device) for part in video.chunk(chunks, dim=1)]
            scores = [evaluator.judge(part, [(prompt, 0)])[0] for part in parts]
            if index < len(paths):
                files.write_bytes(paths[index], encode_mp4(video[0]))
            yield Extension(
                prompt=prompt,
                rewards=[score.reward for score in scores],
                golds=[score.gold for score in scores if score.gold is not None],
                prompt_shares=[score.prompt_share for score in scores if score.prompt_share is not None],
            )
            evaluator.sampled(chunks)

    def _first(self, split: str, count: int) -> list[str]:
        return list(self._prompts[split][:count])

    def _video(self, kind: str, index: int) -> Path:
        return self._run / SAMPLES_FOLDER / f"{kind}-{index}.mp4"


def _model(config: RunConfig, digests: Mapping[str, str], device: str) -> dict[str, Any]:
    """Return what decides a video beside its prompt and the adapters."""
    suite, packages = config.suite, provenance.package_versions()
    said = suite.model_dump(mode="json")  # paths as its file writes them
    return {
        "backbone": said["backbone"],
        "plugin": provenance.others_code(BACKBONES, suite.backbone.family),
        "memory": suite.memory.model_dump(mode="json"),
        "sampler": said["sampler"],
        "weights": _weights(suite, suite.weights(), digests),
        "batch": suite.evaluation_batch,
        "code": provenance.training_code(),
        "packages": {name: packages[name] for name in provenance.COMPUTING if name in packages},
        "device": provenance.device_name(device),
    }


def _judges(config: RunConfig, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return what decides the scores of a video."""
    suite, reward, others = config.suite, config.reward, config.other_judges
    said = suite.model_dump(mode="json")  # paths as its file writes them
    gold = said["gold"].get(reward, said["gold"].get("default"))
    judges = {"reward": said["rewards"][reward], "gold": gold, "share": said["prompt_share"]}
    judges |= {f"judge {name}": said["rewards"][name] for name in others}
    used = {"reward": suite.rewards[reward], "gold": suite.gold_for(reward), "share": suite.prompt_share}
    used |= {f"judge {name}": suite.rewards[name] for name in others}
    return {
        "judges": {name: component for name, component in judges.items() if component is not None},
        "judges_weights": _weights(suite, suite.weights(reward, *others), digests),
        "plugins": {name: reward_code(one.family, one.settings) for name, one in used.items() if one},
    }


def _weights(suite: SuiteConfig, names: Sequence[str], digests: Mapping[str, str]) -> dict[str, str]:
    """Return the digests of weights by the names that the suite's file writes."""
    written = [suite.written(name) for name in names]
    return {name: digests[f"weights/{name}"] for name in written}
