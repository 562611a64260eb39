"""Numbers that are none, and memory that runs out: a run stops with one line, and goes on without it."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from torch import Tensor

from tests.faults.conftest import Whole
from tests.support.apart import apart
from tests.support.deaths import Counted, contents, own_files, train
from tests.support.small_backbone import METHOD_SETTINGS
from vader_bench.budget.metering import MeteredBackbone
from vader_bench.errors import ExitCode, UserError
from vader_bench.records.folder import RunFolder
from vader_bench.rewards import REWARDS
from vader_bench.rewards.base import Judgement

NUMBERS: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
GIB = 2**30


def bad_score(number: float, call: int) -> None:
    """Let the reward return ``number`` for one video of one call."""
    kind = REWARDS.get("redness")
    calls: list[int] = []

    def made(**settings: Any) -> Any:
        reward = kind(**settings)
        judge = reward.judge

        def judged(video: Tensor, prompts: Any) -> Judgement:
            calls.append(len(prompts))
            score, objective = judge(video, prompts)
            if len(calls) - 1 == call:
                score = torch.cat([score[:-1], score[-1:] * number])
            return Judgement(score, objective)

        reward.judge = judged  # type: ignore[method-assign]
        return reward

    REWARDS._loaded["redness"] = made


def bad_gradient(number: float, call: int) -> None:
    """Let the gradient of one number in one weight be ``number``, before one of the updates."""
    clip, calls = torch.nn.utils.clip_grad_norm_, list[int]()

    def clipped(weights: list[torch.nn.Parameter], norm: float) -> Tensor:
        calls.append(len(weights))
        if len(calls) - 1 == call:
            gradient = weights[0].grad
            assert gradient is not None
            gradient[(0,) * gradient.dim()] = number
        return clip(weights, norm)

    torch.nn.utils.clip_grad_norm_ = clipped  # type: ignore[assignment]


def no_room(call: int, error: Callable[[], BaseException]) -> None:
    """Let one call of the model find no memory."""
    denoise, calls = MeteredBackbone.denoise, list[int]()

    def denoised(model: MeteredBackbone, *given: Tensor) -> Tensor:
        calls.append(len(given))
        if len(calls) - 1 == call:
            raise error()
        return denoise(model, *given)

    MeteredBackbone.denoise = denoised  # type: ignore[method-assign, assignment]


def little_room(call: int) -> None:
    """Let one call of the model want more memory than the system grants this process."""
    denoise, calls = MeteredBackbone.denoise, list[int]()
    resource.setrlimit(resource.RLIMIT_AS, (64 * GIB, resource.RLIM_INFINITY))

    def denoised(model: MeteredBackbone, *given: Tensor) -> Tensor:
        calls.append(len(given))
        if len(calls) - 1 == call:
            torch.empty(80 * GIB, dtype=torch.uint8)
        return denoise(model, *given)

    MeteredBackbone.denoise = denoised  # type: ignore[method-assign, assignment]


def require_it_stops_and_goes_on(
    whole: Whole, folder: Path, counted: Counted, fault: Callable[[], object], wrong: str
) -> UserError:
    """Do the run with the ``fault``, then without, and return what is said of it."""
    found = apart(partial(train, whole.config, folder, counted, fault))
    assert found.code == 0, "it is no error of the program"
    with pytest.raises(UserError, match=wrong) as caught:
        raise found.error or AssertionError("nothing was noticed")
    assert "\n" not in str(caught.value)
    run = RunFolder(folder)
    assert not run.finished
    text = "".join(map(str, run.metrics()))
    assert "nan" not in text
    assert "inf" not in text
    assert apart(partial(train, whole.config, folder, counted)).error is None
    assert own_files(folder) == whole.names
    assert contents(folder) == whole.left
    return caught.value


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("method", METHOD_SETTINGS)
def test_a_reward_that_is_no_number_once(
    method: str, number: str, whole: Callable[[str], Whole], counted: Counted, tmp_path: Path
) -> None:
    # the first calls are looks at the base model, then come those of training
    fault = partial(bad_score, NUMBERS[number], 4)
    wrong = "returned a value that is not finite for 1 of .*a missing score is never replaced"
    require_it_stops_and_goes_on(whole(method), tmp_path / method, counted, fault, wrong)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("method", METHOD_SETTINGS)
def test_a_gradient_that_is_no_number_once(
    method: str, number: str, whole: Callable[[str], Whole], counted: Counted, tmp_path: Path
) -> None:
    fault = partial(bad_gradient, NUMBERS[number], 1)
    wrong = "led to a gradient that is not finite; lower the learning rate, or check the reward"
    require_it_stops_and_goes_on(whole(method), tmp_path / method, counted, fault, wrong)


OUT: Final = "ran out of memory .*`vader-bench plan`.* names what takes less"


@pytest.mark.parametrize("method", METHOD_SETTINGS)
def test_a_card_without_room(
    method: str, whole: Callable[[str], Whole], counted: Counted, tmp_path: Path
) -> None:
    said = partial(torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the manual.")
    fault = partial(no_room, 5, said)
    error = require_it_stops_and_goes_on(whole(method), tmp_path / method, counted, fault, OUT)
    assert "CUDA out of memory. Tried to allocate 2.00 GiB." in error.wrong
    assert error.exit_code is ExitCode.RUN_FAILED


def test_a_process_without_room(whole: Callable[[str], Whole], counted: Counted, tmp_path: Path) -> None:
    require_it_stops_and_goes_on(whole("vader"), tmp_path / "vader", counted, partial(little_room, 5), OUT)


def test_python_without_room(whole: Callable[[str], Whole], counted: Counted, tmp_path: Path) -> None:
    fault = partial(no_room, 5, MemoryError)
    require_it_stops_and_goes_on(whole("ddpo"), tmp_path / "ddpo", counted, fault, OUT)


def test_a_defect_is_not_taken_for_a_lack_of_memory(
    whole: Callable[[str], Whole], counted: Counted, tmp_path: Path
) -> None:
    fault = partial(no_room, 5, partial(RuntimeError, "shapes do not fit"))
    assert apart(partial(train, whole("vader").config, tmp_path / "vader", counted, fault)).code == 1
