"""``study`` as a user gives it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tests.support.answers import Sheet, results_file, sheets_of
from tests.support.built import invented_study
from tests.support.studies import write_clip, write_study
from vader_bench.cli import main
from vader_bench.cli.study._options import liking, planted
from vader_bench.errors import ExitCode, UserError
from vader_bench.human.rehearsal.raters import Raters
from vader_bench.human.responses import load_ingested

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "human_eval" / "studies" / "pocket-aesthetic.yaml"


def test_the_example_is_built_from_the_committed_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", "build", str(EXAMPLE)]) == ExitCode.DONE
    said = capsys.readouterr().out.splitlines()
    folder = Path("human_eval/packages/pocket-aesthetic")
    digest = json.loads((folder / "package" / "plan.json").read_text("utf-8"))["sha256"]
    # two arms of four prompts, three spoiled ones, and the base model's four again, as gold videos
    assert said[0] == "pocket-aesthetic: 24 answers a question, 15 videos"
    assert said[1] == "  6 blocks, one rater each, by at least 2 people"
    assert said[2] == "  pays 18.00 USD an hour, 3.60 USD in all, without fees"
    assert said[3] == f"  plan SHA-256 {digest}: publish it before the first answer"
    starts = [
        "with 2 people (the fewest) on 4 prompts: no interval and no finding, which take 3 of each",
        "with 6 people (one block each): an interval, and a preference of 60% is found with power 0.",
        "the rule on one side can leave nobody out",
        "warning: 4 prompts are few",
        "warning: one person may give 50% of the answers",
        "warning: about 16 of 24 answers a question (67%) would be paid and not count",
        "warning: the consent is not filled in: who, ethics, contact",
        "warning: the seed is short",
    ]
    assert [line[2 : 2 + len(start)] for line, start in zip(said[4:12], starts, strict=True)] == starts
    assert said[12:] == [
        f"contact sheet: {folder / 'key' / 'contact-sheet.html'}; see that each video shows its prompt",
        f"package: {folder / 'package'}",
        f"key: {folder / 'key' / 'key.json'}; it tells the arms apart, so never upload it",
    ]
    for path in (folder / "package").rglob("*"):
        data = path.read_bytes().lower() if path.is_file() else b""
        for method in (b"vader", b"ddpo", b"dpo-", b"aesthetic", b"pocket"):
            assert method not in data, (path, method)
            assert method not in path.name.encode()


def test_a_study_is_begun_and_built_by_two_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for index in range(3):
        write_clip(Path("untouched") / f"{index}.mp4", 40 + index)
        write_clip(Path("trained") / f"{index}.mp4", 120 + index)
    Path("prompts.txt").write_text("a red car\na blue book\na green cat\n")
    arguments = ["study", "init", "untouched", "trained", "prompts.txt", "--out", "my study.yaml"]
    assert main(arguments) == ExitCode.DONE
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "wrote my study.yaml: fill in what is in CAPITALS, then",
        "  vader-bench study build 'my study.yaml'",
    ]
    assert main(["study", "build", "my study.yaml", "--out", "out"]) == ExitCode.DONE
    assert (tmp_path / "out" / "my-study" / "package" / "batch.csv").exists()
    assert main(arguments) == ExitCode.BAD_INPUT


def test_videos_are_made_again_from_the_adapters_of_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = ROOT / "results" / "reference" / "fig7" / "pocket" / "runs"
    arms = {"unrefined": str(runs / "base-hps-seed1"), "refinedarm": str(runs / "vader-hps-seed1")}
    lines = ["a red dog running in the park", "a blue cat jumping on the beach"]
    blocks = {"items": 2, "gold": 1, "repeats": 0}
    study = write_study(tmp_path, lines=lines, arms=arms, samples=2, blocks=blocks)
    command = ["study", "build", str(study), "--out", str(tmp_path / "out")]
    assert main(command) == ExitCode.DONE
    built = tmp_path / "out" / "small"
    names = ["0-0.mp4", "0-1.mp4", "1-0.mp4", "1-1.mp4"]
    for arm in arms:
        assert sorted(path.name for path in (built / "footage" / arm).glob("*.mp4")) == names
    key = json.loads((built / "key" / "key.json").read_text("utf-8"))
    shown = {(v["arm"], v["prompt"], v["sample"]) for v in key["videos"].values() if not v["spoiled"]}
    assert shown == {(arm, prompt, sample) for arm in arms for prompt in lines for sample in (0, 1)}
    first = capsys.readouterr().out
    assert main(command) == ExitCode.DONE
    assert capsys.readouterr().out == first


def test_runs_that_were_sampled_otherwise_are_refused_before_any_video_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = ROOT / "results" / "reference"
    arms = {
        "unrefined": str(reference / "fig7" / "pocket" / "runs" / "base-hps-seed1"),
        "refinedarm": str(reference / "fig9" / "pocket-i2v" / "runs" / "vader-temporal-consistency-seed1"),
    }
    study = write_study(tmp_path, arms=arms, samples=1)
    assert main(["study", "build", str(study), "--out", str(tmp_path / "out")]) == ExitCode.BAD_INPUT
    assert "arms.refinedarm: has another backbone than unrefined" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_adapters_that_are_missing_are_told_before_any_video_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = ROOT / "results" / "reference" / "fig7" / "pocket" / "runs"
    arms = {"unrefined": str(runs / "base-hps-seed1"), "refinedarm": str(runs / "ddpo-hps-seed1")}
    study = write_study(tmp_path, arms=arms, samples=1)
    assert main(["study", "build", str(study), "--out", str(tmp_path / "out")]) == ExitCode.MISSING
    assert "ddpo-hps-seed1/lora.safetensors: is not there" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.mp4"))


def test_the_papers_number_is_an_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_study(tmp_path, clips=True)
    assert main(["study", "build", str(study), "--out", str(tmp_path / "out"), "--paper"]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("small: 100 answers a question")


def test_all_faults_are_reported_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_study(tmp_path, responses=7, colour="red", pay={"reward": -1})
    assert main(["study", "build", str(study)]) == ExitCode.BAD_INPUT
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 3
    for part in ("responses: is 7", "colour: is not a known key", "pay.reward: is -1"):
        assert part in told


def test_results_are_ingested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = invented_study(tmp_path)
    first, *rest = sheets_of(built)
    again = dataclasses.replace(first, assignment="again", submitted="Wed Nov 25 05:00:00 PST 2026")
    broken = dataclasses.replace(first, assignment="broken", answers="{")
    path = tmp_path / "Batch_1.csv"
    path.write_bytes(results_file("tasks", [first, *rest, again, broken]))
    assert main(["study", "ingest", str(built.folder), str(path)]) == ExitCode.DONE
    folder = built.folder
    assert capsys.readouterr().out.splitlines() == [
        "small: 8 rows read",
        "  accepted 7, of which used 6",
        "    not used 1: the same person sent this block before",
        "    not paid 1: the same person sent this block before",
        "  refused 1",
        "    1: answers_json is not JSON",
        f"wrote {folder / 'private' / 'review-Batch_1.csv'}",
        f"wrote {folder / 'responses' / 'refused.csv'}",
        f"wrote {folder / 'responses' / 'responses.json'}",
        f"{folder / 'private'} names accounts: never publish it",
    ]
    assert len(load_ingested(folder).used) == 6


def test_what_the_requester_rejected_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = invented_study(tmp_path)
    first, *rest = sheets_of(built)
    path = tmp_path / "r.csv"
    path.write_bytes(results_file("plain", [dataclasses.replace(first, status="Rejected"), *rest]))
    assert main(["study", "ingest", str(built.folder), str(path)]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert "    not used 1: rejected on the platform\n" in said
    assert (
        "  warning: 1 accepted block was rejected on the platform and so left out: somebody decided" in said
    )


def test_simulated_answers_are_stamped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = invented_study(tmp_path)
    path = tmp_path / "r.csv"
    sheets = [dataclasses.replace(sheet, account=f"SIMULATED-{sheet.account}") for sheet in sheets_of(built)]
    path.write_bytes(results_file("turkle", sheets))
    assert main(["study", "ingest", str(built.folder), str(path)]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("SIMULATED: ")


def test_a_share_of_no_arm_is_refused(tmp_path: Path) -> None:
    built = invented_study(tmp_path)
    with pytest.raises(UserError, match="--share: is given without an arm; add --prefer "):
        planted(built, Raters(1, {}), None, [0.9])
    assert liking("vader", []) == "vader in 65% of pairs"
    assert liking(None, []) == "no arm"


def test_a_file_without_an_answer_leaves_what_was_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = invented_study(tmp_path)
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_bytes(results_file("plain", sheets_of(built)))
    bad.write_bytes(results_file("plain", [Sheet("other", "A", "1", "{}")]))
    assert main(["study", "ingest", str(built.folder), str(good)]) == ExitCode.DONE
    before = load_ingested(built.folder)
    capsys.readouterr()
    assert main(["study", "ingest", str(built.folder), str(bad)]) == ExitCode.BAD_INPUT
    told = capsys.readouterr()
    assert "1: it answers a block that is not of this study" in told.out
    assert "hold no answer to this study" in told.err
    assert load_ingested(built.folder) == before
