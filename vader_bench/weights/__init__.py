"""Weights by name: found, checked, sized, and read into networks."""

from __future__ import annotations
