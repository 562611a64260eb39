"""The training loop that all pretraining stages share: resumable, with progress and time left."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vader_bench.files import write_bytes
from vader_bench.pretrain.parallel import average_gradients, is_first, is_one_of_many

__all__ = ["fit"]

_CHECKPOINT_SECONDS = 60


def fit(  # noqa: PLR0913 - the settings of a stage, by name
    stage: str,
    module: nn.Module,
    loss: Callable[[int], Tensor],
    folder: Path,
    *,
    steps: int,
    learning_rate: float,
    warmup: int = 100,
    weight_decay: float = 0.01,
    ema: float | None = None,
) -> None:
    """Train ``module`` in place for ``steps`` steps of AdamW with warm-up and cosine decay.

    A stage killed at any moment goes on from its last checkpoint; ``loss(step)`` must draw whatever
    it needs from streams named by ``step``, so that the resumed run is the same run. A finished stage leaves
    its weights alone, which are all that the stages after it need: carried to another machine, in half
    precision where size matters, they spare it the stage. Where several processes train (see
    ``parallel``), each has the loss of its own share of a batch.

    Args:
        stage: name of the stage.
        module: what is trained.
        loss: returns the scalar loss of a step.
        folder: where the checkpoint ``<stage>.pt`` is kept, and at the end ``<stage>.safetensors``.
        steps: how many steps there are.
        learning_rate: its peak, after the warm-up.
        warmup: steps from 0 to the peak.
        weight_decay: AdamW's.
        ema: decay of the running average of the weights, which ``module`` holds at the end.
    """
    path, done = folder / f"{stage}.pt", folder / f"{stage}.safetensors"
    if done.exists():
        module.load_state_dict(load_file(done))
        return
    optimiser = torch.optim.AdamW(module.parameters(), lr=learning_rate, weight_decay=weight_decay)
    average = {k: v.clone() for k, v in module.state_dict().items()} if ema else {}
    first = _resume(path, module, average, optimiser)
    started = monotonic()
    with _progress(stage) as progress:
        task = progress.add_task(stage, total=steps, completed=first, loss=math.nan)
        for step in range(first, steps):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * _schedule(step, steps, warmup)
            value = loss(step)
            _descend(module, optimiser, value)
            if ema:
                _update(average, module, min(ema, (step + 1) / (step + 10)))
            if step % 20 == 0:
                progress.update(task, completed=step + 1, loss=value.item())
            if is_first() and (monotonic() - started > _CHECKPOINT_SECONDS or step + 1 == steps):
                _save(path, module, average, optimiser, step + 1)
                started = monotonic()
                progress.console.log(f"{stage} step {step + 1} loss {value.item():.4f}")
    _finish(module, average or module.state_dict(), done)
    if is_first():
        path.unlink(missing_ok=True)


def _resume(
    path: Path, module: nn.Module, average: dict[str, Tensor], optimiser: torch.optim.Optimizer
) -> int:
    """Take back the checkpoint ``path`` if there is one, and return the step to go on with."""
    if not path.exists():
        return 0
    saved = torch.load(path, weights_only=True)
    module.load_state_dict(saved["module"])
    average.update(saved["average"])
    optimiser.load_state_dict(saved["optimiser"])
    return int(saved["step"])


def _finish(module: nn.Module, weights: dict[str, Tensor], done: Path) -> None:
    """Give ``module`` its final ``weights``, and keep them as ``done``."""
    if is_first():
        plain = {name: w.clone(memory_format=torch.contiguous_format) for name, w in weights.items()}
        write_bytes(done, save(plain))
    module.load_state_dict(weights)


def _descend(module: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    average_gradients(module)
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimiser.step()


def _progress(stage: str) -> Progress:
    return Progress(
        TextColumn(stage),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
        disable=not is_first() or is_one_of_many(),
    )


def _schedule(step: int, steps: int, warmup: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@torch.no_grad()
def _update(average: dict[str, Tensor], module: nn.Module, decay: float) -> None:
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - decay)
        else:
            average[name].copy_(value)


def _save(
    path: Path, module: nn.Module, average: dict[str, Tensor], optimiser: torch.optim.Optimizer, step: int
) -> None:
    buffer = io.BytesIO()
    torch.save(
        {
            "module": module.state_dict(),
            "average": average,
            "optimiser": optimiser.state_dict(),
            "step": step,
        },
        buffer,
    )
    write_bytes(path, buffer.getvalue())
