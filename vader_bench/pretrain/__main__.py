"""Runs the stages in order. Each is skipped when it is done and goes on where it was when it is not."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from vader_bench.errors import UserError
from vader_bench.experiment.load import load_suite
from vader_bench.pretrain import base_card
from vader_bench.pretrain.stages import STAGES
from vader_bench.weights.resolve import PACKAGED

__all__ = ["main"]


def main() -> None:
    """Train what is missing and write the weights, their card and their digests."""
    parser = argparse.ArgumentParser(description="train the pocket suite from nothing")
    parser.add_argument("--work", type=Path, default=Path("build/pretrain"), help="data and checkpoints")
    parser.add_argument("--out", type=Path, default=PACKAGED, help="folder of the finished weights")
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    arguments = parser.parse_args()
    try:
        for suite in base_card.SUITES.values():
            load_suite(suite)  # the card needs them at the end, and that is hours away
    except UserError as error:
        parser.error(str(error))
    torch.set_num_threads(arguments.threads)
    for stage in arguments.stages:
        STAGES[stage](arguments.work, arguments.out)


if __name__ == "__main__":
    main()
