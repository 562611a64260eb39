"""What the faults share: small weights, and runs that nothing has disturbed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.apart import apart
from tests.support.deaths import Counted, contents, count_moments, own_files
from tests.support.small_backbone import small_run, write_small
from vader_bench.config.schema import RunConfig
from vader_bench.launch import start


class Whole(NamedTuple):
    """A run that nothing has disturbed."""

    config: RunConfig
    left: dict[str, Any]
    """Its ``contents``."""
    names: list[str]
    """Its files."""
    moments: Counter[str]
    """By phase, how many moments a kill can choose from."""


@pytest.fixture(scope="session", autouse=True)
def _methods_imported_once(_imported_once: None) -> Iterator[None]:
    """Let the methods that others are built on be imported once, too."""
    names = ("ddpo", "grpo", "nft", "raft", "refl")
    with pytest.MonkeyPatch.context() as patch:
        more = [f"vader_bench.methods.{name}" for name in names]
        patch.setattr(start, "PRELOADED", (*start.PRELOADED, *more, "tests.support.small_backbone"))
        yield


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small model."""
    return write_small(tmp_path_factory.mktemp("weights") / "small")


@pytest.fixture(scope="session")
def counted() -> Counted:
    """FLOPs that have been counted; counting takes longer than the run."""
    return {}


@pytest.fixture(scope="session")
def whole(
    weights: Path, counted: Counted, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Whole]:
    """Return a run of a method that nothing has disturbed."""

    @cache
    def made(method: str) -> Whole:
        config, folder = small_run(weights, method), tmp_path_factory.mktemp("whole") / method
        found = apart(partial(count_moments, config, folder, counted))
        assert found.code == 0
        assert found.error is None, found.error
        return Whole(config, contents(folder), own_files(folder), found.answer)

    return made
