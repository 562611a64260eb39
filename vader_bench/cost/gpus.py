"""Cards that `plan` can estimate for: the memory that they really have, and dense peak rates."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vader_bench.config.yamlfile import nearest
from vader_bench.errors import UserError

__all__ = ["DEFAULT_GPU", "GPUS", "SMALL", "Gpu", "card_of", "find_gpu"]

_TERA = 1e12
_MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """A card. Rates are dense, with sums in float32, in units of 1e12 FLOP/s."""

    memory_mib: float
    """As ``nvidia-smi`` reports it. Cards that check GDDR memory for errors keep a sixteenth of it for that,
    so that they have less than their label says."""
    fp32: float
    """Without TF32, as runs compute."""
    fp16: float
    bf16: float

    @property
    def memory(self) -> float:
        """Return the memory in bytes."""
        return self.memory_mib * _MIB

    def rate(self, precision: str) -> float:
        """Return the peak rate in FLOP/s for ``"fp32"``, ``"fp16"`` or ``"bf16"``."""
        return {"fp32": self.fp32, "fp16": self.fp16, "bf16": self.bf16}[precision] * _TERA


DEFAULT_GPU = "rtx-4080"
# MiB by nvidia-smi: https://thundergolfer.com/blog/nvidia-gpu-memory-capacity lists those of data centres,
# the others are what public logs show (ECC off on the A6000, as it is sold; the V100 with drivers before
# R510, later ones say 16384). Rates are from the makers' data sheets.
GPUS: dict[str, Gpu] = {
    "t4": Gpu(15360, 8.1, 65, 8.1),  # NVIDIA T4 data sheet; bf16 is not in hardware
    "v100-16": Gpu(16160, 15.7, 125, 15.7),  # V100 SXM2 data sheet; bf16 is not in hardware
    "rtx-4080": Gpu(16376, 48.7, 97.5, 97.5),  # Ada architecture white paper, table of GeForce RTX 4080
    "rtx-4090": Gpu(24564, 82.6, 165.2, 165.2),  # Ada architecture white paper
    "l4": Gpu(23034, 30.3, 121, 121),  # L4 data sheet, halved where it counts sparsity
    "a6000": Gpu(49140, 38.7, 154.8, 154.8),  # RTX A6000 data sheet, halved where it counts sparsity
    "l40s": Gpu(46068, 91.6, 362, 362),  # L40S data sheet
    "a100-40": Gpu(40960, 19.5, 312, 312),  # A100 data sheet
    "a100-80": Gpu(81920, 19.5, 312, 312),  # A100 data sheet
    "h100": Gpu(81559, 67, 989, 989),  # H100 SXM data sheet, halved where it counts sparsity
    "h200": Gpu(143771, 67, 989, 989),  # H200 SXM data sheet, halved where it counts sparsity
}
"""Cards by the name of ``plan --gpu``."""
SMALL = GPUS[DEFAULT_GPU]
"""A card of 16 GB, the smallest that the VADER paper speaks of."""


def find_gpu(name: str) -> Gpu:
    """Return the card called ``name``.

    Raises:
        UserError: no such card is in the table.
    """
    if name not in GPUS:
        raise UserError(f"gpu {name!r}", "is not in the table", nearest(name, GPUS))
    return GPUS[name]


_DEVICES = {
    "t4": "(Tesla )?T4",
    "v100-16": "(Tesla )?V100-SXM2-16GB",
    "rtx-4080": "GeForce RTX 4080",
    "rtx-4090": "GeForce RTX 4090",
    "l4": "L4",
    "a6000": "RTX A6000",
    "l40s": "L40S",
    "a100-40": "A100-(SXM4?|PCIE)-40GB",
    "a100-80": "A100-(SXM4?|PCIE)-80GB|A100 80GB PCIe",
    "h100": "H100 80GB HBM3",
    "h200": "H200",
}
"""What a driver calls each card, after the maker's name, which older drivers leave out. The whole
name counts: what is a ``SUPER``, ``Laptop GPU``, ``D``, ``NVL`` or a part of a card (``MIG``) has
other rates, and so have V100 and H100 with PCIe. An A100 has the same in both forms."""


def card_of(device: str) -> str | None:
    """Return the name in the table of the card that a driver calls ``device``; ``None`` if it has none."""
    return next(
        (name for name, said in _DEVICES.items() if re.fullmatch(f"(NVIDIA )?({said})", device)), None
    )
