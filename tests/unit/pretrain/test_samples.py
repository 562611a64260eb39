"""Contact sheets show every frame of every video."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from vader_bench.pretrain.samples import contact_sheet


def test_a_sheet_has_a_row_for_each_video() -> None:
    videos = np.zeros((2, 3, 8, 8, 3), np.float32)
    videos[0, ..., 0] = 1.0
    videos[1, ..., 2] = 1.0
    sheet = contact_sheet(videos, ["a red video", "a blue video"])
    pixels = np.asarray(Image.open(io.BytesIO(sheet)).convert("RGB"))
    red, blue = ((pixels == colour).all(axis=2) for colour in ((255, 0, 0), (0, 0, 255)))
    assert red.sum() == blue.sum() > 0
    assert np.nonzero(red)[0].max() < np.nonzero(blue)[0].min()
    assert contact_sheet(videos, ["a red video", "a blue video"]) == sheet


def test_longer_videos_give_wider_sheets() -> None:
    widths = [
        Image.open(io.BytesIO(contact_sheet(np.zeros((2, frames, 8, 8, 3), np.float32), ["a", "b"]))).width
        for frames in (3, 6)
    ]
    assert widths[1] == 2 * widths[0]
