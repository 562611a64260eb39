"""Small studies as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import yaml

__all__ = ["HOSTILE", "PROMPTS", "study_data", "write_clip", "write_study"]

PROMPTS = ["a red car", "a blue book", "a green cat", "a yellow bird", "a purple boat", "an orange fish"]
HOSTILE = [
    "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">",
    "${block_id} ${block_json} ${x} 'single' \"double\" `back` \\ & &lt;",
    "\u202eשלם evil 👩‍🚀 語",
    "y" * 500,
]
"""Prompts that would run as scripts, be expanded or break a layout where a page is careless."""


def study_data(**changes: Any) -> dict[str, Any]:
    """Return the fields of a study of two arms on six prompts."""
    return {
        "study": "small",
        "title": "Compare short videos",
        "arms": {"unrefined": "one", "refinedarm": "two"},
        "prompts": "prompts.txt",
        "questions": [
            {"id": "text", "text": "Which video matches the text better?", "gold": "mismatch"},
            {"id": "quality", "text": "Which video has higher quality?", "gold": "degraded"},
        ],
        "primary": "quality",
        "responses": 24,
        "blocks": {"items": 4, "gold": 1, "repeats": 1, "per_rater": 3},
        "gold_arm": "unrefined",
        "consent": {
            "version": "1",
            "who": "A lab",
            "purpose": "To compare ways of making videos.",
            "ethics": "Exempt, 2026-11",
            "contact": "lab@example.org",
        },
        "pay": {"reward": 1.0, "seconds_per_item": 20.0},
        "seed": 7,
    } | changes


def write_clip(
    path: Path,
    shade: int,
    *,
    frames: int = 4,
    size: tuple[int, int] = (64, 48),
    codec: Literal["libx264", "mpeg4"] = "libx264",
) -> None:
    """Write a small video of grey ``shade`` with a moving bar, with metadata that tells its folder."""
    width, height = size
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata["title"] = path.parent.name
        stream = container.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            picture = np.full((height, width, 3), shade, np.uint8)
            picture[:, 4 * index : 4 * index + 4] = 255 - shade
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_study(folder: Path, *, clips: bool = False, lines: list[str] | None = None, **changes: Any) -> Path:
    """Write a study file with its prompts, on wish with its videos, and return its path."""
    prompts = PROMPTS if lines is None else lines
    (folder / "prompts.txt").write_text("\n".join(prompts) + "\n", "utf-8")
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study_data(**changes), sort_keys=False, allow_unicode=True), "utf-8")
    for index in range(len(prompts)) if clips else []:
        write_clip(folder / "one" / f"{index}.mp4", 40 + index)
        write_clip(folder / "two" / f"{index}.mp4", 120 + index)
    return path
