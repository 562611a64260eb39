"""Simulated answers come in the format of real ones."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import replace

import pytest

from tests.support.built import made_study
from vader_bench.errors import UserError
from vader_bench.human.rehearsal.raters import even_raters
from vader_bench.human.rehearsal.simulate import COLUMNS, results_csv, simulate

BUILT = made_study()
RATERS = even_raters(1, BUILT.arms, ["text", "quality"])


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_block_is_answered_once_by_nobody_too_often() -> None:
    found = simulate(BUILT, RATERS, 6)
    assert [one.block for one in found] == list(BUILT.key.blocks)
    assert max(Counter(one.rater for one in found).values()) <= BUILT.plan.blocks.per_rater
    assert {one.rater for one in found} == {f"SIMULATED-{n}" for n in range(1, 7)}
    for one in found:
        assert [item.id for item in one.items] == [item.id for item in BUILT.key.blocks[one.block]]


def test_the_file_is_that_of_the_platform_with_the_pages_own_answers() -> None:
    found = simulate(BUILT, RATERS, 6)
    text = results_csv(BUILT, found)
    table = rows(text)
    assert tuple(table[0]) == COLUMNS
    assert text == results_csv(BUILT, simulate(BUILT, RATERS, 6)), "the same study gives the same file"
    for row, one in zip(table, found, strict=True):
        assert row["Turkle.Username"].startswith("SIMULATED-")
        assert row["Input.block_id"] == row["Answer.block_id"] == one.block
        page = json.loads(row["Answer.answers_json"])
        assert set(page) == {"v", "consent", "screen", "items"}
        assert page["consent"] == {"version": "1", "at": one.consent.at}
        for item, answered in zip(page["items"], one.items, strict=True):
            assert set(item) == {"id", "a", "ended", "frac", "err", "dims", "blur", "problem", "ms"}
            assert item["a"] == answered.answers
            assert item["dims"] == [[64, 48, 2.0]] * 2


def test_the_careless_do_not_watch_and_are_quick_and_a_broken_video_is_reported() -> None:
    careless = simulate(BUILT, replace(RATERS, careless=1.0), 6)
    items = [item for one in careless for item in one.items]
    assert max(max(item.watched) for item in items) < 0.5
    assert max(item.milliseconds for item in items) < 2001
    careful = [item for one in simulate(BUILT, RATERS, 6) for item in one.items]
    assert min(min(item.watched) for item in careful) == 1.0
    assert min(item.milliseconds for item in careful) > 2000
    broken = simulate(BUILT, replace(RATERS, broken=1.0), 6)
    page = json.loads(rows(results_csv(BUILT, broken))[0]["Answer.answers_json"])["items"][0]
    assert page["a"] == {"text": None, "quality": None}
    assert (page["problem"], page["err"], page["dims"][0]) == (1, [4, 0], [0, 0, 0])


def test_too_few_raters_are_refused() -> None:
    blocks = len(BUILT.key.blocks)
    least = -(-blocks // 3)
    simulate(BUILT, RATERS, least)
    with pytest.raises(UserError, match=f"too few for {blocks} blocks.*at least {least}"):
        simulate(BUILT, RATERS, least - 1)


def test_ties_only_where_they_are_a_choice() -> None:
    tied = replace(RATERS, ties=0.5, lapse=0.0)
    with pytest.raises(UserError, match="no choice in this study"):
        simulate(BUILT, tied, 6)
    found = simulate(made_study(ties=True), tied, 6)
    said = Counter(answer for one in found for item in one.items for answer in item.answers.values())
    assert said["T"] > 20
