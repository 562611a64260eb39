"""Who may log in, with passwords that were drawn here. Files are for their owner only."""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.human.responses import simulated_account

__all__ = ["ADMIN", "PASSWORDS", "account_names", "kept_accounts"]

ADMIN: Final = "admin"
"""Account of the requester."""
PASSWORDS: Final = "raters.csv"
"""Accounts and passwords, the requester's first."""
_COLUMNS: Final = ("name", "password")


def account_names(raters: int, simulated: int = 0) -> list[str]:
    """Return the names of the requester, of so many raters and of so many simulated ones."""
    return [
        ADMIN,
        *(f"rater-{number}" for number in range(1, raters + 1)),
        *(simulated_account(number) for number in range(1, simulated + 1)),
    ]


def kept_accounts(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the passwords of all accounts in ``folder`` by name; of new ``names`` they are drawn and kept.

    Raises:
        UserError: the file is not as it was written.
    """
    path = folder / PASSWORDS
    accounts = _read(path) if path.exists() else {}
    new = [name for name in names if name not in accounts]
    accounts |= {name: secrets.token_urlsafe(15) for name in new}
    if new:
        table = io.StringIO(newline="")
        csv.writer(table, lineterminator="\n").writerows([_COLUMNS, *accounts.items()])
        files.write_private(path, table.getvalue())
    return accounts


def _read(path: Path) -> dict[str, str]:
    rows = list(csv.reader(io.StringIO(files.read_text(path), newline="")))
    good = bool(rows) and tuple(rows[0]) == _COLUMNS and all(len(row) == 2 and all(row) for row in rows)
    accounts = dict(rows[1:]) if good else {}
    if not good or len(accounts) != len(rows) - 1:
        remedy = "restore it, or delete it to have new passwords drawn"
        raise UserError(str(path), "is no list of names and passwords, each name once", remedy)
    return accounts
