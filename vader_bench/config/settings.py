"""The settings of a method, as every method's own class extends them."""

from __future__ import annotations

import sys
from operator import attrgetter
from pathlib import Path
from typing import Any, SupportsIndex

from pydantic import BaseModel, ConfigDict, Field

from vader_bench.registry import load_own, own_digest

__all__ = ["AdapterSettings", "Settings"]


class Settings(BaseModel):
    """The settings of a method: each has a class of its own, with its fields.

    As it is, without any, it is for the untrained model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def round_queries(self) -> int:
        """Return how many reward queries a round takes, the least that the method spends at once.

        Looks and budgets are multiples of it, so that every round is whole.
        """
        return 1

    @property
    def most_devices(self) -> int:
        """Return how many devices can share the work of a run so that none is without."""
        return 1

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        """Return how another process finds the class too where it is in a file of the user's."""
        kind = type(self)
        if not own_digest(kind):
            return super().__reduce_ex__(protocol)
        file = sys.modules[kind.__module__].__file__
        return _settings_again, (file, kind.__qualname__, self.__getstate__())


class AdapterSettings(Settings):
    """What an arm says of adapters that are not trained here."""

    adapter: str
    """Their file or folder: diffusers', peft's, this program's, or a ``.pt`` as VADER's code writes it."""
    alpha: float | None = Field(default=None, gt=0)
    """What the adapters are scaled by, divided by their rank, where the file does not say it."""
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    """Of their files; what an experiment file says of it is compared with what is there."""


def _settings_again(file: str, name: str, state: dict[Any, Any]) -> Settings:
    """Return what ``Settings.__reduce_ex__`` took apart."""
    kind: type[Settings] = attrgetter(name)(load_own("method", Path(file)))
    again = kind.__new__(kind)
    again.__setstate__(state)
    return again
