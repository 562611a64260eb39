"""Worker processes that do not outlive the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading

__all__ = ["die_with_parent"]


def die_with_parent() -> None:
    """End this process from now on as soon as its parent ends, even where the parent is killed.

    A worker that went on alone would hold its run's folder, or write over what the next attempt writes.
    """
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
