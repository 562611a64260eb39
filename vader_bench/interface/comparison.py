"""A trained model beside its base model: pairs of videos from one noise, and the page that shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vader_bench.config.names import BASE, HELDOUT
from vader_bench.config.schema import SuiteConfig
from vader_bench.files import write_text
from vader_bench.interface.videos import write_videos
from vader_bench.prompts.sets import load_prompts
from vader_bench.report.html import render
from vader_bench.report.page import TEMPLATES
from vader_bench.training.model import Model

__all__ = ["TRAINED", "sample_pair", "suite_prompts"]

TRAINED = "trained"
"""Folder of the trained model's videos; those of the base model are in ``base``."""


def suite_prompts(suite: SuiteConfig, count: int) -> list[str]:
    """Return the first ``count`` held-out prompts of a suite."""
    name = suite.prompts.get("default", next(iter(suite.prompts.values())))
    return load_prompts(name).split(HELDOUT)[:count]


def sample_pair(
    model: Model,
    prompts: Sequence[str],
    samples: int,
    scale: float,
    folder: Path,
    sampled: Callable[[int], None] = lambda _: None,
) -> Path:
    """Write videos of a model and of its base model to ``folder``, and return the page that shows both.

    Args:
        model: a suite's model has no pair: its videos are shown alone.
        prompts: as the backbone takes them.
        samples: videos of each prompt.
        scale: of the adapters.
        folder: gets ``base/``, ``trained/`` and ``index.html``.
        sampled: called with how many videos are ready, whenever some are.

    Raises:
        UserError: the backbone refuses a prompt, or the disk refuses.
    """
    scales = {BASE: 0.0} if model.lora is None else {BASE: 0.0, TRAINED: scale}
    paths = {
        name: write_videos(
            model.sample(prompts, samples, scale=factor, sampled=sampled), folder / name, prompts
        )
        for name, factor in scales.items()
    }
    rows = [
        (
            prompt,
            [(name, found[index * samples + sample].relative_to(folder)) for name, found in paths.items()],
        )
        for index, prompt in enumerate(prompts)
        for sample in range(samples)
    ]
    page = folder / "index.html"
    write_text(page, render(TEMPLATES / "samples.html.j2", {"suite": model.suite.suite, "rows": rows}))
    return page
