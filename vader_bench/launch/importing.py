"""Imported first where workers are forked from: nothing is looked for in what is imported next.

What is imported is no garbage, and looking through it takes a fifth of the time of the imports.
"""

from __future__ import annotations

import gc

__all__ = ()

gc.disable()
