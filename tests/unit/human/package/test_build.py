"""The package is complete, blind and the same each time."""

from __future__ import annotations

import base64
import csv
import html
import json
import re
import shutil
import stat
import xml.etree.ElementTree as ET
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.support.studies import PROMPTS, write_clip, write_study
from vader_bench.errors import UserError
from vader_bench.files import sha256_file, sha256_text
from vader_bench.human.config import load_study
from vader_bench.human.package.build import BuiltPackage, build_package
from vader_bench.human.plan import KEY, PACKAGE, StudyPlan, load_built
from vader_bench.videos import read_video

HOSTILE = "</script><script>alert(1)</script> ${block_id} 'x' \"y\" & שלום 🚀 " + "z" * 400


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"), clips=True, lines=[*PROMPTS, HOSTILE], responses=28)


@pytest.fixture(scope="module")
def built(source: Path) -> BuiltPackage:
    return build_package(load_study(source), source.parent / "out")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def rows(built: BuiltPackage) -> list[dict[str, str]]:
    with (built.folder / PACKAGE / "batch.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_no_byte_of_the_package_names_an_arm_its_folder_or_the_study(built: BuiltPackage) -> None:
    found = contents(built.folder / PACKAGE)
    assert len(found) > 20
    for name, data in found.items():
        for word in (b"unrefined", b"refinedarm", b"one/", b"two/", b"small", str(built.folder).encode()):
            assert word not in name.encode().lower(), name
            assert word not in data.lower(), (name, word)


def test_the_key_lies_outside_and_is_its_owners(built: BuiltPackage) -> None:
    path = built.folder / KEY
    assert not path.is_relative_to(built.folder / PACKAGE)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(read(path)["arms"].values()) == {"unrefined", "refinedarm"}


def test_the_input_file_is_what_the_platforms_take(built: BuiltPackage) -> None:
    data = (built.folder / PACKAGE / "batch.csv").read_bytes()
    assert data.startswith(b'"block_id","block_json"\n')
    assert b"\r" not in data
    assert data.isascii()
    assert data.count(b"\n") == 1 + built.blocks
    assert len(rows(built)) == built.blocks


def test_key_and_input_file_tell_of_the_same_items(built: BuiltPackage) -> None:
    key = read(built.folder / KEY)
    prompts = set()
    for row in rows(built):
        shown = json.loads(row["block_json"])["items"]
        assert [item["id"] for item in shown] == [item["id"] for item in key["blocks"][row["block_id"]]]
        for item, told in zip(shown, key["blocks"][row["block_id"]], strict=True):
            left, right = (key["videos"][source.removeprefix("/videos/")] for source in item["src"])
            assert (left["arm"], right["arm"]) == (told["left"], told["right"])
            assert left["prompt"] == item["prompt"] or told["right_answer"] == "R"
            prompts.add(item["prompt"])
    assert prompts == {*PROMPTS, HOSTILE}


def test_the_contact_sheet_shows_every_file_under_its_prompt_and_stays_with_the_key(
    built: BuiltPackage, source: Path
) -> None:
    path = built.folder / "key" / "contact-sheet.html"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rows_ = re.findall(r"<tr>(.*?)</tr>", path.read_text("utf-8"), re.DOTALL)[1:]
    assert len(rows_) == len(PROMPTS) + 1
    for index, (row, prompt) in enumerate(zip(rows_, [*PROMPTS, HOSTILE], strict=True)):
        cells = [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)]
        assert cells[:2] == [prompt, "0"]
        for cell, folder, shade in zip(cells[2:], ("one", "two"), (40, 120), strict=True):
            assert cell.endswith(str(source.parent / folder / f"{index}.mp4"))
            data = re.search(r'src="data:image/png;base64,([^"]+)"', cell)
            assert data
            picture = Image.open(BytesIO(base64.b64decode(data[1])))
            assert picture.size == (64, 48)
            assert abs(int(np.asarray(picture)[24, 40].mean()) - shade - index) <= 3, "its first frame"
    assert "<script>" not in path.read_text("utf-8")


def test_every_file_is_in_the_manifest_with_its_digest(built: BuiltPackage) -> None:
    folder = built.folder / PACKAGE
    digests = read(folder / "manifest.json")["sha256"]
    assert {*digests, "manifest.json"} == set(contents(folder))
    assert all(sha256_file(folder / name) == digest for name, digest in digests.items())


def test_gold_pairs_of_a_named_arm_show_files_of_their_own(built: BuiltPackage) -> None:
    # neither by its name nor by its digest does a file tell of which other one it is a copy
    digests = read(built.folder / PACKAGE / "manifest.json")["sha256"]
    key = read(built.folder / KEY)
    files: dict[bool, set[str]] = {True: set(), False: set()}
    for row in rows(built):
        for item, told in zip(
            json.loads(row["block_json"])["items"], key["blocks"][row["block_id"]], strict=True
        ):
            files[told["role"] == "gold"] |= {source.removeprefix("/videos/") for source in item["src"]}
    assert not files[True] & files[False]
    assert files[True] | files[False] == set(key["videos"])
    shown = {
        name: tuple(key["videos"][name][part] for part in ("arm", "prompt", "sample"))
        for name in key["videos"]
    }
    copies = 0
    for gold in (name for name in files[True] if not key["videos"][name]["spoiled"]):
        for other in (name for name in files[False] if shown[name] == shown[gold]):
            copies += 1
            assert digests[f"videos/{gold}"] != digests[f"videos/{other}"]
    assert copies


