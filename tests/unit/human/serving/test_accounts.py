"""Passwords are drawn once and are for their owner's eyes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vader_bench.errors import UserError
from vader_bench.human.serving.accounts import PASSWORDS, kept_accounts


def test_the_requester_comes_first_and_simulated_raters_are_reported_by_name(tmp_path: Path) -> None:
    assert re.fullmatch(r"admin rater-(\w{4})-1 rater-\1-2", " ".join(kept_accounts(tmp_path / "a", 2)))
    assert list(kept_accounts(tmp_path / "b", 0, 2)) == ["admin", "SIMULATED-1", "SIMULATED-2"]


def test_raters_of_two_servers_are_not_taken_for_the_same_people(tmp_path: Path) -> None:
    one, other = (kept_accounts(tmp_path / name, 3) for name in ("one", "other"))
    assert set(one) & set(other) == {"admin"}


def test_passwords_stay_when_accounts_are_added(tmp_path: Path) -> None:
    assert list(kept_accounts(tmp_path)) == ["admin"]
    first = kept_accounts(tmp_path, 2)
    more = kept_accounts(tmp_path, 3)
    (third,) = set(more) - set(first)
    assert list(more) == [*first, third]
    assert third == list(first)[1].removesuffix("1") + "3"
    assert more == first | {third: more[third]}
    assert kept_accounts(tmp_path) == more
    assert len(set(more.values())) == 4
    assert all(len(password) >= 20 for password in more.values())


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    kept_accounts(tmp_path, 1)
    assert (tmp_path / PASSWORDS).stat().st_mode & 0o777 == 0o600


HEAD = "name,password\n"


@pytest.mark.parametrize("text", ["", "a,b\n", HEAD + "a\n", HEAD + "a,\n", HEAD + "a,b\na,c\n"])
def test_a_list_that_was_spoiled_is_not_written_over(tmp_path: Path, text: str) -> None:
    (tmp_path / PASSWORDS).write_text(text, "utf-8")
    with pytest.raises(UserError, match="is no list of names and passwords"):
        kept_accounts(tmp_path, 1)
    assert (tmp_path / PASSWORDS).read_text("utf-8") == text
