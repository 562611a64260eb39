from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.support.benches import MakeBench, RedReward
from vader_bench.backbones import Backbone
from vader_bench.budget import ledger, metering
from vader_bench.budget.ledger import Budget, BudgetExceededError, Meter
from vader_bench.budget.metering import PLAIN_ATTENTION, FlopTable
from vader_bench.errors import UserError
from vader_bench.rewards.base import Judgement, Reward
from vader_bench.seeding import torch_stream


class Linear(RedReward):
    """A reward with one matrix product, so that it costs FLOPs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.ones(3 * 8 * 8, 2)

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        score = (video.flatten(2) @ self.weight).mean((1, 2))
        return Judgement(score, score)


class Broken(RedReward):
    """A reward whose chosen part is not a number for the second video."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part = part

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        judgement = super().judge(video, prompts)
        bad = torch.where(torch.arange(len(video)) == 1, torch.nan, getattr(judgement, self.part))
        return judgement._replace(**{self.part: bad})


LATENTS = torch.randn(3, 4, 4, 4, 4, generator=torch_stream(0, "latents"))
TIMES = torch.tensor([999, 500, 3])
PROMPTS = ["a", "b", "c"]


def test_calls_are_counted_by_video_and_frame(make_bench: MakeBench) -> None:
    stand = make_bench()
    backbone, spent = stand.bench.backbone, stand.meter.ledger
    with torch.no_grad():
        backbone.denoise(LATENTS, TIMES, backbone.encode(PROMPTS))
        video = backbone.decode(LATENTS, [0, 3])
        stand.bench.reward.judge(video, PROMPTS)
    assert (spent.denoiser_forwards, spent.denoiser_backwards) == (3, 0)
    assert spent.vae_decodes == spent.frames_scored == 6
    assert (spent.reward_queries, spent.gradient_queries) == (3, 0)
    backbone.decode(LATENTS)
    assert spent.vae_decodes == 6 + 12


def test_a_backward_is_charged_when_it_happens(make_bench: MakeBench) -> None:
    stand = make_bench()
    backbone, spent = stand.bench.backbone, stand.meter.ledger
    output = backbone.denoise(LATENTS.clone().requires_grad_(), TIMES, backbone.encode(PROMPTS))
    forward = spent.flops
    assert spent.denoiser_backwards == 0
    output.sum().backward()
    assert spent.denoiser_backwards == 3
    assert spent.flops > forward


def test_flops_are_those_of_the_counter_of_pytorch(make_bench: MakeBench) -> None:
    stand = make_bench(Linear(), count_flops=True)
    backbone, reward = stand.bench.backbone, stand.bench.reward
    backbone.add_adapters(2, torch_stream(0, "lora"))
    encoded = backbone.encode(PROMPTS)

    def work() -> None:
        with torch.no_grad():
            latents = backbone.denoise(LATENTS, TIMES, encoded)
        latents = backbone.denoise(latents, TIMES, encoded)
        latents = backbone.denoise(latents, TIMES, encoded)
        reward.judge(backbone.decode(latents, [1, 2]), PROMPTS).objective.sum().backward()

    work()  # counts each kind of call once
    before = stand.meter.ledger.flops
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    assert stand.meter.ledger.flops - before == before == counter.get_total_flops()


def test_a_denoiser_without_its_adapters_is_counted_as_what_it_is(make_bench: MakeBench) -> None:
    stand = make_bench(count_flops=True)
    backbone, spent = stand.bench.backbone, stand.meter.ledger
    lora = backbone.add_adapters(2, torch_stream(0, "lora"))
    encoded = backbone.encode(PROMPTS)
    with torch.no_grad():
        backbone.denoise(LATENTS, TIMES, encoded)
        adapted = spent.flops
        with lora.disabled():
            backbone.denoise(LATENTS, TIMES, encoded)
    assert 0 < spent.flops - adapted < adapted


