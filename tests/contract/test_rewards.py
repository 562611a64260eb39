"""What every registered reward must do, whatever it measures."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vader_bench.budget.ledger import Budget, Meter
from vader_bench.budget.metering import MeteredReward
from vader_bench.errors import UserError
from vader_bench.experiment.load import load_suite
from vader_bench.pocket.vocabulary import Caption, parse_caption
from vader_bench.pocket.world import draw_clip, render
from vader_bench.rewards import REWARDS, Reward, make_reward
from vader_bench.rewards.base import StandIn, reward_skeleton
from vader_bench.seeding import numpy_stream

PROMPTS = [
    "a red cat spinning in the park",
    "a blue car moving left on the beach",
    "an orange bird growing at night",
]


@dataclass(frozen=True)
class Case:
    """A tiny instance of a family."""

    settings: dict[str, Any] = field(default_factory=dict)
    """What the factory gets; a text that starts with ``tiny_`` stands for the path of that fixture."""
    shape: tuple[int, int, int, int] = (4, 3, 20, 24)
    """[F, C, H, W] of its videos; by default neither square nor of a network's size."""
    family: str = ""
    """Where the case is not called as its family is."""
    world: bool = False
    """Whether its videos are clips of the pocket world with a book in them, and not noise."""
    step: float = 1e-5
    """Of central differences; shorter where an absolute value of many parts bends often."""
    tolerance: float = 1e-5
    """Of the slope; more where a network computes parts in float32 whatever its weights are in."""
    verdict: bool = False
    """Whether scores are shares of frames or of clips that pass, so that many videos have the same."""


CLIP = (8, 3, 64, 64)

CASES = {
    "action": Case({"model": "tiny_videomae"}),
    "action-verdict": Case(shape=CLIP, world=True, verdict=True),
    "actor-constancy": Case(shape=CLIP, world=True, verdict=True),
    "aesthetic": Case({"clip": "tiny_clip", "head": "tiny_head"}),
    "audience-rating": Case(shape=CLIP, world=True),
    "audience-utility": Case(shape=CLIP, world=True),
    "book-absence": Case(shape=CLIP, world=True, verdict=True),
    "brightness": Case(),
    "colourfulness": Case(),
    "hps": Case({"model": "tiny_clip"}),
    "hpsv3": Case(
        {"model": "tiny_hpsv3", "base": "tiny_qwen", "precision": "float32"},
        shape=(1, 3, 20, 24),
        step=1e-2,
        tolerance=0.02,
    ),
    "http": Case({"url": "tiny_server", "send": "frames"}),
    "jpeg-compressibility": Case(),
    "judges-appeal": Case(shape=CLIP, world=True),
    "mix": Case(
        {
            "parts": {
                "aesthetic": {"clip": "tiny_clip", "head": "tiny_head"},
                "action": {"model": "tiny_videomae"},
                "redness": {},
            },
            "weights": {"aesthetic": 0.5, "action": 7.5, "redness": -1},
        }
    ),
    "object-removal": Case({"model": "tiny_yolos", "target": "book", "height": 32}),
    "oracle": Case(shape=CLIP),
    "pickscore": Case({"model": "tiny_clip"}),
    "plugin": Case({"file": "tiny_plugin", "function": "greenness"}),
    "redness": Case(),
    "temporal-consistency": Case({"model": "tiny_vjepa", "masks": 2}),
    "videoalign": Case(
        {"model": "tiny_videoalign", "base": "tiny_qwen", "frames": 2, "precision": "float32"},
        shape=(2, 3, 20, 24),
        step=1e-2,
        tolerance=0.02,
    ),
}


POCKET = ("pickscore", "object-removal", "temporal-consistency", "aesthetic-hps")
"""Rewards of the pocket suite whose packaged networks are held to this too."""


def pocket_case(name: str) -> Case:
    """The reward ``name`` as the pocket suite has it."""
    component = load_suite("pocket").rewards[name]
    return Case(component.settings, CLIP, component.family, world=True, step=1e-7)


def gold_case(name: str) -> Case:
    """The gold of the reward ``name`` of the pocket suite."""
    component = load_suite("pocket").gold[name]
    return Case(component.settings, CLIP, component.family, world=True)


ALL = {
    **CASES,
    "action-logarithm": Case({"model": "tiny_videomae", "objective": "log-probability"}, family="action"),
    **{f"pocket-{name}": pocket_case(name) for name in POCKET},
    "gold-aesthetic-hps": gold_case("aesthetic-hps"),
}


def test_every_gold_of_the_embedded_suites_is_held_to_this() -> None:
    for suite in map(load_suite, ("pocket", "pocket-i2v")):
        golds = {component.family for component in suite.gold.values()} - {"mix"}
        assert golds <= CASES.keys()
        assert suite.gold.get("aesthetic-hps") == load_suite("pocket").gold["aesthetic-hps"]


