"""Imported last where workers are forked from: they look for garbage, but never in what they come with.

Looking through it takes a worker half a second each time, and a copy of 200 MB that it shares otherwise.
"""

from __future__ import annotations

import gc

__all__ = ()

gc.freeze()
gc.enable()
