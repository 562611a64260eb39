"""Videos of a finished model, and sheets of them to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vader_bench.backbones import Backbone
from vader_bench.config.schema import SamplerConfig
from vader_bench.evaluation.evaluator import Evaluator
from vader_bench.pretrain.measure import Videos
from vader_bench.rewards.oracle import Oracle

__all__ = ["contact_sheet", "sample"]


def sample(backbone: Backbone, sampler: SamplerConfig, prompts: Sequence[str]) -> Videos:
    """Return a video [N, F, H, W, 3] for each of ``prompts``, as evaluation makes them."""
    evaluator = Evaluator(backbone, sampler, Oracle(), None, "cpu")
    return evaluator.videos([(prompt, 0) for prompt in prompts]).permute(0, 1, 3, 4, 2).numpy()


def contact_sheet(videos: Videos, texts: Sequence[str]) -> bytes:
    """Return a PNG with one row of frames a video [N, F, H, W, 3], its text above."""
    figure = Figure(figsize=(videos.shape[1], 1.25 * len(videos)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, video, text in zip(figure.subplots(len(videos)), videos, texts, strict=True):
        axes.imshow(np.concatenate(list(video), axis=1).clip(0, 1), interpolation="nearest")
        axes.set_title(text, fontsize=9, loc="left", pad=2)
        axes.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
