"""``vader-bench new``: a commented file to begin with."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from string import Template
from typing import Annotated

import typer

__all__ = ["Kind", "command", "starter_text", "write_starter_file"]

_STARTERS = Path(__file__).parent / "starters"


class Kind(StrEnum):
    """What can be begun."""

    EXPERIMENT = "experiment"
    SUITE = "suite"
    REWARD = "reward"
    METHOD = "method"
    PROMPTS = "prompts"


_NEXT = {
    Kind.EXPERIMENT: "vader-bench check {path}",
    Kind.SUITE: "vader-bench check EXPERIMENT --suite {path}",
    Kind.REWARD: "name it in a suite file beside it: `family: {file}:{cls}`",
    Kind.METHOD: "name it in an experiment file beside it: `method: {file}:{cls}`",
    Kind.PROMPTS: "name it in a suite file beside it: `prompts: {{default: ./{file}}}`",
}


def command(
    kind: Annotated[Kind, typer.Argument(help="What to write.")],
    name: Annotated[str, typer.Argument(help="Its name: letters, digits and hyphens.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path(),
) -> None:
    """Write a commented example of an experiment, a suite, a reward, a method or a prompt set."""
    path, after = write_starter_file(kind, name, out)
    typer.echo(f"{path}; next: {after}")


def write_starter_file(kind: Kind, name: str, folder: Path) -> tuple[Path, str]:
    """Write the example; return its path, and what to do next.

    Raises:
        UserError: the name is none, the file exists, or the disk refuses.
    """
    from vader_bench import files
    from vader_bench.errors import UserError

    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        remedy = "write small letters and digits, beginning with a letter, words joined by hyphens: my-reward"
        raise UserError(f"name {name!r}", f"cannot be that of a new {kind}", remedy)
    words, text = starter_text(kind, name)
    path = folder / words["file"]
    if path.exists():
        raise UserError(str(path), "exists", "choose another name, or delete it")
    files.write_text(path, text)
    return path, _NEXT[kind].format(path=path, **words)


def starter_text(kind: Kind, name: str) -> tuple[dict[str, str], str]:
    """Return the words that an example is filled with, its file's name among them, and the example."""
    starter = next(_STARTERS.glob(f"{kind}.*"))
    ending = Path(starter.stem).suffix  # of "reward.py.in"
    words = {
        "name": name,
        "file": (name.replace("-", "_") if ending == ".py" else name) + ending,
        "cls": "".join(word.capitalize() for word in name.split("-")),
    }
    return words, Template(starter.read_text("utf-8")).substitute(words)
