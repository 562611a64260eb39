"""Workers on CPUs come from one process that imports for all of them; others import for themselves."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.configs import run_config
from tests.unit.launch.test_local import Notes
from vader_bench.config.schema import RunConfig
from vader_bench.experiment.job import Job
from vader_bench.launch import start
from vader_bench.launch.crew import launch
from vader_bench.launch.local import LocalExecutor
from vader_bench.launch.start import PRELOADED, start_context
from vader_bench.records.provenance import repository_root
from vader_bench.training.progress import Progress

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every worker imports for itself")


@LINUX
def test_workers_on_cpus_are_forked_and_others_are_not() -> None:
    assert start_context(["cpu", "cpu"]).get_start_method() == "forkserver"
    assert start_context(["cuda:0", "cuda:1"]).get_start_method() == "spawn"
    assert start_context(["cpu", "cuda:0"]).get_start_method() == "spawn"


def test_other_systems_start_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert start_context(["cpu"]).get_start_method() == "spawn"


def note(config: RunConfig, folder: Path, device: str, report: Callable[[Progress], None]) -> None:
    """Write down what a worker comes with, in place of a run."""
    said = {"parent": os.getppid(), "torch": "torch" in sys.modules, "own": os.environ.get("VADER_TEST")}
    said |= {"frozen": gc.get_freeze_count(), "collects": gc.isenabled()}
    (folder / "said.json").write_text(json.dumps(said), "utf-8")


@LINUX
def test_workers_have_one_origin_its_imports_and_the_surroundings_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for value in ("first", "second"):  # the origin is there already when the second one starts
        monkeypatch.setenv("VADER_TEST", value)
        config = run_config(seed=1)
        folder = tmp_path / value
        assert launch([Job(config, folder)], LocalExecutor(["cpu"], note), Notes()) == []
        said.append(json.loads((folder / "said.json").read_text("utf-8")))
    assert said[0]["parent"] == said[1]["parent"] != os.getpid()
    assert [one["own"] for one in said] == ["first", "second"]
    assert all(one["torch"] for one in said)
    assert all(one["frozen"] > 100_000 and one["collects"] for one in said), "garbage is looked for elsewhere"


def test_what_is_imported_for_all_exists() -> None:
    """A name that is none would be passed over in silence, and every worker would import for itself."""
    for name in (start._BEFORE, *PRELOADED, start._AFTER):
        assert find_spec(name) is not None, name


PRELOADS = """
import os, sys
from contextlib import nullcontext
sys.path.remove("")
from vader_bench.errors import UserError
from vader_bench.launch import start
start.PRELOADED = (sys.argv[1],)
process = start.start_context(["cpu"]).Process(target=os._exit, args=(7,))
try:
    start.start(process, nullcontext())
except UserError as error:
    print(error)
else:
    process.join()
    print(process.exitcode)
"""


def started_in(folder: Path, preloaded: str) -> str:
    """Return what a process prints that starts a worker in ``folder``, which ends with 7."""
    command = [sys.executable, "-c", PRELOADS, preloaded]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout.strip()


@LINUX
def test_a_file_in_the_working_folder_takes_the_place_of_no_library(tmp_path: Path) -> None:
    (tmp_path / "wave.py").write_text("open('imported', 'w').close()", "utf-8")
    assert started_in(tmp_path, "wave") == "7"
    assert not (tmp_path / "imported").exists()


@LINUX
def test_what_cannot_be_imported_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('no such kernel')", "utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    assert started_in(tmp_path, "broken").startswith("workers: cannot be started: what they import fails")


NOTING = """
import json
from pathlib import Path
from tests.support.configs import run_config
from vader_bench.training.identity import make_origin

def note(path):
    suite = run_config().model_dump()["suite"]
    suite["backbone"]["settings"]["weights"] = "./noting.py"  # any file that is there
    origin = make_origin(run_config(suite=suite), "cpu", {}, "")
    Path(path).write_text(json.dumps([origin.git, origin.digests["code"], origin.key]), "utf-8")
"""
CHANGES = """
import subprocess, sys
from contextlib import nullcontext
import noting
from vader_bench.launch import start
from vader_bench.training import session
start.PRELOADED = ("vader_bench.training.session",)
context = start.start_context(["cpu"])
for number in (1, 2):
    process = context.Process(target=noting.note, args=(f"{number}.json",))
    start.start(process, nullcontext())
    process.join()
    with open("checkout/vader_bench/seeding.py", "a") as file:
        file.write("# pulled")
    subprocess.run([*sys.argv[1:], "commit", "-qam", "pulled"], check=True)
noting.note("here.json")
"""


@LINUX
@pytest.mark.slow
def test_code_that_is_pulled_meanwhile_is_not_that_of_workers_which_start_later(tmp_path: Path) -> None:
    root, checkout = repository_root(), tmp_path / "checkout"
    large = shutil.ignore_patterns("__pycache__", "*.safetensors")
    shutil.copytree(root / "vader_bench", checkout / "vader_bench", ignore=large)
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    git = ["git", "-C", str(checkout), *identity]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    (tmp_path / "noting.py").write_text(NOTING, "utf-8")
    path = os.pathsep.join(map(str, (checkout, tmp_path, root)))
    surroundings = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(
        [sys.executable, "-c", CHANGES, *git], cwd=tmp_path, env=surroundings, check=True, timeout=300
    )
    first, *others = (
        json.loads((tmp_path / f"{name}.json").read_text("utf-8")) for name in ("1", "2", "here")
    )
    assert first[0] == {"commit": commit.stdout.strip(), "dirty": False}
    assert others == [first, first]
