"""Weights of the hub, from a cache that holds next to nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vader_bench.errors import ExitCode, UserError
from vader_bench.weights.hub import HUB_PREFIX, HubName, known_weights, parse_hub_name
from vader_bench.weights.resolve import digest, resolve, size

COMMITS = {"main": "a" * 40, "v2": "b" * 40}


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with ``owner/net`` in two revisions; the folder of its snapshots."""
    cache = tmp_path / "cache"
    repository = cache / "models--owner--net"
    for revision, commit in COMMITS.items():
        folder = repository / "snapshots" / commit
        (folder / "unet").mkdir(parents=True)
        (folder / "config.json").write_text(f'{{"revision": "{revision}"}}', "utf-8")
        (folder / "unet" / "model.safetensors").write_bytes(b"12345")
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / revision).write_text(commit, "utf-8")
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    return repository / "snapshots"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("hf:owner/net", HubName("owner/net", None, None)),
        ("hf:owner/net@v2", HubName("owner/net", "v2", None)),
        ("hf:owner/net:unet/a.pt", HubName("owner/net", None, "unet/a.pt")),
        ("hf:Some-one/net_1.5@refs/pr/1:a+b.pth", HubName("Some-one/net_1.5", "refs/pr/1", "a+b.pth")),
    ],
)
def test_a_name_has_up_to_three_parts(name: str, parts: HubName) -> None:
    assert parse_hub_name(name) == parts
    assert parts.full == name


@pytest.mark.parametrize(
    "name", ["hf:net", "owner/net", "hf:", "hf:a/b/c", "hf:a/b:", "hf:a/b@", "hf:a/b:../c", "hf:a/b:/etc"]
)
def test_other_names_are_refused_with_the_right_form(name: str) -> None:
    with pytest.raises(UserError, match=r"is no name on the Hugging Face hub; write hf:<owner>/<name>"):
        parse_hub_name(name)


def test_repositories_folders_and_files_are_found_in_the_cache(cached: Path) -> None:
    main = cached / COMMITS["main"]
    assert resolve("hf:owner/net") == main
    assert resolve("hf:owner/net:unet") == main / "unet"
    assert resolve("hf:owner/net:unet/model.safetensors") == main / "unet" / "model.safetensors"
    assert resolve("hf:owner/net@v2:config.json") == cached / COMMITS["v2"] / "config.json"
    assert resolve(f"hf:owner/net@{COMMITS['v2']}") == cached / COMMITS["v2"]


@pytest.mark.parametrize(
    ("name", "told", "command"),
    [
        ("hf:owner/other", "size unknown, licence unknown", "hf download owner/other"),
        ("hf:owner/net@v3", "unknown", "hf download owner/net --revision v3"),
        ("hf:owner/net:vae", "unknown", "hf download owner/net --include 'vae/*'"),
        ("hf:owner/net:a+b.pth", "unknown", "hf download owner/net 'a+b.pth'"),
        (
            "hf:laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
            "licence mit",
            "hf download laion/CLIP-ViT-H-14-laion2B-s32B-b79K --include '*.json' '*.txt'",
        ),
        (
            "hf:Lightricks/LTX-Video",
            "unknown",
            "hf download Lightricks/LTX-Video --exclude 'ltx*.safetensors'",
        ),
        (
            "hf:ali-vilab/text-to-video-ms-1.7b",
            "size unknown, licence cc-by-nc-4.0",
            "hf download ali-vilab/text-to-video-ms-1.7b",
        ),
        (
            "hf:xswu/HPSv2:HPS_v2.1_compressed.pt",
            "size 2.0 GB, licence apache-2.0",
            "hf download xswu/HPSv2 HPS_v2.1_compressed.pt",
        ),
    ],
)
def test_what_is_missing_is_reported_with_size_licence_and_command(
    cached: Path, name: str, told: str, command: str
) -> None:
    for call in (resolve, digest, size):
        with pytest.raises(UserError) as caught:
            call(name)
        assert caught.value.exit_code == ExitCode.MISSING
        assert caught.value.given == f"weights {name!r}"
        assert told in caught.value.wrong
        assert str(cached.parents[1]) in caught.value.wrong
        assert caught.value.remedy == f"fetch them with `{command}`"


def test_a_copy_has_the_digest_and_the_size_of_the_cached_folder(cached: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(cached / COMMITS["main"], tmp_path / "copy"))
    assert digest("hf:owner/net") == digest(str(copy))
    assert digest("hf:owner/net") != digest("hf:owner/net@v2")
    assert size("hf:owner/net") == size(str(copy)) == 5 + len('{"revision": "main"}')
    assert size("hf:owner/net:unet") == 5


def test_files_of_the_cache_are_links_and_count_as_files(cached: Path, tmp_path: Path) -> None:
    blob = tmp_path / "cache" / "models--owner--net" / "blobs" / "f00"
    blob.parent.mkdir()
    blob.write_bytes(b"123")
    (cached / COMMITS["main"] / "linked.pt").symlink_to(blob)
    assert size("hf:owner/net:linked.pt") == 3
    assert digest("hf:owner/net:linked.pt") != digest("hf:owner/net:config.json")


def test_the_packaged_table_is_well_formed_and_knows_what_the_suites_name() -> None:
    from vader_bench.experiment.load import load_suite, suite_names

    for suite in map(load_suite, suite_names()):
        for name in suite.weights(*suite.rewards):
            if name.startswith(HUB_PREFIX):
                assert parse_hub_name(name).repository in known_weights()


def test_the_cache_may_be_written_as_for_a_shell(
    cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MODELS", str(tmp_path))
    for written in ("~/cache", "$MODELS/cache", "${MODELS}/cache"):
        monkeypatch.setenv("HF_HUB_CACHE", written)
        assert resolve("hf:owner/net") == cached / COMMITS["main"]
