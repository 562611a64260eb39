"""Low-rank adapters on the attention projections of a denoiser: the only weights that train."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors
from torch import Tensor, nn

from vader_bench.errors import ExitCode, UserError
from vader_bench.files import write_bytes
from vader_bench.plainjson import NotJsonError, parse_json

if TYPE_CHECKING:
    from peft.tuners.lora import LoraLayer

__all__ = ["AdapterFile", "Lora", "is_own_file", "read_adapter"]

_ADAPTER = "default"
_FORMAT = "vader-bench-lora-1"


class Lora:
    """Adapters of Hu et al. 2021 inside ``model``: ``W x + B A x``, alpha equal to the rank, no dropout.

    ``B`` starts at zero and ``A`` uniform in ``±1/sqrt(inputs)``, drawn in the order of the sorted
    module names, so that two models of one architecture get the same start from the same generator.
    All other weights of the model are frozen.

    Args:
        model: the denoiser; changed in place.
        targets: names of the projections, e.g. ``("to_q", "to_out.0")``; a module matches if its dotted
            name ends with one of them.
        rank: columns of ``B``.
        generator: CPU generator for ``A``.

    Raises:
        ValueError: the model already has adapters, or a target names nothing in it.
    """

    def __init__(
        self, model: nn.Module, targets: Sequence[str], rank: int, generator: torch.Generator
    ) -> None:
        # late: it takes seconds to import, and settings are checked without it
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer

        if any(isinstance(module, LoraLayer) for module in model.modules()):
            raise ValueError("the model already has adapters; remove them first")
        names = [name for name, _ in model.named_modules()]
        if absent := [t for t in targets if not any(f".{name}".endswith(f".{t}") for name in names)]:
            raise ValueError(f"no module of the model is called {', '.join(absent)}")
        model.requires_grad_(False)
        with torch.random.fork_rng(devices=[]):  # peft draws a start of its own, replaced below
            inject_adapter_in_model(
                LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=list(targets)), model
            )
        self.rank = rank
        self.targets = tuple(targets)
        self._model = model
        self._layers: dict[str, LoraLayer] = {
            name: module for name, module in sorted(model.named_modules()) if isinstance(module, LoraLayer)
        }
        for layer in self._layers.values():  # whatever the precision of what they are put on
            for part in ("lora_A", "lora_B"):
                getattr(layer, part).float()
        self._weights = {
            f"{name}.{part}.weight": getattr(layer, part)[_ADAPTER].weight
            for name, layer in self._layers.items()
            for part in ("lora_A", "lora_B")
        }
        self._off = False
        self._unmerged: dict[str, Tensor] = {}
        """While the adapters are merged: the base weights that were there before, by the layer's name."""
        self._draw(generator)

    @classmethod
    def from_file(cls, model: nn.Module, path: Path) -> Lora:
        """Return adapters in ``model`` with rank, targets and weights from a file that ``save`` wrote.

        Raises:
            UserError: as ``read_adapter``, or it does not fit the model.
        """
        found = read_adapter(path)
        names = [name for name, _ in model.named_modules()]
        if absent := [t for t in found.targets if not any(f".{name}".endswith(f".{t}") for name in names)]:
            wrong = f"adapts {', '.join(absent[:3])}, which the model does not have"
            raise UserError(str(path), wrong, "use the backbone that it was trained with")
        lora = cls(model, found.targets, found.rank, torch.Generator())
        lora.load(found.weights, str(path))
        return lora

    def parameters(self) -> list[nn.Parameter]:
        """Return the trainable weights in the order of their names."""
        return list(self._weights.values())

    def state(self) -> dict[str, Tensor]:
        """Return copies of the weights on the CPU by name: ``A`` [rank, inputs], ``B`` [outputs, rank]."""
        return {name: weight.detach().cpu().clone() for name, weight in self._weights.items()}

    def load(self, state: Mapping[str, Tensor], source: str = "adapter") -> None:
        """Overwrite the weights by ``state``.

        Raises:
            UserError: names or shapes differ from the model's; nothing is changed.
            ValueError: the adapters are merged.
        """
        self._refuse_merged()
        wrong = [f"lacks {name}" for name in sorted(self._weights.keys() - state.keys())]
        wrong += [f"has an unknown {name}" for name in sorted(state.keys() - self._weights.keys())]
        wrong += [
            f"has {name} of shape {list(state[name].shape)}, not {list(weight.shape)}"
            for name, weight in self._weights.items()
            if name in state and state[name].shape != weight.shape
        ]
        if wrong:
            more = f", and {len(wrong) - 3} more faults" if len(wrong) > 3 else ""
            raise UserError(
                source, "; ".join(wrong[:3]) + more, "use the backbone and lora_rank that it was trained with"
            )
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state[name])

    def save(self, path: Path) -> None:
        """Write the weights to ``path`` as safetensors, with rank, alpha and targets as metadata."""
        metadata = {
            "format": _FORMAT,
            "rank": str(self.rank),
            "alpha": str(self.rank),
            "targets": json.dumps(self.targets),
        }
        write_bytes(path, _ordered(safetensors.save(self.state(), metadata)))

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Make the model the base model inside; nothing of it is trainable there."""
        merged = self._taken_out()
        off, self._off = self._off, True
        self._switch(False)
        try:
            yield
        finally:
            self._off = off
            self._put_in(merged)
            self._switch(not (self._off or merged))

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Compute ``(W + B A) x`` inside for ``W x + B A x``: cheaper, and nothing is trainable there.

        The same model up to rounding. Afterwards the weights are the tensors that they were before. Where a
        base weight is not float32 the adapters stay apart: rounding the sum to fewer digits would lose them.
        """
        if self._off or self._unmerged or not self._mergeable:
            yield
            return
        self._put_in({name: self._sum(layer) for name, layer in self._layers.items()})
        self._switch(False)
        try:
            yield
        finally:
            self._taken_out()
            self._switch(True)

    @property
    def merged_bytes(self) -> int:
        """Bytes that ``merged`` needs: those of the weights that the adapters are added to."""
        weights = [layer.get_base_layer().weight for layer in self._layers.values()]
        return sum(weight.numel() * weight.element_size() for weight in weights) if self._mergeable else 0

    @property
    def _mergeable(self) -> bool:
        return all(layer.get_base_layer().weight.dtype == torch.float32 for layer in self._layers.values())

    @torch.no_grad()
    def _sum(self, layer: LoraLayer) -> Tensor:
        low, high = (getattr(layer, part)[_ADAPTER].weight for part in ("lora_A", "lora_B"))
        return torch.addmm(layer.get_base_layer().weight, high, low, alpha=layer.scaling[_ADAPTER])

    def _put_in(self, weights: Mapping[str, Tensor]) -> None:
        """Give the base layers ``weights`` by name, and remember those that were there."""
        for name, weight in weights.items():
            base = self._layers[name].get_base_layer()
            self._unmerged[name] = base.weight.data
            base.weight.data = weight

    def _taken_out(self) -> dict[str, Tensor]:
        """Give the base layers their own weights back and return the merged ones, if any, by name."""
        merged = {}
        for name, weight in self._unmerged.items():
            base = self._layers[name].get_base_layer()
            merged[name], base.weight.data = base.weight.data, weight
        self._unmerged = {}
        return merged

    def _switch(self, on: bool) -> None:
        for layer in self._layers.values():
            layer.enable_adapters(on)

    def set_scale(self, factor: float) -> None:
        """Use ``W x + factor B A x``: 0 is the base model, 1 the trained one.

        Raises:
            ValueError: the adapters are merged, by the scale before.
        """
        self._refuse_merged()
        for layer in self._layers.values():
            layer.set_scale(_ADAPTER, factor)

    def _refuse_merged(self) -> None:
        if self._unmerged:
            raise ValueError("adapters cannot change while they are merged")

    def remove(self) -> None:
        """Take the adapters out of the model, which is then the base model again, frozen."""
        for name, layer in self._layers.items():
            parent, _, last = name.rpartition(".")
            setattr(self._model.get_submodule(parent), last, layer.get_base_layer())
        del self._model.peft_config  # peft's mark of a model with adapters

    def _draw(self, generator: torch.Generator) -> None:
        with torch.no_grad():
            for name, weight in self._weights.items():
                if name.endswith(".lora_B.weight"):
                    weight.zero_()
                    continue
                start = torch.empty(weight.shape)
                bound = 1 / math.sqrt(start[0].numel())
                weight.copy_(start.uniform_(-bound, bound, generator=generator))


