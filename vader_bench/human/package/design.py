"""Who sees what: pairs, sides, gold items, repeats and blocks, all drawn from the study's seed.

Every scene (prompt and noise) of a comparison is shown about equally often. A block goes to one rater and
shows a prompt once, golds apart where there are few prompts. Of each comparison exactly half of the answers
have either arm on the left; of each scene and of each comparison within a block, half but for an odd one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from vader_bench.errors import UserError
from vader_bench.human.config import GoldKind, StudyConfig
from vader_bench.human.package.sources import Scene
from vader_bench.human.plan import Role
from vader_bench.seeding import numpy_stream

__all__ = ["Block", "Item", "StudyDesign", "StudyVideo", "draw_design", "opaque"]


class StudyVideo(NamedTuple):
    """One video of the package."""

    arm: str
    scene: Scene
    spoiled: bool = False
    """Whether it is the heavily degraded copy of a gold item."""
    apart: bool = False
    """Whether it is a copy for gold items alone, encoded otherwise: where these are of one named arm, files
    that other pairs show as well would tell which videos of different prompts are of one arm."""


@dataclass(frozen=True)
class Item:
    """One pair of videos as one rater sees it."""

    id: str
    role: Role
    prompt: str
    left: StudyVideo
    right: StudyVideo
    gold: GoldKind | None = None
    right_answer: Literal["L", "R"] | None = None
    """Of a gold item: the answer to every question with this kind of gold."""
    repeats: str | None = None
    """Of a repeat: the id of the item it shows again."""


@dataclass(frozen=True)
class Block:
    """What one rater sees in one go."""

    id: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class StudyDesign:
    """All blocks of a study."""

    blocks: tuple[Block, ...]

    @property
    def clips(self) -> list[StudyVideo]:
        """Return the videos that are shown, sorted."""
        return sorted(
            {clip for block in self.blocks for item in block.items for clip in (item.left, item.right)}
        )


class _Showing(NamedTuple):
    """One answer wanted: a pair of arms on a scene."""

    pair: tuple[str, str]
    scene: Scene
    turn: int
    """Which of the scene's answers for this pair."""


def opaque(seed: int, *names: str | int) -> str:
    """Return a name (20 hex digits) that tells nothing of ``names`` to whoever lacks the seed.

    The key takes in the whole seed: a stream of random numbers would hold 63 bits of it.
    """
    key = hashlib.sha256(f"vader-bench names {seed}".encode()).digest()
    text = "\x1f".join(map(str, names))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:20]


def draw_design(study: StudyConfig, scenes: Sequence[Scene]) -> StudyDesign:
    """Return the blocks of ``study`` on ``scenes``.

    Raises:
        UserError: gold items of another prompt are wanted and there is one prompt only.
    """
    if "mismatch" in study.gold_kinds and study.blocks.gold and len({scene.prompt for scene in scenes}) < 2:
        raise UserError(f"study {study.study}", "has one prompt", "give several, or no `gold: mismatch`")
    showings = [showing for pair in study.pairs for showing in _showings(study, pair, scenes)]
    blocks = _fill(showings, study.blocks.items, numpy_stream(study.seed, "human", "blocks"))
    flipped = _sides(study, blocks)
    drawn = []
    for number, block in enumerate(blocks):
        rng = numpy_stream(study.seed, "human", "block", number)
        main = [_main(study.seed, showing, flipped[showing]) for showing in block]
        main = [main[index] for index in rng.permutation(len(main))]
        items = _with_repeats(study, main, rng)
        for gold in _golds(study, number, main, scenes):
            items.insert(int(rng.integers(1, len(items) + 1)), gold)
        drawn.append(Block(opaque(study.seed, "block", number), tuple(items)))
    return StudyDesign(tuple(drawn))


def _showings(study: StudyConfig, pair: tuple[str, str], scenes: Sequence[Scene]) -> list[_Showing]:
    """Return the answers wanted of ``pair``: as many of each scene, but for one more of some drawn ones."""
    each, more = divmod(study.responses_wanted, len(scenes))
    lucky = set(numpy_stream(study.seed, "human", "scenes", *pair).permutation(len(scenes))[:more].tolist())
    return [
        _Showing(pair, scene, turn)
        for index, scene in enumerate(scenes)
        for turn in range(each + (index in lucky))
    ]


