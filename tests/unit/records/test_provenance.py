"""Where a number came from is recorded exactly, or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from vader_bench.files import write_text
from vader_bench.records.provenance import (
    COMPUTING,
    PACKAGES,
    code_digest,
    git_state,
    imported_files,
    machine,
    package_versions,
    plugin_code,
    repository_root,
    training_code,
)


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "vader_bench").mkdir()
    (tmp_path / "vader_bench" / "a.py").write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_code_digest_changes_with_any_code(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    one, two = tmp_path / "one.py", tmp_path / "sub" / "two.py"
    one.write_text("x = 1\n")
    two.write_text("y = 2\n")
    digests = [code_digest(tmp_path)]
    two.write_text("y = 3\n")
    digests.append(code_digest(tmp_path))
    two.rename(tmp_path / "sub" / "three.py")
    digests.append(code_digest(tmp_path))
    one.write_text("")
    digests.append(code_digest(tmp_path))
    assert len(set(digests)) == 4
    (tmp_path / "notes.txt").write_text("no code")
    assert code_digest(tmp_path) == digests[-1]


def test_code_digest_is_not_fooled_by_moving_text_between_files(tmp_path: Path) -> None:
    for name, first, second in (("p", "ab", "c"), ("q", "a", "bc")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text(first)
        (tmp_path / name / "b.py").write_text(second)
    assert code_digest(tmp_path / "p") != code_digest(tmp_path / "q")


def test_what_a_file_imports_is_found_by_way_of_others_and_late(tmp_path: Path) -> None:
    package = tmp_path / "package"
    sources = {
        "start.py": "from package.one import x\nimport numpy",
        "one.py": "def late():\n    from package.sub import two",
        "sub/__init__.py": "",
        "sub/two.py": "import package.three as other\nTABLE = {'name': 'package.four:Four'}",
        "four.py": "",
        "five.py": "",
        "three.py": "from package import start\n'see package.five'",
        "never.py": "import package.start",
        "sub/never.py": "",
    }
    for name, text in sources.items():
        write_text(package / name, text)
    found = {path.relative_to(package).as_posix() for path in imported_files(package, "start.py")}
    assert found == {"start.py", "one.py", "sub/__init__.py", "sub/two.py", "three.py", "four.py"}


def test_code_of_a_plug_in_is_that_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "plugged" / "__init__.py", "")
    write_text(tmp_path / "plugged" / "rewards.py", "class Reward: ...")
    monkeypatch.syspath_prepend(tmp_path)
    reward = import_module("plugged.rewards").Reward
    digest = plugin_code(reward)
    write_text(tmp_path / "plugged" / "formula.py", "x = 1")
    assert len(digest) == len(plugin_code(reward)) == 64
    assert digest != plugin_code(reward)
    assert plugin_code(plugin_code) == ""


def test_training_code_is_what_trains_and_measures() -> None:
    package = repository_root() / "vader_bench"
    found = {path.relative_to(package).as_posix() for path in imported_files(package, "training/session.py")}
    rooms = {name.partition("/")[0] for name in found}
    assert {"methods/ddpo.py", "rewards/vjepa.py", "backbones/wan.py", "diffusion/lora.py"} <= found
    assert {"training/measuring.py", "evaluation/evaluator.py", "seeding.py"} <= found
    assert not rooms & {"report", "stats", "human", "cli", "launch", "cost", "experiment", "pretrain"}
    assert len(training_code()) == 64
    assert training_code() != code_digest()


def test_code_digest_of_the_package() -> None:
    assert len(code_digest()) == 64
    assert (repository_root() / "vader_bench" / "records" / "provenance.py").exists()


def test_package_versions_leave_out_what_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vader_bench.records.provenance.PACKAGES", ("numpy", "no-such-package"))
    assert sorted(package_versions()) == ["numpy", "python"]


def test_packages_that_compute_are_written_down() -> None:
    assert set(COMPUTING) <= set(PACKAGES)
    assert "ftfy" in COMPUTING  # the tokens of Wan's prompts come from it
    assert "ftfy" in package_versions()


def test_git_state(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert git_state(checkout) == {"commit": commit, "dirty": False}
    (checkout / "results.csv").write_text("1")
    assert git_state(checkout)["dirty"] is False
    (checkout / "vader_bench" / "b.py").write_text("new")
    assert git_state(checkout) == {"commit": commit, "dirty": True}


def test_git_state_outside_a_checkout(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # installed into an environment that lies in some other checkout
    assert git_state(checkout / "vader_bench") == {}
    monkeypatch.setenv("PATH", "")
    assert git_state(checkout) == {}


def test_git_state_before_the_first_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) == {}


def test_machine_names_no_host_and_is_json() -> None:
    import platform

    found = machine()
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    assert found["processor"]
    assert json.loads(json.dumps(found)) == found
    assert platform.node() not in found.values()


def test_machine_does_not_load_torch() -> None:
    code = "import sys; from vader_bench.records.provenance import machine; machine()"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=repository_root()
    )
    assert done.stdout.strip() == "False"


def test_machine_tells_threads_where_torch_runs() -> None:
    import torch

    assert machine()["threads"] == torch.get_num_threads()
    assert len(machine()["gpus"]) == torch.cuda.device_count()
