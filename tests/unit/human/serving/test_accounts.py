"""Passwords are drawn once and are for their owner's eyes."""

from __future__ import annotations

from pathlib import Path

import pytest

from vader_bench.errors import UserError
from vader_bench.human.serving.accounts import PASSWORDS, account_names, kept_accounts


def test_the_requester_comes_first_and_simulated_raters_are_told_by_name() -> None:
    assert account_names(2) == ["admin", "rater-1", "rater-2"]
    assert account_names(0, 2) == ["admin", "SIMULATED-1", "SIMULATED-2"]


def test_passwords_stay_when_accounts_are_added(tmp_path: Path) -> None:
    first = kept_accounts(tmp_path, account_names(2))
    more = kept_accounts(tmp_path, account_names(3))
    assert list(more) == ["admin", "rater-1", "rater-2", "rater-3"]
    assert more == first | {"rater-3": more["rater-3"]}
    assert kept_accounts(tmp_path, account_names(0)) == more
    assert len(set(more.values())) == 4
    assert all(len(password) >= 20 for password in more.values())


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    kept_accounts(tmp_path, account_names(1))
    assert (tmp_path / PASSWORDS).stat().st_mode & 0o777 == 0o600


HEAD = "name,password\n"


@pytest.mark.parametrize("text", ["", "a,b\n", HEAD + "a\n", HEAD + "a,\n", HEAD + "a,b\na,c\n"])
def test_a_list_that_was_spoiled_is_not_written_over(tmp_path: Path, text: str) -> None:
    (tmp_path / PASSWORDS).write_text(text, "utf-8")
    with pytest.raises(UserError, match="is no list of names and passwords"):
        kept_accounts(tmp_path, account_names(1))
    assert (tmp_path / PASSWORDS).read_text("utf-8") == text
