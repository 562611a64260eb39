"""Folders of videos: written, read, scored."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.benches import RedReward
from vader_bench.errors import UserError
from vader_bench.interface.videos import read_videos, score, write_videos
from vader_bench.videos import encode_mp4

PROMPTS = ["one", "two, with a comma"]


@pytest.fixture(scope="module")
def videos() -> torch.Tensor:
    """Two plain videos [2, 4, 3, 16, 16], the first without red, the second half red."""
    return torch.tensor([0.0, 0.5])[:, None, None, None, None] * torch.ones(2, 4, 3, 16, 16)


@pytest.fixture
def folder(tmp_path: Path, videos: torch.Tensor) -> Path:
    """A folder with them."""
    write_videos(videos, tmp_path, PROMPTS)
    return tmp_path


def test_what_is_written_is_read_again_at_its_size(folder: Path, videos: torch.Tensor) -> None:
    found = list(read_videos(folder))
    assert [(video.name, video.prompt) for video in found] == [("00.mp4", PROMPTS[0]), ("01.mp4", PROMPTS[1])]
    torch.testing.assert_close(torch.stack([video.video for video in found]), videos, atol=0.02, rtol=0)


def test_fewer_videos_take_the_place_of_more_and_those_of_others_stay(folder: Path) -> None:
    other = folder / "other.mp4"
    other.write_bytes((folder / "00.mp4").read_bytes())
    write_videos(torch.zeros(1, 2, 3, 16, 16), folder, ["only"])
    assert sorted(path.name for path in folder.glob("*.mp4")) == ["00.mp4", "other.mp4"]
    other.unlink()
    assert [video.prompt for video in read_videos(folder)] == ["only"]


def test_several_videos_of_a_prompt(tmp_path: Path) -> None:
    write_videos(torch.zeros(4, 2, 3, 16, 16), tmp_path, PROMPTS)
    assert [video.prompt for video in read_videos(tmp_path)] == [p for p in PROMPTS for _ in range(2)]


def test_a_folder_and_its_videos_have_the_same_scores(folder: Path, videos: torch.Tensor) -> None:
    told: list[int] = []
    from_files = score(folder, RedReward(), scored=told.append)
    from_memory = score(videos, RedReward(), PROMPTS)
    assert list(from_files.columns) == ["video", "prompt", "score"]
    assert from_memory["score"].tolist() == pytest.approx(RedReward().score(videos, PROMPTS).tolist())
    assert from_files["score"].tolist() == pytest.approx(from_memory["score"].tolist(), abs=0.02)
    assert told == [1, 1]


def test_prompts_may_be_given_for_files_of_other_programs(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MP4"):
        (tmp_path / name).write_bytes(encode_mp4(torch.zeros(2, 3, 300, 300)))
    (tmp_path / "notes.txt").write_text("no video", "utf-8")
    found = list(read_videos(tmp_path, ["first", "second"]))
    assert [(video.name, video.prompt) for video in found] == [("a.MP4", "first"), ("b.mp4", "second")]
    assert found[0].video.shape == (2, 3, 300, 300)


def test_a_reward_of_fewer_frames_judges_evenly_spaced_ones() -> None:
    video = torch.zeros(1, 4, 3, 16, 16)
    video[0, :, 0] = torch.tensor([0.9, 0.2, 0.9, 0.6])[:, None, None]  # the middles of two halves: 1 and 3
    found = score(video, RedReward(frames=2), ["red"])
    assert found["score"].tolist() == pytest.approx([0.4])


@pytest.mark.parametrize(
    ("listing", "line"),
    [
        (None, "has no videos.csv, which says what each video shows"),
        ("video,prompt\n00.mp4,one\n", "says nothing of 01.mp4"),
        ("name,text\n00.mp4,one\n", "has no columns `video` and `prompt`"),
        ("", "is no CSV file"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(folder: Path, listing: str | None, line: str) -> None:
    path = folder / "videos.csv"
    if listing is None:
        path.unlink()
    else:
        path.write_text(listing, "utf-8")
    with pytest.raises(UserError, match=line):
        score(folder, RedReward())


def test_other_faults_are_one_line(folder: Path, videos: torch.Tensor, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for call, line in (
        (lambda: score(empty, RedReward()), "holds no video"),
        (lambda: score(tmp_path / "nowhere", RedReward()), "is no folder"),
        (lambda: score(folder, RedReward(), ["one"]), "holds 2 videos, and there are 1 prompts"),
        (lambda: score(videos, RedReward()), "2 videos: have 0 prompts"),
        (lambda: write_videos(videos, tmp_path, ["a", "b", "c"]), "are no multiple of the 3 prompts"),
    ):
        with pytest.raises(UserError, match=line):
            call()
    (folder / "00.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"00\.mp4"):
        score(folder, RedReward())
