"""Files that are no good: one error meant for the user, soon, whatever is in them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from tests.support.mutations import mutated
from vader_bench import files
from vader_bench.config.schema import RunConfig
from vader_bench.errors import ExitCode, UserError
from vader_bench.experiment import load
from vader_bench.experiment.load import load_experiment, load_suite
from vader_bench.experiment.tuning.candidates import find_candidates
from vader_bench.experiment.tuning.choice import check_tuning
from vader_bench.experiment.tuning.config import load_tune
from vader_bench.prompts.sets import load_prompts

pytestmark = pytest.mark.usefixtures("known_names")

SECONDS = 2.0
often = settings(
    max_examples=250, deadline=None, derandomize=True, database=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large,
    ],
)  # fmt: skip


def hold(path: Path, text: str, read: Callable[[Path], object]) -> None:
    """Write ``text`` and demand of ``read`` that it takes it, or refuses it in few lines and soon."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    begun, found = time.process_time(), None
    try:
        read(path)
    except UserError as error:
        found = error
    assert time.process_time() - begun < SECONDS
    if found is not None:
        assert found.exit_code in {ExitCode.BAD_INPUT, ExitCode.MISSING}
        assert str(found).count("\n") < 24
        assert len(str(found)) < 10_000


@pytest.fixture
def folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suite_data: dict[str, Any],
    experiment_data: dict[str, Any],
) -> Path:
    """A project: a packaged suite called small, one of the user's own, and prompts."""
    suite_data["gold"] = {"aesthetic": {"family": "clip"}}
    suite_data["methods"] = {"ddpo": {"learning_rate": 0.1}}
    suite_data["memory"] = {"checkpointing": True}
    suites = tmp_path / "suites"
    suites.mkdir()
    monkeypatch.setattr(load, "SUITES_FOLDER", suites)
    (suites / "small.yaml").write_text(yaml.safe_dump(suite_data), "utf-8")
    (tmp_path / "train.txt").write_text("a cat\na dog\n", "utf-8")
    return tmp_path


EXPERIMENT = """\
experiment: fig
question: Which?
compares: [method]
suite: small
rewards: [aesthetic, action]
methods:
  vader:
    learning_rate: 0.001
    suite: {decode_frames: 2}
    by_reward:
      action: {k: 2}
  ddpo:
    learning_rate: 3.0e-4
    betas: [0.9, 0.999]
tuning: choice.yaml
seeds:
- 0
- 1
budget:
  reward_queries: 128
evaluation:
  every: 64
  prompts: 8
  splits: [train, heldout]
  final_splits:
  - train
  - heldout
  final_prompts: 16
  best_of: [1, 2]
  measure:
    judges: [action]
    lora_scales: [0.5]
target: {arm: vader, queries: 64}
quick:
  seeds: [0]
  budget:
    reward_queries: 64
"""


@often
@given(text=mutated([EXPERIMENT]))
def test_experiment_files(folder: Path, text: str) -> None:
    hold(folder / "fig.yaml", text, load_experiment)


SUITE = """\
suite: mine
backbone:
  family: modelscope
  settings:
    weights: ./model
    frames: 8
rewards:
  aesthetic:
    family: clip
    settings:
      clip: ./clip
  action:
    family: clip
gold:
  aesthetic: {family: clip}
prompt_share:
  family: clip
prompts:
  default: pocket
  action: ./own.yaml
decode_frames: 2
methods:
  ddpo: {learning_rate: 0.1}
memory:
  checkpointing: true
sampler:
  steps: 10
  eta: 1.0
  guidance: 1.0
"""


@often
@given(text=mutated([SUITE]))
def test_suite_files(folder: Path, text: str) -> None:
    (folder / "fig.yaml").write_text(EXPERIMENT.replace("suite: small", "suite: ./mine.yaml"), "utf-8")
    hold(folder / "mine.yaml", text, lambda path: (load_suite(path), load_experiment(folder / "fig.yaml")))


