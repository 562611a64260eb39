from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vader_bench.errors import UserError
from vader_bench.files import sha256_file
from vader_bench.weights import resolve as module
from vader_bench.weights.resolve import DIGESTS, digest, resolve, size, write_digests


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for the packaged folder, with nothing remembered from before."""
    root = tmp_path / "packaged"
    (root / "clip" / "sub").mkdir(parents=True)
    (root / "clip" / "config.json").write_text("{}", "utf-8")
    (root / "clip" / "sub" / "model.safetensors").write_bytes(b"clip")
    (root / "clip2").mkdir()
    (root / "clip2" / "config.json").write_text("[]", "utf-8")
    (root / "aesthetic").mkdir()
    (root / "aesthetic" / "head.safetensors").write_bytes(b"head")
    (root / "README.md").write_text("card", "utf-8")
    write_digests(root)
    monkeypatch.setattr(module, "PACKAGED", root)
    module._verified.cache_clear()
    yield root
    module._verified.cache_clear()


def test_a_part_is_a_packaged_folder_or_file(packaged: Path) -> None:
    assert resolve("pocket/clip") == packaged / "clip"
    assert resolve("pocket/aesthetic/head.safetensors") == packaged / "aesthetic" / "head.safetensors"


@pytest.mark.parametrize(
    "name", ["pocket/hps", "pocket/cli", "pocket/clip/", "pocket/", "pocket/../packaged"]
)
def test_an_unknown_part_is_answered_with_the_known_ones(packaged: Path, name: str) -> None:
    with pytest.raises(
        UserError, match="are not packaged; choose one of: pocket/aesthetic, pocket/clip, pocket/clip2"
    ):
        resolve(name)


def test_a_missing_file_is_named_with_its_remedy(packaged: Path) -> None:
    (packaged / "clip" / "config.json").unlink()
    with pytest.raises(UserError, match=r"'pocket/clip': config\.json is missing; .*nox -s pretrain-pocket"):
        resolve("pocket/clip")
    assert resolve("pocket/clip2").is_dir()


def test_a_missing_folder_is_reported_too(packaged: Path) -> None:
    shutil.rmtree(packaged / "aesthetic")
    with pytest.raises(UserError, match=r"head\.safetensors is missing"):
        resolve("pocket/aesthetic")
    with pytest.raises(UserError, match=r"head\.safetensors is missing"):
        resolve("pocket/aesthetic/head.safetensors")


def test_a_changed_file_is_refused(packaged: Path) -> None:
    (packaged / "clip" / "sub" / "model.safetensors").write_bytes(b"Clip")
    with pytest.raises(
        UserError, match=r"sub/model\.safetensors does not match its digest .*pretrain-pocket"
    ):
        resolve("pocket/clip")


def test_a_surplus_file_is_refused_but_hidden_ones_are_not(packaged: Path) -> None:
    (packaged / "clip" / ".DS_Store").write_bytes(b"")
    assert resolve("pocket/clip").is_dir()
    (packaged / "clip2" / "added_tokens.json").write_bytes(b"{}")
    with pytest.raises(UserError, match=r"added_tokens\.json is not in digests\.json; delete it"):
        resolve("pocket/clip2")


def test_files_are_hashed_once_a_process(packaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []

    def counting(path: Path) -> str:
        hashed.append(path)
        return sha256_file(path)

    monkeypatch.setattr(module, "sha256_file", counting)
    for _ in range(3):
        resolve("pocket/clip")
        digest("pocket/clip")
    assert len(hashed) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), ("[]", "is not a table"), ('{"a": 1}', "is not a table")],
)
def test_broken_digests_are_refused(packaged: Path, content: str | None, message: str) -> None:
    (packaged / DIGESTS).unlink()
    if content is not None:
        (packaged / DIGESTS).write_text(content, "utf-8")
    with pytest.raises(UserError, match=rf"digests\.json: {message}.*nox -s pretrain-pocket"):
        resolve("pocket/clip")


def test_anything_else_is_a_path(packaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(str(packaged / "clip")) == packaged / "clip"
    assert resolve(str(packaged / "README.md")) == packaged / "README.md"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/packaged/clip") == packaged / "clip"


@pytest.mark.usefixtures("packaged")
def test_a_path_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=r"'openai/clip': are neither .*; give the path .* pocket/aesthetic"):
        resolve("openai/clip")


def test_a_copy_has_the_digest_of_the_packaged_folder(packaged: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(packaged / "clip", tmp_path / "copy"))
    assert digest(str(copy)) == digest("pocket/clip")
    head = packaged / "aesthetic" / "head.safetensors"
    assert digest(str(head)) == digest("pocket/aesthetic/head.safetensors")


def test_the_digest_tells_contents_and_places_apart(tmp_path: Path) -> None:
    seen = set()
    for name, contents in {"a": "12", "b": "21", "c": "11", "d": "1"}.items():
        for i, content in enumerate(contents):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / str(i)).write_text(content, "utf-8")
        seen.add(digest(str(tmp_path / name)))
    assert len(seen) == 4


def test_write_digests_lists_every_file_by_its_path(packaged: Path) -> None:
    listed = json.loads((packaged / DIGESTS).read_text("utf-8"))
    assert set(listed) == {
        "README.md",
        "aesthetic/head.safetensors",
        "clip/config.json",
        "clip/sub/model.safetensors",
        "clip2/config.json",
    }
    assert all(listed[path] == sha256_file(packaged / path) for path in listed)


def test_write_digests_is_the_same_twice(packaged: Path) -> None:
    before = (packaged / DIGESTS).read_bytes()
    write_digests(packaged)
    assert (packaged / DIGESTS).read_bytes() == before
    os.utime(packaged / "README.md", (0, 0))
    write_digests(packaged)
    assert (packaged / DIGESTS).read_bytes() == before


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are hashed, in their order, with nothing remembered from before."""
    found: list[Path] = []

    def counted(path: Path) -> str:
        found.append(path)
        return sha256_file(path)

    monkeypatch.setattr(module, "sha256_file", counted)
    monkeypatch.setattr(module, "_KNOWN", {})
    return found


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the clock say that so much time has gone by."""
    monkeypatch.setattr(module, "time_ns", lambda: time.time_ns() + int(seconds * 1e9))


def test_a_file_that_was_left_alone_is_hashed_once(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"a" * 10)
    (tmp_path / "b.safetensors").write_bytes(b"b" * 10)
    later(monkeypatch, 10)
    assert digest(str(tmp_path)) == digest(str(tmp_path)) == digest(str(tmp_path))
    assert [path.name for path in sorted(reads)] == ["a.safetensors", "b.safetensors"]


@pytest.mark.parametrize("seconds", [0.0, 1.0, -100.0])
def test_a_file_changed_just_before_is_hashed_each_time(
    seconds: float, tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may change again within the tick of a clock, which leaves size and times as they are."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"a" * 10)
    later(monkeypatch, seconds)
    assert digest(str(path)) == digest(str(path))
    assert len(reads) == 2


@pytest.mark.parametrize("how", ["written over", "moved in", "of the same size and time"])
def test_a_file_with_other_content_has_another_digest(
    how: str, tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "a.safetensors", tmp_path / "other"
    path.write_bytes(b"a" * 10)
    later(monkeypatch, 10)
    before, times = digest(str(path)), path.stat()
    if how == "written over":
        time.sleep(0.05)  # more than a tick of the clock of file systems on Linux
        path.write_bytes(b"b" * 10)
    else:
        other.write_bytes(b"b" * 10)
        if how == "of the same size and time":
            os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
        other.replace(path)
    assert digest(str(path)) != before
    assert len(reads) == 2


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A model folder whose ``vae`` lies elsewhere, as where a disk is full, with a folder inside."""
    model, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    (model / "unet").mkdir(parents=True)
    (model / "unet" / "model.safetensors").write_bytes(b"unet")
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "model.safetensors").write_bytes(b"vae")
    (elsewhere / "deep" / "more.safetensors").write_bytes(b"more")
    (model / "vae").symlink_to(elsewhere)
    return model


