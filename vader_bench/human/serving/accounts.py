"""Who may log in, with passwords that were drawn here. Files are for their owner only."""

from __future__ import annotations

import csv
import io
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.human.responses import simulated_account

__all__ = ["ADMIN", "PASSWORDS", "kept_accounts"]

ADMIN: Final = "admin"
"""Account of the requester."""
PASSWORDS: Final = "raters.csv"
"""Accounts and passwords, the requester's first."""
_COLUMNS: Final = ("name", "password")
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without those that are taken for one another."""


def kept_accounts(folder: Path, raters: int = 0, simulated: int = 0) -> dict[str, str]:
    """Return the passwords of all accounts in ``folder`` by name; of new ones they are drawn and kept.

    Raters are called ``rater-x7k2-1``, ``rater-x7k2-2``, …, with letters that are drawn once for a folder:
    two servers of one study have raters of their own, who must not be taken for the same people.

    Args:
        folder: of a server.
        raters: how many raters there are at least, beside the requester.
        simulated: how many simulated ones.

    Raises:
        UserError: the file is not as it was written.
    """
    path = folder / PASSWORDS
    accounts = _read(path) if path.exists() else {}
    prefix = _prefix(accounts) or "".join(secrets.choice(_LETTERS) for _ in range(4))
    names = [
        ADMIN,
        *(f"rater-{prefix}-{number}" for number in range(1, raters + 1)),
        *(simulated_account(number) for number in range(1, simulated + 1)),
    ]
    new = [name for name in names if name not in accounts]
    accounts |= {name: secrets.token_urlsafe(15) for name in new}
    if new:
        table = io.StringIO(newline="")
        csv.writer(table, lineterminator="\n").writerows([_COLUMNS, *accounts.items()])
        files.write_private(path, table.getvalue())
    return accounts


def _prefix(accounts: Iterable[str]) -> str | None:
    """Return the letters in the names of raters, if there are any yet."""
    found = (re.fullmatch(rf"rater-([{_LETTERS}]{{4}})-\d+", name) for name in accounts)
    return next((match[1] for match in found if match), None)


def _read(path: Path) -> dict[str, str]:
    rows = list(csv.reader(io.StringIO(files.read_text(path), newline="")))
    good = bool(rows) and tuple(rows[0]) == _COLUMNS and all(len(row) == 2 and all(row) for row in rows)
    accounts = dict(rows[1:]) if good else {}
    if not good or len(accounts) != len(rows) - 1:
        remedy = "restore it, or delete it to have new passwords drawn"
        raise UserError(str(path), "is no list of names and passwords, each name once", remedy)
    return accounts
