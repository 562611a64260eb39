"""What makes a training what it is: two runs that agree in it need to be trained once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vader_bench import files
from vader_bench.config.schema import RunConfig
from vader_bench.config.settings import AdapterSettings
from vader_bench.errors import UserError
from vader_bench.methods.code import training_plugins
from vader_bench.prompts.sets import load_prompts
from vader_bench.records import provenance
from vader_bench.records.trained import Provenance
from vader_bench.weights.resolve import digest

__all__ = ["input_digests", "make_origin", "training_depends_on", "training_key"]


def training_depends_on(config: RunConfig, device: str, devices: int = 1) -> dict[str, Any]:
    """Return all that decides the adapters of a run, as JSON can say it.

    Not in it are the names of experiment, suite and arm, the held-out prompts, and what is measured. Looks
    are in it where they cut a round of the method, and only there. The number of devices decides in which
    order numbers are added, as memory switches do; it is in it where there are several.

    Args:
        config: the run.
        device: where the models compute.
        devices: how many such devices train it together.

    Raises:
        UserError: weights or prompts are missing or faulty.
    """
    suite, said = config.suite, config.suite.model_dump(mode="json")
    inputs = suite.model_copy(update={"gold": {}, "prompt_share": None}).weights(config.reward)
    packages = provenance.package_versions()
    return {
        "backbone": said["backbone"],
        "memory": suite.memory.model_dump(mode="json"),
        "sampler": said["sampler"],
        "decode_frames": suite.decode_frames,
        "reward": said["rewards"][config.reward],
        "plugins": training_plugins(config),
        "weights": {suite.written(name): digest(name) for name in inputs},
        "prompts": load_prompts(config.prompts).digests()["train"],
        "method": config.written_method,
        "settings": config.model_dump(mode="json", include={"settings"})["settings"],
        "seed": config.seed,
        "reward_queries": config.reward_queries,
        "cut_at": _cuts(config),
        "code": provenance.training_code(),
        "packages": {name: packages[name] for name in provenance.COMPUTING if name in packages},
        "device": provenance.device_name(device),
        **_several(devices),
    }


def _several(devices: int) -> dict[str, int]:
    return {"devices": devices} if devices > 1 else {}


def training_key(depends_on: Mapping[str, Any]) -> str:
    """Return the SHA-256 that stands for ``training_depends_on``."""
    return files.sha256_text(files.canonical_json(depends_on))


def make_origin(
    config: RunConfig, device: str, digests: Mapping[str, str], command: str, devices: int = 1
) -> Provenance:
    """Return what is in force now, when the training of a run begins.

    Args:
        config: the run.
        device: where the models compute.
        digests: of weights and prompts; see ``input_digests``.
        command: what was called.
        devices: how many such devices train it together.

    Raises:
        UserError: code of others is not what it was when the command was given.
    """
    depends_on = training_depends_on(config, device, devices)
    for name, now in depends_on["plugins"].items():
        if config.code.get(name, now) != now:
            wrong = f"has other code of its {name} than when the command was given"
            raise UserError(config.name, wrong, "give the command again")
    return Provenance(
        key=training_key(depends_on),
        depends_on=depends_on,
        command=command,
        digests={**digests, "code": provenance.training_code()},
        packages=provenance.package_versions(),
        machine=provenance.machine(device) | _several(devices),
        git=provenance.training_git(),
    )


def input_digests(config: RunConfig) -> dict[str, str]:
    """Return the SHA-256 of all that a run reads: ``weights/<name>``, ``prompts/<split>``, ``adapter``."""
    suite = config.suite
    names = suite.weights(config.reward, *config.other_judges)
    digests = {f"weights/{suite.written(name)}": digest(name) for name in names}
    if isinstance(config.settings, AdapterSettings):
        digests["adapter"] = config.settings.sha256
    prompts = load_prompts(config.prompts).digests()
    return digests | {f"prompts/{split}": value for split, value in prompts.items()}


def _cuts(config: RunConfig) -> list[int]:
    """Return the looks along the training if one of them is no multiple of the method's round."""
    if not config.reward_queries:
        return []
    every, round_queries = config.evaluation.every, config.settings.round_queries
    stops = list(range(every, config.reward_queries, every))
    return stops if any(stop % round_queries for stop in stops) else []
