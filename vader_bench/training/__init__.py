"""One run, from its configuration to its record."""

from __future__ import annotations
