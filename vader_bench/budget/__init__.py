"""What a run may spend, has spent, and the memory that it took."""

from __future__ import annotations