def test_every_registered_family_is_held_to_this() -> None:
    assert set(REWARDS.names()) == set(CASES)


def filled(request: pytest.FixtureRequest, settings: Any) -> Any:
    """``settings`` with fixtures in place of their names."""
    if isinstance(settings, dict):
        return {key: filled(request, value) for key, value in settings.items()}
    if isinstance(settings, str) and settings.startswith("tiny_"):
        return str(request.getfixturevalue(settings))
    return settings


@pytest.fixture(params=sorted(ALL))
def name(request: pytest.FixtureRequest) -> str:
    """A case of ``ALL``."""
    return str(request.param)


Read = dict[tuple[str, torch.dtype], Reward]


@pytest.fixture(scope="module")
def read() -> Read:
    """Rewards as they were made, by case and precision: to be copied, which is faster than reading again."""
    return {}


@pytest.fixture
def reward(request: pytest.FixtureRequest, name: str, read: Read) -> Reward:
    """A fresh copy of a case's reward."""
    case, key = ALL[name], (name, torch.get_default_dtype())
    if key not in read or name == "http":  # whose server is another in each test
        read[key] = make_reward(case.family or name, filled(request, case.settings))
    made = copy.deepcopy(read[key])
    assert made.name == (case.family or name)
    return made


def clips(*shape: int) -> Tensor:
    """Random videos [B, F, 3, H, W]."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(4))


def beside_a_book(prompt: str) -> Caption:
    """What ``prompt`` says, and a book."""
    caption = parse_caption(prompt)
    assert caption is not None
    return replace(caption, prop_colour="purple", prop_noun="book")


@cache
def clips_of_the_world() -> Tensor:
    drawn = [render(draw_clip(numpy_stream(0, prompt), beside_a_book(prompt))) for prompt in PROMPTS]
    return torch.from_numpy(np.stack(drawn)).permute(0, 1, 4, 2, 3).contiguous()


@pytest.fixture
def videos(name: str) -> Tensor:
    """Three videos that the reward takes."""
    case = ALL[name]
    return clips_of_the_world().clone() if case.world else clips(3, *case.shape)


def test_says_what_it_measures(reward: Reward) -> None:
    low, high = reward.value_range
    assert low < high
    assert reward.units
    assert reward.source


def test_stands_in_for_itself_without_values(
    request: pytest.FixtureRequest, reward: Reward, name: str, videos: Tensor
) -> None:
    """What is planned with is the reward's own code on networks of the same shapes."""
    case = ALL[name]
    bare = reward_skeleton(case.family or name, filled(request, case.settings))
    assert (bare.frames, bare.by_frame) == (reward.frames, reward.by_frame)
    assert bare.differentiable == reward.differentiable
    with torch.device("meta"):
        assert bare.judge(videos.to("meta"), PROMPTS).objective.shape == (3,)
    if isinstance(bare, StandIn):
        return
    assert type(bare) is type(reward)
    assert vars(bare).keys() == vars(reward).keys()
    for ours, theirs in zip(bare.modules(), reward.modules(), strict=True):
        assert all(weight.is_meta for weight in ours.state_dict().values())
        shapes = {key: value.shape for key, value in theirs.state_dict().items()}
        assert {key: value.shape for key, value in ours.state_dict().items()} == shapes


def test_one_score_a_video(reward: Reward, videos: Tensor) -> None:
    judgement = reward.judge(videos, PROMPTS)
    assert judgement.score.shape == judgement.objective.shape == (3,)
    assert not judgement.objective.requires_grad
    torch.testing.assert_close(reward.score(videos, PROMPTS), judgement.score, rtol=0, atol=0)


def test_tells_videos_apart(reward: Reward, name: str, videos: Tensor) -> None:
    if ALL[name].verdict:
        pytest.skip("true clips all pass")
    assert len(set(reward.score(videos, PROMPTS).tolist())) == 3


