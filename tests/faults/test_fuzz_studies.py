"""Studies with people: study files, results files, plans and answers that are damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.answers import SHAPES, results_file, sheets_of
from tests.support.built import invented_study
from tests.support.fuzz import enter, examples, hold
from tests.support.fuzz_damage import NO_FILES, pickled, put, retold, torn
from tests.support.mutations import mutated
from tests.support.studies import write_study
from vader_bench.errors import ExitCode
from vader_bench.human.plan import KEY
from vader_bench.human.responses import RESPONSES

READ = ("package/plan.json", KEY, RESPONSES, "key/salt")
CELLS = [
    "=cmd|'/C calc'!A0", '"', '""', "\r", "a\nb", "\0", "x" * 200_000,
    ",", "{}", "[" * 5000, '{"v": 1, "v": 1}', "9" * 5000, "NaN", "\u202e",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was built and answered; not changed."""
    folder = tmp_path_factory.mktemp("study")
    built = invented_study(folder)
    put(folder / "results.csv", results_file("plain", sheets_of(built)))
    assert enter(["study", "ingest", built.folder, folder / "results.csv"]).code == ExitCode.DONE
    return built.folder


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "small"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Results files of the study by the platform's shape."""
    built = invented_study(tmp_path_factory.mktemp("again"))
    return {shape: results_file(shape, sheets_of(built)) for shape in SHAPES}


@examples(25)
@given(data=st.data())
def test_torn_results_files(
    whole: Path, tmp_path: Path, results: dict[str, bytes], data: st.DataObject
) -> None:
    shape = data.draw(st.sampled_from(SHAPES))
    put(tmp_path / "results.csv", data.draw(torn(results[shape])))
    hold("study", "ingest", whole, tmp_path / "results.csv", names=("results.csv",))


@examples(25)
@given(data=st.data())
def test_results_files_with_other_cells(
    whole: Path, tmp_path: Path, results: dict[str, bytes], data: st.DataObject
) -> None:
    lines = results[data.draw(st.sampled_from(SHAPES))].split(b"\n")
    number = data.draw(st.integers(0, len(lines) - 1))
    cells = lines[number].split(b'","')
    place = data.draw(st.integers(0, len(cells) - 1))
    odd = data.draw(st.sampled_from(CELLS)).encode("utf-8")
    cells[place] = data.draw(st.sampled_from([odd, b"\xe9", odd.replace(b'"', b'""'), cells[0].strip(b'"')]))
    lines[number] = b'","'.join(cells)
    put(tmp_path / "results.csv", b"\n".join(lines))
    hold("study", "ingest", whole, tmp_path / "results.csv", names=("results.csv",))


@pytest.mark.parametrize("name", READ[:3])
@examples(10)
@given(data=st.data())
def test_what_a_study_holds_in_another_form(
    damaged: Path, whole: Path, name: str, data: st.DataObject
) -> None:
    put(damaged / name, data.draw(retold(json.loads((whole / name).read_bytes()))))
    hold("study", "analyze", damaged, names=(Path(name).name, str(damaged)))


@pytest.mark.parametrize("name", READ)
@examples(6)
@given(data=st.data())
def test_what_a_study_holds_torn(
    damaged: Path, whole: Path, name: str, results: dict[str, bytes], data: st.DataObject
) -> None:
    put(damaged / name, data.draw(torn((whole / name).read_bytes())))
    put(damaged / "results.csv", results["plain"])
    hold("study", "analyze", damaged, names=(Path(name).name, str(damaged)))
    hold("study", "ingest", damaged, damaged / "results.csv", names=(Path(name).name, str(damaged)))


@pytest.mark.parametrize("form", NO_FILES)
@pytest.mark.parametrize("name", [*READ, "results.csv"])
def test_no_file_where_a_study_looks_for_one(
    damaged: Path, name: str, form: str, results: dict[str, bytes]
) -> None:
    put(damaged / "results.csv", results["plain"])
    NO_FILES[form](damaged / name)
    hold("study", "analyze", damaged)
    hold("study", "ingest", damaged, damaged / "results.csv")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a study whose videos are not there: nothing is encoded."""
    return write_study(tmp_path_factory.mktemp("file"))


@examples(60)
@given(data=st.data())
def test_study_files(study: Path, tmp_path: Path, data: st.DataObject) -> None:
    shutil.copy(study.parent / "prompts.txt", tmp_path)
    text = data.draw(mutated([study.read_text("utf-8")]))
    put(tmp_path / "study.yaml", text.encode("utf-8", "surrogatepass"))
    out = tmp_path / "out"
    hold(
        "study",
        "build",
        tmp_path / "study.yaml",
        "--out",
        out,
        names=("study", str(tmp_path)),
        nothing_new=out,
    )


@examples(25)
@given(data=st.data())
def test_torn_study_files_and_prompts(study: Path, tmp_path: Path, data: st.DataObject) -> None:
    for name in ("prompts.txt", "study.yaml"):
        shutil.copy(study.parent / name, tmp_path)
    name = data.draw(st.sampled_from(["prompts.txt", "study.yaml"]))
    put(tmp_path / name, data.draw(torn((study.parent / name).read_bytes())))
    hold("study", "build", tmp_path / "study.yaml", "--out", tmp_path / "out", names=(str(tmp_path),))


def test_code_in_a_study_file_is_not_run(study: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    for text in (
        f"!!python/object/apply:os.mkdir ['{made}']",
        f"study: !!python/object/apply:os.mkdir ['{made}']",
    ):
        put(tmp_path / "study.yaml", text.encode())
        assert hold("study", "build", tmp_path / "study.yaml").code == ExitCode.BAD_INPUT
    put(tmp_path / "study.yaml", pickled(made))
    assert hold("study", "build", tmp_path / "study.yaml").code == ExitCode.BAD_INPUT
    assert not made.exists()
