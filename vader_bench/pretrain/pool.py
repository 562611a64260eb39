"""Clips that rewards learn from beside drawings: what generators make, and what it shows.

A reward that has seen clean drawings alone says anything of other pictures, and a method that raises it
finds those. The pool lies in the folder of data, one part a file; a part is whole or absent.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from vader_bench.files import read_text, write_bytes, write_json
from vader_bench.pocket.books import shows_book
from vader_bench.pocket.oracle import Sighting, look

__all__ = ["CLEAR", "Part", "Piece", "Pool", "as_bytes", "as_floats", "keep_part", "known_part"]

CLEAR = 0.4
"""Agreement with a silhouette sequence from which on the oracle's verdict on a clip's action is taught."""
_FOLDER = "pool"


class Piece(NamedTuple):
    """One clip of the pool."""

    frames: NDArray[np.uint8]
    """[F, H, W, 3]."""
    prompt: str
    """What the generator was asked for."""
    seen: Sighting
    books: Sequence[bool]
    """Whether each frame shows a book."""


@dataclass(frozen=True)
class Part:
    """Clips that were made alike."""

    frames: NDArray[np.uint8]
    """[N, F, H, W, 3], mapped from the disk."""
    prompts: list[str]
    seen: list[Sighting]
    """What the oracle sees in each clip."""
    books: list[list[bool]]
    """Whether each frame of each clip shows a book."""

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.prompts)

    def __getitem__(self, index: int) -> Piece:
        """Return clip ``index``."""
        return Piece(self.frames[index], self.prompts[index], self.seen[index], self.books[index])


class Pool:
    """Parts in groups; each group is drawn from equally often, whatever its size.

    Args:
        groups: parts by the name of their group; none of them is empty.
    """

    def __init__(self, groups: Mapping[str, Sequence[Part]]) -> None:
        self._groups = [list(parts) for parts in groups.values()]

    def draw(self, rng: np.random.Generator) -> Piece:
        """Draw a clip."""
        parts = self._groups[int(rng.integers(len(self._groups)))]
        index = int(rng.integers(sum(map(len, parts))))
        for part in parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise AssertionError("the index is smaller than the number of clips")

    def frame(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], Piece]:
        """Draw one frame [H, W, 3] in [0, 1], and the clip that it is of."""
        piece = self.draw(rng)
        return as_floats(piece.frames[int(rng.integers(len(piece.frames)))]), piece


@dataclass(frozen=True)
class _Labels:
    """What a part's file of labels says; see ``Part``."""

    prompts: list[str]
    seen: list[Sighting]
    books: list[list[bool]]


_LABELS = TypeAdapter(_Labels)


def known_part(folder: Path, name: str) -> Part | None:
    """Return the part ``name`` that is kept in ``folder``; ``None`` where there is none."""
    labels = folder / _FOLDER / f"{name}.json"
    if not labels.exists():
        return None
    said = _LABELS.validate_json(read_text(labels))
    frames = np.load(folder / _FOLDER / f"{name}.npy", mmap_mode="r")
    return Part(frames, said.prompts, said.seen, said.books)


def keep_part(folder: Path, name: str, frames: NDArray[np.uint8], prompts: Sequence[str]) -> None:
    """Have the oracle look at clips ``frames`` [N, F, H, W, 3], and keep them as part ``name``.

    Where neither the prompt nor the oracle speaks of a book, none is looked for.
    """
    buffer = io.BytesIO()
    np.save(buffer, frames)
    write_bytes(folder / _FOLDER / f"{name}.npy", buffer.getvalue())
    seen, books = [], []
    for clip, prompt in zip(frames, prompts, strict=True):
        video = as_floats(clip)
        seen.append(look(video))
        worth = "book" in prompt.split() or seen[-1].noun == "book"
        books.append(shows_book(video).tolist() if worth else [False] * len(video))
    write_json(folder / _FOLDER / f"{name}.json", asdict(_Labels(list(prompts), seen, books)))


def as_floats(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pictures of any shape in [0, 1]."""
    return frames.astype(np.float32) / np.float32(255)


def as_bytes(frames: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return pictures of any shape, given in [0, 1], as bytes."""
    return np.round(frames * 255).clip(0, 255).astype(np.uint8)