def test_counting_is_neither_charged_nor_timed(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = make_bench(count_flops=True)
    calls: list[int] = []

    def denoise(*args: Tensor) -> Tensor:
        calls.append(len(args[0]))
        return args[0]

    monkeypatch.setattr(stand.backbone, "denoise", denoise)
    monkeypatch.setattr(ledger, "perf_counter", lambda: float(len(calls)))  # a call takes a second
    with stand.meter.running():
        stand.bench.backbone.denoise(LATENTS, TIMES, torch.zeros(3, 1, 1))
        stand.bench.backbone.denoise(LATENTS, TIMES, torch.zeros(3, 1, 1))
    assert calls == [1, 3, 3]  # one video to count, then the method's calls
    assert stand.meter.ledger.denoiser_forwards == 6
    assert stand.meter.ledger.device_seconds == 2.0


def test_no_network_is_handed_out(make_bench: MakeBench) -> None:
    """A method could call one without being charged."""
    bench = make_bench().bench
    for part in (bench, bench.backbone, bench.reward):
        public = {name: getattr(part, name) for name in dir(part) if not name.startswith("_")}
        networks = [
            name for name, value in public.items() if isinstance(value, nn.Module | Backbone | Reward)
        ]
        assert networks == []


class Remembering(Linear):
    """A reward that notices every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, list[str]]] = []

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        self.calls.append((len(video), list(prompts)))
        return super().judge(video, prompts)


def test_a_reward_is_called_by_nobody_but_the_method(make_bench: MakeBench) -> None:
    reward = Remembering()
    stand = make_bench(reward, count_flops=True)
    video = torch.rand(3, 4, 3, 8, 8, generator=torch_stream(0, "video"))
    for gradient in (False, True):
        stand.bench.reward.judge(video.clone().requires_grad_(gradient), PROMPTS)
    assert reward.calls == [(3, PROMPTS)] * 2
    product = 2 * 3 * 4 * (3 * 8 * 8) * 2  # multiplications and additions of 12 rows of 192 by two columns
    assert stand.meter.ledger.flops == 2 * product


class Outside(RedReward):
    """A black box: what it does is none of PyTorch's business."""

    def __init__(self) -> None:
        super().__init__(differentiable=False)
        self.calls: list[int] = []

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        self.calls.append(len(video))
        pixels = video.detach().numpy()
        score = torch.tensor([(clip @ clip.swapaxes(-1, -2)).mean() for clip in pixels])
        return Judgement(score, score)


def test_a_black_box_is_called_once_and_costs_no_flops(make_bench: MakeBench) -> None:
    reward = Outside()
    stand = make_bench(reward, count_flops=True)
    for _ in range(2):
        stand.bench.reward.judge(torch.ones(3, 4, 3, 8, 8), PROMPTS)
    assert reward.calls == [3, 3]
    assert (stand.meter.ledger.reward_queries, stand.meter.ledger.flops) == (6, 0)


def test_a_counted_judgement_has_the_gradient_of_any_other(make_bench: MakeBench) -> None:
    stand = make_bench(Linear(), count_flops=True)
    found = []
    for _ in range(2):
        source = torch.rand(3, 4, 3, 8, 8, generator=torch_stream(0, "video")).requires_grad_()
        judgement = stand.bench.reward.judge(source * 0.5, PROMPTS)
        judgement.objective.sum().backward()
        found.append((judgement.score.detach(), source.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1] is not None
    assert found[1][1] is not None
    assert torch.equal(found[0][1], found[1][1])


def test_fused_attention_is_counted_as_the_plain_form() -> None:
    given = torch.rand(3, 2, 4, 5, 8, generator=torch_stream(0, "attention")).requires_grad_()
    counts = []
    for backend in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION):
        with sdpa_kernel(backend), FlopCounterMode(display=False, custom_mapping=PLAIN_ATTENTION) as counter:
            found = torch.nn.functional.scaled_dot_product_attention(*given)
            forward = counter.get_total_flops()
            torch.autograd.grad(found.sum(), given)
        counts.append((forward, counter.get_total_flops() - forward))
    assert counts[0] == counts[1]
    assert counts[0][0] == 2 * 2 * 2 * 4 * 5 * 5 * 8


def test_what_was_counted_in_a_process_is_not_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def count(*_: object) -> tuple[int, int]:
        counts.append(1)
        return 2, 3

    monkeypatch.setattr(metering, "count_flops", count)
    for networks, known in (("one", 1), ("one", 1), ("other", 2), ("", 3), ("", 4)):
        table = FlopTable(Meter(Budget(reward_queries=1)), networks)
        assert table.cost("kind", lambda batch: batch, LATENTS) == (6, 9)
        assert len(counts) == known


def test_a_judgement_without_gradient_is_no_gradient_query(make_bench: MakeBench) -> None:
    stand = make_bench()
    video = torch.rand(3, 4, 3, 8, 8, generator=torch_stream(0, "video"))
    stand.bench.reward.judge(video, PROMPTS)
    with torch.no_grad():
        stand.bench.reward.judge(video.clone().requires_grad_(), PROMPTS)
    assert stand.meter.ledger.gradient_queries == 0
    stand.bench.reward.judge(video.requires_grad_(), PROMPTS)
    assert stand.meter.ledger.gradient_queries == 3


def test_queries_beyond_the_budget_are_not_judged(make_bench: MakeBench) -> None:
    class Spy(RedReward):
        def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
            raise AssertionError("judged")

    with pytest.raises(BudgetExceededError):
        make_bench(Spy(), queries=2).bench.reward.judge(torch.zeros(3, 4, 3, 8, 8), PROMPTS)


@pytest.mark.parametrize("part", ["score", "objective"])
def test_a_value_that_is_not_finite_stops_the_run(part: str, make_bench: MakeBench) -> None:
    with pytest.raises(UserError, match=r"prompt 'b': returned a value .* for 1 of 3 videos"):
        make_bench(Broken(part)).bench.reward.judge(torch.zeros(3, 4, 3, 8, 8), PROMPTS)
