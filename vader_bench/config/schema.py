"""What experiment and suite files may say, and what a run is, as typed models."""

from __future__ import annotations

import operator
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from vader_bench import files
from vader_bench.config import rules
from vader_bench.config.names import ADAPTER, run_name
from vader_bench.config.paths import RecordedAsWritten, replaced, weight_names
from vader_bench.config.settings import Settings
from vader_bench.config.yamlfile import AtFaultError, nearest, raise_faults, rule, value_faults
from vader_bench.errors import UserError
from vader_bench.registry import OWN_CODE

__all__ = [
    "METHOD", "ArmEntry", "BudgetConfig", "ComponentConfig", "EvaluationConfig", "ExperimentConfig",
    "MeasureConfig", "MemoryConfig", "MethodName", "Name", "RunConfig", "SamplerConfig", "Strict",
    "SuiteChanges", "SuiteConfig", "TargetConfig", "config_digest",
]  # fmt: skip

METHOD = "method"
"""Key that names the method of an arm, and the word for it under ``compares``."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that becomes part of a folder's name."""
MethodName = Annotated[str, Field(pattern=rf"^([A-Za-z0-9][A-Za-z0-9._-]*|{OWN_CODE})$")]
"""A registered method, or ``FILE.py:NAME``."""
Splits = Annotated[list[str], AfterValidator(rules.distinct), AfterValidator(rules.with_heldout)]


class Strict(BaseModel):
    """A table of a file: every key known, every value of its type, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    unknown_key: ClassVar[str] = "is not a known key"
    """What is said of a key that the table does not have."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                raise AtFaultError(name)  # only ``parse_partly`` leaves out a field
            return super().__getattr__(name)


def _is_default(table: Strict) -> bool:
    """Tell whether nothing in ``table`` is set: such a table is left out of dumps and digests."""
    return table == type(table)()


class SamplerConfig(Strict):
    """How videos are sampled."""

    steps: int = Field(ge=2)
    """Denoising steps, the same while training and at evaluation."""
    eta: float = Field(gt=0, le=1)
    """DDIM noise level while training; evaluation always uses 0. DDPO needs it above 0."""
    guidance: float = Field(ge=1)
    """Classifier-free guidance scale; 1 is none."""
    guidance_2: float | None = Field(default=None, ge=1, exclude_if=operator.not_)
    """That of the second network, of two that share the way (Wan 2.2); as ``guidance`` if ``None``."""
    negative_prompt: str | None = Field(default=None, exclude_if=operator.not_)
    """What guidance leads away from, where a prompt has none of its own; by default from an empty prompt."""
    sde: Literal["flow-grpo", "dance-grpo"] = Field(default="flow-grpo", exclude_if="flow-grpo".__eq__)
    """Of flow models: whose stochastic equation has the noise ``eta``. Records leave out the usual one."""


class ComponentConfig(Strict):
    """A family and what its factory is called with."""

    family: str
    """A registered one, or ``FILE.py:NAME``."""
    settings: dict[str, Any] = {}
    """A value with a slash names weights: ``pocket/clip``, ``./my-model``, ``hf:owner/name``."""


class MemoryConfig(Strict):
    """Ways to need less memory, for every backbone; the same for all arms unless compared itself."""

    frozen_weights: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the backbone's networks are kept and run in. Adapters, latents and losses stay float32."""
    checkpointing: bool = False
    """Whether the denoiser computes its activations again in the backward pass instead of keeping them."""
    slicing: bool = False
    """Whether videos are decoded one by one, and in chunks of frames where that changes no picture."""
    decode_tile: int | None = Field(default=None, ge=8, exclude_if=operator.not_)
    """Side in pixels of overlapping tiles that pictures are decoded in, which changes them a little."""
    offload_activations: bool = False
    """Whether activations of denoiser and decoder wait for the backward pass in the memory of the CPU."""
    optimizer: Literal["adamw", "adamw8bit"] = "adamw"
    """``adamw8bit`` keeps the moments in 8 bits; it needs the package bitsandbytes and a GPU."""


