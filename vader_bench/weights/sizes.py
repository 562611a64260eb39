"""Sizes of networks without their weights: from the folder if it is here, of the released model if not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from vader_bench.config.yamlfile import raise_faults, read_mapping
from vader_bench.errors import UserError
from vader_bench.files import read_json
from vader_bench.weights.hub import HUB_PREFIX, parse_hub_name
from vader_bench.weights.resolve import resolve
from vader_bench.weights.tensors import WHOLE_FOLDER

__all__ = ["Sizes", "known_names", "local_folder", "read_labels", "read_sizes", "read_table", "sizes_in"]

Sizes = dict[str, dict[str, Any]]
"""What the configuration of each part says."""

_SIZES = Path(__file__).with_name("sizes.yaml")


def local_folder(weights: str) -> Path | None:
    """Return the folder of ``weights``; ``None`` if it is not here, but the released model's sizes are known.

    Raises:
        UserError: the weights are not here, or a single file, and nobody knows their sizes.
    """
    known = _repository(weights) in _table()
    try:
        folder = resolve(weights)
    except UserError:
        if known:
            return None
        raise
    if folder.is_dir():
        return folder
    if known:
        return None
    remedy = "give a folder with a config.json, or a name on the hub that `plan` knows"
    raise UserError(f"weights {weights!r}", "do not say their sizes", remedy)


def read_sizes(weights: str, files: Mapping[str, str], optional: Sequence[str] = ()) -> Sizes:
    """Return what the configuration of each part of a model says. No weights are read.

    Args:
        weights: a name, as for ``weights.resolve``.
        files: where each part's configuration lies in the folder, by part.
        optional: parts that need not be there.

    Raises:
        UserError: as ``local_folder``, or a configuration is missing or faulty.
    """
    folder = local_folder(weights)
    if folder is None:
        return _table()[_repository(weights)]
    return sizes_in(folder, files, optional)


def sizes_in(folder: Path, files: Mapping[str, str], optional: Sequence[str] = ()) -> Sizes:
    """Return what the configuration of each part in ``folder`` says; arguments as for ``read_sizes``.

    Raises:
        UserError: a configuration is missing, or holds something else than a table.
    """
    sizes: Sizes = {}
    for part, name in files.items():
        path = folder / name
        if part in optional and not path.is_file():
            continue
        sizes[part] = read_table(path)
    return sizes


def read_table(path: Path) -> dict[str, Any]:
    """Return the table in the JSON file ``path``.

    Raises:
        UserError: it is missing or holds something else.
    """
    table = read_json(path, finite=False)
    if not isinstance(table, dict):
        raise UserError(str(path), "is not a table", WHOLE_FOLDER)
    return table


def read_labels(path: Path) -> dict[str, str]:
    """Return the names of classes, by number, in the configuration of a classifier; none where it has none.

    Raises:
        UserError: the file is missing or holds something else.
    """
    labels = read_table(path).get("id2label") or {}
    if not isinstance(labels, dict) or not all(isinstance(label, str) for label in labels.values()):
        raise UserError(str(path), "has no table of names as id2label", WHOLE_FOLDER)
    return labels


def known_names() -> list[str]:
    """Return the names on the hub whose sizes are known, sorted."""
    return sorted(_table())


def _repository(weights: str) -> str:
    return parse_hub_name(weights).repository if weights.startswith(HUB_PREFIX) else ""


@cache
def _table() -> dict[str, Sizes]:
    data, faults = read_mapping(_SIZES)
    raise_faults(str(_SIZES), faults)
    return data
