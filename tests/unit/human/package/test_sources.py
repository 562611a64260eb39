"""Arms have the same scenes, or the study is refused and every lack is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.studies import PROMPTS, write_study
from vader_bench.errors import UserError
from vader_bench.files import read_json, write_json
from vader_bench.human.config import load_study
from vader_bench.human.package.sources import Scene, check_runs, find_clips
from vader_bench.prompts.sets import load_prompts

RUNS = Path(__file__).parents[4] / "results" / "reference" / "fig7" / "pocket" / "runs"
NAMES = {"unrefined": str(RUNS / "base-hps-seed1"), "refinedarm": str(RUNS / "vader-hps-seed1")}


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    for name in names:
        (folder / name).touch()


def told(path: Path) -> str:
    with pytest.raises(UserError) as raised:
        find_clips(load_study(path))
    return str(raised.value)


def test_videos_of_folders_are_named_by_prompt_and_noise(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    touch(tmp_path / "one", "2.mp4", "0-0.mp4", "0-1.mp4", "notes.txt")
    touch(tmp_path / "two", "0.mp4", "2-0.mp4", "0-1.mp4")
    found = find_clips(load_study(path))
    scenes = [Scene(PROMPTS[0], 0), Scene(PROMPTS[0], 1), Scene(PROMPTS[2], 0)]
    assert [list(clips) for clips in found.values()] == [scenes, scenes]
    assert found["refinedarm"][scenes[2]] == tmp_path / "two" / "2-0.mp4"


def test_samples_of_runs_are_of_the_prompts_in_their_records(tmp_path: Path) -> None:
    path = write_study(tmp_path, arms=NAMES, prompts=None)
    found = find_clips(load_study(path))
    first = Scene("a yellow rabbit shrinking on the beach", 0)
    assert found["unrefined"][first] == RUNS / "base-hps-seed1" / "samples" / "heldout-0.mp4"
    assert {len(clips) for clips in found.values()} == {4}
    assert list(found["unrefined"]) == list(found["refinedarm"])


def test_prompts_narrow_runs(tmp_path: Path) -> None:
    prompts = ["a blue whale at sea", "a yellow rabbit shrinking on the beach"]
    found = find_clips(load_study(write_study(tmp_path, arms=NAMES, lines=prompts)))
    assert [list(clips) for clips in found.values()] == [[Scene(prompts[1], 0)]] * 2
    assert "has no held-out sample of a wanted prompt" in told(write_study(tmp_path, arms=NAMES))


def test_every_lack_is_reported_at_once(tmp_path: Path) -> None:
    path = write_study(tmp_path, arms={"unrefined": "one", "b": "two", "c": "three", "d": "four"})
    touch(tmp_path / "one", "0.mp4", "1.mp4")
    touch(tmp_path / "two", "0.mp4")
    touch(tmp_path / "three", "6.mp4")
    lines = told(path).splitlines()
    assert len(lines) == 3
    for part in ("three/6.mp4: is of no prompt", "four: is no folder", "arms.b: lacks 1 videos"):
        assert part in "\n".join(lines)


@pytest.mark.parametrize("names", [range(1, 6), range(1, 4), [1], [2, 4], [5]], ids=str)
@pytest.mark.parametrize("form", ["{}.mp4", "{:03d}.mp4", "{}-0.mp4", "{}-1.mp4"])
def test_files_that_count_from_one_are_refused_and_not_shown_under_other_prompts(
    tmp_path: Path, names: list[int], form: str
) -> None:
    path = write_study(tmp_path)
    for arm in ("one", "two"):
        touch(tmp_path / arm, *(form.format(number) for number in names))
    lines = told(path).splitlines()
    assert len(lines) == 2
    for line in lines:
        assert "has no video of the first prompt, 'a red car': lines count from 0" in line
        assert "number the files from 0; or, if that prompt has no video, take its line out" in line


def test_two_videos_of_one_scene_are_refused(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    touch(tmp_path / "one", "0.mp4", "0-0.mp4")
    touch(tmp_path / "two", "0.mp4")
    assert "is of the same prompt and noise as 0-0.mp4" in told(path)


def test_a_link_is_no_video(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    touch(tmp_path / "two", "0.mp4")
    touch(tmp_path / "one")
    (tmp_path / "one" / "0.mp4").symlink_to(tmp_path / "two" / "0.mp4")
    assert "0.mp4: is not a plain file" in told(path)


def test_runs_that_were_sampled_otherwise_are_refused(tmp_path: Path) -> None:
    record = read_json(RUNS / "vader-hps-seed1" / "record.json")
    record["config"]["suite"]["sampler"]["steps"] = 20
    write_json(tmp_path / "two" / "record.json", record)
    touch(tmp_path / "two" / "samples")
    for index in range(4):
        touch(tmp_path / "two" / "samples", f"heldout-{index}.mp4")
    said = told(write_study(tmp_path, arms={**NAMES, "refinedarm": "two"}, prompts=None))
    assert "arms.refinedarm: has another sampler than unrefined" in said


def test_prompts_that_a_run_was_trained_on_are_refused(tmp_path: Path) -> None:
    lines = ["a yellow rabbit shrinking on the beach", "A purple boat, growing in the desert"]
    with pytest.raises(UserError) as raised:
        check_runs(load_study(write_study(tmp_path, arms=NAMES, lines=lines)))
    (said,) = str(raised.value).splitlines()  # the base model was trained on no prompt
    assert "arms.refinedarm: was trained on 1 of the prompts, first 'a purple boat growing" in said
    check_runs(load_study(write_study(tmp_path, arms=NAMES, lines=lines[:1])))


def test_a_run_whose_samples_another_run_was_trained_on_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.yaml").write_text(
        "splits: {train: [a yellow rabbit shrinking on the beach], heldout: [a zebra]}"
    )
    record = read_json(RUNS / "vader-hps-seed1" / "record.json")
    record["config"]["prompts"] = str(tmp_path / "set.yaml")
    record["digests"]["prompts/train"] = load_prompts(str(tmp_path / "set.yaml")).digests()["train"]
    write_json(tmp_path / "two" / "record.json", record)
    touch(tmp_path / "two" / "samples", *(f"heldout-{index}.mp4" for index in range(4)))
    path = write_study(tmp_path, arms={**NAMES, "refinedarm": "two"}, prompts=None)
    assert "arms.refinedarm: was trained on 1 of the prompts, first 'a yellow rabbit" in told(path)
    record["config"]["prompts"] = "./set.yaml"  # as the suite's file has it; this folder is another
    write_json(tmp_path / "two" / "record.json", record)
    write_json(tmp_path / "two" / "paths.json", {"./set.yaml": str(tmp_path / "set.yaml")})
    assert "arms.refinedarm: was trained on 1 of the prompts, first 'a yellow rabbit" in told(path)
    (tmp_path / "set.yaml").write_text("splits: {train: [a zebra]}")
    assert "set.yaml: train: is not what vader was trained on (seed 1); restore it" in told(path)
    (tmp_path / "set.yaml").unlink()
    assert "set.yaml: does not exist" in told(path)


def test_a_file_that_is_no_record_is_reported(tmp_path: Path) -> None:
    write_json(tmp_path / "one" / "record.json", {"version": 1})
    assert "record.json: is no record" in told(write_study(tmp_path))
