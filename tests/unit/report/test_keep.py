"""The small copy has all that the same report needs, and leaves out what that report makes."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import pytest
import torch

from tests.support.results import Invented, write_results
from vader_bench.cli import main
from vader_bench.errors import ExitCode, UserError
from vader_bench.experiment.tuning.choice import CHOICE_NAME, TRIALS_NAME
from vader_bench.experiment.tuning.shown import FIGURE_NAME, SUMMARY_NAME
from vader_bench.files import read_json, write_bytes, write_json, write_text
from vader_bench.records.packed import stored, stored_digest
from vader_bench.records.record_file import read_record
from vader_bench.report import build_report
from vader_bench.report.index import write_index
from vader_bench.report.keep import keep
from vader_bench.videos import encode_mp4

WORLD = Invented(rewards=("red",), methods=("vader", "ddpo"), seeds=(1, 2))
VIDEO = "samples/heldout-0.mp4"
ADAPTER = "lora.safetensors"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with a report and all that runs leave beside their records."""
    folder = write_results(tmp_path_factory.mktemp("results") / "fig7" / "tiny", WORLD)
    for run in (folder / "runs").iterdir():
        write_bytes(run / VIDEO, encode_mp4(torch.zeros(2, 3, 16, 16)))
        for name in (ADAPTER, "adapters/4.safetensors", "measurements/a.json", "log.txt", "metrics.jsonl"):
            write_text(run / name, f"{run.name} {name}")
        write_json(run / "config.json", {"run": run.name})
    write_json(folder / "tracking.json", {})
    build_report(folder, command="vader-bench run <fig7>")
    return folder


