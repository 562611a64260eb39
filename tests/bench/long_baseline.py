"""Is the baseline alive? trl's own ``DDPOTrainer`` and our DDPO on the easiest reward, 2,048 queries each.

Not collected by itself, for it takes an hour: ``pytest -s tests/bench/long_baseline.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

import pytest

from tests.bench.test_step import run_of, say
from tests.support.stock_ddpo import StockDdpo
from vader_bench.budget.ledger import Budget, Meter
from vader_bench.evaluation.evaluator import Evaluator
from vader_bench.methods.ddpo import Ddpo, DdpoConfig
from vader_bench.prompts.sets import prompt_stream
from vader_bench.training.load import load_components
from vader_bench.training.settle import settle_torch
from vader_bench.training.workbench import make_method

REWARD = "brightness"
QUERIES, LOOK_EVERY, HELDOUT = 2048, 512, 32
PROMPTS, EACH = 32, 4
"""A round of 128 queries, within the 64 to 256 that the authors of DDPO use."""


@pytest.mark.parametrize(("rate", "clip"), [(3e-4, 1e-4), (3e-3, 1e-2)], ids=["authors", "larger"])
@pytest.mark.parametrize("stock", [False, True], ids=["ours", "trl"])
def test_2048_queries(stock: bool, rate: float, clip: float) -> None:
    """Prints the held-out reward along the way; both begin at the base model and see the same prompts."""
    settle_torch("cpu")
    method, evaluator, prompts = set_up(rate, clip)
    round_ = stock_round(method) if stock else lambda: method.step(PROMPTS * EACH)
    found = [heldout(method, evaluator, prompts)]
    for queries in range(PROMPTS * EACH, QUERIES + 1, PROMPTS * EACH):
        round_()
        if queries % LOOK_EVERY == 0:
            found.append(heldout(method, evaluator, prompts))
    who = "trl" if stock else "ours"
    say(f"{who} rate {rate:g} clip {clip:g}: {REWARD} " + " ".join(f"{value:.4f}" for value in found))
    assert len(found) == 1 + QUERIES // LOOK_EVERY


def set_up(rate: float, clip: float) -> tuple[Ddpo, Evaluator, list[str]]:
    run = run_of("ddpo")
    settings = DdpoConfig(
        learning_rate=rate, clip_range=clip, prompts_per_round=PROMPTS, samples_per_prompt=EACH, batch_size=16
    )
    config = run.model_copy(update={"settings": settings, "reward": REWARD})
    parts = load_components(config, "cpu")
    meter = Meter(Budget(reward_queries=2 * QUERIES))
    method = make_method(config, parts, meter, prompt_stream(parts.prompts.split("train"), 1), "cpu")
    assert isinstance(method, Ddpo)
    look = Evaluator(parts.backbone, config.suite.sampler, parts.reward, None, "cpu", batch=16)
    return method, look, list(parts.prompts.split("heldout"))[:HELDOUT]


def stock_round(method: Ddpo) -> Callable[[], None]:
    return StockDdpo(method, PROMPTS, EACH).round


def heldout(method: Ddpo, evaluator: Evaluator, prompts: list[str]) -> float:
    with method.lora.merged():
        return fmean(score.reward for score in evaluator.look(prompts, 1).scores)