def test_batch_equals_singles(reward: Reward, videos: Tensor) -> None:
    together = reward.judge(videos, PROMPTS)
    for i, prompt in enumerate(PROMPTS):
        alone = reward.judge(videos[i : i + 1], [prompt])
        torch.testing.assert_close(together.score[i : i + 1], alone.score, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(together.objective[i : i + 1], alone.objective, rtol=1e-5, atol=1e-6)


def test_order_does_not_matter(reward: Reward, videos: Tensor) -> None:
    order = [2, 0, 1]
    turned = reward.score(videos[order], [PROMPTS[i] for i in order])
    torch.testing.assert_close(turned, reward.score(videos, PROMPTS)[order], rtol=1e-5, atol=1e-6)


def test_does_not_depend_on_what_was_judged_before(reward: Reward, videos: Tensor) -> None:
    first = reward.score(videos, PROMPTS)
    reward.score(1 - videos, PROMPTS[::-1])
    assert torch.equal(reward.score(videos, PROMPTS), first)


def test_leaves_the_video_alone(reward: Reward, videos: Tensor) -> None:
    before = videos.clone()
    reward.judge(videos, PROMPTS)
    assert torch.equal(videos, before)


@pytest.mark.parametrize("picture", ["noise", "black", "white", "red"])
def test_scores_are_finite_and_in_range(reward: Reward, videos: Tensor, picture: str) -> None:
    video = videos
    if picture != "noise":
        colour = {"black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0), "red": (1.0, 0.0, 0.0)}[picture]
        video = torch.tensor(colour)[:, None, None].expand_as(video)
    judgement = reward.judge(video, PROMPTS)
    low, high = reward.value_range
    assert torch.isfinite(judgement.objective).all()
    assert (judgement.score >= low - 1e-5).all()
    assert (judgement.score <= high + 1e-5).all()


@pytest.fixture
def float64_by_default() -> Iterator[None]:
    """CLIP's causal mask is made in the default precision, whatever the network's."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("float64_by_default")
def test_gradient_is_the_slope(reward: Reward, name: str, videos: Tensor) -> None:
    """Central differences in float64, along random directions, one a video."""
    if not reward.differentiable:
        pytest.skip("black box")
    for module in reward.modules():
        module.double()
    video = videos.double().mul(0.8).add(0.1).requires_grad_()
    (gradient,) = torch.autograd.grad(reward.judge(video, PROMPTS).objective.sum(), video)
    direction = torch.randn(video.shape, generator=torch.Generator().manual_seed(5))
    step = ALL[name].step
    with torch.no_grad():
        above = reward.judge(video + step * direction, PROMPTS).objective
        below = reward.judge(video - step * direction, PROMPTS).objective
    slope = (above - below) / (2 * step)
    assert slope.abs().min() > 1e-6
    found = (gradient * direction).sum((1, 2, 3, 4))
    torch.testing.assert_close(found, slope, rtol=ALL[name].tolerance, atol=1e-8)


def test_gradient_of_a_grey_video_is_finite(reward: Reward, name: str) -> None:
    if not reward.differentiable:
        pytest.skip("black box")
    video = torch.full((3, *ALL[name].shape), 0.5, requires_grad=True)
    reward.judge(video, PROMPTS).objective.sum().backward()
    assert video.grad is not None
    assert torch.isfinite(video.grad).all()


def test_networks_are_frozen(reward: Reward, videos: Tensor) -> None:
    video = videos.requires_grad_(reward.differentiable)
    objective = reward.judge(video, PROMPTS).objective
    if reward.differentiable:
        objective.sum().backward()
    for network in reward.modules():
        assert not any(module.training and list(module.children()) for module in network.modules())
        assert all(p.grad is None and not p.requires_grad for p in network.parameters())
        assert all(t.dtype == torch.float32 for t in network.state_dict().values() if t.is_floating_point())


def test_can_be_metered(reward: Reward, videos: Tensor) -> None:
    """Queries are charged, and the counter of operations gets through the reward, backwards too."""
    meter = Meter(Budget(reward_queries=3))
    judged = MeteredReward(reward, meter).judge(videos.requires_grad_(reward.differentiable), PROMPTS)
    torch.testing.assert_close(judged.score, reward.score(videos, PROMPTS), rtol=1e-5, atol=1e-6)
    forward = meter.ledger.flops
    assert (forward > 0) == any(list(module.parameters()) for module in reward.modules())
    if reward.differentiable:
        judged.objective.sum().backward()
        assert (meter.ledger.flops > forward) == (forward > 0)
    assert meter.ledger.reward_queries == 3


@pytest.mark.parametrize(
    "video",
    [
        clips(3, 3, 20, 24),
        clips(3, 4, 1, 20, 24),
        clips(0, 4, 3, 20, 24),
        clips(3, 4, 3, 20, 24).mul(255).byte(),
    ],
    ids=["no frames", "one channel", "empty", "integers"],
)
def test_refuses_what_is_no_video(reward: Reward, video: Tensor) -> None:
    with pytest.raises(ValueError, match=r"video must be floating \[B, F, 3, H, W\]"):
        reward.judge(video, PROMPTS[: len(video)])


def test_refuses_a_prompt_too_few(reward: Reward, videos: Tensor) -> None:
    with pytest.raises(ValueError, match="3 videos but 2 prompts"):
        reward.judge(videos, PROMPTS[:2])


def test_refuses_another_number_of_frames(reward: Reward, name: str) -> None:
    video = clips(3, 5, *ALL[name].shape[1:])
    if reward.frames is None:
        assert torch.isfinite(reward.score(video, PROMPTS)).all()
        return
    with pytest.raises(UserError, match=rf"{reward.frames} frames and was given 5"):
        reward.judge(video, PROMPTS)
