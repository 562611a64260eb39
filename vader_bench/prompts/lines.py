"""Files of prompts, one a line: plain text, or JSON with what a prompt has beside it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from vader_bench import files
from vader_bench.config.paths import expanded, is_file
from vader_bench.config.yamlfile import Fault, parse, raise_faults
from vader_bench.plainjson import NotJsonError, parse_json

__all__ = ["ENDINGS", "PromptDetails", "PromptLine", "read_lines"]

ENDINGS = (".txt", ".jsonl")


class PromptDetails(NamedTuple):
    """What a prompt has beside its text."""

    negative_prompt: str
    """What guidance leads away from; the suite's if empty."""
    image: Path | None
    """The first picture of its videos; as the suite says if ``None``."""

    def digest(self) -> tuple[str, str]:
        """Return the negative prompt, and the SHA-256 of the picture."""
        return self.negative_prompt, "" if self.image is None else files.sha256_file(self.image)


class PromptLine(NamedTuple):
    """A prompt of a file."""

    prompt: str
    number: int
    """Of its line, from 1."""
    details: PromptDetails | None = None
    """``None`` where it has nothing beside its text."""


class _Line(BaseModel):
    """A line of a ``.jsonl`` file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    prompt: str
    negative_prompt: str = ""
    image: str = ""


def read_lines(path: Path) -> list[PromptLine]:
    """Return the lines of ``path`` that say something; a byte-order mark is no part of the first.

    Args:
        path: a ``.txt`` file, one prompt a line; or a ``.jsonl`` file, one table a line: ``prompt``, and
            where wanted ``negative_prompt`` and ``image``, the path of a picture, relative to the file.

    Raises:
        UserError: the file cannot be read, or all faults of its lines.
    """
    lines = files.read_text(path).removeprefix("\ufeff").split("\n")
    said = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if path.suffix != ".jsonl":
        return [PromptLine(line, number) for number, line in said]
    faults: list[Fault] = []
    found = [_read(line, number, path, faults) for number, line in said]
    raise_faults(str(path), faults)
    return [line for line in found if line is not None]


def _read(line: str, number: int, path: Path, faults: list[Fault]) -> PromptLine | None:
    """Return the prompt in ``line``, or ``None`` and add why not to ``faults``."""
    place = f"line {number}"
    try:
        data = parse_json(line)
    except NotJsonError as error:
        faults.append(Fault(place, str(error), 'write {"prompt": "..."}'))
        return None
    if not isinstance(data, dict):
        faults.append(Fault(place, "is not a table", 'write {"prompt": "..."}'))
        return None
    given, wrong = parse(_Line, data)
    faults += (Fault(f"{place}: {fault.key}", fault.wrong, fault.remedy) for fault in wrong)
    if given is None:
        return None
    image = path.parent.absolute() / expanded(given.image) if given.image else None
    if image is not None and not is_file(image):
        faults.append(
            Fault(f"{place}: image", f"is {given.image!r}, which is no file", "give one, from here on")
        )
        return None
    prompt, negative = " ".join(given.prompt.split()), " ".join(given.negative_prompt.split())
    details = PromptDetails(negative, image) if negative or image else None
    return PromptLine(prompt, number, details)
