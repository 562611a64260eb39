from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vader_bench.cli import _machine
from vader_bench.cli._machine import Finding, examine
from vader_bench.errors import UserError
from vader_bench.human.rehearsal import browser
from vader_bench.methods import optimizers


def found(what: str, results: Path, suite: str = "pocket", tracking: str | None = None) -> list[Finding]:
    return [one for one in examine(suite, results, tracking) if one.what == what]


def test_a_machine_that_can_run_the_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5e10))
    findings = list(examine("pocket", tmp_path / "new" / "results", None))
    assert [one for one in findings if one.verdict == "missing"] == []
    by_name = {one.what: one.found for one in findings}
    assert by_name["results"] == f"{tmp_path / 'new' / 'results'} will be made"
    assert by_name["mlflow"] == f"{tmp_path / 'new' / 'results' / 'mlflow.db'} will be made"
    assert f"torch {metadata.version('torch')}" in by_name["packages"]
    assert by_name["weights"].endswith("of suite pocket")
    assert list(tmp_path.iterdir()) == []  # nothing was made


def test_every_package_that_is_too_old_or_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = metadata.version

    def pretended(name: str) -> str:
        if name == "peft":
            raise metadata.PackageNotFoundError(name)
        return "0.24.0" if name == "trl" else there(name)

    monkeypatch.setattr(_machine, "version", pretended)
    findings = {one.what: one for one in examine("pocket", tmp_path, None) if one.verdict == "missing"}
    assert set(findings) == {"peft", "trl"}
    assert findings["trl"] == Finding("trl", "0.24.0", "pip install 'trl==0.23.1'")
    assert findings["peft"].found == "not installed"


def test_missing_packages_are_reported_where_nothing_else_can_be_looked_at() -> None:
    """Not a traceback of the first import that fails."""
    code = (
        "import sys; from importlib import metadata\n"
        "there = metadata.version\n"
        "def version(name):\n"
        "    if name == 'torch': raise metadata.PackageNotFoundError(name)\n"
        "    return there(name)\n"
        "metadata.version, sys.modules['torch'] = version, None\n"
        "from vader_bench.cli import main; sys.exit(main(['doctor']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines()[1:] == [
        "missing  torch         not installed",
        f"{'':<23}pip install 'torch<2.14,>=2.13'",
    ]


def test_an_unknown_suite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pokcet"):
        list(examine("pokcet", tmp_path, None))


def test_weights_that_are_missing_come_with_what_fetches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    weights = found("weights", tmp_path, "modelscope")
    assert {one.verdict for one in weights} == {"missing"}
    assert len(weights) > 3
    assert all("`hf download " in one.remedy for one in weights)


@pytest.mark.parametrize("results", ["file", "file/results"])
def test_a_folder_that_cannot_be_written(tmp_path: Path, results: str) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    (one,) = found("results", tmp_path / results)
    assert one.verdict == "missing"
    assert "--out" in one.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_store_in_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    (one,) = found("mlflow", tmp_path, tracking=f"sqlite:///{tmp_path}/file/mlflow.db")
    assert one.verdict == "missing"
    assert "--tracking" in one.remedy


def test_a_checkout_that_is_not_installed_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(name: str) -> object:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(_machine, "metadata", unknown)
    (one,) = found("packages", tmp_path)
    assert (one.verdict, one.found) == ("note", "vader-bench is not installed")


@pytest.mark.parametrize("what", ["bitsandbytes", "browser"])
def test_what_only_some_need_is_a_note(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "find_spec", lambda name: None)
    monkeypatch.setattr(browser, "find_spec", lambda name: None)
    (one,) = found(what, tmp_path)
    assert (one.verdict, one.needed) == ("note", False)
    assert "pip install 'vader-bench[" in one.remedy


def test_a_disk_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5e8))
    assert found("disk", tmp_path) == [
        Finding("disk", "0.5 GB free", "free 1.5 GB, or give --out on another disk")
    ]


def test_a_store_that_is_away_stops_no_run(tmp_path: Path) -> None:
    (one,) = found("mlflow", tmp_path, tracking="http://127.0.0.1:9")
    assert (one.verdict, one.needed) == ("note", False)
    assert one.found.startswith("http://127.0.0.1:9 is away (")


def test_a_broken_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"SQLite format 3\0" + b"nothing" * 500)
    (one,) = found("mlflow", tmp_path)
    assert one.verdict == "note"
    assert "--new-store" in one.remedy


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    (one,) = found("mlflow", tmp_path, tracking="postgres")
    assert one.verdict == "missing"


def test_a_driver_without_a_card_in_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    (one,) = found("gpu", tmp_path)
    assert one.verdict == "note"
    assert torch.__version__ in one.found


def test_cards_are_named_with_their_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "NVIDIA H200")
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=140 * 2**30)
    )
    assert [one.found for one in found("gpu", tmp_path)] == ["cuda:0, NVIDIA H200, 140.0 GiB"]
