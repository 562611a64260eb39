"""Prompt sets with their splits, and the endless stream of training prompts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import NamedTuple

from vader_bench import files
from vader_bench.config.notation import Items
from vader_bench.config.paths import FILE_ENDINGS, is_folder, located
from vader_bench.config.yamlfile import Fault, nearest, raise_faults, read_mapping
from vader_bench.errors import UserError, shown
from vader_bench.prompts.lines import ENDINGS, PromptDetails, PromptLine, read_lines
from vader_bench.registry import load_entry, offered, package_of
from vader_bench.seeding import numpy_stream

__all__ = [
    "DEVELOPMENT", "SETS_FOLDER", "Leak", "PromptReader", "PromptSet", "PromptStream", "known_names",
    "leaks", "load_prompts", "normalise", "offered_sets", "packaged_names", "prompt_stream", "save_prompts",
]  # fmt: skip

SETS_FOLDER = Path(__file__).parent / "files"
DEVELOPMENT = ":dev"
"""Ending of a set's name that asks for its development splits as ``train`` and ``heldout``."""
PromptReader = Callable[[str], object]
"""Raises ``UserError`` for a prompt that a model refuses; what it returns does not matter."""
GROUP = "vader_bench.prompts"
"""Entry points by which an installed package offers prompt sets: each is the ``pathlib.Path`` of one."""
SPLIT_NAME = re.compile("[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class PromptSet:
    """Prompts by split, in the order in which a split is evaluated."""

    name: str
    """The packaged name, or the path of a user's own file."""
    splits: Mapping[str, list[str]]
    lines: Mapping[str, Sequence[int]] = field(default_factory=dict, compare=False)
    """Line of each prompt in its file, from 1, where there is one, by split."""
    details: Mapping[str, PromptDetails] = field(default_factory=dict)
    """What lines of .jsonl files say beside the prompt, by prompt."""

    def place(self, split: str, index: int) -> str:
        """Return where the prompt ``index``, from 0, of ``split`` is, as messages say it.

        The line is reported where it is not the number of the prompt.
        """
        lines = self.lines.get(split, ())
        elsewhere = index < len(lines) and lines[index] != index + 1
        line = f" (line {lines[index]})" if elsewhere else ""
        return f"{split}, prompt {index + 1}{line}"

    def split(self, name: str) -> list[str]:
        """Return the prompts of one split.

        Raises:
            UserError: the set has no such split.
        """
        if name not in self.splits:
            raise UserError(f"prompt set {self.name}", f"has no split {name!r}", self.remedy(name))
        return self.splits[name]

    def remedy(self, split: str) -> str:
        """Return what to do where ``split`` is missing."""
        if Path(self.name).suffix not in ENDINGS:
            return nearest(split, self.splits)
        name = Path(self.name).name
        files_named = f"{{train: {name}, {split}: another.txt}}"
        ending, wanted = Path(self.name).suffix, f"write a .yaml file with `splits: {files_named}`"
        return f"a {ending} file is the split 'train' alone: {wanted}"

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each split's text (one prompt a line) by split name; pictures count too."""
        return {
            name: files.sha256_text("".join(f"{self._said(prompt)}\n" for prompt in prompts))
            for name, prompts in self.splits.items()
        }

    def _said(self, prompt: str) -> str:
        """Return the line of ``prompt`` in a digest: the prompt, and what it has beside it."""
        details = self.details.get(prompt)
        return prompt if details is None else files.canonical_json([prompt, *details.digest()])

    def development(self) -> PromptSet:
        """Return the splits for tuning alone: ``dev_train`` as ``train``, ``dev_heldout`` as ``heldout``.

        Raises:
            UserError: the set has none.
        """
        names = {"train": "dev_train", "heldout": "dev_heldout"}
        splits = {split: self.split(name) for split, name in names.items()}
        lines = {split: self.lines.get(name, ()) for split, name in names.items()}
        return PromptSet(self.name + DEVELOPMENT, splits, lines, self.details)


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


def known_names() -> list[str]:
    """Return the names of all prompt sets that are no files: of this package and of other installed ones."""
    return [*packaged_names(), *sorted(offered_sets())]


def offered_sets() -> dict[str, EntryPoint]:
    """Return the prompt sets of installed packages by name, but for names that come with this one."""
    return {name: entry for name, entry in offered(GROUP).items() if name not in packaged_names()}


def load_prompts(name_or_path: str) -> PromptSet:
    """Return a prompt set, checked: no empty split, no prompt twice, none in two splits.

    Args:
        name_or_path: a packaged name, or that of an entry point; or a ``.txt`` file, one prompt a line, or a
            ``.jsonl`` file (see ``read_lines``), which becomes the split ``train``; or a folder of such
            files, one a split; or a ``.yaml`` file with ``splits:``, which maps a split to its prompts or to
            such a file beside it. ``:dev`` at the end asks for the development splits. Blank lines do not
            count.

    Raises:
        UserError: no such set or file, or all of its faults, one a line.
    """
    if name_or_path.endswith(DEVELOPMENT):
        return load_prompts(name_or_path.removesuffix(DEVELOPMENT)).development()
    path = Path(name_or_path)
    packages = offered_sets()
    if name_or_path in packaged_names():
        path = SETS_FOLDER / name_or_path
    elif name_or_path in packages:
        path = _path_of(packages[name_or_path])
    if is_folder(path):
        splits = _read_folder(path)
    elif path.suffix in ENDINGS:
        splits = {"train": read_lines(path)}
    elif path.suffix in FILE_ENDINGS:
        splits = _read_yaml(path)
    else:
        remedy = nearest(name_or_path, known_names())
        given = f"prompt set {shown(name_or_path)}"
        raise UserError(given, "is not known", f"{remedy}, or a .txt, .jsonl or .yaml file")
    found = PromptSet(
        name_or_path,
        {name: [line.prompt for line in split] for name, split in splits.items()},
        {name: [line.number for line in split] for name, split in splits.items()},
        {line.prompt: line.details for split in splits.values() for line in split if line.details},
    )
    raise_faults(f"prompt set {name_or_path}", _faults(found))
    return found


def _path_of(entry: EntryPoint) -> Path:
    """Return where the prompt set of an installed package is."""
    found = load_entry("prompt set", entry)
    if not isinstance(found, Path):
        given = f"prompt set {entry.name!r} of package {package_of(entry)}"
        raise UserError(given, f"{entry.value} is no pathlib.Path", "ask the package's authors")
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


def _read_folder(folder: Path) -> dict[str, list[PromptLine]]:
    paths = sorted(path for path in folder.iterdir() if path.suffix in ENDINGS)
    if not paths:
        remedy = "write train.txt and heldout.txt into it"
        raise UserError(str(folder), "holds no .txt or .jsonl file", remedy)
    names = [path.stem for path in paths]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(str(folder), f"holds {twice}.txt and {twice}.jsonl", "delete one of the two")
    return {path.stem: read_lines(path) for path in paths}


def _read_yaml(path: Path) -> dict[str, list[PromptLine]]:
    data, faults = read_mapping(path)
    faults += [Fault(key, "is not a known key", nearest(key, ["splits"])) for key in data if key != "splits"]
    given = data.get("splits")
    if not isinstance(given, dict) or not given:
        faults.append(Fault("splits", "names no split", "write `splits:` with `train:` and `heldout:` below"))
        given = {}
    splits: dict[str, list[PromptLine]] = {}
    for name, value in given.items():
        if isinstance(value, str) and value.endswith(ENDINGS):
            splits[name] = read_lines(Path(located(value, path.parent)))
        elif isinstance(value, Items):
            faults += _item_faults(name, value)
            splits[name] = [
                PromptLine(" ".join(str(item).split()), line)
                for item, line in zip(value, value.lines, strict=True)
            ]
        else:
            remedy = "write a list of sentences, or the name of a .txt or .jsonl file beside this one"
            faults.append(Fault(f"splits.{name}", "is not a list of prompts", remedy))
    raise_faults(str(path), faults)
    return splits


def _item_faults(split: str, items: Items) -> Iterator[Fault]:
    for number, (item, line) in enumerate(zip(items, items.lines, strict=True), start=1):
        if not isinstance(item, str):
            wrong = f"is not a list of prompts: prompt {number} is {shown(item)} (line {line})"
            yield Fault(f"splits.{split}", wrong, "put it in quotes")


def _faults(prompts: PromptSet) -> Iterator[Fault]:
    for split, members in prompts.splits.items():
        if not SPLIT_NAME.fullmatch(split):
            yield Fault(split, "is no name for a split", "use small letters, digits and _")
        if not members:
            yield Fault(split, "holds no prompt", "write at least one prompt, one a line")
        first: dict[str, int] = {}
        for number, prompt in enumerate(members, start=1):
            form, place = normalise(prompt), prompts.place(split, number - 1)
            if any(unicodedata.category(c) == "Cc" for c in prompt):
                yield Fault(place, f"has a control character ({shown(prompt)})", "delete it")
            if not form:
                yield Fault(place, f"says nothing ({shown(prompt)})", "write a sentence")
            elif form in first:
                wrong = f"repeats prompt {first[form]} ({shown(prompt)})"
                yield Fault(place, wrong, "delete one of the two")
            first.setdefault(form, number)
    for leak in leaks(prompts):
        if leak.prompt:
            wrong = f"{shown(leak.prompt)} is in more than one split"
            yield Fault(" and ".join(leak.splits), wrong, "keep it in one split, so that held-out is unseen")
