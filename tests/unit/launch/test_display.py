"""What a user sees while runs execute."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from vader_bench.launch import display as module
from vader_bench.launch.display import Failure, LineDisplay, LiveDisplay, duration, make_display
from vader_bench.training.progress import Progress


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-:--"), (0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3725, "1:02:05")]
)
def test_durations_are_written_as_clock_times(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_pipe_gets_lines_and_a_terminal_a_live_display() -> None:
    assert isinstance(make_display(Console(file=StringIO())), LineDisplay)
    assert isinstance(make_display(Console(file=StringIO(), force_terminal=True)), LiveDisplay)


def test_lines_tell_start_end_and_failure_as_they_are() -> None:
    out = StringIO()
    with make_display(Console(file=out, width=40)) as display:
        display.started("vader-red-seed1")
        display.progressed("vader-red-seed1", Progress(1, 2, "half"))
        display.finished("vader-red-seed1", 61)
        display.failed(Failure("ddpo-red-seed1", "[bold] is no markup here, and a long line stays one line"))
    assert out.getvalue().splitlines() == [
        "start   vader-red-seed1",
        "done    vader-red-seed1  1:01",
        "FAILED  ddpo-red-seed1: [bold] is no markup here, and a long line stays one line",
    ]


def test_lines_tell_the_time_left_when_a_run_ends_and_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 2.0, 40.0, 40.0])
    monkeypatch.setattr(module, "monotonic", lambda: next(clock))
    out = StringIO()
    display = LineDisplay(Console(file=out))
    display.overall(0, 3, None)
    display.overall(1, 3, 120)
    display.overall(1, 3, 80)
    assert out.getvalue().splitlines() == [
        "        1 of 3 runs, time left 2:00",
        "        1 of 3 runs, time left 1:20",
    ]


def test_the_live_display_has_a_bar_a_run_and_one_with_the_time_left() -> None:
    out = StringIO()
    with LiveDisplay(Console(file=out, force_terminal=True, width=120)) as display:
        display.started("vader-red-seed1")
        display.started("ddpo-red-seed1")
        display.progressed("vader-red-seed1", Progress(3, 4, "96 queries, held-out 5.43"))
        display.overall(0, 3, 95)
        display._bars.refresh()
        display.failed(Failure("ddpo-red-seed1", "no such weights"))
        display.finished("vader-red-seed1", 9)
    shown = out.getvalue()
    assert "75%" in shown
    assert "96 queries, held-out 5.43" in shown
    assert "0 of 3 runs, time left 1:35" in shown
    assert "FAILED  ddpo-red-seed1: no such weights" in shown
