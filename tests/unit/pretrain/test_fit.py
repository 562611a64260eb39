"""The shared training loop learns, averages, and resumes exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vader_bench.pretrain.fit import fit
from vader_bench.seeding import torch_stream


def _model() -> nn.Linear:
    model = nn.Linear(3, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return model


def _loss_of(model: nn.Linear, stop_before: int | None = None) -> Callable[[int], Tensor]:
    def loss(step: int) -> Tensor:
        if step == stop_before:
            raise KeyboardInterrupt
        x = torch.randn(16, 3, generator=torch_stream(0, "fit", step))
        error: Tensor = (model(x) - x.sum(dim=1, keepdim=True)).square().mean()
        return error

    return loss


def _fit(model: nn.Linear, folder: Path, stop_before: int | None = None, ema: float | None = None) -> None:
    fit("toy", model, _loss_of(model, stop_before), folder, steps=60, learning_rate=0.1, warmup=5, ema=ema)


def test_it_learns(tmp_path: Path) -> None:
    model = _model()
    before = _loss_of(model)(999).item()
    _fit(model, tmp_path)
    assert _loss_of(model)(999).item() < before / 20


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_stopped_training_ends_as_an_unstopped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema: float | None
) -> None:
    monkeypatch.setattr("vader_bench.pretrain.fit._CHECKPOINT_SECONDS", -1)
    whole = _model()
    _fit(whole, tmp_path / "whole", ema=ema)
    with pytest.raises(KeyboardInterrupt):
        _fit(_model(), tmp_path / "parts", stop_before=23, ema=ema)
    resumed = _model()
    _fit(resumed, tmp_path / "parts", ema=ema)
    assert torch.equal(whole.weight, resumed.weight)
    assert torch.equal(whole.bias, resumed.bias)


def test_a_finished_stage_is_loaded_and_not_repeated(tmp_path: Path) -> None:
    first = _model()
    _fit(first, tmp_path, ema=0.9)
    second = _model()
    _fit(second, tmp_path, stop_before=0, ema=0.9)
    assert torch.equal(first.weight, second.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["toy.safetensors"], "no optimiser states stay"
    assert torch.equal(load_file(tmp_path / "toy.safetensors")["weight"], first.weight)


def test_the_average_lags_behind_the_weights(tmp_path: Path) -> None:
    plain, averaged = _model(), _model()
    _fit(plain, tmp_path / "plain")
    _fit(averaged, tmp_path / "averaged", ema=0.99)
    assert not torch.equal(plain.weight, averaged.weight)
    assert (averaged.weight - 1).abs().max() < 0.5
