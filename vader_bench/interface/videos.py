"""Folders of videos: written with their prompts, read, and scored by a reward."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from vader_bench import files
from vader_bench.errors import ExitCode, UserError
from vader_bench.rewards import Reward
from vader_bench.rewards.base import refuse_non_finite
from vader_bench.videos import encode_mp4, read_video

__all__ = ["LISTING", "NamedVideo", "folder_prompts", "read_videos", "score", "write_videos"]

LISTING = "videos.csv"
"""In a folder of videos: one row a file with its prompt."""
ENDINGS = frozenset({".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif"})
_NUMBERED = re.compile(r"\d{2,}\.mp4")
"""What ``write_videos`` calls a video."""
_CRF = 8
"""Nearly lossless, so that a reward sees what it would have seen."""


class NamedVideo(NamedTuple):
    """A video of a folder."""

    name: str
    prompt: str
    video: Tensor
    """[F, 3, H, W] in [0, 1]."""


def write_videos(videos: Tensor, folder: str | Path, prompts: Sequence[str]) -> list[Path]:
    """Write ``videos`` [N, F, 3, H, W] in [0, 1] to ``<folder>/<number>.mp4``, and which prompt each shows.

    Small videos are enlarged by a whole factor, so that they can be looked at; ``read_videos`` takes it back.

    Args:
        videos: one a prompt, or the same number for each, one after another, as ``Model.sample`` makes them.
        folder: made where it does not exist. Numbered videos that its list names, as of an earlier call, are
            replaced, and deleted where there are fewer now.
        prompts: what they show.

    Raises:
        UserError: the disk refuses, the numbers do not fit, or the folder's list cannot be read.
    """
    if not prompts or len(videos) % len(prompts):
        wrong = f"are no multiple of the {len(prompts)} prompts"
        raise UserError(f"{len(videos)} videos", wrong, "give the same number of videos for each prompt")
    each = len(videos) // len(prompts)
    earlier = _written_before(Path(folder))  # before anything is written: the list may be none
    digits = max(2, len(str(len(videos) - 1)))
    paths = [Path(folder) / f"{index:0{digits}}.mp4" for index in range(len(videos))]
    for path, video in zip(paths, videos, strict=True):
        files.write_bytes(path, encode_mp4(video, crf=_CRF))
    shown = [prompt for prompt in prompts for _ in range(each)]
    listing = pd.DataFrame({"video": [path.name for path in paths], "prompt": shown})
    files.write_text(Path(folder) / LISTING, listing.to_csv(index=False, lineterminator="\n"))
    for path in sorted(earlier - set(paths)):  # only now that the new ones are there
        path.unlink(missing_ok=True)
    return paths


def read_videos(folder: str | Path, prompts: Sequence[str] | None = None) -> Iterator[NamedVideo]:
    """Yield the videos of a folder in the order of its list, or of their names.

    Args:
        folder: holds video files, and maybe the list that ``write_videos`` leaves.
        prompts: what the videos show, in the order of their names; by default as the list says.

    Raises:
        UserError: no videos, no prompts for them, or a file that cannot be read.
    """
    for name, prompt in folder_prompts(folder, prompts):
        pictures = read_video(Path(folder) / name).native
        yield NamedVideo(name, prompt, torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255)


@torch.no_grad()
def score(
    videos: Tensor | str | Path,
    reward: Reward,
    prompts: Sequence[str] | None = None,
    *,
    device: str = "cpu",
    scored: Callable[[int], None] = lambda _: None,
) -> pd.DataFrame:
    """Return the score of each video, columns ``video``, ``prompt``, ``score``; see ``reward.units``.

    A reward of a fixed number of frames judges evenly spaced ones, as at the looks of a run.

    Args:
        videos: [N, F, 3, H, W] in [0, 1], or a folder of files.
        reward: as ``load_reward`` returns it.
        prompts: one a video; of a folder by default those that its list has.
        device: where the reward computes.
        scored: called with each video.

    Raises:
        UserError: prompts are missing, or more or fewer than videos; a file cannot be read, a video has too
            few frames, or a score is not finite.
    """
    found = _numbered(videos, prompts) if isinstance(videos, Tensor) else read_videos(videos, prompts)
    rows = []
    for name, prompt, video in found:
        whole = video.to(device)[None]
        value = reward.score(reward.shown(whole), [prompt])
        refuse_non_finite(reward.name, value, [prompt])
        rows.append((name, prompt, float(value)))
        scored(1)
    return pd.DataFrame(rows, columns=["video", "prompt", "score"])


def _numbered(videos: Tensor, prompts: Sequence[str] | None) -> Iterator[NamedVideo]:
    if prompts is None or len(prompts) != len(videos):
        wrong = f"have {0 if prompts is None else len(prompts)} prompts"
        raise UserError(f"{len(videos)} videos", wrong, "give one prompt for each video")
    for index, (prompt, video) in enumerate(zip(prompts, videos, strict=True)):
        yield NamedVideo(str(index), prompt, video)


def folder_prompts(folder: str | Path, prompts: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """Return the file names of a folder of videos with their prompts; see ``read_videos``.

    Raises:
        UserError: no videos, or no prompts for them.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(str(folder), "is no folder", "give one with videos", exit_code=ExitCode.MISSING)
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    if not names:
        remedy = f"give one with videos ({', '.join(sorted(ENDINGS))})"
        raise UserError(str(folder), "holds no video", remedy, exit_code=ExitCode.MISSING)
    if prompts is None:
        return _with_listed_prompts(folder, names)
    if len(prompts) != len(names):
        wrong = f"holds {len(names)} videos, and there are {len(prompts)} prompts"
        raise UserError(str(folder), wrong, "give one prompt for each video, in the order of the names")
    return list(zip(names, prompts, strict=True))


def _with_listed_prompts(folder: Path, names: Sequence[str]) -> list[tuple[str, str]]:
    path = folder / LISTING
    if not path.is_file():
        wrong = f"has no {LISTING}, which says what each video shows"
        remedy = "give the prompts, one a video in the order of the names, or write that file: video,prompt"
        raise UserError(str(folder), wrong, remedy, exit_code=ExitCode.MISSING)
    rows = _read_listing(path)
    bare = sorted(set(names) - {name for name, _ in rows})
    if bare:
        raise UserError(str(path), f"says nothing of {bare[0]}", "add its row, or delete the video")
    return rows


def _read_listing(path: Path) -> list[tuple[str, str]]:
    """Return the file names of a list with their prompts."""
    try:
        listing = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(str(path), f"is no CSV file ({error})", "write it again: video,prompt") from error
    if not {"video", "prompt"} <= set(listing.columns):
        raise UserError(str(path), "has no columns `video` and `prompt`", "add them")
    return list(zip(listing["video"], listing["prompt"], strict=True))


def _written_before(folder: Path) -> set[Path]:
    """Return the videos that ``write_videos`` wrote to ``folder`` before, by its list."""
    rows = _read_listing(folder / LISTING) if (folder / LISTING).is_file() else []
    return {folder / name for name, _ in rows if _NUMBERED.fullmatch(name)}
