from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.results import Invented, write_results
from vader_bench.errors import UserError
from vader_bench.report.agreement import ReferenceAgreement, agreement_lines, compare_results
from vader_bench.report.load import Results, load_results

REFERENCE = Invented(rewards=("red",), seeds=range(5))

Compare = Callable[..., dict[str, ReferenceAgreement]]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return load_results(write_results(tmp_path_factory.mktemp("reference"), REFERENCE))


@pytest.fixture
def compare(tmp_path: Path, reference: Results) -> Compare:
    def compared(world: Invented, skip: tuple[str, ...] = ()) -> dict[str, ReferenceAgreement]:
        own = load_results(write_results(tmp_path, world, skip=skip), allow_missing=True)
        return {a.method: a for a in compare_results(own, reference)}

    return compared


def test_the_same_runs_are_identical(compare: Compare) -> None:
    found = compare(REFERENCE)
    for agreement in found.values():
        assert agreement.agrees
        assert (agreement.same_seeds, agreement.identical_seeds) == (5, 5)
        np.testing.assert_array_equal(agreement.difference.value, 0.0)
        assert agreement.difference.low == agreement.difference.high == 0.0
    assert agreement_lines(list(found.values())) == [
        "Agrees with the reference in all 3 comparisons, by interval.",
        "15 of 15 runs with a seed of the reference have the same scores, bit for bit.",
    ]


def test_other_seeds_of_the_same_methods_agree(compare: Compare) -> None:
    found = compare(replace(REFERENCE, seeds=(10, 11, 12)))
    assert all(agreement.agrees for agreement in found.values())
    assert found["vader"].seeds == (3, 5)
    assert found["vader"].same_seeds == 0
    assert found["vader"].queries == 64


def test_another_result_differs_and_is_named(compare: Compare) -> None:
    found = compare(replace(REFERENCE, gains=REFERENCE.gains | {"vader": 0.6}))
    assert found["vader"].agrees is False
    assert found["ddpo"].agrees
    assert found["vader"].difference.value == pytest.approx(0.2, abs=0.02)
    assert found["vader"].identical_seeds == 0
    lines = agreement_lines(list(found.values()))
    assert lines[0] == "Differs from the reference in 1 of 3 comparisons: vader on red."


def test_one_seed_is_measured_by_the_spread_of_the_reference(compare: Compare) -> None:
    # a run two standard deviations off (0.02) is nothing unusual; one twenty off (0.2) is
    gains = {name: gain + 0.02 for name, gain in REFERENCE.gains.items()}
    near = compare(replace(REFERENCE, seeds=(10,), gains=gains))
    assert all(agreement.agrees for agreement in near.values())


def test_one_seed_far_off_differs(compare: Compare) -> None:
    gains = {name: gain + 0.2 for name, gain in REFERENCE.gains.items()}
    far = compare(replace(REFERENCE, seeds=(10,), gains=gains))
    assert not any(agreement.agrees for agreement in far.values())


def test_a_smaller_budget_is_compared_at_the_last_shared_look(compare: Compare) -> None:
    found = compare(replace(REFERENCE, budget=32, gains={}))
    assert {agreement.queries for agreement in found.values()} == {32}


def test_looks_that_never_meet_are_not_compared(compare: Compare) -> None:
    found = compare(replace(REFERENCE, budget=60, every=20))
    assert found["vader"].agrees is None
    assert found["vader"].unlike == "there is no number of queries after which both were judged"


def test_what_is_missing_is_not_compared(compare: Compare) -> None:
    names = tuple(f"ddpo-red-seed{seed}" for seed in REFERENCE.seeds)
    found = compare(replace(REFERENCE, methods=("vader", "ddpo", "other")), skip=names)
    assert found["ddpo"].unlike == "it is missing here"
    assert found["other"].unlike == "it is missing in the reference"
    assert "ddpo on red was not compared: it is missing here." in agreement_lines(list(found.values()))


@pytest.mark.parametrize(("name", "unlike"), [("weights/unet", "weights/unet differ"), ("code", "")])
def test_other_weights_or_prompts_are_not_compared(
    name: str, unlike: str, tmp_path: Path, reference: Results
) -> None:
    folder = write_results(tmp_path, REFERENCE)
    for path in folder.glob("runs/*/record.json"):
        data = json.loads(path.read_text())
        data["digests"][name] = "9" * 64
        path.write_text(json.dumps(data))
    found = compare_results(load_results(folder), reference)
    assert {a.unlike for a in found} == {unlike}
    assert all(a.agrees for a in found) is not bool(unlike)


