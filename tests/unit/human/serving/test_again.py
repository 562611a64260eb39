"""What is given out again follows from the answers as they were read, and from nothing older."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.answers import Sheet, perfect, results_file
from tests.support.built import invented_study
from vader_bench.errors import UserError
from vader_bench.human.ingest.ingest import ingest, load_salt, write_outcome
from vader_bench.human.ingest.results_file import read_results
from vader_bench.human.plan import Built
from vader_bench.human.serving.again import blocks_again


@pytest.fixture
def built(tmp_path: Path) -> Built:
    return invented_study(tmp_path)


def write(built: Built, name: str, *answers: tuple[str, str, bool]) -> Path:
    """Write a results file of accounts and blocks, each answered well or in a way that is refused."""
    sheets = [
        Sheet(block, account, f"{name}{number}", perfect(built, block) if good else {})
        for number, (account, block, good) in enumerate(answers)
    ]
    path = built.folder / name
    path.write_bytes(results_file("turkle", sheets))
    return path


def read(built: Built, *paths: Path) -> None:
    write_outcome(
        built.folder, ingest(built, [read_results(path) for path in paths], load_salt(built.folder))
    )


def test_blocks_are_needed_again_of_which_no_answer_is_used(built: Built) -> None:
    one, two, three, *_ = built.key.blocks
    results = write(built, "results.csv", ("a", one, True), ("b", two, False), ("c", three, False))
    read(built, results)
    assert blocks_again(built, results) == sorted([two, three])
    elsewhere = write(built, "elsewhere.csv", ("d", three, True))
    read(built, elsewhere, results)
    assert blocks_again(built, results) == [two]


def test_a_block_is_replaced_once_a_second_answer_is_used(built: Built) -> None:
    one, two, *_ = built.key.blocks
    results = write(built, "results.csv", ("a", one, True), ("b", two, False), ("c", two, True))
    read(built, results)
    assert blocks_again(built, results) == []


def test_answers_that_were_not_read_come_first(built: Built) -> None:
    one, two, *_ = built.key.blocks
    results = write(built, "results.csv", ("a", one, True))
    with pytest.raises(UserError, match="has no answers yet"):
        blocks_again(built, results)
    read(built, results)
    assert blocks_again(built, results) == []
    results = write(built, "results.csv", ("a", one, True), ("b", two, False))
    with pytest.raises(UserError, match="holds other answers than `study ingest` has read"):
        blocks_again(built, results)
