"""Prompt sets with their splits, and the endless stream of training prompts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vader_bench import files
from vader_bench.config.yamlfile import Fault, nearest, raise_faults, read_mapping
from vader_bench.errors import UserError
from vader_bench.seeding import numpy_stream

__all__ = [
    "DEVELOPMENT", "SETS_FOLDER", "Leak", "PromptSet", "PromptStream", "leaks", "load_prompts", "normalise",
    "packaged_names", "prompt_stream", "save_prompts",
]  # fmt: skip

SETS_FOLDER = Path(__file__).parent / "files"
DEVELOPMENT = ":dev"
"""Ending of a set's name that asks for its development splits as ``train`` and ``heldout``."""
FILE_ENDINGS = (".txt", ".yaml", ".yml")
SPLIT_NAME = re.compile("[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class PromptSet:
    """Prompts by split, in the order in which a split is evaluated."""

    name: str
    """The packaged name, or the path of a user's own file."""
    splits: Mapping[str, list[str]]

    def split(self, name: str) -> list[str]:
        """Return the prompts of one split.

        Raises:
            UserError: the set has no such split.
        """
        if name not in self.splits:
            raise UserError(f"prompt set {self.name}", f"has no split {name!r}", nearest(name, self.splits))
        return self.splits[name]

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each split's text (one prompt a line) by split name."""
        return {name: files.sha256_text(_as_text(prompts)) for name, prompts in self.splits.items()}

    def development(self) -> PromptSet:
        """Return the splits for tuning alone: ``dev_train`` as ``train``, ``dev_heldout`` as ``heldout``.

        Raises:
            UserError: the set has none.
        """
        splits = {"train": self.split("dev_train"), "heldout": self.split("dev_heldout")}
        return PromptSet(self.name + DEVELOPMENT, splits)


class Leak(NamedTuple):
    """A prompt that stands in more than one split."""

    prompt: str
    """In its normalised form."""
    splits: list[str]


def normalise(prompt: str) -> str:
    """Return what is left of ``prompt`` without case, punctuation, spacing and ways to encode a character."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", prompt).casefold())
    return " ".join("".join(" " if unicodedata.category(c)[0] in "PZC" else c for c in folded).split())


def leaks(prompts: PromptSet) -> list[Leak]:
    """Return every normalised prompt that two or more splits share, sorted."""
    places: dict[str, set[str]] = {}
    for split, members in prompts.splits.items():
        for prompt in members:
            places.setdefault(normalise(prompt), set()).add(split)
    return [Leak(prompt, sorted(found)) for prompt, found in sorted(places.items()) if len(found) > 1]


def packaged_names() -> list[str]:
    """Return the names of the prompt sets that come with the package, sorted."""
    return sorted(folder.name for folder in SETS_FOLDER.iterdir() if folder.is_dir())


def load_prompts(name_or_path: str) -> PromptSet:
    """Return a prompt set, checked: no empty split, no prompt twice, none in two splits.

    Args:
        name_or_path: a packaged name; or a ``.txt`` file, one prompt a line, which becomes the split
            ``train``; or a folder of such files, one a split; or a ``.yaml`` file with ``splits:``, which
            maps a split to its prompts or to a ``.txt`` file beside it. ``:dev`` at the end asks for
            the development splits. Blank lines do not count.

    Raises:
        UserError: no such set or file, or all of its faults, one a line.
    """
    if name_or_path.endswith(DEVELOPMENT):
        return load_prompts(name_or_path.removesuffix(DEVELOPMENT)).development()
    path = Path(name_or_path)
    if name_or_path in packaged_names():
        splits = _read_folder(SETS_FOLDER / name_or_path)
    elif path.is_dir():
        splits = _read_folder(path)
    elif path.suffix == ".txt":
        splits = {"train": _read_lines(path)}
    elif path.suffix in FILE_ENDINGS:
        splits = _read_yaml(path)
    else:
        remedy = nearest(name_or_path, packaged_names())
        raise UserError(f"prompt set {name_or_path!r}", "is not known", f"{remedy}, or a .txt or .yaml file")
    found = PromptSet(name_or_path, splits)
    raise_faults(f"prompt set {name_or_path}", _faults(found))
    return found


def save_prompts(prompts: PromptSet, folder: Path) -> None:
    """Write each split of ``prompts`` to ``folder/<split>.txt``, one prompt a line."""
    for split, members in prompts.splits.items():
        files.write_text(folder / f"{split}.txt", _as_text(members))


class PromptStream(Iterator[str]):
    """Prompts without end: each epoch is the whole list in a new order, drawn from the seed and the epoch."""

    def __init__(self, prompts: Sequence[str], root_seed: int) -> None:
        if not prompts:
            raise ValueError("no prompts to draw from")
        self._prompts = list(prompts)
        self._seed = root_seed
        self._position = 0
        self._order: list[int] = []

    def __next__(self) -> str:
        """Return the next prompt."""
        epoch, offset = divmod(self._position, len(self._prompts))
        if offset == 0 or not self._order:
            stream = numpy_stream(self._seed, "prompts", epoch)
            self._order = stream.permutation(len(self._prompts)).tolist()
        self._position += 1
        return self._prompts[self._order[offset]]

    def state(self) -> dict[str, int]:
        """Return how many prompts were handed out: all that a resumed run needs."""
        return {"position": self._position}

    def load_state(self, state: Mapping[str, int]) -> None:
        """Continue after ``state["position"]`` prompts."""
        self._position = state["position"]
        self._order = []


def prompt_stream(prompts: Sequence[str], root_seed: int) -> PromptStream:
    """Return the training prompts in the one order that ``root_seed`` gives to every method."""
    return PromptStream(prompts, root_seed)


def _as_text(prompts: Sequence[str]) -> str:
    return "".join(f"{prompt}\n" for prompt in prompts)


def _read_lines(path: Path) -> list[str]:
    """Return the lines of ``path`` that say something; a byte-order mark is no part of the first."""
    lines = files.read_text(path).removeprefix("\ufeff").split("\n")
    return [line.strip() for line in lines if line.strip()]


def _read_folder(folder: Path) -> dict[str, list[str]]:
    splits = {path.stem: _read_lines(path) for path in sorted(folder.glob("*.txt"))}
    if not splits:
        raise UserError(str(folder), "holds no .txt file", "write train.txt and heldout.txt into it")
    return splits


def _read_yaml(path: Path) -> dict[str, list[str]]:
    data, faults = read_mapping(path)
    faults += [Fault(key, "is not a known key", nearest(key, ["splits"])) for key in data if key != "splits"]
    given = data.get("splits")
    if not isinstance(given, dict) or not given:
        faults.append(Fault("splits", "names no split", "write `splits:` with `train:` and `heldout:` below"))
        given = {}
    splits = {}
    for name, value in given.items():
        if isinstance(value, str) and value.endswith(".txt"):
            splits[name] = _read_lines(path.parent / value)
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            splits[name] = [" ".join(item.split()) for item in value]
        else:
            remedy = "write a list of sentences, or the name of a .txt file beside this one"
            faults.append(Fault(f"splits.{name}", "is not a list of prompts", remedy))
    raise_faults(str(path), faults)
    return splits


def _faults(prompts: PromptSet) -> Iterator[Fault]:
    for split, members in prompts.splits.items():
        if not SPLIT_NAME.fullmatch(split):
            yield Fault(split, "is no name for a split", "use small letters, digits and _")
        if not members:
            yield Fault(split, "holds no prompt", "write at least one prompt, one a line")
        first: dict[str, int] = {}
        for number, prompt in enumerate(members, start=1):
            form = normalise(prompt)
            if not form:
                yield Fault(f"{split}, prompt {number}", f"says nothing ({prompt!r})", "write a sentence")
            elif form in first:
                wrong = f"repeats prompt {first[form]} ({prompt!r})"
                yield Fault(f"{split}, prompt {number}", wrong, "delete one of the two")
            first.setdefault(form, number)
    for leak in leaks(prompts):
        if leak.prompt:
            wrong = f"{leak.prompt!r} is in more than one split"
            yield Fault(" and ".join(leak.splits), wrong, "keep it in one split, so that held-out is unseen")
