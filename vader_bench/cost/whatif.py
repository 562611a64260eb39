"""The arms of an experiment, estimated as they are asked for or with changes, and what would make one fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vader_bench.config.names import UNTRAINED
from vader_bench.config.schema import MemoryConfig, RunConfig, SuiteConfig
from vader_bench.cost.estimate import (
    CostEstimate,
    Made,
    Memory,
    estimate_of,
    larger,
    memory_of,
    memory_of_looks,
    rehearse,
)
from vader_bench.cost.gpus import Gpu
from vader_bench.cost.skeletons import Skeletons
from vader_bench.errors import UserError
from vader_bench.experiment.arms import read_settings
from vader_bench.methods import MethodConfig

__all__ = [
    "PRECISIONS", "Changes", "Planned", "Switched", "advised", "frozen_weights", "plan_arms", "switches",
    "with_switches",
]  # fmt: skip

PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""What ``frozen_weights`` says, by the names of options and data sheets."""

TILE = 256
"""Pixels along a side of the tiles that are advised, as diffusers has them by default."""
_MEMORY_SWITCHES = (
    ("half precision", "frozen_weights", "bfloat16"),
    ("checkpointing", "checkpointing", True),
    ("slicing", "slicing", True),
    ("tiles", "decode_tile", TILE),
    ("activations on the CPU", "offload_activations", True),
)
"""Name, key of the table ``memory``, and value."""
_WORTH = 0.005
"""A switch that saves a smaller share than this is not told: it may stand in the way of the next one."""


@dataclass(frozen=True)
class Changes:
    """What is to be different from what the files say."""

    backbone: dict[str, Any] = field(default_factory=dict)
    """Settings of the backbone."""
    memory: dict[str, Any] = field(default_factory=dict)
    """Keys of the suite's table ``memory``."""
    settings: dict[str, int] = field(default_factory=dict)
    """Settings of methods; a method takes those among its ``what_ifs``."""
    batch: int | None = None
    """Videos of a batch; a method takes at least its ``least_batch``."""
    decode_frames: int | None = None

    def of(self, run: RunConfig) -> RunConfig:
        """Return ``run`` with the changes.

        Raises:
            UserError: a setting does not fit its method.
        """
        backbone = run.suite.backbone
        backbone = backbone.model_copy(update={"settings": backbone.settings | self.backbone})
        update: dict[str, Any] = {"backbone": backbone}
        if self.memory:
            update["memory"] = run.suite.memory.model_copy(update=self.memory)
        if self.decode_frames is not None:
            update["decode_frames"] = self.decode_frames
        update = {"suite": run.suite.model_copy(update=update)}
        if changed := self._settings(run):
            table = run.settings.model_dump(mode="json") | changed
            update["settings"] = read_settings(run.method, table, run.reward)
        return run.model_copy(update=update)

    def _settings(self, run: RunConfig) -> dict[str, int]:
        """Return the settings of the method that change."""
        settings = _settings(run)
        changed = {key: value for key, value in self.settings.items() if key in settings.what_ifs}
        if self.batch is not None:
            changed["batch_size"] = max(self.batch, settings.least_batch)
        return changed


def frozen_weights(precision: str | None) -> dict[str, Any]:
    """Return the change of the table ``memory`` to ``"fp32"``, ``"fp16"`` or ``"bf16"``; none if ``None``.

    Raises:
        UserError: the precision is another.
    """
    if precision is None:
        return {}
    if precision not in PRECISIONS:
        remedy = f"choose one of: {', '.join(PRECISIONS)}"
        raise UserError(f"precision {precision!r}", "is not known", remedy)
    return {"frozen_weights": PRECISIONS[precision]}


