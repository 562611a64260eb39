"""``python -m vader_bench.gpu_check [--out gpu-check.json] [--limit 600]``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from vader_bench.errors import ExitCode, UserError
from vader_bench.gpu_check.outcome import CheckOutcome

_GIB = 2**30


def main() -> int:
    """Do the checks and return the exit code: 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m vader_bench.gpu_check", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"), help="the report")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for all checks together")
    given = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    from vader_bench.gpu_check.runner import run_checks

    try:
        outcomes = run_checks(given.out, given.limit, _tell)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    failed = sum(one.verdict == "failed" for one in outcomes)
    sys.stdout.write(f"{failed} of {len(outcomes)} checks failed; the report is {given.out}\n")
    return ExitCode.RUN_FAILED if failed else ExitCode.DONE


def _tell(one: CheckOutcome) -> None:
    words = [f"{one.verdict:<8} {one.name:<32} {one.seconds:6.1f} s"]
    words += [
        f"{arm.training.bytes / _GIB:.1f} GiB, {arm.look.bytes / _GIB:.1f} at looks" for arm in one.measured
    ]
    sys.stdout.write(f"{'  '.join([*words, one.why]).rstrip()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
