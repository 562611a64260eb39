"""The order of runs and the time left."""

from __future__ import annotations

import pytest

from vader_bench.launch.timetable import Pace, Timetable


def pace(*said: tuple[float, float]) -> Pace:
    """Return the pace of a run that said these fractions of itself after these seconds."""
    made = Pace()
    for seconds, fraction in said:
        made.note(seconds, fraction)
    return made


def test_the_mean_of_finished_runs_of_a_kind_is_expected() -> None:
    times = Timetable()
    times.record("a", 10)
    times.record("a", 20)
    assert times.expected("a") == 15
    assert times.expected("b") is None


def test_without_knowledge_the_first_run_is_picked() -> None:
    assert Timetable().pick(["a", "b", "a"]) == 0


def test_an_unknown_kind_goes_before_a_known_one() -> None:
    times = Timetable()
    times.record("a", 100)
    assert times.pick(["a", "b"]) == 1


def test_the_longest_kind_goes_first() -> None:
    times = Timetable()
    times.record("short", 10)
    times.record("long", 30)
    assert times.pick(["short", "long", "long"]) == 1


def test_time_left_is_unknown_before_any_run_says_how_long_it_takes() -> None:
    assert Timetable().seconds_left([("a", 1.0, Pace())], ["a"], 2) is None


def test_no_time_is_left_when_nothing_is_left() -> None:
    assert Timetable().seconds_left([], [], 2) == 0


def test_a_running_run_is_extrapolated_from_what_it_says() -> None:
    said = pace((5.0, 0.0), (30.0, 0.25))
    assert Timetable().seconds_left([("a", 30.0, said)], [], 1) == pytest.approx(75)


def test_what_waits_takes_the_whole_of_what_was_gone_on_with() -> None:
    """Half of it was done before: after 2 s of loading, 40 s for the rest are 82 for the next of its kind."""
    times, half = Timetable(), pace((2.0, 0.5), (22.0, 0.75))
    assert times.seconds_left([("a", 22.0, half)], ["a"], 1) == pytest.approx(20 + 82)
    times.record("a", 42.0, pace((2.0, 0.5), (42.0, 1.0)))
    assert times.expected("a") == pytest.approx(82)
    times.record("b", 42.0, pace((2.0, 1.0)))
    assert times.expected("b") == 42


def test_less_time_is_left_while_a_run_says_nothing() -> None:
    said = pace((0.0, 0.0), (30.0, 0.25))
    assert Timetable().seconds_left([("a", 50.0, said)], [], 1) == pytest.approx(70)


def test_the_part_that_an_earlier_command_did_tells_no_speed() -> None:
    said = pace((10.0, 0.5), (40.0, 0.75))
    assert Timetable().seconds_left([("a", 40.0, said)], [], 1) == pytest.approx(30)


def test_a_run_that_said_one_thing_has_no_speed_yet() -> None:
    times = Timetable()
    assert times.seconds_left([("a", 10.0, pace((10.0, 0.5)))], [], 1) is None
    at_once = pace((10.0, 0.0), (10.0, 0.5))
    assert times.seconds_left([("a", 10.0, at_once)], [], 1) is None
    times.record("a", 100)
    assert times.seconds_left([("a", 10.0, pace((10.0, 0.5)))], [], 1) == pytest.approx(90)
    assert times.seconds_left([("a", 10.0, at_once)], [], 1) == pytest.approx(90)


def test_waiting_runs_are_shared_out_among_the_workers() -> None:
    times = Timetable()
    times.record("a", 10)
    assert times.seconds_left([], ["a"] * 6, 2) == pytest.approx(30)


def test_time_left_is_at_least_that_of_the_longest_running_run() -> None:
    times = Timetable()
    slow, fast = pace((0.0, 0.0), (10.0, 0.1)), pace((0.0, 0.0), (10.0, 0.5))
    left = times.seconds_left([("a", 10.0, slow), ("b", 10.0, fast)], [], 2)
    assert left == pytest.approx(90)


def test_kinds_never_seen_are_taken_to_be_as_long_as_the_others() -> None:
    times = Timetable()
    times.record("a", 10)
    times.record("b", 30)
    assert times.seconds_left([("a", 0.0, Pace())], ["c"], 1) == pytest.approx(10 + 20 / 1, abs=10)


def test_a_kind_that_is_new_takes_as_long_as_those_that_are_done() -> None:
    times = Timetable()
    times.record("a", 10)
    times.record("b", 30)
    assert times.seconds_left([("c", 5.0, Pace())], [], 1) == pytest.approx(15)


def test_a_run_longer_than_expected_has_no_negative_time_left() -> None:
    times = Timetable()
    times.record("a", 10)
    assert times.seconds_left([("a", 50.0, Pace())], [], 1) == 0
