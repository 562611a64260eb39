"""A study file to begin with: two arms, a list of prompts, and a word on every choice."""

from __future__ import annotations

import json
import math
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.human.config import PLACEHOLDERS, arms_named, load_study
from vader_bench.human.package.sources import is_run, wanted_prompts
from vader_bench.human.package.template import fragment
from vader_bench.prompts.sets import known_names

__all__ = ["write_starter"]

_FLOOR: Final = 15.0
_SECONDS: Final = 20
_PAIRS: Final = 7
"""Of a block by default: five pairs, a gold one and a repeat."""


def write_starter(path: Path, first: Path, second: Path, prompts: str) -> None:
    """Write a study file that compares two arms and can be built once its placeholders are filled in.

    Args:
        path: the file to write.
        first: results folder of a run, or folder of videos: what is compared with.
        second: the same of the other arm.
        prompts: a .txt file, one prompt a line, or the name of a packaged set.

    Raises:
        UserError: the file exists, a folder does not, both arms are the same, or there are no such prompts.
    """
    if path.exists():
        raise UserError(str(path), "exists", "give another --out, or delete it")
    for folder in (first, second):
        if not folder.is_dir():
            raise UserError(str(folder), "is no folder", "give the results folder of a run or one of videos")
    if first.resolve() == second.resolve():
        raise UserError(str(second), "is both arms", "give two folders")
    wanted_prompts(prompts)
    arms = dict(zip(_names(first, second), (first, second), strict=True))
    files.write_text(path, _text(path, {f"arm-of-{name}": arms[name] for name in arms}, prompts))
    study = load_study(path)
    plain = study.model_copy(update={"arms": {name: str(folder) for name, folder in arms.items()}})
    if not arms_named(plain, "page", fragment(study, _PAIRS)):
        files.write_text(path, _text(path, arms, prompts))
        load_study(path)


def _names(*folders: Path) -> Iterator[str]:
    """Yield a name for each arm, that of its folder, or of the folder above where these are the same."""
    last = [folder.resolve().name for folder in folders]
    above = [folder.resolve().parent.name for folder in folders]
    names = last if len(set(last)) == len(last) else above
    plain = [re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") for name in names]
    for number, name in enumerate(plain):
        yield name if name and plain.count(name) == 1 else f"{name or 'arm'}-{'AB'[number]}"


def _text(path: Path, arms: dict[str, Path], prompts: str) -> str:
    def located(target: str | Path) -> str:
        return json.dumps(os.path.relpath(Path(target).resolve(), path.resolve().parent))

    runs = all(is_run(folder) for folder in arms.values())
    reward = math.ceil(100 * _FLOOR * _PAIRS * _SECONDS / 3600) / 100
    values = {
        "study": json.dumps(re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._") or "study"),
        "arms": "\n".join(f"  {json.dumps(name)}: {located(folder)}" for name, folder in arms.items()),
        "prompts": json.dumps(prompts) if prompts in known_names() else located(prompts),
        "samples": "samples: 2" if runs else "# samples: 2",
        "reward": f"{reward:.2f}",
        "floor": f"{_FLOOR:g}",
        "seconds": str(_SECONDS),
        "seed": str(secrets.randbits(128) | 1 << 127),
        **PLACEHOLDERS,
    }
    text = files.read_text(_TEMPLATE)
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    return text


_TEMPLATE: Final = Path(__file__).parent / "requester" / "study.yaml"
