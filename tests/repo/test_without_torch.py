from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.support.results import Invented, write_results

HEAVY = ("torch", "diffusers", "transformers", "trl", "mlflow")


BLOCK = f"""
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Block())
"""


def _run(code: str, *arguments: str) -> str:
    """Run ``code`` in a fresh process in which heavy packages cannot be imported."""
    command = [sys.executable, "-c", BLOCK + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


PACKAGES = (
    "vader_bench.stats",
    "vader_bench.report",
    "vader_bench.human.package.build",
    "vader_bench.human.ingest.ingest",
    "vader_bench.human.rehearsal.simulate",
    "vader_bench.human.analysis.report",
)


@cache
def _refusals() -> dict[str, str]:
    """Return what came of the import of each package; what failed for one is tried again for the next."""
    code = (
        "import importlib, json\n"
        "said = {}\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ImportError as error:\n"
        "        said[name] = str(error)\n"
        "print(json.dumps(said))"
    )
    return dict(json.loads(_run(code, *PACKAGES, "torch")))


@pytest.mark.parametrize("package", PACKAGES)
def test_statistics_and_reports_import_without_torch(package: str) -> None:
    assert package not in _refusals(), _refusals()[package]


def test_the_block_is_real() -> None:
    assert _refusals()["torch"] == "torch is blocked"


def test_a_whole_report_is_built_without_torch(tmp_path: Path) -> None:
    write_results(tmp_path, Invented(rewards=("red",), methods=("vader", "ddpo"), seeds=(0, 1)))
    code = (
        "from pathlib import Path\n"
        "from vader_bench.report import build_report\n"
        "print(len(build_report(Path(sys.argv[1]), Path(sys.argv[1])).files))"
    )
    assert _run(code, str(tmp_path)).strip() == "10"
