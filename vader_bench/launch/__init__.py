"""Where runs execute, many of them, and what is shown meanwhile."""

from __future__ import annotations
