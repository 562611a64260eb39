"""Results folders with damaged records, reports and tables: what is made of them, or one clear line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzz import enter, examples, hold
from tests.support.fuzz_damage import NO_FILES, put, retold, torn
from tests.support.results import Invented, write_results
from vader_bench.errors import ExitCode
from vader_bench.records.record import Record
from vader_bench.records.record_file import write_record
from vader_bench.report import style
from vader_bench.stats import bootstrap

SMALL = Invented(
    rewards=("red",), methods=("vader", "ddpo"), seeds=(0, 1), budget=32, prompts=3, final_prompts=3
)
NAME = "vader-red-seed0"
VERDICTS = (ExitCode.DONE, ExitCode.RUN_FAILED, ExitCode.BAD_INPUT, ExitCode.MISSING)
"""Of ``compare``: results may differ."""


@pytest.fixture(autouse=True, scope="module")
def _quickly() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", 20)
        patch.setattr(bootstrap, "RESAMPLES", 100)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with its report; not changed."""
    folder = write_results(tmp_path_factory.mktemp("whole") / "fig7" / "tiny", SMALL)
    assert enter(["report", folder]).code == ExitCode.DONE
    (folder / "runs" / NAME / "metrics.jsonl").write_text('{"kind": "step", "queries": 2}\n', "utf-8")
    for name in ("config", "origin", "training"):
        (folder / "runs" / NAME / f"{name}.json").write_text("{}", "utf-8")
    return folder


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged; ``other`` stays whole."""
    return Path(shutil.copytree(whole, tmp_path / "fig7" / "tiny"))


@pytest.fixture(scope="module")
def record(whole: Path) -> Path:
    return whole / "runs" / NAME / "record.json"


def read_all(damaged: Path, whole: Path, name: str) -> None:
    """Do with the results all that reads records and draws nothing."""
    named = (name, NAME, str(damaged))
    hold("compare", damaged, whole, names=named, codes=VERDICTS)
    copies = damaged.parents[1] / "copies"
    hold("keep", damaged, copies / "copy", names=named, nothing_new=copies / "copy")
    shutil.rmtree(copies, ignore_errors=True)
    hold("index", damaged.parent)


@examples(15)
@given(data=st.data())
def test_records_of_another_form(damaged: Path, whole: Path, record: Path, data: st.DataObject) -> None:
    told = json.loads(record.read_bytes())
    put(damaged / "runs" / NAME / "record.json", data.draw(retold(told)))
    read_all(damaged, whole, "record.json")


@examples(8)
@given(data=st.data())
def test_records_by_column_of_another_form(
    damaged: Path, whole: Path, record: Path, data: st.DataObject
) -> None:
    path = damaged / "runs" / NAME / "record.json"
    write_record(path, Record.model_validate_json(record.read_bytes()))
    put(path, data.draw(retold(json.loads(path.read_bytes()))))
    read_all(damaged, whole, "record.json")


@examples(8)
@given(data=st.data(), version=st.integers(1, 4))
def test_older_records_of_another_form(
    damaged: Path, whole: Path, record: Path, data: st.DataObject, version: int
) -> None:
    told = json.loads(record.read_bytes()) | {"version": version, "extensions": [], "frontier": []}
    put(damaged / "runs" / NAME / "record.json", data.draw(retold(told)))
    read_all(damaged, whole, "record.json")


@examples(8)
@given(data=st.data())
def test_torn_records(damaged: Path, whole: Path, record: Path, data: st.DataObject) -> None:
    put(damaged / "runs" / NAME / "record.json", data.draw(torn(record.read_bytes())))
    read_all(damaged, whole, "record.json")


@examples(4)
@given(data=st.data())
def test_reports_of_damaged_records(damaged: Path, record: Path, data: st.DataObject) -> None:
    told = json.loads(record.read_bytes())
    put(damaged / "runs" / NAME / "record.json", data.draw(retold(told)))
    hold("report", damaged, names=("record.json", NAME, str(damaged)))


TABLES = ("provenance.json", "summary.csv", "experiment.yaml")


@pytest.mark.parametrize("name", TABLES)
@examples(8)
@given(data=st.data())
def test_torn_tables_of_a_report(damaged: Path, whole: Path, name: str, data: st.DataObject) -> None:
    put(damaged / name, data.draw(torn((whole / name).read_bytes())))
    read_all(damaged, whole, name)


@examples(12)
@given(data=st.data())
def test_a_provenance_of_another_form(damaged: Path, whole: Path, data: st.DataObject) -> None:
    told = json.loads((whole / "provenance.json").read_bytes())
    put(damaged / "provenance.json", data.draw(retold(told)))
    read_all(damaged, whole, "provenance.json")


OF_A_RUN = ("metrics.jsonl", "config.json", "origin.json", "training.json", "record.json")


@pytest.mark.parametrize("form", NO_FILES)
@pytest.mark.parametrize("name", [*TABLES, *(f"runs/{NAME}/{name}" for name in OF_A_RUN)])
def test_no_file_where_one_is_looked_for(damaged: Path, whole: Path, name: str, form: str) -> None:
    NO_FILES[form](damaged / name)
    read_all(damaged, whole, Path(name).name)


@examples(5)
@given(data=st.data())
def test_files_of_a_run_that_are_kept(damaged: Path, whole: Path, data: st.DataObject) -> None:
    for name in OF_A_RUN[:-1]:
        path = whole / "runs" / NAME / name
        put(damaged / "runs" / NAME / name, data.draw(torn(path.read_bytes())))
    read_all(damaged, whole, ".json")
