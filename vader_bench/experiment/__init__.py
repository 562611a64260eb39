"""From an experiment's file to the runs it asks for, checked to be a fair comparison."""

from __future__ import annotations
