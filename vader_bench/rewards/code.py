"""The code of others that a reward is made by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vader_bench.files import sha256_text
from vader_bench.records import provenance
from vader_bench.rewards import REWARDS
from vader_bench.rewards.base import fitting_factory

__all__ = ["reward_code"]


def reward_code(family: str, settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the packages and files of others that make a reward; empty where there are none.

    Args:
        family: as in a suite; of ``mix`` the parts count.
        settings: of the family.

    Raises:
        UserError: see ``Registry.get``; or settings of ``mix`` do not fit.
    """
    if family == "mix":
        fitting_factory(family, settings)  # tuning comes here before anything else has looked at them
    parts: Mapping[str, Mapping[str, Any] | None] = settings["parts"] if family == "mix" else {}
    found = [provenance.others_code(REWARDS, family)]
    found += [reward_code(part, own or {}) for part, own in parts.items()]
    digests = [digest for digest in found if digest]
    return digests[0] if len(digests) == 1 else sha256_text("".join(digests)) if digests else ""