@pytest.fixture(scope="module")
def kept(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kept") / "fig7" / "tiny"
    sizes = keep(results, out, adapters=["vader"])
    assert sizes.after < sizes.before
    return out


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_of_runs_stay_records_and_metrics_and_of_the_first_seed_the_videos(kept: Path) -> None:
    told = {"record.json.gz", "metrics.jsonl.gz", "config.json"}
    assert names(kept / "runs" / "ddpo-red-seed2") == told
    assert names(kept / "runs" / "ddpo-red-seed1") == told | {VIDEO}
    assert names(kept / "runs" / "vader-red-seed2") == told
    assert names(kept / "runs" / "vader-red-seed1") == told | {VIDEO, ADAPTER}


def test_they_are_what_they_were(results: Path, kept: Path) -> None:
    run = Path("runs/vader-red-seed1")
    for name in (VIDEO, ADAPTER):
        assert (kept / run / name).read_bytes() == (results / run / name).read_bytes()
    packed = (kept / run / "metrics.jsonl.gz").read_bytes()
    assert gzip.decompress(packed) == (results / run / "metrics.jsonl").read_bytes()
    assert (
        stored(kept / run / "record.json").stat().st_size < (results / run / "record.json").stat().st_size / 2
    )
    assert read_record(kept / run / "record.json") == read_record(results / run / "record.json")
    assert read_json(kept / run / "config.json") == {"run": "vader-red-seed1"}


def test_a_copy_of_the_copy_is_the_copy(kept: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    keep(kept, again, adapters=["vader"])
    assert names(again) == names(kept)
    for name in (name for name in names(kept) if name.endswith(".gz")):
        assert (again / name).read_bytes() == (kept / name).read_bytes()


def test_what_a_run_wrote_is_kept_where_an_older_packed_file_is_beside_it(
    results: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(results, tmp_path / "fig7" / "tiny"))
    run = Path("runs") / "vader-red-seed1"
    write_bytes(folder / run / "metrics.jsonl.gz", gzip.compress(b"old"))
    keep(folder, tmp_path / "out")
    packed = (tmp_path / "out" / run / "metrics.jsonl.gz").read_bytes()
    assert gzip.decompress(packed) == (folder / run / "metrics.jsonl").read_bytes()


def test_the_copy_makes_the_same_report(results: Path, kept: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    keep(results, out)
    beside = {path.name for path in out.iterdir() if path.is_file()}
    assert not any(name.endswith((".html", ".svg", ".pdf")) for name in beside)
    assert {"summary.md", "fig7.png", "samples.jpg", "experiment.yaml", "provenance.json"} <= beside
    made = build_report(out)
    for path in made.files:
        if path.name != "provenance.json":
            before, after = (results / path.name).read_bytes(), path.read_bytes()
            assert before == after or path.name == "report.html"  # which names the files of records
    assert 'href="runs/vader-red-seed1/record.json.gz"' in (out / "report.html").read_text("utf-8")


def test_the_command_leaves_out_the_sheet(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["keep", str(results), str(tmp_path / "out"), "--no-sheet", "--adapters", "ddpo"]
    assert main(asked) == ExitCode.DONE
    assert re.search(r"out: \d\.\d MB of \d\.\d MB", capsys.readouterr().out)
    assert (tmp_path / "out" / "runs" / "ddpo-red-seed1" / ADAPTER).exists()
    assert not (tmp_path / "out" / "samples.jpg").exists()
    assert "samples.jpg" not in read_json(tmp_path / "out" / "provenance.json")["outputs"]


def test_videos_can_be_left_out_and_their_picture_with_them(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["keep", str(results), str(out), "--no-videos"]) == ExitCode.DONE
    assert names(out / "runs" / "ddpo-red-seed1") == {"record.json.gz", "metrics.jsonl.gz", "config.json"}
    assert not list(out.rglob("samples*"))
    build_report(out)
    assert not (out / "samples.jpg").exists()
    for name in ("summary.md", "fig7.png"):
        assert (out / name).read_bytes() == (results / name).read_bytes()


def test_the_index_knows_the_copy_for_the_one_that_was_reported(kept: Path) -> None:
    page = write_index(kept.parents[1]).path.read_text("utf-8")
    assert "was changed since the report was made" not in page
    assert 'href="fig7/tiny/summary.md"' in page
    assert ".html" not in page.partition("</style>")[2]


def test_a_record_that_no_report_has_seen_is_still_told(results: Path, tmp_path: Path) -> None:
    provenance = results / "provenance.json"
    held = read_json(provenance)
    try:
        write_json(provenance, held | {"records": held["records"] | {"ddpo-red-seed1": "0" * 64}})
        keep(results, tmp_path / "out")
    finally:
        write_json(provenance, held)
    records = read_json(tmp_path / "out" / "provenance.json")["records"]
    assert records["ddpo-red-seed1"] == "0" * 64
    assert records["vader-red-seed1"] == stored_digest(tmp_path / "out/runs/vader-red-seed1/record.json")


def test_of_a_tuning_is_kept_what_it_needs_to_go_on(results: Path, tmp_path: Path) -> None:
    tuned = tmp_path / "tuned"
    said = {CHOICE_NAME, TRIALS_NAME, SUMMARY_NAME, f"{FIGURE_NAME}.png"}
    for name in (*said, f"{FIGURE_NAME}.svg"):
        write_text(tuned / name, name)
    run = "runs/vader-red-seed1"
    for name in ("config.json", "record.json", VIDEO):
        write_bytes(tuned / run / name, (results / run / name).read_bytes())
    keep(tuned, tmp_path / "out")
    assert names(tmp_path / "out") == {*said, f"{run}/config.json", f"{run}/record.json.gz"}


def test_what_cannot_be_kept_is_said(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is there already"):
        keep(results, tmp_path)
    with pytest.raises(UserError, match="has no report; make one with") as raised:
        keep(write_results(tmp_path / "unreported", WORLD), tmp_path / "out")
    assert raised.value.exit_code == ExitCode.MISSING
    with pytest.raises(UserError, match="nobody: is no arm with a record"):
        keep(results, tmp_path / "out", adapters=["nobody"])
    assert not (tmp_path / "out").exists()


def test_adapters_that_are_not_there_are_said_to_be_missing(results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fig7" / "tiny"
    shutil.copytree(results, folder)
    (folder / "runs" / "ddpo-red-seed1" / ADAPTER).unlink()
    with pytest.raises(UserError, match="ddpo: has no adapters of seed 1 to keep"):
        keep(folder, tmp_path / "out", adapters=["vader", "ddpo"])
    assert not (tmp_path / "out").exists()
    keep(folder, tmp_path / "out", adapters=["vader"])


def test_where_keeping_fails_no_half_copy_is_left(results: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(results, tmp_path / "whole"))
    run = next((copy / "runs").iterdir())
    for path, data, said in (
        (run / "config.json", b"[1]", "is not a table"),
        (run / "config.json", b'{"a": NaN}', "not finite"),
        (copy / "provenance.json", b"{}", "is not as a report writes it"),
        (copy / "experiment.yaml", None, "does not exist"),
    ):
        before = path.read_bytes()
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(UserError, match=said):
            keep(copy, tmp_path / "out" / "copy")
        assert list((tmp_path / "out").glob("*")) == []
        path.write_bytes(before)
    keep(copy, tmp_path / "out" / "copy")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["copy"]


def test_a_report_cannot_name_files_outside_of_its_folder(results: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(results, tmp_path / "whole" / "tiny"))
    (tmp_path / "secret.csv").write_text("secret", "utf-8")
    told = read_json(copy / "provenance.json")
    told["outputs"]["../../secret.csv"] = "1"
    write_json(copy / "provenance.json", told)
    with pytest.raises(UserError, match="is no name of a file"):
        keep(copy, tmp_path / "a" / "b" / "copy")
    assert not (tmp_path / "a" / "secret.csv").exists()
