"""What files may say: typed schemas, names, and YAML whose faults are all reported at once."""

from __future__ import annotations
