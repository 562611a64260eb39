"""Experiments, suites and prompt files by ``check``: their bytes, and what is in the place of a file.

What is in YAML that can be read is told in ``tests/unit/experiment/test_mutations.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzz import examples, hold
from tests.support.fuzz_damage import NO_FILES, pickled, put, retold, torn
from vader_bench.errors import ExitCode

FILES = {
    "fig.yaml": """\
experiment: fig
question: Which?
suite: ./mine.yaml
rewards: [red]
methods:
  vader: {learning_rate: 0.01, batch_size: 2, lora_rank: 2}
  ddpo: {learning_rate: 0.01, prompts_per_round: 1, samples_per_prompt: 2, lora_rank: 2}
seeds: [0]
budget: {reward_queries: 4}
evaluation:
  every: 2
  prompts: 1
  splits: [heldout]
  final_splits: [heldout]
  final_prompts: 1
""",
    "mine.yaml": """\
suite: mine
backbone:
  family: modelscope
  settings: {weights: pocket/text-to-video, frames: 8, height: 64}
rewards:
  red: {family: redness}
prompts: {default: ./own.yaml}
sampler: {steps: 4, eta: 1.0, guidance: 1.0}
""",
    "own.yaml": "splits:\n  train: train.txt\n  heldout: more.jsonl\n",
    "train.txt": "a red cat spinning in the park\na blue dog spinning in the park\n",
    "more.jsonl": '{"prompt": "a green cat spinning in the park", "negative_prompt": "a dog"}\n',
}
TUNE = """\
experiment: tune
question: Which?
suite: ./mine.yaml
rewards: [red]
seed: 1000
budget: {reward_queries: 4}
methods:
  vader: {grid: {learning_rate: [0.1]}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        put(tmp_path / name, text.encode())
    return tmp_path


def test_without_damage_it_passes(project: Path) -> None:
    assert hold("check", project / "fig.yaml").code == ExitCode.DONE


@pytest.mark.parametrize("name", FILES)
@examples(15)
@given(data=st.data())
def test_torn_files(project: Path, name: str, data: st.DataObject) -> None:
    for other, text in FILES.items():
        put(project / other, text.encode())
    put(project / name, data.draw(torn(FILES[name].encode())))
    hold("check", project / "fig.yaml", names=(str(project), "fig", "mine", "prompt"))


@examples(20)
@given(data=st.data())
def test_lines_of_prompts(project: Path, data: st.DataObject) -> None:
    line = {"prompt": "a green cat", "negative_prompt": "a dog", "image": "a.png"}
    put(project / "more.jsonl", data.draw(retold(line)) + b"\n")
    hold("check", project / "fig.yaml", names=("more.jsonl", "prompt"))


@pytest.mark.parametrize("form", NO_FILES)
@pytest.mark.parametrize("name", FILES)
def test_no_file_where_one_is_looked_for(project: Path, name: str, form: str) -> None:
    NO_FILES[form](project / name)
    code = hold("check", project / "fig.yaml", names=(name, str(project))).code
    assert code != ExitCode.DONE or form == "no permission"  # root reads it


@pytest.mark.parametrize("name", FILES)
def test_nothing_in_a_file_is_run(project: Path, name: str) -> None:
    made = project / "made"
    harm = f"!!python/object/apply:os.mkdir ['{made}']"
    for data in (harm.encode(), f"suite: {harm}\nexperiment: {harm}\n".encode(), pickled(made)):
        put(project / name, data)
        hold("check", project / "fig.yaml")
        assert not made.exists()


@examples(15)
@given(data=st.data())
def test_torn_tunings(project: Path, data: st.DataObject) -> None:
    """``prompts`` is missing in it, so that nothing is ever trained."""
    put(project / "tune.yaml", data.draw(torn(TUNE.encode())))
    out = project / "out"
    hold("tune", project / "tune.yaml", "--out", out, names=("tune",), codes=(2, 3), nothing_new=out)
