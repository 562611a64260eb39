"""Weights of the Hugging Face hub, from the local cache alone; errors say how to get what is not there."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from vader_bench.config.paths import expanded
from vader_bench.config.yamlfile import parse, raise_faults, read_mapping
from vader_bench.errors import ExitCode, UserError

__all__ = ["HUB_PREFIX", "HubName", "KnownWeights", "find_cached", "known_weights", "parse_hub_name"]

HUB_PREFIX = "hf:"
KNOWN = Path(__file__).parent / "known.yaml"
"""Size and licence of the weights that the VADER paper and the packaged suites use."""

_UNKNOWN = "unknown"
_NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[^:@]+))?(:(?P<inside>[^:]+))?")


class KnownWeights(BaseModel):
    """What is known of a repository, or of a file in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: str = _UNKNOWN
    """Size of what is needed of it, e.g. ``"1.7 GB"``."""
    licence: str = _UNKNOWN
    include: tuple[str, ...] = ()
    """Patterns of the files that are needed; all if empty."""
    exclude: tuple[str, ...] = ()
    """Patterns of files that are not needed."""


class HubName(NamedTuple):
    """What ``hf:<owner>/<name>[@revision][:file or folder]`` says."""

    repository: str
    """``owner/name``."""
    revision: str | None
    """A branch, tag or commit; ``main`` if ``None``."""
    inside: str | None
    """Path of a file or folder in the repository; the whole repository if ``None``."""

    @property
    def full(self) -> str:
        """Return the name as a suite file writes it."""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{HUB_PREFIX}{self.repository}{revision}" + (f":{self.inside}" if self.inside else "")

    @property
    def known(self) -> KnownWeights:
        """Return what is known of the file where the packaged table names it, else of the repository."""
        table = known_weights()
        repository = table.get(self.repository, KnownWeights())
        return table.get(f"{self.repository}:{self.inside}", repository)

    @property
    def command(self) -> str:
        """Return the command that fetches it into the cache."""
        words = ["hf download", self.repository]
        if self.inside and Path(self.inside).suffix:
            words.append(f"'{self.inside}'" if re.search(r"[^\w./-]", self.inside) else self.inside)
        elif self.inside:
            words.append(f"--include '{self.inside}/*'")
        else:
            words += [f"--include {_quoted(self.known.include)}"] if self.known.include else []
            words += [f"--exclude {_quoted(self.known.exclude)}"] if self.known.exclude else []
        if self.revision:
            words.append(f"--revision {self.revision}")
        return " ".join(words)


def _quoted(patterns: tuple[str, ...]) -> str:
    return " ".join(f"'{pattern}'" for pattern in patterns)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: dict[str, KnownWeights]


def parse_hub_name(name: str) -> HubName:
    """Return the parts of ``hf:<owner>/<name>[@revision][:file or folder]``.

    Raises:
        UserError: it is not written like that.
    """
    found = _NAME.fullmatch(name.removeprefix(HUB_PREFIX)) if name.startswith(HUB_PREFIX) else None
    inside = found["inside"] if found else None
    if found is None or (inside is not None and (inside.startswith("/") or ".." in Path(inside).parts)):
        remedy = "write hf:<owner>/<name>, then @<revision> and :<file or folder> where they are needed"
        raise UserError(f"weights {name!r}", "is no name on the Hugging Face hub", remedy)
    return HubName(found["repository"], found["revision"], inside)


@cache
def known_weights() -> dict[str, KnownWeights]:
    """Return the packaged table, by ``owner/name`` or ``owner/name:file``.

    Raises:
        UserError: the table has faults.
    """
    data, faults = read_mapping(KNOWN)
    table, more = parse(_Table, data)
    raise_faults(str(KNOWN), [*faults, *more])
    assert table is not None
    return table.weights


def find_cached(name: HubName) -> Path:
    """Return the folder or file that ``name`` stands for in the hub's local cache; nothing is downloaded.

    The cache is where ``HF_HUB_CACHE``, ``HF_HOME`` or the hub's own default say, when this is called.

    Raises:
        UserError: the cache does not hold it (exit code MISSING); size, licence and the command that
            fetches it are reported.
    """
    # takes a third of a second to import, which the pocket suite need not wait for
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    named = os.environ.get("HF_HUB_CACHE")
    cache_folder = str(expanded(named)) if named else constants.HF_HUB_CACHE
    try:
        found = Path(
            snapshot_download(
                name.repository, revision=name.revision, cache_dir=cache_folder, local_files_only=True
            )
        )
    except LocalEntryNotFoundError as error:
        raise _missing(name, cache_folder) from error
    path = found / name.inside if name.inside else found
    if not path.exists():
        raise _missing(name, cache_folder)
    return path


def _missing(name: HubName, cache_folder: str) -> UserError:
    return UserError(
        f"weights {name.full!r}",
        f"are not in the cache {cache_folder} (size {name.known.size}, licence {name.known.licence})",
        f"fetch them with `{name.command}`",
        exit_code=ExitCode.MISSING,
    )
