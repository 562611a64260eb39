"""Sides, prompts and repeats are balanced exactly, whatever the numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.studies import study_data
from vader_bench.errors import UserError
from vader_bench.human.config import StudyConfig
from vader_bench.human.package.design import Item, StudyDesign, StudyVideo, draw_design, opaque
from vader_bench.human.package.sources import Scene

ARMS = {"unrefined": "one", "refinedarm": "two", "third": "three"}


def scenes(prompts: int, samples: int = 1) -> list[Scene]:
    return [Scene(f"prompt {index}", sample) for index in range(prompts) for sample in range(samples)]


def config(**changes: object) -> StudyConfig:
    return StudyConfig.model_validate(study_data(**changes))


def main_items(design: StudyDesign) -> list[Item]:
    return [item for block in design.blocks for item in block.items if item.role == "main"]


def pair(item: Item) -> tuple[str, ...]:
    return tuple(sorted((item.left.arm, item.right.arm)))


def on_left(items: list[Item]) -> int:
    return sum(item.left.arm == pair(item)[0] for item in items)


@settings(max_examples=40, deadline=None)
@given(
    prompts=st.integers(2, 9),
    samples=st.integers(1, 2),
    arms=st.integers(2, 3),
    half=st.integers(1, 20),
    size=st.integers(2, 8),
    seed=st.integers(0, 5),
)
def test_any_design_is_balanced(
    prompts: int, samples: int, arms: int, half: int, size: int, seed: int
) -> None:
    study = config(
        arms=dict(list(ARMS.items())[:arms]),
        responses=2 * half,
        blocks={"items": size, "gold": 1, "repeats": 1},
        seed=seed,
    )
    design = draw_design(study, scenes(prompts, samples))
    groups: dict[object, list[Item]] = defaultdict(list)
    for item in main_items(design):
        assert item.left.scene == item.right.scene
        assert item.left.arm != item.right.arm
        groups[pair(item)].append(item)
        groups[pair(item), item.left.scene].append(item)
    for key, items in groups.items():
        assert abs(2 * on_left(items) - len(items)) <= len(items) % 2, key
    assert [len(groups[two]) for two in study.pairs] == [2 * half] * len(study.pairs)
    shown = Counter(pair(item) + tuple(item.left.scene) for item in main_items(design))
    assert max(shown.values()) - min(shown.values()) <= (2 * half >= len(scenes(prompts, samples)))
    _check_blocks(design, size)


def _check_blocks(design: StudyDesign, size: int) -> None:
    sizes = set()
    for block in design.blocks:
        main = [item for item in block.items if item.role == "main"]
        sizes.add(len(main))
        assert len({item.prompt for item in main}) == len(main), "a rater sees a prompt once"
        for two in {pair(item) for item in main}:
            members = [item for item in main if pair(item) == two]
            assert abs(2 * on_left(members) - len(members)) <= 1
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    ids = [item.id for block in design.blocks for item in block.items] + [block.id for block in design.blocks]
    assert len(set(ids)) == len(ids)


def test_repeats_are_swapped_and_come_later() -> None:
    design = draw_design(config(blocks={"items": 6, "gold": 0, "repeats": 2}, gold_arm=None), scenes(6))
    for block in design.blocks:
        places = {item.id: place for place, item in enumerate(block.items)}
        repeats = [item for item in block.items if item.role == "repeat"]
        assert len(repeats) == 2
        for item in repeats:
            assert item.repeats is not None
            first = block.items[places[item.repeats]]
            assert (item.left, item.right, item.prompt) == (first.right, first.left, first.prompt)
            assert places[item.id] >= places[first.id] + 2


@pytest.mark.parametrize("gold_arm", ["unrefined", None])
def test_the_answer_of_a_gold_item_is_right(gold_arm: str | None) -> None:
    blocks = {"items": 3, "gold": 1, "repeats": 0}
    design = draw_design(config(responses=48, blocks=blocks, gold_arm=gold_arm), scenes(8))
    golds = [item for block in design.blocks for item in block.items if item.role == "gold"]
    assert len(golds) == len(design.blocks)
    assert {item.gold for item in golds} == {"mismatch", "degraded"}
    assert {item.right_answer for item in golds} == {"L", "R"}
    for one, two in pairwise(golds):
        assert one.gold != two.gold, "kinds take turns"
    assert {item.left.arm for item in golds} == ({gold_arm} if gold_arm else {"unrefined", "refinedarm"})
    for item in golds:
        good, bad = (item.left, item.right) if item.right_answer == "L" else (item.right, item.left)
        assert good.apart == bad.apart == (gold_arm is not None)
        if gold_arm is not None:
            assert good.arm == bad.arm == gold_arm
        assert good.scene.prompt == item.prompt
        assert not good.spoiled
        assert bad.spoiled == (item.gold == "degraded")
        assert (bad.scene.prompt == item.prompt) == (item.gold == "degraded")


def sorted_by_golds(design: StudyDesign) -> tuple[list[StudyVideo], int]:
    """Return the most videos that whoever has all pages can sort into two arms, and how many rightly.

    Two videos of a gold pair are taken for one arm's, those of another pair for different arms', from pair
    to pair.
    """
    links: dict[StudyVideo, list[tuple[StudyVideo, bool]]] = defaultdict(list)
    for item in (item for block in design.blocks for item in block.items):
        for here, there in ((item.left, item.right), (item.right, item.left)):
            links[here].append((there, item.role == "gold"))
    groups, seen = [], set()
    for start in design.clips:
        found, todo = {}, [(start, True)]
        while todo:
            clip, side = todo.pop()
            if clip not in seen:
                seen.add(clip)
                found[clip] = side
                todo += [(other, side if same else not side) for other, same in links[clip]]
        groups.append(found)
    largest = max(groups, key=len)
    taken = [(clip.arm == next(iter(largest)).arm) == side for clip, side in largest.items()]
    return list(largest), max(sum(taken), len(taken) - sum(taken))


@pytest.mark.parametrize("gold_arm", ["unrefined", None])
def test_gold_pairs_do_not_sort_the_videos_of_other_pairs_into_two_arms(gold_arm: str | None) -> None:
    shares = []
    for seed in range(20):
        changes = {"responses": 48, "blocks": {"items": 4, "gold": 2, "repeats": 1}, "seed": seed}
        design = draw_design(config(gold_arm=gold_arm, **changes), scenes(12))
        linked, right = sorted_by_golds(design)
        if gold_arm is not None:  # copies link to copies, and the two videos of one scene to one another
            assert len({clip.scene for clip in linked if not clip.apart}) <= 1
        else:
            shares.append(right / len(linked))
    # with golds of one arm's own files nearly all videos were linked, and all rightly
    assert gold_arm is not None or sum(shares) / len(shares) < 0.85


def test_golds_are_of_prompts_that_the_block_does_not_show_while_there_are_some() -> None:
    for block in draw_design(config(responses=40), scenes(8)).blocks:
        main = {item.prompt for item in block.items if item.role == "main"}
        assert not main & {item.prompt for item in block.items if item.role == "gold"}


def test_the_seed_alone_decides() -> None:
    first = draw_design(config(), scenes(6))
    assert draw_design(config(), scenes(6)) == first
    other = draw_design(config(seed=8), scenes(6))
    assert not {block.id for block in first.blocks} & {block.id for block in other.blocks}


def test_four_prompts_carry_the_papers_hundred() -> None:
    design = draw_design(config(paper=True), scenes(4))
    assert len(design.blocks) == 25
    assert on_left(main_items(design)) == 50


def test_one_prompt_has_no_mismatch() -> None:
    with pytest.raises(UserError, match="has one prompt"):
        draw_design(config(), scenes(1))


def test_the_clips_are_those_shown() -> None:
    design = draw_design(config(), scenes(6))
    plain = [clip for clip in design.clips if not clip.spoiled and not clip.apart]
    assert len(plain) == 12
    assert design.clips == sorted(set(design.clips))


def test_opaque_names_depend_on_the_whole_seed() -> None:
    seeds = [2**200, 2**200 + 1, 2**201, 2**64, 0]
    assert len({opaque(seed, "block", 0) for seed in seeds}) == len(seeds)


def test_opaque_names_depend_on_everything() -> None:
    names = {opaque(seed, *parts) for seed in (1, 2) for parts in (("a", "bc"), ("ab", "c"), ("a", "b", "c"))}
    assert len(names) == 6
    assert all(len(name) == 20 and int(name, 16) >= 0 for name in names)
