"""Reading tokenizers from folders: whole, or refused in a line that names the file."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from vader_bench.errors import UserError, shown
from vader_bench.files import read_json, read_text
from vader_bench.weights.tensors import UNREADABLE

__all__ = ["LongPrompts", "clip_counter", "quiet_transformers", "read_tokenizer", "refuse_long"]

LongPrompts = Literal["refuse", "cut"]
"""What happens to prompts of more tokens than a network reads."""

_TABLES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
)  # fmt: skip
_REMEDY = "copy the tokenizer's folder there again, whole, as save_pretrained wrote it"


class _Cutting:
    """A tokenizer that cuts texts which are longer than ``max_length``, and warns."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)

    def __call__(self, texts: Sequence[str], *, max_length: int, **options: Any) -> Any:
        """Return tokens as the tokenizer does, at most ``max_length`` of each text."""
        rows = self._tokenizer(texts, max_length=max_length, **options).input_ids
        for text, row in zip(texts, rows, strict=True):
            if len(row) > max_length:
                said = f"prompt {shown(text)} has {len(row)} tokens and is cut after {max_length}"
                warnings.warn(said, stacklevel=2)
        return self._tokenizer(texts, max_length=max_length, **(options | {"truncation": True}))


def read_tokenizer(folder: Path, kind: Any = None, long_prompts: LongPrompts = "refuse") -> Any:
    """Return the tokenizer in ``folder``.

    Args:
        folder: what its ``save_pretrained`` wrote. Nothing is downloaded.
        kind: class of transformers; by default the one it was saved from.
        long_prompts: whether texts beyond ``max_length`` are cut with a warning, or left to ``refuse_long``.

    Raises:
        UserError: the folder holds none, or a file of it is cut or of another form.
    """
    if kind is None:
        from transformers import AutoTokenizer

        kind = AutoTokenizer
    for name in _TABLES:
        path = folder / name
        if path.exists() and not isinstance(read_json(path, finite=False), dict):
            raise UserError(str(path), "is not a table", _REMEDY)
    if (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        _require_merges(folder)
    try:
        with quiet_transformers():
            tokenizer = kind.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        if type(error) is not Exception and not isinstance(error, UNREADABLE):
            raise  # a fault of this program; the tokenizers library raises a bare Exception for its files
        lines = str(error).strip().splitlines() or [type(error).__name__]
        wrong = f"cannot be loaded as a tokenizer ({lines[0][:200]})"
        raise UserError(str(folder), wrong, _REMEDY) from error
    return _Cutting(tokenizer) if long_prompts == "cut" else tokenizer


def clip_counter(folder: Path) -> Callable[[str], int | None]:
    """Return what counts the tokens of a prompt as CLIP's tokenizer in ``folder`` does, start and end too.

    It tells nothing (``None``) of a prompt of more than letters of the English alphabet and spaces, for which
    the tokenizer has rules of its own. It is there because transformers takes seconds to import.

    Args:
        folder: with ``vocab.json`` and ``merges.txt``, whole.
    """
    from tokenizers.models import BPE

    lines = read_text(folder / "merges.txt").splitlines()
    merges = [tuple(line.split()) for line in lines if line.strip() and not line.startswith("#version")]
    pieces = BPE(
        vocab=read_json(folder / "vocab.json", finite=False), merges=merges, end_of_word_suffix="</w>"
    )

    def count(prompt: str) -> int | None:
        if not re.fullmatch("[A-Za-z ]*", prompt):
            return None
        return 2 + sum(len(pieces.tokenize(word)) for word in prompt.lower().split())

    return count


def refuse_long(
    prompts: Sequence[str], rows: Sequence[Sequence[int]], limit: int, what: str = "tokens, the text encoder"
) -> None:
    """Refuse prompts whose tokens a network does not read to the end.

    Args:
        prompts: B of them.
        rows: their tokens, not cut.
        limit: how many the network reads.
        what: the tokens, and who reads them.

    Raises:
        UserError: a prompt has more tokens than ``limit``.
    """
    for prompt, row in zip(prompts, rows, strict=True):
        if len(row) > limit:
            wrong = f"has {len(row)} {what} reads {limit}"
            raise UserError(f"prompt {shown(prompt)}", wrong, "shorten it, or set long_prompts: cut")


def _require_merges(folder: Path) -> None:
    """Check that CLIP's merges lead to every word piece; with a cut file, words would be other tokens."""
    vocabulary = read_json(folder / "vocab.json", finite=False)
    if not any(piece.endswith("</w>") for piece in vocabulary):
        return  # of another family
    lines = read_text(folder / "merges.txt").splitlines()
    made = {"".join(line.split()) for line in lines if not line.startswith("#version")}
    whole = (piece for piece in vocabulary if not (piece.startswith("<|") and piece.endswith("|>")))
    lacking = [piece for piece in whole if len(piece.removesuffix("</w>")) > 1 and piece not in made]
    if lacking:
        wrong = f"has no merge that makes {lacking[0]!r} and {len(lacking) - 1} other pieces of vocab.json"
        raise UserError(str(folder / "merges.txt"), wrong, _REMEDY)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from writing notes and progress bars between a run's own lines."""
    from transformers.utils import logging as notes

    verbosity, bars = notes.get_verbosity(), notes.is_progress_bar_enabled()
    notes.set_verbosity(logging.ERROR)
    notes.disable_progress_bar()
    try:
        yield
    finally:
        notes.set_verbosity(verbosity)
        if bars:
            notes.enable_progress_bar()