class SuiteConfig(RecordedAsWritten, Strict):
    """A backbone with its rewards, prompt splits and sampler settings."""

    suite: Name
    backbone: ComponentConfig
    rewards: dict[Name, ComponentConfig] = Field(min_length=1)
    """Rewards a run can train on, by the name experiments use."""
    gold: dict[Name, ComponentConfig] = {}
    """By reward name the truth that it imitates: measured and never trained on, to show when a reward is
    being hacked. The key ``default`` is for all others; a component in place of the table is the default. A
    reward that is a formula, and so its own truth, is named as its own gold."""
    prompt_share: ComponentConfig | None = None
    """What measures the share of its prompt that a video shows, beside the gold of every reward. Where an
    older file has the oracle as the gold of all rewards, it is that too."""
    prompts: dict[str, str]
    """Prompt set by reward name; the key ``default`` is for all others."""
    decode_frames: int | None = Field(default=None, ge=1)
    """Random frames decoded and judged per training video, all if ``None``; looks judge all. A reward that
    wants a fixed number overrides it."""
    sampler: SamplerConfig
    evaluation_batch: int = Field(default=16, ge=1)
    """Videos sampled, decoded and judged at a time at looks; ``plan`` counts the memory that they need."""
    methods: dict[Name, dict[str, Any]] = Field(default={}, exclude_if=operator.not_)
    """Settings by method name, where an experiment does not say otherwise; none are not written."""
    memory: MemoryConfig = Field(default=MemoryConfig(), exclude_if=_is_default)
    """Left out of what is written where nothing in it is set, as in the records of runs before it existed."""

    @model_validator(mode="before")
    @classmethod
    def _single_gold(cls, suite: Any) -> Any:
        """Read files and records of 0.1.0, which have one gold for all rewards, or ``null``."""
        return rules.gold_by_reward(suite)

    @field_validator("gold", "prompts")
    @classmethod
    def _of_rewards(cls, by_reward: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        rewards = info.data.get("rewards")  # None: at fault itself, and told as such
        for name in by_reward:
            if rewards is not None and name != "default" and name not in rewards:
                raise rule(f"names {name!r}, which is no reward", nearest(name, ["default", *rewards]))
        return by_reward

    @field_validator("prompts")
    @classmethod
    def _covers_rewards(cls, prompts: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        bare = [name for name in info.data.get("rewards", ()) if name not in prompts]
        if bare and "default" not in prompts:
            raise rule(f"names no prompt set for the reward {bare[0]!r}", "add the key `default`")
        return prompts

    def backbone_weights(self) -> tuple[str, dict[str, Any]]:
        """Return the weights of the backbone, and its other settings.

        Raises:
            UserError: none are named, or something else is there.
        """
        settings = dict(self.backbone.settings)
        if "weights" not in settings:
            wrong = "has no key 'weights'"
            raise UserError("backbone.settings", wrong, "name a folder or packaged weights there")
        name = settings.pop("weights")
        raise_faults("backbone.settings.weights", value_faults(rules.WeightsName, name))
        return name, settings

    def prompts_for(self, reward: str) -> str:
        """Return the prompt set that goes with ``reward``."""
        return self.prompts[reward] if reward in self.prompts else self.prompts["default"]

    def gold_for(self, reward: str) -> ComponentConfig | None:
        """Return what measures the truth that ``reward`` imitates; ``None`` where nothing does."""
        return self.gold.get(reward, self.gold.get("default"))

    def measures_for(self, reward: str) -> list[ComponentConfig]:
        """Return what is measured of a video beside ``reward``: its gold and the share of the prompt."""
        return [found for found in (self.gold_for(reward), self.prompt_share) if found is not None]

    def weights(self, *rewards: str) -> list[str]:
        """Return the names of the weights of backbone, the named ``rewards`` and their golds, sorted."""
        components = [self.backbone, *(self.rewards[name] for name in rewards)]
        components += [measure for name in rewards for measure in self.measures_for(name)]
        return sorted({name for component in components for name in weight_names(component.settings)})


class SuiteChanges(Strict):
    """What an arm changes in the suite: how it is trained, not what is asked."""

    unknown_key: ClassVar[str] = "is nothing that an arm can change"

    decode_frames: int | None = Field(default=None, ge=1)
    memory: MemoryConfig = MemoryConfig()

    def of(self, suite: SuiteConfig) -> SuiteConfig:
        """Return ``suite`` with what is set here; what is not, in ``memory`` too, stays as it is there."""
        changes: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set}
        if "memory" in changes:
            changes["memory"] = suite.memory.model_copy(update=self.memory.model_dump(exclude_unset=True))
        return suite.model_copy(update=changes) if changes else suite


class ArmEntry(Strict, extra="allow"):
    """What a file says of an arm: four keys, and settings, which ``experiment.arms`` reads."""

    method: MethodName | None = None
    """The method of an arm that is not called after it: a registered one, or ``FILE.py:NAME``."""
    adapter: str | None = None
    """In place of a method: adapters that are measured beside what is trained."""
    suite: Annotated[SuiteChanges, BeforeValidator(rules.changes_table)] = SuiteChanges()
    """What the arm changes in the suite."""
    by_reward: Annotated[dict[str, dict[str, Any]], BeforeValidator(rules.tables_by_reward)] = {}
    """Settings that hold for one reward instead."""

    def settings(self, reward: str) -> dict[str, Any]:
        """Return the settings for ``reward`` as the file has them: the arm's own, then its overrides."""
        return (self.model_extra or {}) | self.by_reward.get(reward, {})

    def only(self, names: Container[str]) -> ArmEntry:
        """Return the arm without its settings but those called ``names``; adapters stay as they are."""
        if self.adapter is not None:
            return self
        overrides = {reward: rules.chosen(names, settings) for reward, settings in self.by_reward.items()}
        overrides = {reward: settings for reward, settings in overrides.items() if settings}
        said = self.model_dump(exclude_unset=True, include={METHOD, "suite"})
        more = {"by_reward": overrides} if overrides else {}
        return ArmEntry.model_validate(said | rules.chosen(names, self.model_extra or {}) | more)


class BudgetConfig(Strict):
    """What every run may spend."""

    reward_queries: int = Field(ge=2)


class MeasureConfig(Strict):
    """What some experiments measure and others do not need."""

    samples_along: int = Field(default=1, ge=1)
    """Videos per held-out prompt at the looks in between."""
    judges: Annotated[list[Name], AfterValidator(rules.distinct)] = []
    """Other rewards of the suite that score every video looked at, to see what a gain is worth to them."""
    path_kl: bool = False
    """Whether every look measures how far sampling has moved from the base model."""
    peak_memory: bool = False
    """Whether the memory of the first training step is measured, on one that is thrown away."""
    lora_scales: Annotated[list[Annotated[float, Field(ge=0)]], AfterValidator(rules.distinct)] = []
    """Scales of the trained adapters at which the model is looked at once more at the end."""
    chunks: int = Field(default=1, ge=1)
    """How many times their length the videos of an image-to-video suite are made at the end."""


class EvaluationConfig(Strict):
    """When and on what a run is evaluated. Evaluation costs no budget."""

    every: Annotated[int, AfterValidator(rules.even)] = Field(ge=2)
    """Reward queries between two looks: even, and a multiple of each arm's round, so that none is cut."""
    prompts: int = Field(default=32, ge=1)
    """Most prompts per split at each look along the run: the first ones of the split. Held-out numbers are of
    the prompts that every look judges."""
    splits: Splits = ["heldout"]
    """Splits evaluated at each look."""
    final_splits: Splits = ["train", "heldout"]
    """Splits evaluated before training and at the end."""
    final_prompts: int = Field(default=32, ge=1)
    """As ``prompts``, before training and at the end; by default as many as at each look."""
    samples: int = Field(default=1, ge=1)
    """Videos per held-out prompt before training and at the end; two or more show diversity."""
    best_of: Annotated[list[Annotated[int, Field(ge=1)]], AfterValidator(rules.distinct)] = Field(
        default=[1, 2, 4, 8], min_length=1
    )
    """Numbers N for best-of-N of the base model."""
    measure: MeasureConfig = Field(default=MeasureConfig(), exclude_if=_is_default)
    """What else is measured, beside rewards, diversity and motion."""

    @model_validator(mode="before")
    @classmethod
    def _as_many_at_the_ends(cls, said: Any) -> Any:
        if isinstance(said, dict) and isinstance(said.get("prompts"), int):
            return {"final_prompts": max(1, said["prompts"]), **said}
        return said

    @property
    def curve_samples(self) -> int:
        """Return the videos of a held-out prompt that both looks on the way and those at the ends have."""
        return min(self.samples, self.measure.samples_along)


class TargetConfig(Strict):
    """What one arm had reached after some of its budget."""

    arm: str
    """One of the experiment's ``methods``."""
    queries: int = Field(ge=1)
    """Reward queries; there must be a look after so many."""


class ExperimentConfig(RecordedAsWritten, Strict):
    """A grid of runs that answers one question."""

    experiment: Name
    question: str
    compares: Annotated[list[str], BeforeValidator(rules.listed), AfterValidator(rules.distinct)] = ["method"]
    """What arms may differ in: ``method`` with its settings, or settings and keys of the suite by name."""
    suite: str
    """A packaged suite, or the path of a suite file, relative to the experiment's file."""
    rewards: Annotated[list[str], AfterValidator(rules.distinct)] = Field(min_length=1)
    methods: dict[Name, ArmEntry] = Field(min_length=1)
    """The arms, by name."""
    tuning: Annotated[list[str], BeforeValidator(rules.listed_if_any), AfterValidator(rules.distinct)] = []
    """Where the settings come from: the tuning result that chose them, or several, each of some methods."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], AfterValidator(rules.distinct)] = Field(min_length=1)
    budget: BudgetConfig
    evaluation: EvaluationConfig
    target: TargetConfig | None = None
    """What all arms are timed to reach, beside the final reward of the best baseline."""
    baselines: Annotated[list[Name], AfterValidator(rules.distinct)] = Field(
        default=[], exclude_if=operator.not_
    )
    """Arms that are baselines; with none named, those whose method says that it is one."""
    paper: Literal["table1", "truncation", "memory", "diversity"] | None = None
    """A table of the VADER paper to show beside the results."""
    must_improve: bool = False
    """Whether the command fails unless every method raises the held-out reward, by interval."""
    quick: dict[str, Any] = {}
    """Fields replaced by ``--quick``, merged deeply; the name gets ``-quick`` at its end."""

    @field_serializer("methods")
    def _as_the_file_has_them(self, methods: Mapping[str, ArmEntry]) -> dict[str, Any]:
        return {name: arm.model_dump(mode="json", exclude_unset=True) for name, arm in methods.items()}

    @property
    def needed_rewards(self) -> list[str]:
        """Return the rewards that runs train on or are judged by."""
        return list(dict.fromkeys([*self.rewards, *self.evaluation.measure.judges]))


class RunConfig(Strict):
    """One run, everything resolved: what a worker gets and a record stores."""

    experiment: Name
    suite: SuiteConfig
    method: MethodName
    """A method, ``base`` for the untrained model with best-of-N, or ``adapter`` for what a file holds."""
    arm: str = Field(default="", exclude_if=operator.not_)
    """Name of the arm, where it is not that of the method."""
    settings: SerializeAsAny[Settings]
    """The method's own config; one without fields for ``base``, ``AdapterSettings`` for ``adapter``."""
    reward: Name
    prompts: str
    seed: int = Field(ge=0)
    reward_queries: int = Field(ge=0)
    """The budget; 0 for what is not trained."""
    evaluation: EvaluationConfig
    code: dict[str, str] = Field(default={}, exclude_if=operator.not_)
    """SHA-256 of code that is not the project's own, of a package or a file, by what it makes."""

    @property
    def name(self) -> str:
        """Return the run's folder name."""
        return run_name(self.label, self.reward, self.seed)

    @property
    def label(self) -> str:
        """Return what the run's row and curve are called: its arm, or its method."""
        return self.arm or self.method

    @property
    def other_judges(self) -> list[str]:
        """Return the rewards that score its videos beside its own, which may be listed among them."""
        return [name for name in self.evaluation.measure.judges if name != self.reward]

    @property
    def written_method(self) -> str:
        """Return the method as the experiment's file writes it, for records."""
        return self.suite.written(self.method)

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        name, colon, ending = self.prompts.rpartition(":")  # development splits have an ending
        written = self.suite.written(name) + colon + ending if colon else self.suite.written(self.prompts)
        changes = {"prompts": written, "method": self.written_method}
        if self.method == ADAPTER and "settings" in data:
            changes["settings"] = replaced(data["settings"], self.suite.written)
        return data | {key: value for key, value in changes.items() if key in data}


def config_digest(run: RunConfig) -> str:
    """Return the SHA-256 of everything that ``run`` is asked to do."""
    return files.sha256_text(files.canonical_json(run.model_dump(mode="json")))
