"""Tensors in files: read without running anything in them, and held against what a network wants."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vader_bench.errors import UserError, shown

__all__ = ["UNREADABLE", "WHOLE_FOLDER", "load_pickle", "read_tensors", "told_as_damaged", "weight_faults"]

WHOLE_FOLDER = "give a whole folder written by save_pretrained"
"""What to do where a part of a model's folder is missing or damaged."""

UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    UnboundLocalError,  # diffusers, where a size is of another form
    ValueError,
    SafetensorError,
    pickle.UnpicklingError,
    struct.error,  # of a pickle that ends within a number
)
"""What other people's readers raise on files that are damaged, incomplete or of a newer version."""
_MOST_FAULTS = 12
_WRONG = "cannot be read as weights"

_WRAPPERS = ("state_dict", "module")
"""Keys under which Lightning and DeepSpeed put the tensors of a pickle."""


@contextmanager
def told_as_damaged(source: str) -> Iterator[None]:
    """Turn what libraries raise inside, on a configuration that is damaged, into a line about ``source``.

    Raises:
        UserError: they raise something.
    """
    try:
        yield
    except (ImportError, torch.OutOfMemoryError):  # not for what is in the folder
        raise
    except UNREADABLE as error:
        first = next(iter(str(error).strip().splitlines()), "")
        reason = f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__
        remedy = f"{WHOLE_FOLDER}, or copy the released one again"
        raise UserError(source, f"cannot be read as a model ({reason})", remedy) from error


def read_tensors(path: Path, remedy: str) -> dict[str, Tensor]:
    """Return the tensors in ``path`` by name, on the CPU.

    Args:
        path: safetensors by its suffix, else a pickle, alone or under ``state_dict`` or ``module``. No code
            in a pickle is run.
        remedy: what to do if that fails.

    Raises:
        UserError: the file cannot be read, or is something else than a table of tensors.
    """
    found: Any
    _require_weights(path, remedy)
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            # mapped, as safetensors are: what is read in half precision has no whole copy in another one
            mapped = zipfile.is_zipfile(path)
            found = load_pickle(path, mmap=mapped)
    except UNREADABLE as error:
        raise _unreadable(path, error, remedy) from error
    for wrapper in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
            break
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(str(path), "is not a table of tensors by name", remedy)
    return {str(name): value for name, value in found.items()}


def load_pickle(source: Path | BytesIO, *, mmap: bool = False) -> Any:
    """Return what is pickled in ``source``, on the CPU; no code in it is run.

    Raises:
        Exception: one of ``UNREADABLE``.
    """
    with warnings.catch_warnings():
        # torch says it of nearly every file that is no pickle, which is told in a line of its own
        warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
        return torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)


def _require_weights(path: Path, remedy: str) -> None:
    """Refuse what is no file of weights at all, with what it is.

    Raises:
        UserError: the file is missing, empty, a web page or a pointer of Git LFS.
    """
    try:
        with path.open("rb") as stream:
            begin = stream.read(512).lstrip().lower()
    except OSError as error:
        raise UserError(str(path), f"{_WRONG} ({error.strerror})", remedy) from error
    if not begin:
        raise UserError(str(path), f"{_WRONG}, since it is empty", "download it again")
    if begin.startswith(b"version https://git-lfs"):
        wrong = f"{_WRONG}, since it is a pointer of Git LFS and not the file itself"
        raise UserError(str(path), wrong, "run `git lfs pull` there")
    if begin.startswith((b"<!doctype html", b"<html")):
        remedy = "download the file itself, and log in first if the site asks for that"
        raise UserError(str(path), f"{_WRONG}, since it is a web page", remedy)


def _unreadable(path: Path, error: Exception, remedy: str) -> UserError:
    """Return what to say of weights that cannot be read: what they hold beside tensors, if that is why."""
    named = re.search(r"(?:GLOBAL|global) ([\w.]+) was not an allowed", str(error))
    if named is None:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return UserError(str(path), _WRONG, f"{remedy} (reading it ends with {shown(lines[0])})")
    wrong = f"{_WRONG}, since it holds an object of class {named[1]}, and reading that could run code"
    again = (
        "if you trust the file, keep its tensors alone: x = torch.load(old, weights_only=False); "
        "torch.save({k: v for k, v in x['state_dict'].items()}, new), with its own key in place of state_dict"
    )
    return UserError(str(path), wrong, again)


def weight_faults(
    wanted: Mapping[str, torch.Size],
    stored: Mapping[str, Tensor],
    spare: Callable[[str], object] = lambda _: False,
) -> list[str]:
    """Return what is wrong with ``stored`` as weights of the shapes ``wanted``, in words, by name.

    Of more than a dozen faults the first are reported, and how many there are beside them.

    Args:
        wanted: shapes by name.
        stored: what a file holds.
        spare: whether a name may be there without being wanted.
    """
    faults = [f"lacks {name}" for name in sorted(wanted.keys() - stored.keys())]
    surplus = sorted(stored.keys() - wanted.keys())
    faults += [f"has an unknown {name}" for name in surplus if not spare(name)]
    faults += [
        f"has {name} of shape {list(stored[name].shape)}, not {list(shape)}"
        for name, shape in sorted(wanted.items())
        if name in stored and stored[name].shape != shape
    ]
    more = len(faults) - _MOST_FAULTS
    return faults if more <= 1 else [*faults[:_MOST_FAULTS], f"and {more} more"]
