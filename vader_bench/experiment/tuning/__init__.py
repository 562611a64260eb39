"""Equal tuning: every method gets as many settings and queries as the others, on prompts of its own."""

from __future__ import annotations
