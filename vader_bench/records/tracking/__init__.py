"""The way from the files of runs to MLflow."""

from vader_bench.records.tracking.address import StoreAddress, read_address
from vader_bench.records.tracking.state import STATE_NAME
from vader_bench.records.tracking.store import Store, StoreError
from vader_bench.records.tracking.tracker import Tracker

__all__ = ["STATE_NAME", "Store", "StoreAddress", "StoreError", "Tracker", "read_address"]
