from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from vader_bench.errors import ExitCode, UserError
from vader_bench.methods import optimizers
from vader_bench.methods.optimizers import make_optimizer, require_optimizer


@pytest.fixture
def bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of that name whose optimiser is torch's."""
    module = ModuleType("bitsandbytes")
    module.__spec__ = importlib.util.spec_from_loader("bitsandbytes", None)
    module.optim = SimpleNamespace(AdamW8bit=type("AdamW8bit", (torch.optim.AdamW,), {}))  # type: ignore[attr-defined] # a stand-in
    monkeypatch.setitem(sys.modules, "bitsandbytes", module)


@pytest.fixture
def no_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "find_spec", lambda _: None)


def settings_of(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {name: optimizer.param_groups[0][name] for name in ("lr", "betas", "weight_decay")}


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize(("name", "device"), [("adamw", "cpu"), ("adamw", "cuda"), ("adamw8bit", "cuda")])
def test_every_optimiser_has_the_same_settings(name: str, device: str) -> None:
    weights = [nn.Parameter(torch.ones(2))]
    optimizer = make_optimizer(name, weights, 0.5, device)
    assert type(optimizer).__name__.lower() == name
    assert settings_of(optimizer) == {"lr": 0.5, "betas": (0.9, 0.999), "weight_decay": 0.0}
    assert optimizer.param_groups[0]["params"] == weights


@pytest.mark.usefixtures("no_bitsandbytes")
def test_a_missing_package_is_reported_with_the_command_that_brings_it() -> None:
    require_optimizer("adamw")
    message = r"adamw8bit: needs bitsandbytes; pip install 'vader-bench\[bitsandbytes\]', or set"
    with pytest.raises(UserError, match=message) as caught:
        make_optimizer("adamw8bit", [], 0.1, "cuda")
    assert caught.value.exit_code is ExitCode.MISSING


@pytest.mark.usefixtures("bitsandbytes")
def test_eight_bits_on_the_cpu_are_refused() -> None:
    with pytest.raises(UserError, match=r"adamw8bit: needs a GPU; set memory.optimizer to adamw on the CPU"):
        make_optimizer("adamw8bit", [], 0.1, "cpu")
