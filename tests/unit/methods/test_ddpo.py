from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.benches import PROMPTS, MakeBench
from tests.support.stock_ddpo import StockDdpo
from vader_bench.diffusion.sampler import Sampler
from vader_bench.errors import UserError
from vader_bench.methods.ddpo import Ddpo, DdpoConfig
from vader_bench.methods.policy_gradient import RoundSamples, RoundSize, StepBatch

SMALL = {"batch_size": 4, "lora_rank": 2, "prompts_per_round": 2, "samples_per_prompt": 2}


def make(make_bench: MakeBench, guidance: float = 1.0, **settings: float) -> Ddpo:
    return Ddpo(DdpoConfig(**(SMALL | settings)), make_bench(guidance=guidance).bench)


@pytest.mark.parametrize(
    ("videos", "updates", "batch", "rows", "expected"),
    [
        (16, 2, 8, 8, (2, 8, 8, 1)),
        (16, 2, 16, 16, (2, 16, 8, 2)),
        (16, 2, 4, 4, (2, 4, 4, 1)),
        (8, 2, 8, 8, (2, 8, 4, 2)),
        (16, 2, 1, 40, (2, 1, 8, 5)),
        (16, 1, 16, 1, (1, 16, 1, 1)),
        (10, 2, 4, 4, (2, 2, 1, 2)),
        (12, 2, 4, 4, (2, 4, 3, 1)),
        (7, 2, 4, 4, (1, 1, 1, 2)),
        (3, 2, 8, 8, (1, 3, 3, 2)),
        (1, 2, 8, 8, (1, 1, 1, 5)),
        (2, 5, 8, 8, (2, 2, 1, 5)),
    ],
)
def test_a_round_is_cut_without_a_remainder(
    videos: int, updates: int, batch: int, rows: int, expected: tuple[int, int, int, int]
) -> None:
    size = RoundSize.of(videos, updates, batch, rows, timesteps=10)
    assert size == (videos, *expected)
    assert videos % size.sampled == videos // size.updates % size.trained == 10 % size.steps == 0
    assert size.sampled <= batch
    assert size.trained * size.steps <= rows