class Planned(NamedTuple):
    """An arm with its estimate, and what that was made of."""

    run: RunConfig
    """With its changes."""
    estimate: CostEstimate
    made: list[Made]
    networks: _Networks

    @property
    def settings(self) -> MethodConfig:
        """Return those of its method."""
        return _settings(self.run)

    @property
    def precision(self) -> str:
        """Return ``"fp32"``, ``"fp16"`` or ``"bf16"``."""
        names = {value: name for name, value in PRECISIONS.items()}
        return names[self.run.suite.memory.frozen_weights]

    @property
    def decoded(self) -> int:
        """Return how many frames of a video are decoded and judged while training."""
        return max(one.call.frames for one in self.made)

    @property
    def video(self) -> tuple[int, int, int]:
        """Return frames, height and width of a video."""
        backbone = self.networks.of(self.run).backbone
        return (backbone.frames, *backbone.picture_size)


class Switched(NamedTuple):
    """The memory with one switch more than before."""

    name: str
    memory: Memory
    suite: dict[str, Any]
    """What a suite file says to have all switches up to this one on."""


def plan_arms(runs: Sequence[RunConfig], changes: Changes, devices: int = 1) -> list[Planned]:
    """Return the estimate of the first seed of each arm and reward among ``runs``, with ``changes``.

    Memory is that of one of ``devices`` cards, which share the videos of each call while a run trains; all
    else is of all of them together.

    Raises:
        UserError: a setting does not fit, or a family cannot be estimated.
    """
    first: dict[tuple[str, str], RunConfig] = {}
    for run in runs:
        if run.method not in UNTRAINED:
            first.setdefault((run.label, run.reward), changes.of(run))
    arms = list(first.values())
    judges = [(run.reward, *run.other_judges) for run in arms]
    networks = _Networks(dict.fromkeys(name for named in judges for name in named))
    planned = []
    for run in arms:
        full_size = networks.of(run)
        rehearsal = rehearse(run, full_size)
        rehearsal = rehearsal._replace(made=_shared(rehearsal.made, devices))
        planned.append(Planned(run, estimate_of(run, full_size, rehearsal), rehearsal.made, networks))
    return planned


def switches(planned: Planned, gpu: Gpu) -> Iterator[Switched]:
    """Yield the memory of ``planned`` with one switch on top of the other, until it fits ``gpu``.

    A switch that is on already, or that saves nothing, is left out; looks take one video at a time
    throughout, which costs nothing but time. The order is that of what they cost: a smaller batch and fewer
    frames change what is trained on, half precision the numbers, the others only time.
    """
    before, made, changes = planned.estimate.most.total, planned.made, dict[str, Any]()
    said: dict[str, Any] = {}
    suite = planned.run.suite.model_copy(update={"evaluation_batch": 1})
    for name, fewer, change in _steps(planned):
        made = made if fewer is None else fewer
        said |= {} if change else _SAID[name](planned)  # holds from here on, whatever it saves
        run = Changes(memory=changes | change).of(planned.run.model_copy(update={"suite": suite}))
        networks = planned.networks.of(run)
        memory = larger(memory_of(made, networks, run.reward), memory_of_looks(run, networks))
        if memory.total > before - _WORTH * before:
            continue
        before, changes = memory.total, changes | change
        said |= {"memory": changes} if changes else {}
        yield Switched(name, memory, dict(said))
        if memory.fits(gpu):
            return


def _smallest_batch(planned: Planned) -> dict[str, Any]:
    """Return the settings that make the smallest batches; as many of them make an update as videos did."""
    settings = planned.settings
    small = {"batch_size": settings.least_batch}
    accumulation = getattr(settings, "accumulation", None)
    if accumulation is not None:
        small["accumulation"] = accumulation * settings.batch_size // settings.least_batch
    return {"methods": {planned.run.method: small}}


_SAID: dict[str, Callable[[Planned], dict[str, Any]]] = {
    "one video at a look": lambda one: {"evaluation_batch": 1} if one.run.suite.evaluation_batch > 1 else {},
    "smallest batch": _smallest_batch,
    "one decoded frame": lambda _: {"decode_frames": 1},
}
"""What a suite file says for the switches that are none of ``memory``."""


