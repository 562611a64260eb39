"""A study file to begin with is right as it stands, and says what is still to be filled in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.studies import PROMPTS, write_clip
from vader_bench.errors import UserError
from vader_bench.human.config import LONG_SEED, load_study
from vader_bench.human.package.build import build_package
from vader_bench.human.package.sources import find_clips
from vader_bench.human.package.starter import write_starter

RUNS = Path(__file__).parents[4] / "results" / "reference" / "fig7" / "pocket" / "runs"


def folders(tmp_path: Path, first: str, second: str) -> tuple[Path, Path, str]:
    """Write four videos an arm and their prompts."""
    for number, name in enumerate((first, second)):
        for index in range(4):
            write_clip(tmp_path / name / f"{index}.mp4", 40 + 80 * number + index)
    (tmp_path / "my prompts.txt").write_text("\n".join(PROMPTS[:4]) + "\n", "utf-8")
    return tmp_path / first, tmp_path / second, str(tmp_path / "my prompts.txt")


def test_two_folders_of_videos_can_be_built_at_once(tmp_path: Path) -> None:
    first, second, prompts = folders(tmp_path, "untouched", "after training")
    path = tmp_path / "studies" / "mine.yaml"
    write_starter(path, first, second, prompts)
    study = load_study(path)
    assert (study.study, list(study.arms)) == ("mine", ["untouched", "after-training"])
    assert study.seed >= LONG_SEED
    assert study.responses_wanted == 300
    assert [len(clips) for clips in find_clips(study).values()] == [4, 4]
    text = path.read_text("utf-8")
    assert "../untouched" in text, "relative to the file, so that both can be moved"
    assert "COUNTED FROM 0" in text
    assert text.count("#") > 15, "a word on every choice"
    built = build_package(study, tmp_path / "out")
    assert "the consent is not filled in: who, ethics, contact" in built.warnings
    write_starter(tmp_path / "other.yaml", first, second, prompts)
    assert load_study(tmp_path / "other.yaml").seed != study.seed


def test_runs_get_new_videos_of_a_packaged_sets_prompts(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    write_starter(path, RUNS / "base-hps-seed1", RUNS / "vader-hps-seed1", "pocket")
    study = load_study(path)
    assert (study.samples, study.prompts) == (2, "pocket")
    assert list(study.arms) == ["base-hps-seed1", "vader-hps-seed1"]


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ("base/samples", "tuned/samples", ["base", "tuned"]),
        ("x/left", "y/right", ["arm-of-left", "arm-of-right"]),  # raters read these words on the page
        ("a b", "a-b", ["a-b-A", "a-b-B"]),
        ("???", "tuned", ["arm-A", "tuned"]),
    ],
)
def test_arms_have_names_that_are_distinct_and_not_on_the_page(
    tmp_path: Path, first: str, second: str, names: list[str]
) -> None:
    one, two, prompts = folders(tmp_path, first, second)
    write_starter(tmp_path / "study.yaml", one, two, prompts)
    study = load_study(tmp_path / "study.yaml")
    assert list(study.arms) == names
    build_package(study, tmp_path / "out")


def test_what_is_wrong_is_reported_and_nothing_is_overwritten(tmp_path: Path) -> None:
    first, second, prompts = folders(tmp_path, "untouched", "trained")
    path = tmp_path / "study.yaml"
    for one, two, lines, wrong in (
        (tmp_path / "none", second, prompts, "none: is no folder"),
        (first, first, prompts, "is both arms"),
        (first, second, str(tmp_path / "none.txt"), "none.txt"),
    ):
        with pytest.raises(UserError, match=wrong):
            write_starter(path, one, two, lines)
        assert not path.exists()
    path.write_text("mine")
    with pytest.raises(UserError, match=r"study\.yaml: exists"):
        write_starter(path, first, second, prompts)
    assert path.read_text() == "mine"