def test_videos_are_sampled_and_differentiated_in_batches_of_their_own(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = make_bench()
    denoise, calls = stand.backbone.denoise, []

    def spy(latents: torch.Tensor, timesteps: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        prediction = denoise(latents, timesteps, encoded)
        calls.append((len(latents), prediction.requires_grad))
        return prediction

    monkeypatch.setattr(stand.backbone, "denoise", spy)
    settings = SMALL | {"update_batch_size": 8, "updates_per_round": 2}
    stand.method("ddpo", **settings).step(64)
    assert calls == [(4, False)] * 4 + [(8, True)] * 2  # two videos, four steps each


def test_steps_that_share_a_call_have_the_same_gradient(make_bench: MakeBench) -> None:
    found = []
    for rows in (2, 4, 8, 16):
        method = make(make_bench, update_batch_size=rows, updates_per_round=1, max_grad_norm=1e9)
        gradients: list[torch.Tensor] = []

        def keep(*_: object, method: Ddpo = method, gradients: list[torch.Tensor] = gradients) -> None:
            gradients.extend(
                weight.grad.clone() for weight in method.lora.parameters() if weight.grad is not None
            )

        method.optimizer.register_step_pre_hook(keep)
        metrics = method.step(64)
        found.append((torch.cat([gradient.flatten() for gradient in gradients]), metrics))
    for gradient, metrics in found[1:]:
        torch.testing.assert_close(gradient, found[0][0], rtol=1e-4, atol=1e-6)
        assert metrics["loss"] == pytest.approx(found[0][1]["loss"], rel=1e-4, abs=1e-6)
    assert found[0][0].norm() > 0


@pytest.mark.parametrize(("allowance", "queries"), [(64, 4), (4, 4), (3, 3), (1, 1)])
def test_a_round_takes_its_queries_or_what_is_allowed(
    allowance: int, queries: int, make_bench: MakeBench
) -> None:
    stand = make_bench()
    stand.method("ddpo", **SMALL).step(allowance)
    assert stand.meter.ledger.reward_queries == queries
    assert stand.prompts.position == -(-queries // 2)


@pytest.mark.parametrize(
    ("settings", "updates", "backwards"),
    [
        ({"updates_per_round": 1}, 1, 16),
        ({"updates_per_round": 2}, 2, 16),
        ({"updates_per_round": 4}, 4, 16),
        ({"updates_per_round": 1, "inner_epochs": 3}, 3, 48),
        ({"updates_per_round": 2, "timestep_fraction": 0.5}, 2, 8),
        ({"updates_per_round": 1, "skip_last_steps": 1}, 1, 12),
        ({"updates_per_round": 1, "skip_last_steps": 2, "timestep_fraction": 0.5}, 1, 4),
        ({"updates_per_round": 2, "batch_size": 1}, 2, 16),
    ],
)
def test_updates_and_passes_are_as_configured(
    settings: dict[str, float], updates: int, backwards: int, make_bench: MakeBench
) -> None:
    method = make(make_bench, **settings)
    method.step(64)
    assert method.optimizer.state_dict()["state"][0]["step"] == updates
    assert method.bench.backbone._meter.ledger.denoiser_backwards == backwards


def test_a_cut_round_is_trained_on_whole(make_bench: MakeBench) -> None:
    method = make(make_bench)
    method.step(64)
    method.step(3)
    assert method.optimizer.state_dict()["state"][0]["step"] == 3
    assert method.bench.backbone._meter.ledger.denoiser_backwards == (4 + 3) * 4


def test_samples_of_a_prompt_stay_together_in_its_statistics(make_bench: MakeBench) -> None:
    method = make(make_bench)
    method.step(64)
    method.step(3)
    counts = {prompt: len(rewards) for prompt, rewards in method.own_state()["statistics"].items()}
    assert counts == {PROMPTS[0]: 2, PROMPTS[1]: 2, PROMPTS[2]: 2, PROMPTS[3]: 1}


def test_before_any_update_the_ratio_is_1(make_bench: MakeBench) -> None:
    """But for rounding: samples are drawn with merged adapters."""
    metrics = make(make_bench, updates_per_round=1).step(64)
    assert metrics["clip_fraction"] == 0
    assert metrics["unmoved_deviation"] == metrics["ratio_deviation"] < 1e-6
    assert metrics["approx_kl"] < 1e-12
    assert metrics["advantage_std"] > 0


def test_later_passes_move_the_ratio_and_are_clipped(make_bench: MakeBench) -> None:
    metrics = make(make_bench, updates_per_round=1, inner_epochs=3, learning_rate=1e-2).step(64)
    assert metrics["ratio_deviation"] > 1e-4
    assert metrics["clip_fraction"] > 0


@torch.no_grad()
def log_probs(method: Ddpo, samples: RoundSamples) -> torch.Tensor:
    """Return the log-probability [V, S] of each step of the samples under the policy as it is."""
    videos = torch.arange(len(samples.prompts))
    steps = [StepBatch(videos, torch.full_like(videos, step), None) for step in range(method.bench.steps)]
    return torch.stack(
        [method._log_probs(method._prediction(call, samples), call, samples) for call in steps], 1
    )


def test_updates_make_better_samples_likelier(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a round, the log-probability of its samples moved with their advantages."""
    method = make(make_bench, learning_rate=1e-3, updates_per_round=1, clip_range=1.0)
    kept: list[RoundSamples] = []
    sample = method._sample

    def keep(videos: int, at_once: int) -> RoundSamples:
        kept.append(sample(videos, at_once))
        return kept[0]

    monkeypatch.setattr(method, "_sample", keep)
    method.step(64)
    (samples,) = kept
    moved = (log_probs(method, samples) - samples.log_probs).sum(1)
    scores = samples.scores - samples.scores.mean()  # two a prompt are too few: normalised in the round
    assert (moved * scores).mean() > 0


def test_a_round_is_a_round_of_trls_trainer(make_bench: MakeBench) -> None:
    """Rounds with two updates and two passes, by trl's own loop, leave the same adapters."""
    settings = {"update_batch_size": 2, "inner_epochs": 2, "learning_rate": 1e-3, "clip_range": 1e-3}
    ours, bare = make(make_bench, guidance=2.0, **settings), make(make_bench, guidance=2.0, **settings)
    theirs = StockDdpo(bare, prompts_per_round=2, samples_per_prompt=2)
    for _ in range(3):
        ours.step(64)
        theirs.round()
    trained, expected = ours.lora.state(), bare.lora.state()
    for name, weight in trained.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-6, atol=1e-8)
    assert sum(weight.abs().sum() for name, weight in trained.items() if "lora_B" in name) > 0


def with_rounding_by_batch(make_bench: MakeBench, half_precision: bool, **settings: float) -> Ddpo:
    """Return DDPO over a denoiser that computes otherwise for another batch, as kernels of few digits do.

    Videos are sampled by four and trained on by two.
    """
    stand = make_bench(steps=5, half_precision=half_precision)
    denoise = stand.backbone.denoise

    def rounded(latents: torch.Tensor, timesteps: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        return denoise(latents, timesteps, encoded) * (1 + len(latents) / 500)

    stand.backbone.denoise = rounded  # type: ignore[method-assign]
    return Ddpo(DdpoConfig(**(SMALL | settings)), stand.bench)


def test_in_half_precision_ratios_compare_like_computations(make_bench: MakeBench) -> None:
    """No update moves a digit, in two passes of two updates: every ratio is 1, and nothing is clipped."""
    method = with_rounding_by_batch(make_bench, True, learning_rate=1e-30, inner_epochs=2)
    metrics = method.step(4)
    assert metrics["unmoved_deviation"] == metrics["approx_kl"] == metrics["clip_fraction"] == 0
    assert metrics["ratio_deviation"] < 1e-7, "but for kernels that ask for a graph"
    assert method.notes == []
    ledger = method.bench.backbone._meter.ledger
    assert ledger.denoiser_forwards == 4 * 5 * (1 + 2) + 4 * 5 * 3 / 2, (
        "three of four updates have references"
    )


def test_rounding_that_reaches_the_clip_range_is_noted(make_bench: MakeBench) -> None:
    method = with_rounding_by_batch(make_bench, False)
    metrics = [method.step(4) for _ in range(2)]
    assert min(each["unmoved_deviation"] for each in metrics) > 1e-5
    (note,) = method.notes
    assert note.endswith("was further from 1 than a tenth of the clip range 0.0001")
    resumed = with_rounding_by_batch(make_bench, False)
    resumed.load_state(method.state())
    assert resumed.notes == method.notes
    usual = make(make_bench)
    usual.step(64)
    assert usual.notes == []


def test_without_noise_there_is_no_policy(make_bench: MakeBench) -> None:
    with pytest.raises(UserError, match="gives no log-probability"):
        make_bench(eta=0.0).method("ddpo")


def test_a_fraction_below_one_step_is_refused(make_bench: MakeBench) -> None:
    with pytest.raises(
        UserError, match=r"timestep_fraction = 0.2: is no whole step of 4; choose at least 0.25"
    ):
        make_bench().method("ddpo", timestep_fraction=0.2)


@pytest.mark.parametrize("steps", [1, 3, 7, 11, 13, 14, 50, 999])
def test_the_fraction_that_a_refusal_advises_is_taken(steps: int) -> None:
    (fault,) = Ddpo.refusals(DdpoConfig(timestep_fraction=1e-4), steps=steps, gradient=False)
    advised = float(fault.remedy.removeprefix("choose at least "))
    assert list(Ddpo.refusals(DdpoConfig(timestep_fraction=advised), steps=steps, gradient=False)) == []
    assert advised < 1 / steps + 1e-4


def test_skipping_all_steps_is_refused(make_bench: MakeBench) -> None:
    with pytest.raises(UserError, match="skip_last_steps = 4: leaves none of 4 sampler"):
        make_bench().method("ddpo", skip_last_steps=4)


def test_skipped_steps_decide_nothing(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log-probability of the last step may be what it likes."""
    right = Sampler.log_prob

    def other(self: Sampler, prediction: Tensor, latents: Tensor, now: Tensor, reached: Tensor) -> Tensor:
        last = now == self.schedule.timesteps(self.steps)[-1]
        return torch.where(last, 3 * prediction.mean(), right(self, prediction, latents, now, reached))

    def trained(**settings: int) -> list[Tensor]:
        method = make(make_bench, updates_per_round=2, **settings)
        method.step(64)
        return [weight.detach().clone() for weight in method.lora.parameters()]

    whole, skipped = trained(), trained(skip_last_steps=1)
    monkeypatch.setattr(Sampler, "log_prob", other)
    assert all(map(torch.equal, trained(skip_last_steps=1), skipped))
    assert not all(map(torch.equal, trained(), whole))


def test_statistics_of_a_round_need_no_tracker(make_bench: MakeBench) -> None:
    method = make(make_bench, per_prompt_statistics=False)
    method.step(64)
    state = method.state()
    assert state["own"]["statistics"] == {}
    make(make_bench, per_prompt_statistics=False).load_state(state)


def test_nothing_is_written_printed_or_warned_of(
    make_bench: MakeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method = make(make_bench)
        for _ in range(3):
            method.step(4)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
