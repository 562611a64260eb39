"""What is measured of a trained model once, at the end of its run, beside the last look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from vader_bench.backbones.base import ImageBackbone
from vader_bench.diffusion.lora import Lora
from vader_bench.errors import UserError
from vader_bench.evaluation.extend import extend
from vader_bench.evaluation.generate import Evaluator, Sight
from vader_bench.records import Extension, Sample

__all__ = ["extensions", "frontier", "sample_videos"]


def frontier(
    evaluator: Evaluator, lora: Lora, scales: Sequence[float], prompts: Sequence[str]
) -> Iterator[tuple[float, Sight]]:
    """Yield what one video of each prompt shows with the adapters ``lora`` scaled by each of ``scales``.

    Scaling goes from the base model (0) through the trained one (1) and beyond, with one training.
    """
    try:
        for scale in scales:
            lora.set_scale(scale)
            yield scale, evaluator.look(prompts, 1)
    finally:
        lora.set_scale(1.0)


def extensions(
    evaluator: Evaluator, prompts: Sequence[str], chunks: int
) -> Iterator[tuple[Extension, Tensor]]:
    """Yield for each prompt the scores of its video of ``chunks`` chunks, and the video [F, 3, H, W] itself.

    Raises:
        UserError: the backbone does not start from a picture.
    """
    backbone = evaluator.backbone
    if not isinstance(backbone, ImageBackbone):
        raise UserError(
            f"evaluation.measure.chunks = {chunks}",
            f"is nothing for {backbone.name}",
            "use an image-to-video suite",
        )
    for prompt in prompts:
        video = extend(backbone, evaluator.sampler, [prompt], chunks, device=evaluator.device)
        parts = [part.to(evaluator.device) for part in video.chunk(chunks, dim=1)]
        scores = [evaluator.judge(part, [(prompt, 0)])[0] for part in parts]
        found = Extension(
            prompt=prompt,
            rewards=[score.reward for score in scores],
            golds=[score.gold for score in scores if score.gold is not None],
            prompt_shares=[score.prompt_share for score in scores if score.prompt_share is not None],
        )
        yield found, video[0]
        evaluator.sampled(chunks)


def sample_videos(
    evaluator: Evaluator, prompts: Sequence[str], write: Callable[[int, Tensor], None]
) -> list[Sample]:
    """Write the video of each prompt by ``write(index, video [F, 3, H, W])``; return what is seen in them."""
    videos = evaluator.videos([(prompt, 0) for prompt in prompts])
    for index, video in enumerate(videos):
        write(index, video)
    verdicts = evaluator.reward.verdicts(videos, prompts)
    return [Sample(prompt=prompt, verdict=said) for prompt, said in zip(prompts, verdicts, strict=True)]
