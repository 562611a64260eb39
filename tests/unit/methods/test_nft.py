"""NFT: the model that samples, and which way the loss pulls."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.support.benches import MakeBench
from vader_bench.methods.groups import sample_groups
from vader_bench.methods.nft import Nft, NftConfig, contrasted_loss, goodness

SMALL = {
    "batch_size": 4,
    "lora_rank": 2,
    "learning_rate": 1e-2,
    "prompts_per_round": 2,
    "samples_per_prompt": 2,
}


def weights(method: Nft) -> list[Tensor]:
    return [weight.detach().clone() for weight in method.lora.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_goodness_is_the_advantage_in_units_of_its_clip() -> None:
    found = goodness(torch.tensor([-9.0, -5.0, 0.0, 2.5, 5.0, 9.0]), 5.0)
    assert found.tolist() == [0.0, 0.0, 0.5, 0.75, 1.0, 1.0]


def test_a_good_sample_pulls_the_better_model_and_a_bad_one_the_worse() -> None:
    better, worse = (torch.full((1, 1, 1, 1, 1), value, requires_grad=True) for value in (0.2, 0.6))
    clean = torch.ones(1, 1, 1, 1, 1)
    for good, other, r in ((better, worse, 1.0), (worse, better, 0.0)):
        found = torch.autograd.grad(
            contrasted_loss(better, worse, clean, torch.tensor([r]), 1.0), (good, other)
        )
        assert found[0].item() == pytest.approx(-2.0)  # 2 |x - 1| / |x - 1| downwards, whatever the distance
        assert found[1].item() == 0.0


def test_the_old_model_samples_and_the_trained_one_is_left_as_it_was(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Nft(NftConfig(**SMALL, old_decay_rate=0.5, old_decay_limit=0.5), make_bench().bench)
    method.step(4)
    old, trained = [weight.clone() for weight in method._old], weights(method)
    assert not same(old, trained)
    seen: list[list[Tensor]] = []
    plain = type(method.sampler).plain

    def watched(*given: object, **named: object) -> Tensor:
        seen.append(weights(method))
        return plain(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(type(method.sampler), "plain", watched)
    with method._old_model():
        sample_groups(method, 4, 2)
    assert same(weights(method), trained)
    method.step(4)
    assert len(seen) == 2
    assert all(same(one, old) for one in seen)


@pytest.mark.parametrize(("rate", "limit", "kept"), [(0.0, 0.5, 0.0), (0.25, 0.9, 0.25), (10.0, 0.4, 0.4)])
def test_the_old_model_follows(make_bench: MakeBench, rate: float, limit: float, kept: float) -> None:
    """After one update it keeps the rate, or the limit where that is less."""
    method = Nft(NftConfig(**SMALL, old_decay_rate=rate, old_decay_limit=limit), make_bench().bench)
    before = weights(method)
    method.step(4)
    expected = [kept * was + (1 - kept) * now for was, now in zip(before, weights(method), strict=True)]
    for found, wanted in zip(method._old, expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_every_video_is_trained_on_at_each_timestep_once(make_bench: MakeBench) -> None:
    method = Nft(NftConfig(**SMALL, updates_per_round=2), make_bench(steps=4).bench)
    parts = method._parts(3, torch.device("cpu"))
    assert [len(rows) for rows, _ in parts] == [6, 6]
    pairs = {(int(row), int(time)) for rows, times in parts for row, time in zip(rows, times, strict=True)}
    ladder = method.bench.backbone.schedule.timesteps(4).tolist()
    assert pairs == {(row, time) for row in range(3) for time in ladder}


def test_a_round_makes_as_many_updates_as_are_asked_for(make_bench: MakeBench) -> None:
    """Twelve steps of videos, cut into five: parts of three would be four."""
    method = Nft(NftConfig(**SMALL, updates_per_round=5), make_bench(steps=4).bench)
    assert sorted(len(rows) for rows, _ in method._parts(3, torch.device("cpu"))) == [2, 2, 2, 3, 3]


def test_without_its_weight_the_base_model_is_not_asked(make_bench: MakeBench) -> None:
    calls = []
    for weight in (0.0, 1e-4):
        stand = make_bench(steps=4)
        Nft(NftConfig(**SMALL, kl_weight=weight), stand.bench).step(4)
        calls.append(stand.meter.ledger.denoiser_forwards)
    assert calls == [4 * 4 * 3, 4 * 4 * 4]
