"""A user's own reward: a function in a file of theirs."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vader_bench.errors import UserError
from vader_bench.files import read_text, sha256_file
from vader_bench.registry import load_own, no_such_name, require_python
from vader_bench.rewards.base import Judgement, PromptReader, Reward
from vader_bench.rewards.preprocess import check_video

__all__ = ["Plugin", "load_function"]

Function = Callable[[Tensor, Sequence[str]], Tensor]


def load_function(file: Path, name: str) -> Function:
    """Return the function called ``name`` in the Python file ``file``, which is run as it is.

    Raises:
        UserError: there is no such Python file, it fails when it is run, or it has no such function.
    """
    module = load_own("plugin", file)
    found = getattr(module, name, None)
    if not callable(found):
        callables = [key for key, value in vars(module).items() if callable(value)]
        raise no_such_name("plugin", file, f"function {name!r}", callables)
    function: Function = found
    return function


def _top_level_names(file: Path) -> set[str] | None:
    """Return the names that ``file`` makes at its top level; ``None`` where only running it would tell.

    Raises:
        UserError: it is not Python.
    """
    try:
        tree = ast.parse(read_text(file))
    except (SyntaxError, ValueError) as error:
        raise UserError(f"plugin: {file}", f"is not Python ({error})", "correct the file") from error
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {
                part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)
            }
        elif not isinstance(node, ast.Expr | ast.Pass):
            return None
    return None if "*" in names else names


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
        frames: how many a video must have; evenly spaced ones of longer videos. Any number by default.
        by_frame: whether the number is the mean over frames of what each is worth by itself, so that
            training may judge ``decode_frames`` of them. By default it sees all frames, in training too.
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
        by_frame: bool = False,
        units: str = "the user's own",
    ) -> None:
        path = Path(file).expanduser()
        self._function = load_function(path, function)
        self._title = f"plugin: {function} in {file}"
        if isinstance(self._function, nn.Module):
            self._function.eval().requires_grad_(False)
        self.differentiable = differentiable
        self.frames = frames
        self.by_frame = by_frame
        self.units = units
        self.source = f"{function} in {file}, SHA-256 {sha256_file(path)}"

    @classmethod
    def has_gradient(cls, **settings: Any) -> bool:
        """Return what the settings say."""
        return bool(settings.get("differentiable", True))

    @classmethod
    def reader(cls, **settings: Any) -> PromptReader | None:
        """Refuse no prompt, and a file without the function; the file is read and not run.

        Raises:
            UserError: there is no such Python file, or nothing of that name is made at its top level.
        """
        file, name = Path(settings["file"]).expanduser(), settings["function"]
        require_python("plugin", file)
        names = _top_level_names(file)
        if names is not None and name not in names:
            raise no_such_name("plugin", file, f"function {name!r}", names)
        return None

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