class AdapterFile(NamedTuple):
    """What a file that ``Lora.save`` wrote holds."""

    weights: dict[str, Tensor]
    """As ``Lora.state`` returns them; alpha equals the rank."""
    rank: int
    targets: tuple[str, ...]


def is_own_file(path: Path) -> bool:
    """Return whether ``Lora.save`` wrote the file ``path``, of whatever version."""
    try:
        with safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get("format", "")).startswith("vader-bench-lora")
    except (SafetensorError, OSError):
        return False  # whoever reads it says what it is


def read_adapter(path: Path) -> AdapterFile:
    """Return what is in the file ``path`` that ``Lora.save`` wrote.

    Raises:
        UserError: there is no such file, or it is of another kind.
    """
    if not path.is_file():
        raise UserError(str(path), "does not exist", "check the path", exit_code=ExitCode.MISSING)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except OSError as error:
        wrong, remedy = f"cannot be read ({error})", "give the path of a file that you may read"
        raise UserError(str(path), wrong, remedy) from error
    except SafetensorError as error:
        raise UserError(str(path), f"is not a safetensors file ({error})", "save it again") from error
    if metadata.get("format") != _FORMAT:
        wrong = f"has format {metadata.get('format')!r}, not {_FORMAT!r}"
        raise UserError(str(path), wrong, "give an adapter that this version of vader-bench saved")
    return _checked(path, weights, metadata)


