"""Which parts a round adds, and that each is made once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vader_bench.pretrain import pool_parts
from vader_bench.pretrain.adversaries import Attack
from vader_bench.pretrain.learners import LEARNERS, ROUNDS
from vader_bench.pretrain.pool import as_floats, keep_part, known_part
from vader_bench.pretrain.pool_parts import Attacked, Oddities, Places, make, makers, open_pool
from vader_bench.seeding import numpy_stream


def test_every_part_has_a_name_of_its_own() -> None:
    names = [maker.name for round_ in range(ROUNDS) for maker in makers(round_)]
    assert len(set(names)) == len(names)
    assert all("/" not in name for name in names)


def test_the_first_round_has_samples_of_every_phase_of_both_models() -> None:
    groups = Counter(maker.group for maker in makers(0))
    assert set(groups) == {"samples", "mixtures", "textures"}
    names = {maker.name for maker in makers(0)}
    for base in ("text-to-video", "wan"):
        assert {f"samples-{base}-{phase}-10" for phase in ("frames", "clips", "guidance")} <= names
        assert f"latents-{base}" in names


@pytest.mark.parametrize("round_", range(1, ROUNDS))
def test_later_rounds_raise_every_reward_with_seeds_of_their_own(round_: int) -> None:
    attacks = [maker for maker in makers(round_) if isinstance(maker, Attacked)]
    assert len(attacks) == len(makers(round_))
    assert {maker.reward for maker in attacks} == set(LEARNERS)
    assert {maker.how.rate for maker in attacks} == {1e-3, 3e-3}
    earlier = {maker.how.seed for maker in makers(round_ - 1) if isinstance(maker, Attacked)}
    assert not earlier & {maker.how.seed for maker in attacks}
    assert min(maker.how.seed for maker in attacks) > 100  # experiments have one to a few seeds


@dataclass(frozen=True)
class Counted:
    """Makes grey clips and says how often."""

    calls: list[int]
    name: str = "counted"
    group: str = "grey"

    def make(self, places: Places) -> tuple[NDArray[np.uint8], Sequence[str]]:
        self.calls.append(1)
        return np.full((2, 8, 64, 64, 3), 128, np.uint8), ["a red cat spinning at night"] * 2


def test_a_part_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places, maker = Places(tmp_path, tmp_path), Counted([])
    monkeypatch.setattr(pool_parts, "makers", lambda _: [maker])
    with pytest.raises(ValueError, match="counted"):
        open_pool(0, tmp_path, "hps")
    make(maker, places)
    make(maker, places)
    assert len(maker.calls) == 1
    assert open_pool(0, tmp_path, "hps").draw(numpy_stream(0)).prompt == "a red cat spinning at night"


def test_a_reward_sees_more_of_what_raised_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = Attack(1e-3, 7000, (2,))
    attacks = [Attacked(1, reward, "wan", how, 1) for reward in ("hps", "aesthetic", "action")]
    monkeypatch.setattr(pool_parts, "makers", lambda round_: attacks if round_ else [])
    for maker in attacks:
        keep_part(tmp_path, maker.name, np.full((1, 8, 64, 64, 3), 128, np.uint8), [maker.reward])
    rng, pool = numpy_stream(0, "own"), open_pool(1, tmp_path, "hps")
    drawn = Counter(pool.draw(rng).prompt for _ in range(600))
    assert 350 < drawn["hps"] < 450  # a half, and a third of the other half
    assert 60 < drawn["action"] < 140


@pytest.mark.parametrize("kind", ["mixtures", "textures"])
def test_oddities_are_kept_with_what_they_show(kind: str, tmp_path: Path) -> None:
    make(Oddities(kind, 3), Places(tmp_path, tmp_path))
    part = known_part(tmp_path, kind)
    assert part is not None
    assert len(part) == len(part.seen) == 3
    assert as_floats(part.frames).std() > 0.05
