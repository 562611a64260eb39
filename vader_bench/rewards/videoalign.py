"""VideoAlign's VideoReward: visual quality, motion quality and text alignment of a video."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from vader_bench.config.rules import WeightsName
from vader_bench.config.yamlfile import parse, raise_faults
from vader_bench.errors import ExitCode, UserError
from vader_bench.rewards.base import FramesSeen, Judgement
from vader_bench.rewards.preprocess import check_video
from vader_bench.rewards.qwen2vl import (
    Precision,
    QwenPatches,
    QwenReader,
    QwenReward,
    QwenScorer,
    Words,
    bare_config,
    bare_scorer,
    instruction,
    make_scorer,
    plain_names,
    qwen_config,
)
from vader_bench.weights.networks import read_weights
from vader_bench.weights.resolve import resolve
from vader_bench.weights.sizes import local_folder, read_table
from vader_bench.weights.tensors import read_tensors

__all__ = ["VideoAlign", "VideoAlignConfig"]

Dimension = Literal["VQ", "MQ", "TA"]
"""Visual quality, motion quality, text alignment."""

_DIMENSIONS: tuple[Dimension, ...] = ("VQ", "MQ", "TA")
_MARKS = tuple(f"<|{name}_reward|>" for name in _DIMENSIONS)
_LEAST_PIXELS = 128 * 28 * 28
"""Of a frame that the network sees, as in VideoAlign's vision_process.py."""
_REMEDY = "give the whole folder of KwaiVGI/VideoReward"
_CONFIG = "model_config.json"
_ADAPTER = re.compile(r"(.+)\.lora_([AB])\.(?:default\.)?weight")


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True)

    max_frame_pixels: PositiveInt = 200704
    prompt_template_type: Literal["detailed_special"] = "detailed_special"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)

    output_dim: Literal[1, 3] = 1
    use_special_tokens: Literal[True] = True


class _Lora(BaseModel):
    model_config = ConfigDict(frozen=True)

    lora_enable: bool = False
    lora_r: PositiveInt = 64
    lora_alpha: PositiveFloat = 128
    use_rslora: bool = False

    @property
    def scale(self) -> float:
        """Return what the product of the two small matrices is multiplied by."""
        return self.lora_alpha / (math.sqrt(self.lora_r) if self.use_rslora else self.lora_r)


class _Norm(BaseModel):
    model_config = ConfigDict(frozen=True)

    VQ_mean: float
    VQ_std: PositiveFloat
    MQ_mean: float
    MQ_std: PositiveFloat
    TA_mean: float
    TA_std: PositiveFloat


class VideoAlignConfig(BaseModel):
    """What is read of the checkpoint's ``model_config.json``; the released one's sizes by default."""

    model_config = ConfigDict(frozen=True)

    data_config: _Data = _Data()
    network: _Model = Field(default=_Model(), alias="model_config")
    peft_lora_config: _Lora = _Lora()
    inference_config: _Norm | None = None
    """Means and standard deviations that scores are normalised with; as they are if there are none."""

    def normal(self, dimensions: Sequence[Dimension]) -> tuple[list[float], list[float]]:
        """Return the means and standard deviations of ``dimensions``."""
        if self.inference_config is None:
            return [0.0] * len(dimensions), [1.0] * len(dimensions)
        table = self.inference_config.model_dump()
        return [table[f"{name}_mean"] for name in dimensions], [table[f"{name}_std"] for name in dimensions]


