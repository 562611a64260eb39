"""Pairs of videos and their page."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from vader_bench.interface.comparison import sample_pair, suite_prompts
from vader_bench.interface.models import load_model
from vader_bench.videos import read_video


def test_a_row_shows_base_and_trained_model_from_one_noise(trained: Path, tmp_path: Path) -> None:
    told: list[int] = []
    page = sample_pair(load_model(trained), ["ab", "cd"], 2, 1.0, tmp_path, told.append)
    sources = re.findall(r'src="([^"]+)"', page.read_text("utf-8"))
    assert sources == [f"{name}/{index:02}.mp4" for index in range(4) for name in ("base", "trained")]
    assert sum(told) == 8
    base, other = (read_video(tmp_path / source).pictures.astype(float) for source in sources[:2])
    another = read_video(tmp_path / sources[2]).pictures.astype(float)
    assert 0 < np.abs(base - other).mean() < np.abs(base - another).mean()


def test_scale_0_shows_the_base_model_twice(trained: Path, tmp_path: Path) -> None:
    sample_pair(load_model(trained), ["ab"], 1, 0.0, tmp_path)
    assert (tmp_path / "base" / "00.mp4").read_bytes() == (tmp_path / "trained" / "00.mp4").read_bytes()


def test_a_suite_is_shown_alone(project: Path, tmp_path: Path) -> None:
    model = load_model(project / "tiny.yaml")
    sample_pair(model, suite_prompts(model.suite, 1), 1, 1.0, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "index.html"]
