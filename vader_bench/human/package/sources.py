"""Which videos the arms of a study have."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vader_bench.config.names import HELDOUT
from vader_bench.config.yamlfile import Fault, raise_faults
from vader_bench.errors import UserError
from vader_bench.human.config import StudyConfig
from vader_bench.prompts.sets import PromptSet, leaks, load_prompts
from vader_bench.records.places import run_prompts
from vader_bench.records.record import Record
from vader_bench.records.record_file import RECORD_NAME, has_record, read_record

__all__ = ["Scene", "check_runs", "find_clips", "is_run", "wanted_prompts"]

_NUMBERED = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?\.mp4")
_SAMPLE = re.compile(r"heldout-(\d{1,6})\.mp4")
_SAME = ("backbone", "sampler", "suite")
"""What two runs must share in their suites for the same noise to mean the same."""


class Scene(NamedTuple):
    """What the two videos of a pair share."""

    prompt: str
    sample: int
    """Which noise: the same number is the same noise in all arms."""


def find_clips(study: StudyConfig) -> dict[str, dict[Scene, Path]]:
    """Return the videos of each arm by scene: the same scenes, in the same order, for every arm.

    Raises:
        UserError: every fault: an arm without videos, a scene that one arm has and another has not, a link in
            place of a video, runs that were not sampled alike, a run that was trained on one of the prompts,
            folders of videos without prompts.
    """
    prompts = None if study.prompts is None else wanted_prompts(study.prompts)
    found: dict[str, dict[Scene, Path]] = {}
    runs: dict[str, Record] = {}
    problems: list[Fault | UserError] = []
    for arm, folder in study.arms.items():
        try:
            if is_run(folder):
                runs[arm] = read_record(Path(folder) / RECORD_NAME)
                found[arm] = _of_run(runs[arm], Path(folder), prompts)
            else:
                found[arm] = _of_folder(Path(folder), prompts)
        except UserError as error:
            problems.append(error)
    shown = [scene.prompt for clips in found.values() for scene in clips]
    problems += [*_unlike(runs), *_lacking(found), *_seen(study, runs, shown)]
    raise_faults(f"study {study.study}", problems)
    order = sorted(next(iter(found.values())), key=lambda scene: _place(scene, prompts))
    return {arm: {scene: clips[scene] for scene in order} for arm, clips in found.items()}


def check_runs(study: StudyConfig) -> None:
    """Refuse arms that are runs and were not sampled alike, or were trained on the study's prompts.

    Raises:
        UserError: two runs differ in model, sampler or suite, or one has seen a prompt; every such fault.
    """
    prompts = [] if study.prompts is None else wanted_prompts(study.prompts)
    runs = {
        arm: read_record(Path(folder) / RECORD_NAME) for arm, folder in study.arms.items() if is_run(folder)
    }
    raise_faults(f"study {study.study}", [*_unlike(runs), *_seen(study, runs, prompts)])


def is_run(folder: str | Path) -> bool:
    """Tell whether an arm is the results folder of a finished run."""
    return has_record(Path(folder))


def wanted_prompts(name_or_path: str) -> list[str]:
    """Return the prompts that a study names: the held-out split, or that of a file which has only one.

    Raises:
        UserError: there is no such set or file.
    """
    found = load_prompts(name_or_path)
    return found.split(HELDOUT if len(found.splits) > 1 else next(iter(found.splits)))


def _place(scene: Scene, prompts: Sequence[str] | None) -> tuple[int, str, int]:
    return (0 if prompts is None else prompts.index(scene.prompt), scene.prompt, scene.sample)


def _of_run(record: Record, folder: Path, wanted: Sequence[str] | None) -> dict[Scene, Path]:
    """Return the samples of a run; the i-th is of the i-th held-out prompt, from its first noise."""
    looks = [look for look in record.evaluations if look.split == HELDOUT]
    prompts = list(dict.fromkeys(score.prompt for look in looks for score in look.scores))
    clips: dict[Scene, Path] = {}
    for path in _videos(folder / "samples"):
        match = _SAMPLE.fullmatch(path.name)
        if match is None:
            continue  # samples of other kinds: longer videos
        if int(match[1]) >= len(prompts):
            raise UserError(str(path), "is of no prompt in the record", "run the experiment again")
        clips[Scene(prompts[int(match[1])], 0)] = path
    if wanted is not None:
        clips = {scene: path for scene, path in clips.items() if scene.prompt in wanted}
    if not clips:
        remedy = "name a run with samples, or take other prompts"
        raise UserError(str(folder), "has no held-out sample of a wanted prompt", remedy)
    return clips


def _of_folder(folder: Path, prompts: Sequence[str] | None) -> dict[Scene, Path]:
    if prompts is None:
        raise UserError(str(folder), "is a folder of videos and the study has no `prompts`", "name the file")
    clips: dict[Scene, Path] = {}
    for path in _videos(folder):
        match = _NUMBERED.fullmatch(path.name)
        if match is None or int(match[1]) >= len(prompts):
            remedy = f"name it <line of the prompt, 0 to {len(prompts) - 1}>-<noise>.mp4"
            raise UserError(str(path), "is of no prompt", remedy)
        scene = Scene(prompts[int(match[1])], int(match[2] or 0))
        if scene in clips:
            raise UserError(str(path), f"is of the same prompt and noise as {clips[scene].name}", "keep one")
        clips[scene] = path
    if not clips:
        raise UserError(str(folder), "holds no .mp4 file", "give a folder of videos or of a finished run")
    if prompts[0] not in {scene.prompt for scene in clips}:
        # files that count from 1 fit the lines too, each one line too far, and never hold a 0
        wrong = f"has no video of the first prompt, {prompts[0]!r}: lines count from 0, and no file is of 0"
        remedy = "number the files from 0; or, if that prompt has no video, take its line out of the prompts"
        raise UserError(str(folder), wrong, remedy)
    return clips


def _videos(folder: Path) -> list[Path]:
    """Return the .mp4 files in ``folder`` itself, sorted; links, which may lead anywhere, are refused."""
    if not folder.is_dir():
        raise UserError(str(folder), "is no folder", "check the path")
    paths = sorted(folder.glob("*.mp4"))
    for path in paths:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise UserError(str(path), "is not a plain file", "put the video itself there")
    return paths


def _unlike(runs: dict[str, Record]) -> list[Fault]:
    """Return a fault for each run that was not sampled as the first one was."""
    faults = []
    first: tuple[str, dict[str, Any]] | None = None
    for arm, record in runs.items():
        sampled = {key: getattr(record.asked.suite, key) for key in _SAME}
        if first is None:
            first = arm, sampled
        faults += [
            Fault(f"arms.{arm}", f"has another {key} than {first[0]}", "compare runs of one suite")
            for key in _SAME
            if sampled[key] != first[1][key]
        ]
    return faults


def _seen(
    study: StudyConfig, runs: Mapping[str, Record], prompts: Sequence[str]
) -> Iterator[Fault | UserError]:
    """Yield a fault for each of the ``runs`` of ``study`` that was trained on one of ``prompts``."""
    for arm, record in runs.items():
        try:
            trained = _trained_on(Path(study.arms[arm]), record)
        except UserError as error:
            yield error
            continue
        if both := leaks(PromptSet(arm, {"train": trained, "shown": list(prompts)})):
            wrong = f"was trained on {len(both)} of the prompts, first {both[0].prompt!r}"
            yield Fault(f"arms.{arm}", wrong, "take prompts that were held out of the training of every arm")


def _trained_on(run: Path, record: Record) -> list[str]:
    """Return the prompts that the run in the folder ``run`` was trained on; none for a base model.

    Raises:
        UserError: they cannot be told any more.
    """
    if not record.asked.reward_queries:
        return []
    prompts = load_prompts(run_prompts(run, record))
    if prompts.digests().get("train") != record.digests.get("prompts/train"):
        wrong = f"is not what {record.asked.method} was trained on (seed {record.seed})"
        remedy = "restore it as it was: nothing else says what the run has seen"
        raise UserError(f"prompt set {prompts.name}: train", wrong, remedy)
    return prompts.split("train")


def _lacking(found: dict[str, dict[Scene, Path]]) -> list[Fault]:
    """Return a fault for each arm that lacks videos which another one has."""
    everything = {scene for clips in found.values() for scene in clips}
    faults = []
    for arm, clips in found.items():
        if lacks := sorted(everything - set(clips)):
            scene = lacks[0]
            wrong = f"lacks {len(lacks)} videos that another arm has, first {scene.prompt!r} ({scene.sample})"
            faults.append(Fault(f"arms.{arm}", wrong, "make them, or narrow the prompts"))
    return faults
