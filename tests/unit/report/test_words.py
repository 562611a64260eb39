from __future__ import annotations

import math

import pytest

from vader_bench.report.words import (
    Kind,
    arms_listed,
    cells,
    columns,
    effect_text,
    estimate_text,
    number,
    p_text,
    quantity,
    significant,
)
from vader_bench.stats import Estimate


def test_numbers_in_files_have_nine_digits() -> None:
    assert number(1 / 3) == "0.333333333"
    assert number(256.0) == "256"
    assert number(1.5e13) == "1.5e+13"
    assert number(math.nan) == ""


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.56912, 0.4949, 0.6449), "0.569 [0.495, 0.645]"),
        (Estimate(5.2345, 4.1, 6.3), "5.2 [4.1, 6.3]"),
        (Estimate(123.4, 100.0, 150.0), "123 [100, 150]"),
        (Estimate(0.00012, 0.00011, 0.00013), "0.000120 [0.000110, 0.000130]"),
        (Estimate(-0.0001, -0.1, 0.1), "0.00 [-0.10, 0.10]"),
        (Estimate(0.0, 0.0, 0.0), "0 [0, 0]"),
        (Estimate(-0.039, -0.039 - 1e-16, -0.039 + 1e-16), "-0.039 [-0.039, -0.039]"),
        (Estimate(0.3, math.nan, math.nan), "0.3"),
        (Estimate.none("missing"), "missing"),
    ],
)
def test_an_estimate_has_the_digits_that_its_interval_warrants(estimate: Estimate, text: str) -> None:
    assert estimate_text(estimate) == text


@pytest.mark.parametrize(
    ("kind", "estimate", "text"),
    [
        ("queries", Estimate(36.4, 17.0, math.inf), "36 [17, not reached]"),
        ("queries", Estimate(math.inf, 143.0, math.inf), "not reached [143, not reached]"),
        ("queries", Estimate(256, 256, 256), "256"),
        ("times", Estimate(7.041, 2.97, math.inf), "7.04x [2.97x, unbounded]"),
        ("times", Estimate(0, 0, 1.79), "not reached [not reached, 1.79x]"),
        ("flops", Estimate(1.5e13, 1e13, 2e15), "15 TFLOP [10 TFLOP, 2 PFLOP]"),
        ("seconds", Estimate(15.94, 119.0, 7199.0), "15.9 s [119 s, 120 min]"),
        ("ratio", Estimate(0.8, -math.inf, 1.2), "0.8 [unbounded, 1.2]"),
    ],
)
def test_amounts_have_units_and_words_for_never(kind: Kind, estimate: Estimate, text: str) -> None:
    assert estimate_text(estimate, kind) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0.0936812, "0.094"),
        (0.0022, "0.0022"),
        (12.6, "13"),
        (99.6, "100"),
        (1234.5, "1234"),
        (-0.26, "-0.26"),
    ],
)
def test_the_size_of_an_effect_has_two_digits_and_no_exponent(size: float, text: str) -> None:
    assert effect_text(size) == text
    assert quantity(size, "effect") == text
    assert estimate_text(Estimate(size, math.nan, math.nan), "effect") == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.7654, 3, "0.765"), (999.4, 3, "999"), (999.6, 3, "1000"), (1611.2, 3, "1611"),
        (-2013078.75, 3, "-2013079"), (9999.4, 4, "9999"), (88080.6, 4, "88081"), (0.0, 3, "0"),
    ],
)  # fmt: skip
def test_a_large_number_is_written_in_full(value: float, digits: int, text: str) -> None:
    assert significant(value, digits) == text


def test_durations_choose_their_unit() -> None:
    assert [quantity(s, "seconds") for s in (3.0, 120.0, 7200.0)] == ["3 s", "2 min", "2 h"]
    assert quantity(999.0, "flops") == "999 FLOP"


def test_cells_of_a_file_keep_words_out_of_the_limits() -> None:
    assert cells(Estimate(0.25, 0.125, 0.5), "reward") == ("0.25", "0.125", "0.5")
    assert cells(Estimate.none("not measured"), "reward") == ("not measured", "", "")
    assert cells(Estimate(math.inf, 20.0, math.inf), "queries") == ("not reached", "20", "not reached")
    assert cells(Estimate(0.3, math.nan, math.nan), "reward") == ("0.3", "", "")


def test_p_values() -> None:
    assert [p_text(p) for p in (0.0002, 0.0123, 1.0)] == ["< 0.001", "0.012", "1.000"]
    # on which side of 0.05 a value lies decides what is said of it
    assert [p_text(p) for p in (0.0504, 0.0496, 0.050004, 0.05)] == ["0.0504", "0.0496", "0.050004", "0.050"]


def test_columns_are_the_same_for_every_table_but_for_further_splits() -> None:
    plain = [column.key for column in columns(set())]
    assert len(plain) == len(set(plain))
    more = columns({"gain_style", "gain", "area"})
    assert [column.key for column in more] == [*plain, "gain_style"]
    assert more[-1].title == "gain, style"


FAMILIES = {"vader": ["vader-small", "vader", "vader-large"], "ddpo": ["ddpo", "ddpo-large"], "nft": ["nft"]}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ""),
        (["vader"], "vader"),
        (["vader-small", "vader", "vader-large"], "all arms of vader"),
        (["nft", "vader", "ddpo", "vader-large", "vader-small"], "all arms of vader, and nft and ddpo"),
        (["vader", "vader-large", "nft"], "vader, vader-large and nft"),  # one is missing
        (["ddpo", "ddpo-large"], "ddpo and ddpo-large"),  # no longer than what would stand for them
    ],
)
def test_all_arms_of_a_method_have_one_name(names: list[str], said: str) -> None:
    assert arms_listed(names, FAMILIES) == said


def test_methods_that_are_whole_are_listed_together() -> None:
    families = {method: [f"{method}-{size}" for size in range(3)] for method in ("vader", "ddpo", "nft")}
    names = ["vader-0", "vader-1", "vader-2", "ddpo-0", "nft-0", "nft-1", "nft-2"]
    assert arms_listed(names, families) == "all arms of vader and nft, and ddpo-0"


def test_arms_of_the_only_method_keep_their_names() -> None:
    assert arms_listed(["k-1", "k-2", "k-8"], {"vader": ["k-1", "k-2", "k-8"]}) == "k-1, k-2 and k-8"
