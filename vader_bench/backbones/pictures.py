"""The pictures that prompts of an image-to-video suite name, and what CLIP is shown of them."""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from vader_bench.config.paths import expanded, is_file, is_folder
from vader_bench.errors import ExitCode, UserError
from vader_bench.pocket.vocabulary import parse_caption
from vader_bench.pocket.world import Clip, draw_clip, render
from vader_bench.seeding import numpy_stream

__all__ = [
    "GIVEN", "POCKET", "PictureSource", "blurred_square", "picture_file", "picture_source", "pocket_clip",
]  # fmt: skip

POCKET = "pocket"
"""Name of the pictures that are drawn instead of read."""

GIVEN = "prompts"
"""Name of the pictures that lines of a prompt set name themselves (``image``)."""

PictureSource = Callable[[str], Tensor]
"""Prompt to picture [3, H, W] in [0, 1], on the CPU; a ``UserError`` where a prompt names none."""

_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
_UNREADABLE = (
    OSError,
    EOFError,
    OverflowError,
    SyntaxError,  # Pillow, of a PNG with a broken part
    TypeError,
    ValueError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow raises on files that are damaged or too large."""
_DEEP = ("I", "F")
"""Beginnings of modes with more than 8 bits; to make 8 of them would cut off what is bright."""


def picture_source(name: str, height: int, width: int) -> PictureSource:
    """Return what gives the picture that a prompt names, ``height`` x ``width`` pixels of 8 bits.

    A picture of another shape is cut to that shape around its middle, then resized (Lanczos).

    Args:
        name: ``"prompts"`` where each line of the prompt set names its picture; ``"pocket"`` for the first
            frame of a clip of the pocket world that the prompt describes, always the same one; or the path,
            with a slash, of a folder with ``<prompt>.png``, ``.jpg``, ``.jpeg`` or ``.webp``. Letter case and
            ways to encode a character do not matter, since file systems and people change them, unless
            several files differ in them alone: then the name must be the prompt.
        height: of the pictures.
        width: of the pictures.

    Raises:
        UserError: there is no such folder.
    """
    if name == POCKET:
        return lambda prompt: _fitted(_draw(prompt), height, width)
    if name == GIVEN:
        return _no_picture
    if "/" not in name:
        raise UserError(
            f"backbone.settings.pictures = {name!r}",
            "has no slash, so that a run's record would not tell what is in it",
            f"write ./{name}, {GIVEN!r} for those that prompts have, or {POCKET!r} for the pocket world",
        )
    folder = expanded(name)
    if not is_folder(folder):
        raise UserError(
            f"backbone.settings.pictures = {name!r}",
            "is not a folder",
            f"give a folder of pictures called after their prompts, or {POCKET!r}",
            exit_code=ExitCode.MISSING,
        )
    return lambda prompt: _fitted(_read(folder, prompt), height, width)


def picture_file(path: Path, height: int, width: int) -> Tensor:
    """Return the picture [3, ``height``, ``width``] in [0, 1] in the file ``path``, cut and resized alike.

    Raises:
        UserError: the file cannot be read as a picture of 8 bits.
    """
    return _fitted(_opened(path), height, width)


def _no_picture(prompt: str) -> Tensor:
    wrong = "has no picture: backbone.settings.pictures is 'prompts', and its line names no `image`"
    raise UserError(f"prompt {prompt!r}", wrong, "give it an `image` in a .jsonl file")


def blurred_square(pictures: Tensor, size: int) -> Tensor:
    """Return ``pictures`` [..., H, W] as [..., size, size]: blurred, then bicubic, corners aligned.

    Stable Video Diffusion shows CLIP pictures that were shrunk like this. The blur is Gaussian; its standard
    deviation in pixels is half of what the factor of shrinking has above 1.
    """
    rows, columns = (_blurred_matrix(pictures, side, size) for side in pictures.shape[-2:])
    return rows @ pictures @ columns.T


def _blurred_matrix(like: Tensor, old: int, new: int) -> Tensor:
    """Return the matrix [new, old] that blurs and resizes a column of pixels."""
    spread = max((old / new - 1) / 2, 0.001)
    taps = int(max(4 * spread, 3)) // 2 * 2 + 1
    offsets = torch.arange(taps, dtype=like.dtype, device=like.device) - taps // 2
    kernel = (-(offsets**2) / (2 * spread**2)).exp()
    # row i: what becomes of a column in which pixel i alone is 1
    impulses = torch.eye(old, dtype=like.dtype, device=like.device)[:, None]
    padded = functional.pad(impulses, (taps // 2, taps // 2), mode="reflect")
    blurred = functional.conv1d(padded, (kernel / kernel.sum())[None, None])
    wanted = (old, new)
    resized = functional.interpolate(blurred[None, :, 0][None], wanted, mode="bicubic", align_corners=True)
    return resized[0, 0].T


def pocket_clip(prompt: str) -> Clip:
    """Return the clip of the pocket world whose first frame is the picture that ``prompt`` names.

    Raises:
        UserError: ``prompt`` is no sentence of that world.
    """
    caption = parse_caption(prompt)
    if caption is None:
        raise UserError(
            f"prompt {prompt!r}",
            "is no sentence of the pocket world, so that there is no picture of it",
            "use a pocket prompt set, or name a folder of pictures in backbone.settings.pictures",
        )
    return draw_clip(numpy_stream(0, "picture", prompt), caption)


def _draw(prompt: str) -> Image.Image:
    picture = render(pocket_clip(prompt), [0])[0]
    return Image.fromarray((picture * 255).round().astype(np.uint8))


def _called(folder: Path, prompt: str) -> list[Path]:
    """Return the pictures in ``folder`` that are called ``prompt``; in other ways to write it, if none is."""
    exact = [path for path in (folder / f"{prompt}{ending}" for ending in _ENDINGS) if is_file(path)]
    if exact:
        return exact
    pictures = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _ENDINGS]
    alike = [path for path in pictures if _name(path.stem) == _name(prompt) and path.is_file()]
    return [path for path in alike if path.stem == prompt] or alike


def _name(text: str) -> str:
    """Return ``text`` without letter case and ways to encode a character."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _read(folder: Path, prompt: str) -> Image.Image:
    if Path(prompt).name != prompt:
        raise UserError(f"prompt {prompt!r}", "is not the name of a picture", "leave out the folder")
    found = _called(folder, prompt)
    if not found:
        raise UserError(
            f"prompt {prompt!r}",
            f"names no picture in {folder}",
            f"put {prompt}.png or {prompt}.jpg there",
            exit_code=ExitCode.MISSING,
        )
    if len(found) > 1:
        raise UserError(
            f"prompt {prompt!r}", f"names {' and '.join(map(str, found))}", "delete all but one of them"
        )
    return _opened(found[0])


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            if image.mode.startswith(_DEEP):
                wrong = f"has more than 8 bits a pixel (mode {image.mode})"
                raise UserError(str(path), wrong, "save it with 8 bits a colour")
            return ImageOps.exif_transpose(image).convert("RGB")
    except _UNREADABLE as error:
        raise UserError(str(path), "cannot be read as a picture", "give a whole PNG or JPEG") from error


def _fitted(image: Image.Image, height: int, width: int) -> Tensor:
    pixels = np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1).contiguous()
