"""The prompt sets that are packaged; ``python -m vader_bench.prompts.packaged`` writes them again."""

from __future__ import annotations

from pathlib import Path

from vader_bench.prompts.activities import activities
from vader_bench.prompts.pocket import pocket, pocket_books, pocket_dogs, pocket_looks
from vader_bench.prompts.sets import SETS_FOLDER, save_prompts

__all__ = ["PACKAGED", "write_packaged"]

PACKAGED = {
    "activities": activities,
    "pocket": pocket,
    "pocket-books": pocket_books,
    "pocket-dogs": pocket_dogs,
    "pocket-looks": pocket_looks,
}
"""What makes each set, by its name."""


def write_packaged(folder: Path = SETS_FOLDER) -> None:
    """Write every packaged set to ``folder/<set>/<split>.txt``; the same bytes every time."""
    for name, make in PACKAGED.items():
        save_prompts(make(), folder / name)


if __name__ == "__main__":
    write_packaged()
