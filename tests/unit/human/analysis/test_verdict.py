"""What a study says where there is nothing to be found, from the answers to the printed sentence."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.built import ingest as all_accepted
from tests.support.built import made_study
from vader_bench.human.analysis.estimates import analyse_study
from vader_bench.human.analysis.tables import narrow_table2, table2_csv
from vader_bench.human.analysis.words import findings, warnings
from vader_bench.human.ingest.ingest import ingest
from vader_bench.human.ingest.results_file import parse_results
from vader_bench.human.plan import Built
from vader_bench.human.rehearsal.raters import Raters, even_raters, prefer
from vader_bench.human.rehearsal.simulate import results_csv, simulate

BLOCKS = {"items": 10, "gold": 1, "repeats": 1, "per_rater": 3}
LEFT = {"text": "L", "quality": "L"}
SALT = b"0" * 32


def study(**changes: Any) -> Built:
    return made_study(blocks=BLOCKS, pay={"reward": 9.0}, **changes)


def sentences(built: Built, people: int, seed: int) -> list[str]:
    """Return the findings of one study without a preference: its design, people, file, rules and tests."""
    strengths = even_raters(seed, built.arms, ["text", "quality"]).strengths
    population = Raters(seed, strengths, side_bias=0.2, lapse=0.05)
    text = results_csv(built, simulate(built, population, people))
    answers = ingest(built, [parse_results("results.csv", text.encode())], SALT).ingested
    return findings(analyse_study(answers, built), built.plan)


def shows(sentence: str) -> bool:
    return "a preference for" in sentence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("built", "people", "studies"),
    [(study(prompts=30, responses=210), 7, 100), (study(prompts=100, paper=True), 4, 100)],
    ids=["seven people on thirty prompts", "the paper's form, four people"],
)
def test_no_difference_is_seldom_called_a_preference(built: Built, people: int, studies: int) -> None:
    shown = sum(any(map(shows, sentences(built, people, seed))) for seed in range(studies))
    # 5 of 100 are expected at most, with a standard error of 2.2; a binomial over all answers had 23 and 13
    assert shown <= 9


def unanimous(people: int, prompts: int = 8) -> tuple[Built, list[str], list[str], str, list[str]]:
    built = made_study(
        prompts=prompts, responses=2 * prompts, blocks={"items": 4, "gold": 0, "repeats": 0, "per_rater": 20}
    )
    population = prefer(Raters(1, even_raters(1, built.arms, ["text", "quality"]).strengths), "vader", 0.98)
    found = analyse_study(all_accepted(built, simulate(built, population, people), simulated=False), built)
    table = narrow_table2(found)
    return built, findings(found, built.plan), warnings(found), table2_csv(found), table.rows[0]


@pytest.mark.parametrize("people", [1, 2])
def test_one_or_two_people_find_nothing_whatever_they_say(people: int) -> None:
    _, found, warned, table, row = unanimous(people)
    for sentence in found:
        assert sentence.endswith("prompts: too few raters for a finding.")
        assert "answers of " in sentence
        assert not shows(sentence)
        assert " p " not in sentence
    assert any(f"too few raters for a finding ({people} raters" in line for line in warned)
    assert row[2] == "", "no p"
    lines = [line.split(",") for line in table.splitlines()]
    columns = {name: lines[1][place] for place, name in enumerate(lines[0])}
    assert (columns["p_value"], columns["p_holm"], columns["preferred"]) == ("", "", "")
    assert columns["test"] == "none"


def test_two_prompts_find_nothing() -> None:
    built = made_study(prompts=2, responses=24, blocks={"items": 2, "gold": 0, "repeats": 0, "per_rater": 1})
    population = prefer(even_raters(1, built.arms, ["text", "quality"]), "vader", 0.9)
    found = analyse_study(all_accepted(built, simulate(built, population, 12)), built)
    assert all("too few prompts for a finding." in line for line in findings(found, built.plan))


def test_many_people_who_all_lean_alike_show_their_preference() -> None:
    built = made_study(prompts=24, responses=48, blocks={"items": 4, "gold": 0, "repeats": 0, "per_rater": 1})
    population = prefer(
        Raters(1, even_raters(1, built.arms, ["text", "quality"]).strengths, lapse=0), "vader", 0.9999
    )
    found = analyse_study(all_accepted(built, simulate(built, population, 12)), built)
    for line in findings(found, built.plan):
        assert "100.0 % of 48 answers (all raters and all prompts lean alike" in line
        assert line.endswith("a preference for vader is shown.")


def test_people_who_always_take_the_left_video_are_reported() -> None:
    # twelve people of one block each: too few answers for the rules that leave people out
    built = made_study(prompts=24, responses=96, blocks={"items": 8, "gold": 0, "repeats": 1, "per_rater": 1})
    honest = simulate(built, even_raters(1, built.arms, ["text", "quality"]), 12)
    left = [
        one.model_copy(
            update={
                "items": [
                    item.model_copy(update={"answers": dict.fromkeys(item.answers, "L")})
                    for item in one.items
                ]
            }
        )
        for one in honest
    ]
    warned = " ".join(warnings(analyse_study(all_accepted(built, left), built)))
    assert "text, vader over base: the left video was chosen in 100.0 % of the answers" in warned
    assert "0 of 12 repeats were answered as before, fewer than chance gives" in warned
    quiet = " ".join(warnings(analyse_study(all_accepted(built, honest), built)))
    assert "may not have looked" not in quiet
