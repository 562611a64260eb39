from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from vader_bench.errors import UserError
from vader_bench.files import sha256_file
from vader_bench.weights import resolve as module
from vader_bench.weights.resolve import DIGESTS, digest, resolve, write_digests


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
