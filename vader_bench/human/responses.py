"""What raters answered, once it is read and checked: the file that lies between ingest and analysis."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from vader_bench import files
from vader_bench.config.schema import Strict
from vader_bench.errors import UserError

__all__ = [
    "REJECTED", "RESPONSES", "SIMULATED", "Choice", "Consent", "Ingested", "ItemAnswers", "Refusal",
    "Source", "Submission", "load_ingested", "reason_kind", "rejection_warning", "simulated_account", "tally",
]  # fmt: skip

RESPONSES: Final = "responses/responses.json"
"""The file, in the folder of a study."""
SIMULATED: Final = "SIMULATED"
"""What the account names of simulated raters begin with, and what is stamped on all that is made of them."""

REJECTED: Final = "rejected on the platform"
"""Why work is not used that the requester refused to pay for, there and not by the rules of this study."""

Choice = Literal["L", "R", "T"]
"""Left, right, or about the same."""


class ItemAnswers(Strict):
    """What one rater did with one pair of videos."""

    id: str
    answers: dict[str, Choice | None]
    """By question; ``None`` where a video did not play."""
    ended: list[int]
    """How often the left and the right video played to its end."""
    watched: list[float]
    """Share of each that was played, 0 to 1."""
    errors: list[int]
    """The browser's error code of each; 0 is none."""
    blurs: int
    """How often the page lost the focus."""
    problem: bool
    """Whether the rater said that a video does not play."""
    milliseconds: int
    """From the pair's appearance to the next one."""


class Consent(Strict):
    """Which text a rater agreed to, and when by the rater's clock."""

    version: str
    at: str


class Submission(Strict):
    """One block answered by one rater."""

    rater: str
    """Pseudonym: a keyed digest of platform and account, 16 hexadecimal digits."""
    block: str
    source: str
    """``file:row``, rows counted from 1 without the header."""
    platform: str
    submitted: str
    """Time as the platform wrote it; empty if it did not say."""
    consent: Consent
    screen: list[int]
    """Width and height of the rater's window in CSS pixels."""
    items: list[ItemAnswers]
    """In the order of the key."""
    unpaid: list[str] = Field(default=[])
    """Why the work need not be paid; empty for nearly all."""
    unused: list[str] = Field(default=[])
    """Why the main analysis leaves it out, by rules fixed before and blind to arms; empty if it is used."""


class Refusal(Strict):
    """A row that is no answer to this study."""

    source: str
    reason: str


class Source(Strict):
    """A results file that was read."""

    name: str
    sha256: str
    rows: int


class Ingested(Strict):
    """All answers to a study."""

    version: Literal[1] = 1
    study: str
    plan_sha256: str
    simulated: bool
    """Whether any rater was simulated."""
    sources: list[Source]
    submissions: list[Submission]
    refused: list[Refusal]

    @property
    def used(self) -> list[Submission]:
        """Return what the main analysis is made of."""
        return [submission for submission in self.submissions if not submission.unused]


def rejection_warning(rejected: int) -> str:
    """Return what to say of so many blocks that are not used as they were rejected on the platform."""
    return (
        f"{rejected} accepted {'block was' if rejected == 1 else 'blocks were'} rejected on the platform and "
        "so left out: somebody decided that, perhaps after seeing the answers"
    )


def load_ingested(folder: Path) -> Ingested:
    """Return the answers of the study in ``folder``.

    Raises:
        UserError: there are none, or the file is broken.
    """
    path = folder / RESPONSES
    if not path.is_file():
        raise UserError(str(folder), "has no answers yet", "run `vader-bench study ingest` on a results file")
    try:
        return Ingested.model_validate(files.read_json(path))
    except ValidationError as error:
        raise UserError(str(path), "is not as it was written", "run `study ingest` again") from error


def simulated_account(number: int) -> str:
    """Return the account name of the simulated rater ``number``, from 1."""
    return f"{SIMULATED}-{number}"


def reason_kind(reason: str) -> str:
    """Return ``reason`` without its numbers and without what stands in parentheses, such as a file's row."""
    return re.sub(r"\d[\d.,]*(e-?\d+)?%?", "…", re.sub(r" \(.*\)", "", reason))


def tally(reasons: Iterable[str]) -> dict[str, int]:
    """Return how often each kind of reason is given, the most frequent first."""
    counts = Counter(map(reason_kind, reasons))
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
