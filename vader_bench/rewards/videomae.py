"""The action reward: a video classifier's probability of what the prompt says happens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from vader_bench.config.rules import WeightsName
from vader_bench.errors import UserError, shown
from vader_bench.rewards.base import FramesSeen, Judgement, PromptReader, Reward
from vader_bench.rewards.preprocess import ANY_STATISTICS, Preprocess, check_video, read_preprocess
from vader_bench.weights.networks import bare_network, load_network
from vader_bench.weights.pipeline_folder import config_whole
from vader_bench.weights.resolve import resolve
from vader_bench.weights.sizes import read_labels, read_sizes

if TYPE_CHECKING:
    from transformers import VideoMAEForVideoClassification

__all__ = ["Action", "ClassFinder", "Objective", "class_log_probability"]

Objective = Literal["probability", "log-probability"]
_SHOWN_LABELS = 20


class ClassFinder:
    """Finds the class that a prompt speaks of.

    The prompt's class is, in this order: the label that is the prompt; the label of the first keyword
    that the prompt contains; the longest label that the prompt contains. Case and punctuation do not
    matter, and only whole words count.

    Args:
        labels: class names, in the classifier's order.
        keywords: labels by keyword, in order of precedence; e.g. ``{"piano": "playing piano"}`` lets
            "a girl playing the piano" count as Kinetics' "playing piano".

    Raises:
        UserError: a keyword stands for no label.
    """

    def __init__(self, labels: Sequence[str], keywords: Mapping[str, str] | None = None) -> None:
        self.labels = list(labels)
        index = {_words(label): i for i, label in enumerate(self.labels)}
        self._exact = index
        self._phrases = []
        for keyword, label in (keywords or {}).items():
            if _words(label) not in index:
                raise UserError(f"keyword {keyword!r}: {label!r}", "is not a class", self._known())
            self._phrases.append((_words(keyword), index[_words(label)]))
        self._phrases += sorted(index.items(), key=lambda entry: -len(entry[0]))

    def find(self, prompt: str) -> int:
        """Return the index of the prompt's class.

        Raises:
            UserError: the prompt speaks of no class; the labels are named.
        """
        words = _words(prompt)
        if words in self._exact:
            return self._exact[words]
        for phrase, index in self._phrases:
            if phrase in words:
                return index
        raise UserError(f"prompt {shown(prompt)}", "names no action that the classifier knows", self._known())

    def _known(self) -> str:
        shown = ", ".join(self.labels[:_SHOWN_LABELS])
        more = len(self.labels) - _SHOWN_LABELS
        return f"use one of: {shown}" + (f" and {more} more" if more > 0 else "")


def _words(text: str) -> str:
    """Return the words of ``text``, each with a blank on both sides, so that ``in`` finds whole words."""
    return f" {' '.join(re.findall(r'[a-z0-9]+', text.lower()))} "


class _FirstClass(ClassFinder):
    """One for which every prompt speaks of the first class."""

    def find(self, prompt: str) -> int:
        """Return 0."""
        del prompt
        return 0


def class_log_probability(logits: Tensor, classes: Tensor) -> Tensor:
    """Return log softmax(logits)[class], at most 0: logits [B, C] and integer classes [B] to [B]."""
    return functional.log_softmax(logits, dim=-1).gather(1, classes[:, None])[:, 0]


class Action(Reward):
    """How sure a video classifier is that the prompt's action happens.

    Score = softmax probability of the prompt's class, 0 to 1. The objective is the same, or its logarithm,
    the negative cross-entropy that VADER's authors raise in their code: that has a gradient where the
    classifier is sure that something else happens, and such videos lead it. Source: VideoMAE
    (arXiv:2203.12602); the VADER paper uses MCG-NJU/videomae-base-finetuned-kinetics (CC BY-NC 4.0).

    Args:
        model: frozen; its config says how many frames a video must have.
        preprocess: turns frames in [0, 1] into what it takes.
        finder: of the classes that the model knows.
        objective: what gradient methods raise.
        source: where the weights come from.
    """

    name = "action"
    units = "probability"
    value_range = (0.0, 1.0)

    def __init__(
        self,
        model: VideoMAEForVideoClassification,
        preprocess: Preprocess,
        finder: ClassFinder,
        objective: Objective,
        source: str,
    ) -> None:
        self._model = model
        self._preprocess = preprocess
        self._finder = finder
        self._objective = objective
        self.frames = model.config.num_frames
        self.source = source

    @classmethod
    def load(
        cls,
        model: WeightsName,
        keywords: Mapping[str, str] | None = None,
        objective: Objective = "probability",
    ) -> Action:
        """Return the reward of these weights, frozen, on the CPU.

        Args:
            model: weights of a transformers ``VideoMAEForVideoClassification`` folder; its config names
                the classes (``id2label``) and the number of frames that a video must have.
            keywords: see ``ClassFinder``.
            objective: what gradient methods raise; see the class. Of hundreds of classes the logarithm alone
                has a gradient to speak of before the first success.

        Raises:
            UserError: weights are missing or faulty; a keyword stands for no class.
        """
        # transformers takes seconds to import, and listing the rewards should not
        from transformers import VideoMAEForVideoClassification

        folder = resolve(model)
        network = load_network(VideoMAEForVideoClassification, folder)
        preprocess = read_preprocess(folder, network.config.image_size)
        labels: dict[int, str] = network.config.id2label or {}
        finder = ClassFinder([labels[i] for i in range(len(labels))], keywords)
        return cls(network, preprocess, finder, objective, f"VideoMAE {model}")

    @classmethod
    def skeleton(
        cls,
        model: WeightsName,
        keywords: Mapping[str, str] | None = None,
        objective: Objective = "probability",
    ) -> Action:
        """Return the reward without values; the names of the classes do not matter."""
        from transformers import VideoMAEForVideoClassification

        del keywords
        network = bare_network(VideoMAEForVideoClassification, model)
        preprocess = Preprocess(network.config.image_size, *ANY_STATISTICS)
        return cls(network, preprocess, _FirstClass([""]), objective, f"sizes of {model}")

    @classmethod
    def frames_seen(cls, **settings: Any) -> FramesSeen:
        """Return how many frames the classifier takes, by its config; 16 is the default of transformers."""
        sizes = read_sizes(settings["model"], {"model": "config.json"})["model"]
        return FramesSeen(config_whole(sizes, "num_frames", settings["model"], 16), cls.by_frame)

    @classmethod
    def reader(cls, **settings: Any) -> PromptReader | None:
        """Return what refuses prompts that name no class; the names are in the folder's config."""
        labels = read_labels(resolve(settings["model"]) / "config.json")
        named = [labels.get(str(i), "") for i in range(len(labels))]
        return ClassFinder(named, settings.get("keywords")).find if named else None

    def modules(self) -> list[nn.Module]:
        """Return the classifier and its preprocessing."""
        return [self._model, self._preprocess]

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, frames, 3, H, W] in [0, 1], one prompt a video.

        Raises:
            UserError: a prompt names no class, or the videos have another number of frames.
        """
        check_video(self.name, video, prompts, self.frames)
        classes = torch.tensor([self._finder.find(prompt) for prompt in prompts], device=video.device)
        logits = self._model(self._preprocess(video)).logits
        logarithm = class_log_probability(logits, classes)
        score = logarithm.exp()
        return Judgement(score, logarithm if self._objective == "log-probability" else score)

    @torch.no_grad()
    def verdicts(self, video: Tensor, prompts: Sequence[str]) -> list[str]:
        """Return the most probable class of each video with its probability."""
        check_video(self.name, video, prompts, self.frames)
        sure, found = self._model(self._preprocess(video)).logits.softmax(dim=-1).max(dim=-1)
        labels = self._finder.labels
        return [f"{labels[int(i)]} ({p:.2f})" for i, p in zip(found, sure.tolist(), strict=True)]
