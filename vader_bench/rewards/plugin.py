"""A user's own reward: a function in a file of theirs."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor, nn

from vader_bench.errors import UserError
from vader_bench.files import sha256_file
from vader_bench.rewards.base import REWARDS, Judgement, Reward
from vader_bench.rewards.preprocess import check_video

__all__ = ["Plugin", "load_function"]

Function = Callable[[Tensor, Sequence[str]], Tensor]


def load_function(file: Path, name: str) -> Function:
    """Return the function called ``name`` in the Python file ``file``, which is run as it is.

    An exception of the file's own passes through, with its traceback.

    Raises:
        UserError: there is no such Python file, or it has no such function.
    """
    if not file.is_file() or file.suffix != ".py":
        wrong = "is not a Python file" if file.exists() else "does not exist"
        raise UserError(f"plugin: file {str(file)!r}", wrong, "give the path of a .py file")
    spec = importlib.util.spec_from_file_location(f"vader_bench_plugin_{sha256_file(file)[:12]}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not callable(found):
        offered = sorted(key for key, value in vars(module).items() if callable(value) and key[0] != "_")
        wrong = f"has no function {name!r}"
        raise UserError(f"plugin: {file}", wrong, f"name one of: {', '.join(offered) or '(it has none)'}")
    function: Function = found
    return function


@REWARDS.register("plugin")
class Plugin(Reward):
    """What a function of the user's own makes of a video.

    Score = objective = what the function returns. It is called with videos [B, F, 3, H, W] in [0, 1] and B
    prompts, and returns [B], higher is better. Each number must depend on its own video and prompt alone,
    and on nothing that was judged before. Its file is run with the rights of the process, so only use a file
    you trust. Range, source and licence are the user's.

    The function may be a ``torch.nn.Module``: then it is moved to the run's device, put into eval mode and
    frozen. A package can offer a whole ``Reward`` class instead, by an entry point in the group
    ``vader_bench.rewards``; the entry's name is the family's.

    Args:
        file: path of a Python file; with a slash in it, the file's digest is in the record of a run.
        function: its name there.
        differentiable: whether the result has a gradient with respect to the video.
        frames: how many a video must have; any number by default.
        units: what the numbers are, without a slash, since a setting with one names weights.

    Raises:
        UserError: there is no such file or function.
    """

    name = "plugin"
    value_range = (-math.inf, math.inf)

    def __init__(
        self,
        file: str,
        function: str,
        *,
        differentiable: bool = True,
        frames: int | None = None,
        units: str = "the user's own",
    ) -> None:
        path = Path(file).expanduser()
        self._function = load_function(path, function)
        self._title = f"plugin: {function} in {file}"
        if isinstance(self._function, nn.Module):
            self._function.eval().requires_grad_(False)
        self.differentiable = differentiable
        self.frames = frames
        self.units = units
        self.source = f"{function} in {file}, SHA-256 {sha256_file(path)}"

    def modules(self) -> list[nn.Module]:
        """Return the function if it is a network."""
        return [self._function] if isinstance(self._function, nn.Module) else []

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, F, 3, H, W] in [0, 1], one prompt a video.

        Raises:
            UserError: the function returns something else than [B] floating numbers, or has no gradient
                though it was said to have one.
        """
        check_video(self.name, video, prompts, self.frames)
        score = self._function(video, prompts)
        remedy = f"return a floating tensor of shape [{len(prompts)}] for as many videos"
        if not isinstance(score, Tensor):
            raise UserError(self._title, f"returned {type(score).__name__}, not a tensor", remedy)
        if score.shape != (len(prompts),) or not score.is_floating_point():
            raise UserError(self._title, f"returned {score.dtype} of shape {list(score.shape)}", remedy)
        if self.differentiable and video.requires_grad and not score.requires_grad:
            remedy = "compute with torch functions alone, or set `differentiable: false`"
            raise UserError(self._title, "returned a score without a gradient", remedy)
        if not self.differentiable:
            score = score.detach()
        return Judgement(score, score)
