from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vader_bench.errors import UserError
from vader_bench.files import sha256_file
from vader_bench.rewards.plugin import Plugin, load_function

SOURCE = """
import torch
from torch import nn

def mean(video, prompts):
    return video.mean((1, 2, 3, 4)) + torch.tensor([float(len(prompt)) for prompt in prompts])

def listed(video, prompts):
    return [0.0] * len(prompts)

def by_frame(video, prompts):
    return video.mean((2, 3, 4))

def whole(video, prompts):
    return torch.ones(len(prompts), dtype=torch.int64)

def cut(video, prompts):
    return video.detach().mean((1, 2, 3, 4))

def broken(video, prompts):
    return video.mean((1, 2, 3, 4)) * torch.nan

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
    def forward(self, video, prompts):
        return self.layer(video.mean((1, 3, 4)))[:, 0]

net = Net()
number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my rewards.py"
    path.write_text(SOURCE, "utf-8")
    return path


def clips() -> Tensor:
    return torch.rand(2, 3, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_the_function_judges(file: Path) -> None:
    reward = Plugin(str(file), "mean", units="light and letters")
    judgement = reward.judge(clips(), ["a", "four"])
    torch.testing.assert_close(judgement.score, clips().mean((1, 2, 3, 4)) + torch.tensor([1.0, 4.0]))
    assert torch.equal(judgement.score, judgement.objective)
    assert reward.units == "light and letters"
    assert reward.source == f"mean in {file}, SHA-256 {sha256_file(file)}"


def test_a_network_is_frozen_and_can_be_moved(file: Path) -> None:
    reward = Plugin(str(file), "net")
    (network,) = reward.modules()
    assert isinstance(network, nn.Module)
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert reward.judge(clips().requires_grad_(), ["", ""]).objective.requires_grad


def test_a_function_has_no_networks(file: Path) -> None:
    assert Plugin(str(file), "mean").modules() == []


def test_a_black_box_gives_no_gradient(file: Path) -> None:
    reward = Plugin(str(file), "mean", differentiable=False)
    assert not reward.differentiable
    assert not reward.judge(clips().requires_grad_(), ["", ""]).objective.requires_grad


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("listed", r"returned list, not a tensor; return a floating tensor of shape \[2\]"),
        ("by_frame", r"returned torch\.float32 of shape \[2, 3\]"),
        ("whole", r"returned torch\.int64 of shape \[2\]"),
        ("cut", "returned a score without a gradient; compute with torch functions alone"),
    ],
)
def test_other_results_are_refused(file: Path, function: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Plugin(str(file), function).judge(clips().requires_grad_(), ["", ""])


def test_numbers_that_are_not_finite_are_left_to_the_meter(file: Path) -> None:
    assert Plugin(str(file), "broken").score(clips(), ["", ""]).isnan().all()


def test_frames_are_held_to_what_was_set(file: Path) -> None:
    with pytest.raises(UserError, match="judges videos of 8 frames and was given 3"):
        Plugin(str(file), "mean", frames=8).judge(clips(), ["", ""])


@pytest.mark.parametrize(
    ("name", "message"), [("none.py", "does not exist"), ("a.txt", "is not a Python file")]
)
def test_a_file_that_is_no_module_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "a.txt").write_text("def f(): ...", "utf-8")
    with pytest.raises(UserError, match=message):
        load_function(tmp_path / name, "f")


@pytest.mark.parametrize("name", ["means", "number"])
def test_a_function_that_is_not_there_is_refused_with_those_that_are(file: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"has no function '{name}'; name one of: Net, broken, by_frame"):
        load_function(file, name)


def test_an_error_of_the_users_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import torch\n1 / 0\n", "utf-8")
    message = r"fails when it is run \(ZeroDivisionError: division by zero, line 2\)"
    with pytest.raises(UserError, match=message) as caught:
        load_function(tmp_path / "bad.py", "f")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_files_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    found = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        path = tmp_path / str(number) / "reward.py"
        path.write_text(f"def f(video, prompts):\n    return {number}\n", "utf-8")
        found.append(load_function(path, "f"))
    assert [f(clips(), []) for f in found] == [1, 2]