def advised(found: Sequence[Sequence[Switched]]) -> dict[str, Any]:
    """Return what a suite file says so that every arm has the switches ``found`` for it.

    What trains arms is the same for all: a switch that one needs, all have.
    """
    said: dict[str, Any] = {}
    for steps in found:
        for key, value in steps[-1].suite.items() if steps else ():
            said[key] = said.get(key, {}) | value if isinstance(value, dict) else value
    return said


def switched_on(memory: MemoryConfig) -> str:
    """Return in words which switches of ``memory`` are on."""
    said = [key for key in ("checkpointing", "slicing", "offload_activations") if getattr(memory, key)]
    if memory.decode_tile is not None:
        said.append(f"tiles of {memory.decode_tile} pixels")
    return " and ".join(said) or "no switch"


def with_switches(run: RunConfig, said: Mapping[str, Any]) -> RunConfig:
    """Return ``run`` on its suite with what ``advised`` says.

    Raises:
        UserError: a setting does not fit its method.
    """
    changes = Changes(memory=dict(said.get("memory", {})), decode_frames=said.get("decode_frames"))
    run = changes.of(run)
    if "evaluation_batch" in said:
        suite = run.suite.model_copy(update={"evaluation_batch": said["evaluation_batch"]})
        run = run.model_copy(update={"suite": suite})
    if small := said.get("methods", {}).get(run.method):
        table = run.settings.model_dump(mode="json") | small
        run = run.model_copy(update={"settings": read_settings(run.method, table, run.reward)})
    return run


def _steps(planned: Planned) -> Iterator[tuple[str, list[Made] | None, dict[str, Any]]]:
    """Yield the name of each switch that is not on, the calls with it, and what it sets in ``memory``."""
    yield "one video at a look", None, {}
    fewer = _fewer_videos(planned)
    if fewer != planned.made:
        yield "smallest batch", fewer, {}
    one_frame = _one_frame(planned, fewer)
    if one_frame != fewer:
        yield "one decoded frame", one_frame, {}
    for name, key, value in _MEMORY_SWITCHES:
        if getattr(planned.run.suite.memory, key) not in {value, "float16"}:
            yield name, None, {key: value}


class _Networks:
    """The networks of each suite that is asked for, made once."""

    def __init__(self, rewards: Sequence[str] | dict[str, None]) -> None:
        self._rewards = list(rewards)
        self._made: dict[tuple[str, int], Skeletons] = {}

    def of(self, run: RunConfig) -> Skeletons:
        """Return the networks of ``run``, with those of all rewards."""
        rank = _settings(run).lora_rank
        key = (_what_costs(run.suite), rank)
        if key not in self._made:
            # what changes in a suite are switches and sizes: its rewards are the same
            like = next(iter(self._made.values()), None)
            self._made[key] = Skeletons(run.suite, self._rewards, rank, like)
        return self._made[key]


def _settings(run: RunConfig) -> MethodConfig:
    assert isinstance(run.settings, MethodConfig), "the base model is not planned"
    return run.settings


def _what_costs(suite: SuiteConfig) -> str:
    return suite.model_dump_json(include={"backbone", "rewards", "gold", "prompt_share", "memory"})


def _fewer_videos(planned: Planned) -> list[Made]:
    """Return as many calls, each for the part of its videos that the smallest batch is of the batch."""
    videos = max(one.videos for one in planned.made if one.call.name != "denoise")
    return _shared(planned.made, max(1, videos // planned.settings.least_batch))


def _shared(made: Sequence[Made], parts: int) -> list[Made]:
    """Return the calls ``made`` with one of so many parts of their videos each, the largest one."""
    return [one._replace(videos=-(-one.videos // parts), open=-(-one.open // parts)) for one in made]


def _one_frame(planned: Planned, made: list[Made]) -> list[Made]:
    """Return the calls with one frame decoded and judged, unless the reward wants its own number or all."""
    reward = planned.networks.of(planned.run).rewards[planned.run.reward]
    if reward.frames is not None or not reward.by_frame:
        return made
    return [
        one._replace(call=one.call._replace(frames=1)) if one.call.name != "denoise" else one for one in made
    ]
