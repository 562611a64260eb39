"""A worker ends when its parent is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import multiprocessing, sys, time
from pathlib import Path
from vader_bench.launch.orphans import die_with_parent

def work(path):
    die_with_parent()
    import os
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    context.Process(target=work, args=(sys.argv[1],)).start()
    time.sleep(60)
"""


def runs(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's table of processes")
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_worker_ends_when_its_parent_is_killed(method: str, tmp_path: Path) -> None:
    script, note = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(PARENT, "utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    parent = subprocess.Popen([sys.executable, str(script), str(note), method], env=environment)
    end = time.monotonic() + 50
    while not (note.exists() and note.read_text("utf-8")) and time.monotonic() < end:
        time.sleep(0.05)
    worker = int(note.read_text("utf-8"))
    assert runs(worker)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while runs(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not runs(worker)
