"""What libraries below a store raise is a fault of the store, unless it stands for Ctrl-C."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import PendingRollbackError

from vader_bench.records.tracking.address import read_address
from vader_bench.records.tracking.store import Store, StoreError


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


def refuse() -> None:
    raise PendingRollbackError("invalid transaction")


@pytest.mark.parametrize("call", [cut_off, cut_off_below_mlflow])
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


@pytest.mark.parametrize("error", [MlflowException("no"), OSError("no"), KeyError("no"), ValueError("no")])
def test_everything_else_is_a_fault_of_the_store(store: Store, error: Exception) -> None:
    def call() -> None:
        raise error

    with pytest.raises(StoreError, match="no"):
        store.ask(call)
