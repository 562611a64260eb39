"""A sheet of all videos of a study under their prompts: to be looked at before anyone is asked."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image

from vader_bench.human.config import StudyConfig
from vader_bench.human.package.sources import Scene
from vader_bench.report.html import render
from vader_bench.videos import Shape, Video

__all__ = ["CONTACT_SHEET", "Thumbnail", "contact_sheet", "thumbnail_of"]

CONTACT_SHEET: Final = "key/contact-sheet.html"
"""The file, in the folder of a study: it distinguishes the arms, as the key does."""
WIDEST: Final = 200
_TEMPLATE: Final = Path(__file__).parent / "requester" / "contact_sheet.html.j2"


class Thumbnail(NamedTuple):
    """What is known of a video at a glance."""

    shape: Shape
    first: str
    """Its first picture as a data address, at most ``WIDEST`` pixels wide."""


def thumbnail_of(video: Video) -> Thumbnail:
    """Return the shape of ``video`` and its first picture."""
    picture = Image.fromarray(video.pictures[0])
    picture.thumbnail((WIDEST, WIDEST))
    data = BytesIO()
    picture.save(data, "PNG")
    return Thumbnail(video.shape, f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}")


def contact_sheet(
    study: StudyConfig, clips: Mapping[str, Mapping[Scene, Path]], thumbnails: Mapping[Path, Thumbnail]
) -> str:
    """Return a page with prompt, file and first picture of every video: by scene a row, by arm a column.

    Args:
        study: the study.
        clips: the files by arm and scene, the same scenes for every arm.
        thumbnails: what is known of each file.
    """
    rows = [
        {
            "prompt": scene.prompt,
            "sample": scene.sample,
            "files": [of_arm[scene] for of_arm in clips.values()],
        }
        for scene in next(iter(clips.values()))
    ]
    pictures = {path: look.first for path, look in thumbnails.items()}
    return render(_TEMPLATE, {"study": study.study, "arms": list(clips), "rows": rows, "pictures": pictures})