def faster(config: dict[str, Any]) -> None:
    """Give VADER another learning rate, and a setting that older records do not have."""
    if config["method"] == "vader":
        config["settings"] |= {"learning_rate": 0.5, "new_since_then": 1}


def changed(tmp_path: Path, change: Callable[[dict[str, Any]], None], world: Invented = REFERENCE) -> Results:
    """Return the results of ``world`` with a change of each run's configuration."""
    folder = write_results(tmp_path, world)
    for path in folder.glob("runs/*/record.json"):
        data = json.loads(path.read_text())
        change(data["config"])
        path.write_text(json.dumps(data))
    return load_results(folder)


def test_runs_of_another_model_are_not_compared(tmp_path: Path, reference: Results) -> None:
    def to_wan(config: dict[str, Any]) -> None:
        config["suite"]["backbone"]["family"] = "wan"

    found = compare_results(changed(tmp_path, to_wan), reference)
    assert {a.unlike for a in found} == {"it is of another model: wan here, modelscope there"}


def test_other_settings_are_named(tmp_path: Path, reference: Results) -> None:
    found = compare_results(changed(tmp_path, faster), reference)
    was = reference.of("red", "vader")[0].asked.settings["learning_rate"]
    line = f"vader on red has other settings than in the reference: learning_rate 0.5 instead of {was}."
    lines = agreement_lines(found)
    assert line in lines
    agrees = "Agrees with the reference in all 3 comparisons, by interval; 1 of them has other settings."
    assert lines[0] == agrees
    assert [a.proviso for a in found] == [", with other settings", "", ""]


def test_a_difference_with_other_settings_is_said_to_be_one(tmp_path: Path, reference: Results) -> None:
    far = replace(REFERENCE, gains=REFERENCE.gains | {"vader": 0.6})
    lines = agreement_lines(compare_results(changed(tmp_path, faster, far), reference))
    assert lines[0] == "Differs from the reference in 1 of 3 comparisons: vader on red, with other settings."


def test_two_looks_after_the_same_queries_are_refused(tmp_path: Path, reference: Results) -> None:
    folder = write_results(tmp_path, REFERENCE)
    path = folder / "runs" / "ddpo-red-seed1" / "record.json"
    data = json.loads(path.read_text())
    data["evaluations"].append(next(look for look in data["evaluations"] if look["queries"] == 16))
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match="ddpo-red-seed1: has two evaluations of split 'heldout'"):
        compare_results(reference, load_results(folder))


def test_one_changed_score_is_not_identical(tmp_path: Path, reference: Results) -> None:
    folder = write_results(tmp_path, REFERENCE)
    path = folder / "runs" / "ddpo-red-seed1" / "record.json"
    data = json.loads(path.read_text())
    last = next(look for look in data["evaluations"] if (look["split"], look["queries"]) == ("heldout", 64))
    last["scores"][0]["reward"] = float(np.nextafter(last["scores"][0]["reward"], 1))
    path.write_text(json.dumps(data))
    found = {a.method: a for a in compare_results(load_results(folder), reference)}
    assert (found["ddpo"].same_seeds, found["ddpo"].identical_seeds) == (5, 4)
    assert (found["vader"].same_seeds, found["vader"].identical_seeds) == (5, 5)


def test_intervals_hold_together_for_all_comparisons(compare: Compare, reference: Results) -> None:
    world = replace(REFERENCE, seeds=(10, 11, 12))
    alone = compare(replace(world, methods=("vader",)))["vader"].difference
    among = compare(world)["vader"].difference
    assert alone.value == among.value
    assert among.low < alone.low
    assert among.high > alone.high


def test_a_single_seed_on_both_sides_is_said(tmp_path: Path) -> None:
    world = replace(REFERENCE, methods=("vader",), seeds=(0,))
    own = load_results(write_results(tmp_path / "own", world))
    other = load_results(write_results(tmp_path / "other", replace(world, seeds=(1,))))
    lines = agreement_lines(compare_results(own, other))
    assert "With one seed on either side the intervals cover prompts only, not another training run." in lines