def _fill(showings: Sequence[_Showing], size: int, rng: np.random.Generator) -> list[list[_Showing]]:
    """Return ``showings`` in blocks of at most ``size``, no prompt twice in one.

    The answers of a prompt go to the emptiest blocks, one each, so that blocks differ by one at most.
    """
    by_prompt: dict[str, list[_Showing]] = defaultdict(list)
    for showing in showings:
        by_prompt[showing.scene.prompt].append(showing)
    count = max(-(-len(showings) // size), *(len(group) for group in by_prompt.values()))
    blocks: list[list[_Showing]] = [[] for _ in range(count)]
    groups = list(by_prompt.values())
    for place in rng.permutation(len(groups)):
        group = groups[place]
        chance = rng.permutation(count)
        emptiest = sorted(range(count), key=lambda index: (len(blocks[index]), chance[index]))
        for index, turn in zip(emptiest, rng.permutation(len(group)), strict=False):
            blocks[index].append(group[turn])
    return blocks


def _sides(study: StudyConfig, blocks: Sequence[Sequence[_Showing]]) -> dict[_Showing, bool]:
    """Return whether each showing has the second arm of its pair on the left."""
    flipped: dict[_Showing, bool] = {}
    for pair in study.pairs:
        rng = numpy_stream(study.seed, "human", "sides", *pair)
        edges = [(showing, number) for number, block in enumerate(blocks) for showing in block]
        edges = [edge for edge in edges if edge[0].pair == pair]
        edges = [edges[index] for index in rng.permutation(len(edges))]
        split = _halves([(showing.scene, number) for showing, number in edges])
        turned = bool(rng.integers(2))
        flipped |= {showing: side != turned for (showing, _), side in zip(edges, split, strict=True)}
    return flipped


def _halves(edges: Sequence[tuple[Hashable, Hashable]]) -> list[bool]:
    """Return the edges of a two-sided graph in two halves, each with half of the edges at every node.

    An odd node gets one more of either half; the halves are equal where the number of edges is even. Odd
    nodes are joined to a spare node opposite; then every node is even, and the edges are walked in closed
    tours. A tour leaves a node as often as it comes: the halves are the edges walked from left to right and
    those walked back.
    """
    ends: list[tuple[Hashable, Hashable]] = [((0, left), (1, right)) for left, right in edges]
    at: dict[Hashable, list[int]] = defaultdict(list)
    for number, (left, right) in enumerate(ends):
        at[left].append(number)
        at[right].append(number)
    for node in [node for node, numbers in at.items() if len(numbers) % 2]:
        side = node[0] if isinstance(node, tuple) else None
        ends.append((node, (1, "spare", None)) if side == 0 else ((0, "spare", None), node))
        for end in ends[-1]:
            at[end].append(len(ends) - 1)
    forward: dict[int, bool] = {}
    for start in list(at):
        here = start
        while at[here]:
            number = at[here].pop()
            if number in forward:
                continue
            forward[number] = ends[number][0] == here
            here = ends[number][1] if forward[number] else ends[number][0]
    return [forward[number] for number in range(len(edges))]


def _main(seed: int, showing: _Showing, flipped: bool) -> Item:
    arms = showing.pair[::-1] if flipped else showing.pair
    left, right = (StudyVideo(arm, showing.scene) for arm in arms)
    name = opaque(seed, "item", *showing.pair, *showing.scene, showing.turn)
    return Item(name, "main", showing.scene.prompt, left, right)


def _with_repeats(study: StudyConfig, main: Sequence[Item], rng: np.random.Generator) -> list[Item]:
    """Return ``main`` with pairs of its first half again among its second half, sides swapped."""
    items = list(main)
    half = -(-len(main) // 2)
    for item in [main[index] for index in rng.permutation(half)[: study.blocks.repeats]]:
        name = opaque(study.seed, "repeat", item.id)
        again = Item(name, "repeat", item.prompt, item.right, item.left, repeats=item.id)
        items.insert(int(rng.integers(half + 1, len(items) + 1)) if len(items) > half else len(items), again)
    return items


def _gold_clip(study: StudyConfig, scene: Scene, rng: np.random.Generator) -> StudyVideo:
    """Return a video for a gold item: a copy of the arm that is named for them, or that of any arm.

    Arms are drawn for each video, so that two of one item need not be of one arm and link nothing.
    """
    if study.gold_arm is not None:
        return StudyVideo(study.gold_arm, scene, apart=True)
    arms = sorted(study.arms)
    return StudyVideo(arms[int(rng.integers(len(arms)))], scene)


def _golds(study: StudyConfig, number: int, main: Sequence[Item], scenes: Sequence[Scene]) -> list[Item]:
    """Return the gold items of block ``number``; kinds take turns over the blocks."""
    rng = numpy_stream(study.seed, "human", "gold", number)
    seen = {item.prompt for item in main}
    new = [scene for scene in scenes if scene.prompt not in seen]
    pool = new or list(scenes)  # with few prompts a block shows them all
    chosen = [pool[index] for index in rng.permutation(len(pool))]
    golds = []
    for turn in range(study.blocks.gold):
        kind = study.gold_kinds[(number * study.blocks.gold + turn) % len(study.gold_kinds)]
        scene = chosen[turn % len(chosen)]
        good = _gold_clip(study, scene, rng)
        if kind == "degraded":
            bad = good._replace(spoiled=True)
        else:
            others = [other for other in scenes if other.prompt != scene.prompt]
            bad = _gold_clip(study, others[int(rng.integers(len(others)))], rng)
        left = bool(rng.integers(2))
        pair = (good, bad) if left else (bad, good)
        name = opaque(study.seed, "gold", number, turn)
        golds.append(Item(name, "gold", scene.prompt, *pair, gold=kind, right_answer="L" if left else "R"))
    return golds
