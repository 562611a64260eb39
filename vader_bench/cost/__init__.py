"""What an experiment would cost, worked out from its files before anything runs."""

from __future__ import annotations
