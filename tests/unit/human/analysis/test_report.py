"""The folder of results: the same bytes each time, stamped where no person answered it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.support.built import ingest, made_study
from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.human.analysis.estimates import StudyAnalysis, analyse_study
from vader_bench.human.analysis.forest import forest_figure
from vader_bench.human.analysis.report import build_study_report, study_outputs
from vader_bench.human.analysis.words import findings, percent, quoted, rules, warnings
from vader_bench.human.plan import KEY, Built
from vader_bench.human.rehearsal.raters import even_raters, prefer
from vader_bench.human.rehearsal.simulate import simulate
from vader_bench.human.responses import REJECTED, RESPONSES, Ingested

BUILT = made_study(
    prompts=30,
    responses=60,
    questions=[
        {"id": "text", "text": "Which <b>video</b> matches the text better?", "gold": "mismatch"},
        {"id": "motion", "text": "Which video moves better?"},
    ],
    primary="motion",
)
ANSWERS = simulate(BUILT, prefer(even_raters(1, BUILT.arms, ["text", "motion"]), "vader", 0.8), 15)
NAMES = {
    "analysis.json", "table2.csv", "table2.md", "table2.tex", "responses.csv", "report.html", "forest.svg",
    "forest.png",
}  # fmt: skip


def outputs(ingested: Ingested, published: str | None = None) -> dict[str, bytes]:
    return study_outputs(analyse_study(ingested, BUILT, published), ingested, BUILT)


@pytest.fixture(scope="module")
def simulated() -> dict[str, bytes]:
    return outputs(ingest(BUILT, ANSWERS))


@pytest.fixture(scope="module")
def real() -> dict[str, bytes]:
    return outputs(ingest(BUILT, ANSWERS, simulated=False), BUILT.plan.digest)


def said(name: str, data: bytes, folder: Path) -> str:
    """Return the text of an output, that of a picture from its metadata."""
    if not name.endswith(".png"):
        return data.decode()
    (folder / name).write_bytes(data)
    with Image.open(folder / name) as picture:
        return str(picture.info.get("Title"))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_output_says_that_it_is_simulated_and_only_then(
    name: str, simulated: dict[str, bytes], real: dict[str, bytes], tmp_path: Path
) -> None:
    assert set(simulated) == set(real) == NAMES
    assert "SIMULATED" in said(name, simulated[name], tmp_path)
    accounts = "SIMULATED-"  # the names of these raters, which no output has either
    assert "SIMULATED" not in said(name, real[name], tmp_path)
    assert accounts not in said(name, simulated[name], tmp_path)


def words(analysis: StudyAnalysis) -> list[str]:
    return [text.get_text() for text in forest_figure(analysis, BUILT.plan).texts]


def test_the_picture_is_stamped_across() -> None:
    found = ingest(BUILT, ANSWERS)
    assert words(analyse_study(found, BUILT)) == ["SIMULATED"]
    assert words(analyse_study(found, BUILT, "0" * 64)) == ["SIMULATED\nEXPLORATORY"]
    assert words(analyse_study(ingest(BUILT, ANSWERS, simulated=False), BUILT)) == []


def test_the_picture_names_each_row_and_its_numbers() -> None:
    analysis = analyse_study(ingest(BUILT, ANSWERS), BUILT)
    (axes,) = forest_figure(analysis, BUILT.plan).axes
    labels = [text.get_text() for text in axes.texts]
    assert labels.count("vader over base") == 2
    assert "paper: VADER over ModelScope" not in labels
    assert "Which video moves better? (primary)" in labels
    for one in analysis.outcomes:
        assert percent(quoted(one.main)) in labels


def test_the_papers_numbers_stand_beside_the_papers_own_study_alone() -> None:
    analysis = analyse_study(ingest(BUILT, ANSWERS), BUILT)
    papers = replace(analysis, paper=True)
    (axes,) = forest_figure(papers, BUILT.plan).axes
    labels = [text.get_text() for text in axes.texts]
    assert labels.count("paper: VADER over ModelScope") == 1, "only the question that the paper has, too"
    here, there = (study_outputs(one, ingest(BUILT, ANSWERS), BUILT) for one in (analysis, papers))
    for name in ("report.html", "table2.md", "table2.tex"):
        assert b"paper, other models" in there[name], name
        assert b"other models" not in here[name], name
        assert b"VADER" not in here[name], name


def test_an_analysis_by_another_plan_is_exploratory_everywhere(tmp_path: Path) -> None:
    found = outputs(ingest(BUILT, ANSWERS, simulated=False), "0" * 64)
    for name, data in found.items():
        assert "EXPLORATORY" in said(name, data, tmp_path), name


def test_first_lines_warn_before_any_number(simulated: dict[str, bytes]) -> None:
    assert simulated["table2.md"].startswith(b"**SIMULATED: no person gave these answers")
    assert simulated["table2.tex"].startswith(b"% SIMULATED: ")
    assert b"\\caption{SIMULATED: " in simulated["table2.tex"]
    page = simulated["report.html"].decode()
    assert page.index("no person gave these answers") < page.index("was preferred to")
    assert "<title>SIMULATED: " in page


def test_the_table_for_print_keeps_the_share_and_its_p_value(real: dict[str, bytes]) -> None:
    head = next(line for line in real["table2.tex"].decode().splitlines() if line.startswith("question"))
    for title in (r"share of the first [95 \%]", "p (Holm)", "all accepted"):
        assert title in head
    assert head.count("&") == 4


def test_the_same_answers_give_the_same_files(simulated: dict[str, bytes]) -> None:
    assert outputs(ingest(BUILT, ANSWERS)) == simulated


def test_the_page_says_what_was_asked_and_found_and_escapes_it(real: dict[str, bytes]) -> None:
    page = real["report.html"].decode()
    assert "Which &lt;b&gt;video&lt;/b&gt; matches" in page
    assert "<b>video</b>" not in page
    assert "Which video moves better?” vader was preferred to base in" in page
    assert "a preference for vader is shown" in page
    assert "<svg" in page
    assert BUILT.plan.digest in page
    assert "The plan is the one that was published." in " ".join(page.split())
    for line in rules(BUILT.plan):
        assert line in page
    assert f"{BUILT.key.seed}" not in (page[: page.index("<svg")] + page[page.index("</svg>") :]).split()


def test_the_rules_say_their_limits_and_every_reason_to_leave_a_block_out() -> None:
    limits = BUILT.plan.exclusion.model_copy(update={"repeats_same": 0.4, "repeats_answers": 7})
    told = rules(BUILT.plan.model_copy(update={"exclusion": limits}))
    assert {
        "no question answered",
        "fewer than 40% of the repeated questions answered as before, of 7 or more that one person answered",
        "the same person having sent it before",
        "another person having answered it before, whose answers are used",
        "being rejected on the platform",
    } < set(told)


def test_the_json_holds_every_number_without_nan(real: dict[str, bytes]) -> None:
    found = json.loads(real["analysis.json"])
    analysis = analyse_study(ingest(BUILT, ANSWERS), BUILT)
    assert found["stamps"] == []
    assert b'"seed"' not in real["analysis.json"]
    assert found["published"] == found["plan_sha256"] == BUILT.plan.digest
    share = analysis.outcomes[0].main.share
    assert found["outcomes"][0]["main"]["share"]["wins"] == share.wins
    assert found["outcomes"][0]["main"]["share"]["clustered"]["low"] == share.clustered.low
    assert found["plan"]["questions"][1]["text"] == "Which video moves better?"


def test_findings_begin_with_the_primary_question_and_name_who_is_ahead() -> None:
    analysis = analyse_study(ingest(BUILT, ANSWERS, simulated=False), BUILT)
    first, second = findings(analysis, BUILT.plan)
    assert first.startswith("“Which video moves better?” vader was preferred to base in ")
    assert "matches the text" in second
    even = simulate(BUILT, even_raters(5, BUILT.arms, ["text", "motion"]), 15)
    none = findings(analyse_study(ingest(BUILT, even, simulated=False), BUILT), BUILT.plan)
    assert none[0].endswith("no preference is shown.")


def test_too_few_answers_and_raters_are_warned_of() -> None:
    few = analyse_study(ingest(BUILT, ANSWERS[:2]), BUILT)
    told = "\n".join(warnings(few))
    wanted = few.outcomes[0].main.share.responses
    assert f"{wanted} of the 60 answers that were planned count" in told
    assert "too few raters for a finding (2 raters" in told
    assert "one rater gave" in told
    assert "not compared with a published digest" in told
    whole = analyse_study(ingest(BUILT, ANSWERS, simulated=False), BUILT, BUILT.plan.digest)
    assert not any("planned" in line or "rejected" in line for line in warnings(whole))


def test_blocks_that_the_requester_rejected_are_warned_of() -> None:
    marked = [one.model_copy(update={"unused": [REJECTED]}) for one in ANSWERS[:2]] + ANSWERS[2:]
    told = warnings(analyse_study(ingest(BUILT, marked), BUILT))
    assert any(line.startswith("2 accepted blocks were rejected on the platform") for line in told)


def written(folder: Path, built: Built) -> None:
    """Write plan, key and answers as build and ingest do."""
    sealed = {"plan": built.plan.model_dump(mode="json"), "sha256": built.plan.digest}
    files.write_json(folder / "package" / "plan.json", sealed)
    files.write_json(folder / KEY, built.key.model_dump(mode="json"))
    files.write_json(folder / RESPONSES, ingest(built, ANSWERS).model_dump(mode="json"))


def test_a_folder_is_analysed_from_disk(tmp_path: Path, simulated: dict[str, bytes]) -> None:
    written(tmp_path, BUILT)
    report = build_study_report(tmp_path)
    assert {path.name for path in report.files} == NAMES
    assert {path.name: path.read_bytes() for path in report.files} == simulated
    (tmp_path / RESPONSES).unlink()
    with pytest.raises(UserError, match="study ingest"):
        build_study_report(tmp_path)