def _checked(path: Path, weights: dict[str, Tensor], metadata: Mapping[str, str]) -> AdapterFile:
    """Return the adapters, of whose rank memory is taken before their shapes are compared with a model's.

    Raises:
        UserError: rank or targets are missing or none, weights are of another rank or not finite.
    """
    remedy = "copy the file again, or run its experiment again"
    told = metadata.get("rank", "")
    rank = int(told) if re.fullmatch("[1-9][0-9]{0,5}", told) else 0
    try:
        targets = parse_json(metadata.get("targets", ""))
    except NotJsonError:
        targets = None
    whole = isinstance(targets, list) and targets and all(t and isinstance(t, str) for t in targets)
    if not rank or not whole:
        raise UserError(str(path), "does not say its rank and the layers that it adapts", remedy)
    for name, weight in weights.items():
        side = {"A.weight": 0, "B.weight": 1}.get(name.rpartition(".lora_")[2])
        if side is None:
            continue  # whoever loads it says that it is unknown
        if weight.ndim < 2 or weight.shape[side] != rank or not weight.is_floating_point():
            form = f"{list(weight.shape)} of {weight.dtype}"
            raise UserError(str(path), f"has {name} of {form}, which has not the rank {rank}", remedy)
        if not weight.float().isfinite().all():
            raise UserError(str(path), f"has numbers in {name} that are not finite", remedy)
    return AdapterFile(weights, rank, tuple(targets))


def _ordered(data: bytes) -> bytes:
    """Return a safetensors file with its metadata in order: the library draws one at random."""
    size = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + size])
    head["__metadata__"] = dict(sorted(head["__metadata__"].items()))
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight
    return len(text).to_bytes(8, "little") + text + data[8 + size :]