def test_every_video_is_of_one_make_and_opaque(built: BuiltPackage) -> None:
    names = [path.name for path in (built.folder / PACKAGE / "videos").iterdir()]
    assert len(names) == built.videos
    makes = set()
    for name in names:
        assert re.fullmatch(r"[0-9a-f]{20}\.mp4", name)
        with av.open(str(built.folder / PACKAGE / "videos" / name), "r") as container:
            stream = container.streams.video[0]
            makes.add((stream.width, stream.height, stream.frames, stream.average_rate, stream.profile))
            assert set(container.metadata) <= {"major_brand", "minor_version", "compatible_brands"}
    assert len(makes) == 1


def test_the_order_in_which_videos_were_written_does_not_group_them_by_arm(built: BuiltPackage) -> None:
    videos = (built.folder / PACKAGE / "videos").iterdir()
    by_time = sorted(videos, key=lambda path: (path.stat().st_mtime_ns, path.name))
    assert by_time == sorted(by_time)


def test_the_plan_is_hashed_and_commits_to_the_key(built: BuiltPackage) -> None:
    stored = read(built.folder / PACKAGE / "plan.json")
    assert stored["sha256"] == StudyPlan.model_validate(stored["plan"]).digest == built.plan.digest
    key = read(built.folder / KEY)
    canonical = json.dumps(key, sort_keys=True, separators=(",", ":"))
    assert stored["plan"]["key_sha256"] == sha256_text(canonical)
    assert stored["plan"]["responses_per_comparison"] == 28
    assert "seed" not in stored["plan"], "names of files could be worked out from it"


def test_each_block_is_a_question_too(built: BuiltPackage) -> None:
    for row in rows(built):
        root = ET.parse(built.folder / PACKAGE / "questions" / f"{row['block_id']}.xml").getroot()
        assert row["block_json"] in str(root[0].text)


def shown(folder: Path) -> dict[str, Any]:
    return {path.name: read_video(path).pictures.astype(int) for path in folder.glob("package/videos/*")}


def test_the_same_study_gives_the_same_package(source: Path, built: BuiltPackage, tmp_path: Path) -> None:
    again = build_package(load_study(source), tmp_path)
    one, two = (contents(one.folder) for one in (again, built))
    assert set(one) == set(two)
    texts = [name for name in one if not name.endswith((".mp4", "manifest.json"))]
    assert len(texts) > 10
    assert [one[name] for name in texts] == [two[name] for name in texts]
    before, after = shown(built.folder), shown(again.folder)
    assert all(abs(after[name] - before[name]).mean() < 0.5 for name in before)


def test_what_is_broken_is_made_again_and_what_is_whole_stays(source: Path, tmp_path: Path) -> None:
    folder = build_package(load_study(source), tmp_path).folder
    names = sorted((folder / PACKAGE / "videos").iterdir())
    times = [path.stat().st_mtime_ns for path in names]
    build_package(load_study(source), tmp_path)
    assert [path.stat().st_mtime_ns for path in names] == times
    names[0].write_bytes(b"cut off")
    (folder / KEY).unlink()
    build_package(load_study(source), tmp_path)
    assert (folder / KEY).exists()
    assert read_video(names[0]).shape.frames == 4


def test_another_plan_never_replaces_one(source: Path, built: BuiltPackage) -> None:
    before = contents(built.folder)
    build_package(load_study(source), built.folder.parent)
    with pytest.raises(UserError, match=r"plan\.json: is another plan; answers may have been given"):
        build_package(load_study(source, paper=True), built.folder.parent)
    assert contents(built.folder) == before


def test_the_cost_and_the_raters_are_reported(built: BuiltPackage) -> None:
    assert built.blocks == 7
    assert built.raters == 3
    assert built.cost == 7.0
    assert built.hourly == 30.0
    assert built.answers == 28
    assert built.warnings[0].startswith("7 prompts are few")


@pytest.mark.parametrize("seed", [7, 2**200 + 1])
def test_a_seed_of_any_length_is_kept_whole(tmp_path: Path, seed: int) -> None:
    built = build_package(load_study(write_study(tmp_path, clips=True, seed=seed)), tmp_path / "out")
    assert load_built(built.folder).key.seed == seed
    short = [line for line in built.warnings if line.startswith("the seed is short")]
    assert len(short) == (seed == 7)


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Is refinedarm better?"},
        {"hypotheses": ["Unrefined loses."]},
        {"instructions": "Look at\nunrefined-videos."},
    ],
)
def test_a_study_that_names_an_arm_to_raters_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"names the arm '(un)?refined(arm)?', which raters must not know"):
        build_package(load_study(write_study(tmp_path, clips=True, **changes)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_videos_that_are_unlike_are_reported_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(source.parent, folder, ignore=shutil.ignore_patterns("out"))
    write_clip(folder / "two" / "3.mp4", 90, frames=6)
    with pytest.raises(UserError, match=r"3\.mp4: has 6 frames at that speed, not 4"):
        build_package(load_study(folder / "study.yaml"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
