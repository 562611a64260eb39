"""What only a GPU can show, checked in ten minutes without a network: ``python -m vader_bench.gpu_check``."""

from __future__ import annotations
