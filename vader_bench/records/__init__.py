"""What a run leaves: its folder, its record, where its numbers come from, and MLflow."""

from __future__ import annotations
