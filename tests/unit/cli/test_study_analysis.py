"""``study simulate``, ``study analyze`` and ``study power`` as a user gives them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.built import ingest, invented_study
from tests.support.studies import write_study
from vader_bench import files
from vader_bench.cli import main
from vader_bench.errors import ExitCode
from vader_bench.human.config import load_study
from vader_bench.human.package.build import build_package
from vader_bench.human.plan import load_built
from vader_bench.human.rehearsal.raters import even_raters, prefer
from vader_bench.human.rehearsal.simulate import simulate
from vader_bench.human.responses import RESPONSES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("study")
    return build_package(load_study(write_study(source, clips=True)), source / "out").folder


def test_simulated_answers_are_written_and_said_to_be_simulated(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.csv"
    asked = ["study", "simulate", str(folder), "--prefer", "refinedarm", "--share", "0.7", "--out", str(out)]
    assert main([*asked, "--raters", "3"]) == ExitCode.DONE
    assert capsys.readouterr().out.splitlines() == [
        "SIMULATED: 6 blocks by 3 raters who prefer refinedarm in 70% of pairs",
        f"results: {out}",
    ]
    assert len(out.read_text("utf-8").splitlines()) == 7
    assert main([*asked, "--raters", "1"]) == ExitCode.BAD_INPUT
    assert "too few for 6 blocks" in capsys.readouterr().err


def test_the_analysis_says_what_was_found_and_where_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = load_built(folder)
    population = prefer(even_raters(1, built.arms, ["text", "quality"]), "refinedarm", 0.9)
    found = ingest(built, simulate(built, population, 6))
    files.write_json(folder / RESPONSES, found.model_dump(mode="json"))
    assert main(["study", "analyze", str(folder)]) == ExitCode.DONE
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "SIMULATED: Share of answers that prefer the first arm to the second"
    assert [line.split("  ")[0] for line in said[2:4]] == [
        "text: refinedarm over unrefined",
        "quality: refinedarm over unrefined",
    ]
    assert said[5].startswith("SIMULATED: “Which video has higher quality?” refinedarm was preferred to")
    assert "two-way clustered; p = " in said[5]
    assert "  warning: the plan was not compared with a published digest (--plan-sha256)" in said
    assert said[-2].startswith("written: analysis.json, table2.csv, table2.md, table2.tex, responses.csv")
    assert said[-1] == f"in: {folder / 'analysis'}"
    assert main(["study", "analyze", str(folder), "--plan-sha256", built.plan.digest]) == ExitCode.DONE
    assert "published digest" not in capsys.readouterr().out
    assert main(["study", "analyze", str(folder), "--plan-sha256", "0" * 64]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("SIMULATED, EXPLORATORY: ")


def test_the_papers_shares_are_found_from_a_hundred_invented_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"prompt {index}" for index in range(100)]
    blocks = {"items": 5, "gold": 1, "repeats": 1, "per_rater": 1}
    folder = invented_study(tmp_path, lines=lines, paper=True, blocks=blocks).folder
    results = tmp_path / "results.csv"
    shares = {"text": 0.61, "quality": 0.79}  # in the order of the questions
    planted = [word for share in shares.values() for word in ("--share", str(share))]
    asked = ["study", "simulate", str(folder), "--prefer", "refinedarm", *planted, "--careless", "0"]
    assert main([*asked, "--out", str(results)]) == ExitCode.DONE
    assert main(["study", "ingest", str(folder), str(results)]) == ExitCode.DONE
    capsys.readouterr()
    assert main(["study", "analyze", str(folder)]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert said.count(" % of 100 answers (95 % interval ") == 2
    rows = [line.split("  ") for line in said.splitlines()]
    for question, share in shares.items():
        (row,) = [row for row in rows if row[0] == f"{question}: refinedarm over unrefined"]
        found = re.search(r"([\d.]+) % \[([\d.]+), ([\d.]+)\]", " ".join(row))
        assert found is not None, row
        value, low, high = map(float, found.groups())
        assert low < 100 * share < high
        assert low < value < high
        assert high - low < 30


def test_power_says_what_a_design_finds_and_what_would_do(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["study", "power", "--share", "0.75", "--responses", "80", "--prompts", "40", "--raters", "20"]
    assert main(asked) == ExitCode.DONE
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "preference of 75.0%; tests: 2, each at level 0.025"
    assert said[4].split()[:5] == ["this", "design", "80", "40", "20"]
    assert main(["study", "power", "--responses", "100", "--prompts", "30"]) == ExitCode.BAD_INPUT
    assert "take a multiple of 30" in capsys.readouterr().err


def test_each_question_can_have_a_share_of_its_own(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["study", "simulate", str(folder), "--prefer", "refinedarm", "--out", str(tmp_path / "r.csv")]
    assert main([*asked, "--share", "0.9", "--share", "0.6"]) == ExitCode.DONE
    assert "refinedarm in 90%, 60% of pairs" in capsys.readouterr().out
    assert main([*asked, "--share", "0.9", "--share", "0.6", "--share", "0.5"]) == ExitCode.BAD_INPUT
    assert "is given 3 times for 2 questions" in capsys.readouterr().err