class VideoAlign(QwenReward):
    """What a vision-language model that was trained on people's answers says of a video.

    Score = the sum of visual quality (VQ), motion quality (MQ) and text alignment (TA), or of those that are
    asked for, each normalised as the checkpoint says. Differentiable, with the network's preprocessing in
    tensors. Source: Liu et al. 2025 (arXiv:2501.13918), weights KwaiVGI/VideoReward, on Qwen2-VL 2B; the
    instruction is that of its training.

    Args:
        network: frozen.
        patches: preprocessing.
        words: makes tokens of questions.
        config: of the checkpoint.
        dimensions: that count; all three if ``None``.
        frames: of a video that it sees.
        source: where the weights come from.
    """

    name = "videoalign"
    units = "VideoReward score, standard deviations"

    def __init__(
        self,
        network: QwenScorer,
        patches: QwenPatches,
        words: Words,
        *,
        config: VideoAlignConfig,
        dimensions: Sequence[Dimension] | None,
        frames: int,
        source: str,
    ) -> None:
        super().__init__(network, patches, words, source)
        dimensions = dimensions or _DIMENSIONS
        self._chosen = [_DIMENSIONS.index(name) for name in dimensions]
        self._mean, self._std = config.normal(dimensions)
        self.frames = frames

    @classmethod
    def load(
        cls,
        model: WeightsName,
        base: WeightsName,
        dimensions: Annotated[list[Dimension] | None, Field(min_length=1)] = None,
        frames: Annotated[int, Field(ge=2)] = 8,
        precision: Precision = "bfloat16",
    ) -> VideoAlign:
        """Return the reward of these weights, frozen, on the CPU.

        Args:
            model: folder of KwaiVGI/VideoReward, with ``model_config.json`` and ``checkpoint-<step>``; the
                last one is read.
            base: folder of Qwen2-VL-2B-Instruct, of which configuration and tokenizer are read; its weights
                too where the checkpoint has adapters alone.
            dimensions: that are summed; all three if ``None``.
            frames: evenly spaced ones that it sees; it was trained on two a second.
            precision: of the network.

        Raises:
            UserError: weights are missing or faulty, or not of this form.
        """
        folder = resolve(model)
        said = _read_config(folder)
        words = QwenReader.load(resolve(base), instruction("videoalign"), _MARKS)
        config = qwen_config(base, words.size)
        stored = _read_checkpoint(_last_checkpoint(folder), said.peft_lora_config, resolve(base))
        outputs = said.network.output_dim
        network = make_scorer(config, lambda: _head(config, outputs), stored, model, precision)
        patches = QwenPatches(config.vision_config, _LEAST_PIXELS, said.data_config.max_frame_pixels)
        source = f"VideoReward {model}"
        return cls(network, patches, words, config=said, dimensions=dimensions, frames=frames, source=source)

    @classmethod
    def skeleton(
        cls,
        model: WeightsName,
        base: WeightsName,
        dimensions: Annotated[list[Dimension] | None, Field(min_length=1)] = None,
        frames: Annotated[int, Field(ge=2)] = 8,
        precision: Precision = "bfloat16",
    ) -> VideoAlign:
        """Return the reward without values."""
        folder = local_folder(model)
        said = VideoAlignConfig() if folder is None else _read_config(folder)
        config = bare_config(base, instruction("videoalign"), _MARKS)
        outputs = said.network.output_dim
        network, words = bare_scorer(config, lambda: _head(config, outputs), precision, len(_MARKS))
        patches = QwenPatches(config.vision_config, _LEAST_PIXELS, said.data_config.max_frame_pixels)
        source = f"sizes of {base}"
        return cls(network, patches, words, config=said, dimensions=dimensions, frames=frames, source=source)

    @classmethod
    def frames_seen(cls, **settings: Any) -> FramesSeen:
        """Return how many frames it sees, by its settings."""
        return FramesSeen(settings.get("frames", 8), cls.by_frame)

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, frames, 3, H, W] in [0, 1], one prompt a video.

        Raises:
            UserError: a prompt holds a mark of the model, or the videos have another number of frames.
        """
        check_video(self.name, video, prompts, self.frames)
        found = self._network(self._patches(video), [self._words(prompt) for prompt in prompts])
        scores = found.diagonal(dim1=1, dim2=2) if found.shape[2] > 1 else found[:, :, 0]
        chosen = scores[:, self._chosen].to(video.dtype)
        score = ((chosen - chosen.new_tensor(self._mean)) / chosen.new_tensor(self._std)).sum(1)
        return Judgement(score, score)


def _head(config: Any, outputs: int) -> nn.Module:
    return nn.Linear(config.text_config.hidden_size, outputs, bias=False)


def _read_config(folder: Path) -> VideoAlignConfig:
    path = folder / _CONFIG
    if not path.is_file():
        raise UserError(str(folder), f"has no {_CONFIG}", _REMEDY, exit_code=ExitCode.MISSING)
    config, faults = parse(VideoAlignConfig, read_table(path))
    raise_faults(str(path), faults)
    assert config is not None
    return config


def _last_checkpoint(folder: Path) -> Path:
    steps = {int(path.name[11:]): path for path in folder.glob("checkpoint-*") if path.name[11:].isdecimal()}
    if not steps:
        raise UserError(str(folder), "has no checkpoint-<step>", _REMEDY, exit_code=ExitCode.MISSING)
    return steps[max(steps)]


def _read_checkpoint(folder: Path, lora: _Lora, base: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint with its adapters merged, by today's names.

    A whole one is ``model.pth``; else there are ``adapter_model.safetensors`` and what was trained beside
    them, ``non_lora_state_dict.pth``, and the rest is the base model's.
    """
    if (folder / "model.pth").is_file():
        return plain_names(_merged(_without_wrapper(read_tensors(folder / "model.pth", _REMEDY)), lora))
    stored = plain_names(read_weights(base))
    changed = read_tensors(folder / "non_lora_state_dict.pth", _REMEDY)
    adapters = read_tensors(folder / "adapter_model.safetensors", _REMEDY)
    stored |= plain_names(_without_wrapper(changed))
    parts = plain_names(_without_wrapper(adapters))
    return _merged(stored | parts, lora)


def _without_wrapper(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return ``stored`` without what peft puts around names."""
    return {
        name.removeprefix("base_model.model.").replace(".base_layer.", "."): w for name, w in stored.items()
    }


def _merged(stored: dict[str, Tensor], lora: _Lora) -> dict[str, Tensor]:
    """Return ``stored`` with the products of the adapters' matrices added to their weights."""
    parts: dict[str, dict[str, Tensor]] = {}
    plain = {}
    for name, value in stored.items():
        found = _ADAPTER.fullmatch(name)
        if found is None:
            plain[name] = value
        else:
            parts.setdefault(f"{found[1]}.weight", {})[found[2]] = value
    for name, pair in parts.items():
        if name not in plain or pair.keys() != {"A", "B"}:
            raise UserError(f"adapters of {name}", "are without their weight, or not a pair", _REMEDY)
        weight = plain[name].float()
        plain[name] = (weight + lora.scale * (pair["B"].float() @ pair["A"].float())).to(plain[name].dtype)
    return plain
