"""The way from the files of runs to MLflow."""

from vader_bench.records.tracking.address import StoreAddress, local_store
from vader_bench.records.tracking.state import STATE_NAME
from vader_bench.records.tracking.tracker import Tracker

__all__ = ["STATE_NAME", "StoreAddress", "Tracker", "local_store"]
