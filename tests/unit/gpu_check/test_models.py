"""Models that are planned and measured, shown on a pocket suite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.configs import tiny_run
from vader_bench.config.schema import ComponentConfig, MemoryConfig
from vader_bench.cost.estimate import RESERVE
from vader_bench.cost.gpus import Gpu
from vader_bench.cost.measure import Expected
from vader_bench.experiment.load import load_suite, suite_names
from vader_bench.gpu_check import models
from vader_bench.gpu_check.models import CAP, MODELS, outcome_names, plan_model
from vader_bench.methods import METHODS


def test_every_model_is_a_suite_with_settings_for_vader() -> None:
    assert set(MODELS) <= set(suite_names())
    for name in MODELS:
        assert METHODS.get("vader").Config(**load_suite(name).methods["vader"]).round_queries >= 1


@pytest.fixture
def planned(tiny_pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Expected, Expected | None]:
    """The tiny model, on a card that has room and on one that has none."""
    changes = {
        "rewards": {"aesthetic": ComponentConfig(family="redness")},
        "methods": {"vader": {"batch_size": 2, "learning_rate": 1e-3, "lora_rank": 2}},
    }
    suite = tiny_run(tiny_pipeline).suite.model_copy(update=changes)
    monkeypatch.setitem(MODELS, "tiny", {"frames": 4, "height": 32, "width": 32})
    monkeypatch.setattr(models, "load_suite", lambda _: suite)
    monkeypatch.setattr(models, "SMALL", Gpu((RESERVE + 1000) / 2**20, 1, 1, 1))
    monkeypatch.setattr(models, "switches", lambda *_: iter(()))  # to try all of them takes long
    whole, small = plan_model("tiny", 80 * 2**30)
    assert (whole.name, small.name) == outcome_names("tiny")
    assert (whole.cap, small.cap) == (None, CAP)
    assert whole.expected is not None
    return whole.expected, small.expected


@pytest.mark.slow
def test_what_fits_is_measured_and_fails_where_the_estimate_misses(
    planned: tuple[Expected, Expected | None],
) -> None:
    whole, small = planned
    assert small is None, "a thousand bytes are too few"
    assert whole.run.suite.memory == MemoryConfig()
    assert whole.run.suite.sampler.steps == 4
    outcome = models._outcome("measure tiny", whole, "cpu")
    assert (outcome.verdict, outcome.why) == ("passed", "no switch on, fp32")
    assert len(outcome.measured) == 1
    double = replace(whole.estimate.memory, weights=3 * whole.estimate.memory.total)
    wrong = whole._replace(estimate=replace(whole.estimate, memory=double))
    outcome = models._outcome("measure tiny", wrong, "cpu")
    assert outcome.verdict == "failed"
    assert "the estimate of memory misses by " in outcome.why
