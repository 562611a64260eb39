"""HPSv3: what people prefer, by a vision-language model that looks at frame and prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from vader_bench.config.rules import WeightsName
from vader_bench.rewards.base import Judgement
from vader_bench.rewards.preprocess import check_video
from vader_bench.rewards.qwen2vl import (
    Precision,
    QwenPatches,
    QwenReader,
    QwenReward,
    bare_config,
    bare_scorer,
    instruction,
    make_scorer,
    plain_names,
    qwen_config,
)
from vader_bench.weights.networks import read_weights
from vader_bench.weights.resolve import resolve
from vader_bench.weights.tensors import read_tensors

__all__ = ["HPSv3"]

_MARKS = ("<|Reward|>",)
_PIXELS = 256 * 28 * 28
"""Of a picture that the network sees, as in its training."""
_WIDTHS = (1024, 16)


class HPSv3(QwenReward):
    """How much people would prefer a frame for its prompt, the mean over frames.

    Score = the mean of HPSv3's normal distribution. Differentiable, with the network's preprocessing in
    tensors. Source: Ma et al. 2025 (arXiv:2508.03789), weights
    MizzenAI/HPSv3, on Qwen2-VL 7B; the instruction is that of its training.

    Args:
        network: frozen.
        patches: preprocessing.
        words: makes tokens of questions.
        source: where the weights come from.
    """

    name = "hpsv3"
    by_frame = True
    units = "HPSv3 score"

    @classmethod
    def load(cls, model: WeightsName, base: WeightsName, precision: Precision = "bfloat16") -> HPSv3:
        """Return the reward of these weights, frozen, on the CPU.

        Args:
            model: the released ``HPSv3.safetensors``, or a folder of weights of the same names.
            base: folder of Qwen2-VL-7B-Instruct, of which the configuration and the tokenizer are read.
            precision: of the network; the head is in float32.

        Raises:
            UserError: weights are missing or faulty.
        """
        words = QwenReader.load(resolve(base), instruction("hpsv3"), _MARKS)
        config, path = qwen_config(base, words.size), resolve(model)
        remedy = "give the released HPSv3.safetensors"
        stored = read_weights(path) if path.is_dir() else read_tensors(path, remedy)
        network = make_scorer(config, lambda: _head(config), plain_names(stored), model, precision)
        return cls(network, QwenPatches(config.vision_config, _PIXELS, _PIXELS), words, f"HPSv3 {model}")

    @classmethod
    def skeleton(cls, model: WeightsName, base: WeightsName, precision: Precision = "bfloat16") -> HPSv3:
        """Return the reward without values."""
        del model
        config = bare_config(base, instruction("hpsv3"), _MARKS)
        network, words = bare_scorer(config, lambda: _head(config), precision, len(_MARKS))
        return cls(network, QwenPatches(config.vision_config, _PIXELS, _PIXELS), words, f"sizes of {base}")

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, F, 3, H, W] in [0, 1], one prompt a video.

        Raises:
            UserError: a prompt holds a mark of the model.
        """
        check_video(self.name, video, prompts)
        frames = video.shape[1]
        questions = [question for question in map(self._words, prompts) for _ in range(frames)]
        patches = self._patches(video.flatten(0, 1)[:, None])
        found = self._network(patches, questions)[:, 0, 0].to(video.dtype)
        score = found.unflatten(0, (-1, frames)).mean(1)
        return Judgement(score, score)


def _head(config: Any) -> nn.Module:
    """Return the head, whose two numbers are mean and spread: three layers, as in HPSv3's code."""
    width, (first, second) = config.text_config.hidden_size, _WIDTHS
    return nn.Sequential(
        nn.Linear(width, first),
        nn.ReLU(),
        nn.Dropout(0.05),
        nn.Linear(first, second),
        nn.ReLU(),
        nn.Linear(second, 2),
    )
