"""Examples of the documentation are run, and its files are read, as a reader would do."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import yaml

import vader_bench
from tests.repo.test_docs import DOCS, PAGES, ROOT, fenced, named, text_of
from tests.unit.cli.conftest import experiment_data, write_project, write_yaml
from vader_bench.experiment.load import load_experiment, load_suite
from vader_bench.experiment.resolve import resolve_loaded
from vader_bench.records.folder import read_metrics
from vader_bench.records.record_file import read_record
from vader_bench.training.session import execute

ELSEWHERE = ("vb.run_arm(", "from diffusers import")
"""What runs for minutes or needs other weights: other tests do the same on tiny models."""


def examples(path: Path) -> list[str]:
    blocks = fenced(path, "python")
    return [block for block in blocks if not any(word in block for word in ELSEWHERE)]


@pytest.fixture(scope="module")
def _results_are_read_once() -> Iterator[None]:
    """All pages show the same results, whose statistics take most of the time."""
    read = cache(vader_bench.read_results)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vader_bench, "read_results", lambda folder: read(Path(folder).resolve()))
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("_results_are_read_once")
@pytest.mark.parametrize("page", [DOCS / "python.md", DOCS / "quickstart.md", ROOT / "README.md"], ids=named)
def test_the_python_examples_of_a_page_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder where only the results are that they name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").symlink_to(ROOT / "results")
    names: dict[str, object] = {}
    found = examples(page)
    assert found
    with mpl.rc_context({"backend": "agg"}):
        for block in found:
            exec(compile(block, str(page), "exec"), names)
    plt.close("all")  # pandas draws with pyplot, which keeps what is not closed
    if page.name == "python.md":
        assert [path.name for path in sorted((tmp_path / "videos").glob("*.mp4"))] == ["00.mp4", "01.mp4"]


def files_of(page: Path, folder: Path) -> Path:
    """Write the examples of ``page`` that begin with a name, as ``# mine.yaml``, and return ``folder``."""
    for language in ("python", "yaml"):
        for block in fenced(page, language):
            if found := re.match(r"# ([\w-]+\.(?:py|yaml))", block):
                (folder / found[1]).write_text(block, "utf-8")
    return folder


def whole(key: str) -> Iterator[tuple[Path, str]]:
    """Yield the page and the name of each file of the documentation whose first key is ``key``."""
    for page in PAGES:
        for block in fenced(page, "yaml"):
            if found := re.match(rf"# ([\w-]+\.yaml)\n{key}: ", block):
                yield page, found[1]


SUITES, EXPERIMENTS = list(whole("suite")), list(whole("experiment"))


@pytest.mark.parametrize(("page", "name"), SUITES)
def test_a_suite_of_the_documentation_is_one(page: Path, name: str, tmp_path: Path) -> None:
    assert load_suite(files_of(page, tmp_path) / name).rewards


@pytest.mark.parametrize(("page", "name"), EXPERIMENTS)
def test_an_experiment_of_the_documentation_is_one(page: Path, name: str, tmp_path: Path) -> None:
    loaded = load_experiment(files_of(page, tmp_path) / name)
    assert resolve_loaded(loaded, with_weights=False).runs


def test_the_method_of_the_documentation_trains(tmp_path: Path, tiny_pipeline: Path) -> None:
    """One file of at most 60 lines, an entry in the experiment, and nothing else is touched."""
    page = text_of("extending.md")
    (code,) = re.findall(r"```python\n([^`]*class BestOf\(.*?)```", page, re.DOTALL)
    (arms,) = re.findall(r"```yaml\n(methods:\n  best-of-4:.*?)```", page, re.DOTALL)
    assert len(code.splitlines()) <= 60
    path = write_project(tmp_path, tiny_pipeline)
    (tmp_path / "best_of.py").write_text(code, "utf-8")
    write_yaml(path, experiment_data() | yaml.safe_load(arms) | {"seeds": [1]})
    run = resolve_loaded(load_experiment(path)).runs[-1]
    assert run.label == "best-of-4"
    execute(run, tmp_path / "run")
    record = read_record(tmp_path / "run" / "record.json")
    assert record.ledger["reward_queries"] == 8
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    steps = [line["metrics"] for line in lines if line["kind"] == "step"]
    assert len(steps) == 2
    assert all(step["spread"] > 0 and step["grad_norm"] > 0 for step in steps)


def test_there_are_such_files() -> None:
    assert {name for _, name in SUITES} >= {"few-steps.yaml", "mine.yaml"}
    assert {name for _, name in EXPERIMENTS} == {"mine-experiment.yaml"}


def test_the_version_is_one_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == version
    assert f"version = {{{version}}}" in (ROOT / "README.md").read_text("utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## {version.partition('.dev')[0]} " in changes
