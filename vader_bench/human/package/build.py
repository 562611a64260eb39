"""The folder that goes to raters, and beside it the key that stays."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from vader_bench import files
from vader_bench.config.yamlfile import raise_faults
from vader_bench.errors import UserError
from vader_bench.human.analysis.method import analysis_plan
from vader_bench.human.config import StudyConfig, arms_named, block_cost
from vader_bench.human.manifest import MANIFEST, changed_files, write_manifest
from vader_bench.human.package.advice import doubts, outlook
from vader_bench.human.package.contact_sheet import CONTACT_SHEET, contact_sheet, thumbnail_of
from vader_bench.human.package.design import Item, StudyDesign, StudyVideo, draw_design, opaque
from vader_bench.human.package.encode import common_shape, encode_alike
from vader_bench.human.package.sources import Scene, find_clips
from vader_bench.human.package.template import FIELDS, encode_cell, fragment, page_data, question_xml
from vader_bench.human.plan import (
    KEY,
    PACKAGE,
    BlockPlan,
    ItemKey,
    Key,
    StudyPlan,
    StudyPrompts,
    VideoKey,
    VideoPlan,
)
from vader_bench.seeding import numpy_stream
from vader_bench.videos import Shape, read_video

__all__ = ["BuiltPackage", "build_package", "seal"]


WORST_CRF: Final = 51


class BuiltPackage(NamedTuple):
    """What was built."""

    folder: Path
    plan: StudyPlan
    """Publish its digest before the first answer."""
    blocks: int
    answers: int
    """Answers a question in all comparisons, golds and repeats not counted."""
    videos: int
    raters: int
    """Fewest people, at the most blocks that each may answer; the most are one a block."""
    hourly: float
    cost: float
    """Of all blocks, fees of a platform not counted."""
    outlook: list[str]
    """What may be found, and which rules will not help."""
    warnings: list[str]


def build_package(study: StudyConfig, out: Path) -> BuiltPackage:
    """Write the package of ``study`` and its key to ``out/<study>/``.

    The same study and videos give the same pages, plan and key, and videos that show the same. A package that
    is there already, whole and of this plan, stays as it is: its manifest may have been published.

    Raises:
        UserError: videos are lacking or unlike, a page is too long, an arm is named where raters could read
            it, or the folder holds another plan, to which answers may have been given.
    """
    clips = find_clips(study)
    scenes = list(next(iter(clips.values())))
    paths = [path for of_arm in clips.values() for path in of_arm.values()]
    thumbnails = {path: thumbnail_of(read_video(path)) for path in paths}
    shape = common_shape(((path, look.shape) for path, look in thumbnails.items()), study.video)
    design = draw_design(study, scenes)
    names = {clip: _file_name(study, clip) for clip in design.clips}
    digests = {clip: files.sha256_file(clips[clip.arm][clip.scene]) for clip in design.clips}
    plan, key = seal(study, design, scenes, shape, digests)
    sealed = _json({"plan": plan.model_dump(mode="json"), "sha256": plan.digest})
    texts = {**_pages(study, design, names), "plan.json": sealed}
    _check_blind(study, texts)
    folder = out / study.study
    _check_new(folder / PACKAGE / "plan.json", texts["plan.json"])
    whole = (folder / PACKAGE / MANIFEST).exists() and not changed_files(folder / PACKAGE)
    files.write_text(
        folder / PACKAGE / "plan.json", texts["plan.json"]
    )  # first: it tells a package by its plan
    files.make_private_folder((folder / KEY).parent)
    files.write_private(folder / KEY, _json(key.model_dump(mode="json")))
    files.write_private(folder / CONTACT_SHEET, contact_sheet(study, clips, thumbnails))
    if not whole:
        for name, text in texts.items():
            files.write_text(folder / PACKAGE / name, text)
        for name, clip in sorted((name, clip) for clip, name in names.items()):  # by time, too, arms mix
            video = read_video(clips[clip.arm][clip.scene])
            crf = _other_crf(study.video.crf) if clip.apart else study.video.crf
            data = encode_alike(video, shape, crf, spoiled=clip.spoiled)
            files.write_bytes(folder / PACKAGE / "videos" / name, data)
        write_manifest(folder / PACKAGE, [*texts, *(f"videos/{name}" for name in names.values())])
    return _built(study, design, folder, plan, scenes)


def _file_name(study: StudyConfig, clip: StudyVideo) -> str:
    kind: list[str | int] = [int(clip.spoiled), *(["apart"] if clip.apart else [])]
    return opaque(study.seed, "video", clip.arm, *clip.scene, *kind) + ".mp4"


def _other_crf(crf: int) -> int:
    """Return a quality of which the same pictures make another file: its digest is then another as well."""
    return crf + 1 if crf < WORST_CRF else crf - 1


def _longest(design: StudyDesign) -> int:
    return max(len(block.items) for block in design.blocks)


def _pages(study: StudyConfig, design: StudyDesign, names: Mapping[StudyVideo, str]) -> dict[str, str]:
    """Return the template, the input file and one question a block, by file name."""
    pairs = _longest(design)
    pages = {"template.html": fragment(study, pairs)}
    rows = []
    for block in design.blocks:
        items = [(item.id, item.prompt, names[item.left], names[item.right]) for item in block.items]
        cell = encode_cell(page_data(study, items))
        pages[f"questions/{block.id}.xml"] = question_xml(study, pairs, block.id, cell)
        rows.append((block.id, cell))
    table = io.StringIO()
    csv.writer(table, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([FIELDS, *rows])
    return {**pages, "batch.csv": table.getvalue()}


def _codes(study: StudyConfig) -> dict[str, str]:
    """Return the code of each arm in the plan, ``arm-1`` and so on, in drawn order."""
    arms = sorted(study.arms)
    order = numpy_stream(study.seed, "human", "codes").permutation(len(arms))
    return {arms[index]: f"arm-{place + 1}" for place, index in enumerate(order)}


def seal(
    study: StudyConfig,
    design: StudyDesign,
    scenes: Sequence[Scene],
    shape: Shape,
    digests: Mapping[StudyVideo, str],
) -> tuple[StudyPlan, Key]:
    """Return what is fixed before the first answer.

    Args:
        study: the study.
        design: who sees what.
        scenes: what the design was drawn on.
        shape: what all videos are.
        digests: SHA-256 of the file that each clip was made of.
    """
    codes = _codes(study)
    key = Key(
        study=study.study,
        seed=study.seed,
        arms={code: arm for arm, code in codes.items()},
        order=list(study.arms),
        blocks={block.id: [_item_key(item) for item in block.items] for block in design.blocks},
        videos={_file_name(study, clip): _video_key(clip, digests[clip]) for clip in design.clips},
    )
    return _plan(study, design, scenes, shape, key.digest), key


def _video_key(clip: StudyVideo, digest: str) -> VideoKey:
    prompt, sample = clip.scene
    return VideoKey(arm=clip.arm, prompt=prompt, sample=sample, spoiled=clip.spoiled, source_sha256=digest)


def _item_key(item: Item) -> ItemKey:
    return ItemKey(
        id=item.id,
        role=item.role,
        prompt=item.prompt,
        sample=item.left.scene.sample,
        left=item.left.arm,
        right=item.right.arm,
        gold=item.gold,
        right_answer=item.right_answer,
        repeats=item.repeats,
    )


def _plan(
    study: StudyConfig, design: StudyDesign, scenes: Sequence[Scene], shape: Shape, key_digest: str
) -> StudyPlan:
    codes = _codes(study)
    prompts = list(dict.fromkeys(scene.prompt for scene in scenes))
    return StudyPlan(
        title=study.title,
        questions=study.questions,
        primary=study.primary,
        hypotheses=study.hypotheses,
        ties=study.ties,
        comparisons=[sorted((codes[first], codes[second])) for first, second in study.pairs],
        responses_per_comparison=study.responses_wanted,
        paper=study.paper,
        prompts=StudyPrompts(count=len(prompts), sha256=files.sha256_text("\n".join(prompts))),
        scenes=len(scenes),
        blocks=BlockPlan(count=len(design.blocks), longest=_longest(design), **study.blocks.model_dump()),
        exclusion=study.exclusion,
        analysis=analysis_plan(len(study.questions) * len(study.pairs)),
        pay=study.pay,
        consent=study.consent,
        instructions=study.instructions,
        video=VideoPlan(
            width=shape.width,
            height=shape.height,
            frames=shape.frames,
            frames_per_second=float(shape.rate),
            crf=study.video.crf,
        ),
        key_sha256=key_digest,
    )


def _check_blind(study: StudyConfig, texts: Mapping[str, str]) -> None:
    """Refuse a package in whose text, that of prompts too, a rater could read the name of an arm."""
    found = [fault for name, text in texts.items() for fault in arms_named(study, name, text)]
    # an arm that is on every page is reported once
    raise_faults(f"study {study.study}", {fault.wrong: fault for fault in reversed(found)}.values())


def _check_new(path: Path, text: str) -> None:
    if path.exists() and files.read_text(path) != text:
        remedy = "answers may have been given to it: choose another --out, or another name for the study"
        raise UserError(str(path), "is another plan", remedy)


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, sort_keys=True, indent=2, allow_nan=False) + "\n"


def _built(
    study: StudyConfig, design: StudyDesign, folder: Path, plan: StudyPlan, scenes: list[Scene]
) -> BuiltPackage:
    blocks = len(design.blocks)
    hourly, _ = block_cost(study, _longest(design))
    return BuiltPackage(
        folder=folder,
        plan=plan,
        blocks=blocks,
        answers=study.responses_wanted * len(study.pairs),
        videos=len(design.clips),
        raters=study.blocks.fewest_people(blocks),
        hourly=hourly,
        cost=blocks * study.pay.reward,
        outlook=list(outlook(study, design)),
        warnings=list(doubts(study, design, scenes)),
    )
