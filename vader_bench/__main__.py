"""``python -m vader_bench`` is the command ``vader-bench``."""

from __future__ import annotations

import sys

from vader_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
