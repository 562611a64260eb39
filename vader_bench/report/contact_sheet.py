"""Videos as one picture: frames of the base model and of every arm, prompt by prompt, from the same noise."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vader_bench.report.load import Results
from vader_bench.report.page import Cell, video_rows
from vader_bench.videos import read_video

__all__ = ["contact_sheet"]

FRAMES = 4
"""Frames shown of every video, evenly spaced."""
SIDE = 64
"""Pixels of the longer side of a frame."""
GAP = 10
TEXT = 12
"""Font size in pixels."""


def contact_sheet(results: Results) -> bytes | None:
    """Return the sheet as JPEG, one block of rows a reward; ``None`` where no video is there."""
    rows = [
        (reward, prompt, cells)
        for reward in results.experiment.rewards
        for prompt, cells in video_rows(results, reward)
    ]
    if not any(cell.source for _, _, cells in rows for cell in cells):
        return None
    strips = [[_strip(results.folder, cell) for cell in cells] for _, _, cells in rows]
    width = max(strip.width for row in strips for strip in row)
    height = max(strip.height for row in strips for strip in row)
    arms = [cell.arm for cell in rows[0][2]]
    line = TEXT + 6
    sheet = Image.new(
        "RGB", (GAP + len(arms) * (width + GAP), line + GAP + len(rows) * (height + line + GAP)), "white"
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT)
    for column, arm in enumerate(arms):
        draw.text((GAP + column * (width + GAP), GAP // 2), arm, "black", font)
    for index, ((reward, prompt, _), row) in enumerate(zip(rows, strips, strict=True)):
        top = line + GAP + index * (height + line + GAP)
        draw.text((GAP, top), f"{reward}: {prompt}", "#5c6370", font)
        for column, strip in enumerate(row):
            sheet.paste(strip, (GAP + column * (width + GAP), top + line))
    stream = BytesIO()
    sheet.save(stream, "JPEG", quality=90, subsampling=0)  # a quarter of the bytes of a PNG
    return stream.getvalue()


def _strip(folder: Path, cell: Cell) -> Image.Image:
    """Return the frames of one video side by side; a grey field where it is missing."""
    if cell.source is None:
        return Image.new("RGB", (FRAMES * SIDE, SIDE), "#dcdfe4")
    frames = _frames(folder / cell.source)
    strip = Image.new("RGB", (sum(frame.width for frame in frames), frames[0].height))
    for index, frame in enumerate(frames):
        strip.paste(frame, (index * frame.width, 0))
    return strip


def _frames(path: Path) -> Sequence[Image.Image]:
    pictures = read_video(path).pictures
    chosen = [Image.fromarray(pictures[round(i)]) for i in np.linspace(0, len(pictures) - 1, FRAMES)]
    scale = SIDE / max(chosen[0].size)
    size = (round(chosen[0].width * scale), round(chosen[0].height * scale))
    return [picture.resize(size, Image.Resampling.BOX) for picture in chosen]
