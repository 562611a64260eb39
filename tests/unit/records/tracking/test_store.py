"""What libraries below a store raise is a fault of the store, unless it stands for Ctrl-C."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from requests.exceptions import ConnectTimeout
from sqlalchemy.exc import PendingRollbackError

from vader_bench.records.tracking.address import read_address
from vader_bench.records.tracking.store import AWAY, Store, StoreError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(read_address(None, tmp_path))


def interrupt() -> None:
    raise KeyboardInterrupt


def cut_off() -> None:
    """Be interrupted in a transaction, as SQLAlchemy reports it when it is left."""
    try:
        interrupt()
    finally:
        refuse()


def cut_off_below_mlflow() -> None:
    try:
        cut_off()
    except PendingRollbackError as error:
        raise MlflowException(str(error)) from error


def cut_off_below_another_cause() -> None:
    """Be interrupted, and fail for a reason of its own meanwhile, which is named as the cause."""
    try:
        interrupt()
    except KeyboardInterrupt:
        raise MlflowException("no") from OSError("disk")


def refuse() -> None:
    raise PendingRollbackError("invalid transaction")


@pytest.mark.parametrize("call", [cut_off, cut_off_below_mlflow, cut_off_below_another_cause])
def test_an_interrupt_stays_one(store: Store, call: object) -> None:
    assert callable(call)
    with pytest.raises(KeyboardInterrupt):
        store.ask(call)


def test_a_fault_after_an_interrupt_that_is_handled_is_a_fault(store: Store) -> None:
    try:
        interrupt()
    except KeyboardInterrupt:
        with pytest.raises(StoreError, match="invalid transaction"):
            store.ask(refuse)


def no_connection() -> None:
    raise ConnectTimeout("no route")


def no_connection_below_mlflow() -> None:
    try:
        no_connection()
    except ConnectTimeout as error:
        raise MlflowException("request failed") from error


@pytest.mark.parametrize("call", [no_connection, no_connection_below_mlflow])
def test_a_server_that_cannot_be_reached_is_away(store: Store, call: object) -> None:
    assert callable(call)
    with pytest.raises(StoreError) as raised:
        store.ask(call)
    assert raised.value.wrong == AWAY


@pytest.mark.parametrize("error", [MlflowException("no"), OSError("no"), KeyError("no"), ValueError("no")])
def test_everything_else_is_a_fault_of_the_store(store: Store, error: Exception) -> None:
    def call() -> None:
        raise error

    with pytest.raises(StoreError, match="no"):
        store.ask(call)
