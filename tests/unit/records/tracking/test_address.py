"""Addresses of stores: understood, led to the right file, and shown without what is secret in them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from vader_bench.errors import UserError
from vader_bench.records.tracking.address import StoreAddress, read_address


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ("mlflow.example:5000", "is not one"),
        ("ftp://example/x", "is not one"),
        ("http://", "is not one"),
        ("http://host:port", "is not one"),
        ("http://[::1", "is not one"),
        ("postgresql://bob:hunter2@db/x", "is not one"),
        ("sqlite://", "is not one"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_what_is_no_address_is_refused(tmp_path: Path, given: str, wrong: str) -> None:
    with pytest.raises(UserError, match=wrong) as caught:
        read_address(given, tmp_path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "secret"),
    [
        ("http://bob:hunter2@127.0.0.1:1", "hunter2"),
        ("https://bob:hunter2@host/path?x=1", "hunter2"),
        ("http://hunter2@host", "hunter2"),
        ("http://bob:hun%74er2@host:5000", "hun%74er2"),
        ("http://bob:p@ss@host:5000", "p@ss"),
    ],
)
def test_a_password_is_not_shown(tmp_path: Path, given: str, secret: str) -> None:
    address = read_address(given, tmp_path)
    assert address.uri == given, "MLflow gets it"
    said = f"request to {given}/api failed: no host at {given}, user bob, word {secret}"
    for text in (address.shown, address.command, address.hide(said)):
        assert secret not in text
        assert "hunter2" not in text
        assert "***@" in text


def test_an_address_without_secrets_is_shown_as_it_is(tmp_path: Path) -> None:
    for given in ("http://host:5000", "https://host/path?x=1", f"sqlite:///{tmp_path}/a@b/mlflow.db"):
        address = read_address(given, tmp_path)
        assert address.shown == given
        assert address.hide(f"no {given}") == f"no {given}"


NAMES = ["plain", "my results", "my%20results", "a?b", "a#b", "100%", "ü%3Fx?y#z", "it's"]


@pytest.mark.parametrize("name", NAMES)
def test_every_folder_has_an_address_that_leads_back_to_it(tmp_path: Path, name: str) -> None:
    results = tmp_path / name
    results.mkdir()
    address = read_address(None, results)
    assert address.path == results / "mlflow.db"
    assert read_address(address.shown, tmp_path).path == results / "mlflow.db"
    assert read_address(f"sqlite:///{results}/mlflow.db", tmp_path).path == results / "mlflow.db"
    assert shlex.split(address.command) == ["mlflow", "ui", "--backend-store-uri", address.uri]


@pytest.mark.parametrize("name", NAMES)
def test_what_sqlalchemy_opens_is_the_file(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy import create_engine, text

    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    with create_engine(read_address(None, tmp_path / name).uri).begin() as connection:
        connection.execute(text("CREATE TABLE x (y INTEGER)"))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "mlflow.db").stat().st_size > 0


def test_codes_in_an_address_mean_what_they_do_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "my results").mkdir()
    address = read_address(f"sqlite:///{tmp_path}/my%20results/mlflow.db?timeout=5", tmp_path)
    assert address.path == tmp_path / "my results" / "mlflow.db"
    assert address.uri.endswith("?timeout=5")


def test_a_path_of_its_own_is_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_address("sqlite:///results/mlflow.db", tmp_path).path == tmp_path / "results" / "mlflow.db"
    assert read_address("", tmp_path) == read_address(None, tmp_path)


def test_a_server_is_opened_and_a_database_looked_at_by_a_command(tmp_path: Path) -> None:
    assert StoreAddress("http://bob:x@host:1").command == "http://***@host:1"
    assert read_address(None, tmp_path).command.startswith("mlflow ui --backend-store-uri sqlite:///")