TUNING = """\
experiment: tune
question: Which?
suite: small
rewards: [aesthetic, action]
seed: 1000
budget:
  reward_queries: 64
evaluation:
  every: 64
  prompts: 16
  splits: [heldout]
  final_splits: [heldout]
  final_prompts: 16
methods:
  vader:
    settings: {lora_rank: 4}
    grid:
      k: [1, 2]
      learning_rate: [1.0e-4, 3.0e-4]
  ddpo:
    settings: {lora_rank: 4}
    grid:
      learning_rate:
      - 1.0e-4
      - 3.0e-4
      - 1.0e-3
      - 3.0e-3
"""


HALVING = (
    TUNING.replace(
        """\
budget:
  reward_queries: 64
""",
        """\
rungs:
- {reward_queries: 64, keep: 2}
- {reward_queries: 128, seeds: 2}
""",
    )
    .replace(
        """\
      - 3.0e-3
""",
        """\
      - 3.0e-3
    points:
    - {learning_rate: 1.0e-2}
    extend:
    - {learning_rate: 3.0e-2}
    bounds: {learning_rate: [3.0e-2]}
""",
    )
    .replace(
        """\
      learning_rate: [1.0e-4, 3.0e-4]
""",
        """\
      learning_rate: [1.0e-4, 3.0e-4]
    points: [{k: 1, learning_rate: 1.0e-2}]
    extend: [{k: 1, learning_rate: 3.0e-2}]
""",
    )
)


@often
@given(text=mutated([TUNING, HALVING]))
def test_tuning_files(folder: Path, text: str) -> None:
    def read(path: Path) -> None:
        config = load_tune(path)
        find_candidates(config, load_suite(config.suite))

    hold(folder / "tune.yaml", text, read)


def test_grids_that_nobody_means_are_refused_before_they_are_multiplied(folder: Path) -> None:
    values = f"[{', '.join(map(str, range(100)))}]"
    grid = "".join(f"      k{i}: {values}\n" for i in range(9))
    text = TUNING.replace("      k: [1, 2]\n", grid)
    (folder / "tune.yaml").write_text(text, "utf-8")
    with pytest.raises(
        UserError, match=r"methods\.vader\.grid: makes 2000000000000000000 settings; make it 10000"
    ):
        load_tune(folder / "tune.yaml")


CHOICE = """\
version: 1
suite: pocket
seed: 1000
choice:
  aesthetic:
    vader: {k: 1, learning_rate: 0.001}
"""


@often
@given(text=mutated([CHOICE]))
def test_choice_files(folder: Path, run_config: RunConfig, text: str) -> None:
    experiment = load_experiment_of(folder)

    def read(path: Path) -> None:
        check_tuning(experiment, [path], [run_config])

    hold(folder / "choice.yaml", text, read)


def test_a_choice_of_another_form_is_refused_although_its_digest_is_right(
    folder: Path, run_config: RunConfig
) -> None:
    for choice in ("[a]", "{aesthetic: [vader]}", "{aesthetic: {vader: 5}}", "text", "5"):
        text = f"version: 1\nchoice: {choice}\n"
        data = yaml.safe_load(text)
        digest = files.sha256_text(files.canonical_json(data))
        hold(folder / "choice.yaml", f"{text}sha256: {digest}\n", lambda _: None)
        with pytest.raises(UserError, match="is not as the tuning wrote it"):
            check_tuning(load_experiment_of(folder), [folder / "choice.yaml"], [run_config])


def load_experiment_of(folder: Path) -> Any:
    (folder / "plain.yaml").write_text(EXPERIMENT, "utf-8")
    return load_experiment(folder / "plain.yaml").config


PROMPTS = """\
splits:
  train:
  - a cat on a mat
  - a dog in a bog
  - a fox: in a box
  heldout: [a hen in a den, a pig in a wig]
  more: train.txt
"""


@often
@given(text=mutated([PROMPTS]))
def test_prompt_files(folder: Path, text: str) -> None:
    hold(folder / "own.yaml", text, lambda path: load_prompts(str(path)))