def test_what_lies_behind_a_linked_folder_counts(linked: Path, tmp_path: Path) -> None:
    before = digest(str(linked))
    assert size(str(linked)) == len(b"unetvaemore")
    assert digest(str(shutil.copytree(linked, tmp_path / "copy"))) == before  # the copy has no link
    for name in ("model.safetensors", "deep/more.safetensors"):
        path = tmp_path / "elsewhere" / name
        path.write_bytes(path.read_bytes().swapcase())
        after = digest(str(linked))
        assert after != before
        before = after


def test_links_that_lead_round_end(linked: Path, tmp_path: Path) -> None:
    before = digest(str(linked)), size(str(linked))
    (linked / "itself").symlink_to(linked)
    (tmp_path / "elsewhere" / "deep" / "up").symlink_to(tmp_path / "elsewhere")
    (linked / "unet" / "nowhere").symlink_to(linked / "unet" / "nowhere")
    assert (digest(str(linked)), size(str(linked))) == before


def test_one_folder_under_two_names_counts_under_both(linked: Path, tmp_path: Path) -> None:
    (linked / "decoder").symlink_to(tmp_path / "elsewhere")
    assert digest(str(linked)) == digest(str(shutil.copytree(linked, tmp_path / "copy")))
    assert size(str(linked)) == len(b"unetvaemorevaemore")
