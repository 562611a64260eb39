"""Prompt sets, their splits, and the grammars that wrote them."""

from __future__ import annotations
